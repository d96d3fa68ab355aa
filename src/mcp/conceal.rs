//! Keeps hidden objects hidden: a statement that names one is refused in the very words, and with the very
//! fields, that a statement gets which names nothing that exists.

use std::sync::Arc;

use crate::gate::{Context, Denial, DenialKind, Missing, Sight};
use crate::identity::Identity;
use crate::sql::Facts;

use super::rooms::Rooms;
use super::text::{MESSAGE as LONGEST, clean};

/// Who asks, where, and by which tool for what purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) rooms: &'a Rooms,
    pub(super) who: &'a Identity,
    pub(super) context: &'a Arc<Context>,
    pub(super) tool: &'a str,
    pub(super) purpose: &'a str,
    /// How often the statement was judged before it is told what came of that.
    pub(super) judged: u8,
}

impl Asker<'_> {
    /// `denial` of a statement with these `facts`, as it may be told.
    pub(super) async fn told(&self, denial: Denial, facts: &[&Facts]) -> Denial {
        let tells = match denial.kind {
            DenialKind::Policy | DenialKind::Unresolved(_) | DenialKind::Mask => true,
            DenialKind::Syntax
            | DenialKind::Pending { .. }
            | DenialKind::NotApproved
            | DenialKind::Changed
            | DenialKind::Stale
            | DenialKind::Database
            | DenialKind::UnknownApproval
            | DenialKind::Unavailable
            | DenialKind::Overloaded => false,
        };
        if !tells {
            return denial;
        }
        let decision_id = denial.decision_id.clone();
        let by = (self.tool, self.purpose);
        let sight = self.rooms.gate.sight(self.who, self.context, facts, by, self.judged).await;
        let told = match sight {
            Ok(Sight::Clear) if reaches_further(facts) => self.without_hidden(denial),
            Ok(Sight::Clear) => denial,
            Ok(Sight::Shape(instead)) => instead,
            Ok(Sight::Hidden { relations }) => not_found(&relations),
            Err(unavailable) => unavailable,
        };
        Denial { decision_id, ..told }
    }

    /// `denial` without the reasons that name what must stay hidden.
    fn without_hidden(&self, mut denial: Denial) -> Denial {
        denial.reasons.retain(|reason| !self.names_hidden(&format!("{}\n{}", reason.message, reason.hint)));
        if denial.reasons.is_empty() { not_found(&[]) } else { denial }
    }

    /// What the database says, in one line and bounded; `None` where it names what must stay hidden.
    pub(super) fn heard(&self, text: &str) -> Option<String> {
        (!self.names_hidden(text)).then(|| clean(text, LONGEST))
    }

    /// Whether `text` names what must stay hidden.
    pub(super) fn names_hidden(&self, text: &str) -> bool {
        self.rooms.gate.names_hidden(self.who, self.context, text).unwrap_or(true)
    }
}

/// The refusal of what was not found, or is not for the caller.
pub(super) fn not_found(relations: &[String]) -> Denial {
    let message = match relations {
        [] => MESSAGE.to_owned(),
        [one] => format!("`{}` was not found, or you may not use it", clean(one, LONGEST)),
        several => {
            let names: Vec<String> = several.iter().map(|name| clean(name, LONGEST)).collect();
            format!("`{}` were not found, or you may not use them", names.join("`, `"))
        }
    };
    Denial::because(DenialKind::Unresolved(Missing::Other), RULE, message, HINT)
}

/// Whether a statement reaches what it does not name itself: rules may speak of that too.
fn reaches_further(facts: &[&Facts]) -> bool {
    facts.iter().any(|facts| facts.tables.iter().any(|table| !table.via_view.is_empty()))
}

/// The rule's name in such a refusal.
const RULE: &str = "not_found_or_not_permitted";
/// What is wrong.
const MESSAGE: &str =
    "a table, column or function that the statement names was not found, or you may not use it";
/// What would work.
pub(super) const HINT: &str = "`search_schema` lists the tables and columns that you can use";
