//! SCRAM-SHA-256, the server side: verifiers and the exchange, without I/O (RFC 5802, RFC 7677).
