//! Flows, message by message: what the client sends, what it gets, what arrives at the server.
//! The words are the messages' type bytes, as in PostgreSQL's documentation.

use portcullis::approval::Vote;
use portcullis::protocol::frame::Frame;

use super::postgres::CANARY;
use super::rig::{Client, Rig, bind, close, describe, execute, message, minutes, parse, query, run, sync};

const SSN: &str = "select id, ssn from customers";
const ORDERS: &str = "select id from orders";
const INSERT: &str = "insert into orders (id, status) values ('9', 'new')";
const DROP: &str = "drop table orders";
const UPDATE: &str = "update orders set status = 'done' where id = '1'";

fn bot() -> (Rig, Client) {
    let rig = Rig::new();
    let client = rig.client("bot");
    (rig, client)
}

#[test]
fn a_simple_query_shows_the_mask_and_never_the_value() {
    let (_rig, mut client) = bot();
    client.input.extend_from_slice(&query(SSN));
    client.settle();
    let bytes = client.session.client_bytes().split();
    client.output.extend_from_slice(&bytes);
    let text = String::from_utf8_lossy(&client.output).into_owned();
    assert!(text.contains("***") && !text.contains(CANARY), "{text}");
    assert_eq!(client.heard(), "T D D D C(SELECT 3) Z(I)");
}

#[test]
fn a_statement_whose_definitions_have_changed_does_not_run() {
    for simple in [true, false] {
        let (_rig, mut client) = bot();
        client.postgres.is_redefined = true;
        let (sent, refused, heard) = match simple {
            true => (query(SSN), "E(40001) Z(I)", "T D D D C(SELECT 3) Z(I)"),
            false => ([run(SSN), sync()].concat(), "1 E(40001) Z(I)", "1 2 D D D C(SELECT 3) Z(I)"),
        };
        assert_eq!(client.exchange(&sent), refused);
        assert_eq!(client.postgres.refused, 1);
        assert_eq!(client.exchange(&sent), heard, "it is judged again, and runs");
    }
}

#[test]
fn within_a_transaction_definitions_are_checked_once_until_it_gives_its_locks_back() {
    let (_rig, mut client) = bot();
    let read = "C(BEGIN) Z(T)";
    assert_eq!(client.exchange(&query("begin")), read);
    assert_eq!(client.exchange(&query(SSN)), "T D D D C(SELECT 3) Z(T)");
    // Nobody can have changed what is locked.
    client.postgres.is_redefined = true;
    assert_eq!(client.exchange(&query(SSN)), "T D D D C(SELECT 3) Z(T)");
    assert_eq!(client.exchange(&[run(SSN), sync()].concat()), "1 2 D D D C(SELECT 3) Z(T)");
    assert_eq!(client.exchange(&query("select id from orders")), "E(40001) Z(E)", "others are not");
    assert_eq!(client.exchange(&query("rollback")), "C(ROLLBACK) Z(I)");
    client.postgres.is_redefined = true;
    assert_eq!(client.exchange(&query(SSN)), "E(40001) Z(I)");
}

#[test]
fn errors_leave_no_guards_behind_at_the_server() {
    let (_rig, mut client) = bot();
    for _ in 0..300 {
        assert_eq!(client.exchange(&query(SSN)), "T D D D C(SELECT 3) Z(I)");
        assert_eq!(client.exchange(&query("select id from orders where id = 'boom'")), "T E(22P02) Z(I)");
    }
    assert!(client.postgres.prepared() <= 64, "{}", client.postgres.prepared());
}

#[test]
fn locks_are_given_back_when_a_portal_runs_not_when_it_is_bound() {
    let (_rig, mut client) = bot();
    client.exchange(&query("begin"));
    let undo = [parse("u", "rollback to s"), bind("u", "u"), sync()].concat();
    assert_eq!(client.exchange(&query("savepoint s")), "C(SAVEPOINT) Z(T)");
    assert_eq!(client.exchange(&undo), "1 2 Z(T)");
    assert_eq!(client.exchange(&query(SSN)), "T D D D C(SELECT 3) Z(T)");
    assert_eq!(client.exchange(&[execute("u", 0), sync()].concat()), "C(ROLLBACK) Z(T)");
    client.postgres.is_redefined = true;
    assert_eq!(client.exchange(&query(SSN)), "E(40001) Z(E)");
}

#[test]
fn what_ends_a_transaction_stands_behind_what_it_reads() {
    let (_rig, mut client) = bot();
    assert_eq!(client.exchange(&query(&format!("commit; {SSN}"))), "E(42501) Z(I)");
    assert_eq!(
        client.exchange(&query(&format!("begin; {SSN}; commit"))),
        "C(BEGIN) T D D D C(SELECT 3) C(COMMIT) Z(I)"
    );
}

#[test]
fn bytes_may_come_one_at_a_time() {
    let (_rig, mut client) = bot();
    let bytes = [run(SSN), describe(b'P', ""), sync(), query(ORDERS)].concat();
    for byte in bytes {
        client.input.extend_from_slice(&[byte]);
        client.settle();
    }
    let heard = client.heard();
    assert_eq!(heard, "1 2 D D D C(SELECT 3) T Z(I) T D D D C(SELECT 3) Z(I)");
}

#[test]
fn an_execute_without_describe_gets_no_description() {
    let (_rig, mut client) = bot();
    assert_eq!(client.exchange(&[run(ORDERS), sync()].concat()), "1 2 D D D C(SELECT 3) Z(I)");
}

#[test]
fn an_idle_session_is_told_at_once_and_the_server_hears_nothing() {
    let (_rig, mut client) = bot();
    assert_eq!(client.exchange(&query(DROP)), "E(42501) Z(I)");
    assert!(client.postgres.texts.is_empty());
}

#[test]
fn a_denied_statement_in_a_pipeline_rolls_the_rest_back() {
    // Dropping the denied messages would make PostgreSQL commit the first INSERT.
    let (_rig, mut client) = bot();
    let pipeline = [run(INSERT), run(DROP), run(INSERT), sync()].concat();
    assert_eq!(client.exchange(&pipeline), "1 2 C(INSERT 0 1) E(42501) Z(I)");
    assert!(client.postgres.committed.is_empty());
    assert!(client.postgres.texts.iter().all(|(_, text)| !text.contains("drop")));
}

#[test]
fn a_denied_bind_in_a_pipeline_rolls_the_rest_back() {
    let (_rig, mut client) = bot();
    let pipeline = [run(INSERT), bind("", "nobody"), execute("", 0), sync()].concat();
    assert_eq!(client.exchange(&pipeline), "1 2 C(INSERT 0 1) E(26000) Z(I)");
    assert!(client.postgres.committed.is_empty());
}

#[test]
fn a_denied_query_in_a_block_fails_the_block() {
    let (_rig, mut client) = bot();
    assert_eq!(client.exchange(&query("begin")), "C(BEGIN) Z(T)");
    assert_eq!(client.exchange(&query(INSERT)), "C(INSERT 0 1) Z(T)");
    assert_eq!(client.exchange(&query(DROP)), "E(42501) Z(E)");
    assert_eq!(client.exchange(&query(DROP)), "E(42501) Z(E)");
    assert_eq!(client.exchange(&query("commit")), "C(ROLLBACK) Z(I)");
    assert!(client.postgres.committed.is_empty());
}

#[test]
fn the_error_of_a_denied_parse_does_not_wait_for_the_sync() {
    let (_rig, mut client) = bot();
    assert_eq!(client.exchange(&parse("a", DROP)), "E(42501)");
    assert_eq!(client.exchange(&[bind("", "a"), execute("", 0)].concat()), "");
    assert_eq!(client.exchange(&sync()), "Z(I)");
}

#[test]
fn pgdog_silent_after_pipeline_error() {
    // pgdog 0.1.17 answers nothing any more once messages were queued behind an error.
    let (_rig, mut client) = bot();
    let failing = "select id from orders where id = 'boom'";
    assert_eq!(client.exchange(&[run(failing), run(ORDERS), sync()].concat()), "1 2 E(22P02) Z(I)");
    assert_eq!(client.exchange(&[run(ORDERS), sync()].concat()), "1 2 D D D C(SELECT 3) Z(I)");
}

#[test]
fn pgcat_flush_is_forwarded_and_errors_come_before_the_sync() {
    // pgcat 1.3 never forwards Flush, and tells a Parse error at the Sync only.
    let (_rig, mut client) = bot();
    let flush = message(b'H', |_| {});
    assert_eq!(client.exchange(&[run(ORDERS), flush].concat()), "1 2 D D D C(SELECT 3)");
    assert_eq!(client.exchange(&sync()), "Z(I)");
}

#[test]
fn pgcat_137_no_ready_before_the_clients_own_sync() {
    let (_rig, mut client) = bot();
    let heard = client.exchange(&[parse("", DROP), bind("", ""), execute("", 0)].concat());
    assert!(!heard.contains('Z'), "{heard}");
}

#[test]
fn two_syncs_in_one_packet_get_two_readies() {
    let (_rig, mut client) = bot();
    let packet = [run(INSERT), sync(), run(DROP), sync(), run(INSERT), sync()].concat();
    let heard = client.exchange(&packet);
    assert_eq!(heard, "1 2 C(INSERT 0 1) Z(I) E(42501) Z(I) 1 2 C(INSERT 0 1) Z(I)");
    assert_eq!(client.postgres.committed.len(), 2);
}

#[test]
fn a_second_parse_of_a_name_does_not_lend_its_judgement_to_the_old_sql() {
    let (_rig, mut client) = bot();
    assert_eq!(client.exchange(&[parse("a", SSN), sync()].concat()), "1 Z(I)");
    assert_eq!(client.exchange(&[parse("a", ORDERS), sync()].concat()), "E(42P05) Z(I)");
    let heard = client.exchange(&[bind("", "a"), describe(b'P', ""), execute("", 0), sync()].concat());
    assert_eq!(heard, "2 T D D D C(SELECT 3) Z(I)");
}

#[test]
fn a_close_that_was_skipped_does_not_free_the_name() {
    let (_rig, mut client) = bot();
    client.exchange(&[parse("a", SSN), sync()].concat());
    let packet = [parse("", DROP), close(b'S', "a"), sync(), parse("a", ORDERS), sync()].concat();
    assert_eq!(client.exchange(&packet), "E(42501) Z(I) E(42P05) Z(I)");
    assert_eq!(client.exchange(&[bind("", "a"), sync()].concat()), "2 Z(I)");
}

#[test]
fn the_unnamed_statement_is_dropped_by_a_query_and_by_a_failed_parse() {
    let (_rig, mut client) = bot();
    client.exchange(&[parse("", ORDERS), sync()].concat());
    client.exchange(&query(ORDERS));
    assert_eq!(client.exchange(&[bind("", ""), sync()].concat()), "E(26000) Z(I)");
    client.exchange(&[parse("", ORDERS), sync()].concat());
    client.exchange(&[parse("", DROP), sync()].concat());
    assert_eq!(client.exchange(&[bind("", ""), sync()].concat()), "E(26000) Z(I)");
}

#[test]
fn only_portals_that_a_bind_has_made_can_run() {
    let (_rig, mut client) = bot();
    for packet in [execute("cursor", 0), describe(b'P', "cursor"), execute("__portcullis_x", 0)] {
        assert_eq!(client.exchange(&[packet, sync()].concat()), "E(34000) Z(I)");
    }
    // Portals end with their transaction.
    client.exchange(&[parse("a", ORDERS), bind("p", "a"), sync()].concat());
    assert_eq!(client.exchange(&[execute("p", 0), sync()].concat()), "E(34000) Z(I)");
}

#[test]
fn names_of_the_gateway_are_refused() {
    let (_rig, mut client) = bot();
    let parse = parse("__portcullis_denied", ORDERS);
    assert_eq!(client.exchange(&[parse, sync()].concat()), "E(42602) Z(I)");
    assert_eq!(client.exchange(&[bind("__portcullis_p", ""), sync()].concat()), "E(42602) Z(I)");
}

#[test]
fn a_suspended_portal_goes_on_where_it_stopped() {
    let (_rig, mut client) = bot();
    client.exchange(&query("begin"));
    let first = [parse("", ORDERS), bind("p", ""), execute("p", 2), sync()].concat();
    assert_eq!(client.exchange(&first), "1 2 D D s Z(T)");
    assert_eq!(client.exchange(&[execute("p", 2), sync()].concat()), "D C(SELECT 1) Z(T)");
}

#[test]
fn errors_of_masked_statements_lose_their_values() {
    let (_rig, mut client) = bot();
    client.input.extend_from_slice(&query("select id, ssn from customers where name = 'boom'"));
    client.settle();
    let text = String::from_utf8_lossy(client.session.client_bytes()).into_owned()
        + &String::from_utf8_lossy(&client.output);
    assert!(text.contains("22P02") && text.contains("withheld") && !text.contains(CANARY), "{text}");
}

#[test]
fn a_result_with_too_many_rows_ends_in_an_error() {
    let rig = Rig::new();
    let mut client = rig.client("few");
    assert_eq!(client.exchange(&query(ORDERS)), "T D D E(53400) Z(I)");
    assert_eq!(client.exchange(&[run(ORDERS), sync()].concat()), "1 2 D D E(53400) Z(I)");
    client.exchange(&query("begin"));
    assert_eq!(client.exchange(&[run(ORDERS), sync()].concat()), "1 2 D D E(53400) Z(E)");
    assert_eq!(client.exchange(&query("rollback")), "C(ROLLBACK) Z(I)");
    assert_eq!(client.exchange(&query("select 1")), "T D D E(53400) Z(I)");
}

#[test]
fn a_held_statement_waits_for_a_person_and_then_runs() {
    let (rig, mut client) = bot();
    assert_eq!(client.exchange(&query(UPDATE)), "N");
    assert!(client.postgres.texts.is_empty() && client.waits());
    let id = client.held[0].approval_id.clone();
    assert!(!rig.vote("bot", &id, Vote::Approve), "nobody approves for itself");
    assert!(rig.vote("priya", &id, Vote::Approve));
    assert_eq!(client.exchange(b""), "C(UPDATE 1) Z(I)");
    assert_eq!(client.postgres.committed, [UPDATE]);
    assert_eq!(client.exchange(&query(UPDATE)), "N", "an approval is spent once");
}

#[test]
fn a_held_statement_that_is_denied_never_reaches_the_server() {
    let (rig, mut client) = bot();
    client.exchange(&query("begin"));
    client.exchange(&query(UPDATE));
    assert!(rig.vote("priya", &client.held[0].approval_id.clone(), Vote::Deny));
    assert_eq!(client.exchange(b""), "E(42501) Z(E)");
    assert!(client.postgres.texts.iter().all(|(_, text)| !text.contains("update")));
}

#[test]
fn a_held_statement_can_be_cancelled_and_lapses() {
    let (rig, mut client) = bot();
    client.exchange(&query(UPDATE));
    assert!(client.cancel());
    assert_eq!(client.exchange(b""), "E(57014) Z(I)");
    assert!(!client.cancel(), "nothing is left to cancel");
    client.exchange(&query(UPDATE));
    rig.clock.advance(minutes(11));
    let late = client.held[1].approval_id.clone();
    assert!(!rig.vote("priya", &late, Vote::Approve), "the request has lapsed");
    assert!(client.postgres.committed.is_empty());
}

#[test]
fn nobody_is_asked_for_a_statement_whose_batch_has_failed() {
    let (_rig, mut client) = bot();
    let failing = "select id from orders where id = 'boom'";
    let heard = client.exchange(&[run(failing), run(UPDATE), sync()].concat());
    assert!(heard.ends_with("E(22P02) Z(I)"), "{heard}");
    assert!(!client.waits());
}

#[test]
fn copy_in_takes_data_only_while_it_is_open() {
    let (_rig, mut client) = bot();
    let data = message(b'd', |body| body.extend_from_slice(b"1\tnew\n"));
    let done = message(b'c', |_| {});
    assert_eq!(client.exchange(&[data.clone(), done.clone()].concat()), "", "nothing is open");
    assert!(client.postgres.input.is_empty());
    let copy = "copy orders from stdin";
    assert_eq!(client.exchange(&query(copy)), "G");
    assert_eq!(client.exchange(&[data.clone(), sync(), done.clone()].concat()), "C(COPY 1) Z(I)");
    // By the extended protocol: a Sync before the data's end is ignored, as PostgreSQL does.
    assert_eq!(client.exchange(&[run(copy), sync(), data, done, sync()].concat()), "1 2 G C(COPY 1) Z(I)");
}

#[test]
fn another_message_during_copy_in_ends_the_session() {
    let (_rig, mut client) = bot();
    client.exchange(&query("copy orders from stdin"));
    client.input.extend_from_slice(&query(ORDERS));
    assert!(client.feed().is_err());
}

#[test]
fn a_function_call_by_oid_is_refused() {
    let (_rig, mut client) = bot();
    let call = message(b'F', |body| body.extend_from_slice(&[0, 0, 0x0c, 0x5f, 0, 0, 0, 0, 0, 0]));
    assert_eq!(client.exchange(&call), "E(42883) Z(I)", "a function that nobody knows");
    assert!(client.postgres.input.is_empty());
}

#[test]
fn a_setting_that_changes_how_statements_are_read_ends_the_session() {
    let (_rig, mut client) = bot();
    let status = |body: &'static [u8]| Frame::new(b'S', body);
    assert!(client.session.server(&status(b"TimeZone\0UTC\0")).is_ok());
    assert!(client.session.server(&status(b"client_encoding\0SJIS\0")).is_err());
    assert!(client.session.server(&status(b"standard_conforming_strings\0off\0")).is_err());
}

#[test]
fn what_a_server_says_unasked_ends_the_session_unless_it_is_a_notice() {
    let (_rig, mut client) = bot();
    assert!(client.session.server(&Frame::new(b'N', &b"SNOTICE\0C00000\0Mhi\0\0"[..])).is_ok());
    assert_eq!(client.heard(), "N");
    assert!(client.session.server(&Frame::new(b'A', &b"\0\0\0\x01c\0p\0"[..])).is_ok());
    assert_eq!(client.heard(), "", "no notification passes");
    for tag in *b"12TDCZIsnGH" {
        assert!(client.session.server(&Frame::new(tag, &b"\0\0"[..])).is_err(), "{}", tag as char);
    }
}

#[test]
fn a_body_that_lies_fails_its_statement() {
    let table: [(&str, Vec<u8>, &str); 5] = [
        ("bytes behind its NUL", message(b'Q', |body| body.extend_from_slice(b"a\0b\0")), "E(08P01) Z(I)"),
        ("a query without NUL", message(b'Q', |body| body.extend_from_slice(b"a")), "E(08P01) Z(I)"),
        ("a sync with a body", message(b'S', |body| body.extend_from_slice(b"x")), "E(08P01) Z(I)"),
        (
            "a bind that ends early undoes what came before, and what comes behind it is skipped",
            [
                run(INSERT),
                message(b'B', |body| body.extend_from_slice(b"\0\0\xff\xff")),
                run(INSERT),
                message(b'P', |body| body.extend_from_slice(b"skipped, so not even read")),
                sync(),
            ]
            .concat(),
            "1 2 C(INSERT 0 1) E(08P01) Z(I)",
        ),
        (
            "a describe of nothing, with nothing behind it",
            [message(b'D', |body| body.extend_from_slice(b"X\0")), sync()].concat(),
            "E(08P01) Z(I)",
        ),
    ];
    for (what, bytes, heard) in table {
        let (_rig, mut client) = bot();
        assert_eq!(client.exchange(&bytes), heard, "{what}");
        assert_eq!(client.exchange(&query(ORDERS)), "T D D D C(SELECT 3) Z(I)", "{what}");
    }
}

#[test]
fn a_password_within_a_session_ends_it() {
    let (_rig, mut client) = bot();
    client.input.extend_from_slice(&message(b'p', |body| body.extend_from_slice(b"x\0")));
    assert!(client.feed().is_err());
}

#[test]
fn text_that_is_no_statement_is_refused_and_the_session_goes_on() {
    let (_rig, mut client) = bot();
    let latin = message(b'Q', |body| body.extend_from_slice(b"select '\xe9'\0"));
    assert_eq!(client.exchange(&latin), "E(22021) Z(I)");
    let long = query(&format!("select '{}'", "x".repeat(2 * 1024 * 1024)));
    assert_eq!(client.exchange(&long), "E(54000) Z(I)");
    assert_eq!(client.exchange(&query(ORDERS)), "T D D D C(SELECT 3) Z(I)");
}

#[test]
fn a_ledger_that_fails_denies_and_still_lets_a_transaction_be_rolled_back() {
    let (rig, mut client) = bot();
    client.exchange(&query("begin"));
    client.exchange(&query(INSERT));
    rig.disk.fail(true);
    assert_eq!(client.exchange(&query(INSERT)), "E(58000) Z(E)");
    assert_eq!(client.exchange(&query("rollback")), "C(ROLLBACK) Z(I)");
    assert_eq!(client.exchange(&query(ORDERS)), "E(58000) Z(I)");
    rig.disk.fail(false);
    assert_eq!(client.exchange(&query(ORDERS)), "T D D D C(SELECT 3) Z(I)");
}
