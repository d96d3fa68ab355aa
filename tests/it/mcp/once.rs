//! Writes that must run at most once, whatever breaks: several statements as one, keys, and a connection that is lost
//! around COMMIT, over a relay that can cut it there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use portcullis::approval::{ApprovalId, Vote};

use super::governed::{SCOPE, prepared, robin, status_of};
use super::stand::{Client, Stand};
use crate::support::Database;

/// What a relay does to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Fault {
    /// Nothing.
    None,
    /// It is cut when COMMIT comes, which the server never sees.
    BeforeCommit,
    /// The server gets COMMIT, and its answer is lost.
    AfterCommit,
    /// As `AfterCommit`, and no connection is taken from then on.
    AfterCommitAndAway,
    /// No connection is taken.
    Away,
}

/// A relay in front of PostgreSQL that breaks when it is told to.
#[derive(Debug, Clone)]
struct Relay {
    port: u16,
    fault: Arc<AtomicU8>,
}

impl Relay {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let relay = Self { port: listener.local_addr().unwrap().port(), fault: Arc::default() };
        let fault = Arc::clone(&relay.fault);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if fault.load(Ordering::SeqCst) != Fault::Away as u8 {
                    tokio::spawn(carry(client, server, Arc::clone(&fault)));
                }
            }
        });
        relay
    }

    fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }
}

#[expect(clippy::disallowed_methods, reason = "it stands in for the network")]
async fn carry(mut client: TcpStream, server: u16, fault: Arc<AtomicU8>) {
    let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let is_commit = up[..length].windows(7).any(|bytes| bytes == b"COMMIT\0");
                let now = fault.load(Ordering::SeqCst);
                if is_commit && now == Fault::BeforeCommit as u8 {
                    return;
                }
                server.write_all(&up[..length]).await.unwrap();
                if is_commit && [Fault::AfterCommit as u8, Fault::AfterCommitAndAway as u8].contains(&now) {
                    // Its answer is there before the connection goes, so COMMIT was carried out.
                    assert!(server.read(&mut down).await.unwrap() > 0);
                    if now == Fault::AfterCommitAndAway as u8 {
                        fault.store(Fault::Away as u8, Ordering::SeqCst);
                    }
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn stand() -> (Stand, Database, Relay) {
    let (mut shop, database) = prepared().await;
    let relay = Relay::before(shop.port).await;
    shop.port = relay.port;
    (Stand::start(vec![shop], SCOPE).await, database, relay)
}

/// Asks for a write, has it approved, and returns the approval.
async fn approved(stand: &Stand, client: &Client, mut write: Value) -> String {
    write["reason"] = json!("ticket 9");
    write["wait_s"] = json!(0);
    let (pending, _) = client.call("execute", write).await;
    let id = pending["approval_id"].as_str().unwrap_or_else(|| panic!("{pending}")).to_owned();
    stand.decide("priya", &id, Vote::Approve, "ok").await;
    id
}

fn update(id: i32) -> Value {
    json!({"sql": "UPDATE orders SET status = status || '!' WHERE id = $1", "params": [id]})
}

#[tokio::test]
async fn several_statements_run_all_or_not_at_all() {
    let (stand, database, _) = stand().await;
    let client = robin(&stand).await;
    let both = json!({"statements": [
        {"sql": "UPDATE orders SET status = $1 WHERE id = 1 -- the first", "params": ["a"]},
        {"sql": "UPDATE orders SET status = $1 || status WHERE id IN (2, $2);", "params": ["b", 3]},
        {"sql": "SELECT id, status FROM orders WHERE id <= 3 ORDER BY id"},
    ]});
    let id = approved(&stand, &client, both).await;
    let request = stand.gate.desk().request(&ApprovalId::parse(&id).unwrap()).unwrap();
    let labels = request.call.labels(request.parameters.len());
    assert_eq!(labels, ["$1 of statement 1", "$1 of statement 2", "$2 of statement 2"]);
    let (answer, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert_eq!((&answer["status"], &answer["rows_affected"]), (&json!("ok"), &json!(3)), "{answer}");
    let affected: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|one| &one["rows_affected"]).collect();
    assert_eq!(affected, [1, 2, 0]);
    assert_eq!(answer["results"][2]["returning"]["rows"], json!([[1, "a"], [2, "bnew"], [3, "bnew"]]));

    let fails = json!({"statements": [
        {"sql": "UPDATE orders SET status = 'gone' WHERE id = 1"},
        {"sql": "UPDATE orders SET status = (1 / (id - id))::text WHERE id = 2"},
        {"sql": "UPDATE orders SET status = 'never' WHERE id = 3"},
    ]});
    let id = approved(&stand, &client, fails).await;
    let (answer, is_error) = client.call("run_approved", json!({"approval_id": id})).await;
    assert!(is_error && answer["sqlstate"] == "22012", "{answer}");
    assert_eq!(status_of(&database, 1).await, "a", "the first was undone with the second");
    stand.gate.close_ledger().await.unwrap();
    let ledger = stand.ledger.text();
    for outcome in ["rolled_back", "error", "skipped"] {
        assert!(ledger.contains(&format!("\"{outcome}\"")), "{outcome}: {ledger}");
    }
}

#[tokio::test]
async fn all_statements_are_judged_before_the_first_runs() {
    let (stand, database, _) = stand().await;
    let client = robin(&stand).await;
    let cases = [
        (json!([{"sql": "UPDATE orders SET total = 0 WHERE id = 1"}]), "total"),
        (json!([{"sql": "COMMIT"}]), "transaction"),
        (json!([{"sql": "SELECT 1; SELECT 2"}]), "exactly one statement"),
        (json!([{"sql": "-- nothing"}]), "exactly one statement"),
        (json!([{"sql": "SELECT * FROM hr.payroll"}]), "not found"),
        (json!([{"sql": "SELECT 'open"}]), "unterminated"),
    ];
    for (second, word) in cases {
        let mut statements = json!([{"sql": "UPDATE orders SET status = 'ran' WHERE id = 1"}]);
        statements.as_array_mut().unwrap().extend(second.as_array().unwrap().iter().cloned());
        let call = json!({"statements": statements, "reason": "r", "wait_s": 0});
        let (answer, is_error) = client.call("execute", call).await;
        assert!(is_error, "{answer}");
        assert!(answer.to_string().contains(word), "{word}: {answer}");
    }
    assert_eq!(status_of(&database, 1).await, "new");
    assert!(stand.gate.desk().requests(10).unwrap().is_empty(), "nobody was asked about half of it");
}

#[tokio::test]
async fn a_ceiling_holds_for_all_statements_together_and_belongs_to_the_approval() {
    let (stand, database, _) = stand().await;
    let client = robin(&stand).await;
    let write = json!({"max_affected": 3, "statements": [
        {"sql": "UPDATE orders SET status = 'x' WHERE id IN (1, 2)"},
        {"sql": "UPDATE orders SET status = 'y' WHERE id IN (3, 4)"},
    ]});
    let id = approved(&stand, &client, write.clone()).await;
    let mut more = write;
    more["max_affected"] = json!(0);
    more["reason"] = json!("ticket 9");
    more["wait_s"] = json!(0);
    let (other, _) = client.call("execute", more).await;
    assert_eq!(other["status"], "pending_approval", "an approval of three rows is none of any number");
    assert_ne!(other["approval_id"], json!(id));
    let (answer, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert_eq!(answer["error"]["code"], "too_many_affected", "{answer}");
    assert_eq!(status_of(&database, 1).await, "new");
}

#[tokio::test]
async fn values_of_one_statement_are_not_those_of_another() {
    let (stand, _database, _) = stand().await;
    let client = robin(&stand).await;
    let list = |one: Value, other: Value| {
        let sql = "UPDATE orders SET status = 'x' WHERE id = 1 OR $1::text = ANY ($2)";
        json!({"statements": [
            {"sql": sql.replace("$2", "array['a', $2]"), "params": one},
            {"sql": sql.replace(" OR $1::text = ANY ($2)", ""), "params": other},
        ]})
    };
    let id = approved(&stand, &client, list(json!(["a", "b"]), json!([]))).await;
    let mut shifted = list(json!(["a"]), json!(["b"]));
    shifted["reason"] = json!("ticket 9");
    shifted["wait_s"] = json!(0);
    let (answer, _) = client.call("execute", shifted).await;
    assert_ne!(answer["approval_id"], json!(id), "the same values, split elsewhere: {answer}");
    assert_eq!(answer["status"], "pending_approval", "{answer}");
}

#[tokio::test]
async fn a_key_stands_for_one_run_for_ever() {
    let (stand, database, _) = stand().await;
    let client = robin(&stand).await;
    let mut write = update(1);
    write["idempotency_key"] = json!("order-1");
    approved(&stand, &client, write.clone()).await;
    write["reason"] = json!("ticket 9");
    let (ran, _) = client.call("execute", write.clone()).await;
    assert_eq!((&ran["status"], &ran["rows_affected"]), (&json!("ok"), &json!(1)), "{ran}");
    for _ in 0..2 {
        let (again, _) = client.call("execute", write.clone()).await;
        assert_eq!((&again["status"], &again["repeated"]), (&json!("ok"), &json!(true)), "{again}");
        assert_eq!(again["rows_affected"], 1);
    }
    assert_eq!(status_of(&database, 1).await, "new!");
    let mut other = update(2);
    other["idempotency_key"] = json!("order-1");
    other["reason"] = json!("ticket 9");
    let (conflict, is_error) = client.call("execute", other.clone()).await;
    assert!(is_error && conflict["error"]["code"] == "idempotency_conflict", "{conflict}");
    let mallory = stand.client("mallory", super::stand::Era::Stateless).await;
    other["wait_s"] = json!(0);
    let (hers, _) = mallory.call("execute", other).await;
    assert_eq!(hers["status"], "pending_approval", "keys are of one identity: {hers}");
}

#[tokio::test]
async fn a_key_of_what_was_rolled_back_can_be_used_again() {
    let (stand, database, _) = stand().await;
    let client = robin(&stand).await;
    let mut write = json!({"sql": "UPDATE orders SET status = 'x' WHERE id < 5", "max_affected": 2,
        "idempotency_key": "k"});
    let id = approved(&stand, &client, write.clone()).await;
    let (answer, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert_eq!(answer["error"]["code"], "too_many_affected");
    write["max_affected"] = json!(10);
    let id = approved(&stand, &client, write).await;
    let (answer, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert_eq!(answer["rows_affected"], 4, "{answer}");
    assert_eq!(status_of(&database, 1).await, "x");
}

#[tokio::test]
async fn a_connection_that_is_lost_around_commit_is_settled_by_the_database() {
    let (stand, database, relay) = stand().await;
    let client = robin(&stand).await;
    let id = approved(&stand, &client, update(1)).await;
    relay.set(Fault::BeforeCommit);
    let (answer, is_error) = client.call("run_approved", json!({"approval_id": id})).await;
    assert!(is_error && answer["error"]["code"] == "connection_broken", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("nothing was changed"), "{answer}");
    assert_eq!(status_of(&database, 1).await, "new");

    relay.set(Fault::None);
    let id = approved(&stand, &client, update(2)).await;
    relay.set(Fault::AfterCommit);
    let (answer, is_error) = client.call("run_approved", json!({"approval_id": id})).await;
    assert!(!is_error && answer["guidance"].as_str().unwrap().contains("It was committed"), "{answer}");
    assert_eq!(status_of(&database, 2).await, "new!");
    let (again, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert_eq!((&again["status"], &again["repeated"]), (&json!("ok"), &json!(true)), "{again}");
    assert_eq!(status_of(&database, 2).await, "new!", "it ran once");
}

#[tokio::test]
async fn what_is_unknown_is_asked_for_again_and_never_run_again() {
    let (stand, database, relay) = stand().await;
    let client = robin(&stand).await;
    let mut write = update(3);
    write["idempotency_key"] = json!("three");
    let id = approved(&stand, &client, write.clone()).await;
    relay.set(Fault::AfterCommitAndAway);
    let (answer, is_error) = client.call("run_approved", json!({"approval_id": id})).await;
    assert!(is_error && answer["error"]["code"] == "outcome_unknown", "{answer}");
    let (answer, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert_eq!(answer["error"]["code"], "outcome_unknown", "the database is still away: {answer}");
    write["reason"] = json!("ticket 9");
    let (answer, _) = client.call("execute", write.clone()).await;
    assert_eq!(answer["error"]["code"], "outcome_unknown", "{answer}");
    relay.set(Fault::None);
    let (answer, _) = client.call("run_approved", json!({"approval_id": id})).await;
    assert!(answer["guidance"].as_str().unwrap().contains("It was committed"), "{answer}");
    let (answer, _) = client.call("execute", write).await;
    assert_eq!((&answer["status"], &answer["repeated"]), (&json!("ok"), &json!(true)), "{answer}");
    assert_eq!(status_of(&database, 3).await, "new!", "it ran once");
}
