//! What the server's messages do.

use bytes::Bytes;

use crate::flow::append;
use crate::gate::Outcome;
use crate::mask::{Field, Stop};
use crate::protocol::backend::{ErrorFields, MessageType, ready_for_query};
use crate::protocol::body::BodyError;
use crate::protocol::frame::Frame;
use crate::protocol::results::{
    Format, TransactionStatus, command_tag, copy_format, parameter_types, row_description,
};
use crate::protocol::run::Run;

use super::{Flow, Kind, Mode, Owed, Session, Violation, refusals};
use crate::wire::replies::{Received, Unexpected};

impl Session {
    /// Takes in one server frame.
    ///
    /// # Errors
    /// When the server breaks the protocol, or changes a setting that must not change; the session must end.
    pub fn server(&mut self, frame: &Frame) -> Result<(), Violation> {
        match MessageType::of(frame.tag) {
            Some(MessageType::NoticeResponse) => self.notice(frame)?,
            Some(MessageType::ParameterStatus) => self.parameter(frame)?,
            Some(MessageType::NotificationResponse) => self.notification(frame)?,
            Some(MessageType::ErrorResponse) => self.error(frame)?,
            Some(MessageType::DataRow | MessageType::CopyData) => self.server_run(Run::of(frame))?,
            Some(_) | None => self.reply(frame)?,
        }
        self.draining &= self.replies.len() > super::MOST_OUTSTANDING / 2;
        Ok(())
    }

    fn reply(&mut self, frame: &Frame) -> Result<(), Violation> {
        match self.replies.receive(frame.tag)? {
            Received::Part(kind) => self.part(kind, frame),
            Received::Done(kind, owed) => self.done(kind, owed, frame),
            Received::Own
            | Received::Failed { .. }
            | Received::Broken(_)
            | Received::Unguarded
            | Received::Unasked => Ok(()),
        }
    }

    fn part(&mut self, kind: Kind, frame: &Frame) -> Result<(), Violation> {
        match (kind, frame.tag) {
            (Kind::Query | Kind::GuardedQuery(_), b'T') => self.describe_result(frame)?,
            (Kind::Query | Kind::GuardedQuery(_), b'C') => {
                self.next_result(&Outcome::Completed { tag: tag(frame)? }, frame)
            }
            (Kind::Query | Kind::GuardedQuery(_), b'I') => {
                self.next_result(&Outcome::Completed { tag: String::new() }, frame)
            }
            (Kind::Call, b'V') => {
                if !self.parks_value(frame) {
                    self.pass_value(frame);
                }
            }
            (Kind::DescribeStatement, b't') => {
                if let Some(Owed::Description(prepared)) = self.replies.first_mut() {
                    prepared.described(parameter_types(frame.body.clone()).map_err(server)?);
                }
                self.relay(frame);
            }
            (_, b'G') => {
                self.mode = Mode::CopyIn;
                self.relay(frame);
            }
            (_, b'W') => {
                if !self.context.is_unjudged() {
                    return Err(Violation::Server { what: "replication in a judged session".to_owned() });
                }
                self.mode = Mode::CopyIn;
                if let Some(flow) = self.current() {
                    flow.copy_out(Format::Binary);
                }
                self.relay(frame);
            }
            (_, b'H') => {
                let format = copy_format(frame.body.clone()).map_err(server)?;
                if let Some(flow) = self.current() {
                    flow.copy_out(format);
                }
                self.relay(frame);
            }
            _ => self.relay(frame),
        }
        Ok(())
    }

    fn done(&mut self, kind: Kind, owed: Owed, frame: &Frame) -> Result<(), Violation> {
        match (owed, frame.tag) {
            (mut owed, b'Z') => {
                if let Owed::Query(flows) = &mut owed {
                    flows.iter_mut().for_each(Flow::settle_unread);
                }
                if matches!(owed, Owed::Query(_) | Owed::Refused { .. }) {
                    self.portals.drop_unnamed_statement();
                }
                return self.ready(frame);
            }
            (Owed::Parse(preparing), _) => {
                self.portals.statement_confirmed(preparing.name.is_empty());
                preparing.receipt.settle(&Outcome::Completed { tag: String::new() }, 0, 0);
            }
            (Owed::Own | Owed::Guard, _) => return Ok(()),
            (Owed::CloseStatement { unnamed }, _) => self.portals.statement_confirmed(unnamed),
            (Owed::ClosePortal { unnamed }, _) => self.portals.portal_confirmed(unnamed),
            (Owed::Portal(portal), b'2') => {
                let named = self.portals.flow_mut(portal).is_some_and(|flow| flow.is_named());
                self.portals.portal_confirmed(!named);
            }
            (Owed::Portal(portal), b'T' | b'n') => {
                let fields = if frame.tag == b'T' { Some(self.fields(&frame.body)?) } else { None };
                let checked = self.portals.flow_mut(portal).map(|flow| match fields {
                    Some(fields) => flow.describe(&fields),
                    None => flow.describe_nothing(),
                });
                if let Some(Err(stop)) = checked {
                    self.stop(&stop);
                }
                if kind == Kind::Check {
                    // The client has not asked for it: PostgreSQL sends no RowDescription before an Execute.
                    return Ok(());
                }
            }
            (Owed::Portal(portal), _) => self.executed(portal, frame)?,
            (
                Owed::Query(_) | Owed::Call(_) | Owed::Refused { .. } | Owed::Description(_) | Owed::Nothing,
                _,
            ) => {}
        }
        self.relay(frame);
        Ok(())
    }

    /// An Execute has ended, or is suspended.
    fn executed(&mut self, portal: super::PortalId, frame: &Frame) -> Result<(), Violation> {
        self.holding = false;
        self.cancel = false;
        self.in_time();
        if self.mode == Mode::CopyIn {
            self.mode = Mode::Normal;
        }
        let Some(flow) = self.portals.flow_mut(portal) else { return Ok(()) };
        flow.execute();
        if frame.tag == b's' {
            flow.charge();
            if flow.is_once() {
                self.portals.end(portal);
            }
            return Ok(());
        }
        let tag = if frame.tag == b'C' { tag(frame)? } else { String::new() };
        flow.settle(&Outcome::Completed { tag });
        if let Some(warning) = flow.take_warning() {
            refusals::undone(&warning).put_notice(&mut self.client);
        }
        let (change, ends_transaction, once) = (flow.take_change(), flow.ends_transaction(), flow.is_once());
        self.changed(change, ends_transaction);
        if once {
            self.portals.end(portal);
        }
        Ok(())
    }

    /// The result of one statement of a Query has ended.
    fn next_result(&mut self, outcome: &Outcome, frame: &Frame) {
        if self.mode == Mode::CopyIn {
            self.mode = Mode::Normal;
        }
        let Some(Owed::Query(flows)) = self.replies.first_mut() else { return };
        if let Some(flow) = flows.first_mut().filter(|flow| flow.is_unread()) {
            flow.note_tag(outcome.tag().to_owned());
        } else if !flows.is_empty() {
            let mut flow = flows.remove(0);
            flow.settle(outcome);
            if let Some(warning) = flow.take_warning() {
                refusals::undone(&warning).put_notice(&mut self.client);
            }
            self.changed(flow.take_change(), flow.ends_transaction());
        }
        self.relay(frame);
    }

    fn describe_result(&mut self, frame: &Frame) -> Result<(), Violation> {
        let fields = self.fields(&frame.body)?;
        match self.current().map_or(Err(Stop::Undescribed), |flow| flow.describe(&fields)) {
            Ok(()) => self.relay(frame),
            Err(stop) => self.stop(&stop),
        }
        Ok(())
    }

    /// A result's columns; in an unjudged session nothing is planned about them, and their names may be in any
    /// encoding.
    fn fields(&self, body: &Bytes) -> Result<Vec<Field>, Violation> {
        if self.context.is_unjudged() { Ok(Vec::new()) } else { fields(body) }
    }

    /// Takes in row data as far as it has arrived: [`Frame`]s of any other type go to [`Session::server`].
    ///
    /// # Errors
    /// When nothing that was sent is answered by rows; the session must end.
    pub fn server_run(&mut self, run: Run) -> Result<(), Violation> {
        if run.begun() > 0 {
            // Rows leave the order of the answers as it is, so that one look holds for all of them.
            self.replies.receive(run.tag())?;
        }
        self.pass(run);
        Ok(())
    }

    /// Lets the value of a FunctionCall go.
    pub(super) fn pass_value(&mut self, frame: &Frame) {
        let Some(flow) = self.current() else { return self.stop(&Stop::Undescribed) };
        let value = Frame { body: flow.value(frame.body.clone()), ..*frame };
        flow.settle(&Outcome::Completed { tag: String::new() });
        self.relay(&value);
    }

    /// Lets rows go, as far as they have arrived, and behind them what was to be said aside.
    pub(super) fn rows(&mut self, run: Run) {
        let is_whole = run.is_whole();
        self.release(run);
        if is_whole {
            append(&mut self.client, std::mem::take(&mut self.aside));
        }
    }

    fn release(&mut self, run: Run) {
        self.is_midway = false;
        if self.stop.is_some() {
            return;
        }
        let is_whole = run.is_whole();
        let Some(flow) = self.current() else { return self.stop(&Stop::Undescribed) };
        let (released, stop) = flow.run(run);
        append(&mut self.client, released.into_bytes());
        match stop {
            None => self.is_midway = !is_whole,
            Some(stop) => {
                self.stop(&stop);
                self.cancel = true;
            }
        }
    }

    /// Lets nothing further out, and makes the server fail so that its state and ours stay one.
    pub(super) fn stop(&mut self, stop: &Stop) {
        if self.stop.is_some() {
            return;
        }
        let error = refusals::stopped(stop);
        if !self.replies.is_closed() {
            self.withdraw();
            self.refuse_portal(error.clone());
        }
        self.stop = Some(error);
    }

    fn ready(&mut self, frame: &Frame) -> Result<(), Violation> {
        let status = TransactionStatus::parse(&frame.body).map_err(server)?;
        self.status = status;
        self.in_series = false;
        self.holding = false;
        self.cancel = false;
        self.in_time();
        self.mode = if self.mode == Mode::Closed { Mode::Closed } else { Mode::Normal };
        if status == TransactionStatus::Idle {
            self.committed();
            self.portals.end_transaction();
            self.guards.released();
            self.governed = false;
        }
        if let Some(error) = self.stop.clone() {
            // What was stopped had ended well for the server: it must fail before the client hears more.
            self.outbox.refuse_query();
            self.replies.expect(Kind::RefusedQuery, Owed::Refused { error, unnamed_parse: false });
            return Ok(());
        }
        ready_for_query(&mut self.client, status.as_byte());
        Ok(())
    }

    fn error(&mut self, frame: &Frame) -> Result<(), Violation> {
        let fields = self.said(frame)?;
        self.goodbye |= fields.is_fatal();
        let overtime = self.overtime(&fields);
        let shown = match self.replies.receive(frame.tag)? {
            Received::Failed { payload, skipped, .. } => self.failed(payload, skipped, fields),
            Received::Broken(_) => self.broken(fields),
            Received::Unguarded => self.query_unguarded(fields),
            Received::Unasked | Received::Own | Received::Part(_) | Received::Done(..) => {
                self.scrubbed(fields, self.governed, true)
            }
        };
        self.stop.take().or(overtime).unwrap_or(shown).put_error(&mut self.client);
        Ok(())
    }

    /// Something in a series failed: the server skips the rest of it, and so do we.
    fn failed(&mut self, payload: Owed, mut skipped: Vec<Owed>, fields: ErrorFields) -> ErrorFields {
        let failure = Outcome::Failed { sqlstate: fields.sqlstate().to_owned() };
        let is_guard = matches!(payload, Owed::Guard);
        let shown =
            if is_guard { self.unguarded(fields, &mut skipped) } else { self.shown(&payload, fields) };
        self.guards.failed();
        let unnamed_parse = match &payload {
            Owed::Parse(preparing) => preparing.name.is_empty(),
            Owed::Refused { unnamed_parse, .. } => *unnamed_parse,
            Owed::Portal(_)
            | Owed::Query(_)
            | Owed::Call(_)
            | Owed::CloseStatement { .. }
            | Owed::ClosePortal { .. }
            | Owed::Own
            | Owed::Guard
            | Owed::Description(_)
            | Owed::Nothing => false,
        };
        self.settle(payload, &failure);
        for owed in skipped {
            // Portals stay: those that nothing confirmed end below, the others may run again.
            if let Owed::Portal(portal) = owed {
                self.portals.flow_mut(portal).into_iter().for_each(Flow::skip);
            } else {
                self.settle(owed, &Outcome::Skipped);
            }
        }
        self.portals.roll_back();
        if unnamed_parse {
            self.portals.drop_unnamed_statement();
        }
        self.holding = false;
        self.cancel = false;
        if self.replies.is_closed() {
            self.mode = if self.mode == Mode::Closed { Mode::Closed } else { Mode::Normal };
        } else {
            self.withdraw();
            self.mode = Mode::Skipping;
        }
        shown
    }

    /// A Query or the end of a series failed: its ReadyForQuery is still to come.
    fn broken(&mut self, fields: ErrorFields) -> ErrorFields {
        if self.mode == Mode::CopyIn {
            self.mode = Mode::Normal;
        }
        self.cancel = false;
        self.guards.failed();
        let failure = Outcome::Failed { sqlstate: fields.sqlstate().to_owned() };
        let mut flows = match self.replies.first_mut() {
            Some(Owed::Query(flows)) => std::mem::take(flows),
            Some(Owed::Call(flow)) => {
                flow.settle(&failure);
                Vec::new()
            }
            Some(Owed::Refused { error, .. }) => return error.clone(),
            _ => return self.scrubbed(fields, self.governed, true),
        };
        let verbatim = flows.iter().all(Flow::is_verbatim);
        let fields = fields.moved_left(flows.first().map_or(0, Flow::ahead));
        for (place, flow) in flows.iter_mut().enumerate() {
            flow.settle(if place == 0 { &failure } else { &Outcome::Skipped });
        }
        self.scrubbed(fields, self.governed, verbatim)
    }

    /// The error that the client gets in the place of `fields`.
    fn shown(&mut self, payload: &Owed, fields: ErrorFields) -> ErrorFields {
        match payload {
            Owed::Refused { error, .. } => error.clone(),
            Owed::Parse(preparing) => {
                // Nothing has run yet, so the message holds names and no values; the rest may quote the text.
                let plan = preparing.prepared.plan();
                let message = fields.message().to_owned();
                match (plan.governed, plan.verbatim) {
                    (true, _) => fields.scrubbed(&message),
                    (false, true) => fields,
                    (false, false) => fields.without_position(),
                }
            }
            Owed::Portal(portal) => {
                let verbatim = self.portals.flow_mut(*portal).is_none_or(|flow| flow.is_verbatim());
                self.scrubbed(fields, self.governed, verbatim)
            }
            Owed::Query(_)
            | Owed::Call(_)
            | Owed::CloseStatement { .. }
            | Owed::ClosePortal { .. }
            | Owed::Own
            | Owed::Guard
            | Owed::Description(_)
            | Owed::Nothing => self.scrubbed(fields, self.governed, true),
        }
    }

    fn scrubbed(&self, fields: ErrorFields, governed: bool, verbatim: bool) -> ErrorFields {
        match (governed, verbatim) {
            (true, _) => fields.scrubbed(refusals::WITHHELD),
            (false, true) => fields,
            (false, false) => fields.without_position(),
        }
    }

    fn settle(&mut self, owed: Owed, outcome: &Outcome) {
        match owed {
            Owed::Parse(preparing) => preparing.receipt.settle(outcome, 0, 0),
            Owed::Portal(portal) => {
                if let Some(flow) = self.portals.flow_mut(portal) {
                    flow.settle(outcome);
                }
            }
            Owed::Query(flows) => flows.into_iter().for_each(|mut flow| flow.settle(outcome)),
            Owed::Call(mut flow) => flow.settle(outcome),
            Owed::CloseStatement { .. }
            | Owed::ClosePortal { .. }
            | Owed::Refused { .. }
            | Owed::Own
            | Owed::Guard
            | Owed::Description(_)
            | Owed::Nothing => {}
        }
    }

    /// Whatever is being asked is void: something before it has failed.
    fn withdraw(&mut self) {
        self.question = None;
        self.asking = None;
    }

    fn notice(&mut self, frame: &Frame) -> Result<(), Violation> {
        let fields = self.said(frame)?;
        if self.stop.is_none() {
            let fields = fields.moved_left(self.current().map_or(0, |flow| flow.ahead()));
            let shown = if self.governed { fields.scrubbed(refusals::NOTICE_WITHHELD) } else { fields };
            shown.put_notice(&mut self.client);
        }
        Ok(())
    }

    /// What an error or notice says, looked through like any value.
    fn said(&self, frame: &Frame) -> Result<ErrorFields, Violation> {
        let fields = ErrorFields::parse(frame.body.clone()).map_err(server)?;
        if self.detectors.is_empty() {
            return Ok(fields);
        }
        Ok(fields.with_texts(|text| drop(self.detectors.mask(text))))
    }

    /// The statement whose result is coming.
    pub(super) fn current(&mut self) -> Option<&mut Flow> {
        match self.replies.first_mut()? {
            Owed::Query(flows) => flows.first_mut(),
            Owed::Call(flow) => Some(flow),
            Owed::Portal(portal) => {
                let portal = *portal;
                self.portals.flow_mut(portal)
            }
            Owed::Parse(_)
            | Owed::CloseStatement { .. }
            | Owed::ClosePortal { .. }
            | Owed::Refused { .. }
            | Owed::Own
            | Owed::Guard
            | Owed::Description(_)
            | Owed::Nothing => None,
        }
    }

    fn relay(&mut self, frame: &Frame) {
        if self.stop.is_none() {
            frame.put(&mut self.client);
        }
    }
}

/// Holds a setting against what the reading of statements rests on: under another encoding, or with backslash
/// escapes in plain strings, the server would read other statements than were judged.
///
/// # Errors
/// When it is another.
pub fn check_setting(name: &str, value: &str) -> Result<(), Violation> {
    let holds = match name {
        "client_encoding" => value == "UTF8",
        "standard_conforming_strings" => value == "on",
        _ => true,
    };
    if holds {
        return Ok(());
    }
    Err(Violation::Setting { name: name.to_owned(), value: value.to_owned() })
}

fn fields(body: &Bytes) -> Result<Vec<Field>, Violation> {
    let columns = row_description(body.clone()).map_err(server)?;
    let field = |column: crate::protocol::results::Column| Field {
        name: column.name,
        table_oid: column.table_oid,
        column: column.number,
        type_oid: column.type_oid,
        format: column.format,
    };
    Ok(columns.into_iter().map(field).collect())
}

fn tag(frame: &Frame) -> Result<String, Violation> {
    command_tag(frame.body.clone()).map_err(server)
}

pub(super) fn server(error: BodyError) -> Violation {
    Violation::Server { what: error.to_string() }
}

impl From<Unexpected> for Violation {
    fn from(unexpected: Unexpected) -> Self {
        Self::Server { what: unexpected.to_string() }
    }
}
