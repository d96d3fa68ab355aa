//! Who makes a request: by cookie at the pages, by bearer token at the API.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use crate::gate::{Door, Knock};
use crate::identity::{Identity, Kind};

use super::refusal::{ApiRefusal, PageRefusal, Refusal};
use super::session::SignedIn;
use super::{Console, guard};

/// Somebody signed in at the pages.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) signed_in: SignedIn,
    pub(super) client: String,
}

/// An identity that sent its token to the API.
#[derive(Debug)]
pub(super) struct Bearer(pub(super) Identity);

/// A person who sent their token to the API.
#[derive(Debug)]
pub(super) struct BearingPerson {
    pub(super) identity: Identity,
    pub(super) client: String,
}

/// The caller's `address:port`; empty where unknown.
#[derive(Debug)]
pub(super) struct Client(pub(super) String);

impl FromRequestParts<Arc<Console>> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _console: &Arc<Console>) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        Ok(Self(address.map(|ConnectInfo(address)| address.to_string()).unwrap_or_default()))
    }
}

impl FromRequestParts<Arc<Console>> for Person {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let Ok(Client(client)) = Client::from_request_parts(parts, console).await;
        let now = console.settings.clock.now();
        let signed_in = session_id(console, &parts.headers)
            .and_then(|id| console.sessions.find(id, &console.gate.directory(), now));
        match signed_in {
            Some(signed_in) => Ok(Self { signed_in, client }),
            None if parts.method == Method::GET => {
                let next = parts.uri.path();
                Err(Redirect::to(&format!("/login?next={next}")).into_response())
            }
            None => {
                let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "signed_out", "you are signed out")
                    .hint("sign in again; nothing was changed");
                Err(PageRefusal::from(refusal).into_response())
            }
        }
    }
}

impl FromRequestParts<Arc<Console>> for Bearer {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, ApiRefusal> {
        let Ok(Client(client)) = Client::from_request_parts(parts, console).await;
        let token = bearer_token(&parts.headers).ok_or_else(Refusal::unauthenticated)?;
        knock(console, &client, &parts.headers)?;
        let identity = console.gate.authenticate(token, Door::Console, &client);
        Ok(Self(identity.ok_or_else(Refusal::unauthenticated)?))
    }
}

impl FromRequestParts<Arc<Console>> for BearingPerson {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, ApiRefusal> {
        let Bearer(identity) = Bearer::from_request_parts(parts, console).await?;
        let Ok(Client(client)) = Client::from_request_parts(parts, console).await;
        if identity.kind() != Kind::Human {
            console.gate.refused(Door::Console, &client, identity.name(), "", NO_PERSON);
            return Err(Refusal::people_only().into());
        }
        Ok(Self { identity, client })
    }
}

/// Asks the rulebook whether a client may go on to prove who it is.
pub(super) fn knock(console: &Console, client: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    console.gate.knock(&Knock::by_http(Door::Console, client, agent)).map_err(|denial| {
        let message = denial.reason().map_or("", |reason| reason.message.as_str());
        let hint = denial.reason().map_or("", |reason| reason.hint.as_str());
        Refusal::new(StatusCode::FORBIDDEN, "not_welcome", message).hint(hint)
    })
}

/// The name of the session's cookie. Browsers keep others from setting one that begins with `__Host-`, but take
/// it by https only.
pub(super) fn cookie_name(console: &Console) -> &'static str {
    if console.settings.https { "__Host-portcullis" } else { "portcullis" }
}

/// The session's id that a request brings.
pub(super) fn session_id<'a>(console: &Console, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = cookie_name(console);
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs =
        cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = guard::one(headers, &header::AUTHORIZATION)?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// In the ledger, of an agent or service that wants in.
pub(super) const NO_PERSON: &str = "only people use the console";
