//! What a client may not set when it connects, whatever the rulebook says: what would make the database read a
//! statement otherwise than the gate has judged it, or run it as somebody else.

use std::borrow::Cow;

use crate::policy::input::SettingInput;
use crate::sql::facts::{Access, Class, Destination, SettingFact};
use crate::sql::{Facts, Item};

use super::escalate::Values;
use super::judge::Via;
use super::{Context, Denial, DenialKind};

/// What of `settings` an unjudged session gets: all of it, and `replication` only if that is `allowed`.
pub(super) fn unjudged(
    settings: &[(String, String)],
    allowed: bool,
) -> Result<Vec<(String, String)>, Denial> {
    match settings.iter().any(|(name, _)| is(name, REPLICATION)) && !allowed {
        true => Err(denial("replication", "connections for replication are not allowed here", "")),
        false => Ok(settings.to_vec()),
    }
}

/// What of `settings` a judged session gets: nothing that is pinned. Asking for what is pinned anyway does no harm.
pub(super) fn judged(
    settings: &[(String, String)],
    read_only: bool,
) -> Result<Vec<(String, String)>, Denial> {
    let mut admitted = Vec::new();
    for (name, value) in settings {
        if read_only && lifts_read_only(name, value) {
            return Err(only_reads());
        }
        match HELD.iter().find(|(held, _)| is(name, held)) {
            Some((_, values)) if values.iter().any(|same| is(meant(name, value), same)) => {}
            Some((held, values)) => {
                let message = format!("the setting `{held}` must stay `{}`", values.first().unwrap_or(&""));
                return Err(denial("setting", &message, "leave it out when you connect"));
            }
            None if is(name, REPLICATION) => {
                let message = "connections for replication are not allowed here";
                return Err(denial("replication", message, "what they read is not judged"));
            }
            None if NEVER.iter().any(|never| is(name, never)) || name.contains('.') => {
                let message = format!("the setting `{name}` is not yours to change");
                return Err(denial("setting", &message, "leave it out when you connect"));
            }
            None => admitted.push((name.clone(), value.clone())),
        }
    }
    Ok(admitted)
}

/// `admitted` settings of a client, and over them those that the rulebook has `chosen`: which are none of those that the
/// gateway itself holds.
pub(super) fn with_chosen(
    admitted: Vec<(String, String)>,
    chosen: Vec<(String, String)>,
) -> Result<Vec<(String, String)>, Denial> {
    let held = |name: &str| {
        name.starts_with(OWN)
            || is(name, REPLICATION)
            || HELD.iter().any(|(held, _)| is(name, held))
            || NEVER.iter().any(|never| is(name, never))
            || READ_ONLY.iter().any(|read_only| is(name, read_only))
    };
    if let Some((name, _)) = chosen.iter().find(|(name, _)| held(name)) {
        let message = format!("the rulebook chooses the setting `{name}`, which is the gateway's own");
        return Err(denial("policy_error", &message, "whoever keeps the rulebook must leave it out"));
    }
    let is_chosen = |name: &str| chosen.iter().any(|(chosen, _)| is(name, chosen));
    let mut settings: Vec<_> = admitted.into_iter().filter(|(name, _)| !is_chosen(name)).collect();
    settings.extend(chosen);
    Ok(settings)
}

/// Holds what statements of a judged session set against what the reading of statements rests on. To reset is to go
/// back to what the gateway has chosen. A name that is worked out as it runs could be any of them.
pub(super) fn kept(context: &Context, items: &[Item]) -> Result<(), Denial> {
    if context.is_unjudged() {
        return Ok(());
    }
    let mut tables = items.iter().flat_map(|item| &item.facts.tables);
    if tables.any(|table| table.key.as_str() == SETTINGS && table.access != Access::Read) {
        // A rule makes an UPDATE of that view a SET, of whatever its rows name.
        return Err(denial(
            "pinned_setting",
            "settings are not changed by writing to `pg_settings`",
            "use SET",
        ));
    }
    let settings = items.iter().flat_map(|item| &item.facts.settings);
    let lifts = |setting: &SettingFact| {
        let name = setting.name.as_str();
        let on = matches!(setting.values.as_slice(), [value] if !lifts_read_only(name, value));
        let is_set = setting.action.starts_with("set");
        is_set && (AS_ANOTHER.contains(&name) || READ_ONLY.contains(&name) && !on)
    };
    if context.is_read_only() && settings.clone().any(lifts) {
        return Err(only_reads());
    }
    if let Some(item) = items.iter().find(|item| context.is_read_only() && changes(&item.facts)) {
        let message = format!("you may only read here, and `{}` does more", item.facts.kind);
        return Err(denial("read_only", &message, "`my_access` lists what you may do"));
    }
    for setting in settings.filter(|setting| matches!(setting.action.as_str(), "set" | "set_local")) {
        let values = HELD.iter().find(|(held, _)| *held == setting.name).map(|(_, values)| *values);
        let holds = match (setting.name.as_str(), values, setting.values.as_slice()) {
            ("search_path" | "?", ..) => false,
            (_, Some(values), [value]) => values.iter().any(|same| is(value, same)),
            (_, Some(_), _) => false,
            (_, None, _) => true,
        };
        if !holds {
            let message = match setting.name.as_str() {
                "?" => {
                    "a setting whose name is not written out may be one of those that must stay".to_owned()
                }
                name => format!("the setting `{name}` must stay as it is: statements are read by it"),
            };
            return Err(denial("pinned_setting", &message, "write names with their schema"));
        }
    }
    Ok(())
}

/// The denial of a statement that names what the gateway keeps in the server's session, the key of masks among it, or that
/// works out which setting it reads. One that a bind value names is known with the values; nothing runs before.
pub(super) fn own_setting(facts: &Facts, via: Via<'_>, values: &Values<'_>) -> Option<Denial> {
    let names = facts.settings.iter().map(|setting| meant_by(&setting.name, via, values));
    let own = names.into_iter().find(|name| name == UNKNOWN || name.starts_with(OWN))?;
    let (message, hint) = match own.as_ref() {
        UNKNOWN => (
            "which setting is meant can't be said before the statement runs".to_owned(),
            "write its name out",
        ),
        name => (format!("the setting `{name}` belongs to the gateway"), "leave it out"),
    };
    Some(denial("setting", &message, hint))
}

/// Whether a statement does what READ ONLY is about, or what it leaves out: locks of rows, notifications, files, and
/// EXPLAIN ANALYZE of CREATE TABLE AS, which PostgreSQL runs in a transaction that is READ ONLY.
fn changes(facts: &Facts) -> bool {
    let plan_only = facts.kind == "explain" && !facts.explain_analyze;
    let elsewhere = |destination: &Destination| *destination != Destination::Client;
    let weighs = !matches!(facts.class, Class::Transaction | Class::Read | Class::Session);
    let calls = || {
        let names = facts.functions.iter().filter_map(|function| function.key.strip_prefix("pg_catalog."));
        names.into_iter().any(|name| CHANGING.iter().any(|begins| name.starts_with(begins)))
    };
    !plan_only && (weighs || facts.locks_rows || facts.destinations.iter().any(elsewhere) || calls())
}

fn lifts_read_only(name: &str, value: &str) -> bool {
    READ_ONLY.iter().any(|known| is(name, known)) && !ON.iter().any(|on| is(value, on))
}

fn only_reads() -> Denial {
    denial("read_only", "you may only read here, so transactions stay READ ONLY and yours", "leave it out")
}

/// The setting that facts call `name`, with the bind value in the place of `$1`.
fn meant_by<'a>(name: &'a str, via: Via<'_>, values: &Values<'_>) -> Cow<'a, str> {
    let Some(number) = name.strip_prefix('$') else { return name.into() };
    let value = number.parse().ok().and_then(|number| values.text(number));
    match value {
        Some(Some(value)) => String::from_utf8_lossy(value).to_ascii_lowercase().into(),
        Some(None) => "".into(),
        None if via == Via::Prepare => "".into(),
        None => UNKNOWN.into(),
    }
}

/// A setting as the rulebook sees it.
pub(super) fn shown((name, value): &(String, String)) -> SettingInput<'_> {
    SettingInput { name: name.to_ascii_lowercase(), value: meant(name, value) }
}

/// A value without what PostgreSQL passes over in the name of an encoding: asyncpg asks for `'utf-8'`, quotes included.
fn meant<'a>(name: &str, value: &'a str) -> &'a str {
    if is(name, "client_encoding") { value.trim_matches('\'') } else { value }
}

fn is(name: &str, known: &str) -> bool {
    name.eq_ignore_ascii_case(known)
}

fn denial(rule: &str, message: &str, hint: &str) -> Denial {
    Denial::because(DenialKind::Policy, rule, message, hint)
}

/// What the names of the gateway's own settings begin with.
const OWN: &str = "portcullis.";
/// What makes transactions READ ONLY, by default and now.
const READ_ONLY: [&str; 2] = ["default_transaction_read_only", "transaction_read_only"];
/// What the names of PostgreSQL's own functions begin with that change something which outlives their statement, in a
/// READ ONLY transaction too: sequences, large objects, locks, notifications, replication, other sessions, the server.
const CHANGING: [&str; 28] = [
    "nextval",
    "setval",
    "lo_",
    "lowrite",
    "pg_advisory",
    "pg_try_advisory",
    "pg_notify",
    "pg_create_",
    "pg_drop_",
    "pg_copy_",
    "pg_replication_",
    "pg_logical_",
    "pg_sync_",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_promote",
    "pg_wal_replay_",
    "pg_backup_",
    "pg_start_backup",
    "pg_stop_backup",
    "pg_log_",
    "pg_import_system_collations",
    "pg_stat_reset",
    "gin_clean_pending_list",
    "brin_",
];
/// What makes statements run with somebody else's rights.
const AS_ANOTHER: [&str; 2] = ["role", "session_authorization"];
/// Ways to write `on`.
const ON: [&str; 4] = ["on", "true", "yes", "1"];
/// What facts call a setting whose name is worked out as the statement runs.
const UNKNOWN: &str = "?";
const SETTINGS: &str = "pg_catalog.pg_settings";
const REPLICATION: &str = "replication";

/// Settings that hold in every judged session, and the ways to write that: a client whose locale knows no encoding
/// asks for `SQL_ASCII`, which leaves bytes as they are.
const HELD: [(&str, &[&str]); 3] = [
    ("client_encoding", &["UTF8", "UTF-8", "unicode", "SQL_ASCII"]),
    ("standard_conforming_strings", &["on", "true", "yes", "1"]),
    ("row_security", &["on", "true", "yes", "1"]),
];

/// Settings that the gateway chooses, or that change what a statement means: whose rights it has, which objects its
/// names find, how its text and values are read, which code is loaded. So do all with a dot in their name, which
/// belong to extensions and to row-level security.
const NEVER: [&str; 14] = [
    "search_path",
    "role",
    "session_authorization",
    "session_replication_role",
    "session_preload_libraries",
    "local_preload_libraries",
    "dynamic_library_path",
    "allow_system_table_mods",
    "transform_null_equals",
    "backslash_quote",
    "array_nulls",
    "xmloption",
    "default_tablespace",
    "default_table_access_method",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(settings: &[(&str, &str)]) -> Vec<(String, String)> {
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_judged_session_gets_nothing_that_is_pinned() {
        let asked = pairs(&[
            ("TimeZone", "UTC"),
            ("client_encoding", "utf8"),
            ("client_encoding", "'utf-8'"),
            ("Standard_Conforming_Strings", "ON"),
            ("work_mem", "1GB"),
        ]);
        assert_eq!(judged(&asked, false).unwrap(), pairs(&[("TimeZone", "UTC"), ("work_mem", "1GB")]));
        for (name, value) in [
            ("search_path", "public"),
            ("SEARCH_PATH", "public"),
            ("role", "none"),
            ("Session_Authorization", "postgres"),
            ("row_security", "off"),
            ("standard_conforming_strings", "off"),
            ("client_encoding", "SJIS"),
            ("client_encoding", "UTF8 "),
            ("portcullis.tenant", "1"),
            ("plpgsql.variable_conflict", "use_column"),
            ("replication", "database"),
        ] {
            let denial = judged(&pairs(&[(name, value)]), false).unwrap_err();
            let message = &denial.reason().unwrap().message;
            assert!(message.contains(&name.to_ascii_lowercase()) || message.contains(name), "{message}");
        }
    }

    #[test]
    fn an_unjudged_session_gets_all_it_asks_for_but_replication_unasked() {
        let asked = pairs(&[("search_path", "x"), ("client_encoding", "SJIS")]);
        assert_eq!(unjudged(&asked, false).unwrap(), asked);
        let replication = pairs(&[("replication", "database")]);
        assert!(unjudged(&replication, false).is_err());
        assert_eq!(unjudged(&replication, true).unwrap(), replication);
    }
}
