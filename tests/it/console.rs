//! The console as people, programs and attackers meet it.

mod house;
mod tiers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use portcullis::approval::State;
use portcullis::audit::Event;
use serde_json::json;

use house::{HOST, House, decided, rules};

/// Every route, and what somebody gets who brings nothing.
const ROUTES: [(&str, &str, u16); 20] = [
    ("GET", "/", 303),
    ("GET", "/login", 200),
    ("POST", "/login", 422),
    ("POST", "/logout", 401),
    ("GET", "/approvals", 303),
    ("GET", "/approvals/{id}", 303),
    ("POST", "/approvals/{id}/{vote}", 401),
    ("GET", "/ledger", 303),
    ("GET", "/style.css", 200),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/api/v1/whoami", 401),
    ("GET", "/api/v1/approvals", 401),
    ("GET", "/api/v1/approvals/watch", 401),
    ("GET", "/api/v1/approvals/{id}", 401),
    ("POST", "/api/v1/approvals/{id}/{vote}", 401),
    ("GET", "/nothing", 404),
    ("GET", "/api/v1/nothing", 404),
    ("DELETE", "/approvals", 405),
    ("DELETE", "/api/v1/approvals", 405),
];

#[tokio::test]
async fn nobody_gets_anything_without_proof() {
    let house = House::new();
    let id = house.ask("UPDATE secret_table SET x = 1");
    let proofs = [
        (header::COOKIE, String::new()),
        (header::COOKIE, "portcullis=00000000".into()),
        (header::AUTHORIZATION, "Bearer token-of-nobody".into()),
        (header::AUTHORIZATION, "Basic token-of-priya".into()),
        (header::AUTHORIZATION, "Bearer".into()),
        (header::COOKIE, "portcullis=token-of-priya".into()),
    ];
    for (name, value) in proofs {
        for (method, path, expected) in ROUTES {
            let path = path.replace("{id}", id.as_str()).replace("{vote}", "approve");
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header(header::HOST, HOST)
                .header(&name, &value)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            let answer = house.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, expected, "{method} {path} with {value}");
            assert!(!answer.body.contains("secret_table"), "{method} {path}");
            assert_eq!(answer.headers["x-frame-options"], "DENY", "{method} {path}");
            let policy = answer.headers["content-security-policy"].to_str().unwrap();
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
            assert_eq!(answer.headers["cache-control"], "no-store", "{method} {path}");
        }
    }
    assert_eq!(house.state(&id), State::Pending);
}

#[test]
fn the_table_above_names_every_route() {
    let source = |name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    for (name, prefix) in [("pages.rs", ""), ("guard.rs", ""), ("api.rs", "/api/v1")] {
        let source = source(name);
        for part in source.split(".route(\"").skip(1) {
            let path = format!("{prefix}{}", part.split('"').next().unwrap());
            assert!(ROUTES.iter().any(|(_, route, _)| *route == path), "{path} is in no row");
        }
    }
}

#[tokio::test]
async fn a_person_signs_in_reads_and_approves_and_the_ledger_says_so() {
    let house = House::new();
    let id = house.ask("UPDATE orders SET status = 'shipped' WHERE id = 7");
    let cookie = house.sign_in("priya").await;
    let list = house.get("/approvals", &cookie).await;
    assert!(list.body.contains(&format!("/approvals/{id}")), "{}", list.body);
    let page = house.get(&format!("/approvals/{id}"), &cookie).await.body;
    for part in ["this changes rows", "ticket 12", "on behalf of ana", "write_in_scope", "mcp", "in 10 min"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let form = format!("form_token={}&note=checked", house.form_token(&cookie).await);
    let answer = house.post(&format!("/approvals/{id}/approve"), &cookie, &form).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    let page = house.get(&format!("/approvals/{id}"), &cookie).await.body;
    assert!(
        page.contains("priya at ") && page.contains("checked") && !page.contains("Your decision"),
        "{page}"
    );
    let approved = Event::ApprovalChanged {
        approval_id: id.to_string(),
        state: "approved".into(),
        by: "priya".into(),
        note: "checked".into(),
        progress: String::new(),
    };
    assert!(house.records().await.contains(&approved));
    let again = house.post(&format!("/approvals/{id}/deny"), &cookie, &form).await;
    assert_eq!(again.status, StatusCode::CONFLICT, "{}", again.body);
    assert!(again.body.contains("is approved already"), "{}", again.body);
}

#[tokio::test]
async fn programs_do_not_sign_in_and_do_not_decide() {
    let house = House::new();
    let id = house.ask_with("UPDATE t SET x = 1", |new| new.requester = "other".into());
    for name in ["bot", "job"] {
        let answer = house.post("/login", "", &format!("token=token-of-{name}")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
        assert!(
            answer.body.contains("belongs to a program") && !answer.headers.contains_key(header::SET_COOKIE)
        );
        for (method, path) in [
            (Method::GET, "/api/v1/approvals".to_owned()),
            (Method::GET, "/api/v1/approvals/watch".to_owned()),
            (Method::GET, format!("/api/v1/approvals/{id}")),
            (Method::POST, format!("/api/v1/approvals/{id}/approve")),
        ] {
            let (status, body) = house.api(method, &path, name, json!({"note": "me"})).await;
            assert_eq!(
                (status, body["error"].as_str()),
                (StatusCode::FORBIDDEN, Some("people_only")),
                "{path}"
            );
        }
        let (status, body) = house.api_get("/api/v1/whoami", name).await;
        assert_eq!((status, body["name"].as_str()), (StatusCode::OK, Some(name)));
    }
    assert_eq!(house.state(&id), State::Pending);
    let refused =
        |event: &Event| matches!(event, Event::Refused { claimed_identity, .. } if claimed_identity == "bot");
    assert!(house.records().await.iter().any(refused), "the attempt is on record");
}

/// Who may see a request of bot's, and what the gate says to their yes.
#[tokio::test]
async fn everybody_sees_and_decides_what_is_theirs() {
    let table = [
        ("priya", 200, 200, ""),
        ("ana", 200, 403, "owner_approves"),
        ("dora", 404, 404, "not_found"),
        ("zed", 404, 404, "not_found"),
    ];
    for (name, sees, decides, rule) in table {
        let house = House::new();
        let id = house.ask("UPDATE t SET x = 1");
        let cookie = house.sign_in(name).await;
        assert_eq!(house.get(&format!("/approvals/{id}"), &cookie).await.status, sees, "{name}");
        assert_eq!(house.get("/approvals", &cookie).await.body.contains(id.as_str()), sees == 200, "{name}");
        let (status, _) = house.api_get(&format!("/api/v1/approvals/{id}"), name).await;
        assert_eq!(status, sees, "{name}");
        let (_, list) = house.api_get("/api/v1/approvals", name).await;
        assert_eq!(list["approvals"].as_array().unwrap().len(), usize::from(sees == 200), "{name}");
        let (_, list) = house.api_get("/api/v1/approvals/watch", name).await;
        assert_eq!(list["approvals"].as_array().unwrap().len(), usize::from(sees == 200), "{name}");

        let form = format!("form_token={}&note=yes", house.form_token(&cookie).await);
        let page = house.post(&format!("/approvals/{id}/approve"), &cookie, &form).await;
        assert_eq!(page.status, if decides == 200 { 303 } else { decides }, "{name}: {}", page.body);
        assert!(page.body.contains(rule), "{name}: {}", page.body);
        let expected = if decides == 200 { State::Approved } else { State::Pending };
        assert_eq!(house.state(&id), expected, "{name}");

        let other = house.ask("UPDATE t SET x = 2");
        let (status, body) = house
            .api(Method::POST, &format!("/api/v1/approvals/{other}/approve"), name, json!({"note": ""}))
            .await;
        assert_eq!(status, decides, "{name}: {body}");
        assert_eq!(body["error"].as_str().unwrap_or_default(), rule, "{name}: {body}");
    }
}

#[tokio::test]
async fn nobody_decides_on_what_they_asked_for_themselves() {
    let house = House::new();
    let id = house.ask_with("UPDATE t SET x = 1", |new| {
        new.requester = "priya".into();
        new.owner = String::new();
    });
    let cookie = house.sign_in("priya").await;
    let page = house.get(&format!("/approvals/{id}"), &cookie).await.body;
    assert!(page.contains("You asked for this") && !page.contains("Your decision"), "{page}");
    for vote in ["approve", "deny"] {
        let (status, _) = house
            .api(Method::POST, &format!("/api/v1/approvals/{id}/{vote}"), "priya", json!({"note": "me"}))
            .await;
        assert!(status.is_client_error(), "{status}");
    }
    assert_eq!(house.state(&id), State::Pending);
}

#[tokio::test]
async fn a_form_of_another_session_or_site_changes_nothing() {
    let house = House::new();
    let id = house.ask("UPDATE t SET x = 1");
    let path = format!("/approvals/{id}/approve");
    let cookie = house.sign_in("priya").await;
    let own = house.form_token(&cookie).await;
    let others = house.form_token(&house.sign_in("priya").await).await;
    assert_ne!(own, others);
    for form in
        [format!("form_token={others}"), format!("form_token={}", "0".repeat(64)), "form_token=".into()]
    {
        let answer = house.post(&path, &cookie, &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{form}");
        assert!(answer.body.contains("not made for your session"), "{}", answer.body);
    }
    assert_eq!(house.post(&path, &cookie, "note=x").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        house.post("/logout", &cookie, &format!("form_token={others}")).await.status,
        StatusCode::FORBIDDEN
    );
    for origin in
        ["https://evil.example", "null", "http://127.0.0.1:8433.evil.example", "http://localhost:8433"]
    {
        let request = Request::post(&path)
            .header(header::HOST, HOST)
            .header(header::ORIGIN, origin)
            .header(header::COOKIE, &cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = house.send(request.body(Body::from(format!("form_token={own}"))).unwrap()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{origin}");
        assert!(answer.body.contains("another site"), "{}", answer.body);
    }
    assert_eq!(house.state(&id), State::Pending);
}

#[tokio::test]
async fn a_name_that_is_not_ours_is_no_way_in() {
    let house = House::new();
    let cookie = house.sign_in("priya").await;
    for host in ["evil.example", "evil.example:8433", "127.0.0.1", "127.0.0.1:8434", ""] {
        for path in ["/approvals", "/api/v1/whoami", "/login", "/style.css"] {
            let request = Request::get(path)
                .header(header::HOST, host)
                .header(header::COOKIE, &cookie)
                .header(header::AUTHORIZATION, "Bearer token-of-priya");
            let answer = house.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
        }
    }
    let request = Request::get("/api/v1/whoami").header(header::AUTHORIZATION, "Bearer token-of-priya");
    let answer = house.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "no host at all");
    let request = Request::get("/login").header(header::HOST, "LocalHost:8433");
    assert_eq!(house.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_cookie_opens_no_api_and_the_bearer_token_no_page() {
    let house = House::new();
    let cookie = house.sign_in("priya").await;
    assert_eq!(house.get("/api/v1/approvals", &cookie).await.status, StatusCode::UNAUTHORIZED);
    let request = Request::get("/approvals")
        .header(header::HOST, HOST)
        .header(header::AUTHORIZATION, "Bearer token-of-priya");
    assert_eq!(house.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn text_of_strangers_stays_text() {
    let house = House::new();
    let markup = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'><b>";
    let id = house.ask_with(&format!("SELECT '{markup}' -- \u{202e}\u{200b} sеlect"), |new| {
        new.parameters = vec![Some(markup.into()), None];
        new.purpose = markup.into();
        new.message = markup.into();
        new.rule = markup.into();
        new.facts = json!({ "statements": markup, "terms": { "sent": markup, "masked": [[markup]] } });
        new.requester_groups = vec![markup.into()];
        new.database = markup.into();
    });
    let denied = house.gate.desk().vote(
        &house.ask_with("x", |new| new.purpose = markup.into()),
        "priya",
        &[],
        portcullis::approval::Vote::Deny,
        markup,
        |_| Vec::new(),
    );
    let denied = denied.unwrap().id;
    drop(house.ledger.append(decided(markup, "ana", "")).await.unwrap());
    let cookie = house.sign_in("ana").await;
    for path in
        ["/approvals".into(), format!("/approvals/{id}"), format!("/approvals/{denied}"), "/ledger".into()]
    {
        let page = house.get(&path, &cookie).await;
        assert_eq!(page.status, StatusCode::OK);
        for live in ["<script", "<img", "<b>", "onerror=alert(1)>\""] {
            assert!(!page.body.contains(live), "{path} holds {live}: {}", page.body);
        }
        assert!(page.body.contains("alert(1)"), "{path} shows it");
    }
    let page = house.get(&format!("/approvals/{id}"), &cookie).await.body;
    assert!(page.contains("U+202E") && page.contains("U+200B") && !page.contains('\u{202e}'), "{page}");
    assert!(page.contains("can&#x27;t be seen") || page.contains("can't be seen"), "{page}");
    assert!(page.contains("NULL"), "{page}");
}

#[tokio::test]
async fn ids_that_are_none_are_unknown() {
    let house = House::new();
    house.ask("UPDATE t SET x = 1");
    let cookie = house.sign_in("priya").await;
    let ids = [
        "0",
        "%00",
        "..%2f..%2fetc",
        "'%20OR%201=1--",
        "%F0%9F%92%A9",
        "00000000000000000000000000000000",
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF",
        "%3Cscript%3E",
    ];
    for id in ids {
        let page = house.get(&format!("/approvals/{id}"), &cookie).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{id}");
        assert!(page.body.contains("there is no such approval request"), "{id}: {}", page.body);
        let (status, body) = house.api_get(&format!("/api/v1/approvals/{id}"), "priya").await;
        assert_eq!((status, body["error"].as_str()), (StatusCode::NOT_FOUND, Some("not_found")), "{id}");
    }
    assert!(house.get("/approvals/%ff", &cookie).await.status.is_client_error());
    let token = house.form_token(&cookie).await;
    let id = house.ask("UPDATE t SET x = 2");
    let answer =
        house.post(&format!("/approvals/{id}/withdraw"), &cookie, &format!("form_token={token}")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_session_ends_by_time_by_sign_out_and_with_its_identity() {
    let house = House::new();
    let cookie = house.sign_in("priya").await;
    house.clock.advance(Duration::from_secs(8 * 3600 - 1));
    assert_eq!(house.get("/approvals", &cookie).await.status, StatusCode::OK);
    house.clock.advance(Duration::from_secs(1));
    let answer = house.get("/ledger", &cookie).await;
    assert_eq!(
        (answer.status, &answer.headers[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/login?next=/ledger".parse().unwrap())
    );

    let cookie = house.sign_in("priya").await;
    let form = format!("form_token={}", house.form_token(&cookie).await);
    assert_eq!(house.post("/logout", &cookie, &form).await.status, StatusCode::SEE_OTHER);
    assert_eq!(house.get("/approvals", &cookie).await.status, StatusCode::SEE_OTHER);

    let cookie = house.sign_in("priya").await;
    house.gate.replace_rules(rules("priya"));
    assert_eq!(house.get("/approvals", &cookie).await.status, StatusCode::SEE_OTHER);
    house.gate.replace_rules(rules(""));
    assert_eq!(house.get("/approvals", &cookie).await.status, StatusCode::SEE_OTHER, "it doesn't come back");
}

#[tokio::test]
async fn one_identity_holds_sixteen_sessions_and_the_oldest_gives_way() {
    let house = House::new();
    let mut cookies = Vec::new();
    for _ in 0..17 {
        cookies.push(house.sign_in("priya").await);
        house.clock.advance(Duration::from_secs(1));
    }
    let foreign = house.sign_in("ana").await;
    assert_eq!(house.get("/approvals", &cookies[0]).await.status, StatusCode::SEE_OTHER);
    for cookie in cookies[1..].iter().chain([&foreign]) {
        assert_eq!(house.get("/approvals", cookie).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn signing_in_leads_to_our_own_pages_only() {
    let house = House::new();
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/approvals/../x",
        "/approvals%0d%0aX:y",
        "",
    ] {
        let answer = house.post("/login", "", &format!("token=token-of-ana&next={next}")).await;
        assert_eq!(answer.headers[header::LOCATION], "/approvals", "{next}");
    }
    let answer = house.post("/login", "", "token=token-of-ana&next=/approvals/00ff").await;
    assert_eq!(answer.headers[header::LOCATION], "/approvals/00ff");
    let answer = house.post("/login", "", "token=token-of-nobody").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.body.contains("not known here") && !answer.headers.contains_key(header::SET_COOKIE));
}

#[tokio::test]
async fn a_no_needs_a_reason_at_page_and_api() {
    let house = House::new();
    let id = house.ask("UPDATE t SET x = 1");
    let cookie = house.sign_in("priya").await;
    let form = format!("form_token={}&note=+", house.form_token(&cookie).await);
    let answer = house.post(&format!("/approvals/{id}/deny"), &cookie, &form).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
    assert!(answer.body.contains("a denial needs a reason"), "{}", answer.body);
    let path = format!("/api/v1/approvals/{id}/deny");
    let (status, body) = house.api(Method::POST, &path, "priya", json!({})).await;
    assert_eq!((status, body["error"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("note_missing")));
    for broken in [json!("x"), json!({"note": 1}), json!({"nota": "x"})] {
        let (status, body) = house.api(Method::POST, &path, "priya", broken).await;
        assert!(status.is_client_error() && body["error"] == "bad_body", "{body}");
    }
    let (status, body) = house.api(Method::POST, &path, "priya", json!({"note": "x".repeat(20_000)})).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
    let (status, body) = house.api(Method::POST, &path, "priya", json!({"note": "too broad"})).await;
    assert_eq!((status, body["state"].as_str()), (StatusCode::OK, Some("denied")), "{body}");
    assert_eq!(body["decision_note"], "too broad");
}

#[tokio::test]
async fn the_api_lists_by_state_and_says_which_states_there_are() {
    let house = House::new();
    let first = house.ask("UPDATE t SET x = 1");
    house.ask("UPDATE t SET x = 2");
    house.gate.desk().withdraw(&first).unwrap();
    let (_, body) = house.api_get("/api/v1/approvals?state=withdrawn", "priya").await;
    assert_eq!(
        (body["approvals"].as_array().unwrap().len(), &body["approvals"][0]["id"]),
        (1, &json!(first))
    );
    let (_, body) = house.api_get("/api/v1/approvals", "priya").await;
    assert_eq!(body["approvals"].as_array().unwrap().len(), 2);
    let (status, body) = house.api_get("/api/v1/approvals?state=open", "priya").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["hint"].as_str().unwrap().contains("pending"), "{body}");
    let (status, _) = house.api_get("/api/v1/approvals?nonsense=1", "priya").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_watcher_hears_of_a_new_request_and_of_a_decision() {
    let house = Arc::new(House::new());
    let (_, body) = house.api_get("/api/v1/approvals/watch", "priya").await;
    let mut cursor = body["cursor"].as_u64().unwrap();
    let id = house.ask("UPDATE t SET x = 1");
    for expected in ["pending", "withdrawn"] {
        let watcher = tokio::spawn({
            let (house, path) =
                (Arc::clone(&house), format!("/api/v1/approvals/watch?since={cursor}&wait_s=20"));
            async move { house.api_get(&path, "priya").await.1 }
        });
        if expected == "withdrawn" {
            tokio::task::yield_now().await;
            house.gate.desk().withdraw(&id).unwrap();
        }
        let body = watcher.await.unwrap();
        assert_eq!(body["approvals"][0]["state"], expected, "{body}");
        cursor = body["cursor"].as_u64().unwrap();
    }
    let (status, body) =
        house.api_get(&format!("/api/v1/approvals/watch?since={cursor}&wait_s=0"), "priya").await;
    assert_eq!(
        (status, body["cursor"].as_u64()),
        (StatusCode::OK, Some(cursor)),
        "nothing new is an answer too"
    );
}

#[tokio::test]
async fn people_see_their_own_decisions_in_the_ledger_and_auditors_all() {
    let house = House::new();
    for (statement, who, owner) in [("SELECT 'of bot'", "bot", "ana"), ("SELECT 'of zed'", "zed", "")] {
        drop(house.ledger.append(decided(statement, who, owner)).await.unwrap());
    }
    let table = [("ana", true, false), ("zed", false, true), ("priya", false, false), ("dora", true, true)];
    for (name, of_bot, of_zed) in table {
        let page = house.get("/ledger", &house.sign_in(name).await).await.body;
        assert_eq!((page.contains("of bot"), page.contains("of zed")), (of_bot, of_zed), "{name}");
    }
}
