//! Sockets, gate and session, tied together: one task a session, that polls all of them itself.
//!
//! Both directions are polled on their own and their buffers are bounded: a client that does not read stops the
//! server, a server that does not read stops the client, and neither stops the other direction. While a
//! statement waits for approval the client is still watched: if it goes away, the request is withdrawn. An idle
//! session holds no buffer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Waking, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;

use crate::flow::{Intake, poll_drain};
use crate::gate::{Context, Course, Denial, Door, Gate, Hold, Patience, Tell};
use crate::identity::Identity;
use crate::mask::Stop;
use crate::protocol::frame::{FrameError, Leg};
use crate::protocol::run::{Frames, Piece};
use crate::protocol::sqlstate;
use crate::upstream::{Canceller, Link, LinkError};

use super::cancel::{Registration, Request};
use super::deadlines::Deadlines;
use super::handshake::{Opened, hear_out};
use super::listener::Shared;
use super::refusals;
use super::session::{Answer, Session, Violation};
use super::stopwatch::Stopwatch;
use super::stream::Stream;

/// Runs an opened session to its end.
pub(super) async fn run(stream: Stream, opened: Opened, shared: &Shared) {
    let mut drive = Box::new(Drive::new(stream, opened, shared));
    let end = poll_fn(|waking| drive.poll(waking)).await;
    drive.finish(&end).await;
}

struct Drive {
    session: Session,
    gate: Arc<Gate>,
    who: Arc<Identity>,
    context: Arc<Context>,
    client: Stream,
    input: Intake,
    frames: Frames,
    at_eof: bool,
    link: Link,
    judging: Option<Working<Answer>>,
    /// Whether the result that is coming may go on.
    stepping: Option<Working<Result<Course, Stop>>>,
    /// How often rules had been replaced when the session was last told of those in force.
    generation: u64,
    canceller: Canceller,
    cancelling: Option<Working<()>>,
    registration: Registration,
    tell: Arc<Notifier>,
    holds: mpsc::Receiver<Hold>,
    is_held: bool,
    deadlines: Deadlines,
    stopwatch: Stopwatch,
    /// How long the client of a session that the rulebook ends may still take.
    ending: Option<Working<()>>,
    stopping: Option<Working<()>>,
    /// Whether the server has closed the connection because its client said goodbye.
    is_over: bool,
}

/// Something under way, that dropping it ends.
type Working<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why a session ended.
pub(super) enum End {
    /// The client said goodbye, or went away with nothing under way.
    Client,
    /// The client went away while something was under way.
    Abandoned,
    /// The client's bytes are no frames.
    Frame(FrameError),
    /// Somebody broke the protocol.
    Violation(Violation),
    /// The database is gone.
    Server(LinkError),
    /// The gateway stops.
    Shutdown,
    /// The client was silent for too long.
    Idle,
    /// The session has lasted as long as it may.
    Expired,
    /// The server does not let go of a statement whose time is over.
    Overtime,
    /// The rulebook ends the session, by this rule.
    Ended(String),
    /// The rules were replaced, and give no such session.
    Unwelcome(Denial),
}

impl Drive {
    fn new(client: Stream, opened: Opened, shared: &Shared) -> Self {
        let Opened { who, link, registration, input, out } = opened;
        let (sender, holds) = mpsc::channel(4);
        let context = Arc::clone(link.context());
        let lifetime = context.lifetime();
        let mut session = Session::new(Arc::clone(&context), link.parameters(), shared.settings.limits());
        session.client_bytes().extend_from_slice(&out);
        let in_force = shared.gate.rules_in_force();
        session.rules(in_force.clone());
        Self {
            session,
            gate: Arc::clone(&shared.gate),
            who,
            context,
            client,
            input: Intake::new(input),
            frames: Frames::new(Leg::Frontend).within(shared.settings.max_message_bytes),
            at_eof: false,
            canceller: link.canceller(),
            link,
            judging: None,
            stepping: None,
            generation: in_force.generation,
            cancelling: None,
            registration,
            tell: Arc::new(Notifier(sender)),
            holds,
            is_held: false,
            deadlines: Deadlines::new(&shared.settings, lifetime),
            stopwatch: Stopwatch::default(),
            ending: None,
            stopping: None,
            is_over: false,
        }
    }

    /// Turns until nothing moves; ready when the session has ended.
    fn poll(&mut self, waking: &mut Waking<'_>) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_outside(waking) {
            return Poll::Ready(end);
        }
        loop {
            let moved = match self.turn(waking) {
                Ok(moved) => moved,
                Err(end) => return Poll::Ready(end),
            };
            if let Some(end) = self.ended() {
                return Poll::Ready(end);
            }
            if let Poll::Ready(end) = self.poll_ending(waking) {
                return Poll::Ready(end);
            }
            if !moved {
                if self.session.is_idle() {
                    self.input.release();
                    self.link.release();
                }
                return Poll::Pending;
            }
        }
    }

    /// What comes from neither side: the operator, cancels by another connection, the clock.
    fn poll_outside(&mut self, waking: &mut Waking<'_>) -> Poll<End> {
        while self.stopping.is_none()
            && let Poll::Ready(request) = self.registration.poll_request(waking)
        {
            match request {
                Some(request) => self.cancel(request),
                None => self.stopping = Some(Box::pin(tokio::time::sleep(GRACE))),
            }
        }
        if let Some(grace) = &mut self.stopping {
            ready!(grace.as_mut().poll(waking));
            return Poll::Ready(End::Shutdown);
        }
        if let Err(denial) = self.keep_up() {
            return Poll::Ready(End::Unwelcome(denial));
        }
        let is_waiting = self.session.is_idle() && !self.session.is_in_transaction();
        self.deadlines.poll(waking, is_waiting)
    }

    /// Takes in that rules were replaced.
    fn keep_up(&mut self) -> Result<(), Denial> {
        if self.generation == self.gate.generation() {
            return Ok(());
        }
        let in_force = self.gate.rules_in_force();
        self.generation = in_force.generation;
        self.session.rules(in_force);
        self.gate.stays(&self.who, &self.context)
    }

    /// Moves everything once that can move. Whether anything did.
    fn turn(&mut self, waking: &mut Waking<'_>) -> Result<bool, End> {
        let mut moved = false;
        if self.stopwatch.poll(waking, &mut self.session).is_ready() {
            return Err(End::Overtime);
        }
        // What the gate knows already it answers at once, so that a whole series goes up in one piece.
        while self.feed()? | self.poll_gate(waking) {
            moved = true;
        }
        moved |= self.poll_cancelling(waking);
        moved |= self.poll_server(waking)?;
        moved |= self.poll_stepping(waking);
        moved |= self.poll_client(waking)?;
        Ok(moved)
    }

    /// Hands the client's messages to the session, as long as it wants any.
    fn feed(&mut self) -> Result<bool, End> {
        let mut moved = false;
        while self.starves() {
            let Some(piece) = self.frames.next(self.input.buffer()).map_err(End::Frame)? else { break };
            moved = true;
            match piece {
                Piece::Run(run) => self.session.client_run(run),
                Piece::Frame(frame) => self.session.client(&frame).map_err(End::Violation)?,
            }
            for note in self.session.take_notes() {
                self.gate.malformed(Door::Wire, self.context.client(), Some(&self.who), &note);
            }
            if let Some(question) = self.session.take_question() {
                let (gate, who, tell) = (self.gate.clone(), self.who.clone(), self.tell.clone());
                self.judging = Some(Box::pin(async move { question.put(&gate, &who, &*tell).await }));
            }
        }
        Ok(moved)
    }

    /// Whether the next client message could be taken in now.
    fn starves(&mut self) -> bool {
        // A cancel that is still on its way must not hit what comes next.
        let free = self.cancelling.is_none() && self.session.outbox().len() < MOST_WAITING;
        free && self.session.wants_client()
    }

    fn poll_gate(&mut self, waking: &mut Waking<'_>) -> bool {
        let Some(judging) = &mut self.judging else { return false };
        if !self.session.is_asking() {
            // Whatever is being asked is void by now: dropping the question withdraws it.
            self.judging = None;
            self.is_held = false;
            return true;
        }
        let answer = judging.as_mut().poll(waking);
        let mut moved = false;
        while let Poll::Ready(Some(hold)) = self.holds.poll_recv(waking) {
            self.is_held = true;
            self.session.held(&hold);
            moved = true;
        }
        if let Poll::Ready(answer) = answer {
            self.judging = None;
            self.is_held = false;
            self.session.answer(answer);
            moved = true;
        }
        moved
    }

    /// Asks the gate whether the result that is coming may go on.
    fn poll_stepping(&mut self, waking: &mut Waking<'_>) -> bool {
        if let Some(step) = self.session.take_step() {
            let (gate, who) = (self.gate.clone(), self.who.clone());
            self.stepping = Some(Box::pin(async move { gate.goes_on(&who, step).await }));
        }
        let Some(stepping) = &mut self.stepping else { return false };
        let Poll::Ready(answer) = stepping.as_mut().poll(waking) else { return false };
        self.stepping = None;
        self.session.stepped(answer);
        true
    }

    fn poll_cancelling(&mut self, waking: &mut Waking<'_>) -> bool {
        if self.session.take_cancel() && self.cancelling.is_none() {
            let canceller = self.canceller.clone();
            self.cancelling = Some(Box::pin(async move { canceller.cancel().await }));
        }
        let Some(cancelling) = &mut self.cancelling else { return false };
        if cancelling.as_mut().poll(waking).is_pending() {
            return false;
        }
        self.cancelling = None;
        true
    }

    /// Sends what waits for the server, and takes in what it has sent as long as the client has room for it.
    fn poll_server(&mut self, waking: &mut Waking<'_>) -> Result<bool, End> {
        // What the gate decides in a moment goes up together with what waits already.
        let decides_soon =
            self.judging.is_some() && !self.is_held && self.session.outbox().len() < MOST_WAITING;
        let mut moved = false;
        let was_full = self.session.outbox().len() >= MOST_WAITING;
        if !decides_soon && let Poll::Ready(sent) = self.link.poll_send(self.session.outbox(), waking) {
            sent.map_err(End::Server)?;
            // What the client has sent already may have waited for the room: nobody else wakes the session for it.
            moved = was_full;
        }
        if self.session.client_bytes().len() >= MOST_WAITING || self.session.is_paused() {
            return Ok(moved);
        }
        match self.link.poll_fill(waking) {
            // Its last words are out.
            Poll::Ready(Err(LinkError::Closed)) if self.session.is_closed() => self.is_over = true,
            Poll::Ready(filled) => {
                filled.map_err(End::Server)?;
                moved = true;
            }
            Poll::Pending => {}
        }
        while !self.session.is_paused()
            && let Some(piece) = self.link.piece().map_err(End::Server)?
        {
            moved = true;
            match piece {
                Piece::Run(run) => self.session.server_run(run).map_err(End::Violation)?,
                Piece::Frame(frame) => self.session.server(&frame).map_err(End::Violation)?,
            }
        }
        Ok(moved)
    }

    /// Sends what waits for the client, and reads from it as long as the session can use more.
    fn poll_client(&mut self, waking: &mut Waking<'_>) -> Result<bool, End> {
        let unsent = !self.session.client_bytes().is_empty();
        let mut moved = false;
        match poll_drain(&mut self.client, waking, self.session.client_bytes()) {
            Poll::Ready(Ok(())) => moved = unsent,
            Poll::Ready(Err(_)) => return Err(End::Abandoned),
            Poll::Pending => {}
        }
        let hungry = !self.at_eof && (self.input.len() < MOST_WAITING || self.starves());
        if !hungry {
            return Ok(moved);
        }
        match self.input.poll_fill(&mut self.client, waking) {
            Poll::Ready(Ok(read)) => {
                self.at_eof = read == 0;
                Ok(true)
            }
            Poll::Ready(Err(_)) => Err(End::Abandoned),
            Poll::Pending => Ok(moved),
        }
    }

    fn ended(&mut self) -> Option<End> {
        let told = self.session.client_bytes().is_empty();
        if self.session.is_closed() {
            // What was sent before the goodbye is still answered.
            return (self.is_over && told).then_some(End::Client);
        }
        if self.stopping.is_some() && self.session.is_idle() && told {
            return Some(End::Shutdown);
        }
        if self.at_eof && self.is_held {
            return Some(End::Abandoned);
        }
        // Whoever closes its half may still read: what is under way is finished first.
        (self.at_eof && told && self.starves()).then_some(End::Client)
    }

    /// Whether the client of a session that the rulebook ends has had its answer, or has taken too long for it.
    fn poll_ending(&mut self, waking: &mut Waking<'_>) -> Poll<End> {
        let Some(rule) = self.session.is_ending().map(str::to_owned) else {
            self.ending = None;
            return Poll::Pending;
        };
        let told = self.session.client_bytes().is_empty();
        if self.session.ended_by().is_none() || !told {
            let patience = self.ending.get_or_insert_with(|| Box::pin(tokio::time::sleep(GRACE)));
            ready!(patience.as_mut().poll(waking));
        }
        Poll::Ready(End::Ended(rule))
    }

    fn cancel(&mut self, request: Request) {
        if self.session.cancelled() || self.session.is_idle() || self.cancelling.is_some() {
            drop(request);
            return;
        }
        let canceller = self.canceller.clone();
        self.cancelling = Some(Box::pin(async move {
            canceller.cancel().await;
            drop(request);
        }));
    }

    /// Says goodbye on both sides, as far as they still listen.
    async fn finish(&mut self, end: &End) {
        let reason = self.say(end);
        if !self.session.is_idle() && !self.is_over && !matches!(end, End::Server(_)) {
            // Nobody waits any more for what the server still works on.
            self.canceller.cancel().await;
        }
        self.judging = None;
        let goodbye = async {
            poll_fn(|waking| poll_drain(&mut self.client, waking, self.session.client_bytes())).await?;
            self.client.shutdown().await
        };
        if !matches!(tokio::time::timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
            tracing::debug!(session_id = self.context.session_id(), "wire.goodbye_unheard");
        }
        if !self.session.is_copying() && !self.is_over && !matches!(end, End::Server(_)) {
            self.session.outbox().terminate();
            let sent = tokio::time::timeout(GOODBYE, self.link.send(self.session.outbox())).await;
            tracing::trace!(session_id = self.context.session_id(), sent = sent.is_ok(), "wire.terminated");
        }
        self.gate.closed(&self.who, &self.context, &reason);
        if matches!(end, End::Frame(_) | End::Violation(_)) {
            hear_out(&mut self.client).await;
        }
    }

    /// Tells the client why the session ends, where it is not its own wish; returns the reason for the ledger.
    fn say(&mut self, end: &End) -> String {
        let fields = match end {
            End::Client => return "the client closed the session".to_owned(),
            End::Abandoned => return "the client went away".to_owned(),
            End::Frame(error @ FrameError::TooLong { .. }) => {
                refusals::fatal(sqlstate::PROGRAM_LIMIT_EXCEEDED, error.to_string())
            }
            End::Frame(error) => refusals::fatal(sqlstate::PROTOCOL_VIOLATION, error.to_string()),
            End::Violation(violation) => violation.to_fields(),
            End::Server(error) => refusals::fatal(sqlstate::CONNECTION_FAILURE, error.to_string()),
            End::Shutdown => refusals::shutdown(),
            End::Idle => refusals::idle(),
            End::Expired => refusals::expired(),
            End::Overtime => refusals::overtime(),
            End::Ended(rule) => refusals::ended(rule),
            End::Unwelcome(denial) => refusals::no_longer(denial),
        };
        if matches!(end, End::Frame(_) | End::Violation(Violation::Client { .. })) {
            self.gate.malformed(Door::Wire, self.context.client(), Some(&self.who), fields.message());
        }
        // In the middle of a row there is nothing to be said: only the end of the stream is understood.
        if !self.session.server_said_goodbye() && !self.session.is_midway() {
            fields.put_error(self.session.client_bytes());
        }
        fields.message().to_owned()
    }
}

/// Hands holds to the session's own task.
#[derive(Debug)]
struct Notifier(mpsc::Sender<Hold>);

impl Tell for Notifier {
    fn held(&self, hold: &Hold) {
        if self.0.try_send(hold.clone()).is_err() {
            tracing::debug!(approval_id = %hold.approval_id, "wire.hold_unheard");
        }
    }

    fn patience(&self) -> Patience {
        Patience::UntilDecided
    }
}

/// How many bytes may wait in one direction before its source is no longer read.
const MOST_WAITING: usize = 64 * 1024;
/// How long sessions may go on after the gateway was told to stop, or the rulebook ended them.
const GRACE: Duration = Duration::from_secs(5);
/// How long a peer may take to hear the last words.
const GOODBYE: Duration = Duration::from_secs(5);
