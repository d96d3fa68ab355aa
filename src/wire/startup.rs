//! From the first byte to a proven identity, as a pure state machine.
