//! What a token says, once its signature holds.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Uri;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::identity::vouched::Testimony;

use super::{IssuerSettings, TokenError};

/// The claims of a token whose signature holds.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) fn of(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Until when the token is good, if it is good at `now` and meant for `audience`.
    pub(super) fn meant_for(
        &self,
        audience: &str,
        now: Timestamp,
        leeway: Duration,
    ) -> Result<Timestamp, TokenError> {
        let named: Vec<&str> = match self.0.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) if all.len() <= MOST_AUDIENCES => {
                all.iter().filter_map(Value::as_str).collect()
            }
            _ => return Err(TokenError::Claim("aud")),
        };
        let wanted = canonical(audience);
        if !named.into_iter().any(|named| canonical(named) == wanted) {
            return Err(TokenError::Audience { wanted: audience.to_owned() });
        }
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(0);
        let now = now.as_second();
        let expires = self.time("exp")?.ok_or(TokenError::Claim("exp"))?;
        if now >= expires.saturating_add(leeway) {
            return Err(TokenError::Expired);
        }
        for begins in ["nbf", "iat"] {
            if self.time(begins)?.is_some_and(|begins| begins > now.saturating_add(leeway)) {
                return Err(TokenError::NotYet);
            }
        }
        Ok(Timestamp::from_second(expires).unwrap_or(Timestamp::MAX))
    }

    /// Who came, and what is said of them.
    pub(super) fn testimony(&self, settings: &IssuerSettings) -> Result<Testimony, TokenError> {
        let client = self.client()?;
        let subject = match self.0.get("sub") {
            Some(subject) => named(subject, "sub")?,
            // What some issuers leave out of a client's own token.
            None if !client.is_empty() => client.clone(),
            None => return Err(TokenError::Claim("sub")),
        };
        let groups: BTreeSet<&String> = match self.0.get(&settings.groups_claim) {
            Some(groups) => texts(groups).iter().filter_map(|group| settings.groups.get(group)).collect(),
            None => BTreeSet::new(),
        };
        let shown = settings.claims.iter().filter_map(|name| {
            let values = texts(self.0.get(name)?);
            (!values.is_empty()).then(|| (name.clone(), values))
        });
        let task = settings.task_claim.as_ref().and_then(|claim| self.0.get(claim));
        Ok(Testimony {
            issuer: settings.name.clone(),
            actors: self.actors(settings)?,
            groups: groups.into_iter().cloned().collect(),
            claims: shown.collect(),
            task: task.map(texts).and_then(|texts| Some(printable(texts.first()?))).unwrap_or_default(),
            subject,
            client,
        })
    }

    /// The client that the token was given to, by whatever name issuers have for it; empty where it does not say. Names that
    /// contradict each other are refused: one may be of an agent that acts, and the other not.
    fn client(&self) -> Result<String, TokenError> {
        let mut said = CLIENT_CLAIMS.iter().filter_map(|claim| self.0.get(*claim));
        let Some(client) = said.next() else { return Ok(String::new()) };
        if said.any(|other| other != client) {
            return Err(TokenError::Claim("client_id"));
        }
        named(client, "client_id")
    }

    /// Who acts for the subject (RFC 8693 section 4.1). What is there and can't be read is no token of nobody's: it is
    /// refused, so that an agent is never taken for the person that it acts for.
    fn actors(&self, settings: &IssuerSettings) -> Result<Vec<String>, TokenError> {
        let mut actors = Vec::new();
        let mut next = self.0.get("act");
        while let Some(act) = next {
            let fields = act.as_object().filter(|_| actors.len() < MOST_ACTORS);
            let fields = fields.ok_or(TokenError::Claim("act"))?;
            let is_theirs = fields.get("iss").is_none_or(|issuer| issuer == settings.url.as_str());
            let who = fields.get("sub").or_else(|| fields.get("client_id")).filter(|_| is_theirs);
            actors.push(named(who.ok_or(TokenError::Claim("act"))?, "act")?);
            next = fields.get("act");
        }
        Ok(actors)
    }

    /// The token's scopes: a text with spaces (RFC 6749), or a list as some issuers have it.
    pub(super) fn scopes(&self) -> Result<BTreeSet<&str>, TokenError> {
        match self.0.get("scope").or_else(|| self.0.get("scp")) {
            None => Ok(BTreeSet::new()),
            Some(Value::String(all)) => Ok(all.split(' ').filter(|scope| !scope.is_empty()).collect()),
            Some(Value::Array(all)) => Ok(all.iter().filter_map(Value::as_str).collect()),
            Some(_) => Err(TokenError::Claim("scope")),
        }
    }

    /// Seconds since 1970-01-01; parts of a second count for nothing.
    fn time(&self, name: &'static str) -> Result<Option<i64>, TokenError> {
        let Some(written) = self.0.get(name) else { return Ok(None) };
        let whole = written.as_i64().or_else(|| {
            let seconds = written.as_f64().filter(|seconds| seconds.abs() < LATEST)?;
            #[expect(clippy::cast_possible_truncation, reason = "it is within bounds, and parts don't count")]
            Some(seconds.floor() as i64)
        });
        whole.map(Some).ok_or(TokenError::Claim(name))
    }
}

/// A name that is there, and of a sensible length.
fn named(value: &Value, claim: &'static str) -> Result<String, TokenError> {
    let text = value.as_str().filter(|text| !text.is_empty() && text.len() <= LONGEST_NAME);
    text.map(str::to_owned).ok_or(TokenError::Claim(claim))
}

/// The texts of a claim: one, or a list. Objects have none.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null | Value::Object(_) => Vec::new(),
        Value::Bool(value) => vec![value.to_string()],
        Value::Number(value) => vec![value.to_string()],
        Value::String(value) => vec![value.clone()],
        Value::Array(values) => values.iter().filter(|value| !value.is_array()).flat_map(texts).collect(),
    }
}

/// What a log and a PostgreSQL setting can show.
fn printable(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '!'..='~')).take(LONGEST_TASK).collect()
}

/// A resource as RFC 8707 and MCP compare it: scheme and host in lower case, without a default port or a slash at its end.
/// What is no address is compared as it is.
fn canonical(text: &str) -> String {
    let parsed = text.parse::<Uri>().ok().filter(|_| !text.contains('#'));
    let Some((uri, scheme)) = parsed.as_ref().and_then(|uri| Some((uri, uri.scheme_str()?))) else {
        return text.to_owned();
    };
    let Some(authority) = uri.authority() else { return text.to_owned() };
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.as_str().to_ascii_lowercase());
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let authority = authority.strip_suffix(usual).unwrap_or(&authority);
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    format!("{scheme}://{authority}{}", path.strip_suffix('/').unwrap_or(path))
}

const MOST_AUDIENCES: usize = 16;
/// RFC 9068, OpenID Connect, Okta, and Microsoft's older tokens.
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];
const MOST_ACTORS: usize = 8;
/// Bytes of a subject or client: OpenID Connect allows subjects 255.
const LONGEST_NAME: usize = 255;
const LONGEST_TASK: usize = 64;
/// The year 275760, in seconds: beyond it a number is no time.
const LATEST: f64 = 8.64e12;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Claims, canonical};

    #[test]
    fn a_client_is_found_by_whatever_name_an_issuer_has_for_it_and_never_by_two() {
        let client = |claims: serde_json::Value| Claims::of(claims.as_object().cloned().unwrap()).client();
        for claim in ["client_id", "azp", "cid", "appid"] {
            assert_eq!(client(json!({claim: "bot"})).unwrap(), "bot");
        }
        assert_eq!(client(json!({"azp": "bot", "client_id": "bot"})).unwrap(), "bot");
        assert!(client(json!({"azp": "desk", "cid": "bot"})).is_err());
        assert!(client(json!({"appid": 7})).is_err());
        assert_eq!(client(json!({"sub": "ana"})).unwrap(), "");
    }

    #[test]
    fn resources_are_the_same_whatever_way_they_are_written_and_no_others_are() {
        let ours = canonical("https://gate.example.com/mcp");
        for same in [
            "HTTPS://Gate.Example.com/mcp",
            "https://gate.example.com:443/mcp",
            "https://gate.example.com/mcp/",
        ] {
            assert_eq!(canonical(same), ours, "{same}");
        }
        for other in [
            "http://gate.example.com/mcp",
            "https://gate.example.com",
            "https://gate.example.com/MCP",
            "https://gate.example.com:8443/mcp",
            "https://gate.example.com/mcp?x",
            "https://gate.example.com/mcp#x",
            "https://gate.example.com.evil/mcp",
            "gate.example.com/mcp",
            "",
        ] {
            assert_ne!(canonical(other), ours, "{other}");
        }
        assert_eq!(canonical("api://1b4e/mcp"), "api://1b4e/mcp");
        assert_eq!(canonical("1b4e-28ba"), "1b4e-28ba");
    }
}
