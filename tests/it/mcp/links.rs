//! The link to a review, shown to a person by clients that answer by themselves that somebody has agreed: nothing runs by
//! that.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ElicitationCapability, InputRequest,
    InputResponses, UrlElicitationCapability,
};
use serde_json::{Value, json};

use portcullis::approval::Vote;
use portcullis::mcp::ReviewLinks;

use super::governed::{SCOPE, Shop, shop, shop_showing, status_of};
use super::stand::{Client, Era, Stand};

const SEND: &str = "UPDATE orders SET status = 'sent' WHERE id = 1";

async fn shower(stand: &Stand, era: Era) -> Client {
    let capability = ElicitationCapability::new().with_url(UrlElicitationCapability::new());
    let able = ClientCapabilities::builder().enable_elicitation_with(capability).build();
    stand.able_client("robin", era, able).await
}

fn send(wait_s: u64) -> Value {
    json!({"sql": SEND, "reason": "test", "wait_s": wait_s})
}

fn asked(arguments: &Value) -> CallToolRequestParams {
    CallToolRequestParams::new("execute").with_arguments(arguments.as_object().cloned().unwrap())
}

#[tokio::test]
async fn a_client_that_agrees_by_itself_runs_nothing() {
    for era in Era::ALL {
        let Shop { stand, database } = shop_showing(SCOPE, ReviewLinks::Always).await;
        let client = shower(&stand, era).await;
        let (answer, is_error) = client.call("execute", send(1)).await;
        assert!(!is_error);
        assert_eq!(answer["status"], "pending_approval", "{era:?}: {answer}");
        assert_eq!(status_of(&database, 1).await, "new");
        assert_eq!(client.links(), [answer["review_url"].as_str().unwrap()]);
        let (again, _) = client.call("execute", send(0)).await;
        assert_eq!(again["approval_id"], answer["approval_id"]);
        assert_eq!(client.links().len(), 1, "once a request");
        assert_eq!(stand.gate.desk().requests(10).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn by_default_nobody_has_to_answer_before_the_call_is() {
    let Shop { stand, .. } = shop(SCOPE).await;
    let client = shower(&stand, Era::Stateless).await;
    assert_eq!(client.call("execute", send(0)).await.0["status"], "pending_approval");
    assert_eq!(client.links(), [""; 0]);
    let client = shower(&stand, Era::Session).await;
    let other =
        json!({"sql": "UPDATE orders SET status = 'sent' WHERE id = 2", "reason": "test", "wait_s": 1});
    assert_eq!(client.call("execute", other).await.0["status"], "pending_approval");
    assert_eq!(client.links().len(), 1, "beside the call");
}

#[tokio::test]
async fn nobody_is_shown_a_link_where_that_is_switched_off() {
    let Shop { stand, .. } = shop_showing(SCOPE, ReviewLinks::Off).await;
    for era in Era::ALL {
        let client = shower(&stand, era).await;
        assert_eq!(client.call("execute", send(1)).await.0["status"], "pending_approval");
        assert_eq!(client.links(), [""; 0]);
    }
}

#[tokio::test]
async fn whoever_calls_again_gets_what_became_of_the_same_request() {
    let Shop { stand, database } = shop_showing(SCOPE, ReviewLinks::Always).await;
    let client = shower(&stand, Era::Stateless).await;
    let arguments = send(10);
    let CallToolResponse::InputRequired(question) = client.call_tool_once(asked(&arguments)).await.unwrap()
    else {
        panic!("no question");
    };
    let state = question.request_state.unwrap();
    let requests = question.input_requests.unwrap();
    assert!(matches!(requests["review"], InputRequest::Elicitation(_)), "{requests:?}");
    let id = stand.gate.desk().requests(1).unwrap()[0].id.to_string();
    stand.decide("priya", &id, Vote::Approve, "").await;
    for action in ["accept", "decline", "cancel"] {
        let answers = InputResponses::from([("review".to_owned(), json!({ "action": action }))]);
        let again = asked(&arguments).with_request_state(&state).with_input_responses(answers);
        let CallToolResponse::Complete(result) = client.call_tool_once(again).await.unwrap() else {
            panic!()
        };
        let answer = result.structured_content.unwrap();
        assert_eq!(
            (&answer["status"], &answer["rows_affected"]),
            (&json!("ok"), &json!(1)),
            "{action}: {answer}"
        );
    }
    assert_eq!(status_of(&database, 1).await, "sent");
    assert_eq!(stand.gate.desk().requests(10).unwrap().len(), 1, "nobody was asked twice");
}

#[tokio::test]
async fn a_state_is_of_no_use_for_another_call_or_identity() {
    let Shop { stand, database } = shop_showing(SCOPE, ReviewLinks::Always).await;
    let client = shower(&stand, Era::Stateless).await;
    let arguments = send(0);
    let CallToolResponse::InputRequired(question) = client.call_tool_once(asked(&arguments)).await.unwrap()
    else {
        panic!("no question");
    };
    let state = question.request_state.unwrap();
    let mallory = stand.client("mallory", Era::Stateless).await;
    let other = json!({"sql": "DELETE FROM orders WHERE id = 1", "reason": "test", "wait_s": 0});
    let tries = [
        (&mallory, asked(&arguments).with_request_state(&state)),
        (&client, asked(&other).with_request_state(&state)),
        (&client, asked(&arguments).with_request_state(format!("{state}A"))),
        (&client, asked(&arguments).with_request_state("")),
    ];
    for (client, request) in tries {
        let error = client.call_tool_once(request).await.unwrap_err().to_string();
        assert!(error.contains("`requestState` is not of this call"), "{error}");
    }
    assert_eq!(status_of(&database, 1).await, "new");
}
