//! Who calls a tool, as this door knows them: by the token of this very request.

use axum::http::request::Parts;
use rmcp::RoleServer;
use rmcp::model::Tool;
use rmcp::service::RequestContext;

use crate::control::oidc::{Scope, Scopes};
use crate::identity::Identity;

use super::text;

/// The authenticated caller of one tool call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Who.
    pub(super) identity: Identity,
    /// From where, `address:port`; empty where unknown.
    pub(super) client: String,
    /// The client's name and version, as claimed: for the ledger, never for a decision.
    pub(super) application: String,
    /// What it says that it is for; empty where it does not say.
    pub(super) purpose: String,
    /// What tools its token is good for; `None` for one of the gateway's own, which is good for all.
    pub(super) scopes: Option<Scopes>,
}

/// What the HTTP guard found out about a request, for the tools behind it.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// Who.
    pub(super) identity: Identity,
    /// From where, `address:port`; empty where unknown.
    pub(super) client: String,
    /// What tools its token is good for; `None` for one of the gateway's own, which is good for all.
    pub(super) scopes: Option<Scopes>,
}

impl Caller {
    /// The caller that the HTTP guard let in; `None` if no guard stood before this request.
    pub(super) fn of(context: &RequestContext<RoleServer>) -> Option<Self> {
        let caller = Self::of_parts(context.extensions.get::<Parts>()?)?;
        let application = context
            .client_info()
            .map(|info| text::clean(&format!("{} {}", info.name, info.version), text::NAME))
            .unwrap_or_default();
        Some(Self { application, ..caller })
    }

    /// As [`Caller::of`], for a message that is no request: what the client calls itself is not known.
    pub(super) fn of_parts(parts: &Parts) -> Option<Self> {
        let Admission { identity, client, scopes } = parts.extensions.get::<Admission>()?.clone();
        let purpose = parts.headers.get(PURPOSE).and_then(|purpose| purpose.to_str().ok());
        let purpose = purpose.unwrap_or_default().trim().to_owned();
        Some(Self { identity, client, application: String::new(), purpose, scopes })
    }
}

/// The scope of `scopes` that a call of `tool` needs and a token lacks; `None` where it may be called.
pub(super) fn lacking<'a>(scopes: Option<&'a Scopes>, tool: &Tool) -> Option<&'a Scope> {
    let scopes = scopes?;
    let reads = tool.annotations.as_ref().is_some_and(|hints| hints.read_only_hint == Some(true));
    Some(if reads { &scopes.read } else { &scopes.write }).filter(|scope| !scope.granted)
}

/// The header by which a client says what its calls are for.
const PURPOSE: &str = "portcullis-purpose";
