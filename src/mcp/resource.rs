//! What the endpoint is to an authorization server: a protected resource, with a document that says so (RFC 9728), and
//! challenges that lead to it (RFC 6750).

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::Authorization;

/// Where the document is, by every path that clients try: with the endpoint's path behind it, and without.
pub(super) fn paths(authorization: Option<&Authorization>) -> Vec<String> {
    let own = authorization.map(|authorization| path_of(&authorization.resource));
    let mut paths = vec![WELL_KNOWN.to_owned(), format!("{WELL_KNOWN}/mcp")];
    paths.extend(own.filter(|own| !own.is_empty() && own != "/mcp").map(|own| format!("{WELL_KNOWN}{own}")));
    paths
}

/// The document, for everybody: pages of a browser too.
pub(super) async fn document(State(authorization): State<Option<Authorization>>) -> Response {
    let Some(authorization) = authorization else {
        let body = json!({
            "error": "not_found",
            "message": "this gateway takes no access tokens of authorization servers",
            "hint": "send `Authorization: Bearer TOKEN` with your agent's own token; its operator makes one with \
                     `portcullis agent add`",
        });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    let open = [(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (header::CACHE_CONTROL, "max-age=300")];
    (open, Json(described(&authorization))).into_response()
}

fn described(authorization: &Authorization) -> Value {
    let Authorization { resource, issuers } = authorization;
    json!({
        "resource": resource,
        "authorization_servers": issuers.urls().collect::<Vec<_>>(),
        "scopes_supported": issuers.scopes(),
        "bearer_methods_supported": ["header"],
        "resource_name": "Portcullis",
    })
}

/// The `WWW-Authenticate` of a refusal. `error` and what it says are RFC 6750's; no error where no token was sent.
pub(super) fn challenge(
    authorization: Option<&Authorization>,
    error: Option<(&str, &str)>,
    scope: Option<&str>,
) -> String {
    let mut challenge = "Bearer realm=\"portcullis\"".to_owned();
    let mut add = |name: &str, value: &str| {
        let quoted: String =
            value.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
        challenge.push_str(&format!(", {name}=\"{quoted}\""));
    };
    if let Some((error, description)) = error {
        add("error", error);
        add("error_description", description);
    }
    if let Some(authorization) = authorization {
        let first = authorization.issuers.scopes().first().map(|scope| (*scope).to_owned());
        if let Some(scope) = scope.map(str::to_owned).or(first) {
            add("scope", &scope);
        }
        add("resource_metadata", &metadata_url(&authorization.resource));
    }
    challenge
}

/// Where clients find the document of `resource`: its path stands behind the well-known one.
fn metadata_url(resource: &str) -> String {
    let path = path_of(resource);
    let origin = resource.strip_suffix('/').unwrap_or(resource);
    let origin = origin.strip_suffix(path.as_str()).unwrap_or(origin);
    format!("{origin}{WELL_KNOWN}{path}")
}

fn path_of(resource: &str) -> String {
    let uri: Option<Uri> = resource.parse().ok();
    uri.map(|uri| uri.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;
    use crate::control::oidc::{IssuerSettings, Issuers};

    fn at(resource: &str) -> Authorization {
        let issuer = IssuerSettings::new("corp", "https://id.example.com", resource);
        let issuers = Issuers::new(vec![issuer], Arc::new(SystemClock)).unwrap();
        Authorization { resource: resource.to_owned(), issuers: Arc::new(issuers) }
    }

    #[test]
    fn the_document_is_where_clients_look() {
        let usual = at("https://gate.example.com/mcp");
        assert_eq!(paths(Some(&usual)), [WELL_KNOWN, "/.well-known/oauth-protected-resource/mcp"]);
        let deep = at("https://example.com/a/mcp/");
        assert_eq!(paths(Some(&deep)).last().unwrap(), "/.well-known/oauth-protected-resource/a/mcp");
        for (resource, url) in [
            ("https://g.example/mcp", "https://g.example/.well-known/oauth-protected-resource/mcp"),
            ("https://g.example/a/mcp/", "https://g.example/.well-known/oauth-protected-resource/a/mcp"),
            ("https://g.example/", "https://g.example/.well-known/oauth-protected-resource"),
            ("http://[::1]:8432/mcp", "http://[::1]:8432/.well-known/oauth-protected-resource/mcp"),
        ] {
            assert_eq!(metadata_url(resource), url);
        }
    }

    #[test]
    fn a_challenge_leads_to_the_document_and_nothing_breaks_out_of_it() {
        let usual = at("https://gate.example.com/mcp");
        insta::assert_snapshot!(
            challenge(Some(&usual), None, None),
            @r#"Bearer realm="portcullis", scope="sql:read", resource_metadata="https://gate.example.com/.well-known/oauth-protected-resource/mcp""#
        );
        insta::assert_snapshot!(
            challenge(None, Some(("invalid_token", "a\"b\\c\r\nSet-Cookie: \u{e9}")), None),
            @r#"Bearer realm="portcullis", error="invalid_token", error_description="abcSet-Cookie: ""#
        );
    }
}
