//! An issuer's keys over time: new ones, ones that were taken back, and a server that is down.

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock as _, ManualClock, SystemClock};
use portcullis::control::oidc::{IssuerSettings, Issuers, TokenError};
use serde_json::json;

use super::issuer::{Issuer, Key, Mood, RESOURCE, with};

const MINUTE: Duration = Duration::from_secs(60);

/// Issuers whose clock a test moves.
fn issuers(issuer: &Issuer) -> (Issuers, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::starting_at(SystemClock.now()));
    let settings = IssuerSettings::new("corp", &issuer.url, RESOURCE);
    (Issuers::new(vec![settings], Arc::clone(&clock) as _).unwrap(), clock)
}

/// A token that is good for two days.
fn token(issuer: &Issuer, key: &Key) -> String {
    let claims = issuer.claims("u-ana");
    let later = claims["exp"].as_i64().unwrap() + 2 * 86_400;
    key.token(&key.header(), &with(claims, json!({ "exp": later })))
}

async fn fate(issuers: &Issuers, token: &str) -> &'static str {
    match issuers.verify(token).await {
        Ok(_) => "ok",
        Err(TokenError::UnknownKey) => "unknown key",
        Err(TokenError::Unavailable { .. }) => "unavailable",
        Err(_) => "another error",
    }
}

#[tokio::test]
async fn a_new_key_is_found_at_once_and_made_up_ones_are_looked_for_once_an_interval() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    let corp = Issuer::start(&[&old]).await;
    let (issuers, clock) = issuers(&corp);
    assert_eq!(fate(&issuers, &token(&corp, &old)).await, "ok");
    assert_eq!(corp.asked(), 1);
    clock.advance(MINUTE);
    corp.lists(&[&new, &old]);
    assert_eq!(fate(&issuers, &token(&corp, &new)).await, "ok");
    assert_eq!(corp.asked(), 2);
    for id in ["x", "y", "z"] {
        let made_up = Key::es256(id);
        assert_eq!(fate(&issuers, &token(&corp, &made_up)).await, "unknown key");
    }
    assert_eq!(corp.asked(), 2, "the server was asked a moment ago");
    clock.advance(MINUTE);
    let many = futures_util::future::join_all((0..20).map(|_| async {
        let made_up = Key::es256("w");
        fate(&issuers, &token(&corp, &made_up)).await
    }));
    assert!(many.await.iter().all(|fate| *fate == "unknown key"));
    assert_eq!(corp.asked(), 3);
}

#[tokio::test]
async fn a_key_that_was_taken_back_is_gone_within_minutes() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    let corp = Issuer::start(&[&old]).await;
    let (issuers, clock) = issuers(&corp);
    let by_old = token(&corp, &old);
    assert_eq!(fate(&issuers, &by_old).await, "ok");
    corp.lists(&[&new]);
    clock.advance(9 * MINUTE);
    assert_eq!(fate(&issuers, &by_old).await, "ok");
    clock.advance(2 * MINUTE);
    assert_eq!(fate(&issuers, &by_old).await, "unknown key");
    // Another key under the same id is another key.
    let twin = Key::es256("old");
    corp.lists(&[&twin]);
    clock.advance(MINUTE);
    assert_eq!(fate(&issuers, &by_old).await, "another error");
    assert_eq!(fate(&issuers, &token(&corp, &twin)).await, "ok");
}

#[tokio::test]
async fn while_the_server_is_down_known_keys_hold_for_a_day() {
    let (key, other) = (Key::es256("k1"), Key::es256("k2"));
    let corp = Issuer::start(&[&key]).await;
    let (issuers, clock) = issuers(&corp);
    assert_eq!(fate(&issuers, &token(&corp, &key)).await, "ok");
    corp.is(Mood::Down);
    clock.advance(60 * MINUTE);
    assert_eq!(fate(&issuers, &token(&corp, &key)).await, "ok");
    assert_eq!(fate(&issuers, &token(&corp, &other)).await, "unknown key");
    clock.advance(22 * 60 * MINUTE);
    assert_eq!(fate(&issuers, &token(&corp, &key)).await, "ok");
    clock.advance(2 * 60 * MINUTE);
    assert_eq!(fate(&issuers, &token(&corp, &key)).await, "unavailable");
    corp.is(Mood::Good);
    assert_eq!(fate(&issuers, &token(&corp, &key)).await, "unavailable", "it was asked a moment ago");
    clock.advance(Duration::from_secs(5));
    assert_eq!(fate(&issuers, &token(&corp, &key)).await, "ok");
}

#[tokio::test]
async fn keys_for_something_else_sign_no_token() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[]).await;
    for (change, said) in [
        (json!({}), "ok"),
        (json!({"use": null}), "ok"),
        (json!({"key_ops": ["verify"]}), "ok"),
        (json!({"alg": "ES256"}), "ok"),
        (json!({"use": "enc"}), "unknown key"),
        (json!({"key_ops": ["encrypt"]}), "unknown key"),
        (json!({"alg": "ES384"}), "unknown key"),
        (json!({"crv": "P-384"}), "unknown key"),
        (json!({"kty": "oct", "k": "c2VjcmV0"}), "unknown key"),
        (json!({"x": "AAAA"}), "unknown key"),
        (json!({"kid": "K1"}), "unknown key"),
        (json!({"kid": null}), "unknown key"),
    ] {
        let listed = Key { listed: with(key.listed.clone(), change.clone()), ..Key::es256("k1") };
        corp.lists(&[&listed]);
        let (issuers, _) = issuers(&corp);
        assert_eq!(fate(&issuers, &token(&corp, &key)).await, said, "{change}");
    }
}

#[tokio::test]
async fn a_token_with_one_character_changed_is_no_token() {
    let key = Key::es256("k1");
    let corp = Issuer::start(&[&key]).await;
    let (issuers, _) = issuers(&corp);
    let good = token(&corp, &key);
    assert_eq!(fate(&issuers, &good).await, "ok");
    for (place, character) in good.char_indices() {
        let other = if character == 'A' { 'B' } else { 'A' };
        let changed = format!("{}{other}{}", &good[..place], &good[place + 1..]);
        let cut = &good[..place];
        for bad in [changed.as_str(), cut] {
            assert_ne!(fate(&issuers, bad).await, "ok", "{bad}");
        }
    }
}

#[tokio::test]
async fn without_an_id_the_only_key_counts() {
    let (one, two) = (Key::es256("k1"), Key::es256("k2"));
    let corp = Issuer::start(&[&one]).await;
    let nameless = one.token(&with(one.header(), json!({"kid": null})), &corp.claims("u-ana"));
    let (with_one, _) = issuers(&corp);
    assert_eq!(fate(&with_one, &nameless).await, "ok");
    corp.lists(&[&one, &two]);
    let (with_two, _) = issuers(&corp);
    assert_eq!(fate(&with_two, &nameless).await, "unknown key");
}
