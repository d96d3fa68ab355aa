//! Whether the roles of one database are fit for use, as they were last seen.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::catalog::LoadError;
use super::super::settings::RoleSettings;
use super::super::target::Target;
use super::{Examination, Kind, accepts, examine};

/// The newest examination of each role. A role that was never seen, or was found unfit, is examined before a session
/// of it opens: whoever mends a role need not start the gateway again.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Vetting {
    seen: Mutex<HashMap<String, Arc<Examination>>>,
}

/// Why a role is not used.
#[derive(Debug)]
pub(in crate::upstream) enum Unfit {
    /// For what it may do.
    Dangerous(Arc<Examination>),
    /// Nobody knows what it may do.
    Unseen(LoadError),
}

impl Vetting {
    /// Lets `credential` pass if it is fit for use.
    pub(in crate::upstream) async fn pass(
        &self,
        target: &Target,
        credential: &RoleSettings,
    ) -> Result<(), Unfit> {
        if accepts_everything(target, credential) || self.is_fit(&credential.name) {
            return Ok(());
        }
        let seen = self.look(target, credential).await.map_err(Unfit::Unseen)?;
        if seen.dangers().next().is_some() {
            return Err(Unfit::Dangerous(seen));
        }
        Ok(())
    }

    /// Examines `credential` now.
    pub(in crate::upstream) async fn look(
        &self,
        target: &Target,
        credential: &RoleSettings,
    ) -> Result<Arc<Examination>, LoadError> {
        let seen = Arc::new(examine(target, credential, &[]).await?);
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(credential.name.clone(), Arc::clone(&seen));
        Ok(seen)
    }

    fn is_fit(&self, role: &str) -> bool {
        let all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(role).is_some_and(|seen| seen.dangers().next().is_none())
    }
}

/// Whether nothing that could be found would keep the role from being used.
fn accepts_everything(target: &Target, credential: &RoleSettings) -> bool {
    let accepted = target.settings().accepted.get(&credential.name);
    accepted.is_some_and(|accepted| {
        Kind::ALL.iter().filter(|kind| kind.is_dangerous()).all(|kind| accepts(accepted, *kind))
    })
}

impl fmt::Display for Examination {
    /// What is dangerous about it, for whoever has to act on it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database `{}`, {}:", self.database, self.who())?;
        for finding in self.dangers() {
            write!(f, "\n  {}: {}", finding.kind, finding.kind.harm())?;
        }
        Ok(())
    }
}
