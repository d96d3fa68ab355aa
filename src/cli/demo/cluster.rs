//! A throw-away PostgreSQL cluster: found, initialised, started, stopped and removed.
