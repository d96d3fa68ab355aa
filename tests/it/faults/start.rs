//! A gateway that can't start whole says what is in its way, and leaves nothing behind that is.

use std::error::Error;
use std::fs;

use portcullis::config::Settings;
use portcullis::serve::Gateway;
use tokio::net::TcpListener;

use crate::support::gateway::Stand;

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named_with_its_door() {
    let stand = Stand::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let elsewhere = elsewhere(&stand);
    for (door, settings) in [
        ("wire", Settings { wire: address, ..elsewhere.clone() }),
        ("mcp", Settings { mcp: address, ..elsewhere.clone() }),
        ("console", Settings { console: address, ..elsewhere.clone() }),
    ] {
        let said = refusal(settings).await;
        for part in [door, &address.to_string(), "listen", "in use"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
    drop(taken);
    Gateway::start(Settings { wire: address, ..elsewhere }).await.unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_on_the_same_state_does_not_start_and_the_first_goes_on() {
    let stand = Stand::start().await;
    let said = refusal(stand.settings.clone()).await;
    assert!(said.contains("in use by another gateway") && said.contains("state"), "{said}");
    stand.wire("ana").await.simple_query("SELECT 1").await.unwrap();
    let stand = stand.restart().await;
    stand.wire("ana").await.simple_query("SELECT 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_gateway_leaves_the_requests_of_the_first_alone() {
    let stand = Stand::start().await;
    let client = stand.wire("support-bot").await;
    let update = client.simple_query("UPDATE orders SET status = 'returned' WHERE id = 7");
    let rest = async {
        let request = super::pending(&stand).await;
        refusal(stand.settings.clone()).await;
        super::approve(&stand, &request).await.unwrap();
    };
    let (changed, ()) = tokio::join!(update, rest);
    changed.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_folder_that_can_not_be_used_is_named() {
    let stand = Stand::start().await;
    let file = stand.home.path().join("file");
    fs::write(&file, "").unwrap();
    for state_path in [file.clone(), file.join("below"), "/proc/portcullis".into()] {
        let said = refusal(Settings { state_path: state_path.clone(), ..stand.settings.clone() }).await;
        assert!(said.contains(&*state_path.to_string_lossy()), "{said}");
    }
    let damaged = elsewhere(&stand);
    fs::create_dir(&damaged.state_path).unwrap();
    fs::write(damaged.state_path.join("store.db"), "this is no database at all, and long enough").unwrap();
    let said = refusal(damaged.clone()).await;
    assert!(said.contains("store.db") && said.contains("damaged"), "{said}");
    fs::remove_file(damaged.state_path.join("store.db")).unwrap();
    fs::create_dir_all(damaged.state_path.join("ledger")).unwrap();
    fs::write(damaged.state_path.join("ledger/000001.jsonl"), "{}\n").unwrap();
    let said = refusal(damaged).await;
    assert!(said.contains("damaged") && said.contains("000001.jsonl"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_rule_or_identity_is_named_with_its_line() {
    let stand = Stand::start().await;
    let (home, settings) = (stand.home.path(), elsewhere(&stand));
    for (path, text, parts) in [
        ("policies/statement/x.rego", "package portcullis.statement\n\ndeny contains {\n", &["x.rego:"][..]),
        (
            "policies/statement/x.rego",
            "package portcullis.statement\n\ndeny contains nonsense(1)\n",
            &["x.rego:3"],
        ),
        ("policies/data/x.json", "{\n  \"a\": \n", &["x.json"]),
        ("agents/x.toml", "name = \"x\"\nkind = \"robot\"\n", &["x.toml:2", "robot"]),
        ("agents/x.toml", "name = \"y\"\nkind = \"human\"\n", &["x.toml:1"]),
        ("agents/x.toml", "name = \"x\nkind = \"human\"\n", &["x.toml:1"]),
        ("agents/x.toml", "name = \"x\"\nkind = \"agent\"\nowner = \"nobody\"\n", &["x.toml:3", "nobody"]),
    ] {
        fs::write(home.join(path), text).unwrap();
        let said = refusal(settings.clone()).await;
        for part in parts {
            assert!(said.contains(part), "`{part}` in `{said}` for {path}:\n{text}");
        }
        fs::remove_file(home.join(path)).unwrap();
    }
    for (what, gone) in [("policies", home.join("policies")), ("agents", home.join("agents"))] {
        fs::rename(&gone, home.join("gone")).unwrap();
        let said = refusal(settings.clone()).await;
        assert!(said.contains(&*gone.to_string_lossy()), "{what}: {said}");
        fs::rename(home.join("gone"), &gone).unwrap();
    }
    assert!(!settings.state_path.exists(), "a gateway that did not start left a state folder");
}

/// The settings of a second gateway, with a state folder of its own.
fn elsewhere(stand: &Stand) -> Settings {
    Settings { state_path: stand.home.path().join("elsewhere"), ..stand.settings.clone() }
}

/// What a gateway says that does not start, with all its causes, as the program prints it.
async fn refusal(settings: Settings) -> String {
    let error = Gateway::start(settings).await.expect_err("it started");
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}
