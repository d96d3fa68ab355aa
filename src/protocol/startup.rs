//! The first packet.
