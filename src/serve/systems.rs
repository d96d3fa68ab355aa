//! What other systems are told, and asked: built once, beside the gate.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Settings;
use crate::control::{Alerts, Bundles, Comparer, Ears, HttpError, Opa, Shadow, Shipper, Shipping};
use crate::gate::Gate;

use super::rules::{Candidate, Keeper};

/// What hears at the gate, and what works behind it.
pub(super) struct Systems {
    ears: Arc<Ears>,
    opa: Option<Arc<Opa>>,
    comparer: Option<Comparer>,
    shipper: Option<Shipper>,
}

impl Systems {
    /// Builds what the configuration names.
    pub(super) fn new(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> Result<Self, HttpError> {
        let control = &settings.control;
        let (shadow, comparer) = control.shadow.as_ref().map(|shadow| Shadow::new(shadow.sample)).unzip();
        let log = control.decision_log.as_ref().map(|log| Shipping::new(log, Arc::clone(clock)));
        let (shipping, shipper) = log.transpose()?.unzip();
        let alerts = match control.alerts.is_empty() {
            true => None,
            false => Some(Alerts::start(&control.alerts, Arc::clone(clock), tasks, shutdown)?),
        };
        let opa = control.delegate.as_ref().map(Opa::new).transpose()?.map(Arc::new);
        let ears = Arc::new(Ears { shadow: shadow.map(Arc::new), shipping, alerts });
        Ok(Self { ears, opa, comparer, shipper })
    }

    /// `gate`, with all that is plugged into it.
    pub(super) fn plug(&self, gate: Gate) -> Gate {
        let ears = &self.ears;
        let hears = ears.shadow.is_some() || ears.shipping.is_some() || ears.alerts.is_some();
        let gate = if hears { gate.with_listener(Arc::<Ears>::clone(ears)) } else { gate };
        match &self.opa {
            Some(opa) => gate.with_delegate(Arc::<Opa>::clone(opa)),
            None => gate,
        }
    }

    /// Starts what works behind `gate`. Gives the shadow, if there is one.
    pub(super) fn start(
        self,
        gate: &Arc<Gate>,
        bundles: &Arc<Bundles>,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> Option<Arc<Shadow>> {
        if let Some(comparer) = self.comparer {
            let announced = Arc::clone(gate);
            tasks.spawn(comparer.run(move |said| announced.announce(&said), shutdown.clone()));
        }
        if let Some(shipper) = self.shipper {
            tasks.spawn(shipper.run(Arc::clone(gate), Arc::clone(bundles), shutdown.clone()));
        }
        self.ears.shadow.clone()
    }
}

/// Keeps the candidate of shadow mode as it is where it comes from.
pub(super) struct ShadowKeeper {
    shadow: Arc<Shadow>,
    settings: crate::control::ShadowSettings,
    bundles: Arc<Bundles>,
    tried: Option<Candidate>,
}

impl ShadowKeeper {
    /// Starts looking for the candidate.
    pub(super) fn start(
        settings: &Settings,
        shadow: Arc<Shadow>,
        tasks: &mut JoinSet<()>,
        shutdown: &CancellationToken,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, HttpError> {
        let Some(shadowed) = &settings.control.shadow else { return Ok(None) };
        let wanted = match shadowed.folder() {
            Some(_) => Vec::new(),
            None => vec![shadowed.bundle.clone()],
        };
        let folder = settings.state_path.join("shadow");
        let bundles = Arc::new(Bundles::new(&wanted, &folder, clock)?);
        bundles.spawn(tasks, shutdown);
        Ok(Some(Self { shadow, settings: shadowed.clone(), bundles, tried: None }))
    }

    /// Puts a changed candidate beside the rules that `keeper` has in force. Gives what is to be said of it.
    pub(super) fn look(&mut self, keeper: &Keeper) -> Option<String> {
        let candidate = keeper.candidate(&self.settings, &self.bundles.held());
        if self.tried.as_ref() == Some(&candidate) {
            return None;
        }
        let built = keeper.build(&candidate);
        self.tried = Some(candidate);
        Some(match built {
            Ok(policy) => {
                let said =
                    format!("shadow: the candidate {} decides beside the rules in force", policy.revision());
                self.shadow.replace(Some(policy));
                said
            }
            Err(why) => {
                self.shadow.replace(None);
                format!("shadow: the candidate can't be used, and nothing is compared: {why}")
            }
        })
    }
}
