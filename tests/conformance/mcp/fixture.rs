//! The server behind the guard: answers as the suite wants, in both eras of the protocol.
#![expect(deprecated, reason = "versions before 2026-07-28 have logging, and the suite asks for it")]

use std::collections::BTreeMap;
use std::sync::Arc;

use ring::{hmac, rand};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ClientCapabilities,
    CompleteRequestParams, CompleteResult, ContentBlock, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, GetTaskParams, GetTaskResult, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
    LoggingMessageNotificationParam, PaginatedRequestParams, ProgressNotificationParam,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerConfig, ServerNotification,
    ServerRequest, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::task_manager::TaskManager;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use tokio::sync::broadcast;

use super::answers::{Answers, complete, filled, typed};
use super::jobs::Job;
use super::rounds::{Outcome, Reply};

/// One for all sessions and requests.
#[derive(Clone)]
pub(crate) struct Fixture {
    answers: Arc<Answers>,
    changes: broadcast::Sender<ServerNotification>,
    key: Arc<hmac::Key>,
    tasks: Arc<TaskManager>,
}

impl Fixture {
    /// A server that answers by `answers`.
    pub(crate) fn new(answers: Answers) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new())
            .unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, b"a fixture"));
        Self {
            answers: Arc::new(answers),
            changes: broadcast::channel(16).0,
            key: Arc::new(key),
            tasks: Arc::default(),
        }
    }

    /// Asks the client in the middle of a call, as servers did before 2026-07-28.
    async fn ask(
        &self,
        name: &str,
        arguments: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let Some(ask) = self.answers.asks.get(name) else {
            return Err(ErrorData::invalid_params(format!("there is no tool `{name}`"), None));
        };
        let request: ServerRequest =
            typed(json!({ "method": ask.method, "params": filled(&ask.params, arguments) }))?;
        match context.peer.send_request(request).await {
            Ok(answer) => {
                let answer = typed::<Value>(json!(answer))?;
                let text = answer.pointer("/content/text").and_then(Value::as_str).map(str::to_owned);
                Ok(text_result(format!("{}{}", ask.says, text.unwrap_or_else(|| told(&answer)))))
            }
            Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(error.to_string())])),
        }
    }

    /// Tells of three steps, by progress or by log.
    async fn work(&self, name: &str, context: &RequestContext<RoleServer>) -> CallToolResult {
        let token = context.meta.get_progress_token();
        let logs = match name {
            "test_tool_with_logging" => true,
            "test_logging_tool" => context.meta.log_level().is_some(),
            _ => false,
        };
        let steps = ["Tool execution started", "Tool processing data", "Tool execution completed"];
        for (done, step) in [0.0, 50.0, 100.0].into_iter().zip(steps) {
            let sent = if let Some(token) = token.clone().filter(|_| name == "test_tool_with_progress") {
                let progress = ProgressNotificationParam::new(token, done).with_total(100.0);
                context.peer.notify_progress(progress).await
            } else if logs {
                let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, json!(step));
                context.peer.notify_logging_message(message).await
            } else {
                Ok(())
            };
            if let Err(error) = sent {
                return CallToolResult::error(vec![ContentBlock::text(error.to_string())]);
            }
        }
        text_result("done".to_owned())
    }

    /// Tells who listens that a list has changed.
    fn change(&self, notification: ServerNotification) -> CallToolResult {
        let heard = self.changes.send(notification).unwrap_or_default();
        text_result(format!("{heard} heard of it"))
    }

    fn round(
        &self,
        name: &str,
        responses: Option<&BTreeMap<String, Value>>,
        state: Option<&str>,
        context: &RequestContext<RoleServer>,
    ) -> Option<Result<Outcome, ErrorData>> {
        let rounds = self.answers.rounds.get(name)?;
        let capabilities = context.client_capabilities().unwrap_or_default();
        Some(rounds.go_on(name, &Reply { responses, state, capabilities }, &self.key))
    }
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = json!({
            "tools": { "listChanged": true },
            "prompts": { "listChanged": true },
            "resources": { "listChanged": true, "subscribe": true },
            "completions": {},
            "logging": {},
            "extensions": { "io.modelcontextprotocol/tasks": {} },
        });
        ServerConfig::new(serde_json::from_value(capabilities).unwrap_or_default())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.answers.list("tools")
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.answers.tool(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.as_ref();
        let arguments = request.arguments.unwrap_or_default();
        if let Some(result) = self.answers.result(name) {
            return Ok(complete::<CallToolResult>(result.clone())?.into());
        }
        let state = request.request_state.as_deref();
        if let Some(outcome) = self.round(name, request.input_responses.as_ref(), state, &context) {
            return Ok(match outcome? {
                Outcome::Ask(asked) => asked.into(),
                Outcome::Known(text) if name == "test_tool_with_task" => {
                    Job::Says(text).begin(&self.tasks, knows_tasks(&context)).await?
                }
                Outcome::Known(text) => text_result(text).into(),
            });
        }
        if let Some(job) = Job::of(name, &arguments) {
            return job.begin(&self.tasks, knows_tasks(&context)).await;
        }
        let result = match name {
            "test_tool_with_logging" | "test_logging_tool" | "test_tool_with_progress" => {
                self.work(name, &context).await
            }
            "test_trigger_tool_change" => {
                self.change(ServerNotification::ToolListChangedNotification(Default::default()))
            }
            "test_trigger_prompt_change" => {
                self.change(ServerNotification::PromptListChangedNotification(Default::default()))
            }
            "test_missing_capability" => needs_sampling(&context)?,
            "greet" => text_result(format!("Hello, {}!", text_of(&arguments, "name"))),
            "json_schema_2020_12_tool" => text_result(json!(arguments).to_string()),
            _ => self.ask(name, &arguments, &context).await?,
        };
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.answers.list("resources")
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        self.answers.list("resourceTemplates")
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(contents) = self.answers.contents(&request.uri) else {
            let data = json!({ "uri": request.uri });
            return Err(ErrorData::resource_not_found("there is no such resource", Some(data)));
        };
        let result = json!({ "contents": [contents], "ttlMs": 1000, "cacheScope": "private" });
        Ok(complete::<ReadResourceResult>(result)?.into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        self.answers.list("prompts")
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let state = request.request_state.as_deref();
        let outcome = self.round(&request.name, request.input_responses.as_ref(), state, &context);
        if let Some(Outcome::Ask(asked)) = outcome.transpose()? {
            return Ok(asked.into());
        }
        let arguments = request.arguments.unwrap_or_default();
        let messages = self
            .answers
            .messages(&request.name, &arguments)
            .ok_or_else(|| ErrorData::invalid_params("there is no such prompt", None))?;
        Ok(complete::<GetPromptResult>(messages)?.into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        complete(
            json!({ "completion": { "values": ["paris", "park", "party"], "total": 3, "hasMore": false } }),
        )
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel_task(&request.task_id)
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let Ok(change) = change else { return Ok(()) };
            // What was not asked for is not sent; that is no failure.
            drop(context.sink().send(change).await);
        }
    }
}

/// Whether this request may be answered by a task.
fn knows_tasks(context: &RequestContext<RoleServer>) -> bool {
    let stateless = context.protocol_version().is_some_and(|version| !version.has_initialize());
    stateless && context.client_capabilities().is_some_and(|capabilities| capabilities.supports_tasks())
}

fn text_of<'a>(arguments: &'a Map<String, Value>, name: &str) -> &'a str {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn needs_sampling(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    let declared = context.client_capabilities().unwrap_or_default();
    if json!(declared).get("sampling").is_some() {
        return Ok(text_result("the client samples".to_owned()));
    }
    let needed: ClientCapabilities = typed(json!({ "sampling": {} }))?;
    Err(ErrorData::missing_required_client_capability(needed))
}

/// What a user did with what was asked: `action=accept, content={...}`.
fn told(answer: &Value) -> String {
    let part = |name: &str| answer.get(name).cloned().unwrap_or_default();
    format!("action={}, content={}", part("action").as_str().unwrap_or_default(), part("content"))
}

fn text_result(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}
