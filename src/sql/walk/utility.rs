//! Commands that read, wrap or serve: cursors, COPY, prepared statements, notifications, maintenance.

use pg_query::NodeEnum;
use pg_query::protobuf::a_const::Val;
use pg_query::protobuf::{AConst, CopyStmt, DiscardMode, FetchStmt, Node, RangeVar};

use crate::sql::facts::{Access, Class, Destination};
use crate::sql::naming::{CURSOR, PREPARED};

use super::explain::{is_on, option};
use super::names::{range_var_name, string, strings};
use super::scope::{Ctes, Scope, Sources, Visible};
use super::{Outline, Walker};

impl Walker<'_> {
    /// Everything that is neither a query, nor transaction control, nor a definition; `None` for those.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller asks the other rooms")]
    pub(super) fn utility_command(&mut self, node: &NodeEnum) -> Option<Outline> {
        Some(match node {
            NodeEnum::CopyStmt(copy) => self.copy(copy),
            NodeEnum::DeclareCursorStmt(cursor) => {
                self.wrapped(cursor.query.as_deref(), "declare_cursor", Class::Read)
            }
            NodeEnum::FetchStmt(fetch) => self.fetch(fetch),
            NodeEnum::ClosePortalStmt(_) => Outline::new("close_cursor", Class::Read),
            NodeEnum::PrepareStmt(prepare) => {
                self.wrapped(prepare.query.as_deref(), "prepare", Class::Session)
            }
            NodeEnum::ExecuteStmt(execute) => {
                let scope = Scope::new(None, &Ctes::None);
                self.expressions(&execute.params, &scope, &mut Sources::new());
                self.unresolved(PREPARED, &execute.name, "does not exist");
                // What it weighs is what it runs.
                Outline::new("execute", Class::Transaction)
            }
            NodeEnum::DeallocateStmt(_) => Outline::new("deallocate", Class::Session),
            NodeEnum::DiscardStmt(discard) => Outline::new(discard_kind(discard.target()), Class::Session),
            NodeEnum::ListenStmt(listen) => self.channel("listen", &listen.conditionname),
            NodeEnum::UnlistenStmt(unlisten) => self.channel("unlisten", &unlisten.conditionname),
            NodeEnum::NotifyStmt(notify) => self.channel("notify", &notify.conditionname),
            NodeEnum::LockStmt(lock) => self.maintain("lock", &lock.relations),
            NodeEnum::VacuumStmt(vacuum) => {
                self.maintain(if vacuum.is_vacuumcmd { "vacuum" } else { "analyze" }, &vacuum.rels)
            }
            NodeEnum::ClusterStmt(cluster) => self.maintain_one("cluster", cluster.relation.as_ref()),
            NodeEnum::ReindexStmt(reindex) => self.maintain_one("reindex", reindex.relation.as_ref()),
            NodeEnum::RefreshMatViewStmt(refresh) => {
                self.maintain_one("refresh_materialized_view", refresh.relation.as_ref())
            }
            NodeEnum::CheckPointStmt(_) => Outline::new("checkpoint", Class::Utility),
            NodeEnum::LoadStmt(_) => Outline::new("load", Class::Utility),
            NodeEnum::DoStmt(_) => Outline::new("do", Class::Utility),
            NodeEnum::CallStmt(call) => {
                let scope = Scope::new(None, &Ctes::None);
                if let Some(call) = &call.funccall {
                    self.call(call, &scope, &mut Sources::new());
                }
                Outline::new("call", Class::Utility)
            }
            _ => return None,
        })
    }

    /// A statement that wraps another: the outputs stay inside.
    pub(super) fn wrapped(&mut self, query: Option<&Node>, kind: &str, class: Class) -> Outline {
        match query {
            Some(query) => {
                self.inner_statement(query);
            }
            None => self.unresolved("statement", kind, "has no statement inside"),
        }
        Outline::new(kind, class)
    }

    fn fetch(&mut self, fetch: &FetchStmt) -> Outline {
        self.unresolved(CURSOR, &fetch.portalname, "does not exist");
        if fetch.ismove {
            return Outline::new("move", Class::Read);
        }
        self.destinations.insert(Destination::Client);
        Outline::new("fetch", Class::Read)
    }

    fn channel(&mut self, kind: &str, name: &str) -> Outline {
        self.destinations.insert(Destination::Channel);
        self.channels.push(if name.is_empty() { "*" } else { name }.to_owned());
        Outline::new(kind, Class::Session)
    }

    fn maintain(&mut self, kind: &str, relations: &[Node]) -> Outline {
        for node in relations {
            match node.node.as_ref() {
                Some(NodeEnum::RangeVar(range)) => self.maintained(range),
                Some(NodeEnum::VacuumRelation(target)) => {
                    if let Some(range) = &target.relation {
                        self.maintained(range);
                    }
                }
                Some(other) => self.unknown_node(other),
                None => {}
            }
        }
        Outline::new(kind, Class::Utility)
    }

    fn maintain_one(&mut self, kind: &str, relation: Option<&RangeVar>) -> Outline {
        if let Some(range) = relation {
            self.maintained(range);
        }
        Outline::new(kind, Class::Utility)
    }

    fn maintained(&mut self, range: &RangeVar) {
        if let Some(relation) = self.relation(range) {
            self.touch(relation, Access::Maintain, range.inh);
        }
    }

    fn copy(&mut self, copy: &CopyStmt) -> Outline {
        self.destinations.insert(match (copy.is_program, copy.filename.as_str()) {
            (true, _) => Destination::ServerProgram,
            (false, "") => Destination::Client,
            (false, _) => Destination::ServerFile,
        });
        let class = if copy.is_from { Class::Write } else { Class::Read };
        if let Some(query) = copy.query.as_deref() {
            return self.wrapped(Some(query), "copy", class);
        }
        let Some(range) = &copy.relation else {
            self.unresolved("relation", "", "is missing");
            return Outline::new("copy", class);
        };
        if copy.is_from {
            self.destinations.insert(Destination::Table);
            let target = self.target_relation(Some(range), &[Access::Insert]);
            self.copied_columns(&copy.attlist, range, &target.range, copy.is_from);
            let scope = Scope::new(None, &Ctes::None).with(vec![target.range]);
            self.condition(copy.where_clause.as_deref(), &scope, &mut Sources::new());
        } else if let Some(relation) = self.relation(range) {
            // COPY t TO reads t alone, as ONLY t does.
            let range = RangeVar { inh: false, ..range.clone() };
            let shown = Visible::fully(self.relation_range(&range, relation, Access::Read));
            self.copied_columns(&copy.attlist, &range, &shown, copy.is_from);
        }
        self.copy_options(copy);
        Outline::new("copy", class)
    }

    fn copied_columns(&mut self, list: &[Node], range: &RangeVar, shown: &Visible, is_from: bool) {
        let all: Vec<&str> = shown.range.columns.iter().map(|column| &*column.name).collect();
        let names = if list.is_empty() { all } else { strings(list) };
        for name in names {
            let mut sources = Sources::new();
            if !shown.range.column(name, &mut sources) {
                let name = format!("{}.{name}", range_var_name(range));
                self.unresolved("column", &name, "does not exist or is not visible to you");
            }
            if is_from {
                for source in &sources {
                    self.write(&source.key, Access::Insert, &source.column);
                }
            } else {
                self.read(&sources);
            }
        }
    }

    /// `FORCE_QUOTE (col)` and the like name columns that are copied anyway; nothing else in the options
    /// reaches a table or a file. A `freeze` of rows is only allowed on a table of this transaction.
    fn copy_options(&mut self, copy: &CopyStmt) {
        if option(&copy.options, "freeze").is_some_and(is_on) {
            self.heaviest = self.heaviest.max(Class::Write);
        }
    }
}

fn discard_kind(mode: DiscardMode) -> &'static str {
    match mode {
        DiscardMode::DiscardPlans => "discard_plans",
        DiscardMode::DiscardSequences => "discard_sequences",
        DiscardMode::DiscardTemp => "discard_temp",
        DiscardMode::DiscardAll | DiscardMode::Undefined => "discard_all",
    }
}

/// A constant as text; empty for anything else.
pub(super) fn word(node: &Node) -> String {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(constant)) => constant_text(constant).unwrap_or_default(),
        Some(NodeEnum::Integer(value)) => value.ival.to_string(),
        Some(NodeEnum::Float(value)) => value.fval.clone(),
        Some(NodeEnum::Boolean(value)) => value.boolval.to_string(),
        Some(NodeEnum::TypeName(name)) => strings(&name.names).last().copied().unwrap_or_default().to_owned(),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().map(word).unwrap_or_default(),
        Some(_) => string(node).unwrap_or_default().to_owned(),
        None => String::new(),
    }
}

fn constant_text(constant: &AConst) -> Option<String> {
    Some(match constant.val.as_ref()? {
        Val::Ival(value) => value.ival.to_string(),
        Val::Fval(value) => value.fval.clone(),
        Val::Boolval(value) => value.boolval.to_string(),
        Val::Sval(value) => value.sval.clone(),
        Val::Bsval(value) => value.bsval.clone(),
    })
}

/// An integer literal.
pub(super) fn integer(node: &Node) -> Option<i64> {
    let Some(NodeEnum::AConst(constant)) = node.node.as_ref() else { return None };
    match constant.val.as_ref()? {
        Val::Ival(value) => Some(i64::from(value.ival)),
        // Integers beyond 32 bits come as Float.
        Val::Fval(value) => value.fval.parse().ok(),
        Val::Boolval(_) | Val::Sval(_) | Val::Bsval(_) => None,
    }
}
