//! Tasks: a held statement as a client of the newest era polls it, if it says that it can.

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, ClientCapabilities, CreateTaskResult,
    DetailedTask, GetTaskParams, TaskPayload, TaskStatus,
};
use serde_json::{Value, json};

use portcullis::approval::{ApprovalId, State, Vote};

use super::governed::{SCOPE, Shop, shop, status_of};
use super::stand::{Client, Era, Stand};

const SEND: &str = "UPDATE orders SET status = 'sent' WHERE id = 1";

fn able() -> ClientCapabilities {
    ClientCapabilities::builder().enable_tasks().build()
}

async fn tasker(stand: &Stand) -> Client {
    stand.able_client("robin", Era::Stateless, able()).await
}

async fn ask(client: &Client, tool: &'static str, arguments: Value) -> CallToolResponse {
    let arguments = arguments.as_object().cloned().unwrap();
    client.call_tool_once(CallToolRequestParams::new(tool).with_arguments(arguments)).await.unwrap()
}

async fn task(client: &Client, sql: &str, more: Value) -> CreateTaskResult {
    let mut arguments = json!({"sql": sql, "reason": "test", "wait_s": 0});
    arguments.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    match ask(client, "execute", arguments).await {
        CallToolResponse::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

async fn look(client: &Client, id: &str) -> DetailedTask {
    client.get_task(GetTaskParams::new(id)).await.unwrap().task
}

/// The object that a model gets of a task that has ended, and whether it counts as an error.
fn outcome(task: &DetailedTask) -> (Value, bool) {
    let TaskPayload::Completed { result } = &task.payload else { panic!("{task:?}") };
    (result["structuredContent"].clone(), result["isError"] == true)
}

#[tokio::test]
async fn a_held_write_is_a_task_that_runs_once_when_it_is_asked_for() {
    let Shop { stand, database } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    let created = task(&client, SEND, json!({})).await;
    let id = created.task.task_id.as_str();
    let waiting = look(&client, id).await;
    assert_eq!(waiting.status(), TaskStatus::Working);
    let message = waiting.task.status_message.unwrap();
    assert!(message.contains("approvers") && message.contains("/approvals/"), "{message}");
    assert_eq!(status_of(&database, 1).await, "new");

    stand.decide("priya", id, Vote::Approve, "").await;
    let done = look(&client, id).await;
    let (answer, is_error) = outcome(&done);
    assert!(!is_error, "{answer}");
    assert_eq!((&answer["status"], &answer["rows_affected"]), (&json!("ok"), &json!(1)));
    assert_eq!(status_of(&database, 1).await, "sent");
    database.execute("UPDATE orders SET status = 'again' WHERE id = 1").await;
    let again = outcome(&look(&client, id).await).0;
    assert_eq!(again["repeated"], true);
    assert_eq!(status_of(&database, 1).await, "again", "it does not run again");
}

#[tokio::test]
async fn a_task_keeps_its_callers_own_ceiling() {
    let Shop { stand, database } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    let sql = "UPDATE orders SET status = 'sent' WHERE id < 4";
    let created = task(&client, sql, json!({"max_affected": 2})).await;
    let id = created.task.task_id.as_str();
    stand.decide("priya", id, Vote::Approve, "").await;
    let (answer, is_error) = outcome(&look(&client, id).await);
    assert!(is_error);
    assert_eq!(answer["error"]["code"], "too_many_affected", "{answer}");
    assert_eq!(status_of(&database, 1).await, "new");
}

#[tokio::test]
async fn a_refused_task_ends_with_who_and_why() {
    let Shop { stand, .. } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    let created = task(&client, SEND, json!({})).await;
    stand.decide("priya", &created.task.task_id, Vote::Deny, "not on a Friday").await;
    let (answer, is_error) = outcome(&look(&client, &created.task.task_id).await);
    assert!(is_error);
    assert_eq!(answer["status"], "denied");
    assert_eq!(answer["approval"]["approver_note"], "not on a Friday", "{answer}");
}

#[tokio::test]
async fn a_cancelled_task_never_runs_even_if_it_was_approved() {
    let Shop { stand, database } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    for approve_first in [false, true] {
        let created = task(&client, SEND, json!({})).await;
        let id = created.task.task_id.as_str();
        if approve_first {
            stand.decide("priya", id, Vote::Approve, "").await;
        }
        client.cancel_task(CancelTaskParams::new(id)).await.unwrap();
        assert_eq!(look(&client, id).await.status(), TaskStatus::Cancelled);
        let request = stand.gate.desk().request(&ApprovalId::parse(id).unwrap()).unwrap();
        assert_eq!(request.state, State::Withdrawn);
        client.cancel_task(CancelTaskParams::new(id)).await.unwrap();
    }
    assert_eq!(status_of(&database, 1).await, "new");
    stand.gate.close_ledger().await.unwrap();
    assert_eq!(stand.ledger.text().matches("its requester took it back").count(), 2);
}

#[tokio::test]
async fn cancelling_what_has_run_changes_nothing() {
    let Shop { stand, .. } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    let created = task(&client, SEND, json!({})).await;
    let id = created.task.task_id.as_str();
    stand.decide("priya", id, Vote::Approve, "").await;
    outcome(&look(&client, id).await);
    client.cancel_task(CancelTaskParams::new(id)).await.unwrap();
    assert_eq!(outcome(&look(&client, id).await).0["status"], "ok");
}

#[tokio::test]
async fn a_task_outlives_the_process_and_its_client() {
    let Shop { stand, database } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    let created = task(&client, SEND, json!({})).await;
    client.hang_up().await;
    let stand = stand.restarted(SCOPE).await;
    let client = tasker(&stand).await;
    let id = created.task.task_id.as_str();
    assert_eq!(look(&client, id).await.status(), TaskStatus::Working);
    stand.decide("priya", id, Vote::Approve, "").await;
    assert_eq!(outcome(&look(&client, id).await).0["rows_affected"], 1);
    assert_eq!(status_of(&database, 1).await, "sent");
}

#[tokio::test]
async fn somebody_elses_task_is_an_unknown_one() {
    let Shop { mut stand, database } = shop(SCOPE).await;
    let robin = tasker(&stand).await;
    let mallory = stand.able_client("mallory", Era::Stateless, able()).await;
    let id = task(&robin, SEND, json!({})).await.task.task_id;
    stand.decide("priya", &id, Vote::Approve, "").await;
    let unknown = "00000000000000000000000000000000";
    for wrong in [id.as_str(), unknown, "' OR 1=1", &format!("{id}-5")] {
        let looked = mallory.get_task(GetTaskParams::new(wrong)).await.unwrap_err().to_string();
        let cancelled = mallory.cancel_task(CancelTaskParams::new(wrong)).await.unwrap_err().to_string();
        assert!(looked.contains("unknown task: ") && cancelled == looked, "{looked}");
        assert_eq!(looked.replace(wrong, "ID"), cancelled.replace(wrong, "ID"));
    }
    assert_eq!(status_of(&database, 1).await, "new", "nobody else's question runs it");
    stand.rotate("robin");
    stand.rescope(SCOPE);
    assert!(robin.get_task(GetTaskParams::new(&id)).await.is_err(), "the old token is no longer good");
    let again = tasker(&stand).await;
    assert_eq!(outcome(&look(&again, &id).await).0["status"], "ok", "the same identity by its new token");
}

#[tokio::test]
async fn only_who_declares_tasks_in_the_newest_era_gets_one() {
    let Shop { stand, .. } = shop(SCOPE).await;
    let arguments = json!({"sql": SEND, "reason": "test", "wait_s": 0});
    let clients = [
        stand.client("robin", Era::Stateless).await,
        stand.able_client("robin", Era::Session, able()).await,
        stand.client("robin", Era::Session).await,
    ];
    for client in clients {
        let (answer, _) = client.call("execute", arguments.clone()).await;
        assert_eq!(answer["status"], "pending_approval", "{answer}");
        let id = answer["approval_id"].as_str().unwrap();
        assert!(client.get_task(GetTaskParams::new(id)).await.is_err());
    }
    let session = stand.able_client("robin", Era::Session, able()).await;
    assert!(!session.peer_info().unwrap().capabilities.supports_tasks());
    assert!(tasker(&stand).await.peer_info().unwrap().capabilities.supports_tasks());
}

#[tokio::test]
async fn what_is_not_held_is_answered_as_ever() {
    let Shop { stand, .. } = shop(SCOPE).await;
    let client = tasker(&stand).await;
    let (answer, is_error) = client.call("query", json!({"sql": "SELECT id FROM orders WHERE id = 1"})).await;
    assert!(!is_error, "{answer}");
    let everything = json!({"sql": "UPDATE orders SET status = 'gone'", "reason": "test"});
    assert_eq!(client.call("execute", everything).await.0["status"], "denied");
}
