//! One session after its start-up, as a pure state machine.
