//! The headers that say what a message is: since 2026-07-28 an HTTP request must repeat its method, its target
//! and its protocol version there, so that proxies can route it.

use serde_json::Value;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderName, HeaderValue};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The headers of `message`; `agreed` is the version that `initialize` agreed on. `initialize` itself goes without
/// a version, so that the gateway can agree on another than the one it proposes.
pub(super) fn standard_headers(message: &Value, agreed: Option<&str>) -> Vec<(HeaderName, HeaderValue)> {
    let text = |pointer| message.pointer(pointer).and_then(Value::as_str);
    let method = text("/method");
    let version = text(OWN_VERSION).or(agreed).filter(|_| method != Some("initialize"));
    let name = match method {
        Some("tools/call" | "prompts/get") => text("/params/name"),
        Some("resources/read" | "resources/subscribe" | "resources/unsubscribe") => text("/params/uri"),
        Some("tasks/get" | "tasks/update" | "tasks/cancel") => text("/params/taskId"),
        _ => None,
    };
    [(VERSION, version), (METHOD, method), (NAME, name)]
        .into_iter()
        .filter_map(|(header, value)| Some((header, header_value(value?)?)))
        .collect()
}

/// A value that a header can't hold as it is travels in Base64 between `=?base64?` and `?=`.
fn header_value(text: &str) -> Option<HeaderValue> {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && text.trim() == text
        && !(text.starts_with(PREFIX) && text.ends_with(SUFFIX));
    if plain {
        return HeaderValue::from_str(text).ok();
    }
    HeaderValue::from_str(&format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text))).ok()
}

/// Where a message of the stateless era says its version.
const OWN_VERSION: &str = "/params/_meta/io.modelcontextprotocol~1protocolVersion";
const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn headers(message: &Value, agreed: Option<&str>) -> Vec<(String, String)> {
        let text = |value: HeaderValue| value.to_str().unwrap().to_owned();
        standard_headers(message, agreed)
            .into_iter()
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_stateless_call_names_its_version_method_and_tool() {
        let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28"});
        let call = json!({"method": "tools/call", "params": {"name": "query", "_meta": meta}});
        let expected = [
            pair("mcp-protocol-version", "2026-07-28"),
            pair("mcp-method", "tools/call"),
            pair("mcp-name", "query"),
        ];
        assert_eq!(headers(&call, Some("2025-06-18")), expected);
    }

    #[test]
    fn a_session_keeps_the_version_it_began_with() {
        let call = json!({"method": "tools/list"});
        let expected = [pair("mcp-protocol-version", "2025-06-18"), pair("mcp-method", "tools/list")];
        assert_eq!(headers(&call, Some("2025-06-18")), expected);
        let first = json!({"method": "initialize", "params": {"protocolVersion": "2025-11-25"}});
        assert_eq!(headers(&first, None), [pair("mcp-method", "initialize")]);
    }

    #[test]
    fn a_name_cannot_smuggle_a_header() {
        let call = json!({"method": "tools/call", "params": {"name": "a\r\nAuthorization: x"}});
        assert_eq!(headers(&call, None)[1].1, "=?base64?YQ0KQXV0aG9yaXphdGlvbjogeA==?=");
        let call = json!({"method": "tools/call", "params": {"name": "=?base64?YQ==?="}});
        assert!(headers(&call, None)[1].1.len() > "=?base64?YQ==?=".len());
    }
}
