//! Tools whose answers are tasks, for clients that declare the tasks extension.

use std::time::Duration;

use rmcp::model::{
    CallToolResponse, CallToolResult, ClientCapabilities, ContentBlock, CreateTaskResult, ErrorData,
    InputRequest,
};
use rmcp::task_manager::{TaskContext, TaskExit, TaskManager, TaskOptions};
use serde_json::{Map, Value, json};

use super::answers::typed;

/// A tool that takes its time.
#[derive(Debug, Clone)]
pub(crate) enum Job {
    /// Takes so long, and can be cancelled.
    Sleeps(Duration),
    /// Fails as a tool does.
    Fails,
    /// Fails as a server does.
    Breaks,
    /// Asks so many questions at once, and waits for the answers.
    Asks(&'static [&'static str]),
    /// Says this.
    Says(String),
}

impl Job {
    /// The job that the tool `name` is.
    pub(crate) fn of(name: &str, arguments: &Map<String, Value>) -> Option<Self> {
        let seconds = arguments.get("seconds").and_then(Value::as_f64).unwrap_or_default();
        Some(match name {
            "slow_compute" => Self::Sleeps(Duration::try_from_secs_f64(seconds).unwrap_or_default()),
            "failing_job" => Self::Fails,
            "protocol_error_job" => Self::Breaks,
            "confirm_delete" => Self::Asks(&["confirm"]),
            "multi_input" => Self::Asks(&["first", "second"]),
            _ => return None,
        })
    }

    /// Begins it as a task; at once, where it can be done so for a client that knows no tasks.
    pub(crate) async fn begin(
        self,
        tasks: &TaskManager,
        knows_tasks: bool,
    ) -> Result<CallToolResponse, ErrorData> {
        match (knows_tasks, self) {
            (true, job) => {
                let options = TaskOptions::new().with_poll_interval_ms(100);
                let task = tasks.spawn(options, |context| Box::pin(async move { job.run(&context).await }));
                Ok(CreateTaskResult::new(task).into())
            }
            (false, Self::Sleeps(time)) => {
                tokio::time::sleep(time).await;
                Ok(says("computed").into())
            }
            (false, Self::Says(text)) => Ok(says(&text).into()),
            (false, Self::Fails | Self::Breaks | Self::Asks(_)) => {
                Err(ErrorData::missing_required_client_capability(
                    ClientCapabilities::builder().enable_tasks().build(),
                ))
            }
        }
    }

    async fn run(self, context: &TaskContext) -> Result<CallToolResult, TaskExit> {
        match self {
            Self::Sleeps(time) => tokio::select! {
                () = tokio::time::sleep(time) => Ok(says("computed")),
                () = context.cancelled() => Err(TaskExit::Cancelled),
            },
            Self::Fails => Ok(CallToolResult::error(vec![ContentBlock::text("the job failed")])),
            Self::Breaks => Err(ErrorData::internal_error("the job broke", None).into()),
            Self::Asks(questions) => {
                let asked = questions.iter().map(|question| ask(context, question));
                futures_util::future::try_join_all(asked).await?;
                Ok(says("all was answered"))
            }
            Self::Says(text) => Ok(says(&text)),
        }
    }
}

async fn ask(context: &TaskContext, question: &str) -> Result<Value, TaskExit> {
    let schema = json!({ "type": "object", "properties": { "ok": { "type": "boolean" } } });
    let params = json!({ "message": question, "requestedSchema": schema });
    let request: InputRequest = typed(json!({ "method": "elicitation/create", "params": params }))?;
    context.request_input(question, request).await
}

fn says(text: &str) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}
