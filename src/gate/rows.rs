//! The row filters of a session: what it was opened with, and what the rulebook says of them since.
//!
//! The values of filters reach the server once, when a session opens. Should the rulebook say otherwise later, a
//! statement on the rows they are about is denied until the client connects again: which rows there are is never a
//! matter of which session one has kept.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use crate::catalog::Snapshot;
use crate::mask::{NOT_IN_FORCE, RowGrants, Rows};
use crate::policy::input::ApprovalEvidence;
use crate::policy::{Decision, Reason};
use crate::sql::Item;
use crate::sql::facts::SettingFact;

use super::complete::{Completed, Part};
use super::connect::Asked;
use super::judge::{Case, Verdict};
use super::memory::Reading;
use super::{Context, Denial, DenialKind, Gate, Rules};

/// The filters of one session.
#[derive(Debug, Default)]
pub(super) struct Filtered {
    /// As the server was given them.
    pub(super) pinned: RowGrants,
    known: ArcSwapOption<Known>,
}

/// What the rulebook said when it was last asked.
#[derive(Debug)]
struct Known {
    revision: String,
    /// Rules may go by it.
    clocks: Vec<u8>,
    rows: Arc<Rows>,
}

impl Filtered {
    /// Of a session that is given `pinned`.
    pub(super) fn new(pinned: RowGrants) -> Self {
        Self { pinned, known: ArcSwapOption::empty() }
    }
}

impl Gate {
    /// As [`Gate::judge_once`]; again where a row filter is not in force by a catalog that is not the newest: somebody
    /// may have seen to it meanwhile.
    pub(super) async fn judge(
        &self,
        case: &Case<'_>,
        approvals: &[ApprovalEvidence],
    ) -> Result<Verdict, Denial> {
        let first = self.judge_once(case, approvals).await;
        let not_in_force =
            |denial: &Denial| denial.reason().is_some_and(|reason| reason.hint == NOT_IN_FORCE);
        if !first.as_ref().is_err_and(not_in_force) {
            return first;
        }
        let database = case.context.database();
        let before = self.catalogs.current(database).map(|catalog| catalog.version());
        if before == Some(self.refreshed(database).await?.version()) {
            return first;
        }
        self.judge_once(case, approvals).await
    }

    /// The row filters for a statement of `case`; `None` where there are none, or it touches no relation.
    pub(super) fn rows(
        &self,
        rules: &Rules,
        case: &Case<'_>,
        analysis: &Reading,
    ) -> Result<Option<Arc<Rows>>, Denial> {
        let context = case.context;
        // An unjudged session is one that no filter holds.
        let touches = analysis.items().iter().any(|item| !item.facts.tables.is_empty());
        if context.is_unjudged() || !touches {
            return Ok(None);
        }
        let filters = rules.policy.row_filters(context.database());
        let filters = filters.map_err(|reason| Denial::of(DenialKind::Policy, vec![reason]))?;
        if filters.is_empty() {
            return Ok(None);
        }
        let clocks = rules.policy.clocks(self.clock.now());
        let holds = |known: &Arc<Known>| known.revision == rules.policy.revision() && known.clocks == clocks;
        if let Some(known) = context.filtered.known.load_full().filter(holds) {
            return Ok(Some(Arc::clone(&known.rows)));
        }
        let roles = self.catalogs.roles(context.database()).unwrap_or_default();
        let asked = Asked {
            who: case.principal,
            door: context.door(),
            database: context.database(),
            settings: &context.origin.asked,
            session: context.facts(),
        };
        let now = self.session(rules, &asked, roles)?.rows;
        let rows = Arc::new(Rows::new(now, &context.filtered.pinned, self.user_of(context)));
        context.filtered.known.store(Some(Arc::new(Known {
            revision: rules.policy.revision().to_owned(),
            clocks,
            rows: Arc::clone(&rows),
        })));
        Ok(Some(rows))
    }

    /// The user that a session has upstream, where that is the gateway's to say.
    fn user_of(&self, context: &Context) -> Option<String> {
        self.catalogs.user(context.database(), context.role()).map(str::to_owned)
    }

    /// `decision`, over the rows that filters leave.
    pub(super) fn over(&self, decision: Arc<Decision>, rows: Option<&Arc<Rows>>) -> Arc<Decision> {
        let Some(rows) = rows else { return decision };
        let masks = self.memory.over(&decision.masks, rows);
        Arc::new(Decision { masks, ..Decision::clone(&decision) })
    }

    /// Refuses statements whose row filters are not in force, or that go past them.
    pub(super) fn rows_hold(
        &self,
        completed: &Completed,
        decisions: &[Arc<Decision>],
        catalog: &Arc<Snapshot>,
    ) -> Result<(), Denial> {
        for (index, (item, decision)) in completed.analysis.items().iter().zip(decisions).enumerate() {
            if decision.masks.rows().is_empty() {
                continue;
            }
            let governed = self.memory.governed(&decision.masks, catalog);
            // What runs by name names its tables itself.
            let part = completed.part(index);
            let mut item = item;
            if let Part::Runs { what, wrapped: false, .. } = &part {
                item = what.items().first().unwrap_or(item);
            }
            if let Some(refusal) = governed.row_refusal(item, catalog) {
                return Err(Denial::because(DenialKind::Policy, RULE, refusal.what, refusal.hint));
            }
        }
        Ok(())
    }
}

/// Row filters are for the role that a session was opened with, and for the settings it was given; nobody has read what
/// code that a statement brings along does to them.
pub(super) fn session_stays(context: &Context, items: &[Item]) -> Result<(), Denial> {
    if !context.filtered.pinned.hide() {
        return Ok(());
    }
    // A name that comes as a bind value could be any.
    let may_become = |name: &str| BECOMES.contains(&name) || name.starts_with('$');
    let becomes_another =
        |setting: &SettingFact| setting.action.starts_with("set") && may_become(&setting.name);
    for item in items {
        if item.facts.settings.iter().any(becomes_another) {
            let message = "row filters hold for the role that the session was opened with, so it must stay";
            let hint = "leave out SET ROLE and SET SESSION AUTHORIZATION";
            return Err(Denial::because(DenialKind::Policy, RULE, message, hint));
        }
        let runs_text = item.facts.functions.iter().any(|function| RUN_TEXT.contains(&function.key.as_str()));
        if runs_text || CODE.contains(&item.facts.kind.as_str()) {
            let message =
                "rows are filtered for you, and what this code would do to the filters is not known";
            return Err(Denial::because(DenialKind::Policy, RULE, message, "send its statements one by one"));
        }
    }
    Ok(())
}

/// What a session that is about to open is given, if its settings can carry it.
pub(super) fn pinned(rows: RowGrants, unjudged: bool) -> Result<Filtered, Denial> {
    if unjudged && rows.hide() {
        return Err(Denial::of(DenialKind::Policy, vec![unjudged_with_filters()]));
    }
    let bytes: usize = rows.settings().iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if bytes > MOST_BYTES {
        return Err(Denial::because(
            DenialKind::Policy,
            RULE,
            format!(
                "the values of your row filters take {bytes} bytes, and a session can be opened with {MOST_BYTES}"
            ),
            "whoever keeps the rulebook must give fewer values, of something that stands above them",
        ));
    }
    Ok(Filtered::new(rows))
}

/// Whoever sets settings as they like sets those that filters read.
pub(super) fn unjudged_with_filters() -> Reason {
    Reason {
        rule: "unjudged_with_row_filters".to_owned(),
        message: "rows are filtered for you, so nothing may run in this session that was not understood"
            .to_owned(),
        hint: "whoever keeps the rulebook must lift the row filters, or not give `unjudged`".to_owned(),
        ..Reason::default()
    }
}

/// The rule that row filters are denied by.
const RULE: &str = "row_filter";
/// Settings that change whose rights hold.
const BECOMES: [&str; 2] = ["role", "session_authorization"];
/// Statements that bring code along.
const CODE: [&str; 4] = ["do", "create_function", "create_procedure", "alter_function"];
/// Functions of PostgreSQL's own that run SQL which comes as a value, or read tables whose names do.
const RUN_TEXT: [&str; 16] = [
    "pg_catalog.cursor_to_xml",
    "pg_catalog.cursor_to_xmlschema",
    "pg_catalog.database_to_xml",
    "pg_catalog.database_to_xml_and_xmlschema",
    "pg_catalog.database_to_xmlschema",
    "pg_catalog.query_to_xml",
    "pg_catalog.query_to_xml_and_xmlschema",
    "pg_catalog.query_to_xmlschema",
    "pg_catalog.schema_to_xml",
    "pg_catalog.schema_to_xml_and_xmlschema",
    "pg_catalog.schema_to_xmlschema",
    "pg_catalog.table_to_xml",
    "pg_catalog.table_to_xml_and_xmlschema",
    "pg_catalog.table_to_xmlschema",
    "pg_catalog.ts_rewrite",
    "pg_catalog.ts_stat",
];
/// PostgreSQL takes a start-up packet of 10,000 bytes; the rest of it is the client's and the gateway's.
const MOST_BYTES: usize = 7000;
