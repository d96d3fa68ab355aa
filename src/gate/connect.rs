//! Whether somebody may open a session, and on what terms.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::audit::Event;
use crate::identity::{Identity, Principal};
use crate::policy::input::SessionFacts;
use crate::policy::{Alert, Reason, SessionDecision, SessionInput};

use super::act::{self, Judged, Origin};
use super::definitions::Redefined;
use super::journal::{self, NONE, Scene};
use super::pinned;
use super::rows::{self, Filtered};
use super::unjudged::Unjudged;
use super::{Authorized, Connect, Context, Denial, DenialKind, Door, Gate, PURPOSE, Raised, Rules, Tell};

/// On what terms a session is opened.
struct Terms {
    role: Option<String>,
    unjudged: Option<Unjudged>,
    settings: Vec<(String, String)>,
    filtered: Filtered,
    read_only: bool,
    origin: Origin,
}

/// A session as the rulebook is asked about it.
pub(super) struct Asked<'a> {
    pub(super) who: Principal<'a>,
    pub(super) door: Door,
    pub(super) database: &'a str,
    /// What the client sets.
    pub(super) settings: &'a [(String, String)],
    /// How it comes about.
    pub(super) session: SessionFacts<'a>,
}

impl Judged for Connect {
    async fn judged(self, gate: &Gate, who: &Identity, _tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let terms = gate.terms(who, &self).await;
        let scene = Scene::identity(who, self.door, &self.client);
        let Terms { role, unjudged, settings, filtered, read_only, origin } =
            terms.inspect_err(|denial| {
                let reason = denial.recorded().map(in_full).unwrap_or_default();
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
            origin,
            labels: Mutex::default(),
            shown: Mutex::default(),
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
        let database = connect.database.as_str();
        let origin = Origin {
            tls: connect.tls,
            proof: who.proof().as_str(),
            purpose: purpose(&connect.settings)?,
            opened: self.clock.now().as_second(),
            ..Origin::default()
        };
        let client_settings = without_purpose(&connect.settings);
        let asked = Asked {
            who: who.principal(),
            door: connect.door,
            database,
            settings: &client_settings,
            session: SessionFacts {
                address: act::address(&connect.client),
                tls: origin.tls,
                proof: origin.proof,
                application: &connect.application,
                role: "",
                purpose: &origin.purpose,
                opened: origin.opened,
            },
        };
        let decision = self.session(&rules, &asked, roles)?;
        let lifetime = decision.lifetime_s.map(Duration::from_secs);
        let origin = Origin { lifetime, asked: client_settings, ..origin };
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
            true => Some(self.unjudged(&rules, who.principal(), connect).await?),
            false => None,
        };
        let admitted = match &unjudged {
            Some(_) => pinned::unjudged(&origin.asked, decision.allow_replication)?,
            None => pinned::judged(&origin.asked, decision.read_only)?,
        };
        let settings = pinned::with_chosen(admitted, decision.settings)?;
        let read_only = decision.read_only && !is_unjudged;
        Ok(Terms { role: decision.role, unjudged, settings, filtered, read_only, origin })
    }

    /// What the rulebook says to a session. Whoever may not use the database at all does not learn whether there is
    /// one; whoever asks for too much there is told what.
    pub(super) fn session(
        &self,
        rules: &Rules,
        asked: &Asked<'_>,
        roles: &[String],
    ) -> Result<SessionDecision, Denial> {
        let Asked { who, door, database, settings, session } = asked;
        let decide = |settings: &[(String, String)]| -> Result<SessionDecision, Denial> {
            Ok(rules.policy.session(&SessionInput {
                identity: rules.agent(*who)?,
                database,
                door: door.as_str(),
                roles,
                settings: settings.iter().map(pinned::shown).collect(),
                session: *session,
                time: self.time(),
            }))
        };
        let decision = decide(settings)?;
        for Alert { reason, sink } in &decision.alerts {
            let (rule, message) = (reason.rule.as_str(), reason.message.as_str());
            let (hint, place) = (reason.hint.as_str(), reason.place.as_str());
            self.alert(&Raised {
                identity: who.name(),
                database,
                decision_id: "",
                rule,
                message,
                hint,
                place,
                sink,
            });
        }
        if decision.allow {
            return Ok(decision);
        }
        tracing::info!(identity = who.name(), database, "session.denied");
        match !settings.is_empty() && decide(&[])?.allow {
            true => Err(Denial::of(DenialKind::Policy, decision.reasons)),
            false => Err(unknown(database).though(decision.reasons)),
        }
    }
}

/// A reason as the ledger keeps it: whoever is refused may be told less.
fn in_full(reason: &Reason) -> String {
    match reason.place.as_str() {
        "" => reason.message.clone(),
        place => format!("{}: {} ({place})", reason.rule, reason.message),
    }
}

/// What a client says that its session is for.
fn purpose(settings: &[(String, String)]) -> Result<String, Denial> {
    let own = settings.iter().find(|(name, _)| name.eq_ignore_ascii_case(PURPOSE));
    let purpose = own.map(|(_, value)| value.clone()).unwrap_or_default();
    if purpose.chars().count() > LONGEST_PURPOSE || purpose.chars().any(char::is_control) {
        return Err(Denial::because(
            DenialKind::Policy,
            "setting",
            format!("`{PURPOSE}` is at most {LONGEST_PURPOSE} characters, without control characters"),
            "say it shorter",
        ));
    }
    Ok(purpose)
}

fn without_purpose(settings: &[(String, String)]) -> Vec<(String, String)> {
    settings.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(PURPOSE)).cloned().collect()
}

/// Characters of a purpose.
const LONGEST_PURPOSE: usize = 200;

fn unknown(database: &str) -> Denial {
    Denial::because(
        DenialKind::Database,
        "no_such_database",
        format!("database `{database}` does not exist or is not yours to use"),
        "ask for `my_access`, or the operator of the gateway",
    )
}
