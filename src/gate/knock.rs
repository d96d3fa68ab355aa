//! Somebody at a door who has not proved anything yet.

use std::net::IpAddr;

use crate::audit::hex;
use crate::policy::input::{CertificateInput, ClientInput, TlsInput};
use crate::policy::{Alert, ConnectInput};
use crate::tls::certificate::PeerCertificate;

use super::act::address;
use super::{Denial, DenialKind, Door, Gate, Raised, pinned};

/// What is known of somebody who wants to come in.
#[derive(Debug, Clone, Copy)]
pub struct Knock<'a> {
    /// At which door.
    pub door: Door,
    /// The client's `address:port`; empty where unknown.
    pub client: &'a str,
    /// How the connection is encrypted; `None` where it is not.
    pub tls: Option<Encrypted<'a>>,
    /// The protocol: `3.0`, `3.2` or `http`.
    pub protocol: &'a str,
    /// Who it claims to be; empty where it proves that by a token.
    pub user: &'a str,
    /// The database that it asks for; empty where it does not say yet.
    pub database: &'a str,
    /// `application_name`, or the user agent, as claimed.
    pub application: &'a str,
    /// What it sets when it connects: name and value.
    pub settings: &'a [(String, String)],
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'a str,
    /// The name that the client asked for; empty where it did not say.
    pub server_name: &'a str,
    /// The client's certificate, verified.
    pub certificate: Option<&'a PeerCertificate>,
}

impl<'a> Knock<'a> {
    /// Somebody who comes by HTTP, in clear.
    #[must_use]
    pub fn by_http(door: Door, client: &'a str, agent: &'a str) -> Self {
        Self {
            door,
            client,
            tls: None,
            protocol: "http",
            user: "",
            database: "",
            application: agent,
            settings: &[],
        }
    }
}

impl Gate {
    /// Asks the rulebook whether somebody may go on to prove who they are. A no is kept in the ledger.
    ///
    /// # Errors
    /// When the rulebook says no, or can't be asked.
    pub fn knock(&self, knock: &Knock<'_>) -> Result<(), Denial> {
        let rules = self.rules();
        if !rules.policy.asks("connect") {
            return Ok(());
        }
        let certificate = knock.tls.and_then(|tls| tls.certificate);
        let fingerprint = certificate.map(|shown| hex(&shown.fingerprint)).unwrap_or_default();
        let host = address(knock.client);
        let consent = rules.policy.connect(&ConnectInput {
            door: knock.door.as_str(),
            client: ClientInput {
                address: host,
                port: knock.client.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(0),
                loopback: host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback()),
            },
            tls: TlsInput {
                used: knock.tls.is_some(),
                version: knock.tls.map(|tls| tls.version).unwrap_or_default(),
                server_name: knock.tls.map(|tls| tls.server_name).unwrap_or_default(),
                certificate: CertificateInput {
                    presented: certificate.is_some(),
                    subject: certificate.map(|shown| shown.subject.as_str()).unwrap_or_default(),
                    fingerprint: &fingerprint,
                },
            },
            protocol: knock.protocol,
            user: knock.user,
            database: knock.database,
            application: knock.application,
            settings: knock.settings.iter().map(pinned::shown).collect(),
            time: self.time(),
        });
        for Alert { reason, sink } in &consent.alerts {
            self.alert(&Raised {
                identity: "",
                database: knock.database,
                decision_id: "",
                rule: &reason.rule,
                message: &reason.message,
                hint: &reason.hint,
                place: &reason.place,
                sink,
            });
        }
        if consent.reasons.is_empty() {
            return Ok(());
        }
        let denial = Denial::of(DenialKind::Policy, consent.reasons);
        let recorded = denial.recorded().map(|reason| format!("{}: {}", reason.rule, reason.message));
        self.refused(knock.door, knock.client, knock.user, knock.database, &recorded.unwrap_or_default());
        Err(denial)
    }
}
