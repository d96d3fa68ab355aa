//! The console's JSON API, as a client.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;

use crate::config::Secret;

use super::output::one_line;
use super::token::TokenArguments;

/// Where the console is, and by whose token.
#[derive(Debug, Args)]
pub(super) struct ConsoleArguments {
    /// The gateway's console
    #[arg(long, env = "PORTCULLIS_URL", default_value = "http://127.0.0.1:8433", global = true)]
    url: String,

    #[command(flatten)]
    token: TokenArguments,
}

/// A console that somebody's token opens.
#[derive(Debug)]
pub(crate) struct Console {
    base: Url,
    client: Client,
    token: Secret,
}

impl ConsoleArguments {
    pub(super) fn console(&self) -> anyhow::Result<Console> {
        Console::new(&self.url, self.token.token()?)
    }
}

impl Console {
    /// The console at `url`, by `token`.
    pub(crate) fn new(url: &str, token: Secret) -> anyhow::Result<Self> {
        let base = Url::parse(url).with_context(|| format!("`{url}` is no web address"))?;
        if !is_this_machine(&base) {
            bail!(
                "`{url}` is not `http://` to a loopback address, and this version has no TLS, so your token would \
                 travel in clear: open an SSH tunnel to the gateway's machine"
            );
        }
        let client = Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self { base, client, token })
    }

    /// Asks for `path` below the API, for example `approvals`.
    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Sends `body` to `path` below the API.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1/{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.client.request(method, url).bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.with_context(|| {
            format!("no gateway answers at {}: is `portcullis serve` running?", self.base)
        })?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        if status == StatusCode::UNAUTHORIZED {
            bail!("the gateway does not know this token: get a new one with `portcullis agent rotate NAME`");
        }
        Err(Refused::new(status, &body).into())
    }
}

/// A no from the gateway, in one visible line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway says no: {said}")]
pub(super) struct Refused {
    said: String,
}

impl Refused {
    fn new(status: StatusCode, body: &Value) -> Self {
        let word = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
        let said = match (word("message"), word("hint")) {
            ("", _) => format!("HTTP status {}", status.as_u16()),
            (message, "") => message.to_owned(),
            (message, hint) => format!("{message} ({hint})"),
        };
        Self { said: one_line(&said) }
    }
}

/// Whether a token sent to `url` stays on this machine.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    url.scheme() == "http" && local && url.username().is_empty() && url.password().is_none()
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_this_machine_only() {
        let console = |url: &str| Console::new(url, Secret::new("pcl_secret".into()));
        for url in ["http://127.0.0.1:8433", "http://localhost:1/", "http://[::1]:8433"] {
            console(url).unwrap();
        }
        for url in [
            "http://gate.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@example.com",
            "https://127.0.0.1",
            "ftp://127.0.0.1",
            "http://0.0.0.0:8433",
            "nonsense",
        ] {
            let said = format!("{:#}", console(url).unwrap_err());
            assert!(!said.contains("pcl_secret"), "{said}");
        }
    }

    #[test]
    fn a_refusal_is_one_visible_line() {
        let said = |body: Value| Refused::new(StatusCode::CONFLICT, &body).to_string();
        let body = serde_json::json!({ "error": "closed", "message": "no\u{1b}[2K\nway", "hint": "wait" });
        assert_eq!(said(body), "the gateway says no: no\\u{1b}[2K way (wait)");
        assert_eq!(said(Value::Null), "the gateway says no: HTTP status 409");
    }
}
