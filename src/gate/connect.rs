//! Whether somebody may open a session, and on what terms.

use std::sync::Arc;

use crate::audit::Event;
use crate::identity::Identity;
use crate::policy::{SessionDecision, SessionInput};

use super::act::Judged;
use super::journal::{self, NONE, Scene};
use super::unjudged::Unjudged;
use super::{Authorized, Connect, Context, Denial, DenialKind, Door, Gate, Rules, Tell};

/// On what terms a session is opened.
struct Terms {
    role: Option<String>,
    unjudged: Option<Unjudged>,
}

impl Judged for Connect {
    async fn judged(self, gate: &Gate, who: &Identity, _tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let terms = gate.terms(who, &self).await;
        let scene = Scene::identity(who, self.door, &self.client);
        let Terms { role, unjudged } = terms.inspect_err(|denial| {
            let reason = denial.reason().map(|reason| reason.message.clone()).unwrap_or_default();
            gate.refused(self.door, &self.client, who.name(), &self.database, &reason);
        })?;
        let session_id = journal::decision_id();
        let scene = scene.at(&self.database).in_session(&session_id);
        let context = Context {
            session_id,
            door: self.door,
            client: self.client.clone(),
            application: self.application.clone(),
            database: self.database.as_str().into(),
            role,
            settings: self.settings.clone(),
            unjudged,
            scene: scene.clone(),
        };
        let opened = Event::SessionOpened {
            role: context.role.clone().unwrap_or_default(),
            application: context.application.clone(),
        };
        gate.journal.append(&scene, &NONE, opened).await.map_err(|error| Denial::from(&error))?;
        Ok(Authorized::mint(self, Arc::new(context)))
    }
}

impl Gate {
    /// The terms on which `who` gets a session on a database.
    async fn terms(&self, who: &Identity, connect: &Connect) -> Result<Terms, Denial> {
        let roles = self.catalogs.roles(&connect.database).ok_or_else(|| unknown(&connect.database))?;
        let rules = self.rules();
        let decision = self.session(&rules, who.name(), connect.door, &connect.database, roles)?;
        if let Some(role) = decision.role.as_ref().filter(|role| !roles.contains(role)) {
            return Err(Denial::because(
                DenialKind::Unavailable,
                "no_such_role",
                format!("the rulebook picks upstream role `{role}`, which the configuration does not have"),
                "tell the operator of the gateway",
            ));
        }
        // A tool runs its statement in a transaction of the gateway's own: it must know what it runs.
        let unjudged = match decision.unjudged && connect.door == Door::Wire {
            true => Some(self.unjudged(&rules, who.name(), connect).await?),
            false => None,
        };
        Ok(Terms { role: decision.role, unjudged })
    }

    /// What the rulebook says to a session of the identity called `name`.
    pub(super) fn session(
        &self,
        rules: &Rules,
        name: &str,
        door: Door,
        database: &str,
        roles: &[String],
    ) -> Result<SessionDecision, Denial> {
        let decision = rules.policy.session(&SessionInput {
            identity: rules.agent(name)?,
            database,
            door: door.as_str(),
            roles,
            time: self.time(),
        });
        if decision.allow {
            return Ok(decision);
        }
        tracing::info!(identity = name, database, "session.denied");
        Err(unknown(database))
    }
}

fn unknown(database: &str) -> Denial {
    Denial::because(
        DenialKind::Database,
        "no_such_database",
        format!("database `{database}` does not exist or is not yours to use"),
        "ask for `my_access`, or the operator of the gateway",
    )
}
