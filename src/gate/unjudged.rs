//! Sessions in which statements run that nobody understands.
//!
//! The rulebook may grant that (`unjudged`) where nothing is masked for an identity, and nowhere else: a statement
//! that can't be read can't be rewritten. So before such a session opens, and again whenever rules or definitions
//! have changed since, the rulebook is asked about a read of everything there is. If a single mask comes back,
//! nothing runs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::catalog::{Relation, Snapshot};
use crate::identity::Principal;
use crate::policy::input::Batch;
use crate::policy::{Reason, SessionDecision, StatementInput};
use crate::sql::facts::{Access, Class, TableFact};
use crate::sql::{Analysis, Facts};

use super::connect::Asked;
use super::judge::Case;
use super::memory::Reading;
use super::rows::unjudged_with_filters;
use super::{Connect, Context, Denial, DenialKind, Gate, Rules};

/// The grant of one session, with what it was last proven against.
#[derive(Debug)]
pub(super) struct Unjudged {
    proven: ArcSwap<Proof>,
}

/// What was in force when the rulebook last showed no mask.
#[derive(Debug, PartialEq, Eq)]
struct Proof {
    revision: String,
    catalog_version: u64,
    /// Rules may go by it.
    clocks: Vec<u8>,
}

impl Gate {
    /// The grant for a session that is about to open.
    pub(super) async fn unjudged(
        &self,
        rules: &Rules,
        who: Principal<'_>,
        connect: &Connect,
    ) -> Result<Unjudged, Denial> {
        let catalog = match self.catalogs.current(&connect.database) {
            Some(catalog) => catalog,
            None => self.refreshed(&connect.database).await?,
        };
        self.masks_nothing(rules, who, &connect.database, &catalog)?;
        Ok(Unjudged { proven: ArcSwap::from_pointee(self.in_force(rules, &catalog)) })
    }

    /// Whether the grant of `case`'s session holds by `rules` on `catalog`.
    pub(super) fn still_unjudged(
        &self,
        rules: &Rules,
        case: &Case<'_>,
        unjudged: &Unjudged,
        catalog: &Snapshot,
    ) -> Result<(), Denial> {
        let now = self.in_force(rules, catalog);
        let before = unjudged.proven.load();
        if **before == now {
            return Ok(());
        }
        let decision = match before.revision == now.revision && before.clocks == now.clocks {
            true => None,
            false => Some(self.asked_again(rules, case.principal, case.context)?),
        };
        if decision.as_ref().is_some_and(|decision| decision.rows.hide()) {
            return Err(Denial::of(DenialKind::Policy, vec![unjudged_with_filters()]));
        }
        if before.revision != now.revision && decision.is_some_and(|decision| !decision.unjudged) {
            return Err(Denial::because(
                DenialKind::Policy,
                "unjudged_withdrawn",
                "the rulebook no longer lets this session run what is not understood",
                "open another session",
            ));
        }
        self.masks_nothing(rules, case.principal, case.context.database(), catalog)?;
        unjudged.proven.store(Arc::new(now));
        Ok(())
    }

    fn asked_again(
        &self,
        rules: &Rules,
        who: Principal<'_>,
        context: &Context,
    ) -> Result<SessionDecision, Denial> {
        let roles = self.catalogs.roles(context.database()).unwrap_or_default();
        let asked = Asked {
            who,
            door: context.door(),
            database: context.database(),
            settings: &context.origin.asked,
            session: context.facts(),
        };
        self.session(rules, &asked, roles)
    }

    /// Asks the rulebook about a read of every relation. It denies that wherever it would mask anything.
    fn masks_nothing(
        &self,
        rules: &Rules,
        who: Principal<'_>,
        database: &str,
        catalog: &Snapshot,
    ) -> Result<(), Denial> {
        let relations: Vec<&Relation> = catalog.relations().map(|relation| &**relation).collect();
        // An empty database has nothing to read, but what is not in the snapshot may still be labelled.
        let mut portions: Vec<&[&Relation]> = relations.chunks(PORTION).collect();
        portions.push(&[]);
        for (index, portion) in portions.iter().enumerate() {
            let statement = read_of(portion);
            let (identity, door) = (rules.agent(who)?, super::Door::Wire.as_str());
            let decision = rules.policy.decide(&StatementInput {
                batch: Batch { index, size: portions.len() },
                unjudged: true,
                ..StatementInput::plain(identity, database, door, &statement, self.time())
            });
            let refusing = |reason: &&Reason| WITHOUT_ANSWER.contains(&reason.rule.as_str());
            if let Some(reason) = decision.reasons.iter().find(refusing) {
                return Err(Denial::of(DenialKind::Policy, vec![reason.clone()]));
            }
        }
        Ok(())
    }

    fn in_force(&self, rules: &Rules, catalog: &Snapshot) -> Proof {
        Proof {
            revision: rules.policy.revision().to_owned(),
            catalog_version: catalog.version(),
            clocks: rules.policy.clocks(self.clock.now()),
        }
    }

    /// What is known of a statement that nobody need understand, by the catalog as it is. Names that it does not
    /// know are no reason to load it at once: whoever creates and uses a thousand tables would have it loaded a
    /// thousand times, for nothing but better records.
    pub(super) async fn understand_or_not(
        &self,
        case: &Case<'_>,
    ) -> Result<(Arc<Reading>, Arc<Snapshot>), Denial> {
        let database = case.context.database();
        let catalog = match self.catalogs.current(database) {
            Some(catalog) => catalog,
            None => self.refreshed(database).await?,
        };
        if let Some(known) = case.prepared.filter(|known| known.catalog_version == catalog.version()) {
            return Ok((Arc::clone(&known.analysis), catalog));
        }
        if case.statement.is_unread() {
            let why = "is in another encoding, or longer than what is read";
            return Ok((Arc::new(Reading::new(Analysis::unknown(case.statement, why))), catalog));
        }
        let analysis = match self.reading(case, &catalog).await {
            Ok(analysis) => analysis,
            Err(denial) if matches!(denial.kind, DenialKind::Syntax | DenialKind::Unresolved(_)) => {
                let why = denial.reason().map_or("", |reason| reason.message.as_str());
                Arc::new(Reading::new(Analysis::unknown(case.statement, why)))
            }
            Err(denial) => return Err(denial),
        };
        Ok((analysis, catalog))
    }
}

/// The facts of a statement that reads all of `relations`.
pub(super) fn read_of(relations: &[&Relation]) -> Facts {
    let table = |relation: &&Relation| TableFact {
        key: relation.key(),
        schema: relation.schema.clone(),
        name: relation.name.clone(),
        kind: relation.kind,
        access: Access::Read,
        system: relation.is_system(),
        via_view: String::new(),
        tags: relation.tags(),
        tags_read: relation.tags_of(relation.columns.iter().map(|column| &column.name)),
        tags_written: Vec::new(),
        columns_read: relation.columns.iter().map(|column| column.name.clone()).collect(),
        columns_filtered: Vec::new(),
        columns_written: Vec::new(),
        row_estimate: relation.row_estimate,
        has_triggers: relation.has_triggers,
        has_rules: relation.has_rules,
    };
    Facts {
        kind: "select".to_owned(),
        class: Class::Read,
        tables: relations.iter().map(table).collect(),
        ..Facts::empty()
    }
}

/// The denials that leave open what is masked, or say that something is.
pub(super) const WITHOUT_ANSWER: [&str; 3] = ["unjudged_with_masks", "policy_error", "identity"];

/// How many relations the rulebook is asked about at once: its time is limited.
pub(super) const PORTION: usize = 256;
