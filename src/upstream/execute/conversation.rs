//! The exchange with the server: BEGIN, the statement, COMMIT. Every answer is awaited before what follows is sent,
//! so that a statement never runs outside the transaction that was made for it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::gate::{Gate, RunMode};
use crate::identity::Identity;
use crate::protocol::backend::ErrorFields;
use crate::protocol::body::{Body, BodyError};
use crate::protocol::frame::Frame;
use crate::protocol::results::{TransactionStatus, command_tag};
use crate::protocol::sqlstate;
use crate::sql::Facts;
use crate::sql::facts::Class;

use super::super::{Canceller, House, Link, LinkError, Outbox};
use super::RunError;
use super::collector::{Collector, MOST_BYTES, Refused};
use crate::mask::{Guard, Mismatch, Stop};

/// A link in use for one statement.
#[derive(Debug)]
pub(super) struct Conversation<'a> {
    link: &'a mut Link,
    canceller: Canceller,
    outbox: Outbox,
    deadline: Option<Deadline>,
    overseer: Overseer<'a>,
}

/// Whom to ask whether a result may go on, and for whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overseer<'a> {
    pub(super) gate: &'a Gate,
    pub(super) who: &'a Identity,
}

/// When the statement's time is over.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    ms: u64,
}

/// The answer to our own constant SQL.
#[derive(Debug, Default)]
struct Answer {
    tag: String,
    value: Option<u64>,
    error: Option<ErrorFields>,
}

impl<'a> Conversation<'a> {
    pub(super) fn on(link: &'a mut Link, overseer: Overseer<'a>) -> Self {
        let canceller = link.canceller();
        Self { link, canceller, outbox: Outbox::new(), deadline: None, overseer }
    }

    /// What will be sent next.
    pub(super) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// The same, in which the statement that waits in the outbox has `time_ms` milliseconds from now on.
    pub(super) fn within(&mut self, time_ms: Option<u64>) -> &mut Self {
        let deadline = |ms| Some(Deadline { at: Instant::now().checked_add(Duration::from_millis(ms))?, ms });
        self.deadline = time_ms.and_then(deadline);
        self
    }

    /// Opens the transaction.
    pub(super) async fn begin(&mut self, mode: RunMode) -> Result<(), RunError> {
        let house = match mode {
            RunMode::Read { .. } => House::BeginReadOnly,
            RunMode::Write { .. } => House::Begin,
        };
        let (answer, status) = self.ask(house).await.map_err(RunError::Broken)?;
        if let Some(error) = answer.error {
            return Err(own_error(&error));
        }
        match status {
            TransactionStatus::Active => Ok(()),
            TransactionStatus::Idle | TransactionStatus::Failed => {
                Err(RunError::Broken(broken("it opened no transaction")))
            }
        }
    }

    /// Makes sure of the definitions that the statement was judged by, for the rest of the transaction.
    pub(super) async fn hold(&mut self, guard: &Guard) -> Result<(), RunError> {
        self.outbox.prepare_guard("", guard);
        self.outbox.run_guard("");
        self.outbox.sync();
        self.link.send(&mut self.outbox).await.map_err(RunError::Broken)?;
        match self.answer().await.map_err(RunError::Broken)? {
            (Answer { error: None, .. }, TransactionStatus::Active) => Ok(()),
            (Answer { error: Some(error), .. }, _) if error.sqlstate() != sqlstate::DIVISION_BY_ZERO => {
                Err(own_error(&error))
            }
            _ => Err(Stop::Mismatch(Mismatch::Redefined).into()),
        }
    }

    /// Runs the statement that waits in the outbox, as long as it may take.
    pub(super) async fn run_in_time(&mut self, collector: &mut Collector) -> Result<(), RunError> {
        match self.deadline {
            None => self.run(collector).await,
            Some(Deadline { at, ms }) => {
                timeout_at(at, self.run(collector)).await.unwrap_or_else(|_| Err(Stop::Time { ms }.into()))
            }
        }
    }

    /// Says goodbye after `error`, as far as the server still listens: whatever is not committed is rolled back by it.
    pub(super) async fn part(&mut self, error: Option<&RunError>) {
        match error {
            Some(RunError::Stopped(_)) => self.canceller.cancel().await,
            Some(RunError::Broken(_) | RunError::Unknown(_)) => return,
            None
            | Some(RunError::Server { .. } | RunError::TooManyAffected { .. } | RunError::Unwitnessed(_)) => {
            }
        }
        self.outbox.take();
        self.outbox.terminate();
        if let Err(error) = self.link.send(&mut self.outbox).await {
            tracing::debug!(%error, "a database did not wait for the goodbye");
        }
    }

    async fn run(&mut self, collector: &mut Collector) -> Result<(), RunError> {
        self.link.send(&mut self.outbox).await.map_err(RunError::Broken)?;
        let mut error = None;
        loop {
            let Frame { tag, body } = match self.receive().await.map_err(RunError::Broken)? {
                Some(frame) if frame.tag == b'D' => {
                    let Overseer { gate, who } = self.overseer;
                    if let Some(step) = collector.step(&frame, gate) {
                        collector.goes_on(gate.goes_on(who, step).await?);
                    }
                    collector.row(&frame)?;
                    continue;
                }
                Some(frame) => frame,
                None => return Err(Stop::Bytes { bytes: MOST_BYTES }.into()),
            };
            match tag {
                b'T' => collector.describe(body)?,
                b'C' => collector.complete(command_tag(body).map_err(invalid)?),
                b's' => collector.suspended(),
                b'N' => collector.notice(&ErrorFields::parse(body).map_err(invalid)?),
                b'E' => error = Some(collector.server_error(&ErrorFields::parse(body).map_err(invalid)?)),
                // Parse, Bind and Close are confirmed; no rows to describe; an empty statement; a notification for
                // nobody; a parameter that changed.
                b'1' | b'2' | b'3' | b'n' | b'I' | b'A' | b'S' => {}
                b'G' | b'H' | b'W' => {
                    self.canceller.cancel().await;
                    return Err(refused(
                        "COPY from or to the client can't be run this way",
                        "use SELECT, INSERT, or a PostgreSQL client",
                    ));
                }
                b'Z' => {
                    let status = TransactionStatus::parse(&body).map_err(invalid)?;
                    return match error {
                        Some(error) => Err(error),
                        None => within_transaction(status),
                    };
                }
                tag => return Err(RunError::Broken(unexpected(tag))),
            }
        }
    }

    /// How many rows the transaction has changed, by the server's own count.
    pub(super) async fn rows_changed(&mut self) -> Result<u64, RunError> {
        let (answer, _) = self.ask(House::RowsChanged).await.map_err(RunError::Broken)?;
        if let Some(error) = answer.error {
            return Err(own_error(&error));
        }
        answer.value.ok_or_else(|| {
            refused("the database does not count changed rows", "set `track_counts` = on, or no limit")
        })
    }

    /// The transaction's id, an `xid8`.
    pub(super) async fn transaction(&mut self) -> Result<u64, RunError> {
        let (answer, _) = self.ask(House::TransactionId).await.map_err(RunError::Broken)?;
        match (answer.error, answer.value) {
            (Some(error), _) => Err(own_error(&error)),
            (None, Some(id)) => Ok(id),
            (None, None) => Err(RunError::Broken(broken("it gave its transaction no id"))),
        }
    }

    /// Commits. `collector` knows what may be said of an error.
    pub(super) async fn commit(&mut self, collector: &Collector) -> Result<(), RunError> {
        let (deadline, canceller) = (self.deadline, self.canceller.clone());
        let mut answering = std::pin::pin!(self.ask(House::Commit));
        let answered = match deadline {
            None => answering.await,
            Some(Deadline { at, .. }) => match timeout_at(at, &mut answering).await {
                Ok(answered) => answered,
                // Whether it is committed by now is the server's to say.
                Err(_) => {
                    canceller.cancel().await;
                    answering.await
                }
            },
        };
        let (answer, _) = answered.map_err(RunError::Unknown)?;
        match (answer, deadline) {
            (Answer { error: Some(error), .. }, Some(Deadline { at, ms }))
                if error.sqlstate() == sqlstate::QUERY_CANCELED && Instant::now() >= at =>
            {
                Err(Stop::Time { ms }.into())
            }
            (Answer { error: Some(error), .. }, _) => Err(collector.server_error(&error)),
            (Answer { tag, .. }, _) if tag == "COMMIT" => Ok(()),
            (Answer { tag, .. }, _) => {
                Err(RunError::Broken(broken(&format!("it answered COMMIT with `{tag}`"))))
            }
        }
    }

    /// Sends our own SQL and waits until the server is ready again.
    async fn ask(&mut self, house: House) -> Result<(Answer, TransactionStatus), LinkError> {
        self.outbox.house(house);
        self.link.send(&mut self.outbox).await?;
        self.answer().await
    }

    /// Waits until the server is ready again.
    async fn answer(&mut self) -> Result<(Answer, TransactionStatus), LinkError> {
        let mut answer = Answer::default();
        loop {
            let frame = self.receive().await?.ok_or_else(|| broken("it sent a message that is too long"))?;
            let body = frame.body;
            match frame.tag {
                b'C' => answer.tag = command_tag(body).map_err(|error| broken(&error.to_string()))?,
                b'D' => answer.value = number(Body::new(body)).map_err(|error| broken(&error.to_string()))?,
                b'E' => {
                    answer.error =
                        Some(ErrorFields::parse(body).map_err(|error| broken(&error.to_string()))?);
                }
                b'T' | b'N' | b'A' | b'S' | b'1' | b'2' | b'3' => {}
                b'Z' => {
                    let status =
                        TransactionStatus::parse(&body).map_err(|error| broken(&error.to_string()))?;
                    return Ok((answer, status));
                }
                tag => return Err(unexpected(tag)),
            }
        }
    }

    /// The next frame; `None` if it is too big to be held.
    async fn receive(&mut self) -> Result<Option<Frame>, LinkError> {
        self.link.receive_within(usize::try_from(MOST_BYTES).unwrap_or(usize::MAX)).await
    }
}

/// A statement that ended the transaction around it has escaped every check that was to follow.
pub(super) fn within_transaction(status: TransactionStatus) -> Result<(), RunError> {
    match status {
        TransactionStatus::Active => Ok(()),
        TransactionStatus::Idle | TransactionStatus::Failed => Err(refused(
            "the statement ended the transaction that it ran in",
            "leave BEGIN, COMMIT and ROLLBACK to the gateway",
        )),
    }
}

/// Whether no row can have changed that the command tag does not count. Triggers and cascades are the table's own
/// business, as in PostgreSQL's own count.
pub(super) fn tag_counts_all(facts: &Facts) -> bool {
    let plain = matches!(facts.kind.as_str(), "insert" | "update" | "delete" | "merge");
    let nested = facts.inner.iter().any(|inner| inner.class >= Class::Write);
    let calls = facts.functions.iter().any(|function| !function.builtin);
    plain && !nested && !calls
}

fn number(mut body: Body) -> Result<Option<u64>, BodyError> {
    let field = "a number";
    if body.count(1, field)? != 1 {
        return Err(BodyError::Invalid { field });
    }
    let Some(digits) = body.value(field)? else { return Ok(None) };
    let digits = std::str::from_utf8(&digits).map_err(|_| BodyError::NotUtf8 { field })?;
    digits.parse().map(Some).map_err(|_| BodyError::Invalid { field })
}

pub(super) fn refused(message: &str, hint: &str) -> RunError {
    RunError::Server {
        sqlstate: sqlstate::FEATURE_NOT_SUPPORTED.to_owned(),
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

/// An error about SQL of our own holds nobody's data.
fn own_error(error: &ErrorFields) -> RunError {
    RunError::Server {
        sqlstate: error.sqlstate().to_owned(),
        message: error.message().to_owned(),
        hint: error.hint().to_owned(),
    }
}

fn broken(what: &str) -> LinkError {
    LinkError::Protocol { what: what.to_owned() }
}

pub(super) fn unexpected(tag: u8) -> LinkError {
    broken(&format!("it sent a message of type `{}`", tag.escape_ascii()))
}

pub(super) fn invalid(error: BodyError) -> RunError {
    RunError::Broken(broken(&error.to_string()))
}

impl From<Refused> for RunError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stop(stop) => Self::Stopped(stop),
            Refused::Body(error) => invalid(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_that_ended_its_transaction_is_an_error_even_without_one_from_the_server() {
        assert!(within_transaction(TransactionStatus::Active).is_ok());
        for status in [TransactionStatus::Idle, TransactionStatus::Failed] {
            assert!(matches!(within_transaction(status), Err(RunError::Server { .. })));
        }
    }

    #[test]
    fn an_answer_that_is_not_one_number_is_refused() {
        let read = |bytes: &'static [u8]| number(Body::new(bytes.into()));
        assert_eq!(read(b"\0\x01\0\0\0\x0212"), Ok(Some(12)));
        assert_eq!(read(b"\0\x01\xff\xff\xff\xff"), Ok(None));
        for bytes in [b"\0\x02\0\0\0\x011".as_slice(), b"\0\x01\0\0\0\x01x", b"\0\x01\0\0\0\x091", b""] {
            assert!(read(bytes).is_err());
        }
    }
}
