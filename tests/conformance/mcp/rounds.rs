//! Several rounds before an answer (since 2026-07-28): what is asked, and where a conversation stands, which the client
//! carries and can't change.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use rmcp::model::{ClientCapabilities, ErrorData, InputRequiredResult};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answers::typed;

/// What has to be known, a round at a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rounds {
    rounds: Vec<Map<String, Value>>,
    /// Whether the client is given a state to send back.
    #[serde(default)]
    state: bool,
    /// How the answer begins.
    says: String,
}

/// What comes of a round.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// More has to be asked.
    Ask(InputRequiredResult),
    /// All is known; in a sentence.
    Known(String),
}

/// What a client sent for a round.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) responses: Option<&'a BTreeMap<String, Value>>,
    pub(crate) state: Option<&'a str>,
    pub(crate) capabilities: ClientCapabilities,
}

impl Rounds {
    /// Goes on with `reply`. `key` seals what the client carries.
    pub(crate) fn go_on(&self, name: &str, reply: &Reply<'_>, key: &hmac::Key) -> Result<Outcome, ErrorData> {
        let at = match reply.state {
            Some(state) => opened(state, name, key).ok_or_else(|| {
                ErrorData::invalid_params("`requestState` is not one of this server's", None)
            })?,
            None => 0,
        };
        let round =
            self.rounds.get(at).ok_or_else(|| ErrorData::invalid_params("there is no such round", None))?;
        let wanted: Map<String, Value> = round
            .iter()
            .filter(|(_, request)| can(&reply.capabilities, request))
            .map(|(name, request)| (name.clone(), request.clone()))
            .collect();
        let answered = |responses: &BTreeMap<String, Value>| {
            wanted.iter().all(|(name, request)| responses.get(name).is_some_and(|it| fits(request, it)))
        };
        let responses = reply.responses.filter(|responses| answered(responses));
        let next = at.saturating_add(usize::from(responses.is_some()));
        match (responses, self.rounds.get(next)) {
            (Some(responses), None) => Ok(Outcome::Known(format!("{}{}", self.says, json!(responses)))),
            (Some(_), Some(round)) => self.ask(name, next, round, key),
            (None, _) => self.ask(name, at, &wanted, key),
        }
    }

    fn ask(
        &self,
        name: &str,
        at: usize,
        round: &Map<String, Value>,
        key: &hmac::Key,
    ) -> Result<Outcome, ErrorData> {
        let state = self.state.then(|| sealed(at, name, key));
        Ok(Outcome::Ask(InputRequiredResult::new(Some(typed(json!(round))?), state)))
    }
}

/// Whether a client that declares `capabilities` can answer `request`.
fn can(capabilities: &ClientCapabilities, request: &Value) -> bool {
    match method(request) {
        "elicitation/create" => capabilities.elicitation.is_some(),
        "sampling/createMessage" => json!(capabilities).get("sampling").is_some(),
        _ => json!(capabilities).get("roots").is_some(),
    }
}

/// Whether `response` is one that `request` can have.
fn fits(request: &Value, response: &Value) -> bool {
    match method(request) {
        "elicitation/create" => {
            let required = request.pointer("/params/requestedSchema/required").and_then(Value::as_array);
            let names = required.into_iter().flatten().filter_map(Value::as_str);
            response.get("action").is_some_and(|action| action == "accept")
                && names.into_iter().all(|name| response.pointer(&format!("/content/{name}")).is_some())
        }
        "sampling/createMessage" => response.get("content").is_some(),
        _ => response.get("roots").is_some_and(Value::is_array),
    }
}

fn method(request: &Value) -> &str {
    request.get("method").and_then(Value::as_str).unwrap_or_default()
}

/// The round `at` of `name`, as a client may carry it.
fn sealed(at: usize, name: &str, key: &hmac::Key) -> String {
    let tag = hmac::sign(key, format!("{name} {at}").as_bytes());
    format!("{at}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn opened(state: &str, name: &str, key: &hmac::Key) -> Option<usize> {
    let (at, tag) = state.split_once('.')?;
    let at = at.parse().ok()?;
    let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
    hmac::verify(key, format!("{name} {at}").as_bytes(), &tag).ok()?;
    Some(at)
}
