//! Whose results are looked through is the rulebook's, by the rules in force when something runs.

use std::fs;

use portcullis::approval::Vote;

use crate::doors::{announced, decide, pending};
use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{bind, execute, parse, query, sync};

use super::stand::{ALL, BOT, canaries_in, heard, start};

/// Puts detectors in force for agents.
async fn change(stand: &Stand, detectors: &[&str]) {
    let data = format!(r#"{{"agent": [{}], "human": [], "service": []}}"#, detectors.join(", "));
    fs::write(stand.home.path().join("policies/data/detectors.json"), data).unwrap();
    announced(stand, "rules replaced").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_prepared_or_declared_before_is_looked_through_by_the_rules_of_now() {
    let stand = start(&[]).await;
    let mut bot = Raw::session(&stand, BOT).await;
    let made = "PREPARE p AS SELECT t FROM findings; DECLARE c CURSOR WITH HOLD FOR SELECT t FROM findings ORDER BY id";
    heard(&mut bot, &query(made)).await;
    bot.ask(&[parse("s", "SELECT t FROM findings"), sync()].concat()).await;
    let asks =
        [query("EXECUTE p"), [bind("", "s"), execute("", 0), sync()].concat(), query("FETCH 1 FROM c")];
    for ask in &asks[..2] {
        assert!(!canaries_in(&heard(&mut bot, ask).await).is_empty(), "nothing is looked for yet");
    }
    change(&stand, ALL).await;
    for ask in &asks {
        let bytes = heard(&mut bot, ask).await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(canaries_in(&bytes).is_empty() && text.contains("****-****"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_for_the_detectors_that_its_approver_saw() {
    let stand = start(&[]).await;
    let client = stand.wire(BOT).await;
    let update = async { client.execute("UPDATE orders SET status = 'shipped' WHERE id = 7", &[]).await };
    let approve = async {
        let request = pending(&stand).await;
        change(&stand, ALL).await;
        decide(&stand, "priya", &request, Vote::Approve, "ok").await.unwrap();
    };
    let (changed, ()) = tokio::join!(update, approve);
    let error = changed.unwrap_err();
    let message = error.as_db_error().unwrap().message();
    assert!(message.contains("no longer what was approved: detect changed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detector_that_is_not_there_denies_everything_it_would_look_through() {
    let stand = start(&[]).await;
    let mut bot = Raw::session(&stand, BOT).await;
    change(&stand, &[r#"{"detector": "cards"}"#]).await;
    let text = String::from_utf8_lossy(&heard(&mut bot, &query("SELECT t FROM findings")).await).into_owned();
    assert!(text.contains("42501") && text.contains("`cards`"), "{text}");
    assert!(bot.ask(&query("ROLLBACK")).await.ends_with("Z(I)"), "the way out is always open");
}
