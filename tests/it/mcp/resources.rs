//! Resources, completion and prompts: what they tell is what the tools tell, to the same identity.

use rmcp::model::{
    ArgumentInfo, CompleteRequestParams, CompletionContext, ErrorCode, GetPromptRequestParams,
    ReadResourceRequestParams, Reference, ResourceContents,
};
use rmcp::service::ServiceError;
use serde_json::{Value, json};

use super::governed::{SCOPE, Shop, shop};
use super::stand::{Client, Era, Stand};

async fn read(client: &Client, uri: &str) -> Result<Value, ServiceError> {
    let result = client.read_resource(ReadResourceRequestParams::new(uri)).await?;
    let ResourceContents::TextResourceContents { uri: own, mime_type, text, .. } = &result.contents[0] else {
        panic!("{result:?}");
    };
    assert_eq!((own.as_str(), mime_type.as_deref()), (uri, Some("application/json")));
    Ok(serde_json::from_str(text).unwrap())
}

async fn complete(
    client: &Client,
    place: Reference,
    name: &str,
    typed: &str,
    given: &[(&str, &str)],
) -> Vec<String> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let request = CompleteRequestParams::new(place, ArgumentInfo::new(name, typed))
        .with_context(CompletionContext::with_arguments(given));
    client.complete(request).await.unwrap().completion.values
}

fn table() -> Reference {
    Reference::for_resource("pg://{database}/{schema}/{table}")
}

#[tokio::test]
async fn a_table_is_read_as_the_identity_may_see_it_in_every_era() {
    let Shop { stand, .. } = shop(SCOPE).await;
    for era in Era::ALL {
        let client = stand.client("robin", era).await;
        let databases = client.list_resources(None).await.unwrap();
        let uris: Vec<&str> = databases.resources.iter().map(|resource| resource.uri.as_str()).collect();
        assert_eq!(uris, ["pg://shop"], "{era:?}");
        let tables = read(&client, "pg://shop").await.unwrap();
        assert_eq!(tables["tables"][1]["uri"], "pg://shop/public/orders", "{tables}");
        assert!(!tables.to_string().contains("payroll"));
        let customers = read(&client, "pg://shop/public/customers").await.unwrap();
        assert_eq!(customers["columns"][2], json!({"name": "email", "type": "text", "access": "masked"}));
        assert_eq!(customers["content_trust"], "untrusted");
        let found = client.call("search_schema", json!({"text": "customers", "detail": "full"})).await.0;
        assert_eq!(found["objects"][0]["columns"], customers["columns"], "as the tool tells it");
        let templates = client.list_resource_templates(None).await.unwrap();
        assert_eq!(templates.resource_templates[0].uri_template, "pg://{database}/{schema}/{table}");
    }
}

#[tokio::test]
async fn what_is_hidden_reads_like_what_does_not_exist() {
    let Shop { stand, .. } = shop(SCOPE).await;
    for (era, code) in
        [(Era::Session, ErrorCode::RESOURCE_NOT_FOUND), (Era::Stateless, ErrorCode::INVALID_PARAMS)]
    {
        let robin = stand.client("robin", era).await;
        let dana = stand.client("dana", era).await;
        let tries = [
            (&robin, "pg://shop/hr/payroll"),
            (&robin, "pg://shop/hr/nothing"),
            (&robin, "pg://nothing/public/orders"),
            (&robin, "pg://nothing"),
            (&robin, "pg://shop/public"),
            (&robin, "file:///etc/passwd"),
            (&dana, "pg://shop/public/orders"),
            (&dana, "pg://shop"),
        ];
        for (client, uri) in tries {
            let ServiceError::McpError(error) = read(client, uri).await.unwrap_err() else { panic!("{uri}") };
            assert_eq!(error.code, code, "{uri}");
            assert_eq!(error.message, "there is no such resource, or you may not use it", "{uri}");
            assert_eq!(error.data, Some(json!({ "uri": uri })));
        }
        assert!(dana.list_resources(None).await.unwrap().resources.is_empty());
    }
}

#[tokio::test]
async fn names_complete_to_what_the_identity_can_use() {
    let Shop { stand, .. } = shop(SCOPE).await;
    for era in Era::ALL {
        let robin = stand.client("robin", era).await;
        let shop = [("database", "shop")];
        assert_eq!(complete(&robin, table(), "database", "SH", &[]).await, ["shop"], "{era:?}");
        assert_eq!(complete(&robin, table(), "schema", "", &shop).await, ["public"], "without `hr`");
        let public = [("database", "shop"), ("schema", "public")];
        assert_eq!(complete(&robin, table(), "table", "o", &public).await, ["orders"]);
        assert_eq!(
            complete(&robin, table(), "table", "pay", &[("database", "shop"), ("schema", "hr")]).await,
            [""; 0]
        );
        assert_eq!(complete(&robin, table(), "table", "", &[("database", "nothing")]).await, [""; 0]);
        let change = Reference::for_prompt("propose_change");
        assert_eq!(complete(&robin, change.clone(), "table", "cust", &shop).await, ["public.customers"]);
        assert_eq!(complete(&robin, change, "change", "mark", &shop).await, [""; 0]);
    }
    let dana = stand.client("dana", Era::Stateless).await;
    assert_eq!(complete(&dana, table(), "database", "", &[]).await, [""; 0]);
    assert_eq!(complete(&dana, table(), "table", "", &[("database", "shop")]).await, [""; 0]);
    for (place, name) in [
        (Reference::for_resource("pg://{database}"), "database"),
        (table(), "column"),
        (Reference::for_prompt("explore"), "database"),
        (Reference::for_prompt("explore_database"), "table"),
    ] {
        let request = CompleteRequestParams::new(place, ArgumentInfo::new(name, ""));
        let error = dana.complete(request).await.unwrap_err().to_string();
        assert!(error.contains("no such prompt, resource template or argument"), "{error}");
    }
}

#[tokio::test]
async fn prompts_are_words_around_what_was_typed() {
    let Shop { stand, .. } = shop(SCOPE).await;
    for era in Era::ALL {
        let robin = stand.client("robin", era).await;
        let prompts = robin.list_prompts(None).await.unwrap().prompts;
        let names: Vec<&str> = prompts.iter().map(|prompt| prompt.name.as_str()).collect();
        assert_eq!(names, ["explore_database", "propose_change"], "{era:?}");
        let given = json!({"change": "mark order 7 as sent", "database": "shop"});
        let request =
            GetPromptRequestParams::new("propose_change").with_arguments(given.as_object().cloned().unwrap());
        let prompt = robin.get_prompt(request).await.unwrap();
        let text = &prompt.messages[0].content.as_text().unwrap().text;
        assert!(text.contains("database `shop`: mark order 7 as sent"), "{text}");
        let missing = robin.get_prompt(GetPromptRequestParams::new("propose_change")).await.unwrap_err();
        assert!(missing.to_string().contains("argument `change` is missing"), "{missing}");
    }
    let dana = stand.client("dana", Era::Stateless).await;
    assert_eq!(dana.list_prompts(None).await.unwrap().prompts.len(), 1, "who may not write proposes nothing");
}

#[tokio::test]
async fn a_list_of_many_databases_comes_in_pages_for_one_identity() {
    let stand = Stand::with_databases(130).await;
    let (robin, mallory) =
        (stand.client("robin", Era::Stateless).await, stand.client("mallory", Era::Stateless).await);
    let first = robin.list_resources(None).await.unwrap();
    assert_eq!(first.resources.len(), 100);
    let cursor = first.next_cursor.clone().unwrap();
    let page = |cursor: &str| {
        Some(rmcp::model::PaginatedRequestParams::default().with_cursor(Some(cursor.to_owned())))
    };
    let rest = robin.list_resources(page(&cursor)).await.unwrap();
    assert_eq!((rest.resources.len(), rest.next_cursor), (30, None));
    for (client, cursor) in [(&mallory, cursor.as_str()), (&robin, "db_099"), (&robin, "")] {
        let error = client.list_resources(page(cursor)).await.unwrap_err().to_string();
        assert!(error.contains("the cursor is not of this list"), "{error}");
    }
    assert_eq!(robin.list_all_resources().await.unwrap().len(), 130);
}
