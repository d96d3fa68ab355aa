//! The rulebook and the identities that ship, inside the binary: the demo needs no checkout.

/// Files with their places below a folder.
pub(super) type Files = &'static [(&'static str, &'static str)];

macro_rules! embedded {
    ($folder:literal: $($path:literal)+) => {
        &[$(($path, include_str!(concat!("../../../", $folder, "/", $path)))),+]
    };
}

/// `policies/`, without its tests.
pub(super) const POLICIES: Files = embedded!("policies":
    "approval.rego"
    "connect.rego"
    "lib.rego"
    "row_filter.rego"
    "session.rego"
    "statement/channels.rego"
    "statement/detectors.rego"
    "statement/functions.rego"
    "statement/kinds.rego"
    "statement/masks.rego"
    "statement/reads.rego"
    "statement/settings.rego"
    "statement/writes.rego"
    "data/catalog.json"
    "data/channels.json"
    "data/connect.json"
    "data/detectors.json"
    "data/functions.json"
    "data/kinds.json"
    "data/label_rules.json"
    "data/labels.json"
    "data/masks.json"
    "data/row_filters.json"
    "data/row_values.json"
    "data/rulebook.json"
    "data/settings.json"
);

/// `agents/`.
pub(super) const AGENTS: Files = embedded!("agents": "ana.toml" "dora.toml" "priya.toml" "support-bot.toml");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::sources;

    #[test]
    fn everything_that_ships_is_inside() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut policies = POLICIES.to_vec();
        policies.sort_unstable();
        let shipped = sources::rulebook(&root.join("policies")).unwrap();
        let shipped: Vec<_> = shipped
            .iter()
            .map(|source| (source.path.as_str(), source.text.as_str()))
            .filter(|(path, _)| !path.ends_with("_test.rego"))
            .collect();
        assert_eq!(policies, shipped);

        let shipped = sources::agents(&root.join("agents")).unwrap();
        let shipped: Vec<_> =
            shipped.iter().map(|source| (source.path.as_str(), source.text.as_str())).collect();
        assert_eq!(AGENTS.to_vec(), shipped);
    }
}
