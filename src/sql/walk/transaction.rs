//! Transaction control, and the settings of a session.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DefElem, Node, TransactionStmt, TransactionStmtKind, VariableSetKind, VariableSetStmt,
};

use crate::sql::facts::{Class, SettingFact};

use super::scope::{Column, Sources};
use super::utility::word;
use super::{Outline, Walker};

impl Walker<'_> {
    /// Transaction control, SET, RESET and SHOW; `None` for any other.
    #[expect(clippy::wildcard_enum_match_arm, reason = "an allow-list: the caller asks the other rooms")]
    pub(super) fn transaction_command(&mut self, node: &NodeEnum) -> Option<Outline> {
        Some(match node {
            NodeEnum::TransactionStmt(statement) => self.transaction(statement),
            NodeEnum::VariableSetStmt(statement) => self.variable_set(statement),
            NodeEnum::VariableShowStmt(show) => {
                let name = show.name.to_ascii_lowercase();
                self.setting(&name, "show", Vec::new());
                // SHOW ALL gives name, setting and description.
                let names: &[&str] = if name == "all" { &["name", "setting", "description"] } else { &[""] };
                let columns = names.iter().map(|name| Column::new(name, Sources::new()));
                Outline::with("show", Class::Transaction, columns.collect())
            }
            NodeEnum::ConstraintsSetStmt(_) => Outline::new("set_constraints", Class::Session),
            _ => return None,
        })
    }

    fn transaction(&mut self, statement: &TransactionStmt) -> Outline {
        let (kind, class) = match statement.kind() {
            TransactionStmtKind::TransStmtBegin | TransactionStmtKind::TransStmtStart => {
                self.transaction_options(&statement.options, "set_local");
                ("begin", Class::Transaction)
            }
            TransactionStmtKind::TransStmtCommit => ("commit", Class::Transaction),
            TransactionStmtKind::TransStmtRollback => ("rollback", Class::Transaction),
            TransactionStmtKind::TransStmtSavepoint => ("savepoint", Class::Transaction),
            TransactionStmtKind::TransStmtRelease => ("release", Class::Transaction),
            TransactionStmtKind::TransStmtRollbackTo => ("rollback_to", Class::Transaction),
            // Two-phase commit outlives the session, so it weighs more than any end of a transaction.
            TransactionStmtKind::TransStmtPrepare => ("prepare_transaction", Class::Utility),
            TransactionStmtKind::TransStmtCommitPrepared => ("commit_prepared", Class::Utility),
            TransactionStmtKind::TransStmtRollbackPrepared => ("rollback_prepared", Class::Utility),
            TransactionStmtKind::Undefined => {
                self.unresolved(
                    "statement",
                    "TransactionStmt",
                    "is a statement that Portcullis does not know",
                );
                ("unknown", Class::Unknown)
            }
        };
        Outline::new(kind, class)
    }

    fn variable_set(&mut self, statement: &VariableSetStmt) -> Outline {
        let set = if statement.is_local { "set_local" } else { "set" };
        let name = statement.name.to_ascii_lowercase();
        match statement.kind() {
            VariableSetKind::VarSetValue => {
                self.setting(&name, set, statement.args.iter().map(word).collect());
                Outline::new("set", Class::Session)
            }
            VariableSetKind::VarSetDefault => {
                self.setting(&name, "reset", Vec::new());
                Outline::new("set", Class::Session)
            }
            VariableSetKind::VarSetCurrent => {
                self.setting(&name, set, Vec::new());
                Outline::new("set", Class::Session)
            }
            VariableSetKind::VarSetMulti => {
                self.set_many(&name, &statement.args);
                Outline::new("set", Class::Session)
            }
            VariableSetKind::VarReset => {
                self.setting(&name, "reset", Vec::new());
                Outline::new("reset", Class::Session)
            }
            VariableSetKind::VarResetAll => {
                self.setting("all", "reset", Vec::new());
                Outline::new("reset", Class::Session)
            }
            VariableSetKind::Undefined => {
                self.unresolved(
                    "statement",
                    "VariableSetStmt",
                    "is a statement that Portcullis does not know",
                );
                Outline::new("unknown", Class::Unknown)
            }
        }
    }

    /// SET TRANSACTION and SET SESSION CHARACTERISTICS, which set several settings at once.
    fn set_many(&mut self, name: &str, args: &[Node]) {
        match name {
            "transaction" => self.transaction_options(args, "set_local"),
            "session characteristics" => {
                let before = self.settings.len();
                self.transaction_options(args, "set");
                for setting in self.settings.iter_mut().skip(before) {
                    setting.name = format!("default_{}", setting.name);
                }
            }
            // SET TRANSACTION SNAPSHOT reads as of another transaction.
            _ => self.setting(name, "set_local", args.iter().map(word).collect()),
        }
    }

    /// `ISOLATION LEVEL ...`, `READ WRITE`, `DEFERRABLE`, as the settings that they are.
    fn transaction_options(&mut self, options: &[Node], action: &str) {
        for option in options {
            let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { continue };
            self.transaction_option(option, action);
        }
    }

    fn transaction_option(&mut self, option: &DefElem, action: &str) {
        let value = option.arg.as_deref().map(word).unwrap_or_default();
        let value = match (option.defname.as_str(), value.as_str()) {
            ("transaction_read_only" | "transaction_deferrable", "0") => "off".to_owned(),
            ("transaction_read_only" | "transaction_deferrable", "1") => "on".to_owned(),
            _ => value,
        };
        self.setting(&option.defname, action, vec![value]);
    }

    pub(super) fn setting(&mut self, name: &str, action: &str, values: Vec<String>) {
        self.settings.push(SettingFact { name: name.to_owned(), action: action.to_owned(), values });
    }
}
