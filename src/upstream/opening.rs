//! Opening a session on a governed database: a connection of its own, or one that rests and was opened with the same.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::gate::{Authorized, Connect, Context, RunMode};
use crate::identity::Identity;
use crate::protocol::sqlstate;

use super::catalog::LoadError;
use super::connect::Database;
use super::doctor::Unfit;
use super::handshake::{Failure, Reading};
use super::parameters::{self, Session};
use super::pool::{Key, Lease};
use super::settings::{DatabaseSettings, RoleSettings, UpstreamUser};
use super::{ConnectError, House, Link, LinkError, Upstream};

/// Why there is no transaction to run a statement in. Nothing ran.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// No session could be opened.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The session broke before it had begun a transaction.
    #[error("the connection to the database broke before anything ran")]
    Broken(#[source] LinkError),
}

/// A session as it is to be opened.
struct Wanted<'a> {
    database: &'a Database,
    context: Arc<Context>,
    role: Cow<'a, RoleSettings>,
    parameters: Vec<(String, String)>,
}

impl Upstream {
    /// Opens one connection for one session, by the role that the session decision picked. In a judged session the
    /// identity's name and what its client calls itself become the upstream `application_name`.
    ///
    /// # Errors
    /// When there is no place, or the server can't be reached, refuses, or breaks the protocol.
    pub async fn connect(&self, proof: Authorized<Connect>, who: &Identity) -> Result<Link, ConnectError> {
        let (_, context) = proof.spend();
        let wanted = self.wanted(context, who).await?;
        let place = wanted.database.place()?;
        wanted.open(place).await
    }

    /// Begins a transaction of `mode` for one session, as [`Upstream::connect`] opens one: on a link that has served a
    /// session of the very same identity on the very same terms, if one rests, else on a new one. `generation` says
    /// how often the rules had been replaced before `proof` was made; what was opened before that is not used.
    ///
    /// Where the database has a ceiling on sessions, it waits some seconds for a place.
    ///
    /// # Errors
    /// As [`Upstream::connect`], and when a new connection breaks at once.
    pub async fn begin(
        &self,
        proof: Authorized<Connect>,
        who: &Identity,
        generation: u64,
        mode: RunMode,
    ) -> Result<Lease, BeginError> {
        let (_, context) = proof.spend();
        let house = match mode {
            RunMode::Read { .. } => House::BeginReadOnly,
            RunMode::Write { .. } => House::Begin,
        };
        let wanted = self.wanted(context, who).await?;
        let pool = &wanted.database.pool;
        let key = Arc::new(wanted.key(who));
        let lease = |link: Link| {
            Lease::new(link.within(Arc::clone(&wanted.context)), pool, Arc::clone(&key), generation)
        };
        let place = match wanted.find(&key, generation).await? {
            Found::Place(place) => place,
            Found::Rested(link) => {
                let mut lease = lease(*link);
                // Nothing but this can be lost with a link that turns out to be dead.
                match timeout(FIRST_ANSWER, lease.begin(house)).await {
                    Ok(Ok(())) => return Ok(lease),
                    Ok(Err(error)) => tracing::debug!(%error, "a link that had rested was of no use"),
                    Err(_) => tracing::debug!("a link that had rested did not answer in time"),
                }
                drop(lease);
                pool.clear();
                wanted.database.wait_for_place().await?
            }
        };
        let mut lease = lease(wanted.open(place).await?);
        lease.begin(house).await.map_err(BeginError::Broken)?;
        Ok(lease)
    }

    /// What a session in `context` is opened with, once its role has passed the doctor.
    async fn wanted<'a>(&'a self, context: Arc<Context>, who: &Identity) -> Result<Wanted<'a>, ConnectError> {
        let unknown = |what| ConnectError::Unconfigured { database: context.database().to_owned(), what };
        let database =
            self.database(context.database()).ok_or_else(|| unknown("there is no such database"))?;
        let settings = database.target.settings();
        let role = match (settings.upstream_user, context.role()) {
            (UpstreamUser::Same, None) => Cow::Owned(RoleSettings::without_password(who.name())),
            (_, role) => {
                let role = settings.role(role).ok_or_else(|| unknown("it has no such role"))?;
                let passed = database.vetting.pass(&database.target, role).await;
                passed.map_err(|unfit| unexamined(settings, unfit, context.is_unjudged()))?;
                Cow::Borrowed(role)
            }
        };
        let parameters = Session::of(&context, who)
            .start_up(settings, &role.user)
            .map_err(|parameters::Unfit { name, value }| ConnectError::Setting { name, value })?;
        Ok(Wanted { database, context, role, parameters })
    }
}

/// On what a session can begin.
enum Found {
    /// A link that rests.
    Rested(Box<Link>),
    /// A place for a new one, if they are counted.
    Place(Option<OwnedSemaphorePermit>),
}

impl Wanted<'_> {
    fn key(&self, who: &Identity) -> Key {
        Key {
            identity: who.name().to_owned(),
            role: self.role.name.clone(),
            parameters: self.parameters.clone(),
        }
    }

    async fn find(&self, key: &Key, generation: u64) -> Result<Found, ConnectError> {
        let deadline = Instant::now().checked_add(PATIENCE);
        let pool = &self.database.pool;
        loop {
            let arrival = pool.arrival();
            if let Some(link) = pool.take(key, generation) {
                return Ok(Found::Rested(Box::new(link)));
            }
            let full = match self.database.place() {
                Ok(place) => return Ok(Found::Place(place)),
                Err(full) => full,
            };
            let waited = async {
                tokio::select! {
                    place = self.database.free_place() => Some(Found::Place(place)),
                    () = arrival => None,
                }
            };
            let Some(deadline) = deadline else { return Err(full) };
            match timeout_at(deadline, waited).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(_) => return Err(full),
            }
        }
    }

    async fn open(&self, place: Option<OwnedSemaphorePermit>) -> Result<Link, ConnectError> {
        let unjudged = self.context.is_unjudged();
        let reading = if unjudged { Reading::AsTheClientSays } else { Reading::AsTheJudgeDoes };
        let target = &self.database.target;
        let opened = match target.open(&self.role, &self.parameters, reading).await {
            Err(Failure::Refused(answer))
                if answer.sqlstate() == sqlstate::TOO_MANY_CONNECTIONS && self.database.pool.give_way() =>
            {
                self.database.pool.clear();
                target.open(&self.role, &self.parameters, reading).await
            }
            opened => opened,
        };
        match opened {
            Ok(opened) => Ok(Link::new(Arc::clone(&self.context), opened, place)),
            Err(failure) => Err(explain(target.settings(), failure, unjudged)),
        }
    }
}

impl Database {
    /// A place for one more session, if there is a ceiling. A link that rests gives way.
    fn place(&self) -> Result<Option<OwnedSemaphorePermit>, ConnectError> {
        let Some(places) = &self.places else { return Ok(None) };
        loop {
            match Arc::clone(places).try_acquire_owned() {
                Ok(place) => return Ok(Some(place)),
                Err(_) if self.pool.give_way() => {}
                Err(_) => return Err(self.full()),
            }
        }
    }

    /// The next place that is free.
    async fn free_place(&self) -> Option<OwnedSemaphorePermit> {
        match &self.places {
            Some(places) => Arc::clone(places).acquire_owned().await.ok(),
            None => None,
        }
    }

    async fn wait_for_place(&self) -> Result<Option<OwnedSemaphorePermit>, ConnectError> {
        match self.place() {
            Ok(place) => Ok(place),
            Err(full) => timeout(PATIENCE, self.free_place()).await.map_err(|_| full),
        }
    }

    fn full(&self) -> ConnectError {
        ConnectError::Full { database: self.target.settings().name.clone() }
    }
}

fn unexamined(settings: &DatabaseSettings, unfit: Unfit, unjudged: bool) -> ConnectError {
    match unfit {
        Unfit::Dangerous(seen) => ConnectError::Dangerous(seen),
        Unfit::Unseen(LoadError::Open(failure)) => explain(settings, failure, unjudged),
        Unfit::Unseen(error @ (LoadError::Statement(_) | LoadError::Late(_))) => {
            ConnectError::Protocol { database: settings.name.clone(), what: error.in_words() }
        }
    }
}

fn explain(settings: &DatabaseSettings, failure: Failure, unjudged: bool) -> ConnectError {
    let database = settings.name.clone();
    let address = format!("{}:{}", settings.host, settings.port);
    match failure {
        Failure::Io(source) => ConnectError::Unreachable { database, address, source },
        Failure::Tls(what) => ConnectError::Tls { database, address, what },
        Failure::Refused(answer) => ConnectError::Refused { database, answer, unjudged },
        Failure::Protocol(what) => ConnectError::Protocol { database, what },
    }
}

/// How long a session of a call waits for a place.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a server may take to begin a transaction on a link that has rested.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
