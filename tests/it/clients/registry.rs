//! `server.json`, by which registries of MCP servers list the gateway, against what they require.

use regex::Regex;
use serde_json::Value;

use super::text;

#[test]
fn server_json_is_of_this_version_and_as_registries_want_it() {
    let server: Value = serde_json::from_str(&text("server.json")).unwrap();
    assert_eq!(server["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(server["repository"]["url"], env!("CARGO_PKG_REPOSITORY"));
    let name = Regex::new("^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$").unwrap();
    assert!(name.is_match(server["name"].as_str().unwrap()));
    for field in ["title", "description"] {
        let text = server[field].as_str().unwrap();
        assert!((1..=100).contains(&text.chars().count()), "{field} has {}", text.chars().count());
    }
    for remote in server["remotes"].as_array().unwrap() {
        assert_eq!(remote["type"], "streamable-http");
        known(&remote["url"], &remote["variables"]);
        for header in remote["headers"].as_array().unwrap() {
            known(&header["value"], &header["variables"]);
            assert_eq!(header["isSecret"], true, "{header}");
        }
    }
}

/// Every `{variable}` of a text is described.
fn known(text: &Value, variables: &Value) {
    for name in Regex::new(r"\{([a-zA-Z_]+)\}").unwrap().captures_iter(text.as_str().unwrap()) {
        assert!(variables[&name[1]]["description"].is_string(), "`{}` of {text} is not described", &name[1]);
    }
}
