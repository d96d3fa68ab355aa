//! An identity's file as written: every key that exists, and where it stands.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde::Deserialize;
use toml::Spanned;

use super::super::{Kind, Limits};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAgent {
    pub(super) name: Spanned<String>,
    pub(super) kind: Kind,
    pub(super) owner: Option<Spanned<String>>,
    pub(super) parent: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) claims: BTreeMap<String, Spanned<RawClaim>>,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) disabled: bool,
    #[serde(default)]
    pub(super) auth: RawAuth,
    #[serde(default)]
    pub(super) scope: BTreeMap<String, RawScope>,
    #[serde(default)]
    pub(super) limits: RawLimits,
    #[serde(default)]
    pub(super) approval: RawApproval,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a claim is a text, or a list of texts")]
pub(super) enum RawClaim {
    One(String),
    Several(Vec<String>),
}

impl RawClaim {
    pub(super) fn values(&self) -> Vec<String> {
        match self {
            Self::One(value) => vec![value.clone()],
            Self::Several(values) => values.clone(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuth {
    pub(super) scram: Option<Spanned<String>>,
    pub(super) token_sha256: Option<Spanned<String>>,
    pub(super) certificate: Option<Spanned<RawCertificate>>,
    pub(super) oidc: Option<Spanned<RawOidc>>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOidc {
    pub(super) issuer: String,
    pub(super) subject: Option<String>,
    pub(super) client: Option<String>,
    pub(super) group: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificate {
    pub(super) subject: Option<String>,
    pub(super) sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScope {
    #[serde(default)]
    pub(super) read: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) write: Vec<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) rows: Option<NonZeroU64>,
    pub(super) bytes: Option<NonZeroU64>,
    pub(super) statement_timeout_ms: Option<NonZeroU64>,
}

impl RawLimits {
    pub(super) fn meant(&self) -> Limits {
        Limits {
            rows: self.rows.map(NonZeroU64::get),
            bytes: self.bytes.map(NonZeroU64::get),
            statement_timeout_ms: self.statement_timeout_ms.map(NonZeroU64::get),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawApproval {
    #[serde(default)]
    pub(super) groups: Vec<Spanned<String>>,
}
