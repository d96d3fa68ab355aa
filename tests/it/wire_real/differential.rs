//! The same bytes through the gateway and past it: PostgreSQL's answers must be the same, in the same order.
//!
//! `dora` sees everything in clear, so whatever the gateway lets her send is answered by PostgreSQL alone. Every
//! message is compared byte by byte, but for errors that the gateway words itself: of those the SQLSTATE.

use portcullis::protocol::frame::Frame;

use crate::support::gateway::Stand;
use crate::wire_sim::rig::{bind, describe, execute, message, parse, query, run, sync, word};

use super::raw::Raw;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_answered_as_without_the_gateway() {
    let stand = Stand::start().await;
    for (what, steps) in scripts() {
        let (mut dora, mut direct) = (Raw::session(&stand, "dora").await, Raw::direct(&stand).await);
        for (place, step) in steps.iter().enumerate() {
            let heard = step.take(&mut dora).await;
            let expected = step.take(&mut direct).await;
            let (shown, wished) = (words(&heard), words(&expected));
            assert_eq!(shown, wished, "{what}, step {place}");
            for (heard, expected) in heard.iter().zip(&expected).filter(|(heard, _)| heard.tag != b'E') {
                assert_eq!(heard.body, expected.body, "{what}, step {place}: {} in {shown}", word(heard));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_in_a_pipeline_undoes_what_came_before_and_answers_each_sync_once() {
    let stand = Stand::start().await;
    let mut dora = Raw::session(&stand, "dora").await;
    let denied = [parse("", "delete from orders"), bind("", ""), execute("", 0)].concat();
    let pipeline = [
        run("set timezone to 'Asia/Tokyo'"),
        denied,
        run("select 1"),
        sync(),
        run("select 2"),
        sync(),
        query("show timezone"),
    ];
    assert_eq!(dora.ask(&pipeline.concat()).await, "1 2 C(SET) E(42501) Z(I)");
    assert_eq!(dora.until_ready().await, "1 2 D C(SELECT 1) Z(I)");
    assert_eq!(dora.until_ready().await, "T D C(SHOW) Z(I)");
    assert!(!dora.last_row().contains("Tokyo"), "{}", dora.last_row());
    // A denial is heard after a Flush, without a Sync.
    dora.send(&[parse("", "delete from orders"), flush()].concat()).await;
    assert_eq!(word(&dora.frame().await.unwrap()), "E(42501)");
    assert_eq!(dora.ask(&[run("select 1"), sync()].concat()).await, "Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn going_back_to_the_start_of_the_session_lifts_nothing() {
    let stand = Stand::start().await;
    let mut bot = Raw::session(&stand, "support-bot").await;
    let pinned = async |bot: &mut Raw| {
        let mut values = Vec::new();
        for name in PINNED {
            assert_eq!(bot.ask(&query(&format!("show {name}"))).await, "T D C(SHOW) Z(I)");
            values.push(bot.last_row().to_owned());
        }
        values
    };
    let before = pinned(&mut bot).await;
    assert!(before[0].contains("5s") && before[1].contains("pg_temp"), "{before:?}");
    for reset in [
        "reset all",
        "discard all",
        "reset search_path",
        "set search_path to default",
        "reset statement_timeout",
        "set local row_security to default",
        "reset role",
        "set session authorization default",
        "reset client_encoding",
    ] {
        let heard = bot.ask(&query(reset)).await;
        assert!(heard.ends_with("Z(I)") && !heard.contains("E("), "{reset}: {heard}");
        assert_eq!(pinned(&mut bot).await, before, "{reset}");
    }
    for lift in [
        "select set_config('statement_timeout', '0', false)",
        "select set_config('search_path', 'hr', false)",
        "select set_config(new_value => 'jit', setting_name => 'search_path', is_local => false)",
        "select set_config('jitter'::varchar(3), 'off', false)",
    ] {
        assert_eq!(bot.ask(&query(lift)).await, "E(42501) Z(I)", "{lift}");
    }
    assert_eq!(pinned(&mut bot).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_described_and_fetched_with_its_mask() {
    let stand = Stand::start().await;
    let mut ana = Raw::session(&stand, "ana").await;
    ana.ask(&query("begin; declare c cursor for select id, ssn from customers order by id")).await;
    assert_eq!(ana.ask(&[describe(b'P', "c"), sync()].concat()).await, "T Z(T)");
    assert_eq!(ana.ask(&query("fetch 1 from c")).await, "T D C(FETCH 1) Z(T)");
    assert!(ana.last_row().contains("***-**-****"), "{}", ana.last_row());
    // It is a portal like any other, but judged as the FETCH that this is.
    assert_eq!(ana.ask(&[execute("c", 1), sync()].concat()).await, "D s Z(T)");
    assert!(ana.last_row().contains("***-**-****"), "{}", ana.last_row());
}

/// Bytes, and the type of the message that ends their answer.
struct Step {
    send: Vec<u8>,
    until: u8,
}

impl Step {
    async fn take(&self, raw: &mut Raw) -> Vec<Frame> {
        raw.send(&self.send).await;
        let mut frames = Vec::new();
        while let Some(frame) = raw.frame().await {
            let is_last = frame.tag == self.until;
            // The settings' reports: the gateway gives the session a name of its own.
            if !(frame.tag == b'S' && frame.body.starts_with(b"application_name")) {
                frames.push(frame);
            }
            if is_last {
                return frames;
            }
        }
        panic!("the connection ended after {}", words(&frames));
    }
}

fn words(frames: &[Frame]) -> String {
    frames.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn scripts() -> Vec<(&'static str, Vec<Step>)> {
    [simple(), extended(), failing(), names(), blocks(), copies()].into_iter().flatten().collect()
}

type Script = (&'static str, Vec<Step>);

fn simple() -> Vec<Script> {
    vec![
        ("nothing", queries(&["", ";", " ; ; ", "-- nothing"])),
        ("several at once", queries(&["select 1; select 'a', null; show server_version"])),
        ("an error among several", queries(&["select 1; select 1/0; select 2", "select 3"])),
        ("a block within one string", queries(&["begin; select 1; commit; select 2", "select 3"])),
        ("a block left open", queries(&["begin; select 1", "select 1/0", "select 2", "rollback"])),
        ("warnings", queries(&["commit", "rollback", "begin; begin", "end", "set local timezone to utc"])),
        ("settings", queries(&["set datestyle to 'SQL, DMY'", "set timezone to 'Asia/Tokyo'", "reset all"])),
        (
            "types",
            queries(&["select 1::int2, 1.5::numeric, now() - now(), '{1,2}'::int[], '\\x00ff'::bytea"]),
        ),
        ("many rows", queries(&["select id, name, price from products order by id"])),
        ("no columns", queries(&["select", "select from products limit 2"])),
        ("plans", queries(&["explain (costs off) select * from products where id = 1"])),
    ]
}

fn extended() -> Vec<Script> {
    let all = [parse("s", ROWS), describe(b'S', "s"), bind("p", "s"), describe(b'P', "p")].concat();
    let flushed = |bytes: Vec<u8>, until| Step { send: [bytes, flush()].concat(), until };
    vec![
        ("everything at once", vec![ready(&[all.clone(), execute("p", 0), sync()])]),
        (
            "a portal in three parts",
            vec![ready(&[
                all.clone(),
                execute("p", 2),
                execute("p", 2),
                execute("p", 2),
                execute("p", 2),
                sync(),
            ])],
        ),
        (
            "a portal over several series of a block",
            vec![
                ready(&[query("begin")]),
                ready(&[all, execute("p", 2), sync()]),
                ready(&[run("select 1"), execute("p", 1), sync()]),
                ready(&[execute("p", 0), message(b'C', |body| body.extend_from_slice(b"Pp\0")), sync()]),
                ready(&[execute("p", 0), sync()]),
                ready(&[query("commit")]),
            ],
        ),
        (
            "flushes without a sync",
            vec![
                flushed(parse("s", ROWS), b'1'),
                flushed(bind("p", "s"), b'2'),
                flushed(describe(b'P', "p"), b'T'),
                flushed(execute("p", 2), b's'),
                flushed(execute("p", 0), b'C'),
                ready(&[sync()]),
                ready(&[sync()]),
            ],
        ),
        ("an empty statement", vec![ready(&[run(""), describe(b'P', ""), sync()])]),
        (
            "no result",
            vec![ready(&[run("set timezone to utc"), describe(b'P', ""), describe(b'S', ""), sync()])],
        ),
        (
            "a series of many",
            vec![ready(&[
                run("select 1"),
                run("select 2"),
                run("begin"),
                run("select 3"),
                run("commit"),
                sync(),
            ])],
        ),
        ("a query behind a series without a sync", vec![ready(&[run("select 1"), query("select 2")])]),
    ]
}

fn failing() -> Vec<Script> {
    vec![
        (
            "a statement that fails",
            vec![ready(&[run("select 1"), run("select 1/0"), run("select 2"), sync()])],
        ),
        ("a row that fails", vec![ready(&[run("select 1/(3 - n) from generate_series(1, 5) n"), sync()])]),
        (
            "settings that roll back",
            vec![
                ready(&[run("set timezone to 'Asia/Tokyo'"), run("select 1/0"), sync()]),
                ready(&[query("show timezone")]),
            ],
        ),
        ("a text that is no SQL", vec![ready(&[run("select 1"), run("selec 1"), run("select 2"), sync()])]),
        ("what does not exist", queries(&["select * from nowhere", "select nothing from products"])),
        ("no such function", queries(&["select nothing(1)"])),
        ("a value that is none", queries(&["select 'x'::int", "select 'x'::date"])),
        (
            "too few parameters",
            vec![ready(&[parse("", "select $1::int"), bind("", ""), execute("", 0), sync()])],
        ),
    ]
}

fn names() -> Vec<Script> {
    let each = |messages: &[Vec<u8>]| messages.iter().map(|one| ready(&[one.clone(), sync()])).collect();
    let close = |kind: u8, name: &str| {
        message(b'C', |body| body.extend_from_slice(&[&[kind], name.as_bytes(), &[0]].concat()))
    };
    vec![
        (
            "names that nobody has given",
            each(&[
                bind("", "x"),
                execute("x", 0),
                describe(b'S', "x"),
                describe(b'P', "x"),
                close(b'S', "x"),
                close(b'P', "x"),
                execute("", 0),
                bind("", ""),
            ]),
        ),
        (
            "a name that is taken",
            each(&[
                parse("s", "select 1"),
                parse("s", "select 2"),
                [bind("", "s"), execute("", 0)].concat(),
                close(b'S', "s"),
                [parse("s", "select 2"), bind("", "s"), execute("", 0)].concat(),
            ]),
        ),
        (
            "names after DEALLOCATE",
            each(&[
                parse("s", "select 1"),
                run("deallocate s"),
                bind("", "s"),
                parse("s", "select 2"),
                run("deallocate all"),
                bind("", "s"),
            ]),
        ),
        ("names after DISCARD", {
            let mut steps: Vec<Step> = each(&[parse("s", "select 1")]);
            steps.push(ready(&[query("discard all")]));
            steps.extend::<Vec<Step>>(each(&[
                bind("", "s"),
                [parse("s", "select 2"), bind("", "s")].concat(),
            ]));
            steps
        }),
        (
            "a query takes the unnamed statement",
            vec![
                ready(&[parse("", "select 1"), sync()]),
                ready(&[query("select 2")]),
                ready(&[bind("", ""), execute("", 0), sync()]),
            ],
        ),
    ]
}

fn blocks() -> Vec<Script> {
    let cursor = "declare c scroll cursor for select id from products order by id";
    let failed = ["begin", "savepoint a", "select 1/0", "rollback to a", "select 1", "release a", "commit"];
    vec![
        ("savepoints", queries(&failed)),
        (
            "a cursor",
            queries(&["begin", cursor, "fetch 2 from c", "move 3 in c", "fetch prior from c", "commit"]),
        ),
        ("a cursor over a commit", {
            let held = "declare h cursor with hold for select id from products order by id";
            queries(&["begin", held, "commit", "fetch 2 from h", "close h", "fetch h", "close all"])
        }),
        (
            "a cursor that is described",
            vec![
                ready(&[query("begin")]),
                ready(&[run(cursor), describe(b'P', "c"), sync()]),
                ready(&[run("fetch 2 from c"), describe(b'P', ""), sync()]),
                ready(&[query("commit")]),
                ready(&[describe(b'P', "c"), sync()]),
            ],
        ),
        (
            "isolation",
            queries(&["begin isolation level serializable read only", "show transaction_isolation", "end"]),
        ),
        (
            "a block that fails in a series",
            vec![
                ready(&[run("begin"), run("select 1/0"), sync()]),
                ready(&[run("select 1"), sync()]),
                ready(&[run("rollback"), run("select 1"), sync()]),
            ],
        ),
    ]
}

fn copies() -> Vec<Script> {
    vec![
        (
            "copy out",
            queries(&["copy products to stdout", "copy (select 1 where false) to stdout csv header"]),
        ),
        ("copy out in binary", queries(&["copy (select id, name from products) to stdout (format binary)"])),
        ("copy out among others", queries(&["select 1; copy (select 1) to stdout; select 2"])),
        ("copy out in a series", vec![ready(&[run("copy (select 1) to stdout"), run("select 1"), sync()])]),
        ("a copy that fails", queries(&["copy (select 1/(3 - n) from generate_series(1, 5) n) to stdout"])),
        (
            "copy data that nobody asked for",
            vec![ready(&[message(b'd', |_| {}), message(b'c', |_| {}), sync()])],
        ),
    ]
}

fn queries(texts: &[&str]) -> Vec<Step> {
    texts.iter().map(|text| ready(&[query(text)])).collect()
}

/// Messages that end in one ReadyForQuery.
fn ready(messages: &[Vec<u8>]) -> Step {
    Step { send: messages.concat(), until: b'Z' }
}

fn flush() -> Vec<u8> {
    message(b'H', |_| {})
}

const ROWS: &str = "select id, name, price from products where id < 6 order by id";

/// What the gateway gives every session, and no session may change.
const PINNED: [&str; 8] = [
    "statement_timeout",
    "search_path",
    "client_encoding",
    "standard_conforming_strings",
    "row_security",
    "role",
    "session_authorization",
    "application_name",
];
