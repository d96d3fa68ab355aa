//! What clients set when they connect: beside a client that goes past the gateway.

use crate::support::gateway::{Stand, UPSTREAM_PASSWORD};
use crate::wire_sim::rig::{query, word};
use portcullis::cli::demo::shop;

use super::raw::startup_of;
use super::{Raw, startup};

#[tokio::test(flavor = "multi_thread")]
async fn options_mean_what_they_mean_to_the_server() {
    let stand = Stand::start().await;
    for options in [
        "-c TimeZone=Asia/Tokyo",
        "-cTimeZone=Asia/Tokyo",
        "--TimeZone=Asia/Tokyo",
        "--timezone=Asia/Tokyo -c datestyle=German",
        r"-c DateStyle=SQL,\ DMY",
        r"  -c	DateStyle=SQL,\ DMY   -c extra_float_digits=1 ",
        r"-c application_name=a\\b",
        "--extra-float-digits=2",
        "-c extra-float-digits=2",
        "-c timezone=UTC -c TimeZone=Asia/Tokyo",
        "-c TimeZone=Asia/Tokyo --",
        "-c",
        "-c TimeZone",
        "--TimeZone",
        "-c =x",
        "TimeZone=UTC",
        "-c TimeZone=UTC x",
        "-c user=postgres",
        "-c options=x",
        "",
        " ",
    ] {
        let gate = [("user", "ana"), ("database", "shop"), ("options", options)];
        let direct = [("user", shop::FULL_USER), ("database", "shop"), ("options", options)];
        let port = (std::net::Ipv4Addr::LOCALHOST, stand.cluster.port()).into();
        let gate = outcome(Raw::connect(&stand).await, "ana", &stand.secrets["ana"], &startup(&gate)).await;
        let direct =
            outcome(Raw::to(port).await, shop::FULL_USER, UPSTREAM_PASSWORD, &startup(&direct)).await;
        // What may be set at all is judged before what there is; and a server says so behind AuthenticationOk.
        let gate = gate.replace("42501", "42704");
        assert_eq!(gate, direct.trim_start_matches("R "), "{options:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_use_a_database_learns_nothing_from_its_settings() {
    let stand = Stand::start().await;
    let mut heard = Vec::new();
    for database in ["postgres", "nowhere"] {
        let startup = startup(&[("user", "ana"), ("database", database), ("search_path", "x")]);
        let mut raw = Raw::connect(&stand).await;
        raw.prove("ana", &stand.secrets["ana"], &startup).await;
        let frame = raw.frame().await.unwrap();
        assert_eq!(word(&frame), "E(3D000)");
        heard.push(String::from_utf8_lossy(&frame.body).replace(database, "DATABASE"));
    }
    assert_eq!(heard[0], heard[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_as_long_as_its_protocol_has_it() {
    let stand = Stand::start().await;
    for (minor, length) in [(0, 4), (2, 32)] {
        let startup = startup_of(3, minor, &[("user", "ana"), ("database", "shop")]);
        let mut raw = Raw::connect(&stand).await;
        raw.prove("ana", &stand.secrets["ana"], &startup).await;
        let mut key = None;
        while let Some(frame) = raw.frame().await
            && frame.tag != b'Z'
        {
            if frame.tag == b'K' {
                key = Some(frame.body.len() - 4);
            }
        }
        assert_eq!(key, Some(length), "protocol 3.{minor}");
        assert_eq!(raw.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
    }
}

/// What a start-up came to: its error, or what some settings are by then.
async fn outcome(mut raw: Raw, user: &str, password: &str, startup: &[u8]) -> String {
    raw.send(startup).await;
    let first = raw.frame().await.unwrap();
    if first.tag == b'E' {
        return word(&first);
    }
    raw.answer(&first, user, password).await;
    let greeting = raw.until_ready().await;
    if !greeting.ends_with("Z(I)") {
        return greeting;
    }
    let mut shown = Vec::new();
    for setting in ["timezone", "datestyle", "extra_float_digits"] {
        raw.ask(&query(&format!("SHOW {setting}"))).await;
        shown.push(raw.last_row().to_owned());
    }
    shown.join("|")
}
