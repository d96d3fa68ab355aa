//! Bundles from files and servers.

use axum::http::StatusCode;
use portcullis::policy::Source;
use portcullis::policy::bundle::{Algorithm, Plan, PrivateKey, build, sign};

use super::server::Server;
use super::{Place, add_on, denying, write};
use crate::faults::until;

fn from_server(server: &Server, more: &str) -> String {
    format!(
        "[[policy.bundle]]\nname = \"central\"\nurl = \"{}\"\npoll_min_s = 1\npoll_max_s = 1\n{more}\n",
        server.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_bundle_is_in_force_soon_and_fetched_once() {
    let server = Server::start(denying("one")).await;
    let place = Place::new(&from_server(&server, "token_command = \"echo of-the-server\""));
    let running = place.start().await;
    assert_eq!(running.denied().await, ["one"]);
    until("the server is asked again", async || server.asked().len() > 2).await;
    let asked = server.asked();
    assert!(asked[0].get("if-none-match").is_none());
    assert_eq!(asked[1].get("if-none-match").unwrap(), "\"v1\"");
    assert_eq!(asked[1].get("authorization").unwrap(), "Bearer of-the-server");
    assert_eq!(asked[1].get("prefer").unwrap(), "modes=snapshot");
    server.publish(denying("two"));
    until("the second is in force", async || running.denied().await == ["two"]).await;
    let status = &running.gateway.bundles().status()[0];
    assert_eq!((status.revision.as_deref(), status.etag.as_deref()), (Some("two"), Some("\"v2\"")));
    assert_eq!(status.last_error, None);
    assert!(status.since.is_some() && status.last_success.is_some());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_bundle_changes_nothing_and_is_announced_once() {
    let server = Server::start(denying("one")).await;
    let place = Place::new(&from_server(&server, ""));
    let running = place.start().await;
    let truncated = denying("two")[..100].to_vec();
    let fails = Source::file("a_test.rego", "package portcullis.session.central_test\n\ntest_a if false\n");
    let fails = build(&[add_on("two"), fails], &Plan::named("two")).unwrap();
    let giving = "package portcullis.session.central\n\nallow := true\n";
    let giving = build(&[Source::file("a.rego", giving)], &Plan::named("two")).unwrap();
    let recursive =
        "package portcullis.session.central\n\ndeny contains {\"rule\": f(1)}\n\nf(x) := f(x + 1)\n";
    let recursive = build(&[Source::file("a.rego", recursive)], &Plan::named("two")).unwrap();
    let data = build(&[Source::file("data.json", "{\"agents\": {}}")], &Plan::named("two")).unwrap();
    for (bad, part) in [
        (truncated, "the archive is cut off"),
        (fails, "central:a_test.rego:3: the test `portcullis.session.central_test.test_a` fails"),
        (giving, "central:a.rego:3: `allow` gives something, and this bundle may not"),
        (recursive, "`portcullis.session.central.f` refers to itself"),
        (data, "`data.agents` can't be a document"),
        (b"<html>".to_vec(), "is not gzip"),
    ] {
        server.publish(bad);
        running.refuses("central", part).await;
        assert_eq!(running.denied().await, ["one"], "{part}");
        until("it is announced", async || running.times_announced(part) == 1).await;
    }
    let before = server.asked().len();
    until("the server is asked again", async || server.asked().len() > before + 1).await;
    assert_eq!(running.times_announced("is not gzip"), 1, "{:?}", running.announced());
    server.publish(denying("three"));
    until("a good one is in force", async || running.denied().await == ["three"]).await;
    until("nothing is wrong any more", async || running.error_of("central").is_none()).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_good_bundle_serves_while_its_server_does_not() {
    let server = Server::start(denying("one")).await;
    let place = Place::new(&from_server(&server, ""));
    let running = place.start().await;
    running.stop().await;
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::FOUND, StatusCode::NOT_MODIFIED] {
        server.answer_only(status);
        let running = place.start().await;
        assert_eq!(running.denied().await, ["one"]);
        let error = running.error_of("central").unwrap();
        assert!(error.contains(status.as_str()), "{error}");
        running.stop().await;
    }
    server.answer_only(StatusCode::OK);
    server.publish(denying("two")[..50].to_vec());
    let running = place.start().await;
    assert_eq!(running.denied().await, ["one"], "a broken one is no better than none");
    running.stop().await;
    drop(server);
    let running = place.start().await;
    assert_eq!(running.denied().await, ["one"]);
    running.stop().await;
    // What is kept is no more trusted than what is fetched.
    write(&place.home.path().join("state/bundles/central.tar.gz"), &denying("two")[..50]);
    assert!(place.refusal().await.contains("bundle `central` is not there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_required_bundle_there_is_no_start() {
    let server = Server::start(denying("one")).await;
    server.answer_only(StatusCode::NOT_FOUND);
    let refusal = Place::new(&from_server(&server, "")).refusal().await;
    assert!(refusal.contains("bundle `central` is not there"), "{refusal}");
    assert!(refusal.contains("404") && refusal.contains("required = false"), "{refusal}");
    let place = Place::new(&from_server(&server, "required = false"));
    let running = place.start().await;
    assert_eq!(running.denied().await, Vec::<String>::new());
    server.answer_only(StatusCode::OK);
    until("it is in force", async || running.denied().await == ["one"]).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_bundles_signed_by_the_named_key_are_used() {
    let signed = |rule: &str, secret: &str, scope: &str| {
        let key = PrivateKey::parse(Algorithm::Hs256, secret).unwrap();
        sign(&denying(rule), &key, "release", scope).unwrap()
    };
    let server = Server::start(signed("one", "of-the-release", "prod")).await;
    let place = Place::new(&format!(
        "[[policy.key]]\nid = \"release\"\nalgorithm = \"HS256\"\nsecret_command = \"echo of-the-release\"\n{}",
        from_server(&server, "keys = [\"release\"]\nscope = \"prod\"")
    ));
    let running = place.start().await;
    assert_eq!(running.denied().await, ["one"]);
    for (bad, part) in [
        (denying("two"), "there is none"),
        (signed("two", "of-somebody", "prod"), "it is not by the key `release`"),
        (signed("two", "of-the-release", "test"), "its scope is `test`, and `prod` is wanted"),
    ] {
        server.publish(bad);
        running.refuses("central", part).await;
        assert_eq!(running.denied().await, ["one"]);
    }
    running.stop().await;
    // What an earlier run kept must be signed by the keys of now.
    place.write(
        "portcullis.toml",
        &std::fs::read_to_string(place.home.path().join("portcullis.toml"))
            .unwrap()
            .replace("echo of-the-release", "echo rotated"),
    );
    assert!(place.refusal().await.contains("bundle `central` is not there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_come_from_files_and_folders_too() {
    let place = Place::new(
        "[[policy.bundle]]\nname = \"file\"\npath = \"rules.tar.gz\"\npoll_min_s = 1\npoll_max_s = 1\n\
         [[policy.bundle]]\nname = \"folder\"\npath = \"more\"\npoll_min_s = 1\npoll_max_s = 1\n",
    );
    write(&place.home.path().join("rules.tar.gz"), &denying("one"));
    place.write("more/.manifest", "{\"roots\": [\"portcullis/session/more\"]}");
    place.write("more/.swp", "an editor's");
    place.write(
        "more/a.rego",
        "package portcullis.session.more\n\ndeny contains {\"rule\": \"more\", \"message\": \"no\", \"hint\": \"\"} if count(input.settings) > 0\n",
    );
    let running = place.start().await;
    assert_eq!(running.denied().await, ["more", "one"]);
    write(&place.home.path().join("rules.tar.gz"), &denying("two"));
    until("the second is in force", async || running.denied().await == ["more", "two"]).await;
    // A bundle that claims what another has stays out, and the rest stays in.
    place.write("more/.manifest", "{\"roots\": [\"portcullis/session\"]}");
    let overlap = "have roots that overlap";
    running.refuses("folder", overlap).await;
    assert_eq!(running.denied().await, ["more", "two"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_alone_are_a_rulebook() {
    let whole = [
        Source::file("session.rego", "package portcullis.session\n\nallow := true\n"),
        Source::file("statement.rego", "package portcullis.statement\n\nallow := true\n"),
        Source::file("approval.rego", "package portcullis.approval\n\neligible := true\n"),
    ];
    let path =
        "[policy]\npath = \"\"\n[[policy.bundle]]\nname = \"all\"\npath = \"all.tar.gz\"\ngrants = true\n";
    let place = Place::new(path);
    std::fs::remove_dir_all(place.home.path().join("policies")).unwrap();
    write(&place.home.path().join("all.tar.gz"), &build(&whole, &Plan::named("v1")).unwrap());
    let running = place.start().await;
    assert_eq!(running.denied().await, Vec::<String>::new());
    running.stop().await;
    let mute = Place::new(&path.replace("grants = true", ""));
    write(&mute.home.path().join("all.tar.gz"), &build(&whole, &Plan::named("v1")).unwrap());
    assert!(mute.refusal().await.contains("all:approval.rego"));
}
