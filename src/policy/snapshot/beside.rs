//! Decisions on inputs that are documents: beside the door, where nothing runs because of them.

use serde_json::Value;

use super::super::answer::{self, PolicyError};
use super::super::escalation::Electorate;
use super::super::input::IdentityInput;
use super::super::{Decision, Reason, load};
use super::{Merged, Snapshot};

impl Snapshot {
    /// What this rulebook would say to `input`, an input of `portcullis.statement` as a document, if nobody had approved
    /// anything. Whatever goes wrong is a deny.
    #[must_use]
    pub fn decide_document(&self, input: &Value) -> Decision {
        self.decided(self.imagined(input).unwrap_or_else(|error| answer::denied(error.reason())))
    }

    fn imagined(&self, input: &Value) -> Result<Merged, PolicyError> {
        let text = |path: &str| input.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let holds = |path: &str| input.pointer(path) == Some(&Value::Bool(true));
        let kind = input.pointer("/identity/kind").cloned().unwrap_or_default();
        let name = text("/identity/name");
        let file = Some(text("/identity/file")).filter(|file| !file.is_empty()).unwrap_or(name);
        let Ok(kind) = serde_json::from_value(kind) else {
            return Ok(answer::denied(Reason::new("identity", "the input names no identity", "")));
        };
        let who = IdentityInput { file, owner: text("/identity/owner"), ..IdentityInput::named(name, kind) };
        let file = self.known(&who)?;
        if input.pointer("/statement/unresolved/0").is_some() && !holds("/unjudged") {
            let message = "the statement names what is not there";
            return Ok(answer::denied(Reason::new("unresolved", message, "")));
        }
        let is_bound = holds("/bind/known") && self.asks("bind");
        let said = self.ask(if is_bound { load::BOUND } else { "statement" }, input)?;
        let electorate = Electorate::of(&self.agents, &who);
        let merged =
            answer::statement(&self.read("statement", &said), &electorate, &[], answer::file_limits(file))?;
        let forbidden = holds("/unjudged") && !(merged.masks.is_empty() && merged.detect.is_empty());
        Ok(if forbidden { answer::unjudged_with_masks() } else { merged })
    }
}
