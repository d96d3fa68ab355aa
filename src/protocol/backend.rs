//! What servers send.
