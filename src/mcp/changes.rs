//! Who hears that something has changed: lists, because other rules or identities are in force, and resources, because
//! definitions are others. Sessions of the eras before 2026-07-28 are told by notification; since then a client listens by a
//! request of its own. Whoever's token is no longer good hears nothing any more.
//!
//! What is told is that something has changed, never what: whoever is told asks again, and is answered as anybody is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use axum::http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::{ErrorData, ResourceUpdatedNotificationParam, SubscriptionFilter};
use rmcp::service::{Peer, RequestContext, SubscriptionContext, SubscriptionSendError, SubscriptionSink};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use crate::identity::Proof;
use crate::identity::token::TokenDigest;

use super::caller::Caller;
use super::rights::Rights;
use super::rooms::Rooms;
use super::{authorize, prompts, resources, schema};

/// The addresses that one session wants to hear about.
pub(super) type Wanted = Arc<Mutex<BTreeSet<String>>>;

/// The sessions that are told.
#[derive(Debug, Default)]
pub(super) struct Ears {
    sessions: Mutex<BTreeMap<u64, Ear>>,
    opened: AtomicU64,
}

/// Held by a session for as long as it is awake: it hears of changes until then.
#[derive(Debug)]
pub(super) struct Hearing {
    rooms: Weak<Rooms>,
    number: u64,
}

impl Drop for Hearing {
    fn drop(&mut self) {
        if let Some(rooms) = self.rooms.upgrade() {
            rooms.ears.sessions().remove(&self.number);
        }
    }
}

/// One session.
#[derive(Debug)]
struct Ear {
    listener: Listener,
    peer: Peer<RoleServer>,
    wanted: Wanted,
    view: View,
}

/// Who listens, and by which token.
#[derive(Debug, Clone)]
struct Listener {
    caller: Caller,
    token: Option<TokenDigest>,
}

impl Ears {
    /// A session begins: it hears of changes for as long as what is returned is held.
    pub(super) fn opened(
        &self,
        rooms: &Arc<Rooms>,
        wanted: &Wanted,
        context: &RequestContext<RoleServer>,
    ) -> Option<Hearing> {
        let listener = context.extensions.get::<Parts>().and_then(Listener::of)?;
        let view = View::of(rooms, &listener.caller);
        let ear = Ear { listener, peer: context.peer.clone(), wanted: Arc::clone(wanted), view };
        let number = self.opened.fetch_add(1, Ordering::AcqRel);
        self.sessions().insert(number, ear);
        if number == 0 {
            announce(rooms);
        }
        Some(Hearing { rooms: Arc::downgrade(rooms), number })
    }

    /// Tells every session what is news to it, and ends those whose token is no longer good.
    fn tell(&self, rooms: &Rooms) {
        let mut views: BTreeMap<String, View> = BTreeMap::new();
        let mut sessions = self.sessions();
        let lost: Vec<(u64, Ear)> =
            sessions.extract_if(.., |_, ear| !ear.listener.is_welcome(rooms)).collect();
        for ear in sessions.values_mut() {
            let caller = &ear.listener.caller;
            let name = caller.identity.name().to_owned();
            let now = views.entry(name).or_insert_with(|| View::of(rooms, caller)).clone();
            let wanted = ear.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let news = ear.view.news(&now, &wanted);
            ear.view = now;
            if !news.is_empty() {
                tokio::spawn(timeout(PATIENCE, news.notify(ear.peer.clone())));
            }
        }
        drop(sessions);
        lost.iter().for_each(|(_, ear)| rooms.end_sessions(&ear.listener.caller.identity));
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<u64, Ear>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of `requested` can be listened to.
pub(super) fn accepted(requested: &SubscriptionFilter) -> SubscriptionFilter {
    let mut accepted = requested.clone();
    accepted.resource_subscriptions = requested.resource_subscriptions.as_ref().map(|uris| {
        let ours = uris.iter().filter(|uri| resources::is_address(uri));
        ours.take(MOST_ADDRESSES).cloned().collect()
    });
    accepted
}

/// Adds an address to what a session wants to hear about, whether or not there is anything.
pub(super) fn want(wanted: &Wanted, uri: String) -> Result<(), ErrorData> {
    let mut wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
    if !resources::is_address(&uri) {
        return Err(ErrorData::invalid_params(
            "the address must look as those of `resources/templates/list`",
            None,
        ));
    }
    if wanted.len() >= MOST_ADDRESSES && !wanted.contains(&uri) {
        let message = format!("a session may subscribe to {MOST_ADDRESSES} resources at most");
        return Err(ErrorData::invalid_params(message, None));
    }
    wanted.insert(uri);
    Ok(())
}

/// Takes an address out again.
pub(super) fn forget(wanted: &Wanted, uri: &str) {
    wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(uri);
}

/// Tells one subscription until it ends: by its client, by the gateway, or as its token is no longer good. `changes` are those
/// since before the client was told that it is heard, `seat` is its place among those of its identity.
pub(super) async fn listen(
    rooms: Arc<Rooms>,
    context: &SubscriptionContext,
    mut changes: Changes,
    seat: OwnedSemaphorePermit,
) -> Result<(), ErrorData> {
    let parts = context.request_context().extensions.get::<Parts>();
    let Some(listener) = parts.and_then(Listener::of) else { return Ok(()) };
    let wanted: BTreeSet<String> =
        context.accepted().resource_subscriptions.iter().flatten().cloned().collect();
    let mut view = View::of(&rooms, &listener.caller);
    // What it saw may be older than the view that was just made.
    let mut news = if changes.has_come() { News::all(&wanted) } else { News::default() };
    let rooms = Arc::downgrade(&rooms);
    let _seat = seat;
    loop {
        if news.send(context.sink()).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            () = context.cancelled() => return Ok(()),
            changed = changes.next() => if !changed { return Ok(()) },
        }
        let Some(rooms) = rooms.upgrade() else { return Ok(()) };
        if !listener.is_welcome(&rooms) {
            return Ok(());
        }
        let now = View::of(&rooms, &listener.caller);
        news = view.news(&now, &wanted);
        view = now;
    }
}

/// Tells all sessions of every change, for as long as there is a gateway.
fn announce(rooms: &Arc<Rooms>) {
    let mut changes = Changes::of(rooms);
    let rooms = Arc::downgrade(rooms);
    tokio::spawn(async move {
        while changes.next().await {
            let Some(rooms) = rooms.upgrade() else { return };
            rooms.ears.tell(&rooms);
        }
    });
}

impl Listener {
    fn of(parts: &Parts) -> Option<Self> {
        let caller = Caller::of_parts(parts)?;
        let token = authorize::bearer(&parts.headers).ok().map(TokenDigest::of);
        Some(Self { caller, token })
    }

    /// Whether its proof would still be taken.
    fn is_welcome(&self, rooms: &Rooms) -> bool {
        let directory = rooms.gate.directory();
        let name = self.caller.identity.name();
        match self.caller.identity.proof() {
            Proof::Token => self.token.as_ref().is_some_and(|token| directory.holds(name, token)),
            Proof::Oidc => {
                let vouched = self.caller.identity.principal().vouched();
                vouched.is_some_and(|vouched| vouched.holds_in(&directory))
            }
            Proof::Scram | Proof::Certificate | Proof::Trust => {
                directory.agent(name).is_none_or(|agent| !agent.disabled())
            }
        }
    }
}

/// Steps whenever rules, identities or definitions may have changed.
#[derive(Debug)]
pub(super) struct Changes {
    rules: watch::Receiver<u64>,
    definitions: watch::Receiver<BTreeMap<String, u64>>,
}

impl Changes {
    /// From now on.
    pub(super) fn of(rooms: &Rooms) -> Self {
        Self { rules: rooms.gate.replacements(), definitions: rooms.definitions() }
    }

    /// Whether there was one that nobody has waited for.
    fn has_come(&self) -> bool {
        self.rules.has_changed().unwrap_or_default() || self.definitions.has_changed().unwrap_or_default()
    }

    /// Waits for a change; false once there is no gateway any more.
    async fn next(&mut self) -> bool {
        tokio::select! {
            changed = self.rules.changed() => changed.is_ok(),
            changed = self.definitions.changed() => changed.is_ok(),
        }
    }
}

/// What an identity's lists and resources depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    tools: Vec<String>,
    prompts: Vec<&'static str>,
    databases: Vec<String>,
    rules: u64,
    /// Of the databases that it may use.
    definitions: BTreeMap<String, u64>,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct News {
    tools: bool,
    prompts: bool,
    resources: bool,
    updated: Vec<String>,
}

impl View {
    fn of(rooms: &Rooms, caller: &Caller) -> Self {
        let rules = *rooms.gate.replacements().borrow();
        let rights = Rights::of(&caller.identity, &rooms.gate);
        let databases: Vec<String> = rights.openings.iter().map(|opening| opening.database.clone()).collect();
        let definitions = rooms.definitions().borrow().clone();
        Self {
            tools: schema::offered(&rights).iter().map(|tool| tool.name.to_string()).collect(),
            prompts: prompts::names(&rights),
            definitions: definitions.into_iter().filter(|(name, _)| databases.contains(name)).collect(),
            databases,
            rules,
        }
    }

    /// What `now` has that is new to who sees this, and wants to hear about these addresses. Rules may change what is seen of
    /// any table, and whether a table is there is not to be learned here: so all of a database's are told.
    fn news(&self, now: &Self, wanted: &BTreeSet<String>) -> News {
        let is_other = |uri: &&String| {
            let database = resources::database_of(uri).unwrap_or_default();
            self.rules != now.rules || self.definitions.get(&database) != now.definitions.get(&database)
        };
        News {
            tools: self.tools != now.tools,
            prompts: self.prompts != now.prompts,
            resources: self.databases != now.databases,
            updated: wanted.iter().filter(is_other).cloned().collect(),
        }
    }
}

impl News {
    /// Everything.
    fn all(wanted: &BTreeSet<String>) -> Self {
        Self { tools: true, prompts: true, resources: true, updated: wanted.iter().cloned().collect() }
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Tells a session.
    async fn notify(self, peer: Peer<RoleServer>) {
        let sent = async {
            if self.tools {
                peer.notify_tool_list_changed().await?;
            }
            if self.prompts {
                peer.notify_prompt_list_changed().await?;
            }
            if self.resources {
                peer.notify_resource_list_changed().await?;
            }
            for uri in self.updated {
                peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await?;
            }
            Ok::<_, rmcp::ServiceError>(())
        };
        if let Err(error) = sent.await {
            tracing::debug!(%error, "mcp.news_not_sent");
        }
    }

    /// Tells a subscription what it asked to be told.
    async fn send(self, sink: &SubscriptionSink) -> Result<(), SubscriptionSendError> {
        let asked = sink.accepted();
        if self.tools && asked.tools_list_changed == Some(true) {
            sink.notify_tool_list_changed().await?;
        }
        if self.prompts && asked.prompts_list_changed == Some(true) {
            sink.notify_prompt_list_changed().await?;
        }
        if self.resources && asked.resources_list_changed == Some(true) {
            sink.notify_resource_list_changed().await?;
        }
        for uri in self.updated {
            sink.notify_resource_updated(uri).await?;
        }
        Ok(())
    }
}

/// How long a session may take to be told: one that does not read must not pile up tasks.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses that one session or subscription may hear about.
const MOST_ADDRESSES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn view(rules: u64, version: u64) -> View {
        View {
            tools: vec!["query".to_owned()],
            prompts: vec!["explore_database"],
            databases: vec!["shop".to_owned()],
            rules,
            definitions: BTreeMap::from([("shop".to_owned(), version)]),
        }
    }

    #[test]
    fn what_is_the_same_is_no_news() {
        let wanted = BTreeSet::from(["pg://shop/public/orders".to_owned()]);
        assert!(view(1, 1).news(&view(1, 1), &wanted).is_empty());
        assert!(view(1, 1).news(&view(2, 1), &BTreeSet::new()).is_empty(), "other rules, same lists");
    }

    #[test]
    fn a_table_is_told_of_whether_or_not_it_is_there() {
        let wanted = ["pg://shop/public/orders", "pg://shop/hr/hidden", "pg://crm/public/orders"];
        let wanted: BTreeSet<String> = wanted.map(str::to_owned).into();
        let updated = view(1, 1).news(&view(1, 2), &wanted).updated;
        assert_eq!(updated, ["pg://shop/hr/hidden", "pg://shop/public/orders"]);
        assert_eq!(view(1, 1).news(&view(2, 1), &wanted).updated.len(), 3, "rules may change all");
    }

    #[test]
    fn only_addresses_as_ours_are_listened_to_and_not_too_many() {
        let uris = (0..300).map(|number| format!("pg://shop/public/t{number}"));
        let requested = SubscriptionFilter::builder()
            .tools_list_changed()
            .resource_subscriptions(["file:///etc/passwd".to_owned()].into_iter().chain(uris))
            .build();
        let accepted = accepted(&requested);
        let uris = accepted.resource_subscriptions.unwrap();
        assert_eq!((uris.len(), uris[0].as_str()), (MOST_ADDRESSES, "pg://shop/public/t0"));
        assert_eq!(accepted.tools_list_changed, Some(true));
        let wanted = Wanted::default();
        for uri in &uris {
            want(&wanted, uri.clone()).unwrap();
        }
        assert!(want(&wanted, uris[0].clone()).is_ok(), "again");
        assert!(want(&wanted, "pg://shop/public/one_more".to_owned()).is_err());
        assert!(want(&Wanted::default(), "file:///etc/passwd".to_owned()).is_err());
    }
}
