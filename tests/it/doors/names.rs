//! Names that stand for statements: whoever uses one gets what it stands for, judged by then, with its masks.

use portcullis::approval::Vote;

use super::{announced, decide, pending};
use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, close, describe, execute, message, parse, query, sync};

const MASKED: &str = "***-**-****";

async fn ana(stand: &Stand) -> Raw {
    Raw::session(stand, "ana").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_shows_the_masks_of_what_it_stands_for_however_it_was_made() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    let select = "select * from customers where id <= 3";
    for (how, request) in [
        ("prepared and executed by SQL", query(&format!("prepare a as {select}; execute a"))),
        ("executed later", query("execute a")),
        (
            "with a type and a value",
            query("prepare b(int) as select ssn from customers where id = $1; execute b(1)"),
        ),
        ("prepared by SQL, bound by a message", [bind("", "a"), execute("", 0), sync()].concat()),
        ("parsed by a message, executed by SQL", [parse("c", select), sync(), query("execute c")].concat()),
        (
            "explained by name",
            query("prepare d as select ssn from customers; explain (analyze, verbose) execute d"),
        ),
        ("a cursor", query(&format!("begin; declare k cursor for {select}; fetch k; commit"))),
        ("a cursor that holds", query(&format!("declare h cursor with hold for {select}"))),
        ("fetched later", query("fetch first from h")),
        ("fetched as a portal", [execute("h", 0), sync()].concat()),
        (
            "a bound portal, fetched by SQL",
            [query("begin"), bind("p", "a"), query("fetch p; commit")].concat(),
        ),
        ("by COPY", query(&format!("copy ({select}) to stdout"))),
    ] {
        let heard = all(&mut ana, &request).await;
        assert!(!heard.words.contains("E("), "{how}: {}", heard.words);
        assert!(!heard.clear, "{how}: {}", heard.words);
        assert!(
            heard.words.contains('D') || heard.words.contains('d') || heard.words.contains("DECLARE"),
            "{how}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nothing_stands_for_is_what_postgresql_says_it_is() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    for (request, code) in [
        (query("execute nobody"), "E(26000)"),
        (query("prepare a as select 1; deallocate a; execute a"), "E(26000)"),
        (query("explain execute nobody"), "E(26000)"),
        (query("fetch nobody"), "E(34000)"),
        (query("prepare a as select 1; deallocate all; execute a"), "E(26000)"),
        ([bind("", "nobody"), sync()].concat(), "E(26000)"),
        ([execute("nobody", 0), sync()].concat(), "E(34000)"),
        (query("prepare __portcullis_denied as select 1"), "E(42501)"),
        (query("prepare a as select 1; discard all"), "E(25001)"),
    ] {
        let heard = ana.ask(&request).await;
        assert!(heard.starts_with(code) || heard.contains(code), "{heard} for {code}");
    }
    // What was prepared before a string failed stays prepared.
    assert_eq!(ana.ask(&query("execute a")).await, "T D C(SELECT 1) Z(I)");
    assert_eq!(ana.ask(&query("discard all")).await, "C(DISCARD ALL) Z(I)");
    assert_eq!(ana.ask(&query("execute a")).await, "E(26000) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_past_the_judge_by_a_change_of_meaning() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    let pay = "select salary from hr.payroll";
    for (trick, request) in [
        ("prepare what is denied", query(&format!("prepare x as {pay}"))),
        (
            "re-prepare and execute in one string",
            query(&format!("prepare x as select 1; deallocate x; prepare x as {pay}; execute x")),
        ),
        (
            "behind a name that is taken",
            query(&format!("prepare t as select 1; prepare t as {pay}; execute t")),
        ),
        ("declare what is denied", query(&format!("begin; declare c cursor for {pay}; fetch c"))),
        ("explain it", query(&format!("explain prepare x as {pay}"))),
        ("into a table", query("prepare y as select ssn from customers; create table mine as execute y")),
        ("two statements inside", query(&format!("prepare z as select 1; {pay}"))),
        (
            "behind a long name",
            [
                parse(&format!("{}1", "n".repeat(63)), "select 1"),
                parse(&format!("{}2", "n".repeat(63)), pay),
                sync(),
            ]
            .concat(),
        ),
    ] {
        let heard = all(&mut ana, &request).await;
        assert!(heard.words.contains("E("), "{trick}: {}", heard.words);
        assert!(!heard.words.contains('D'), "{trick}: {}", heard.words);
        all(&mut ana, &query("rollback")).await;
        all(&mut ana, &query("deallocate all")).await;
    }
    // What a failed transaction refuses to prepare was never prepared.
    assert_eq!(ana.ask(&query("begin")).await, "C(BEGIN) Z(T)");
    assert_eq!(ana.ask(&query("select 1/0")).await, "E(22012) Z(E)");
    assert!(ana.ask(&query("prepare f as select 1")).await.starts_with("E(25P02)"));
    ana.ask(&query("rollback")).await;
    assert_eq!(ana.ask(&query("execute f")).await, "E(26000) Z(I)");
    // The same name by either way of ending and making it: judged as what it is by then.
    let one = [parse("s", "select 'harmless'"), sync()].concat();
    assert_eq!(ana.ask(&one).await, "1 Z(I)");
    assert_eq!(
        ana.ask(&query("deallocate s; prepare s as select ssn from customers where id = 1")).await,
        "C(DEALLOCATE) C(PREPARE) Z(I)"
    );
    assert_eq!(ana.ask(&[bind("", "s"), execute("", 0), sync()].concat()).await, "2 D C(SELECT 1) Z(I)");
    assert!(ana.last_row().contains(MASKED), "{}", ana.last_row());
    assert_eq!(ana.ask(&[close(b'S', "s"), parse("s", "select 'again'"), sync()].concat()).await, "3 1 Z(I)");
    assert_eq!(ana.ask(&query("execute s")).await, "T D C(SELECT 1) Z(I)");
    assert!(ana.last_row().contains("again"), "{}", ana.last_row());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_write_waits_for_its_approval_when_it_runs() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    let update = "prepare w(int) as update tickets set subject = 'mine' where id = $1";
    assert_eq!(ana.ask(&query(update)).await, "C(PREPARE) Z(I)", "nothing runs yet");
    for request in [query("execute w(1)"), [bind("", "w"), sync()].concat()] {
        let deciding = async {
            let request = pending(&stand).await;
            assert!(request.statement.contains("update tickets"), "{}", request.statement);
            decide(&stand, "priya", &request, Vote::Deny, "no").await.unwrap();
        };
        let (heard, ()) = tokio::join!(all(&mut ana, &request), deciding);
        assert!(heard.words.contains("E(42501)"), "{}", heard.words);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_judged_by_the_rules_of_its_use() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    let made = "prepare n as select name from customers where id = 1; \
                declare h cursor with hold for select name from customers order by id";
    assert_eq!(ana.ask(&query(made)).await, "C(PREPARE) C(DECLARE CURSOR) Z(I)");
    assert_eq!(ana.ask(&query("execute n; fetch h")).await, "T D C(SELECT 1) T D C(FETCH 1) Z(I)");
    let labels = stand.home.path().join("policies/data/labels.json");
    let text = std::fs::read_to_string(&labels).unwrap();
    std::fs::write(
        &labels,
        text.replace("\"email\": \"email\",", "\"email\": \"email\", \"name\": \"name\","),
    )
    .unwrap();
    announced(&stand, "rules replaced").await;
    for request in [
        query("execute n"),
        query("fetch h"),
        [execute("h", 1), sync()].concat(),
        [bind("", "n"), sync()].concat(),
    ] {
        let heard = ana.ask(&request).await;
        assert!(heard.starts_with("E(0A000)"), "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_and_functions_by_oid_are_for_whom_the_rulebook_lists_them() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    assert!(ana.ask(&query("listen jobs")).await.starts_with("E(42501)"));
    assert!(ana.ask(&query("notify jobs, 'x'")).await.starts_with("E(42501)"));
    assert_eq!(ana.ask(&query("unlisten *")).await, "C(UNLISTEN) Z(I)");
    // 1598 is random().
    assert_eq!(ana.ask(&call(1598)).await, "E(42501) Z(I)");
    assert_eq!(ana.ask(&call(4_000_000)).await, "E(42883) Z(I)");
    let data = stand.home.path().join("policies/data");
    std::fs::write(data.join("channels.json"), "{\"shop\": [\"jobs\"]}").unwrap();
    let functions = std::fs::read_to_string(data.join("functions.json")).unwrap();
    std::fs::write(
        data.join("functions.json"),
        functions.replace("\"by_oid\": []", "\"by_oid\": [\"random\"]"),
    )
    .unwrap();
    listed(&stand, &mut ana).await;
    assert_eq!(ana.ask(&call(1598)).await, "V Z(I)");
    let other = stand.cluster.connect("shop").await.unwrap();
    other.batch_execute("notify jobs, 'for all'; notify secrets, 'for none'").await.unwrap();
    let mut heard = String::new();
    while !heard.contains('A') {
        heard = ana.ask(&query("select 1")).await;
    }
    assert!(!heard.replacen('A', "", 1).contains('A'), "{heard}");
}

/// Asks until both new lists are in force.
async fn listed(stand: &Stand, ana: &mut Raw) {
    announced(stand, "rules replaced").await;
    while ana.ask(&query("listen jobs")).await != "C(LISTEN) Z(I)" || ana.ask(&call(1598)).await != "V Z(I)" {
        super::settle().await;
    }
}

/// A FunctionCall without values, whose result is to be text.
fn call(function: u32) -> Vec<u8> {
    message(b'F', |body| {
        body.extend_from_slice(&function.to_be_bytes());
        body.extend_from_slice(&[0; 6]);
    })
}

/// What came back.
struct Heard {
    words: String,
    /// Whether a value was in it that is masked.
    clear: bool,
}

/// Everything that answers `request`, whatever number of ReadyForQuery that is.
async fn all(raw: &mut Raw, request: &[u8]) -> Heard {
    let readies = ready_count(request);
    raw.send(request).await;
    let (mut words, mut clear) = (Vec::new(), false);
    for _ in 0..readies {
        loop {
            let frame = raw.frame().await.unwrap();
            let text = String::from_utf8_lossy(&frame.body).into_owned();
            clear |= matches!(frame.tag, b'D' | b'd') && text.contains('-') && has_ssn(&text);
            words.push(crate::wire_sim::rig::word(&frame));
            if frame.tag == b'Z' {
                break;
            }
        }
    }
    Heard { words: words.join(" "), clear }
}

/// Nine digits in the groups of a social security number.
fn has_ssn(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    shape.contains("999-99-9999")
}

/// How many messages of a request end in ReadyForQuery.
fn ready_count(mut request: &[u8]) -> usize {
    let mut count = 0;
    while let [tag, a, b, c, d, ..] = *request {
        count += usize::from(matches!(tag, b'Q' | b'S' | b'F'));
        request = &request[1 + usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap()..];
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_cursor_is_a_portal_for_every_message() {
    let stand = Stand::start().await;
    let mut ana = ana(&stand).await;
    ana.ask(&query("begin; declare c cursor for select id, ssn from customers order by id")).await;
    assert_eq!(
        ana.ask(&[describe(b'P', "c"), execute("c", 2), execute("c", 1), sync()].concat()).await,
        "T D D s D s Z(T)"
    );
    assert!(ana.last_row().contains(MASKED), "{}", ana.last_row());
    assert_eq!(ana.ask(&[close(b'P', "c"), sync()].concat()).await, "3 Z(T)");
    assert_eq!(ana.ask(&query("fetch c")).await, "E(34000) Z(E)");
}
