//! Frames: a tag, a length, a body; the length is capped before anything is allocated.
