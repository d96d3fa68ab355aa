//! From a request's header to an identity, or to an answer that says how to become one.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::control::oidc::{Scope, Scopes, TokenError, Verified, looks_like_a_token};
use crate::gate::{Door, Gate};
use crate::identity::Identity;
use crate::identity::vouched::NobodyError;

use super::caller::{Admission, lacking};
use super::resource::challenge;
use super::{Authorization, schema};

/// Somebody whose token is good.
#[derive(Debug)]
pub(super) struct Authenticated {
    pub(super) identity: Identity,
    /// `None` for a token of the gateway's own.
    pub(super) scopes: Option<Scopes>,
    /// Until when the token is good; `None` for one that is good until it is replaced.
    pub(super) expires: Option<Timestamp>,
}

/// Why there is no identity behind a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenProblem {
    Missing,
    Several,
    NotBearer,
    Unknown,
    Refused(TokenError),
    Nobody(NobodyError),
}

/// The identity that `token` proves. Why it proves none is in the ledger.
pub(super) async fn authenticate(
    gate: &Gate,
    authorization: Option<&Authorization>,
    token: &str,
    client: &str,
) -> Result<Authenticated, TokenProblem> {
    let Some(authorization) = authorization.filter(|_| looks_like_a_token(token)) else {
        let identity = gate.authenticate(token, Door::Mcp, client).ok_or(TokenProblem::Unknown)?;
        return Ok(Authenticated { identity, scopes: None, expires: None });
    };
    let verified = authorization.issuers.verify(token).await;
    let Verified { testimony, scopes, expires } = verified.map_err(|error| {
        gate.refused(Door::Mcp, client, "", "", &error.to_string());
        TokenProblem::Refused(error)
    })?;
    let identity = gate.vouch(&testimony, Door::Mcp, client).map_err(TokenProblem::Nobody)?;
    Ok(Authenticated { identity, scopes: Some(scopes), expires: Some(expires) })
}

/// The one bearer token of a request.
pub(super) fn bearer(headers: &HeaderMap) -> Result<&str, TokenProblem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenProblem::Missing)?;
    if values.next().is_some() {
        return Err(TokenProblem::Several);
    }
    let text = value.to_str().map_err(|_| TokenProblem::NotBearer)?;
    let (scheme, token) = text.split_once(' ').ok_or(TokenProblem::NotBearer)?;
    let token = token.trim();
    let is_long = token.len() > MAX_TOKEN && !looks_like_a_token(token);
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || is_long {
        return Err(TokenProblem::NotBearer);
    }
    Ok(token)
}

impl TokenProblem {
    pub(super) fn message(&self) -> String {
        match self {
            Self::Missing => "the request has no token".to_owned(),
            Self::Several => "the request has several Authorization headers".to_owned(),
            Self::NotBearer => "the Authorization header is not a bearer token".to_owned(),
            Self::Unknown => "the token is not one of this gateway's, or was replaced".to_owned(),
            Self::Refused(error) => error.to_string(),
            Self::Nobody(error) => error.to_string(),
        }
    }

    /// RFC 6750 section 3.1: no error code where no credential was given.
    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Several | Self::NotBearer => Some("invalid_request"),
            Self::Unknown | Self::Refused(_) => Some("invalid_token"),
            Self::Nobody(_) => Some("access_denied"),
        }
    }

    fn hint(&self, authorization: Option<&Authorization>) -> String {
        match (self, authorization) {
            (Self::Refused(TokenError::Unavailable { .. }), _) => {
                "the token may be good: keep it, and try again soon".to_owned()
            }
            (Self::Refused(TokenError::Audience { wanted }), _) => {
                format!("ask your authorization server for a token with `resource={wanted}`")
            }
            (Self::Refused(_), _) => "get another access token from your authorization server".to_owned(),
            (Self::Nobody(_), _) => {
                "the token is good, but it makes nobody here: ask the operator of the gateway for an identity whose \
                 file has `[auth] oidc` for you"
                    .to_owned()
            }
            (_, Some(_)) => "send `Authorization: Bearer TOKEN` with an access token of one of the authorization \
                             servers that `resource_metadata` names, or with your agent's own token"
                .to_owned(),
            (_, None) => "send `Authorization: Bearer TOKEN` with your agent's own token; its operator makes one with \
                          `portcullis agent add` or `portcullis agent rotate`"
                .to_owned(),
        }
    }

    /// The answer. Only what another token could mend is a 401.
    pub(super) fn answer(&self, authorization: Option<&Authorization>) -> Response {
        let (message, hint) = (self.message(), self.hint(authorization));
        let body = |error: &str| axum::Json(json!({ "error": error, "message": message, "hint": hint }));
        match self {
            Self::Refused(TokenError::Unavailable { .. }) => {
                let soon = [(header::RETRY_AFTER, "5")];
                (StatusCode::SERVICE_UNAVAILABLE, soon, body("temporarily_unavailable")).into_response()
            }
            Self::Nobody(_) => (StatusCode::FORBIDDEN, body("access_denied")).into_response(),
            Self::Missing | Self::Several | Self::NotBearer | Self::Unknown | Self::Refused(_) => {
                let error = self.code().map(|code| (code, message.as_str()));
                let challenge = [(header::WWW_AUTHENTICATE, challenge(authorization, error, None))];
                (StatusCode::UNAUTHORIZED, challenge, body("unauthorized")).into_response()
            }
        }
    }
}

/// Lets a request pass whose token is good for the tools that it calls. The body is read for that, up to `most` bytes, and
/// what it says counts, whatever headers say.
pub(super) async fn within_scopes(
    request: Request,
    admission: &Admission,
    authorization: Option<&Authorization>,
    most: usize,
) -> Result<Request, Response> {
    let lacks_any = |scopes: &Scopes| !(scopes.read.granted && scopes.write.granted);
    let Some(scopes) = admission.scopes.as_ref().filter(|scopes| lacks_any(scopes)) else {
        return Ok(request);
    };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, most).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE.into_response())?;
    match lacked(&body, scopes) {
        Some(scope) => Err(insufficient(authorization, scopes, scope)),
        None => Ok(Request::from_parts(parts, Body::from(body))),
    }
}

/// What shows definitions, or the state of requests, without being a tool.
const READING: [&str; 7] = [
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "completion/complete",
    "subscriptions/listen",
    "tasks/get",
    "tasks/cancel",
];

/// The scope that some call in `body` needs and the token lacks.
fn lacked<'a>(body: &Bytes, scopes: &'a Scopes) -> Option<&'a Scope> {
    let message: Value = serde_json::from_slice(body).ok()?;
    let messages = message.as_array().map_or(std::slice::from_ref(&message), Vec::as_slice);
    messages.iter().find_map(|message| {
        let method = message["method"].as_str()?;
        if READING.contains(&method) {
            return Some(&scopes.read).filter(|scope| !scope.granted);
        }
        let name = message.pointer("/params/name").filter(|_| method == "tools/call")?;
        lacking(Some(scopes), schema::named(name.as_str()?)?)
    })
}

/// 403 where another scope would help: with all that the client should ask for, what it has included.
fn insufficient(authorization: Option<&Authorization>, scopes: &Scopes, lacks: &Scope) -> Response {
    let granted = [&scopes.read, &scopes.write].into_iter().filter(|scope| scope.granted);
    let wanted: Vec<&str> = granted
        .map(|scope| scope.name.as_str())
        .filter(|name| !name.is_empty())
        .chain([lacks.name.as_str()])
        .collect();
    let wanted = wanted.join(" ");
    let message = format!("the token lacks the scope `{}`, which this call needs", lacks.name);
    let challenge = challenge(authorization, Some(("insufficient_scope", &message)), Some(&wanted));
    let body = json!({
        "error": "insufficient_scope",
        "message": message,
        "hint": "ask your authorization server for a token with this scope too",
        "scope": wanted,
    });
    let headers = [(header::WWW_AUTHENTICATE, challenge)];
    (StatusCode::FORBIDDEN, headers, axum::Json(body)).into_response()
}

/// Longest token of the gateway's own, in bytes.
const MAX_TOKEN: usize = 512;

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_one_bearer_token_counts() {
        assert_eq!(bearer(&headers(&["Bearer abc"])), Ok("abc"));
        assert_eq!(bearer(&headers(&["bearer abc"])), Ok("abc"));
        assert_eq!(bearer(&headers(&[])), Err(TokenProblem::Missing));
        assert_eq!(bearer(&headers(&["Bearer a", "Bearer b"])), Err(TokenProblem::Several));
        for wrong in ["Basic abc", "Bearer", "Bearer ", "abc"] {
            assert_eq!(bearer(&headers(&[wrong])), Err(TokenProblem::NotBearer), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_401_says_what_to_do() {
        let response = TokenProblem::Unknown.answer(None);
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer "));
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(body["hint"].as_str().unwrap().contains("portcullis agent"));
    }
}
