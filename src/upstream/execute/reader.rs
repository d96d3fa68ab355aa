//! The rows of one admitted read, fetched as they are wanted: what a cursor stands on.
//!
//! The statement runs in a READ ONLY transaction, which stays open with the guard's locks until the result has ended or is
//! given up. Its portal is executed in steps, and of a step no more is read than is asked for: what a client does not
//! want yet waits with the server, and only the rest of a step, up to a bound, here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::gate::{Authorized, Course, Gate, Outcome, Page, Receipt, Run, RunMode, Running};
use crate::identity::Identity;
use crate::mask::Stop;
use crate::policy::Limits;
use crate::protocol::backend::ErrorFields;
use crate::protocol::frame::Frame;
use crate::protocol::results::{TransactionStatus, command_tag};
use crate::sql::Facts;

use super::super::{Lease, Outbox};
use super::collector::Collector;
use super::conversation::{Conversation, Overseer, invalid, refused, unexpected, within_transaction};
use super::{ResultColumn, RunError};

/// A read of which rows can be had. To be ended by [`Reader::finish`] or [`Reader::fail`]; dropped, it is recorded with
/// what was [charged](Reader::charge).
#[derive(Debug)]
pub struct Reader {
    lease: Lease,
    collector: Collector,
    facts: Arc<Facts>,
    account: Account,
    limits: Limits,
    time_left: Option<Duration>,
    state: State,
    /// Rows that have come and were not asked for yet.
    waiting: VecDeque<Frame>,
}

/// What the client has got, and the receipt that is owed for it.
#[derive(Debug)]
struct Account {
    receipt: Option<Receipt>,
    rows: u64,
    bytes: u64,
}

/// A read between two pages. Only a proof gets more of it.
#[derive(Debug)]
pub struct Parked(Reader);

/// What comes next of a result.
#[derive(Debug)]
pub enum Next {
    /// A row.
    Row(Row),
    /// There are more rows, and the identity may have no more of them at once.
    Ceiling(Stop),
    /// The next row is too long to be held in memory: of more than so many bytes.
    TooLong(u64),
    /// Nothing: it has ended.
    End,
}

/// One row that was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The values in PostgreSQL's text form; `None` is NULL.
    pub values: Vec<Option<String>>,
    /// Its size as the server sent it, in bytes.
    pub bytes: u64,
}

/// What the server is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It sends a step.
    Sending { is_complete: bool },
    /// It waits for the next step to be asked for.
    Suspended,
    /// It has sent all.
    Complete,
    /// The connection is of no use any more.
    Lost,
}

/// What has come from the server.
enum Came {
    Row(Frame),
    TooLong,
    /// A step has ended.
    Ready,
}

impl Reader {
    /// Runs what `proof` admits on `lease`, which has begun a READ ONLY transaction, and fetches its first step: of
    /// `rows` rows. What is fetched later goes on for `who` by what `gate` says then.
    ///
    /// When `gone` is cancelled first, the statement is too.
    ///
    /// # Errors
    /// See [`RunError`]; the receipt is settled and the lease given back.
    pub async fn begin(
        mut lease: Lease,
        proof: Authorized<Run>,
        gate: &Gate,
        who: &Identity,
        rows: u32,
        gone: &CancellationToken,
    ) -> Result<Self, RunError> {
        let mut steps = proof.into_steps().into_iter();
        let Some(step) = steps.next() else { return Err(refused("there is nothing to run", "")) };
        if let Some(guard) = step.guard() {
            let held = Conversation::on(&mut lease, Overseer { gate, who }).hold(guard).await;
            if let Err(error) = held {
                let is_stopped = matches!(error, RunError::Stopped(_));
                step.skip(&if is_stopped { error.outcome() } else { Outcome::Skipped });
                lease.stain();
                lease.give_back();
                return Err(error);
            }
        }
        let mut outbox = Outbox::new();
        // A tool brings no COMMIT, so nothing weaker ever runs in the place of what it brought.
        let Running { release, receipt, facts, limits, ends_session: _, course, change: _, warning: _ } =
            outbox.run(step, rows);
        lease.runs(&facts);
        let mode = RunMode::Read { max_rows: u64::MAX };
        let collector = Collector::new(release, limits, receipt.decision_id(), mode).on(course);
        let mut reader = Self {
            lease,
            collector,
            facts,
            account: Account { receipt: Some(receipt), rows: 0, bytes: 0 },
            limits,
            time_left: limits.time_ms.map(Duration::from_millis),
            state: State::Sending { is_complete: false },
            waiting: VecDeque::new(),
        };
        let first = async {
            reader.lease.send(&mut outbox).await.map_err(RunError::Broken)?;
            reader.peek(rows).await.map(drop)
        };
        let begun = tokio::select! {
            begun = first => begun,
            () = gone.cancelled() => Err(RunError::cancelled()),
        };
        match begun {
            Ok(()) => Ok(reader),
            Err(error) => Err(reader.fail(error)),
        }
    }

    /// The next row; where none has come yet, up to `rows` more are asked for.
    ///
    /// # Errors
    /// See [`RunError`]: then the result is to be given up by [`Reader::fail`].
    pub async fn next(&mut self, gate: &Gate, who: &Identity, rows: u32) -> Result<Next, RunError> {
        let frame = match self.peek(rows).await? {
            Came::Row(frame) => frame,
            Came::TooLong => return Ok(Next::TooLong(LONGEST_ROW)),
            Came::Ready => return Ok(Next::End),
        };
        if let Some(rows) = self.limits.rows.filter(|rows| self.collector.rows() >= *rows) {
            return Ok(Next::Ceiling(Stop::Rows { rows }));
        }
        if let Some(step) = self.collector.step(&frame, gate) {
            self.collector.goes_on(gate.goes_on(who, step).await?);
        }
        let before = self.collector.bytes();
        match self.collector.row(&frame).map_err(RunError::from) {
            Err(RunError::Stopped(stop @ Stop::Bytes { .. })) => return Ok(Next::Ceiling(stop)),
            taken => taken?,
        }
        self.waiting.pop_front();
        let values = self.collector.take_row().unwrap_or_default();
        Ok(Next::Row(Row { values, bytes: self.collector.bytes().saturating_sub(before) }))
    }

    /// Whether there is another row.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub async fn has_more(&mut self, rows: u32) -> Result<bool, RunError> {
        Ok(!matches!(self.peek(rows).await?, Came::Ready))
    }

    /// The columns.
    #[must_use]
    pub fn columns(&self) -> &[ResultColumn] {
        self.collector.columns()
    }

    /// Notices of the server that were not taken yet, `SEVERITY: message`, scrubbed where the statement touches governed
    /// columns.
    pub fn take_notices(&mut self) -> Vec<String> {
        self.collector.take_notices()
    }

    /// What the statement does.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// What the result goes on by; `None` where nothing can come of it.
    #[must_use]
    pub fn course(&self) -> Option<&Course> {
        self.collector.course()
    }

    /// Counts `rows` rows of `bytes` bytes that the client is about to get.
    pub fn charge(&mut self, rows: u64, bytes: u64) {
        let account = &mut self.account;
        account.rows = account.rows.saturating_add(rows);
        account.bytes = account.bytes.saturating_add(bytes);
        if let Some(receipt) = &mut account.receipt {
            receipt.charge(account.rows, account.bytes);
        }
    }

    /// Rests between two pages. What is under way is read to the end of its step, as far as there is room for it.
    ///
    /// # Errors
    /// See [`RunError`]: then the result was given up.
    pub async fn park(mut self) -> Result<Parked, RunError> {
        let mut room = LONGEST_ROW;
        let size = |frame: &Frame| u64::try_from(frame.body.len()).unwrap_or(u64::MAX);
        room = self.waiting.iter().fold(room, |room, frame| room.saturating_sub(size(frame)));
        while matches!(self.state, State::Sending { .. }) && room > 0 {
            match self.receive().await {
                Ok(Came::Row(frame)) => {
                    room = room.saturating_sub(size(&frame));
                    self.waiting.push_back(frame);
                }
                Ok(Came::Ready) => {}
                Ok(Came::TooLong) => return Err(self.fail(Stop::Bytes { bytes: LONGEST_ROW }.into())),
                Err(error) => return Err(self.fail(error)),
            }
        }
        self.lease.release();
        Ok(Parked(self))
    }

    /// Gives the result up, or takes in that it has ended: what the client got is recorded as all that was wanted.
    pub fn finish(self) {
        let tag = match self.collector.tag() {
            tag if tag.is_empty() || tag.starts_with("SELECT") => format!("SELECT {}", self.account.rows),
            tag => tag.to_owned(),
        };
        self.end(&Outcome::Completed { tag });
    }

    /// Gives the result up because of `error`, and returns it.
    pub fn fail(self, error: RunError) -> RunError {
        self.end(&error.outcome());
        error
    }

    /// Gives the result up because a statement of its kind may not go on.
    pub fn stop(self, stop: Option<Stop>) {
        self.end(&Outcome::Stopped { stop });
    }

    fn end(self, outcome: &Outcome) {
        let Self { mut lease, mut account, collector, state, .. } = self;
        if let Some(receipt) = account.receipt.take() {
            receipt.with_findings(collector.findings()).settle(outcome, account.rows, account.bytes);
        }
        match state {
            State::Complete | State::Suspended => lease.give_back(),
            State::Lost => {}
            State::Sending { .. } => {
                lease.stain();
                let canceller = lease.canceller();
                tokio::spawn(async move {
                    canceller.cancel().await;
                    lease.give_back();
                });
            }
        }
    }

    /// What comes next, which stays; a step of `rows` rows is asked for if need be.
    async fn peek(&mut self, rows: u32) -> Result<Came, RunError> {
        loop {
            if let Some(frame) = self.waiting.front() {
                return Ok(Came::Row(frame.clone()));
            }
            match self.state {
                State::Complete | State::Lost => return Ok(Came::Ready),
                State::Suspended => self.ask_for(rows).await?,
                State::Sending { .. } => match self.receive().await? {
                    Came::Row(frame) => self.waiting.push_back(frame),
                    Came::TooLong => return Ok(Came::TooLong),
                    Came::Ready => {}
                },
            }
        }
    }

    async fn ask_for(&mut self, rows: u32) -> Result<(), RunError> {
        let mut outbox = Outbox::new();
        outbox.execute("", rows.max(1));
        outbox.sync();
        self.state = State::Sending { is_complete: false };
        self.lease.send(&mut outbox).await.map_err(|error| self.lost(RunError::Broken(error)))
    }

    /// Reads until a row has come, or the step has ended, within the time that is left.
    async fn receive(&mut self) -> Result<Came, RunError> {
        let Some(left) = self.time_left else { return self.receive_untimed().await };
        let started = Instant::now();
        let came = timeout(left, self.receive_untimed()).await;
        self.time_left = Some(left.saturating_sub(started.elapsed()));
        let ms = self.limits.time_ms.unwrap_or_default();
        came.unwrap_or_else(|_| Err(Stop::Time { ms }.into()))
    }

    async fn receive_untimed(&mut self) -> Result<Came, RunError> {
        let mut error = None;
        loop {
            let longest = usize::try_from(LONGEST_ROW).unwrap_or(usize::MAX);
            let frame = self.lease.receive_within(longest).await;
            let Some(Frame { tag, body }) = frame.map_err(|error| self.lost(RunError::Broken(error)))? else {
                return Ok(Came::TooLong);
            };
            match tag {
                b'D' => return Ok(Came::Row(Frame { tag, body })),
                b'T' => self.collector.describe(body)?,
                b'C' => {
                    self.collector.complete(command_tag(body).map_err(invalid)?);
                    self.state = State::Sending { is_complete: true };
                }
                b'N' => self.collector.notice(&ErrorFields::parse(body).map_err(invalid)?),
                b'E' => {
                    error = Some(self.collector.server_error(&ErrorFields::parse(body).map_err(invalid)?));
                }
                // Parse and Bind are confirmed; no rows to describe; the step is over; an empty statement; a notification
                // for nobody; a parameter that changed.
                b'1' | b'2' | b'n' | b's' | b'I' | b'A' | b'S' => {}
                b'G' | b'H' | b'W' => {
                    return Err(refused(
                        "COPY from or to the client can't be run this way",
                        "use SELECT, INSERT, or a PostgreSQL client",
                    ));
                }
                b'Z' => {
                    let status = TransactionStatus::parse(&body).map_err(invalid)?;
                    self.state = match self.state {
                        State::Sending { is_complete: false } => State::Suspended,
                        State::Sending { is_complete: true }
                        | State::Suspended
                        | State::Complete
                        | State::Lost => State::Complete,
                    };
                    return match error {
                        Some(error) => Err(error),
                        None => within_transaction(status).map(|()| Came::Ready),
                    };
                }
                tag => return Err(self.lost(RunError::Broken(unexpected(tag)))),
            }
        }
    }

    fn lost(&mut self, error: RunError) -> RunError {
        self.state = State::Lost;
        error
    }
}

/// A result that nobody ended still had been sent as far as it was.
impl Drop for Account {
    fn drop(&mut self) {
        if let Some(receipt) = self.receipt.take() {
            receipt.abandon(self.rows, self.bytes);
        }
    }
}

impl Parked {
    /// What it goes on by; `None` where nothing can come of it.
    #[must_use]
    pub fn course(&self) -> Option<&Course> {
        self.0.course()
    }

    /// Goes on by what `proof` allows.
    ///
    /// # Errors
    /// Gives it back when the proof is of another result.
    pub fn resume(self, proof: Authorized<Page>) -> Result<Reader, Box<Self>> {
        let (page, course) = proof.spend();
        if !self.course().is_some_and(|own| own.is_of(&page.course)) {
            return Err(Box::new(self));
        }
        let Self(mut reader) = self;
        reader.collector.resumed(course);
        Ok(reader)
    }

    /// Gives the result up: what the client got is recorded as all that was wanted.
    pub fn finish(self) {
        self.0.finish();
    }

    /// Gives the result up because it may not go on.
    pub fn stop(self, stop: Option<Stop>) {
        self.0.stop(stop);
    }
}

/// Longest row that is held in memory, in bytes; and how much of a step is held between two pages.
const LONGEST_ROW: u64 = 1 << 20;
