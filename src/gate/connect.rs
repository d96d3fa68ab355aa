//! Whether somebody may open a session, and on what terms.

use std::sync::Arc;

use crate::audit::Event;
use crate::identity::Identity;
use crate::policy::{SessionDecision, SessionInput};

use super::act::Judged;
use super::definitions::Redefined;
use super::journal::{self, NONE, Scene};
use super::pinned;
use super::rows::{self, Filtered};
use super::unjudged::Unjudged;
use super::{Authorized, Connect, Context, Denial, DenialKind, Door, Gate, Rules, Tell};

/// On what terms a session is opened.
struct Terms {
    role: Option<String>,
    unjudged: Option<Unjudged>,
    settings: Vec<(String, String)>,
    filtered: Filtered,
    read_only: bool,
}

/// A session as the rulebook is asked about it.
pub(super) struct Asked<'a> {
    /// The identity's name.
    pub(super) name: &'a str,
    pub(super) door: Door,
    pub(super) database: &'a str,
    /// What the client sets.
    pub(super) settings: &'a [(String, String)],
}

impl Judged for Connect {
    async fn judged(self, gate: &Gate, who: &Identity, _tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let terms = gate.terms(who, &self).await;
        let scene = Scene::identity(who, self.door, &self.client);
        let Terms { role, unjudged, settings, filtered, read_only } = terms.inspect_err(|denial| {
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
            settings,
            unjudged,
            filtered,
            read_only,
            redefined: Redefined::default(),
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
        let (name, database) = (who.name(), connect.database.as_str());
        let asked = Asked { name, door: connect.door, database, settings: &connect.settings };
        let decision = self.session(&rules, &asked, roles)?;
        if let Some(role) = decision.role.as_ref().filter(|role| !roles.contains(role)) {
            return Err(Denial::because(
                DenialKind::Unavailable,
                "no_such_role",
                format!("the rulebook picks upstream role `{role}`, which the configuration does not have"),
                "tell the operator of the gateway",
            ));
        }
        // A tool runs its statement in a transaction of the gateway's own: it must know what it runs.
        let is_unjudged = decision.unjudged && connect.door == Door::Wire;
        let filtered = rows::pinned(decision.rows, is_unjudged)?;
        let unjudged = match is_unjudged {
            true => Some(self.unjudged(&rules, who.name(), connect).await?),
            false => None,
        };
        let settings = match &unjudged {
            Some(_) => pinned::unjudged(&connect.settings, decision.allow_replication)?,
            None => pinned::judged(&connect.settings, decision.read_only)?,
        };
        let read_only = decision.read_only && !is_unjudged;
        Ok(Terms { role: decision.role, unjudged, settings, filtered, read_only })
    }

    /// What the rulebook says to a session. Whoever may not use the database at all does not learn whether there is
    /// one; whoever asks for too much there is told what.
    pub(super) fn session(
        &self,
        rules: &Rules,
        asked: &Asked<'_>,
        roles: &[String],
    ) -> Result<SessionDecision, Denial> {
        let Asked { name, door, database, settings } = asked;
        let decide = |settings: &[(String, String)]| -> Result<SessionDecision, Denial> {
            Ok(rules.policy.session(&SessionInput {
                identity: rules.agent(name)?,
                database,
                door: door.as_str(),
                roles,
                settings: settings.iter().map(pinned::shown).collect(),
                time: self.time(),
            }))
        };
        let decision = decide(settings)?;
        if decision.allow {
            return Ok(decision);
        }
        tracing::info!(identity = name, database, "session.denied");
        match !settings.is_empty() && decide(&[])?.allow {
            true => Err(Denial::of(DenialKind::Policy, decision.reasons)),
            false => Err(unknown(database)),
        }
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
