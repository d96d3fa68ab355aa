//! All governed databases, and what is known of each.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use crate::catalog::Snapshot;
use crate::gate::{CatalogError, Catalogs, Withheld};
use crate::mask::RowFilters;
use crate::mask::rows::Finding;
use crate::protocol::backend::ErrorFields;

use super::catalog::{LoadError, Shelf};
use super::discover::{self, Suspect};
use super::doctor::{self, Examination, ExamineError, Vetting};
use super::handshake::Failure;
use super::pool::Pool;
use super::rls::{self, RowError, RowPlan};
use super::settings::{DatabaseSettings, RoleSettings, UpstreamUser};
use super::target::Target;

/// All governed databases: opens sessions and loads catalogs.
#[derive(Debug)]
pub struct Upstream {
    databases: Vec<Database>,
    versions: watch::Sender<BTreeMap<String, u64>>,
}

#[derive(Debug)]
pub(super) struct Database {
    pub(super) target: Target,
    roles: Vec<String>,
    pub(super) places: Option<Arc<Semaphore>>,
    pub(super) pool: Arc<Pool>,
    shelf: Shelf,
    pub(super) vetting: Vetting,
}

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nothing answers there.
    #[error("database `{database}` can't be reached at {address}")]
    Unreachable {
        /// The database's name in the configuration.
        database: String,
        /// Host and port.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// There is no TLS with the server, and no going on without.
    #[error("database `{database}` can't be spoken to by TLS at {address}: {what}")]
    Tls {
        /// The database's name in the configuration.
        database: String,
        /// Host and port.
        address: String,
        /// What is wrong.
        what: String,
    },
    /// The server refused the gateway.
    #[error("database `{database}` refused the gateway's credential ({}): {}", answer.sqlstate(), answer.message())]
    Refused {
        /// The database's name in the configuration.
        database: String,
        /// What the server said.
        answer: Box<ErrorFields>,
        /// Whether the client may hear that: in an unjudged session, the server's words are for it.
        unjudged: bool,
    },
    /// The gateway has as many sessions there as it may.
    #[error("database `{database}` has no place for another session: its `max_connections` are in use")]
    Full {
        /// The database's name in the configuration.
        database: String,
    },
    /// A setting of the client's can't be honoured.
    #[error("invalid value for parameter \"{name}\": \"{value}\"")]
    Setting {
        /// The setting.
        name: String,
        /// Its value, as the client gave it.
        value: String,
    },
    /// The role that the session would have may do what the configuration does not accept.
    #[error("an upstream role is not used for what it may do: {0}")]
    Dangerous(Arc<Examination>),
    /// The configuration has no such database or role.
    #[error("database `{database}` can't be used: {what}")]
    Unconfigured {
        /// The database's name.
        database: String,
        /// What is missing.
        what: &'static str,
    },
    /// The server broke the protocol, or asked for what the gateway does not do.
    #[error("database `{database}` answered the gateway's start-up unexpectedly: {what}")]
    Protocol {
        /// The database's name in the configuration.
        database: String,
        /// What it did.
        what: String,
    },
}

impl Upstream {
    /// The databases of a configuration. Nothing is opened yet.
    #[must_use]
    pub fn new(databases: Vec<DatabaseSettings>) -> Self {
        let versions = watch::Sender::default();
        let databases = databases.into_iter().map(|settings| Database {
            roles: settings.roles.iter().map(|role| role.name.clone()).collect(),
            places: settings.max_connections.map(|most| Arc::new(Semaphore::new(most))),
            target: Target::new(settings),
            pool: Arc::default(),
            shelf: Shelf::new(versions.clone()),
            vetting: Vetting::default(),
        });
        Self { databases: databases.collect(), versions }
    }

    /// Loads `database`'s catalog, and again whenever it changes, whoever changed it: within seconds, or at once where an
    /// event trigger says `NOTIFY portcullis_catalog`. It never ends, and asks nothing while nobody uses the database.
    pub async fn watch(&self, database: &str) {
        if let Some(database) = self.database(database) {
            database.shelf.watch(&database.target).await;
        }
    }

    /// Examines the roles by which sessions of `database` are opened, so that none is opened by a dangerous one. Where
    /// nobody answers, it stops with the first: they are examined again before their first session.
    pub async fn vet(&self, database: &str) -> Vec<Result<Arc<Examination>, ExamineError>> {
        let Some(database) = self.database(database) else { return Vec::new() };
        let mut all = Vec::new();
        for role in database.target.settings().credentials() {
            let seen = database.vetting.look(&database.target, role).await;
            let is_gone = matches!(seen, Err(LoadError::Open(Failure::Io(_))));
            all.push(seen.map_err(|error| unseen(&database.target, role, &error)));
            if is_gone {
                break;
            }
        }
        all
    }

    /// Examines the same roles for somebody who wants to know, with a look at the columns that a role has no use for:
    /// `withheld` has them by the role's name, which is empty for the database's own credential. In the order of the
    /// configuration; none for a database that isn't there.
    pub async fn examine(
        &self,
        database: &str,
        withheld: impl Fn(&str) -> Vec<Withheld>,
    ) -> Vec<Result<Examination, ExamineError>> {
        let Some(database) = self.database(database) else { return Vec::new() };
        let mut all = Vec::new();
        for role in database.target.settings().credentials() {
            let seen = doctor::examine(&database.target, role, &withheld(&role.name)).await;
            all.push(seen.map_err(|error| unseen(&database.target, role, &error)));
        }
        all
    }

    /// Looks at up to `rows` rows of each table as `role`, which is empty for the database's own credential, and says
    /// which columns may deserve a label.
    ///
    /// # Errors
    /// When there is no such database or role, or the server does not answer.
    pub async fn discover(
        &self,
        database: &str,
        role: &str,
        rows: u32,
    ) -> Result<Vec<Suspect>, ExamineError> {
        let known = self.database(database);
        let credential = known.and_then(|database| {
            let mut credentials = database.target.settings().credentials();
            credentials.find(|credential| credential.name == role).map(|credential| (database, credential))
        });
        let Some((database, credential)) = credential else {
            let why = format!("the configuration has no role `{role}` of this database");
            return Err(ExamineError { database: database.to_owned(), user: role.to_owned(), why });
        };
        let suspects = discover::discover(&database.target, credential, rows).await;
        suspects.map_err(|error| unseen(&database.target, credential, &error))
    }

    /// What puts `filters` in force on `database`, by a catalog that is loaded now.
    ///
    /// # Errors
    /// When there is no catalog, or clients choose their own role there.
    pub async fn plan_rows(&self, database: &str, filters: &RowFilters) -> Result<RowPlan, RowError> {
        let (found, catalog) = self.looked_at(database).await?;
        let users = found.users();
        if users.is_empty() && !filters.is_empty() {
            let why = "clients choose their role upstream, so there is none to make policies for";
            return Err(RowError { database: database.to_owned(), why: why.to_owned() });
        }
        Ok(RowPlan::new(&found.target, filters, &catalog, &users))
    }

    /// Runs `plan` as `owner`, who must own the tables that it names: all of it or nothing.
    ///
    /// # Errors
    /// When the server can't be reached, or refuses.
    pub async fn apply_rows(&self, plan: &RowPlan, owner: &RoleSettings) -> Result<(), RowError> {
        let failed = |why: String| RowError { database: plan.database.clone(), why };
        let found = self.database(&plan.database).ok_or_else(|| failed(NO_DATABASE.to_owned()))?;
        let applied = rls::apply(&found.target, owner, plan).await;
        applied.map_err(|error| failed(error.in_words()))
    }

    /// What keeps `filters` from being in force on `database`, by a catalog that is loaded now.
    ///
    /// # Errors
    /// When there is no catalog.
    pub async fn verify_rows(&self, database: &str, filters: &RowFilters) -> Result<Vec<Finding>, RowError> {
        let (found, catalog) = self.looked_at(database).await?;
        let verified = rls::verify(&found.target, filters, &catalog, &found.users()).await;
        verified.map_err(|error| RowError { database: database.to_owned(), why: error.in_words() })
    }

    async fn looked_at(&self, database: &str) -> Result<(&Database, Arc<Snapshot>), RowError> {
        let failed = |why: String| RowError { database: database.to_owned(), why };
        let found = self.database(database).ok_or_else(|| failed(NO_DATABASE.to_owned()))?;
        let catalog = self.refresh(database).await.map_err(|error| failed(error.why))?;
        Ok((found, catalog))
    }

    /// The version of each database's newest catalog snapshot, by the database's name, once there is one: it changes
    /// whenever definitions are found to have changed. Nobody looks for changes while nobody uses a database.
    #[must_use]
    pub fn definitions(&self) -> watch::Receiver<BTreeMap<String, u64>> {
        self.versions.subscribe()
    }

    /// Where `database` is.
    pub(super) fn target(&self, database: &str) -> Option<&Target> {
        self.database(database).map(|database| &database.target)
    }

    pub(super) fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.target.settings().name == name)
    }
}

impl Catalogs for Upstream {
    fn current(&self, database: &str) -> Option<Arc<Snapshot>> {
        self.database(database)?.shelf.newest()
    }

    fn refresh<'a>(
        &'a self,
        database: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async move {
            match self.database(database) {
                Some(found) => found.shelf.refresh(&found.target).await,
                None => Err(CatalogError { database: database.to_owned(), why: NO_DATABASE.to_owned() }),
            }
        })
    }

    fn is_expired(&self, database: &str) -> bool {
        self.database(database).is_some_and(|database| database.shelf.is_expired())
    }

    fn expire(&self, database: &str) {
        if let Some(database) = self.database(database) {
            database.shelf.expire();
        }
    }

    fn names(&self) -> Vec<String> {
        self.databases.iter().map(|database| database.target.settings().name.clone()).collect()
    }

    fn roles(&self, database: &str) -> Option<&[String]> {
        self.database(database).map(|database| database.roles.as_slice())
    }

    fn user(&self, database: &str, role: Option<&str>) -> Option<&str> {
        let settings = self.database(database)?.target.settings();
        match (settings.upstream_user, role) {
            (UpstreamUser::Same, None) => None,
            (_, role) => settings.role(role).map(|role| role.user.as_str()),
        }
    }
}

impl Database {
    /// The users by which sessions are opened, ordered.
    fn users(&self) -> Vec<String> {
        let users = self.target.settings().credentials().map(|credential| credential.user.clone());
        users.collect::<BTreeSet<_>>().into_iter().collect()
    }
}

const NO_DATABASE: &str = "there is no such database in the configuration";

fn unseen(target: &Target, role: &RoleSettings, error: &LoadError) -> ExamineError {
    ExamineError { database: target.settings().name.clone(), user: role.user.clone(), why: error.in_words() }
}
