//! Everybody here who hears of decisions and alerts, as the gate knows them: one.

use std::sync::Arc;

use super::alerts::Alerts;
use super::shadow::Shadow;
use super::shipping::Shipping;
use crate::gate::{Heard, Listener, Raised};

/// Who hears.
#[derive(Debug, Default)]
pub struct Ears {
    /// A candidate rulebook.
    pub shadow: Option<Arc<Shadow>>,
    /// Decision logs.
    pub shipping: Option<Shipping>,
    /// Sinks of alerts.
    pub alerts: Option<Alerts>,
}

impl Listener for Ears {
    fn heard(&self, heard: &Heard<'_>) {
        if let Some(shadow) = &self.shadow {
            shadow.heard(heard);
        }
        if let Some(shipping) = &self.shipping {
            shipping.heard(heard);
        }
    }

    fn alerted(&self, alert: &Raised<'_>) {
        if let Some(alerts) = &self.alerts {
            alerts.alerted(alert);
        }
    }
}
