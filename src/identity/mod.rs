//! Who is asking: identities as written in `agents/*.toml`, and the proofs they bring.
//!
//! The room owns the directory of identities and checks SCRAM proofs, tokens and certificates. What issuers' tokens say it
//! is told ([`vouched::Testimony`]), and finds whose file that is. It never decides what an
//! identity may do (that is `policy`), and it holds no secret in clear: only SCRAM verifiers and token
//! digests. [`Identity`] can be made by authenticating only.

pub mod agent;
mod certificate;
pub mod directory;
pub mod scram;
pub mod token;
pub mod vouched;

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use vouched::Vouched;

/// What sort of principal an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A program that decides by itself what to ask for.
    Agent,
    /// A person.
    Human,
    /// A program with fixed statements.
    Service,
}

/// How an identity proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// SCRAM-SHA-256 over the wire protocol.
    Scram,
    /// A bearer token.
    Token,
    /// A client certificate over TLS.
    Certificate,
    /// An access token of an issuer that the configuration names.
    Oidc,
    /// Nothing: the gateway was told to believe who connects from its own machine.
    Trust,
}

impl Proof {
    /// The word that policy uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scram => "scram",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Oidc => "oidc",
            Self::Trust => "trust",
        }
    }
}

/// Ceilings written in an identity's file; `None` leaves the ceiling to the rulebook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most rows one statement may return.
    pub rows: Option<u64>,
    /// Most bytes of row data one statement may return.
    pub bytes: Option<u64>,
    /// `statement_timeout` upstream, in milliseconds.
    pub statement_timeout_ms: Option<u64>,
}

/// An authenticated principal. Holding one means that somebody proved to be it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    kind: Kind,
    owner: Option<String>,
    groups: Vec<String>,
    limits: Limits,
    proof: Proof,
    vouched: Option<Arc<Vouched>>,
}

/// Whom a decision is about: an identity by its name, and by what an issuer says of it where one does.
#[derive(Debug, Clone, Copy)]
pub struct Principal<'a> {
    name: &'a str,
    vouched: Option<&'a Vouched>,
}

impl<'a> Principal<'a> {
    /// Whoever has this name, and nothing but a file.
    #[must_use]
    pub fn named(name: &'a str) -> Self {
        Self { name, vouched: None }
    }

    /// The name.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.name
    }

    /// What an issuer says of it.
    #[must_use]
    pub fn vouched(self) -> Option<&'a Vouched> {
        self.vouched
    }
}

impl Identity {
    /// The name: as in `agents/NAME.toml`, or one that no file has where an issuer vouches for one of many.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What sort of principal it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who answers for it: for an agent, the identity of its owner.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The groups it belongs to.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The ceilings written in its file.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// How it proved itself.
    #[must_use]
    pub fn proof(&self) -> Proof {
        self.proof
    }

    /// What it is for, as its token's issuer says; empty where nobody does.
    #[must_use]
    pub fn task(&self) -> &str {
        self.vouched.as_ref().map_or("", |vouched| vouched.task())
    }

    /// Whom decisions on its acts are about.
    #[must_use]
    pub fn principal(&self) -> Principal<'_> {
        Principal { name: &self.name, vouched: self.vouched.as_deref() }
    }
}

impl Identity {
    /// Somebody without a file, whom the gateway was told to believe.
    fn stranger(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: STRANGER,
            owner: None,
            groups: Vec::new(),
            limits: Limits::default(),
            proof: Proof::Trust,
            vouched: None,
        }
    }
}

/// What those are who need no file.
pub(crate) const STRANGER: Kind = Kind::Service;

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
