//! No dangerous role: what the upstream roles may do is looked at before the doors open.

use std::fmt;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::gate::Catalogs as _;
use crate::upstream::{Examination, Severity, Upstream};

/// Upstream roles that may do what nothing holds back, and that the configuration does not accept.
#[derive(Debug, thiserror::Error)]
pub struct DangerousRoles(Vec<Arc<Examination>>);

impl fmt::Display for DangerousRoles {
    /// For whoever is woken up by it: what is wrong, what to run, and how to go on without.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an upstream role may do what no rule of the gateway's holds back")?;
        for seen in &self.0 {
            write!(f, "\n{seen}")?;
        }
        write!(f, "\n`portcullis doctor` says through what, and prints the SQL that takes it away.")?;
        f.write_str("\nTo start all the same, accept it in the configuration:")?;
        for seen in &self.0 {
            let section = match seen.role.as_str() {
                "" => format!("[[database]] `{}`", seen.database),
                role => format!("[[database.role]] `{role}` of `{}`", seen.database),
            };
            let names: Vec<String> = seen.to_accept().iter().map(|kind| format!("\"{kind}\"")).collect();
            write!(f, "\n  under {section}: accept = [{}]", names.join(", "))?;
        }
        Ok(())
    }
}

/// Examines all roles of all databases at once. A server that doesn't answer is no reason not to start: its roles are
/// examined before their first sessions.
pub(super) async fn vet(upstream: &Arc<Upstream>) -> Result<(), DangerousRoles> {
    let mut databases = JoinSet::new();
    for database in upstream.names() {
        let upstream = Arc::clone(upstream);
        databases.spawn(async move { upstream.vet(&database).await });
    }
    let mut dangerous = Vec::new();
    for seen in databases.join_all().await.into_iter().flatten() {
        match seen {
            Ok(seen) => {
                remark(&seen);
                if seen.dangers().next().is_some() {
                    dangerous.push(seen);
                }
            }
            Err(error) => tracing::warn!(%error, "role.unexamined: it is looked at before its first session"),
        }
    }
    dangerous.sort_by(|one, other| (&one.database, &one.role).cmp(&(&other.database, &other.role)));
    match dangerous.is_empty() {
        true => Ok(()),
        false => Err(DangerousRoles(dangerous)),
    }
}

/// Says what is accepted, and what only deserves a word.
fn remark(seen: &Examination) {
    let names = |severity| {
        let mut names = seen.findings.iter().filter(|finding| finding.kind.severity() == severity).peekable();
        let any = names.peek().is_some();
        any.then(|| names.map(|finding| finding.kind.name()).collect::<Vec<_>>().join(", "))
    };
    let (database, user) = (&seen.database, &seen.user);
    if let Some(dangers) = names(Severity::Dangerous).filter(|_| seen.dangers().next().is_none()) {
        tracing::warn!(database, user, dangers, "role.dangerous: the configuration accepts that");
    }
    if let Some(warnings) = names(Severity::Warning) {
        tracing::info!(database, user, warnings, "role.warnings: `portcullis doctor` explains them");
    }
}
