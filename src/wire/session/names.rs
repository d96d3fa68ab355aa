//! What reaches beyond one statement: cursors, functions by OID, channels, and settings that change how text reads.

use bytes::{Bytes, BytesMut};

use crate::gate::{Authorized, Call, Fetch, NameChange, Names, Parameters};
use crate::protocol::frame::Frame;
use crate::protocol::frontend::CallMessage;
use crate::protocol::results::{notification_channel, parameter_status};
use crate::sql::{Statement, StatementError};

use super::ending::OBLIGED;
use super::server::{check_setting, server};
use super::{Ask, Asking, Flow, Kind, Owed, Session, Violation, refusals};

impl Session {
    /// The text of a Query or Parse. In an unjudged session it may be one that nobody can read.
    pub(super) fn statement(&self, sql: &Bytes) -> Result<Statement, StatementError> {
        if !self.unreadable.is_empty() {
            return Ok(Statement::unread(sql.clone()));
        }
        match Statement::new(sql, self.limits.statement_bytes) {
            Err(_) if self.context.is_unjudged() => Ok(Statement::unread(sql.clone())),
            statement => statement,
        }
    }

    /// A name that a message makes, as the server will understand it; refuses its message otherwise.
    pub(super) fn new_name(&mut self, name: String, asking: impl FnOnce(String) -> Asking) -> Option<String> {
        if refusals::is_reserved(&name) {
            let error = refusals::reserved_name(&name);
            self.reject(asking(name), error);
            return None;
        }
        self.name(name, asking)
    }

    /// Whether a name that no message made, as far as was seen, may be one that the server knows.
    pub(super) fn may_be_known(&self, name: &str) -> bool {
        self.context.is_unjudged() && !refusals::is_reserved(name)
    }

    /// A name as the server will understand it; refuses its message if there is none.
    pub(super) fn name(&mut self, name: String, asking: impl FnOnce(String) -> Asking) -> Option<String> {
        let whole = name.clone();
        let name = Names::cut(name);
        if name.is_none() {
            self.reject(asking(whole.clone()), refusals::unusable_name(&whole));
        }
        name
    }

    /// Asks for an Execute of a portal that no message has made: a cursor.
    pub(super) fn fetch(&mut self, portal: String, max_rows: u32) {
        let fetch = Fetch { context: self.context.clone(), portal, max_rows, names: self.portals.names() };
        self.ask(Ask::Fetch(fetch), Asking::Bind);
    }

    pub(super) fn send_fetch(&mut self, proof: Authorized<Fetch>) {
        // Where nothing is planned about the result, its description is nobody's to check.
        let is_checked = !self.context.is_unjudged();
        if is_checked {
            self.outbox.describe_portal(&proof.act().portal);
        }
        if proof.is_timed() {
            self.outbox.flush();
        }
        let running = self.outbox.fetch(proof);
        if running.ends_session {
            self.ends_with_series(OBLIGED);
        }
        let portal = self.portals.fetch_sent(running);
        self.runs(portal);
        if is_checked {
            self.sent(Kind::Check, Owed::Portal(portal));
        }
        self.sent(Kind::Execute, Owed::Portal(portal));
        // What nobody has seen the making of may turn the stream into COPY data, or change what names mean.
        if self.portals.flow_mut(portal).is_some_and(|flow| flow.holds_client()) {
            self.outbox.flush();
            self.holding = true;
        }
    }

    /// Asks for a FunctionCall.
    pub(super) fn call(&mut self, message: CallMessage) {
        let CallMessage { function, formats, values, result_format } = message;
        let parameters = Parameters { formats, values, result_formats: vec![result_format] };
        let call = Call { context: self.context.clone(), function, parameters };
        self.ask(Ask::Call(call), Asking::Query);
    }

    pub(super) fn send_call(&mut self, proof: Authorized<Call>) {
        let running = self.outbox.call(proof);
        if running.ends_session {
            self.ends_with_string(OBLIGED);
        }
        let mut flow = Flow::new(running);
        self.time_string(std::slice::from_mut(&mut flow));
        self.detectors = self.detectors.and(flow.detectors());
        self.replies.expect(Kind::Call, Owed::Call(Box::new(flow)));
    }

    /// Takes in what SQL has changed, now that the server has confirmed it.
    pub(super) fn changed(&mut self, change: Option<NameChange>, ends_transaction: bool) {
        if ends_transaction {
            self.portals.end_transaction();
        }
        match change {
            Some(NameChange::Listening { channel }) => {
                self.channels.insert(channel);
            }
            Some(change) => self.portals.change(change),
            None => {}
        }
    }

    /// A notification reaches the client only by a channel that it was allowed to listen to.
    pub(super) fn notification(&mut self, frame: &Frame) -> Result<(), Violation> {
        let channel = notification_channel(frame.body.clone()).map_err(server)?;
        if self.context.is_unjudged() || self.channels.contains(&channel) {
            let mut body = BytesMut::from(&frame.body[..]);
            // Behind the process and the channel's name, which the client has named itself.
            let payload = NOTIFIER_BYTES.saturating_add(channel.len());
            self.detectors.mask(body.get_mut(payload..).unwrap_or_default());
            Frame::new(frame.tag, body).put(&mut self.client);
        }
        Ok(())
    }

    pub(super) fn parameter(&mut self, frame: &Frame) -> Result<(), Violation> {
        let (name, value) = parameter_status(frame.body.clone()).map_err(server)?;
        self.setting(&name, &value)?;
        frame.put(&mut self.client);
        Ok(())
    }

    /// Takes in a setting that is in force from now on.
    ///
    /// # Errors
    /// When the reading of statements rests on it, and the session is judged by what they read.
    pub fn setting(&mut self, name: &str, value: &str) -> Result<(), Violation> {
        match check_setting(name, value) {
            Ok(()) => {
                self.unreadable.remove(name);
            }
            Err(_) if self.context.is_unjudged() => {
                self.unreadable.insert(name.to_owned());
            }
            Err(violation) => return Err(violation),
        }
        Ok(())
    }
}

/// The number of the process that notifies.
const NOTIFIER_BYTES: usize = 4;
