//! The doctor: what could an upstream role do that no rule of the gateway's holds back?
//!
//! Masks and rules bind what passes the gate. Behind them stands the role that the gateway works by, and that should
//! be able to do no more than the rulebook lets through. Each configured role is examined in a session of its own, by
//! constant SQL over the system catalogs; each finding has a stable name, says what could be done with it, and brings
//! the SQL that ends it. A role with a dangerous finding is not used, unless the configuration accepts that finding by
//! its name.
//!
//! A role that the client itself chooses (`upstream_user = "same"`) is not examined: there, nobody proves anything, the
//! configuration says so in as many words, and what a client may do is what PostgreSQL lets its own role do.

mod finding;
mod kind;
mod observed;
mod vetting;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::timeout;

use crate::gate::Withheld;

use super::catalog::{LoadError, session};
use super::settings::RoleSettings;
use super::target::Target;

pub use finding::Finding;
pub use kind::{Kind, Severity};
pub(super) use vetting::{Unfit, Vetting};

pub(super) use finding::quoted;
use observed::Observed;

/// What was found about one upstream role.
#[derive(Debug, Clone)]
pub struct Examination {
    /// The database's name in the configuration.
    pub database: String,
    /// The database's name upstream.
    pub upstream: String,
    /// The role's name in the configuration; empty for the database's own credential.
    pub role: String,
    /// The PostgreSQL user.
    pub user: String,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// What the configuration accepts of this role.
    pub accepted: BTreeSet<Kind>,
}

/// A role that could not be examined.
#[derive(Debug, thiserror::Error)]
#[error("user `{user}` of database `{database}` can't be examined: {why}")]
pub struct ExamineError {
    /// The database's name in the configuration.
    pub database: String,
    /// The PostgreSQL user.
    pub user: String,
    /// What failed, in words.
    pub why: String,
}

impl Examination {
    /// The dangerous findings that nobody has accepted.
    pub fn dangers(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| self.is_danger(finding))
    }

    /// Whether `finding` keeps the role from being used.
    #[must_use]
    pub fn is_danger(&self, finding: &Finding) -> bool {
        finding.kind.is_dangerous() && !self.accepts(finding.kind)
    }

    /// Whether the configuration accepts `kind` of this role. Whoever accepts a superuser accepts all.
    #[must_use]
    pub fn accepts(&self, kind: Kind) -> bool {
        accepts(&self.accepted, kind)
    }

    /// What the configuration would have to accept for the role to be used as it is.
    #[must_use]
    pub fn to_accept(&self) -> Vec<Kind> {
        let dangers: Vec<Kind> = self.dangers().map(|finding| finding.kind).collect();
        if dangers.contains(&Kind::Superuser) { vec![Kind::Superuser] } else { dangers }
    }

    /// How the role is called: `its own credential, user "svc"`.
    #[must_use]
    pub fn who(&self) -> String {
        match self.role.as_str() {
            "" => format!("its own credential, user {}", quoted(&self.user)),
            role => format!("role `{role}`, user {}", quoted(&self.user)),
        }
    }

    /// SQL for the owner of the database, or a superuser where attributes are to go: it ends every finding that nobody
    /// has accepted, all or none, refuses to run in another database, and may be run again.
    #[must_use]
    pub fn script(&self) -> String {
        let mut findings = self
            .findings
            .iter()
            .filter(|finding| self.is_danger(finding) || !finding.kind.is_dangerous())
            .peekable();
        let who = format!("-- Database {}, {}.", one_line(&self.database), one_line(&self.who()));
        if findings.peek().is_none() {
            return format!("{who}\n-- Nothing is to be done.\n");
        }
        let mut script = format!("{who}\nBEGIN;\n{}", self.guard());
        for Finding { kind, fix, .. } in findings {
            let written = write!(script, "\n-- {kind} ({}): {}\n", kind.severity().as_str(), kind.harm());
            debug_assert!(written.is_ok(), "writing to a string does not fail");
            for line in fix {
                script.push_str(line);
                script.push('\n');
            }
        }
        script.push_str("\nCOMMIT;\n");
        script
    }

    /// A statement that fails in any database but the one that was examined.
    fn guard(&self) -> String {
        let check = format!(
            "BEGIN IF pg_catalog.current_database() <> {} THEN RAISE EXCEPTION {}; END IF; END",
            literal(&self.upstream),
            literal("this script is for another database")
        );
        // Names are written as they are found by this path.
        format!("DO {};\nSET LOCAL search_path TO '';\n", literal(&check))
    }
}

/// Examines the role that `credential` logs in as. `withheld` are columns that it has no use for.
pub(super) async fn examine(
    target: &Target,
    credential: &RoleSettings,
    withheld: &[Withheld],
) -> Result<Examination, LoadError> {
    let settings = target.settings();
    let client = session::open(target, credential, &PARAMETERS).await?;
    let observed = match timeout(DEADLINE, Observed::read(&client, withheld)).await {
        Ok(observed) => observed?,
        Err(_) => return Err(LoadError::Late(DEADLINE)),
    };
    Ok(Examination {
        database: settings.name.clone(),
        upstream: settings.database.clone(),
        role: credential.name.clone(),
        user: observed.user.clone(),
        findings: finding::findings(&observed),
        accepted: settings.accepted.get(&credential.name).cloned().unwrap_or_default(),
    })
}

/// A superuser may do whatever the other findings say.
fn accepts(accepted: &BTreeSet<Kind>, kind: Kind) -> bool {
    accepted.contains(&kind) || accepted.contains(&Kind::Superuser)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Comments end with their line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// As for the catalog: with an empty search_path every name prints with its schema.
const PARAMETERS: [(&str, &str); 6] = [
    ("application_name", "portcullis/doctor"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("search_path", ""),
    ("statement_timeout", "20s"),
    ("default_transaction_read_only", "on"),
];

/// It takes tens of milliseconds; a server that needs longer than this is not well.
const DEADLINE: Duration = Duration::from_secs(30);
