//! Who hears of changes: sessions by notification, later clients by a subscription; and whose token is no longer good
//! hears nothing.

use std::time::Duration;

use reqwest::StatusCode;
use rmcp::model::{ServerNotification, SubscriptionFilter};
use rmcp::service::Subscription;
use serde_json::json;

use super::governed::{SCOPE, Shop, shop, shop_with};
use super::stand::{Client, Era, Stand};

const READ_ONLY: &str = "[scope.shop]\nread = [\"public.*\"]\n";
const ORDERS: &str = "pg://shop/public/orders";

fn everything() -> SubscriptionFilter {
    SubscriptionFilter::builder()
        .tools_list_changed()
        .prompts_list_changed()
        .resources_list_changed()
        .resource_subscriptions([ORDERS, "pg://shop/hr/payroll", "file:///etc/passwd"])
        .build()
}

/// The next `count` notifications, in words and in order.
async fn told(subscription: &mut Subscription, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(match subscription.next().await.unwrap() {
            Some(ServerNotification::ToolListChangedNotification(_)) => "tools".to_owned(),
            Some(ServerNotification::PromptListChangedNotification(_)) => "prompts".to_owned(),
            Some(ServerNotification::ResourceListChangedNotification(_)) => "resources".to_owned(),
            Some(ServerNotification::ResourceUpdatedNotification(updated)) => updated.params.uri,
            other => panic!("{other:?} after {told:?}"),
        });
    }
    told.sort();
    told
}

async fn tools(client: &Client) -> Vec<String> {
    let list = client.list_tools(None).await.unwrap();
    list.tools.iter().map(|tool| tool.name.to_string()).collect()
}

#[tokio::test]
async fn a_session_is_told_when_its_tools_are_others() {
    let Shop { stand, .. } = shop(READ_ONLY).await;
    let client = stand.client("robin", Era::Session).await;
    let mallory = stand.client("mallory", Era::Session).await;
    assert!(!tools(&client).await.contains(&"execute".to_owned()));
    stand.rescope(SCOPE);
    for client in [&client, &mallory] {
        client.hears(&["tools", "prompts"]).await;
        assert!(tools(client).await.contains(&"execute".to_owned()));
    }
    stand.rescope("");
    client.hears(&["tools", "prompts", "resources"]).await;
    assert!(client.list_resources(None).await.unwrap().resources.is_empty());
}

#[tokio::test]
#[expect(deprecated, reason = "the older eras subscribe like this")]
async fn a_session_hears_of_resources_that_it_subscribed_to() {
    let Shop { stand, database } = shop(SCOPE).await;
    let client = stand.client("robin", Era::Session).await;
    client.call("my_access", json!({})).await;
    let subscribe = |uri: &str| client.subscribe(rmcp::model::SubscribeRequestParams::new(uri));
    subscribe(ORDERS).await.unwrap();
    subscribe("pg://shop/hr/payroll").await.unwrap();
    let error = subscribe("file:///etc/passwd").await.unwrap_err().to_string();
    assert!(error.contains("the address must look as those of"), "{error}");
    database.execute("ALTER TABLE orders ADD COLUMN note text").await;
    stand.look_again("shop").await;
    client.hears(&[ORDERS, "pg://shop/hr/payroll"]).await;
    client.unsubscribe(rmcp::model::UnsubscribeRequestParams::new("pg://shop/hr/payroll")).await.unwrap();
    database.execute("ALTER TABLE hr.payroll ADD COLUMN note text").await;
    stand.look_again("shop").await;
    let heard = client.hears(&[ORDERS]).await;
    assert!(!heard.contains(&"pg://shop/hr/payroll".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn a_subscription_tells_what_it_was_asked_for() {
    let Shop { stand, database } = shop(READ_ONLY).await;
    let client = stand.client("robin", Era::Stateless).await;
    client.call("my_access", json!({})).await;
    let mut all = client.listen(everything()).await.unwrap();
    let accepted = all.acknowledged().resource_subscriptions.clone().unwrap();
    assert_eq!(accepted, [ORDERS, "pg://shop/hr/payroll"], "only addresses of ours");
    let mut lists = client.listen(SubscriptionFilter::builder().tools_list_changed().build()).await.unwrap();

    stand.rescope(SCOPE);
    let hidden = "pg://shop/hr/payroll";
    assert_eq!(
        told(&mut all, 4).await,
        [hidden, ORDERS, "prompts", "tools"],
        "hidden ones too: or they'd show"
    );
    assert_eq!(told(&mut lists, 1).await, ["tools"]);

    database.execute("ALTER TABLE orders ADD COLUMN note text").await;
    stand.look_again("shop").await;
    assert_eq!(told(&mut all, 2).await, [hidden, ORDERS]);
    stand.rescope(READ_ONLY);
    assert_eq!(told(&mut lists, 1).await, ["tools"], "and nothing in between");
}

#[tokio::test]
async fn one_identity_cannot_listen_without_end() {
    let Shop { stand, .. } = shop(SCOPE).await;
    let (robin, mallory) =
        (stand.client("robin", Era::Stateless).await, stand.client("mallory", Era::Stateless).await);
    let filter = || SubscriptionFilter::builder().tools_list_changed().build();
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(robin.listen(filter()).await.unwrap());
    }
    let refused = async {
        let mut one_more = robin.listen(filter()).await?;
        one_more.next().await
    };
    let error = refused.await.unwrap_err().to_string();
    assert!(error.contains("too many subscriptions of this identity"), "{error}");
    assert!(mallory.listen(filter()).await.is_ok(), "others have places of their own");
    open.pop().unwrap().cancel().await.unwrap();
    let mut scopes = [READ_ONLY, SCOPE].into_iter().cycle();
    loop {
        let mut again = robin.listen(filter()).await.unwrap();
        stand.rescope(scopes.next().unwrap());
        if again.next().await.is_ok_and(|told| told.is_some()) {
            return;
        }
    }
}

#[tokio::test]
async fn who_got_another_token_hears_nothing_by_the_old_one() {
    let Shop { mut stand, .. } = shop(READ_ONLY).await;
    let (robin, mallory) =
        (stand.client("robin", Era::Stateless).await, stand.client("mallory", Era::Stateless).await);
    let mut of_robin = robin.listen(everything()).await.unwrap();
    let mut of_mallory = mallory.listen(everything()).await.unwrap();
    let old = stand.bearer("robin");
    let session = super::session(&stand, &old).await;
    stand.rotate("robin");
    stand.rescope(SCOPE);
    assert!(of_robin.next().await.unwrap().is_none(), "it ends without a word");
    assert_eq!(told(&mut of_mallory, 4).await.len(), 4);
    assert_eq!(stand.status_of("tools/list", &old).await, StatusCode::UNAUTHORIZED);
    let new = stand.bearer("robin");
    assert_eq!(stand.status_of("tools/list", &new).await, StatusCode::OK);
    while status_in(&stand, &session, &new).await != StatusCode::NOT_FOUND {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_is_gone_hears_nothing_any_more() {
    let Shop { mut stand, .. } = shop(READ_ONLY).await;
    let robin = stand.client("robin", Era::Stateless).await;
    let mut subscription = robin.listen(everything()).await.unwrap();
    let token = stand.bearer("robin");
    let session = super::session(&stand, &token).await;
    stand.remove("robin");
    stand.rescope(SCOPE);
    assert!(subscription.next().await.unwrap().is_none());
    assert_eq!(stand.status_of("tools/list", &token).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status_in(&stand, &session, &token).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_session_that_sleeps_wakes_for_who_opened_it() {
    let Shop { mut stand, .. } =
        shop_with(READ_ONLY, |settings| settings.sleep_after = Duration::from_millis(100)).await;
    let (robin, mallory) = (stand.bearer("robin"), stand.bearer("mallory"));
    let session = super::session(&stand, &robin).await;
    for _ in 0..3 {
        falls_asleep(&stand, &session, &robin).await;
        assert_eq!(status_in(&stand, &session, &mallory).await, StatusCode::NOT_FOUND);
        assert_eq!(status_in(&stand, &session, &robin).await, StatusCode::OK, "it goes on");
    }
    falls_asleep(&stand, &session, &robin).await;
    stand.rotate("robin");
    stand.rescope(SCOPE);
    let new = stand.bearer("robin");
    assert_eq!(status_in(&stand, &session, &robin).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status_in(&stand, &session, &new).await, StatusCode::OK, "it held nothing but how it began");
}

/// Returns when the session has been put to sleep: its stream of notifications ends then.
async fn falls_asleep(stand: &Stand, session: &str, bearer: &str) {
    let stream = reqwest::Client::new()
        .get(&stand.url)
        .header("accept", "text/event-stream")
        .header("authorization", bearer)
        .header("mcp-session-id", session);
    let stream = stream.send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    stream.text().await.unwrap();
}

/// What a message in a session is answered with.
async fn status_in(stand: &Stand, session: &str, bearer: &str) -> StatusCode {
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "prompts/list"});
    let headers = [("authorization", bearer), ("mcp-session-id", session)];
    super::post(stand, &headers, &list).await.status()
}
