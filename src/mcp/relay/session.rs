//! A message's way up: with the patience that a restart of the gateway takes, and in a session that outlives it.
//!
//! A gateway that was restarted knows no session from before. A client on stdio would never learn of that: for it there is
//! one conversation, as long as the relay runs. So the relay opens the session anew, by the client's own `initialize`, and
//! sends the message again. That is safe: a message in an unknown session was refused before anything was done about it,
//! and one that met a closed port was never sent.

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use super::headers::{SESSION, standard_headers};
use super::sse::Events;
use super::{BOTH, EVENT_STREAM, Gateway, JSON, MAX_MESSAGE, content_type, json_rpc, refusal};

impl Gateway {
    /// Sends `message` until a gateway takes it; the error is for the client.
    pub(super) async fn deliver(&self, message: &Value) -> Result<Response, String> {
        let opens = message.get("method").is_some_and(|method| method == "initialize");
        let session = self.conversation().session.clone().filter(|_| !opens);
        let answer = self.post(message, session.as_ref()).await?;
        let Some(lost) = session.filter(|_| answer.status() == StatusCode::NOT_FOUND) else {
            return Ok(answer);
        };
        let renewed = self.renew(&lost).await?;
        self.post(message, renewed.as_ref()).await
    }

    /// Opens a session in place of `lost`, unless another message has done so already.
    async fn renew(&self, lost: &HeaderValue) -> Result<Option<HeaderValue>, String> {
        let _alone = self.renewal.lock().await;
        let (current, opening) = {
            let conversation = self.conversation();
            (conversation.session.clone(), conversation.opening.clone())
        };
        let Some(opening) = opening.filter(|_| current.as_ref() == Some(lost)) else { return Ok(current) };
        let mut answer = self.post(&opening, None).await?;
        let (status, session) = (answer.status(), answer.headers().get(SESSION).cloned());
        let mut events = Events::new(MAX_MESSAGE, content_type(&answer).starts_with(EVENT_STREAM));
        let mut opened = false;
        loop {
            let chunk = answer.chunk().await.map_err(|error| broke_off(&error))?;
            let texts = events.take(chunk.as_deref().unwrap_or_default(), chunk.is_none());
            for part in texts.into_iter().flatten().filter_map(|text| json_rpc(&text)) {
                if part.get("id") == opening.get("id") && part.get("result").is_some() {
                    self.agreed(&opening, session.as_ref(), &part);
                    opened = true;
                }
            }
            if opened || chunk.is_none() {
                break;
            }
        }
        if !opened {
            return Err(refusal(status, &events.rest()));
        }
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.post(&initialized, session.as_ref()).await?;
        tracing::info!("relay.session_renewed");
        Ok(session)
    }

    /// One request, tried again for a while where nothing listens.
    async fn post(&self, message: &Value, session: Option<&HeaderValue>) -> Result<Response, String> {
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.post_once(message, session).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !error.is_connect() {
                return Err(broke_off(&error));
            }
            if pause > self.last_pause {
                return Err(format!("no gateway answers at {}, and nothing was sent: {DOWN}", self.url));
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2);
        }
    }

    async fn post_once(&self, message: &Value, session: Option<&HeaderValue>) -> reqwest::Result<Response> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, JSON)
            .header(ACCEPT, BOTH)
            .body(message.to_string());
        for (name, value) in standard_headers(message, self.conversation().version.as_deref()) {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(SESSION, session.clone());
        }
        request.send().await
    }
}

/// A request that was sent and not answered: nobody can say from here what became of it.
fn broke_off(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() { "took too long" } else { "broke off" };
    format!("the connection to the gateway {kind} before it answered, so the call may have run: {LOOK}")
}

const DOWN: &str = "have its operator start it (`portcullis serve`), then call again";
const LOOK: &str = "see `approval_status`, or read what it would have changed, before you call again";
const FIRST_PAUSE: Duration = Duration::from_millis(100);
