//! What is done with a recipe, as its `.toml` says it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Steps, and what stands ready before the first one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    /// SQL that the database's owner runs before.
    #[serde(default)]
    pub(super) setup: String,
    /// SQL that takes it back, where other recipes would notice.
    #[serde(default)]
    pub(super) undo: String,
    /// Whether row filters are put in force, as by `portcullis rls apply`.
    #[serde(default)]
    pub(super) row_filters: bool,
    /// Identities' files by name, besides the shipped ones or in place of them.
    #[serde(default)]
    pub(super) agents: BTreeMap<String, String>,
    /// What data files say otherwise: by name of the shipped file or the recipe, then by field.
    #[serde(default)]
    pub(super) data: BTreeMap<String, Map<String, Value>>,
    pub(super) step: Vec<Step>,
}

/// One thing that somebody does.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    /// Who.
    #[serde(rename = "as")]
    pub(super) who: String,
    #[serde(default)]
    pub(super) door: Entrance,
    /// The MCP tool.
    #[serde(default = "query")]
    pub(super) tool: String,
    /// What the tool is called with besides.
    #[serde(default)]
    pub(super) arguments: Map<String, Value>,
    pub(super) sql: String,
    /// Values for $1, $2, ...
    #[serde(default)]
    pub(super) values: Vec<i32>,
    /// Who votes once it waits, in order: `priya`, or `no priya`.
    #[serde(default)]
    pub(super) votes: Vec<String>,
    /// What readers should know.
    #[serde(default)]
    pub(super) note: String,
    /// What the session says that it is for.
    #[serde(default)]
    pub(super) purpose: String,
    /// What the client says of itself.
    #[serde(default)]
    pub(super) application: String,
    /// Whether rows are only counted.
    #[serde(default)]
    pub(super) quiet: bool,
    /// How often.
    #[serde(default = "once")]
    pub(super) times: usize,
    /// Whether it is a COPY to the client.
    #[serde(default)]
    pub(super) copy: bool,
    /// When: then the rulebook is asked about that moment, and nothing runs.
    pub(super) at: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entrance {
    #[default]
    Wire,
    Tools,
}

fn query() -> String {
    "query".to_owned()
}

fn once() -> usize {
    1
}
