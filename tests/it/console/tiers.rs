//! Requests that need several people, as pages and the API show them.

use axum::http::{Method, StatusCode};
use portcullis::approval::{ApprovalId, State};
use portcullis::audit::Event;
use portcullis::policy::{BindTo, Escalation, Seat};
use serde_json::json;

use super::house::House;

/// One of `dba` and one of `approvers`; what it would run may have any values.
fn ask(house: &House) -> ApprovalId {
    house.ask_with("UPDATE orders SET status = $1", |new| {
        let seat = |group: &str| Seat { groups: vec![group.into()], count: 1 };
        new.requirement.escalations = vec![Escalation {
            seats: vec![seat("dba"), seat("approvers")],
            bind_to: BindTo::Text,
            ..Escalation::by_one("big_write", "m", &["dba"], 600)
        }];
        new.parameters = vec![Some("shipped".into())];
    })
}

#[tokio::test]
async fn everybody_sees_who_has_agreed_and_who_has_yet_to() {
    let house = House::new();
    let id = ask(&house);
    let path = format!("/approvals/{id}");
    let (dora, priya) = (house.sign_in("dora").await, house.sign_in("priya").await);
    let page = house.get(&path, &dora).await.body;
    for part in ["0 of 2", "dba: <span class=\"aside\">open</span>", "any bind values", "Your decision"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let form = format!("form_token={}&note=seen+%3Cb%3E", house.form_token(&dora).await);
    assert_eq!(house.post(&format!("{path}/approve"), &dora, &form).await.status, StatusCode::SEE_OTHER);
    let own = house.get(&path, &dora).await.body;
    assert!(!own.contains("Your decision") && own.contains("✓ dora"), "{own}");
    let again = house.post(&format!("{path}/approve"), &dora, &form).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert!(again.body.contains("one person has one vote"), "{}", again.body);
    let page = house.get(&path, &priya).await.body;
    for part in ["1 of 2", "✓ dora", "seen &#60;b&#62;", "Your decision"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let list = house.get("/approvals", &priya).await.body;
    assert!(list.contains("1 of 2: dba ✓ dora, approvers open"), "{list}");
    assert_eq!(house.state(&id), State::Pending);
    let form = format!("form_token={}", house.form_token(&priya).await);
    house.post(&format!("{path}/approve"), &priya, &form).await;
    assert_eq!(house.state(&id), State::Approved);
    let told = house.records().await.into_iter().filter_map(|event| match event {
        Event::ApprovalChanged { state, by, progress, .. } => Some(format!("{state} by {by}: {progress}")),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "pending by dora: 1 of 2: dba ✓ dora, approvers open",
            "approved by priya: 2 of 2: dba ✓ dora, approvers ✓ priya",
        ]
    );
}

#[tokio::test]
async fn the_api_tells_seats_and_votes_and_refuses_a_yes_that_fills_none() {
    let house = House::new();
    let id = ask(&house);
    let path = format!("/api/v1/approvals/{id}");
    let yes = async |name: &str| {
        house.api(Method::POST, &format!("{path}/approve"), name, json!({"note": "ok"})).await
    };
    let (status, body) = yes("priya").await;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("pending")), "{body}");
    let seats = json!([
        {"rule": "big_write", "groups": ["dba"], "exclude_owner": true, "by": ""},
        {"rule": "big_write", "groups": ["approvers"], "exclude_owner": true, "by": "priya"},
    ]);
    assert_eq!(body["progress"], json!({"needed": 2, "filled": 1, "seats": seats}));
    assert_eq!((&body["votes"][0]["by"], &body["votes"][0]["vote"]), (&json!("priya"), &json!("approve")));
    for (name, why) in [("priya", "one person has one vote"), ("ana", "you own `bot`"), ("zed", "")] {
        let (status, body) = yes(name).await;
        assert!(status.is_client_error(), "{name}: {body}");
        assert!(body["message"].as_str().unwrap().contains(why), "{body}");
    }
    assert_eq!(house.state(&id), State::Pending);
    assert_eq!(yes("dora").await.1["state"], "approved");
}
