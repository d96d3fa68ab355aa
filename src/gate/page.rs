//! Results that are asked for page by page, by calls that each could be the last.
//!
//! A page is more of a result that was judged once, and is judged again by whatever holds when it is asked for: rules,
//! budgets, labels, the time. The approval that the first page has spent is evidence still, as it is for a result that
//! goes on by itself; no page asks for one. What a page may show must not be less than what goes on: then it is refused,
//! and the statement has to be sent again.

use std::sync::Arc;

use crate::identity::Identity;
use crate::policy::input::{Arguments, SessionFacts};
use crate::sql::{Facts, Statement};

use super::act::{Judged, address};
use super::connect::Asked;
use super::course::{Grounds, still_holds};
use super::escalate::{Passed, evidence};
use super::journal::Scene;
use super::judge::{Case, Via};
use super::{Authorized, Context, Denial, DenialKind, Gate, Names, Page, Tell};

impl Judged for Page {
    async fn judged(self, gate: &Gate, who: &Identity, _tell: &dyn Tell) -> Result<Authorized<Self>, Denial> {
        let grounds = Arc::clone(&self.course.grounds);
        let case = grounds.case(who);
        let max_rows = i64::try_from(self.max_rows).unwrap_or(i64::MAX);
        let case = Case { arguments: Arguments { max_rows, ..case.arguments }, ..case };
        let scene = Scene::session(who, &grounds.context).calling_from(&self.client);
        let passed = gate.goes_on_to(&case, &grounds, &self, who).await;
        let passed = passed.map_err(|denial| gate.denied(&case, &scene, &grounds.decision_id, denial))?;
        gate.record(&case, &scene, &grounds.decision_id, &passed).await?;
        let course = self.course.clone().allowed_by(passed.verdict.revision);
        Ok(Authorized::mint(self, course))
    }
}

impl Gate {
    async fn goes_on_to(
        &self,
        case: &Case<'_>,
        grounds: &Grounds,
        page: &Page,
        who: &Identity,
    ) -> Result<Passed, Denial> {
        self.keeps_session(&grounds.context, page, who)?;
        let approval = grounds.passed.approval.clone();
        let verdict = self.judge(case, &approval.as_ref().map(evidence).unwrap_or_default()).await?;
        Ok(Passed { verdict: still_holds(&grounds.passed.verdict, verdict)?, approval })
    }

    /// Whether the identity whose session it is would get the same one now, from where it asks.
    fn keeps_session(&self, context: &Context, page: &Page, who: &Identity) -> Result<(), Denial> {
        if !context.scene.is_of(who) {
            return Err(other_session("the result belongs to somebody else"));
        }
        let roles = self.catalogs.roles(context.database()).unwrap_or_default();
        let asked = Asked {
            who: who.principal(),
            door: context.door(),
            database: context.database(),
            settings: &context.origin.asked,
            session: SessionFacts { address: address(&page.client), ..context.facts() },
        };
        let now = self.session(&self.rules(), &asked, roles)?;
        if now.role.as_deref() != context.role() || now.read_only != context.is_read_only() {
            return Err(other_session("you would get another session now than the result was begun in"));
        }
        Ok(())
    }

    /// What `sql` would do where `context` is, a statement each; nothing where it can't be read, or no catalog was
    /// loaded yet. Decides nothing.
    pub async fn facts(&self, context: &Arc<Context>, who: &Identity, sql: &Statement) -> Vec<Arc<Facts>> {
        let Some(catalog) = self.catalogs.current(context.database()) else { return Vec::new() };
        let names = Names::default();
        let case = Case::to_run(who, context, sql, Via::Query, &names);
        let Ok(reading) = self.reading(&case, &catalog).await else { return Vec::new() };
        reading.items().iter().map(|item| Arc::clone(&item.facts)).collect()
    }
}

fn other_session(what: &str) -> Denial {
    Denial::because(DenialKind::Changed, "other_session", what, "send the statement again")
}
