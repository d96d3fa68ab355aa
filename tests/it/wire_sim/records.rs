//! What the ledger has allowed, held against what a server was really told.

use std::collections::HashSet;

use portcullis::upstream::outbox::NEVER_PARSES;

use super::rig::Rig;

/// Every text that a durable record allows, as far as the ledger was read.
#[derive(Debug, Default)]
pub(super) struct Records {
    allowed: HashSet<String>,
    /// How many calls of a function were allowed.
    pub(super) calls: usize,
    read: usize,
}

impl Records {
    /// Reads what has been recorded since.
    pub(super) fn read(&mut self, rig: &Rig) {
        let text = rig.disk.text();
        for line in text[self.read..].lines() {
            self.collect(&serde_json::from_str(line).unwrap());
        }
        self.read = text.len();
    }

    /// Whether a server may have been told `text`.
    pub(super) fn allow(&self, text: &str) -> bool {
        // ROLLBACK is always possible, with a full disk too; then COMMIT becomes one.
        let ours = text == NEVER_PARSES || text.eq_ignore_ascii_case("rollback");
        let known = |text: &str| self.allowed.contains(text.trim());
        // The statements of one string have a record each, unless nobody could read it; one of no statement has nothing
        // that could run.
        ours || text.is_empty() || known(text) || text.split(';').all(known)
    }

    /// Reads what has been recorded since, and holds everything that servers were told against it.
    pub(super) fn assert_allow(&mut self, rig: &Rig, told: &[String]) {
        self.read(rig);
        let unknown: Vec<_> = told.iter().filter(|text| !self.allow(text)).collect();
        assert!(unknown.is_empty(), "no record allows {unknown:?}");
    }

    /// Every text in a decision to allow.
    fn collect(&mut self, line: &serde_json::Value) {
        let Some(decided) = find(&line["record"], "decision") else { return };
        // A statement that will have to wait when it is bound may be prepared: nothing runs then.
        let allows = match decided["via"].as_str() {
            Some("prepare") => decided["decision"] != "deny",
            _ => decided["decision"] == "allow",
        };
        if allows {
            self.calls += usize::from(decided["via"] == "function_call");
            let texts = ["statement", "sent"].map(|field| line["text"][field].as_str());
            self.allowed.extend(texts.into_iter().flatten().map(|text| text.trim().to_owned()));
        }
    }
}

/// The innermost object that has `field` as a text.
fn find<'a>(value: &'a serde_json::Value, field: &str) -> Option<&'a serde_json::Value> {
    let members = value.as_object()?;
    if members.get(field).is_some_and(serde_json::Value::is_string) {
        return Some(value);
    }
    members.values().find_map(|member| find(member, field))
}
