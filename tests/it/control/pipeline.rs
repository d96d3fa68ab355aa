//! What is in force while rules change: never a half of anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis::config;
use portcullis::serve::load_rules;

use super::Place;
use crate::faults::until;

const BY_TWO_FILES: [&str; 2] = ["a", "b"];

/// Makes the rulebook deny by two rules of two files.
fn deny_by(place: &Place, name: &str) {
    for file in BY_TWO_FILES {
        place.write(
            &format!("policies/{file}.rego"),
            &format!(
                "package portcullis.session\n\ndeny contains {{\"rule\": \"{name}_{file}\", \"message\": \"no\", \"hint\": \"\"}} if count(input.settings) > 0\n"
            ),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_decision_is_made_by_half_a_rulebook() {
    let place = Place::new("");
    let settings = config::load(&place.home.path().join("portcullis.toml")).unwrap();
    deny_by(&place, "old");
    let running = place.start().await;
    let gate = Arc::clone(running.gateway.gate());
    deny_by(&place, "new");
    let is_over = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&is_over);
    let swapping = std::thread::spawn(move || {
        let mut swaps = 0;
        while !over.load(Ordering::Relaxed) {
            deny_by(&place, if swaps % 2 == 0 { "old" } else { "new" });
            gate.replace_rules(load_rules(&settings).unwrap());
            swaps += 1;
        }
        (swaps, place)
    });
    let (mut old, mut new) = (0, 0);
    while old + new < 2000 || old == 0 || new == 0 {
        match running.denied().await.as_slice() {
            [a, b] if a == "old_a" && b == "old_b" => old += 1,
            [a, b] if a == "new_a" && b == "new_b" => new += 1,
            mixed => panic!("half a rulebook decided: {mixed:?}"),
        }
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(swapping.join().unwrap().0 > 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_written_folder_is_not_in_force_and_holds_up_no_identity() {
    let place = Place::new("");
    let running = place.start().await;
    assert_eq!(running.denied().await, Vec::<String>::new());
    place.write("policies/deny.rego", "package portcullis.session\n\ndeny contains {\"rule\": \"late\"");
    until("it is refused", async || running.times_announced("changed policies refused") == 1).await;
    assert_eq!(running.denied().await, Vec::<String>::new());
    // Meanwhile an identity loses its access.
    let ana = std::fs::read_to_string(place.home.path().join("agents/ana.toml")).unwrap();
    place.write("agents/ana.toml", &ana.replace("[auth]", "disabled = true\n[auth]"));
    until("ana is nobody", async || running.denied().await == ["nobody"]).await;
    place.write("agents/ana.toml", &ana);
    until("ana is back", async || running.denied().await.is_empty()).await;
    assert_eq!(running.times_announced("changed policies refused"), 1, "{:?}", running.announced());
    place.write(
        "policies/deny.rego",
        "package portcullis.session\n\ndeny contains {\"rule\": \"late\", \"message\": \"no\", \"hint\": \"\"} if count(input.settings) > 0\n",
    );
    until("the whole is in force", async || running.denied().await == ["late"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rulebook_that_fails_its_own_tests_is_not_in_force() {
    let place = Place::new("");
    place.write(
        "policies/session_test.rego",
        "package portcullis.session_test\n\nimport data.portcullis.session.deny\n\ntest_open if count(deny) == 0 with input as {\"settings\": [1]}\n",
    );
    deny_by(&place, "never");
    let refusal = place.refusal().await;
    assert!(
        refusal.contains("session_test.rego:5: the test `portcullis.session_test.test_open`"),
        "{refusal}"
    );
    for file in BY_TWO_FILES {
        std::fs::remove_file(place.home.path().join(format!("policies/{file}.rego"))).unwrap();
    }
    place.write("policies/a.rego", "package portcullis.session\n\ndeny contains \"x\" if false\n");
    let running = place.start().await;
    deny_by(&place, "never");
    until("it is refused", async || running.times_announced("fails its own tests") == 1).await;
    assert_eq!(running.denied().await, Vec::<String>::new());
    running.stop().await;
    place.write(
        "portcullis.toml",
        &format!(
            "[policy]\nrun_tests = false\n{}",
            std::fs::read_to_string(place.home.path().join("portcullis.toml")).unwrap()
        ),
    );
    let running = place.start().await;
    assert_eq!(running.denied().await, ["never_a", "never_b"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_of_50_mb_is_refused_and_what_was_before_stays() {
    let place = Place::new("");
    let running = place.start().await;
    place.write("policies/data/huge.json", &format!("{{\"x\": \"{}\"}}", "x".repeat(50 << 20)));
    until("it is refused", async || running.times_announced("huge.json") == 1).await;
    assert!(running.times_announced("more than 16 MiB") == 1);
    assert_eq!(running.denied().await, Vec::<String>::new());
    running.stop().await;
    assert!(place.refusal().await.contains("more than 16 MiB"));
}
