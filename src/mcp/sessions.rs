//! Whose session is whose. A session id alone proves nothing: a message in it must come from the identity that
//! opened it. (The protocol since 2026-07-28 has no sessions.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rmcp::transport::streamable_http_server::SessionManager as _;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::session::{SessionState, SessionStore, SessionStoreError};

/// The owners of all open sessions.
#[derive(Debug)]
pub(super) struct Sessions {
    manager: Arc<LocalSessionManager>,
    max_each: usize,
    owners: Mutex<Owners>,
}

/// Sessions by id.
#[derive(Debug, Default)]
struct Owners {
    opened: u64,
    by_id: BTreeMap<String, Entry>,
}

/// What is known of one session.
#[derive(Debug, Default)]
struct Entry {
    /// The order in which they were opened.
    order: u64,
    /// Who opened it; nobody while that is under way.
    owner: Option<String>,
    /// What its client began with. That is enough to go on with it after it was put to sleep.
    state: Option<SessionState>,
}

impl Sessions {
    pub(super) fn new(manager: Arc<LocalSessionManager>, max_each: usize) -> Self {
        Self { manager, max_each: max_each.max(1), owners: Mutex::default() }
    }

    /// Whether `who` opened the session `id`.
    pub(super) fn belongs_to(&self, id: &str, who: &str) -> bool {
        self.owners().by_id.get(id).is_some_and(|entry| entry.is_of(who))
    }

    /// Notes that `who` opened the session `id`, forgets sessions that have ended, and closes the oldest of
    /// `who`'s beyond the ceiling.
    pub(super) async fn opened(&self, id: &str, who: &str) {
        let mut open: Vec<String> =
            self.manager.sessions.read().await.keys().map(|id| id.as_ref().to_owned()).collect();
        open.sort_unstable();
        let surplus = self.owners().open(id, who, &open, self.max_each);
        for id in surplus {
            if let Err(error) = self.manager.close_session(&id.into()).await {
                tracing::debug!(error = %error, "mcp.session_not_closed");
            }
        }
    }

    /// Ends all sessions of `who`: no further message in them is taken from now on, and they are closed once what was
    /// under way had time to be answered.
    pub(super) fn end(&self, who: &str) {
        let ended = self.owners().end(who);
        let manager = Arc::clone(&self.manager);
        if ended.is_empty() {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(LAST_ANSWER).await;
            for id in ended {
                if let Err(error) = manager.close_session(&id.into()).await {
                    tracing::debug!(error = %error, "mcp.session_not_closed");
                }
            }
        });
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sessions that nobody uses for a while are put to sleep: only how they began is kept, and the next message wakes
/// them. So idle ones cost next to nothing, and don't end by being idle.
#[async_trait]
impl SessionStore for Sessions {
    async fn load(&self, session_id: &str) -> Result<Option<SessionState>, SessionStoreError> {
        Ok(self.owners().by_id.get(session_id).and_then(|entry| entry.state.clone()))
    }

    async fn store(&self, session_id: &str, state: &SessionState) -> Result<(), SessionStoreError> {
        self.owners().remember(session_id, state.clone());
        Ok(())
    }

    async fn delete(&self, session_id: &str) -> Result<(), SessionStoreError> {
        self.owners().by_id.remove(session_id);
        Ok(())
    }
}

impl Entry {
    fn is_of(&self, who: &str) -> bool {
        self.owner.as_deref() == Some(who)
    }
}

impl Owners {
    /// Forgets the sessions of `who`; returns their ids.
    fn end(&mut self, who: &str) -> Vec<String> {
        self.by_id.extract_if(.., |_, entry| entry.is_of(who)).map(|(id, _)| id).collect()
    }

    /// Notes how a session began that is being opened.
    fn remember(&mut self, id: &str, state: SessionState) {
        self.opened = self.opened.saturating_add(1);
        let (order, state) = (self.opened, Some(state));
        self.by_id.insert(id.to_owned(), Entry { order, owner: None, state });
    }

    /// Returns the ids to close. `open` is sorted; ids opened since it was taken are kept too, and those that sleep.
    fn open(&mut self, id: &str, who: &str, open: &[String], max_each: usize) -> Vec<String> {
        let recent = self.opened.saturating_sub(RECENT);
        self.opened = self.opened.saturating_add(1);
        let entry = self.by_id.entry(id.to_owned()).or_default();
        entry.order = self.opened;
        entry.owner = Some(who.to_owned());
        self.by_id.retain(|id, entry| {
            let may_sleep = entry.owner.is_some() && entry.state.is_some();
            entry.order > recent || may_sleep || open.binary_search(id).is_ok()
        });
        let own = self.by_id.iter().filter(|(_, entry)| entry.is_of(who));
        let mut own: Vec<(u64, String)> = own.map(|(id, entry)| (entry.order, id.clone())).collect();
        own.sort_unstable();
        let surplus = own.len().saturating_sub(max_each);
        let surplus: Vec<String> = own.into_iter().take(surplus).map(|(_, id)| id).collect();
        for id in &surplus {
            self.by_id.remove(id);
        }
        surplus
    }
}

/// How long the last answer of a session that is ended may be on its way.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// So many of the newest sessions are kept without asking whether they still exist: they may have been opened
/// while the list of open ones was on its way.
const RECENT: u64 = 64;

#[cfg(test)]
mod tests {
    use rmcp::model::{ClientCapabilities, Implementation, InitializeRequestParams};

    use super::*;

    #[test]
    fn a_session_belongs_to_who_opened_it() {
        let sessions = Sessions::new(Arc::default(), 4);
        sessions.owners().open("s1", "robin", &["s1".into()], 4);
        assert!(sessions.belongs_to("s1", "robin"));
        assert!(!sessions.belongs_to("s1", "mallory"));
        assert!(!sessions.belongs_to("s2", "robin"));
    }

    #[test]
    fn the_oldest_of_ones_own_makes_room_and_nobody_elses() {
        let mut owners = Owners::default();
        assert!(owners.open("a", "mallory", &[], 2).is_empty());
        assert!(owners.open("z", "robin", &[], 2).is_empty());
        assert!(owners.open("b", "robin", &[], 2).is_empty());
        assert_eq!(owners.open("c", "robin", &[], 2), ["z"]);
        assert_eq!(owners.by_id.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn the_end_of_ones_own_sessions_leaves_everybody_elses() {
        let mut owners = Owners::default();
        for (id, who) in [("a", "mallory"), ("b", "robin"), ("c", "mallory")] {
            owners.open(id, who, &[], 4);
        }
        assert_eq!(owners.end("mallory"), ["a", "c"]);
        assert_eq!(owners.by_id.keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn sessions_that_ended_are_forgotten_and_those_that_sleep_are_not() {
        let mut owners = Owners::default();
        let client = InitializeRequestParams::new(ClientCapabilities::default(), Implementation::default());
        owners.remember("sleeps", SessionState::new(client.clone()));
        assert!(owners.open("sleeps", "robin", &[], 2).is_empty());
        owners.remember("never opened", SessionState::new(client));
        for number in 0..(RECENT * 3) {
            owners.open(&format!("s{number}"), &format!("agent{number}"), &["s0".into()], 2);
        }
        assert!(owners.by_id.contains_key("s0"));
        assert!(owners.by_id["sleeps"].is_of("robin"));
        assert!(!owners.by_id.contains_key("never opened"));
        assert!(owners.by_id.len() <= usize::try_from(RECENT).unwrap() + 3, "{}", owners.by_id.len());
        assert_eq!(owners.end("robin"), ["sleeps"]);
    }
}
