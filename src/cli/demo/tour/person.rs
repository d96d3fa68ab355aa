//! A client of the wire door, like psql: simple queries, rows as text, notices as they come.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::error::DbError;
use tokio_postgres::{AsyncMessage, Client, Config, NoTls, SimpleQueryMessage};

use crate::cli::demo::cluster::Cluster;

/// Somebody with a session.
#[derive(Debug)]
pub(super) struct Person {
    client: Arc<Client>,
    notices: mpsc::Receiver<DbError>,
}

/// What came back from one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// Rows.
    Rows(Grid),
    /// So many rows were changed.
    Done(u64),
    /// An error.
    Refused(Refusal),
    /// Nothing: it waits for a person, as the notice says. It was cancelled.
    Waits(String),
}

/// Rows as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Grid {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

/// An error as a client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) sqlstate: String,
    pub(super) message: String,
    pub(super) detail: String,
    pub(super) hint: String,
}

/// A statement that is on its way.
#[derive(Debug)]
pub(super) struct Held {
    task: JoinHandle<anyhow::Result<Answer>>,
    /// What came back, if it was looked for already.
    answer: Option<Answer>,
}

impl Person {
    /// A session at the wire door.
    pub(super) async fn log_in(
        address: SocketAddr,
        name: &str,
        password: &str,
        database: &str,
    ) -> anyhow::Result<Self> {
        let mut config = Config::new();
        config.hostaddr(address.ip()).port(address.port()).user(name).password(password).dbname(database);
        let (client, mut connection) =
            config.connect(NoTls).await.with_context(|| format!("`{name}` can't log in at the wire door"))?;
        let (sender, notices) = mpsc::channel(NOTICES);
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
                if let AsyncMessage::Notice(notice) = message
                    && sender.send(notice).await.is_err()
                {
                    break;
                }
            }
        });
        Ok(Self { client: Arc::new(client), notices })
    }

    /// A superuser's session with PostgreSQL itself, past the gateway.
    pub(super) async fn direct(cluster: &Cluster, database: &str) -> anyhow::Result<Self> {
        let (_, notices) = mpsc::channel(1);
        Ok(Self { client: Arc::new(cluster.connect(database).await?), notices })
    }

    /// Sends `sql` and waits for what comes back. Does not wait for people.
    pub(super) async fn ask(&mut self, sql: &str) -> anyhow::Result<Answer> {
        let mut held = self.start(sql);
        let Some(notice) = self.notice(&mut held).await? else { return held.answer().await };
        self.client
            .cancel_token()
            .cancel_query(NoTls)
            .await
            .context("a waiting statement can't be cancelled")?;
        held.answer().await?;
        Ok(Answer::Waits(notice))
    }

    /// The rows of `sql`, which must succeed.
    pub(super) async fn rows(&self, sql: &str) -> anyhow::Result<Grid> {
        match ask(&self.client, sql).await? {
            Answer::Refused(refusal) => bail!("PostgreSQL refused `{sql}`: {}", refusal.message),
            answer @ (Answer::Rows(_) | Answer::Done(_) | Answer::Waits(_)) => Ok(answer.into_rows()),
        }
    }

    /// Sends `sql` without waiting.
    pub(super) fn start(&self, sql: &str) -> Held {
        let (client, sql) = (Arc::clone(&self.client), sql.to_owned());
        Held { task: tokio::spawn(async move { ask(&client, &sql).await }), answer: None }
    }

    /// The next notice while `held` has no answer; none if the answer comes first.
    pub(super) async fn notice(&mut self, held: &mut Held) -> anyhow::Result<Option<String>> {
        tokio::select! {
            biased;
            answer = &mut held.task => {
                held.answer = Some(answer??);
                Ok(None)
            }
            Some(notice) = self.notices.recv() => {
                Ok(Some(format!("{}: {}", notice.severity(), notice.message())))
            }
            () = tokio::time::sleep(PATIENCE) => bail!("a statement has neither an answer nor a notice"),
        }
    }
}

impl Held {
    /// What comes back in the end.
    pub(super) async fn answer(self) -> anyhow::Result<Answer> {
        match self.answer {
            Some(answer) => Ok(answer),
            None => {
                tokio::time::timeout(PATIENCE, self.task).await.context("a statement has no answer")??
            }
        }
    }
}

impl Answer {
    /// The rows; none if there are none.
    pub(super) fn into_rows(self) -> Grid {
        match self {
            Self::Rows(grid) => grid,
            Self::Done(_) | Self::Refused(_) | Self::Waits(_) => Grid::default(),
        }
    }

    /// The error, if it is one.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Rows(_) | Self::Done(_) | Self::Waits(_) => None,
        }
    }
}

impl Refusal {
    /// Whether it says that `rule` did it.
    pub(super) fn names(&self, rule: &str) -> bool {
        let mut words = self.detail.split(|char: char| !(char.is_ascii_alphanumeric() || char == '_'));
        words.any(|word| word == rule)
    }
}

impl Grid {
    pub(super) fn new(columns: Vec<String>, rows: Vec<Vec<Option<String>>>) -> Self {
        Self { columns, rows }
    }

    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn rows(&self) -> &[Vec<Option<String>>] {
        &self.rows
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The values of column `name`, from first row to last.
    pub(super) fn column(&self, name: &str) -> Vec<Option<&str>> {
        let Some(at) = self.columns.iter().position(|column| column == name) else { return Vec::new() };
        self.rows.iter().map(|row| row.get(at).and_then(Option::as_deref)).collect()
    }

    /// Whether column `name` is in both, and has no value in common.
    pub(super) fn shares_nothing(&self, other: &Self, name: &str) -> bool {
        let (mine, others) = (self.column(name), other.column(name));
        !mine.is_empty() && !others.is_empty() && mine.iter().all(|value| !others.contains(value))
    }

    /// The first value of the first row; empty if there is none.
    pub(super) fn first(&self) -> String {
        self.rows.first().and_then(|row| row.first()).cloned().flatten().unwrap_or_default()
    }
}

async fn ask(client: &Client, sql: &str) -> anyhow::Result<Answer> {
    let messages = match client.simple_query(sql).await {
        Ok(messages) => messages,
        Err(error) => return refusal(error),
    };
    let (mut grid, mut affected, mut has_rows) = (Grid::default(), 0, false);
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                has_rows = true;
                grid.columns = columns.iter().map(|column| column.name().to_owned()).collect();
            }
            SimpleQueryMessage::Row(row) => {
                let cells = (0..row.len()).map(|at| row.get(at).map(str::to_owned));
                grid.rows.push(cells.collect());
            }
            SimpleQueryMessage::CommandComplete(rows) => affected = rows,
            _ => {}
        }
    }
    Ok(if has_rows { Answer::Rows(grid) } else { Answer::Done(affected) })
}

fn refusal(error: tokio_postgres::Error) -> anyhow::Result<Answer> {
    let Some(said) = error.as_db_error() else {
        return Err(error).context("the session broke");
    };
    Ok(Answer::Refused(Refusal {
        sqlstate: said.code().code().to_owned(),
        message: said.message().to_owned(),
        detail: said.detail().unwrap_or_default().to_owned(),
        hint: said.hint().unwrap_or_default().to_owned(),
    }))
}

/// Notices that may wait to be read.
const NOTICES: usize = 64;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
