//! Sockets, gate and session, tied together: the only file here that awaits.
