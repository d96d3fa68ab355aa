//! Steps at a moment of their own: the rulebook is asked about what would happen then, with the facts of a real catalog.

use std::sync::Arc;

use portcullis::catalog;
use portcullis::gate::{Catalogs as _, Denial, DenialKind, Rules};
use portcullis::policy::input::{IdentityInput, SessionFacts};
use portcullis::policy::{Alert, Effect, Reason, StatementInput};
use portcullis::sql::{Facts, Statement, analyze};
use portcullis::upstream::Upstream;

use super::script::Step;
use super::transcript::Transcript;
use crate::support::gateway::Stand;

/// The rulebook of a stand, and what its database holds.
pub(super) struct Bench {
    rules: Rules,
    catalog: Arc<catalog::Snapshot>,
    database: String,
}

impl Bench {
    pub(super) async fn of(stand: &Stand) -> Self {
        let database = stand.settings.databases[0].name.clone();
        Self {
            rules: portcullis::serve::load_rules(&stand.settings).unwrap(),
            catalog: Upstream::new(stand.settings.databases.clone()).refresh(&database).await.unwrap(),
            database,
        }
    }

    /// Asks about `step`, writes the answer down, and gives what operators hear.
    pub(super) fn judge(&self, step: &Step, into: &mut Transcript) -> Vec<String> {
        into.prompt(step);
        let facts = self.facts(&step.sql);
        let time = self.rules.policy.time(step.at.unwrap());
        let plain = StatementInput::plain(self.identity(&step.who), &self.database, "wire", &facts, time);
        let decision = self.rules.policy.decide(&StatementInput { session: session(step), ..plain });
        match &decision.effect {
            Effect::Allow => into.line("-- runs"),
            Effect::Deny => refuse(decision.reasons.clone(), into),
            Effect::Escalate(_) => {
                into.line(&format!("-- waits for approval: {}", decision.reasons[0].message));
            }
        }
        if decision.ends_session {
            into.line("-- the session ends");
        }
        decision.alerts.iter().map(heard).collect()
    }

    fn identity<'a>(&'a self, name: &'a str) -> IdentityInput<'a> {
        let agent = self.rules.directory.agent(name).unwrap();
        IdentityInput {
            name,
            file: name,
            kind: agent.kind(),
            owner: agent.owner().unwrap_or_default(),
            groups: agent.groups(),
            delegation: self.rules.directory.delegation(name),
            claims: agent.claims(),
        }
    }

    /// The facts, worked out on a stack as the analyser asks for.
    fn facts(&self, sql: &str) -> Facts {
        let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap();
        let catalog = Arc::clone(&self.catalog);
        let thread = std::thread::Builder::new().stack_size(32 * 1024 * 1024);
        let analysis = thread.spawn(move || analyze(&statement, &catalog)).unwrap().join().unwrap().unwrap();
        (*analysis.items()[0].facts).clone()
    }
}

fn session(step: &Step) -> SessionFacts<'_> {
    SessionFacts {
        address: "127.0.0.1",
        proof: "scram",
        application: &step.application,
        purpose: &step.purpose,
        ..SessionFacts::default()
    }
}

fn refuse(reasons: Vec<Reason>, into: &mut Transcript) {
    let denial = Denial::of(DenialKind::Policy, reasons);
    let reason = denial.reason().unwrap();
    into.refusal("ERROR", &reason.message, &reason.rule, &reason.hint);
}

fn heard(alert: &Alert) -> String {
    format!("alert {}: {}", alert.reason.rule, alert.reason.message)
}
