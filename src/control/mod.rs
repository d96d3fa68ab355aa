//! Control: what comes from other systems and goes to them: bundles of policies, a candidate rulebook beside the one in
//! force, an OPA server that decides, decision logs, alerts; and whose access tokens are good ([`oidc`]).
//!
//! The room owns the sockets to these systems, what was last fetched, and how often it is asked for. It decides nothing:
//! what arrives is a candidate, which whoever asked for it vets before it is in force. Nothing here can hold up a
//! statement.

mod alerts;
mod bundles;
mod ears;
pub mod http;
mod local;
pub mod oidc;
mod opa;
mod poll;
mod shadow;
mod shipping;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::bundle::Verification;

pub use alerts::{Alerts, Sink};
pub use bundles::{BundleStatus, Bundles, Delivery, Held, MissingBundle};
pub use ears::Ears;
pub use http::{Endpoint, HttpError, Remote, Token};
pub use opa::{DelegateSettings, Opa};
pub use shadow::{Comparer, Shadow, ShadowSettings};
pub use shipping::{LogSettings, Shipper, Shipping};

/// What the configuration says of other systems. Nothing, unless it does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether a rulebook must hold its own tests before it is in force.
    pub run_tests: bool,
    /// The bundles that the rulebook is made of, besides its folder.
    pub bundles: Vec<BundleSettings>,
    /// A candidate that decides beside the rules in force.
    pub shadow: Option<ShadowSettings>,
    /// An OPA server that decides on statements.
    pub delegate: Option<DelegateSettings>,
    /// Where decision logs go.
    pub decision_log: Option<LogSettings>,
    /// Where alerts go, by the names that rules have for it.
    pub alerts: BTreeMap<String, Sink>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            run_tests: true,
            bundles: Vec::new(),
            shadow: None,
            delegate: None,
            decision_log: None,
            alerts: BTreeMap::new(),
        }
    }
}

/// One bundle of the configuration.
#[derive(Debug, Clone)]
pub struct BundleSettings {
    /// Its name, which errors and the ledger call it by: letters, digits, `_` and `-`.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
    /// Whether its packages may grant anything.
    pub grants: bool,
    /// The keys of which one must have signed it; `None` takes unsigned ones only.
    pub verification: Option<Verification>,
    /// The shortest and the longest time between two looks.
    pub poll: (Duration, Duration),
    /// Whether the gateway refuses to start without it.
    pub required: bool,
}

/// Where a bundle is.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A `.tar.gz`, or a folder with what would be in it.
    Path(PathBuf),
    /// A server.
    Url(Endpoint),
}
