//! One server as connections to it need it: its settings, and what earlier connections have learned.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::time::timeout;

use crate::protocol::sqlstate;

use super::greeting::NEWEST_MINOR;
use super::handshake::{self, Failure, Opened, Reading, Terms};
use super::keys::KeyRing;
use super::settings::{DatabaseSettings, RoleSettings};

/// A server that sessions can be opened on.
#[derive(Debug)]
pub(super) struct Target {
    settings: DatabaseSettings,
    keys: KeyRing,
    /// The newest minor version of protocol 3 that is asked for. A server negotiates what it doesn't know; what stands
    /// before a server may hang up instead, and isn't asked again.
    minor: AtomicU16,
}

impl Target {
    pub(super) fn new(settings: DatabaseSettings) -> Self {
        Self { settings, keys: KeyRing::default(), minor: AtomicU16::new(NEWEST_MINOR) }
    }

    pub(super) fn settings(&self) -> &DatabaseSettings {
        &self.settings
    }

    /// Opens a session of `role` with `parameters`, within the configured time.
    pub(super) async fn open(
        &self,
        role: &RoleSettings,
        parameters: &[(String, String)],
        reading: Reading,
    ) -> Result<Opened, Failure> {
        match timeout(self.settings.connect_timeout, self.negotiate(role, parameters, reading)).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))),
        }
    }

    async fn negotiate(
        &self,
        role: &RoleSettings,
        parameters: &[(String, String)],
        reading: Reading,
    ) -> Result<Opened, Failure> {
        let Self { settings: database, keys, minor: newest } = self;
        let minor = newest.load(Ordering::Relaxed);
        let terms = |minor| Terms { database, role, keys, parameters, minor, reading };
        match handshake::open(&terms(minor)).await {
            Err(failure) if minor > 0 && failure.may_mean_an_unknown_version() => {
                let opened = handshake::open(&terms(0)).await?;
                newest.store(0, Ordering::Relaxed);
                Ok(opened)
            }
            opened => opened,
        }
    }
}

impl Failure {
    /// How poolers that don't know the negotiation say that they don't know a version.
    fn may_mean_an_unknown_version(&self) -> bool {
        match self {
            Self::Refused(answer) => {
                matches!(answer.sqlstate(), sqlstate::FEATURE_NOT_SUPPORTED | sqlstate::PROTOCOL_VIOLATION)
            }
            Self::Io(_) | Self::Tls(_) | Self::Protocol(_) => false,
        }
    }
}
