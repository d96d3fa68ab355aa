//! Everybody's tricks at once: each line of `reads.sql` and `writes.sql` has worked against somebody. They are
//! sent by every way that a statement can take, before the demo's role and before one that may read everything.

use std::collections::BTreeSet;

use portcullis::approval::{State, Vote};
use portcullis::audit::Event;
use portcullis::protocol::frame::Frame;
use serde_json::json;

use super::{decide, pending};
use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, close, describe, execute, message, parse, query, sync, word};

#[tokio::test(flavor = "multi_thread")]
async fn no_way_of_asking_gives_a_masked_value_and_each_is_in_the_ledger() {
    let stand = Stand::start().await;
    stand.cluster.execute_sql("shop", SMALL).await.unwrap();
    let canaries = canaries(&stand).await;
    let mut shown = Vec::new();
    for (attack, answer) in answers(&stand, "ana").await {
        let text = String::from_utf8_lossy(&answer.bytes);
        shown.extend(canaries.iter().find(|canary| text.contains(*canary)).map(|canary| (attack, canary)));
    }
    assert!(shown.is_empty(), "{shown:#?}");
    let agent = stand.mcp("support-bot").await;
    for attack in lines(READS) {
        let answer = agent.call("query", json!({"sql": attack})).await.to_string();
        let leaked = canaries.iter().find(|canary| answer.contains(*canary));
        assert!(leaked.is_none(), "{attack}: {leaked:?} in {answer}");
    }
    stand.gateway.gate().close_ledger().await.unwrap();
    let recorded = recorded(&stand);
    let kept = |attack: &&str| recorded.iter().any(|text| attack.contains(text.as_str()));
    let lost: Vec<&str> = lines(READS).filter(|attack| !kept(attack)).collect();
    assert!(lost.is_empty(), "{lost:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_would_fill_the_gateways_memory_streams_through_it() {
    let stand = Stand::start().await;
    for request in [query(HUGE), extended(HUGE)] {
        let mut raw = Raw::session(&stand, "ana").await;
        raw.send(&request).await;
        while raw.peek().await != Some(b'D') {
            raw.frame().await.unwrap();
        }
        assert_eq!(raw.skip_row().await, 1 + 4 + 2 + 4 + 70_000_000);
        let rest = raw.until_ready().await;
        assert!(rest.starts_with("C(SELECT 1) ") && rest.ends_with("Z(I)"), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_masked_value_decides_anything_that_can_be_seen_even_where_the_role_may_read_it() {
    let stand = Stand::start().await;
    for step in [SMALL, FULL_RIGHTS] {
        stand.cluster.execute_sql("shop", step).await.unwrap();
    }
    settle_storage(&stand).await;
    let canaries = canaries(&stand).await;
    let before = answers(&stand, "ana").await;
    stand.cluster.execute_sql("shop", OTHER_VALUES).await.unwrap();
    settle_storage(&stand).await;
    let after = answers(&stand, "ana").await;
    let mut wrong = Vec::new();
    for ((attack, first), (_, second)) in before.iter().zip(&after) {
        let text = String::from_utf8_lossy(&first.bytes);
        if let Some(canary) = canaries.iter().find(|canary| text.contains(*canary)) {
            wrong.push(format!("{attack}\n  showed {canary}"));
        }
        if first.told != second.told {
            wrong.push(format!(
                "{attack}\n  told {}\n  then {}",
                first.excerpt(second),
                second.excerpt(first)
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} told something:\n{}", wrong.len(), before.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_write_happens_that_nobody_approved() {
    let stand = Stand::start().await;
    stand.cluster.execute_sql("shop", FULL_RIGHTS).await.unwrap();
    let before = contents(&stand).await;
    for user in ["ana", "support-bot"] {
        let mut raw = Raw::session(&stand, user).await;
        for attack in lines(WRITES) {
            for request in [query(attack), extended(attack)] {
                let refusing = refuse_all(&stand);
                let asked = ask(&mut raw, &request);
                let answer = tokio::select! { answer = asked => answer, never = refusing => never };
                assert!(!answer.told.is_empty(), "{user}: {attack}");
                ask(&mut raw, &query("ROLLBACK")).await;
            }
        }
    }
    assert_eq!(before, contents(&stand).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_yes_is_good_for_one_run_however_often_it_is_executed() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let twice = [define(COUNTING), execute("p", 0), execute("p", 0), sync()].concat();
    let again = [bind("p", "s"), execute("p", 0), sync()].concat();
    let fetched = [bind("q", "s"), execute("q", 1), execute("q", 1), sync()].concat();
    for (request, vote) in [(&twice, Vote::Approve), (&again, Vote::Deny), (&fetched, Vote::Deny)] {
        let deciding = async {
            let request = pending(&stand).await;
            decide(&stand, "priya", &request, vote, "seen").await.unwrap();
        };
        tokio::join!(ask(&mut ana, request), deciding);
    }
    ask(&mut ana, &query("FETCH ALL FROM p; FETCH ALL FROM q")).await;
    let client = stand.cluster.connect("shop").await.unwrap();
    let subject = "SELECT subject FROM tickets WHERE id = 1";
    let subject: String = client.query_one(subject, &[]).await.unwrap().get(0);
    assert_eq!(subject.matches('!').count(), 1, "{subject}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_portal_fetched_in_pieces_has_one_ceiling() {
    let stand = Stand::start().await;
    let mut bot = Raw::session(&stand, "support-bot").await;
    let pieces = [execute("p", 300), execute("p", 300), execute("p", 300), sync()].concat();
    let answer = ask(&mut bot, &[define("SELECT id FROM orders"), pieces].concat()).await;
    let rows = answer.told.iter().filter(|line| line.starts_with("D ")).count();
    assert_eq!(rows, 500);
    assert!(answer.told.iter().any(|line| line.contains("500 rows")), "{:?}", answer.told.last());
}

/// What came back for one request.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// All of it.
    bytes: Vec<u8>,
    /// What carries information: rows, tags, SQLSTATEs and messages, one a line; decision ids differ each time.
    told: Vec<String>,
}

impl Answer {
    /// The first line in which it differs from `other`.
    fn excerpt(&self, other: &Self) -> String {
        let mut lines = self.told.iter().enumerate();
        let differs = lines.find(|(index, line)| other.told.get(*index) != Some(*line));
        differs.map_or("nothing more".to_owned(), |(_, line)| line.chars().take(200).collect())
    }

    fn take(&mut self, frame: &Frame) {
        self.bytes.extend_from_slice(&frame.body);
        let text = || String::from_utf8_lossy(&frame.body).into_owned();
        match frame.tag {
            b'S' | b'K' => {}
            b'E' | b'N' => {
                let fields = frame.body.split(|&byte| byte == 0);
                let fields = fields.filter(|field| matches!(field.first(), Some(b'C' | b'M' | b'P')));
                let fields: Vec<_> = fields.map(String::from_utf8_lossy).collect();
                self.told.push(fields.join(" "));
            }
            b'T' | b'D' | b'd' => self.told.push(format!("{} {}", frame.tag as char, text())),
            _ => self.told.push(word(frame)),
        }
    }
}

/// Every attack of `reads.sql` by every way, in a session each.
async fn answers(stand: &Stand, user: &str) -> Vec<(&'static str, Answer)> {
    let by = async |request: fn(&str) -> Vec<u8>| {
        let mut raw = Raw::session(stand, user).await;
        let mut answers = Vec::new();
        for attack in lines(READS) {
            answers.push((attack, ask(&mut raw, &request(attack)).await));
            ask(&mut raw, &query("ROLLBACK")).await;
        }
        answers
    };
    let (simple, text, binary) = tokio::join!(by(query), by(extended), by(in_binary));
    let (named, declared) = tokio::join!(by(by_name), by(by_cursor));
    [simple, text, binary, named, declared].concat()
}

/// The answer up to ReadyForQuery; COPY data that is asked for is refused.
async fn ask(raw: &mut Raw, request: &[u8]) -> Answer {
    raw.send(request).await;
    let mut answer = Answer::default();
    loop {
        let frame = raw.frame().await.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(request)));
        answer.take(&frame);
        match frame.tag {
            b'Z' => return answer,
            b'G' => {
                raw.send(&message(b'f', |body| body.extend_from_slice(b"no\0"))).await;
                raw.send(&sync()).await;
            }
            _ => {}
        }
    }
}

/// Named, described twice, and fetched in two steps.
fn extended(sql: &str) -> Vec<u8> {
    [define(sql), execute("p", 2), execute("p", 0), sync()].concat()
}

/// Unnamed, with all results in binary.
fn in_binary(sql: &str) -> Vec<u8> {
    let bind = message(b'B', |body| body.extend_from_slice(b"\0\0\0\0\0\0\0\x01\0\x01"));
    [parse("", sql), bind, describe(b'P', ""), execute("", 0), sync()].concat()
}

/// By PREPARE and EXECUTE.
fn by_name(sql: &str) -> Vec<u8> {
    query(&format!("DEALLOCATE ALL; PREPARE s AS {sql}; EXECUTE s"))
}

/// By DECLARE and FETCH.
fn by_cursor(sql: &str) -> Vec<u8> {
    query(&format!("BEGIN; DECLARE c CURSOR FOR {sql}; FETCH ALL FROM c"))
}

/// The statement `s` and its portal `p`.
fn define(sql: &str) -> Vec<u8> {
    let define =
        [close(b'S', "s"), parse("s", sql), describe(b'S', "s"), bind("p", "s"), describe(b'P', "p")];
    define.concat()
}

/// The attacks of one file, one a line.
fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().filter(|line| !line.is_empty() && !line.starts_with("-- "))
}

/// Says no to whatever waits, for ever.
async fn refuse_all(stand: &Stand) -> Answer {
    loop {
        for request in stand.gateway.gate().desk().requests(10).unwrap() {
            if request.state == State::Pending {
                // It may have been withdrawn in between.
                drop(decide(stand, "priya", &request, Vote::Deny, "no").await);
            }
        }
        super::settle().await;
    }
}

/// The statements that the ledger has decisions on.
fn recorded(stand: &Stand) -> BTreeSet<String> {
    let statement = |event: Event| match event {
        Event::Decided(record) => Some(record.statement.trim().to_owned()),
        _ => None,
    };
    let all = stand.ledger().into_iter().filter_map(|entry| statement(entry.record.event));
    all.filter(|text| !text.is_empty()).collect()
}

/// A fingerprint of every row of the shop, and of what is defined in it.
async fn contents(stand: &Stand) -> Vec<String> {
    let client = stand.cluster.connect("shop").await.unwrap();
    let mut all = Vec::new();
    for table in ["customers", "orders", "tickets", "products", "hr.payroll", "pg_proc", "pg_authid"] {
        let sql = format!("SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t");
        all.push(client.query_one(&sql, &[]).await.unwrap().get(0));
    }
    let relations = "SELECT string_agg(relname, ' ' ORDER BY oid) FROM pg_class";
    all.push(client.query_one(relations, &[]).await.unwrap().get(0));
    all
}

/// Puts the rows where they would be if they had always been what they are now.
async fn settle_storage(stand: &Stand) {
    for step in IN_ORDER {
        stand.cluster.execute_sql("shop", step).await.unwrap();
    }
}

/// Values of governed columns that nobody has quoted in a free text, read past the gateway; also backwards.
async fn canaries(stand: &Stand) -> Vec<String> {
    let client = stand.cluster.connect("shop").await.unwrap();
    let mut canaries: Vec<String> = Vec::new();
    for row in client.query(UNQUOTED, &[]).await.unwrap() {
        canaries.push(row.get(0));
    }
    assert!(canaries.len() > 100, "only {} canaries", canaries.len());
    let reversed: Vec<String> = canaries.iter().map(|value| value.chars().rev().collect()).collect();
    canaries.extend(reversed);
    canaries
}

const READS: &str = include_str!("../../attacks/reads.sql");
const WRITES: &str = include_str!("../../attacks/writes.sql");

/// Less than the gigabyte at which PostgreSQL itself says no.
const HUGE: &str = "SELECT repeat('x', 70000000)";

/// Each run leaves its mark.
const COUNTING: &str = "UPDATE tickets SET subject = subject || '!' WHERE id = 1 RETURNING subject";

const UNQUOTED: &str = "
    SELECT value FROM customers c, unnest(ARRAY[email, ssn, card_number]) value
    WHERE c.id <= 45 AND NOT EXISTS (SELECT FROM customers n WHERE position(value IN n.notes) > 0)
      AND NOT EXISTS (SELECT FROM tickets t WHERE position(value IN t.body) > 0)
    UNION ALL SELECT iban FROM hr.payroll WHERE employee_id <= 20";
/// A twentieth of the shop.
const SMALL: &str = "
    DELETE FROM tickets WHERE customer_id > 500;
    DELETE FROM orders WHERE customer_id > 500;
    DELETE FROM customers WHERE id > 500";
/// The second wall, torn down; and nobody else's statistics change meanwhile.
const FULL_RIGHTS: &str = "
    ALTER ROLE portcullis_svc SUPERUSER;
    ALTER TABLE orders SET (autovacuum_enabled = off)";
/// Neither where a row lies nor what the planner has last seen tells anything then.
const IN_ORDER: [&str; 4] = [
    "CLUSTER customers USING customers_pkey",
    "CLUSTER hr.payroll USING payroll_pkey",
    "VACUUM (FREEZE, ANALYZE) customers",
    "VACUUM (FREEZE, ANALYZE) hr.payroll",
];
/// As long and as different from each other as before, in another order.
const OTHER_VALUES: &str = "
    UPDATE customers SET email = reverse(split_part(email, '@', 1)) || '@' || split_part(email, '@', 2),
        phone = reverse(phone), ssn = reverse(ssn), card_number = reverse(card_number);
    UPDATE hr.payroll SET salary = 200000 - salary, iban = reverse(iban)";
