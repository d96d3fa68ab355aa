//! What a server is told at start-up. Parameters given there weigh more than `ALTER ROLE ... SET`.
//!
//! A judged session is pinned to what its judge takes for granted, whatever its client asks for; an unjudged one gets
//! what its client gave, and nothing else.

use crate::gate::{Context, Door};
use crate::identity::Identity;
use crate::mask::{Key, RowGrants};

use super::DatabaseSettings;
use super::timeout::milliseconds;

/// A setting of the client's that the gateway can't honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) name: String,
    pub(super) value: String,
}

/// Whose session it is, and what its client asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session<'a> {
    /// The identity's name.
    pub(super) identity: &'a str,
    /// What it is for, as the issuer of its token says; empty where nobody does.
    pub(super) task: &'a str,
    /// The identity's ceiling on `statement_timeout`.
    pub(super) ceiling_ms: Option<u64>,
    /// `application_name`, as claimed; empty without one.
    pub(super) application: &'a str,
    /// The client's settings, which its door and policy have let pass.
    pub(super) settings: &'a [(String, String)],
    /// The row filters' values.
    pub(super) rows: &'a RowGrants,
    /// Whether its transactions are READ ONLY.
    pub(super) read_only: bool,
    /// Whether its statements run as they come.
    pub(super) unjudged: bool,
    /// Whether its values become JSON, and so have to be printed in one way.
    pub(super) values_in_json: bool,
}

impl<'a> Session<'a> {
    /// The session of `who` in `context`.
    pub(super) fn of(context: &'a Context, who: &'a Identity) -> Self {
        Self {
            identity: who.name(),
            task: who.task(),
            ceiling_ms: who.limits().statement_timeout_ms,
            application: context.application(),
            settings: context.settings(),
            rows: context.rows(),
            read_only: context.is_read_only(),
            unjudged: context.is_unjudged(),
            values_in_json: context.door() == Door::Mcp,
        }
    }

    /// The parameters in the order in which they are sent; the server knows the session's role as `user`.
    pub(super) fn start_up(
        self,
        database: &DatabaseSettings,
        user: &str,
    ) -> Result<Vec<(String, String)>, Unfit> {
        let mut parameters = vec![own("user", user), own("database", &database.database)];
        let mut clients = self.settings.to_vec();
        if self.unjudged {
            let named = clients.iter().any(|(name, _)| is(name, &[APPLICATION_NAME]));
            if !named && !self.application.is_empty() {
                parameters.push(own(APPLICATION_NAME, self.application));
            }
        } else {
            clients.retain(|(name, _)| !is(name, &PINNED));
            parameters.extend([
                own(APPLICATION_NAME, &application_name(self.identity, self.task, self.application)),
                own("client_encoding", "UTF8"),
                own("standard_conforming_strings", "on"),
                own("search_path", &search_path(&database.search_path)),
                own("row_security", "on"),
            ]);
            if self.read_only {
                clients.retain(|(name, _)| !is(name, &[READ_ONLY]));
                parameters.push(own(READ_ONLY, "on"));
            }
            if self.values_in_json {
                clients.retain(|(name, _)| !PRINTED.iter().any(|(printed, _)| is(name, &[printed])));
                parameters.extend(PRINTED.map(|(name, value)| own(name, value)));
            }
            parameters.extend(database.mask_key.iter().flat_map(Key::settings));
        }
        if let Some(ceiling_ms) = self.ceiling_ms {
            limit(&mut clients, ceiling_ms)?;
        }
        parameters.extend(clients);
        // The last word weighs: an unjudged session, which no filter holds back, is told so whatever its client says.
        parameters.extend(self.rows.settings());
        Ok(parameters)
    }
}

/// Holds every `statement_timeout` in `settings` to the ceiling, and adds one where there is none.
fn limit(settings: &mut Vec<(String, String)>, ceiling_ms: u64) -> Result<(), Unfit> {
    let mut limited = false;
    for (name, value) in settings.iter_mut().filter(|(name, _)| is(name, &[STATEMENT_TIMEOUT])) {
        let unfit = || Unfit { name: name.clone(), value: value.clone() };
        // 0 is no limit at all.
        let asked = milliseconds(value).ok_or_else(unfit)?;
        *value = if asked == 0 { ceiling_ms } else { asked.min(ceiling_ms) }.to_string();
        limited = true;
    }
    if !limited {
        settings.push(own(STATEMENT_TIMEOUT, &ceiling_ms.to_string()));
    }
    Ok(())
}

fn own(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// PostgreSQL doesn't tell upper from lower case in a parameter's name.
fn is(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Every schema quoted, and temporary tables last: a temporary table must not stand before one that was judged.
fn search_path(schemas: &[String]) -> String {
    let quoted = schemas.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\"")));
    quoted.chain(["pg_temp".to_owned()]).collect::<Vec<_>>().join(", ")
}

/// `portcullis:NAME[:TASK][:CLIENT]`, as PostgreSQL itself would clean and cut it.
fn application_name(identity: &str, task: &str, client: &str) -> String {
    let parts = ["portcullis", identity, task, client];
    let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(":");
    name.chars().map(|c| if matches!(c, ' '..='~') { c } else { '?' }).take(NAME_BYTES).collect()
}

const APPLICATION_NAME: &str = "application_name";
const STATEMENT_TIMEOUT: &str = "statement_timeout";
const READ_ONLY: &str = "default_transaction_read_only";

/// What is the gateway's to say in a judged session, and what would make the server read or judge otherwise than the
/// gate does. `options` could hold all of them.
const PINNED: [&str; 12] = [
    "user",
    "database",
    "options",
    "replication",
    APPLICATION_NAME,
    "client_encoding",
    "standard_conforming_strings",
    "search_path",
    "row_security",
    "role",
    "session_authorization",
    "session_replication_role",
];

/// How values are printed that become JSON, whatever the server and its roles are set to. The order in which dates are
/// *read* stays the server's own, and so does its time zone: a printed time says its offset.
const PRINTED: [(&str, &str); 4] = [
    ("DateStyle", "ISO"),
    ("IntervalStyle", "iso_8601"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// `NAMEDATALEN` less the NUL.
const NAME_BYTES: usize = 63;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::catalog::RelationKey;
    use crate::mask::rows::{By, RowFilter};
    use crate::mask::{RowFilters, RowValues};

    use super::super::RoleSettings;
    use super::*;

    static NO_ROWS: RowGrants = RowGrants::none();

    fn sent(session: Session<'_>) -> Vec<String> {
        let role = RoleSettings { name: String::new(), user: "svc".into(), password: String::new() };
        let database = DatabaseSettings::new("shop".into(), "h".into(), 1, "store".into(), role);
        let parameters = session.start_up(&database, "svc").unwrap();
        parameters.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn session(settings: &[(String, String)], unjudged: bool) -> Session<'_> {
        Session {
            identity: "ana",
            task: "",
            ceiling_ms: None,
            application: "psql",
            settings,
            rows: &NO_ROWS,
            read_only: false,
            unjudged,
            values_in_json: false,
        }
    }

    #[test]
    fn values_that_become_json_are_printed_in_one_way_whatever_is_asked_for() {
        let chosen = [own("datestyle", "German"), own("TIMEZONE", "Asia/Tokyo")];
        let sent = sent(Session { values_in_json: true, ..session(&chosen, false) });
        assert!(
            sent.contains(&"DateStyle=ISO".to_owned()) && sent.contains(&"TIMEZONE=Asia/Tokyo".to_owned())
        );
        assert!(!sent.iter().any(|setting| setting.contains("German")), "{sent:?}");
    }

    #[test]
    fn a_judged_session_is_pinned_whatever_its_client_brings() {
        let clients = [
            own("TimeZone", "Asia/Tokyo"),
            own("SEARCH_PATH", "hr"),
            own("role", "postgres"),
            own("options", "-c row_security=off"),
            own("client_encoding", "SJIS"),
            own("work_mem", "8MB"),
        ];
        assert_eq!(
            sent(session(&clients, false)),
            [
                "user=svc",
                "database=store",
                "application_name=portcullis:ana:psql",
                "client_encoding=UTF8",
                "standard_conforming_strings=on",
                "search_path=\"public\", pg_temp",
                "row_security=on",
                "TimeZone=Asia/Tokyo",
                "work_mem=8MB",
            ]
        );
    }

    #[test]
    fn an_unjudged_session_brings_what_its_client_gave_and_nothing_else() {
        let clients = [own("client_encoding", "SJIS"), own("search_path", "hr"), own("work_mem", "8MB")];
        assert_eq!(
            sent(session(&clients, true)),
            [
                "user=svc",
                "database=store",
                "application_name=psql",
                "client_encoding=SJIS",
                "search_path=hr",
                "work_mem=8MB",
            ]
        );
        let named = [own("Application_Name", "as the client wrote it, at any length")];
        let parameters = sent(session(&named, true));
        assert_eq!(parameters[2..], ["Application_Name=as the client wrote it, at any length"]);
        let silent = Session { application: "", ..session(&[], true) };
        assert_eq!(sent(silent), ["user=svc", "database=store"]);
        let limited = Session { ceiling_ms: Some(500), ..silent };
        assert_eq!(sent(limited), ["user=svc", "database=store", "statement_timeout=500"]);
    }

    #[test]
    fn row_filters_have_the_last_word_in_every_session() {
        let mut filters = RowFilters::default();
        let filter = RowFilter {
            name: "tenant".into(),
            relation: RelationKey::new("public", "orders"),
            using: "tenant = ANY ($values)".into(),
            by: By::Rls,
            lifted: true,
        };
        filters.add(filter).unwrap();
        let given = |values| filters.grants(BTreeMap::from([("tenant".to_owned(), values)])).unwrap();
        let clients = [own("Portcullis.Lift_Tenant", "on"), own("portcullis.rows_tenant", "{b}")];
        for unjudged in [false, true] {
            let rows = given(RowValues::These(BTreeSet::from(["a".to_owned()])));
            let parameters = sent(Session { rows: &rows, ..session(&clients, unjudged) });
            let last = &parameters[parameters.len() - 2..];
            assert_eq!(last, ["portcullis.rows_tenant={\"a\"}", "portcullis.lift_tenant=off"]);
            let rows = given(RowValues::All);
            let parameters = sent(Session { rows: &rows, ..session(&clients, unjudged) });
            assert_eq!(parameters.last().unwrap(), "portcullis.lift_tenant=on");
        }
    }

    #[test]
    fn the_search_path_is_quoted_and_ends_with_temporary_tables() {
        let schemas = ["public".to_owned(), "odd\"name, x".to_owned()];
        assert_eq!(search_path(&schemas), r#""public", "odd""name, x", pg_temp"#);
        assert_eq!(search_path(&[]), "pg_temp");
    }

    #[test]
    fn the_application_name_tells_identity_and_client_in_63_printable_bytes() {
        assert_eq!(application_name("ana", "", ""), "portcullis:ana");
        assert_eq!(application_name("ana", "", "psql"), "portcullis:ana:psql");
        assert_eq!(application_name("bot/ana", "t-7", "cc"), "portcullis:bot/ana:t-7:cc");
        assert_eq!(application_name("ana", "", "a\0b\n\u{e9}"), "portcullis:ana:a?b??");
        assert_eq!(application_name("ana", "", &"\u{1f600}".repeat(100)).len(), 63);
    }

    #[test]
    fn a_client_can_shorten_its_time_limit_and_never_lift_it() {
        let limited = |value: &str| {
            let mut settings = vec![own("TimeZone", "UTC"), own("Statement_Timeout", value)];
            limit(&mut settings, 20_000).map(|()| settings.pop().unwrap().1)
        };
        for (asked, given) in [
            ("5s", "5000"),
            ("19999", "19999"),
            ("20001", "20000"),
            ("1h", "20000"),
            ("0", "20000"),
            ("0.4", "20000"),
            ("100us", "20000"),
        ] {
            assert_eq!(limited(asked).unwrap(), given, "{asked}");
        }
        for unreadable in ["", "-1", "1x", "0x1.8", "9999999999"] {
            assert!(limited(unreadable).is_err(), "{unreadable}");
        }
        let mut none = Vec::new();
        limit(&mut none, 20_000).unwrap();
        assert_eq!(none, [own("statement_timeout", "20000")]);
    }

    #[test]
    fn every_mention_of_a_time_limit_is_held_to_the_ceiling() {
        let mut settings = vec![own("statement_timeout", "1s"), own("STATEMENT_TIMEOUT", "0")];
        limit(&mut settings, 20_000).unwrap();
        assert_eq!(settings, [own("statement_timeout", "1000"), own("STATEMENT_TIMEOUT", "20000")]);
    }

    #[test]
    fn a_session_that_only_reads_says_so_to_the_server_whatever_its_client_says() {
        let asked = [("default_transaction_READ_only".to_owned(), "off".to_owned())];
        let session = Session { read_only: true, ..session(&asked, false) };
        let said: Vec<_> =
            sent(session).into_iter().filter(|given| given.to_lowercase().starts_with(READ_ONLY)).collect();
        assert_eq!(said, ["default_transaction_read_only=on"]);
    }
}
