//! `.manifest`: what a bundle says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{BundleError, MANIFEST};

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// Its version in the words of whoever made it; may be empty.
    pub revision: String,
    /// The paths below `data` that are its own, with `/` between names; the empty path is everything.
    pub roots: Vec<String>,
    /// The Rego version of its policies: 1.
    pub rego_version: u8,
    /// Whatever its maker adds.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub metadata: Map<String, Value>,
}

/// As written. Fields that OPA does not know either are skipped, as OPA does.
#[derive(Debug, Deserialize)]
struct Written {
    revision: Option<String>,
    roots: Option<Vec<String>>,
    rego_version: Option<u64>,
    file_rego_versions: Option<BTreeMap<String, u64>>,
    wasm: Option<Vec<Value>>,
    metadata: Option<Map<String, Value>>,
}

impl Manifest {
    pub(super) fn parse(text: &str) -> Result<Self, BundleError> {
        let refused = |why: String| BundleError::File { path: MANIFEST.to_owned(), why };
        let written: Written =
            serde_json::from_str(text).map_err(|error| refused(format!("is no manifest: {error}")))?;
        let versions = written.file_rego_versions.unwrap_or_default();
        if written.rego_version.is_some_and(|version| version != 1) || versions.values().any(|v| *v != 1) {
            let why = "asks for another `rego_version` than 1: rewrite the policies (`opa fmt --rego-v1`)";
            return Err(refused(why.to_owned()));
        }
        if written.wasm.is_some_and(|resolvers| !resolvers.is_empty()) {
            return Err(refused("leads to WebAssembly, which is not read: build with `-t rego`".to_owned()));
        }
        let roots = written.roots.unwrap_or_else(|| vec![String::new()]);
        let roots: Vec<String> = roots.iter().map(|root| root.trim_matches('/').to_owned()).collect();
        for (at, root) in roots.iter().enumerate() {
            if let Some(other) = roots.iter().take(at).find(|other| super::roots::overlap(other, root)) {
                return Err(refused(format!("has roots that overlap: `{other}` and `{root}`")));
            }
        }
        Ok(Self {
            revision: written.revision.unwrap_or_default(),
            roots,
            rego_version: 1,
            metadata: written.metadata.unwrap_or_default(),
        })
    }
}

impl Default for Manifest {
    /// That of a bundle without one: it owns everything.
    fn default() -> Self {
        Self { revision: String::new(), roots: vec![String::new()], rego_version: 1, metadata: Map::new() }
    }
}
