//! A ledger that can't be written: nothing new runs, everything can be undone, and it recovers by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::approval::State;
use portcullis::protocol::frame::Frame;
use serde_json::json;
use tokio_postgres::error::SqlState;

use crate::support::gateway::Stand;
use crate::wire_real::{Raw, packet};
use crate::wire_sim::rig::{bind, describe, execute, parse, query, run, sync, word};

use super::{approve, call, decided, outcome, pending, readiness, until};

const UPDATE: &str = "UPDATE orders SET status = 'returned' WHERE id = 7";

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_fails_lets_nothing_run_and_says_what_to_do() {
    let stand = Stand::start().await;
    let client = stand.wire("dora").await;
    client.simple_query("SELECT 1").await.unwrap();
    let away = Away::take(&stand);
    for statement in ["SELECT 1", "CREATE TABLE faulty (n int)", "SHOW timezone", "BEGIN"] {
        let error = client.simple_query(statement).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::SYSTEM_ERROR), "{statement}: {error:?}");
        let error = error.as_db_error().unwrap();
        assert!(error.message().contains("can't write its ledger"), "{error}");
        assert!(error.hint().unwrap().contains("ROLLBACK works"), "{error}");
    }
    assert!(client.prepare("SELECT 1").await.is_err());
    let refused = stand.wire_config("ana").connect(tokio_postgres::NoTls).await.err().unwrap();
    assert_eq!(refused.code(), Some(&SqlState::SYSTEM_ERROR), "a session is on record, or is none");
    let answer = call(&stand, "support-bot", "query", json!({"sql": "SELECT 1"})).await;
    assert_eq!(answer["status"], "error", "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("ledger"), "{answer}");
    let (status, text) = readiness(&stand).await;
    assert!(status == 503 && text.contains("ledger"), "{status} {text}");

    away.bring_back();
    until("the gateway is ready again, though nobody asks for anything", async || {
        readiness(&stand).await.0 == 200
    })
    .await;
    client.simple_query("SELECT 1").await.unwrap();
    let table = "SELECT to_regclass('public.faulty')::text";
    let found = stand.cluster.connect("shop").await.unwrap().query_one(table, &[]).await.unwrap();
    assert_eq!(found.get::<_, Option<&str>>(0), None, "a denied statement ran");
    portcullis::audit::verify(&stand.home.path().join("state/ledger")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_commit_rolls_back_and_says_so() {
    let stand = Stand::start().await;
    let mut dora = Raw::session(&stand, "dora").await;
    update_in_a_transaction(&stand, &mut dora).await;
    let away = Away::take(&stand);
    assert_eq!(dora.ask(&query("SELECT 1")).await, "E(58000) Z(E)");
    // The denial has aborted the transaction already; the same must hold where nothing has.
    assert_eq!(dora.ask(&query("COMMIT")).await, "N C(ROLLBACK) Z(I)");
    away.bring_back();
    update_in_a_transaction(&stand, &mut dora).await;
    let away = Away::take(&stand);
    dora.send(&query("COMMIT")).await;
    let heard = frames(&mut dora).await;
    let words: Vec<String> = heard.iter().map(word).collect();
    assert_eq!(words, ["N", "C(ROLLBACK)", "Z(I)"]);
    let warning = String::from_utf8_lossy(&heard[0].body).into_owned();
    for part in ["WARNING", "01000", "rolled back, not committed", "ledger"] {
        assert!(warning.contains(part), "{part} in {warning}");
    }
    away.bring_back();
    assert_eq!(dora.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    assert_ne!(status(&stand).await, "returned", "what could not be kept was committed");
    let (id, commit) = decided(&stand).into_iter().rfind(|(_, s)| s.statement == "COMMIT").unwrap();
    assert_eq!(
        (commit.decision.as_str(), commit.sent.as_str(), commit.rule.as_str()),
        ("allow", "ROLLBACK", "ledger")
    );
    until("its outcome is on record", async || outcome(&stand, &id).await.as_deref() == Some("ok")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_a_transaction_is_undone_by_the_extended_protocol_too() {
    let stand = Stand::start().await;
    let mut dora = Raw::session(&stand, "dora").await;
    // Drivers keep COMMIT and ROLLBACK prepared: as named statements from before, or as unnamed ones.
    let series = [parse("c", "COMMIT"), parse("r", "ROLLBACK"), sync()].concat();
    assert_eq!(dora.ask(&series).await, "1 1 Z(I)");
    let bound = |name: &str| [bind("", name), describe(b'P', ""), execute("", 0), sync()].concat();
    let cases = [
        (run("COMMIT"), "1 2 N C(ROLLBACK) Z(I)"),
        (bound("c"), "2 n N C(ROLLBACK) Z(I)"),
        (bound("c"), "2 n N C(ROLLBACK) Z(I)"),
        (run("ROLLBACK"), "1 2 C(ROLLBACK) Z(I)"),
        (bound("r"), "2 n C(ROLLBACK) Z(I)"),
    ];
    for (number, (way, heard)) in cases.into_iter().enumerate() {
        update_in_a_transaction(&stand, &mut dora).await;
        let away = Away::take(&stand);
        let way = if way.ends_with(&sync()) { way } else { [way, sync()].concat() };
        assert_eq!(dora.ask(&way).await, heard, "case {number}");
        away.bring_back();
        assert_ne!(status(&stand).await, "returned", "case {number}");
    }
    // A COMMIT that was prepared meanwhile is no trap: with the ledger back it commits, and is on record.
    update_in_a_transaction(&stand, &mut dora).await;
    let away = Away::take(&stand);
    assert_eq!(dora.ask(&[parse("late", "COMMIT"), sync()].concat()).await, "1 Z(T)");
    away.bring_back();
    assert_eq!(dora.ask(&bound("late")).await, "2 n C(COMMIT) Z(I)");
    assert_eq!(status(&stand).await, "returned");
    stand.cluster.execute_sql("shop", "UPDATE orders SET status = 'paid' WHERE id = 7").await.unwrap();
    // So does the one from before.
    update_in_a_transaction(&stand, &mut dora).await;
    assert_eq!(dora.ask(&bound("c")).await, "2 n C(COMMIT) Z(I)");
    assert_eq!(status(&stand).await, "returned");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_no_other_end_of_a_transaction_passes() {
    let stand = Stand::start().await;
    let mut dora = Raw::session(&stand, "dora").await;
    for way in [
        query("COMMIT AND CHAIN"),
        query("COMMIT; SELECT 1"),
        query("PREPARE TRANSACTION 'x'"),
        query("ROLLBACK; DROP TABLE orders"),
        [run("COMMIT AND CHAIN"), sync()].concat(),
        [run("COMMIT AND CHAIN"), run("COMMIT"), sync()].concat(),
    ] {
        update_in_a_transaction(&stand, &mut dora).await;
        let away = Away::take(&stand);
        let heard = dora.ask(&way).await;
        let way = String::from_utf8_lossy(&way);
        assert!(heard.contains("E(") && heard.ends_with("Z(E)"), "{way}: {heard}");
        assert_eq!(dora.ask(&query("ROLLBACK")).await, "C(ROLLBACK) Z(I)");
        away.bring_back();
        assert_ne!(status(&stand).await, "returned");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_cancel_and_terminate_still_work() {
    let stand = Stand::start().await;
    let client = stand.wire("dora").await;
    let mut other = Raw::session(&stand, "ana").await;
    let long = client.simple_query("SELECT count(*) FROM orders a, orders b, orders c");
    let cancel = client.cancel_token();
    let cancelling = async {
        until("the long statement runs", async || {
            decided(&stand).iter().any(|(_, s)| s.statement.contains("orders c"))
        })
        .await;
        let _away = Away::take(&stand);
        loop {
            cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let result = tokio::select! { result = long => result, () = cancelling => unreachable!() };
    assert_eq!(result.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
    let _away = Away::take(&stand);
    other.send(b"X\0\0\0\x04").await;
    assert!(other.frame().await.is_none());
    let mut stranger = Raw::connect(&stand).await;
    stranger.send(&packet(b"\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09")).await;
    assert!(stranger.frame().await.is_none(), "a cancel is never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_ledger_no_request_is_left_that_nobody_waits_for() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    client.simple_query("SELECT 1").await.unwrap();
    let away = Away::take(&stand);
    let error = client.simple_query(UPDATE).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::SYSTEM_ERROR));
    let arguments = json!({"sql": UPDATE, "reason": "ticket 1", "wait_s": 0});
    let answer = call(&stand, "support-bot", "execute", arguments).await;
    assert_eq!(answer["status"], "error", "{answer}");
    away.bring_back();
    let requests = stand.gateway.gate().desk().requests(10).unwrap();
    let states: Vec<State> = requests.iter().map(|request| request.state).collect();
    assert_eq!(states, [State::Withdrawn]);
}

/// The real thing, where tests may mount: a disk of its own for the state folder, which fills up.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_denies_undoes_and_recovers_when_it_has_room_again() {
    let mut stand = Stand::start().await;
    let disk = stand.home.path().join("state2");
    fs::create_dir(&disk).unwrap();
    let Some(_mounted) = Mounted::tmpfs(&disk) else {
        eprintln!("no right to mount a small file system here: the moved folder stands for it");
        return;
    };
    stand.settings.state_path = disk.clone();
    let stand = stand.restart().await;
    let client = stand.wire("dora").await;
    client.simple_query("BEGIN").await.unwrap();
    let ballast = disk.join("ballast");
    let full = fs::write(&ballast, vec![0; 64 << 20]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // What is left of the last page is filled by statements.
    let mut denied = None;
    for _ in 0..200 {
        if let Err(error) = client.simple_query(&format!("SELECT '{}'", "x".repeat(500))).await {
            denied = Some(error);
            break;
        }
    }
    assert_eq!(denied.unwrap().code(), Some(&SqlState::SYSTEM_ERROR));
    client.simple_query("ROLLBACK").await.unwrap();
    assert_eq!(readiness(&stand).await.0, 503);
    fs::remove_file(&ballast).unwrap();
    until("the gateway is ready again", async || readiness(&stand).await.0 == 200).await;
    client.simple_query("SELECT 1").await.unwrap();
    let folder = disk.join("ledger");
    stand.gateway.stop().await;
    portcullis::audit::verify(&folder).unwrap();
}

/// The ledger's folder, moved away: every write to it fails, whoever the tests run as.
struct Away {
    folder: PathBuf,
    elsewhere: PathBuf,
}

impl Away {
    fn take(stand: &Stand) -> Self {
        let folder = stand.home.path().join("state/ledger");
        let elsewhere = stand.home.path().join("state/elsewhere");
        fs::rename(&folder, &elsewhere).unwrap();
        Self { folder, elsewhere }
    }

    fn bring_back(self) {
        drop(self);
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        fs::rename(&self.elsewhere, &self.folder).unwrap();
    }
}

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(path: &Path) -> Option<Self> {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).output();
        mount.is_ok_and(|ran| ran.status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// Leaves a transaction open in which an approved update ran.
async fn update_in_a_transaction(stand: &Stand, session: &mut Raw) {
    assert_eq!(session.ask(&query("BEGIN")).await, "C(BEGIN) Z(T)");
    session.send(&query(UPDATE)).await;
    let request = pending(stand).await;
    approve(stand, &request).await.unwrap();
    assert_eq!(session.until_ready().await, "N C(UPDATE 1) Z(T)");
}

async fn status(stand: &Stand) -> String {
    let client = stand.cluster.connect("shop").await.unwrap();
    client.query_one("SELECT status FROM orders WHERE id = 7", &[]).await.unwrap().get(0)
}

async fn frames(session: &mut Raw) -> Vec<Frame> {
    let mut heard = Vec::new();
    while let Some(frame) = session.frame().await {
        let last = frame.tag == b'Z';
        heard.push(frame);
        if last {
            break;
        }
    }
    heard
}
