//! A client of the MCP door: the protocol's official Rust client over Streamable HTTP.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use rmcp::model::CallToolRequestParams;
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{RoleClient, ServiceExt as _};
use serde_json::Value;

use super::person::Grid;

/// An agent with a session.
#[derive(Debug)]
pub(super) struct Agent {
    service: RunningService<RoleClient, ()>,
}

impl Agent {
    /// A session at the MCP door.
    pub(super) async fn connect(address: SocketAddr, token: &str) -> anyhow::Result<Self> {
        let config =
            StreamableHttpClientTransportConfig::with_uri(format!("http://{address}/mcp")).auth_header(token);
        let http = reqwest::Client::builder().no_proxy().build()?;
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let service = ().serve(transport).await.context("the agent can't connect to the MCP door")?;
        Ok(Self { service })
    }

    /// Calls `tool` and gives its answer, as a model gets it.
    pub(super) async fn call(&self, tool: &'static str, arguments: Value) -> anyhow::Result<Value> {
        let Value::Object(arguments) = arguments else { bail!("arguments of a tool are an object") };
        let parameters = CallToolRequestParams::new(tool).with_arguments(arguments);
        let result =
            self.service.call_tool(parameters).await.with_context(|| format!("the tool `{tool}` failed"))?;
        result.structured_content.with_context(|| format!("the tool `{tool}` answered without a structure"))
    }

    /// Ends the session.
    pub(super) async fn leave(self) {
        // The gateway stops next, so how the farewell went is of no interest.
        drop(self.service.cancel().await);
    }
}

/// The rows in an answer; none if there are none in it.
pub(super) fn rows(answer: &Value) -> Grid {
    let list = |name: &str| answer.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let columns = list("columns").iter().map(|column| text(column.get("name")).unwrap_or_default()).collect();
    let cells = |row: &Value| row.as_array().into_iter().flatten().map(|cell| text(Some(cell))).collect();
    Grid::new(columns, list("rows").iter().map(cells).collect())
}

/// The word in which an answer says how it ended.
pub(super) fn word(answer: &Value) -> &str {
    let word = answer.get("status").or_else(|| answer.get("state"));
    word.and_then(Value::as_str).unwrap_or("no status")
}

/// A cell as PostgreSQL's text.
fn text(cell: Option<&Value>) -> Option<String> {
    match cell? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("t".to_owned()),
        Value::Bool(false) => Some("f".to_owned()),
        other @ (Value::Number(_) | Value::Array(_) | Value::Object(_)) => Some(other.to_string()),
    }
}
