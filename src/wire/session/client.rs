//! What the client's messages do.

use std::sync::Arc;

use bytes::Bytes;

use crate::gate::{Bind, Parameters, Prepare, Prepared, Query};
use crate::protocol::backend::ErrorFields;
use crate::protocol::body::BodyError;
use crate::protocol::frame::Frame;
use crate::protocol::frontend::{BindMessage, Message, Target};
use crate::protocol::run::Run;

use super::{Ask, Asking, Kind, Mode, Owed, Session, Violation, refusals};

impl Session {
    /// Takes in one client frame. Only while [`Session::wants_client`].
    ///
    /// # Errors
    /// When the client breaks the protocol; the session must end.
    pub fn client(&mut self, frame: &Frame) -> Result<(), Violation> {
        let message = match Message::parse(frame) {
            Ok(message) => message,
            Err(error) => return self.malformed(frame.tag, &error),
        };
        if !self.may_follow(&message) {
            return Ok(());
        }
        match (self.mode, message) {
            (Mode::Closed, _) => {}
            (_, Message::Terminate) => {
                self.outbox.terminate();
                self.mode = Mode::Closed;
            }
            (_, Message::Password) => {
                return Err(Violation::Client { what: "unexpected password message".to_owned() });
            }
            (_, Message::CopyData) => self.client_run(Run::of(frame)),
            (Mode::CopyIn, message) => return self.copy(message),
            (Mode::Skipping, Message::Sync) | (Mode::Normal, Message::Sync) => self.sync(),
            (Mode::Skipping, _) => {}
            (Mode::Normal, message) => self.message(message),
        }
        Ok(())
    }

    /// A body that lies about itself never goes up: what must fail goes in its place, and the session goes on, as
    /// PostgreSQL has it. The frame itself was whole, so what follows can still be told apart.
    fn malformed(&mut self, tag: u8, error: &BodyError) -> Result<(), Violation> {
        let asking = match (self.mode, tag) {
            (Mode::Skipping, b'S') | (Mode::CopyIn, _) | (_, b'p') => {
                return Err(Violation::Client { what: error.to_string() });
            }
            (Mode::Skipping | Mode::Closed, _) => return Ok(()),
            (Mode::Normal, b'Q' | b'F' | b'S') => Asking::Query,
            (Mode::Normal, _) => Asking::Bind,
        };
        self.reject(asking, refusals::malformed(error));
        Ok(())
    }

    /// Takes in COPY data as far as it has arrived. Only while [`Session::wants_client`].
    ///
    /// What is left of a COPY that failed is ignored, as PostgreSQL does: it never goes up. But a message of which the
    /// server has got a part is sent to its end.
    pub fn client_run(&mut self, mut run: Run) {
        match (self.mode, self.is_copying && run.continues()) {
            (Mode::CopyIn, _) => {}
            (Mode::Normal | Mode::Skipping | Mode::Closed, true) => run.keep_lead(),
            (Mode::Normal | Mode::Skipping | Mode::Closed, false) => return,
        }
        let Some(run) = self.copy_in(run) else { return };
        self.is_copying = !run.is_whole();
        self.outbox.copy_data(run);
    }

    fn message(&mut self, message: Message) {
        match message {
            Message::Query { sql } => self.query(&sql),
            Message::Parse { name, sql, parameter_types } => self.parse(name, &sql, parameter_types),
            Message::Bind(bind) => self.bind(bind),
            Message::Describe(target) => self.describe(target),
            Message::Execute { portal, max_rows } => self.execute(portal, max_rows),
            Message::Close(target) => self.close(target),
            Message::Flush => self.outbox.flush(),
            Message::FunctionCall(call) => self.call(call),
            // What is left of a COPY that failed: PostgreSQL ignores it too.
            Message::CopyDone | Message::CopyFail { .. } => {}
            // Taken care of before.
            Message::CopyData | Message::Sync | Message::Terminate | Message::Password => {}
        }
    }

    fn query(&mut self, sql: &Bytes) {
        match self.statement(sql) {
            Ok(sql) => {
                let (context, names) = (self.context.clone(), self.portals.names());
                self.ask(Ask::Query(Query { context, sql, names }), Asking::Query);
            }
            Err(error) => self.reject(Asking::Query, refusals::no_statement(&error)),
        }
    }

    fn parse(&mut self, name: String, sql: &Bytes, parameter_types: Vec<u32>) {
        let Some(name) = self.new_name(name, |name| Asking::Parse { name }) else { return };
        let asking = Asking::Parse { name: name.clone() };
        if self.portals.is_full(self.limits) {
            return self.reject(asking, refusals::too_many_names());
        }
        match self.statement(sql) {
            Ok(sql) => {
                let (context, names) = (self.context.clone(), self.portals.names());
                self.ask(Ask::Prepare(Prepare { context, sql, name, parameter_types, names }), asking);
            }
            Err(error) => self.reject(asking, refusals::no_statement(&error)),
        }
    }

    fn bind(&mut self, message: BindMessage) {
        let BindMessage { portal, statement, formats, values, result_formats } = message;
        let Some(portal) = self.new_name(portal, |_| Asking::Bind) else { return };
        let Some(statement) = self.name(statement, |_| Asking::Bind) else { return };
        if self.portals.is_full(self.limits) {
            return self.reject(Asking::Bind, refusals::too_many_names());
        }
        let prepared = match self.portals.statement(&statement) {
            Some(prepared) => Arc::clone(prepared),
            None if self.may_be_known(&statement) => Arc::new(Prepared::unseen(&statement)),
            None => return self.refuse_portal(refusals::unknown_statement(&statement)),
        };
        let bind = Bind {
            context: self.context.clone(),
            prepared,
            statement_name: statement,
            portal,
            parameters: Parameters { formats, values, result_formats },
            names: self.portals.names(),
        };
        self.ask(Ask::Bind(bind), Asking::Bind);
    }

    fn describe(&mut self, target: Target) {
        match target {
            Target::Statement(name) => {
                let Some(name) = self.name(name, |_| Asking::Bind) else { return };
                let owed = match self.portals.statement(&name) {
                    Some(prepared) => Owed::Description(Arc::clone(prepared)),
                    None if self.may_be_known(&name) => Owed::Nothing,
                    None => return self.refuse_portal(refusals::unknown_statement(&name)),
                };
                self.outbox.describe_statement(&name);
                self.sent(Kind::DescribeStatement, owed);
            }
            // SQL cursors are portals of the server too, and drivers have them described. What made one was
            // judged and rewritten like any statement, and a description has no rows.
            Target::Portal(name) => {
                let Some(name) = self.name(name, |_| Asking::Bind) else { return };
                self.outbox.describe_portal(&name);
                let owed = match self.portals.portal_mut(&name) {
                    Some((portal, flow)) => {
                        flow.ask_description();
                        Owed::Portal(portal)
                    }
                    None => Owed::Nothing,
                };
                self.sent(Kind::DescribePortal, owed);
            }
        }
    }

    /// Runs a portal that a proof has made; a cursor is put to the gate as what it is, a FETCH. A portal that its
    /// client has not described is described before: no row passes unchecked.
    fn execute(&mut self, name: String, max_rows: u32) {
        let Some(name) = self.name(name, |_| Asking::Bind) else { return };
        match self.resumption(&name) {
            Some(step) => self.ask(Ask::Resume(Box::new(step)), Asking::Execute { name, max_rows }),
            None => self.run_portal(name, max_rows),
        }
    }

    /// As [`Session::execute`], by the rules in force.
    pub(super) fn run_portal(&mut self, name: String, max_rows: u32) {
        let Some((portal, flow)) = self.portals.portal_mut(&name) else {
            if self.portals.is_cursor(&name) || self.may_be_known(&name) {
                return self.fetch(name, max_rows);
            }
            return self.refuse_portal(refusals::unknown_portal(&name));
        };
        let (holds_client, is_timed) = (flow.holds_client(), flow.time_ms().is_some());
        // It may have been bound long before, and guards have run since.
        self.guards.sent(flow.facts());
        if flow.ask_description() {
            self.outbox.describe_portal(&name);
            self.sent(Kind::Check, Owed::Portal(portal));
        }
        if is_timed {
            self.outbox.flush();
        }
        self.outbox.execute(&name, max_rows);
        self.sent(Kind::Execute, Owed::Portal(portal));
        if holds_client {
            self.outbox.flush();
            self.holding = true;
        }
    }

    fn close(&mut self, target: Target) {
        match target {
            Target::Statement(name) => {
                let Some(name) = self.name(name, |_| Asking::Bind) else { return };
                let unnamed = name.is_empty();
                self.outbox.close_statement(&name);
                self.portals.statement_close_sent(name);
                self.sent(Kind::Close, Owed::CloseStatement { unnamed });
            }
            Target::Portal(name) => {
                let Some(name) = self.name(name, |_| Asking::Bind) else { return };
                let unnamed = name.is_empty();
                self.outbox.close_portal(&name);
                self.portals.portal_close_sent(name);
                self.sent(Kind::Close, Owed::ClosePortal { unnamed });
            }
        }
    }

    fn sync(&mut self) {
        self.mode = Mode::Normal;
        self.outbox.sync();
        self.sent(Kind::Sync, Owed::Nothing);
    }

    fn copy(&mut self, message: Message) -> Result<(), Violation> {
        match message {
            Message::CopyDone => {
                self.outbox.copy_done();
                self.copied();
            }
            Message::CopyFail { why } => {
                self.outbox.copy_fail(&why);
                self.copied();
            }
            // PostgreSQL ignores both while it reads COPY data: two Syncs, one ReadyForQuery.
            Message::Sync | Message::Flush => {}
            Message::Query { .. }
            | Message::Parse { .. }
            | Message::Bind(_)
            | Message::Describe(_)
            | Message::Execute { .. }
            | Message::Close(_)
            | Message::FunctionCall(_)
            | Message::CopyData
            | Message::Password
            | Message::Terminate => {
                let what = "unexpected message type during COPY from stdin".to_owned();
                return Err(Violation::Client { what });
            }
        }
        Ok(())
    }

    /// The data of a COPY has ended. By the extended protocol the server keeps its answer until somebody asks for
    /// it, and the client's own Sync waits behind that answer.
    fn copied(&mut self) {
        self.mode = Mode::Normal;
        if self.holding {
            self.outbox.flush();
        }
    }

    /// Refuses what is wrong in itself, without asking the gate.
    pub(super) fn reject(&mut self, asking: Asking, error: ErrorFields) {
        self.notes.push(error.message().to_owned());
        self.refuse(asking, error);
    }
}
