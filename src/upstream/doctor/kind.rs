//! The rights that an upstream role should not have: one table of names, weights and consequences.

use std::fmt;

/// What a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is only said: the gate closes it by itself, and the role needn't have it.
    Warning,
    /// No rule of the gateway's holds back what slips through: `serve` does not use the role.
    Dangerous,
}

impl Severity {
    /// `dangerous` or `warning`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Dangerous => "dangerous",
        }
    }
}

macro_rules! kinds {
    ($($kind:ident $name:literal $severity:ident $harm:literal)+) => {
        /// A sort of finding.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $harm] $kind,)+
        }

        impl Kind {
            /// Every sort, the worst first.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name, by which the configuration accepts it. Names never change.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// What it weighs.
            #[must_use]
            pub fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity,)+ }
            }

            /// What somebody could do with it who gets a statement past the gate, or whose agent is mistaken.
            #[must_use]
            pub fn harm(self) -> &'static str {
                match self { $(Self::$kind => $harm,)+ }
            }
        }
    };
}

kinds! {
    Superuser "superuser" Dangerous
        "It passes every check: whatever slips through the gate reads, changes and drops everything, and runs programs on the server."
    Replication "replication" Dangerous
        "It can copy the whole cluster as a standby would, past every mask, and hold back the log until the disk is full."
    BypassRls "bypassrls" Dangerous
        "Row-level security does not hold for it, so it sees the rows of every tenant."
    CreateRole "createrole" Dangerous
        "It can make roles, change passwords and grant memberships, and so become somebody who may do more."
    CreateDb "createdb" Dangerous
        "It can make databases, which it owns and which nobody governs, and fill the disk with copies."
    PowerfulRole "powerful_role" Dangerous
        "It can turn into a role that is a superuser or the like by SET ROLE, and do all that this one may."
    ExecuteServerProgram "pg_execute_server_program" Dangerous
        "It can run any program on the database's machine by COPY ... PROGRAM."
    WriteServerFiles "pg_write_server_files" Dangerous
        "It can write any file that the server can, and so take the server over."
    ReadServerFiles "pg_read_server_files" Dangerous
        "It can read any file that the server can: the tables' own files, keys, passwords."
    ReadAllData "pg_read_all_data" Dangerous
        "It can read every table, so that nothing stands behind a mask that fails."
    WriteAllData "pg_write_all_data" Dangerous
        "It can change every table, also those that no rule has ever named."
    CreateSubscription "pg_create_subscription" Dangerous
        "It can make the server connect elsewhere and write what comes from there into tables."
    Monitor "pg_monitor" Dangerous
        "It sees the statements of all sessions with their values, and the server's files and settings."
    ReadAllStats "pg_read_all_stats" Dangerous
        "It sees the statements of all sessions, with the values in them."
    SignalBackend "pg_signal_backend" Dangerous
        "It can end the sessions of everybody else."
    Maintain "pg_maintain" Dangerous
        "It can lock and rewrite every table (VACUUM FULL, REINDEX), and so stop everybody's work."
    Checkpoint "pg_checkpoint" Warning
        "It can force checkpoints, one after the other, which slows everybody down."
    ReadAllSettings "pg_read_all_settings" Warning
        "It sees settings that are for superusers, such as where files are."
    ScanTables "pg_stat_scan_tables" Warning
        "It can read through any table for statistics, holding locks for long."
    Owner "owner" Dangerous
        "An owner can drop and redefine what it owns, is not held by its row-level security, and can grant itself every column."
    CreateInSchema "create_in_schema" Dangerous
        "It can make tables and functions there that are found in the place of those that statements mean."
    CreateInDatabase "create_in_database" Dangerous
        "It can make schemas and install extensions, and put into them what nobody governs."
    ServerFunctions "server_functions" Dangerous
        "PostgreSQL keeps these functions from ordinary roles: they read and write the server's files, or change the server."
    OtherConnections "other_connections" Dangerous
        "These functions connect elsewhere and run SQL there, or back here past the gate."
    SecurityDefiner "security_definer" Dangerous
        "These functions run with the rights of their owners, so that they can read and change what the role itself can't."
    UntrustedLanguage "untrusted_language" Dangerous
        "These functions are written in a language that can do anything on the database's machine."
    ForeignServer "foreign_server" Dangerous
        "It can use a connection to another server, with the password that is kept for it, outside of what is governed."
    MaskedColumns "masked_columns" Warning
        "The rulebook never shows these columns to anybody who works by this role, yet the role can read them: a mask that failed would be a leak, not \"permission denied\"."
    SqlFromText "sql_from_text" Warning
        "These functions run SQL out of a text, which the gate can't see into; it denies them unless the rulebook clears them."
    LargeObjects "large_objects" Warning
        "It can store large objects, for which there are no masks; the gate denies these functions to whoever may not write."
    Temporary "temp" Warning
        "It can make temporary tables, which hide others of the same name; the gate sends every name with its schema."
}

impl Kind {
    /// The sort with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Whether a role with it is not used.
    #[must_use]
    pub fn is_dangerous(self) -> bool {
        self.severity() == Severity::Dangerous
    }

    /// The sort that is a membership in PostgreSQL's own role `role`. The others of that kind grant nothing here.
    pub(super) fn of_predefined_role(role: &str) -> Option<Self> {
        Self::of_name(role).filter(|kind| kind.name().starts_with("pg_"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
