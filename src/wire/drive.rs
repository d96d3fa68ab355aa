//! Sockets, gate and session, tied together: one task a session.
//!
//! Both directions are polled on their own and their buffers are bounded: a client that does not read stops the
//! server, a server that does not read stops the client, and neither stops the other direction. While a
//! statement waits for approval the client is still watched: if it goes away, the request is withdrawn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use crate::gate::{Context, Door, Gate, Hold, Patience, Tell};
use crate::identity::Identity;
use crate::protocol::frame::{Frame, FrameError, Leg};
use crate::protocol::sqlstate;
use crate::upstream::{Canceller, LinkError, LinkReader, LinkWriter};

use super::cancel::{Registration, Request};
use super::handshake::{Opened, hear_out};
use super::listener::Shared;
use super::refusals;
use super::session::{Answer, Ask, Session, Violation};
use super::stream::Stream;

/// Runs an opened session to its end.
pub(super) async fn run(stream: Stream, opened: Opened, shared: &Shared) {
    let Opened { who, link, registration, input, out } = opened;
    let context = Arc::clone(link.context());
    let mut drive = Drive::new(stream, input, who, link, registration, Arc::clone(&shared.gate));
    drive.session.client_bytes().extend_from_slice(&out);
    let end = drive.turn(shared).await;
    drive.finish(&end, &context).await;
}

struct Drive {
    session: Session,
    gate: Arc<Gate>,
    who: Arc<Identity>,
    client: String,
    reader: ReadHalf<Stream>,
    writer: WriteHalf<Stream>,
    input: BytesMut,
    at_eof: bool,
    link_reader: LinkReader,
    link_writer: Option<LinkWriter>,
    sending: Option<Working<(LinkWriter, Result<(), LinkError>)>>,
    judging: Option<Working<Answer>>,
    canceller: Canceller,
    cancelling: Option<Working<()>>,
    registration: Registration,
    tell: Arc<Notifier>,
    holds: mpsc::Receiver<Hold>,
    is_held: bool,
}

/// Something under way, that dropping it ends.
type Working<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Why a session ended.
enum End {
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
}

impl Drive {
    fn new(
        stream: Stream,
        input: BytesMut,
        who: Arc<Identity>,
        link: crate::upstream::Link,
        registration: Registration,
        gate: Arc<Gate>,
    ) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (sender, holds) = mpsc::channel(4);
        let client = link.context().client().to_owned();
        let session = Session::new(Arc::clone(link.context()));
        let canceller = link.canceller();
        let (link_reader, link_writer) = link.split();
        Self {
            session,
            gate,
            who,
            client,
            reader,
            writer,
            input,
            at_eof: false,
            link_reader,
            link_writer: Some(link_writer),
            sending: None,
            judging: None,
            canceller,
            cancelling: None,
            registration,
            tell: Arc::new(Notifier(sender)),
            holds,
            is_held: false,
        }
    }

    /// Turns until the session ends.
    async fn turn(&mut self, shared: &Shared) -> End {
        let mut stopping: Option<Working<()>> = None;
        loop {
            if let Err(end) = self.feed() {
                return end;
            }
            self.start();
            if let Some(end) = self.ended(stopping.is_some()) {
                return end;
            }
            let room = self.session.client_bytes().len() < MOST_WAITING;
            let unsent = !self.session.client_bytes().is_empty();
            if self.input.is_empty() {
                self.input.reserve(READ_BYTES);
            }
            let hungry = !self.at_eof && (self.starves() || self.input.len() < MOST_WAITING);
            tokio::select! {
                biased;
                () = shared.shutdown.cancelled(), if stopping.is_none() => {
                    stopping = Some(Box::pin(tokio::time::sleep(GRACE)));
                }
                () = done(&mut stopping) => return End::Shutdown,
                (writer, sent) = done(&mut self.sending) => {
                    self.link_writer = Some(writer);
                    if let Err(error) = sent {
                        return End::Server(error);
                    }
                }
                Some(hold) = self.holds.recv() => {
                    self.is_held = true;
                    self.session.held(&hold);
                }
                answer = done(&mut self.judging) => {
                    self.is_held = false;
                    self.session.answer(answer);
                }
                () = done(&mut self.cancelling) => {}
                Some(request) = self.registration.request() => self.cancel(request),
                received = self.link_reader.receive(), if room => {
                    if let Err(end) = self.receive(received) {
                        return end;
                    }
                }
                written = self.writer.write_buf(self.session.client_bytes()), if unsent => {
                    if !matches!(written, Ok(1..)) {
                        return End::Abandoned;
                    }
                }
                read = self.reader.read_buf(&mut self.input), if hungry => match read {
                    Ok(0) => self.at_eof = true,
                    Ok(_) => {}
                    Err(_) => return End::Abandoned,
                },
            }
        }
    }

    /// Hands the client's frames to the session, as long as it wants any.
    fn feed(&mut self) -> Result<(), End> {
        while self.starves() {
            let Some(frame) = Frame::decode(Leg::Frontend, &mut self.input).map_err(End::Frame)? else {
                break;
            };
            self.session.client(&frame).map_err(End::Violation)?;
            for note in self.session.take_notes() {
                self.gate.malformed(Door::Wire, &self.client, Some(&self.who), &note);
            }
            if let Some(question) = self.session.take_question() {
                let (gate, who, tell) = (self.gate.clone(), self.who.clone(), self.tell.clone());
                self.judging = Some(Box::pin(judge(gate, who, tell, question)));
            }
        }
        Ok(())
    }

    /// Whether the next client frame could be taken in now.
    fn starves(&mut self) -> bool {
        // A cancel that is still on its way must not hit what comes next.
        let free = self.cancelling.is_none() && self.session.outbox().len() < MOST_WAITING;
        free && self.session.wants_client()
    }

    /// Starts what the session asks for: a send, a cancel; drops what it no longer asks for.
    fn start(&mut self) {
        if !self.session.is_asking() {
            self.judging = None;
            self.is_held = false;
        }
        if self.session.take_cancel() && self.cancelling.is_none() {
            let canceller = self.canceller.clone();
            self.cancelling = Some(Box::pin(async move { canceller.cancel().await }));
        }
        if self.session.outbox().is_empty() {
            return;
        }
        if let Some(mut writer) = self.link_writer.take() {
            let mut batch = std::mem::take(self.session.outbox());
            self.sending = Some(Box::pin(async move {
                let sent = writer.send(&mut batch).await;
                (writer, sent)
            }));
        }
    }

    fn ended(&mut self, stopping: bool) -> Option<End> {
        let told = self.session.client_bytes().is_empty();
        if self.session.is_closed() || (stopping && self.session.is_idle() && told) {
            return Some(if self.session.is_closed() { End::Client } else { End::Shutdown });
        }
        if self.at_eof && self.is_held {
            return Some(End::Abandoned);
        }
        // Whoever closes its half may still read: what is under way is finished first.
        (self.at_eof && told && self.starves()).then_some(End::Client)
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

    fn receive(&mut self, received: Result<Frame, LinkError>) -> Result<(), End> {
        let frame = received.map_err(End::Server)?;
        self.session.server(&frame).map_err(End::Violation)
    }

    /// Says goodbye on both sides, as far as they still listen.
    async fn finish(mut self, end: &End, context: &Context) {
        let reason = self.say(end, context);
        if !self.session.is_idle() && !matches!(end, End::Server(_)) {
            // Nobody waits any more for what the server still works on.
            self.canceller.cancel().await;
        }
        self.judging = None;
        let goodbye = async {
            while !self.session.client_bytes().is_empty() {
                if self.writer.write_buf(self.session.client_bytes()).await? == 0 {
                    break;
                }
            }
            self.writer.shutdown().await
        };
        if !matches!(tokio::time::timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
            tracing::debug!(session_id = context.session_id(), "wire.goodbye_unheard");
        }
        if let Some(mut writer) = self.link_writer.take() {
            self.session.outbox().terminate();
            let sent = tokio::time::timeout(GOODBYE, writer.send(self.session.outbox())).await;
            tracing::trace!(session_id = context.session_id(), sent = sent.is_ok(), "wire.terminated");
        }
        self.gate.closed(&self.who, context, &reason);
        if matches!(end, End::Frame(_) | End::Violation(_)) {
            hear_out(&mut self.reader).await;
        }
    }

    /// Tells the client why the session ends, where it is not its own wish; returns the reason for the ledger.
    fn say(&mut self, end: &End, context: &Context) -> String {
        let fields = match end {
            End::Client => return "the client closed the session".to_owned(),
            End::Abandoned => return "the client went away".to_owned(),
            End::Frame(error) => refusals::fatal(sqlstate::PROTOCOL_VIOLATION, error.to_string()),
            End::Violation(violation) => violation.to_fields(),
            End::Server(error) => refusals::fatal(sqlstate::CONNECTION_FAILURE, error.to_string()),
            End::Shutdown => {
                let message = "terminating connection due to administrator command";
                refusals::fatal(sqlstate::ADMIN_SHUTDOWN, message)
            }
        };
        if matches!(end, End::Frame(_) | End::Violation(Violation::Client { .. })) {
            self.gate.malformed(Door::Wire, context.client(), Some(&self.who), fields.message());
        }
        if !self.session.server_said_goodbye() {
            fields.put_error(self.session.client_bytes());
        }
        fields.message().to_owned()
    }
}

async fn judge(gate: Arc<Gate>, who: Arc<Identity>, tell: Arc<Notifier>, question: Ask) -> Answer {
    match question {
        Ask::Query(act) => Answer::Query(gate.admit(&who, act, &*tell).await),
        Ask::Prepare(act) => Answer::Prepare(Box::new(gate.admit(&who, act, &*tell).await)),
        Ask::Bind(act) => Answer::Bind(Box::new(gate.admit(&who, act, &*tell).await)),
    }
}

/// Waits for what is under way, and takes it out once it is done; for ever while nothing is.
async fn done<T>(working: &mut Option<Working<T>>) -> T {
    let Some(future) = working else { return std::future::pending().await };
    let output = future.as_mut().await;
    *working = None;
    output
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

/// What is read from a client at once.
const READ_BYTES: usize = 16 * 1024;
/// How many bytes may wait in one direction before its source is no longer read.
const MOST_WAITING: usize = 64 * 1024;
/// How long sessions may go on after the gateway was told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How long a peer may take to hear the last words.
const GOODBYE: Duration = Duration::from_secs(5);
