//! The one envelope that every tool answers with. Only `status` and `decision_id` are always there; clients
//! show a model this object and nothing else.

use rmcp::model::CallToolResult;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::approval::{Request, State};
use crate::gate::{Denial, DenialKind};
use crate::identity::Identity;

use super::once::UNKNOWN;
use super::text::{MESSAGE, NAME, clean};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It did what it was asked to.
    Ok,
    /// The gate, or a person, said no. Nothing ran.
    Denied,
    /// It would need approval; nobody was asked.
    NeedsApproval,
    /// It waits for approval.
    PendingApproval,
    /// It is running, or about to.
    Running,
    /// It failed.
    Error,
}

/// An answer in the making.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Envelope {
    status: Status,
    fields: Map<String, Value>,
}

/// A no, or a failure, in the words that a model gets.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(super) struct Refusal {
    /// What sort of no: a closed set of words.
    pub(super) code: &'static str,
    /// The rule; empty where none is behind it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) rule: String,
    /// What is wrong.
    pub(super) message: String,
    /// What would work; empty where nothing would.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) hint: String,
    /// Whom to ask for more; empty where that is of no use.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) request_access: String,
}

impl Refusal {
    /// A refusal of this door's own, before or beside the gate.
    pub(super) fn new(code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into(), ..Self::default() }
    }
}

impl Envelope {
    /// An answer with `status`; `decision_id` is empty where no decision was made.
    pub(super) fn new(status: Status, decision_id: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("status".to_owned(), json!(status));
        fields.insert("decision_id".to_owned(), json!(decision_id));
        Self { status, fields }
    }

    /// A failure or refusal of the door's own.
    pub(super) fn error(refusal: &Refusal) -> Self {
        Self::new(Status::Error, "").with("error", json!(refusal))
    }

    /// What the gate said, for `who`.
    pub(super) fn denial(denial: &Denial, who: &Identity) -> Self {
        if let DenialKind::Pending { approval_id, expires_at, url } = &denial.kind {
            return Self::new(Status::PendingApproval, &denial.decision_id)
                .pending(approval_id.as_str(), &expires_at.to_string(), url)
                .with_reason(denial);
        }
        let refusal = refusal(denial, who);
        match denial.kind {
            DenialKind::Unavailable | DenialKind::Overloaded => {
                Self::new(Status::Error, &denial.decision_id).with("error", json!(refusal))
            }
            DenialKind::Policy
            | DenialKind::Syntax
            | DenialKind::Unresolved(_)
            | DenialKind::Mask
            | DenialKind::Pending { .. }
            | DenialKind::NotApproved
            | DenialKind::Changed
            | DenialKind::Stale
            | DenialKind::Database
            | DenialKind::UnknownApproval => {
                Self::new(Status::Denied, &denial.decision_id).with("denial", json!(refusal))
            }
        }
    }

    /// A request that still waits for people.
    pub(super) fn waiting(request: &Request, url: &str) -> Self {
        Self::new(Status::PendingApproval, "")
            .pending(request.id.as_str(), &request.expires_at.to_string(), url)
            .with_standing(request)
            .with("approval", approval(request))
    }

    /// A statement that another call is running.
    pub(super) fn running(approval_id: &str) -> Self {
        Self::new(Status::Running, "")
            .with("approval_id", approval_id)
            .with("poll_after_s", 2)
            .with("next", json!({"tool": "run_approved", "args": {"approval_id": approval_id}}))
            .with("guidance", "Another call is running it. Call `next` for its outcome; it won't run twice.")
    }

    /// An outcome that was kept earlier.
    pub(super) fn kept(outcome: &Value) -> Option<Self> {
        let fields = outcome.as_object()?.clone();
        let status = match fields.get("status")?.as_str()? {
            "ok" => Status::Ok,
            "denied" => Status::Denied,
            "error" => Status::Error,
            _ => return None,
        };
        Some(Self { status, fields }.with("repeated", true))
    }

    /// The same with one more field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// The same with one more field, unless it is there already.
    pub(super) fn with_default(mut self, name: &str, value: impl FnOnce() -> String) -> Self {
        self.fields.entry(name).or_insert_with(|| Value::String(value()));
        self
    }

    /// The same with one more field, where there is something to say.
    pub(super) fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Whether the statement is running still.
    pub(super) fn is_running(&self) -> bool {
        self.status == Status::Running
    }

    /// What was wrong, in words; `None` where nothing was.
    pub(super) fn problem(&self) -> Option<String> {
        let refusal = self.fields.get("error").or_else(|| self.fields.get("denial"))?;
        refusal.get("message")?.as_str().map(str::to_owned)
    }

    /// How the call ended.
    pub(super) fn status(&self) -> Status {
        self.status
    }

    /// A field that is text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// Whether nobody knows if anything was changed.
    pub(super) fn is_unknown(&self) -> bool {
        let code = self.fields.get("error").and_then(|error| error.get("code"));
        code.is_some_and(|code| code == UNKNOWN)
    }

    /// Whether it is an answer for ever.
    pub(super) fn is_final(&self) -> bool {
        match self.status {
            Status::Ok | Status::Denied => true,
            Status::Error => !self.is_unknown(),
            Status::NeedsApproval | Status::PendingApproval | Status::Running => false,
        }
    }

    /// The same, whose denial says which statement would work instead.
    pub(super) fn suggesting(mut self, sql: Option<String>) -> Self {
        if let (Some(sql), Some(denial)) = (sql, self.fields.get_mut("denial").and_then(Value::as_object_mut))
        {
            denial.insert("suggested_sql".to_owned(), json!(sql));
        }
        self
    }

    /// The object as it is kept: without rows. Who asks again may no longer have a right to them.
    pub(super) fn to_keep(&self) -> Value {
        let mut kept = self.to_value();
        forget_rows(&mut kept);
        kept
    }

    /// The object as a model gets it.
    pub(super) fn to_value(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// The tool's result: an error only where it was denied or failed.
    pub(super) fn into_result(self) -> CallToolResult {
        let value = Value::Object(self.fields);
        match self.status {
            Status::Denied | Status::Error => CallToolResult::structured_error(value),
            Status::Ok | Status::NeedsApproval | Status::PendingApproval | Status::Running => {
                CallToolResult::structured(value)
            }
        }
    }

    /// The same with who has yet to say yes, where one yes is not enough.
    pub(super) fn with_standing(self, request: &Request) -> Self {
        match standing(request) {
            Some((progress, seats)) => self.with("progress", progress).with("seats", seats),
            None => self,
        }
    }

    fn pending(self, approval_id: &str, expires_at: &str, url: &str) -> Self {
        let next = json!({"tool": "approval_status", "args": {"approval_id": approval_id, "wait_s": 45}});
        self.with("approval_id", approval_id)
            .with("expires_at", expires_at)
            .with_some("review_url", Some(url).filter(|url| !url.is_empty()))
            .with("poll_after_s", POLL_AFTER_S)
            .with("next", next)
            .with("guidance", PENDING_GUIDANCE)
    }

    fn with_reason(self, denial: &Denial) -> Self {
        let reason = denial.reason();
        self.with_some("rule", reason.map(|reason| clean(&reason.rule, NAME)))
            .with_some("message", reason.map(|reason| clean(&reason.message, MESSAGE)))
            .with_some("hint", reason.map(|reason| clean(&reason.hint, MESSAGE)))
    }
}

/// Takes the rows out of a result, and out of those in it.
fn forget_rows(result: &mut Value) {
    let Some(fields) = result.as_object_mut() else { return };
    if fields.remove("rows").is_some() {
        fields.insert("advice".to_owned(), json!(NOT_KEPT));
    }
    fields.get_mut("returning").into_iter().for_each(forget_rows);
    fields.get_mut("results").and_then(Value::as_array_mut).into_iter().flatten().for_each(forget_rows);
}

/// A request for approval, as its requester sees it.
pub(super) fn approval(request: &Request) -> Value {
    let mut fields = json!({
        "approval_id": request.id,
        "state": request.state,
        "door": request.door,
        "database": request.database,
        "statement": request.statement,
        "rule": clean(&request.rule, NAME),
        "message": clean(&request.message, MESSAGE),
        "asked_at": request.created_at.to_string(),
        "expires_at": request.expires_at.to_string(),
        "approvers": request.groups,
    });
    if let (Some(fields), Some(at)) = (fields.as_object_mut(), request.decided_at) {
        fields.insert("decided_by".to_owned(), json!(clean(&request.decided_by, NAME)));
        fields.insert("decided_at".to_owned(), json!(at.to_string()));
        fields.insert("approver_note".to_owned(), json!(clean(&request.decision_note, MESSAGE)));
    }
    if let (Some(fields), Some((progress, seats))) = (fields.as_object_mut(), standing(request)) {
        fields.insert("progress".to_owned(), progress);
        fields.insert("seats".to_owned(), seats);
    }
    fields
}

/// Who has said yes and who has yet to, where one yes is not enough: in words, and a seat each.
fn standing(request: &Request) -> Option<(Value, Value)> {
    (!request.is_plain()).then(|| (json!(clean(&request.standing(), MESSAGE)), json!(request.progress.seats)))
}

/// Where a request stands, in a sentence of ours.
pub(super) fn state_sentence(request: &Request) -> &'static str {
    match request.state {
        State::Pending if !request.votes.is_empty() => "Others have yet to approve it; `seats` says who.",
        State::Pending => "Nobody has decided yet.",
        State::Approved => "It is approved. `run_approved` runs it, once.",
        State::Denied => "It was refused; `approver_note` says why. Don't submit it again unchanged.",
        State::Expired => "Nobody decided in time. Submit the statement again if it is still needed.",
        State::Withdrawn => "It was withdrawn. Submit the statement again if it is still needed.",
        State::Spent => "It was used. `run_approved` returns the outcome again.",
    }
}

/// Whom `who` can ask for more than it may.
pub(super) fn request_access(who: &Identity) -> String {
    match who.owner() {
        Some(owner) => format!(
            "Ask `{owner}`, who answers for `{}`, to have its scope widened in the gateway's agents folder.",
            who.name()
        ),
        None => {
            format!("Ask the gateway's operator to have the scope of `{}` widened.", who.name())
        }
    }
}

fn refusal(denial: &Denial, who: &Identity) -> Refusal {
    let (code, more_access_would_help) = match denial.kind {
        DenialKind::Policy => ("policy", true),
        DenialKind::Syntax => ("syntax", false),
        DenialKind::Unresolved(_) => ("not_found", true),
        DenialKind::Mask => ("masked", true),
        DenialKind::Pending { .. } => ("pending_approval", false),
        DenialKind::NotApproved => ("not_approved", false),
        DenialKind::Changed | DenialKind::Stale => ("changed", false),
        DenialKind::Database => ("database", true),
        DenialKind::UnknownApproval => ("unknown_approval", false),
        DenialKind::Unavailable => ("unavailable", false),
        DenialKind::Overloaded => ("overloaded", false),
    };
    let reason = denial.reason();
    let words = |text: Option<&String>, max| text.map(|text| clean(text, max)).unwrap_or_default();
    Refusal {
        code,
        rule: words(reason.map(|reason| &reason.rule), NAME),
        message: words(reason.map(|reason| &reason.message), MESSAGE),
        hint: words(reason.map(|reason| &reason.hint), MESSAGE),
        request_access: if more_access_would_help { request_access(who) } else { String::new() },
    }
}

const NOT_KEPT: &str = "Rows are not kept. Where they are still needed, ask for them anew.";
const POLL_AFTER_S: u64 = 15;

const PENDING_GUIDANCE: &str = "A person must approve this statement first. Do other work, then call `next`; \
     do not resubmit or reword it. You may tell the user where it is reviewed.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_holds_no_rows() {
        let rows = json!({"rows": [["secret"]], "row_count": 1});
        let envelope = Envelope::new(Status::Ok, "d")
            .with("rows", json!([["secret"]]))
            .with("rows_affected", 2)
            .with("returning", rows.clone())
            .with("results", json!([{"tag": "UPDATE 1", "returning": rows}]));
        let kept = envelope.to_keep();
        assert!(!kept.to_string().contains("secret"), "{kept}");
        assert_eq!((&kept["rows_affected"], &kept["returning"]["row_count"]), (&json!(2), &json!(1)));
        assert_eq!(kept["returning"]["advice"], NOT_KEPT);
    }
}
