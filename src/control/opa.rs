//! Decisions on statements by an OPA server: `POST /v1/data/PATH` with `{"input": ...}`, answered by `{"result": {...}}`.
//! No answer is a deny, whatever kept it away.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::Endpoint;
use super::http::{Ask, Bounds, HttpError, Remote};
use crate::gate::Delegate;

/// What the configuration says of an OPA server that decides.
#[derive(Debug, Clone)]
pub struct DelegateSettings {
    /// The server, without `/v1/data`.
    pub endpoint: Endpoint,
    /// The document that answers, with `/` between names.
    pub path: String,
    /// How long a statement waits for it.
    pub timeout: Duration,
    /// The paths of the input that it is shown. Nothing else can matter to it, so that its answers can be remembered.
    pub reads: Vec<Vec<String>>,
}

/// An OPA server.
#[derive(Debug)]
pub struct Opa {
    remote: Remote,
    path: String,
    timeout: Duration,
    places: Semaphore,
}

impl Opa {
    /// Reaches out to nobody yet.
    ///
    /// # Errors
    /// When the server's address or its authorities can't be used.
    pub fn new(settings: &DelegateSettings) -> Result<Self, HttpError> {
        Ok(Self {
            remote: Remote::new(&settings.endpoint)?,
            path: format!("v1/data/{}", settings.path.trim_matches('/')),
            timeout: settings.timeout,
            places: Semaphore::new(QUESTIONS),
        })
    }

    async fn answer(&self, input: &Value) -> Result<Value, String> {
        let said = |why: &str| format!("the OPA server gave no decision: {why}");
        let asked = async {
            let place = self.places.acquire().await.map_err(|error| said(&error.to_string()))?;
            let body = Bytes::from(json!({ "input": input }).to_string());
            let ask = Ask {
                path: self.path.clone(),
                headers: vec![(CONTENT_TYPE, "application/json".to_owned())],
                body: Some(body),
            };
            let bounds = Bounds { time: self.timeout, bytes: LONGEST };
            let answer = self.remote.ask(ask, bounds).await.map_err(|error| said(&error.to_string()));
            drop(place);
            answer
        };
        let answer = tokio::time::timeout(self.timeout, asked).await;
        let late = || said(&format!("no answer within {} ms", self.timeout.as_millis()));
        let answer = answer.map_err(|_| late())??;
        if answer.status != StatusCode::OK {
            return Err(said(&format!("it answers {}", answer.status)));
        }
        let document: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| said(&format!("its answer is no JSON: {error}")))?;
        match document.get("result") {
            Some(Value::Object(result)) => Ok(Value::Object(result.clone())),
            Some(other) => Err(said(&format!("its result is {}, not an object", kind(other)))),
            None => Err(said(&format!("it has no document at `{}` (no `result`)", self.path))),
        }
    }
}

impl Delegate for Opa {
    fn ask<'a>(
        &'a self,
        input: &'a Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, String>> + Send + 'a>> {
        Box::pin(self.answer(input))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Questions under way at once; more wait, within their time.
const QUESTIONS: usize = 64;

/// The most bytes of an answer.
const LONGEST: usize = 4 << 20;
