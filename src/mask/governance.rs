//! Which relations are governed for one identity, and by which masks: inheritance and views included.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use pg_query::NodeEnum;
use pg_query::protobuf::SelectStmt;

use crate::catalog::{Relation, RelationKey, RelationKind, Snapshot};

use super::held::{self, Held};
use super::survey::{Mention, Survey};
use super::wrapper::{self, Cover, Wanted};
use super::{GroupRelease, Mask, Masks, Refusal, Rows, Strategy, expression, walk};

/// Strategies by column name.
pub(super) type Columns = BTreeMap<String, Strategy>;

/// What masks mean on one catalog snapshot: worked out once, for any number of statements.
#[derive(Debug)]
pub struct Governed {
    masks: Arc<BTreeMap<RelationKey, Columns>>,
    releases: Arc<BTreeMap<RelationKey, BTreeMap<String, GroupRelease>>>,
    forbidden: Arc<HashSet<(u32, i16)>>,
    pub(super) held: BTreeMap<RelationKey, Held>,
    /// Subselects that were built before: what they are follows from their place in here and from the above.
    built: Mutex<HashMap<(RelationKey, Wanted, bool), Box<SelectStmt>>>,
}

/// What is governed, for one statement.
#[derive(Debug)]
pub(super) struct Governance<'a> {
    catalog: &'a Snapshot,
    governed: &'a Governed,
    none: Columns,
    reach: RefCell<HashMap<RelationKey, Reach>>,
}

/// What a relation exposes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Nothing that is masked.
    Clear,
    /// Columns of its own that are masked, or rows that a fence holds back.
    Own,
    /// A view that reads masked columns, directly or through other views.
    Through,
    /// A view of no masked columns that reads rows of which some are held back: it would with its owner's rights.
    Filtered,
    /// A view or materialized view that may read either and can't be looked into.
    Opaque,
}

impl Governed {
    /// Works `masks` out on `catalog`: the masks of a table hold for its children and partitions too, and
    /// those of a child for the parents that show its rows.
    #[must_use]
    pub fn new(masks: &Masks, catalog: &Snapshot) -> Self {
        let children = |key: &RelationKey| Some(catalog.children(key).map(|child| child.key()).collect());
        let parents = |key: &RelationKey| catalog.relation(key).map(|relation| relation.parents.clone());
        let held = held::all(masks.rows(), catalog);
        let mut worked_out = Masks::default();
        let masks = masks.on(catalog);
        for (key, columns) in masks.iter() {
            let kin: HashSet<_> = closure(key, parents).chain(closure(key, children)).collect();
            for relative in kin {
                for (column, strategy) in columns {
                    let release = masks.release(key, column).cloned();
                    let mask = Mask { strategy: strategy.clone(), release };
                    worked_out.add(relative.clone(), column.clone(), mask);
                }
            }
        }
        let masks: BTreeMap<RelationKey, Columns> = worked_out
            .iter()
            .filter_map(|(key, columns)| {
                let relation = catalog.relation(key)?;
                let present = with_generated(relation, columns);
                (!present.is_empty()).then(|| (key.clone(), present))
            })
            .collect();
        let forbidden = Arc::new(forbidden(&masks, catalog));
        let releases = Arc::new(worked_out.releases().clone());
        Self { masks: Arc::new(masks), releases, forbidden, held, built: Mutex::default() }
    }

    /// The same masks over other rows: whose rows they are changes nothing about columns.
    #[must_use]
    pub fn over(&self, rows: &Rows, catalog: &Snapshot) -> Self {
        Self {
            masks: Arc::clone(&self.masks),
            releases: Arc::clone(&self.releases),
            forbidden: Arc::clone(&self.forbidden),
            held: held::all(rows, catalog),
            built: Mutex::default(),
        }
    }

    /// Whether it holds for nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.masks.is_empty() && self.held.is_empty()
    }

    /// The names of the masked columns of a relation, ordered; those of a view are masked by itself, not below it.
    pub fn columns_of(&self, relation: &RelationKey) -> impl Iterator<Item = &str> {
        self.masks.get(relation).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// `(relation OID, attnum)` of every masked column.
    pub(super) fn forbidden(&self) -> &Arc<HashSet<(u32, i16)>> {
        &self.forbidden
    }
}

fn forbidden(masks: &BTreeMap<RelationKey, Columns>, catalog: &Snapshot) -> HashSet<(u32, i16)> {
    let mut all = HashSet::new();
    for (key, columns) in masks {
        let Some(relation) = catalog.relation(key) else { continue };
        let masked = relation.columns.iter().filter(|column| columns.contains_key(&column.name));
        all.extend(masked.map(|column| (relation.oid, column.number)));
    }
    all
}

impl<'a> Governance<'a> {
    /// `governed` must have been worked out on `catalog`.
    pub(super) fn new(governed: &'a Governed, catalog: &'a Snapshot) -> Self {
        Self { catalog, governed, none: Columns::new(), reach: RefCell::default() }
    }

    /// The snapshot.
    pub(super) fn catalog(&self) -> &'a Snapshot {
        self.catalog
    }

    /// The masks of the relation's own columns; none for most.
    pub(super) fn masks(&self, key: &RelationKey) -> &Columns {
        self.governed.masks.get(key).unwrap_or(&self.none)
    }

    /// What is released of the relation's own columns; nothing of most.
    pub(super) fn releases(&self, key: &RelationKey) -> Option<&'a BTreeMap<String, GroupRelease>> {
        self.governed.releases.get(key)
    }

    /// The subselect in place of `relation`, which is no view of masked columns.
    pub(super) fn subselect(
        &self,
        relation: &Relation,
        wanted: &Wanted,
        inherits: bool,
    ) -> Result<Box<SelectStmt>, Refusal> {
        let place = (relation.key(), wanted.clone(), inherits);
        let built = || self.governed.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = built().get(&place) {
            return Ok(known.clone());
        }
        let select = wrapper::subselect(relation, &self.cover(&place.0), wanted, inherits)?;
        let mut built = built();
        if built.len() >= MOST_BUILT {
            built.clear();
        }
        built.insert(place, select.clone());
        Ok(select)
    }

    /// What a subselect over the relation holds.
    pub(super) fn cover(&self, key: &RelationKey) -> Cover<'_> {
        Cover { masks: self.masks(key), fence: self.fence(key), keys: self.catalog.key_settings() }
    }

    fn fence(&self, key: &RelationKey) -> Option<&str> {
        self.governed.held.get(key)?.fence.as_deref()
    }

    /// What has to be true of the session for the relation's filters to be in force; nothing where they are not the
    /// server's.
    pub(super) fn in_force(&self, key: &RelationKey) -> &[String] {
        self.governed.held.get(key).map_or(&[], Held::in_force)
    }

    /// Whether rows of the relation are held back, by whatever means.
    pub(super) fn hides_rows(&self, key: &RelationKey) -> bool {
        self.governed.held.get(key).is_some_and(|held| held.hides)
    }

    /// Whether a mask of the relation is computed from the column that it hides.
    pub(super) fn reads_masked(&self, key: &RelationKey) -> bool {
        let masks = self.masks(key);
        let Some(relation) = self.catalog.relation(key) else { return !masks.is_empty() };
        let mut masked =
            relation.columns.iter().filter_map(|column| Some((column, masks.get(&column.name)?)));
        masked.any(|(column, strategy)| expression::reads_column(column, strategy))
    }

    /// The relation that a name means, outside any CTE.
    pub(super) fn resolve(&self, mention: &Mention) -> Option<&'a Arc<Relation>> {
        self.catalog.resolve_relation(mention.schema(), &mention.name)
    }

    /// Whether anything that `relation` shows is masked, or has to be kept from being shown.
    pub(super) fn is_governed(&self, relation: &Relation) -> bool {
        self.reach(relation) != Reach::Clear
    }

    /// What `relation` exposes.
    pub(super) fn reach(&self, relation: &Relation) -> Reach {
        let key = relation.key();
        if let Some(known) = self.reach.borrow().get(&key) {
            return *known;
        }
        // A view can't read itself; should a broken catalog say so, the circle ends here, closed.
        self.reach.borrow_mut().insert(key.clone(), Reach::Opaque);
        let reach = self.work_out(relation);
        self.reach.borrow_mut().insert(key, reach);
        reach
    }

    fn work_out(&self, relation: &Relation) -> Reach {
        let key = relation.key();
        let own = self.governed.masks.contains_key(&key) || self.fence(&key).is_some();
        let itself = if own { Reach::Own } else { Reach::Clear };
        let is_stored = relation.kind == RelationKind::MaterializedView;
        let reads = is_stored || relation.kind == RelationKind::View;
        if relation.is_system() || self.governed.is_empty() || !reads {
            return itself;
        }
        match self.read_by(relation) {
            Some(Reads { masked: false, filtered: false }) => itself,
            // Nobody knows whose rows a materialized view stores.
            Some(Reads { filtered: true, .. }) if is_stored => Reach::Opaque,
            // What it stores can't be masked below it: masks that name it are its owner's word.
            Some(_) | None if is_stored => {
                if own {
                    Reach::Own
                } else {
                    Reach::Opaque
                }
            }
            Some(Reads { masked: false, .. }) if !own => Reach::Filtered,
            Some(_) => Reach::Through,
            None => Reach::Opaque,
        }
    }

    /// `None` where the definition can't be looked into.
    fn read_by(&self, view: &Relation) -> Option<Reads> {
        let select = definition(view).ok()?;
        let survey = Survey::of(&select).ok()?;
        let mut reads = Reads::default();
        for mention in &survey.relations {
            // Definitions are printed with an empty search_path, so a bare name is a CTE or a system relation, whatever
            // else is called so: a recursive view's CTE has the view's own name.
            let schema = mention.schema().unwrap_or("pg_catalog");
            match self.catalog.resolve_relation(Some(schema), &mention.name) {
                Some(relation) => {
                    let reach = self.reach(relation);
                    reads.filtered |= reach == Reach::Filtered || self.hides_rows(&relation.key());
                    reads.masked |= matches!(reach, Reach::Own | Reach::Through | Reach::Opaque);
                }
                None => reads.masked |= schema != "pg_catalog" && schema != "information_schema",
            }
        }
        Some(reads)
    }
}

/// What a view reads.
#[derive(Debug, Default, Clone, Copy)]
struct Reads {
    masked: bool,
    filtered: bool,
}

/// The query of a view.
pub(super) fn definition(view: &Relation) -> Result<Box<SelectStmt>, Refusal> {
    let refusal = || Refusal {
        what: format!(
            "the definition of view `{}` can't be read, so its masked columns can't be found",
            view.key()
        ),
        hint: "read its base tables instead".to_owned(),
    };
    let text = view.definition.as_deref().ok_or_else(refusal)?;
    let mut statements = walk::parse(text).ok_or_else(refusal)?.into_iter();
    let stmt = statements.next().and_then(|raw| raw.stmt).and_then(|node| node.node);
    match (stmt, statements.next()) {
        (Some(NodeEnum::SelectStmt(select)), None) => Ok(select),
        _ => Err(refusal()),
    }
}

/// Masks of columns that exist, and of every generated column beside them: the catalog doesn't say what a
/// generated column is computed from, so it may be a masked one.
fn with_generated(relation: &Relation, masks: &Columns) -> Columns {
    let mut present: Columns = masks
        .iter()
        .filter(|(name, _)| relation.column(name).is_some())
        .map(|(n, s)| (n.clone(), s.clone()))
        .collect();
    if !present.is_empty() {
        for column in relation.columns.iter().filter(|column| column.generated) {
            present.entry(column.name.clone()).or_insert(Strategy::Null);
        }
    }
    present
}

/// `start` and everything that `next` leads to, without repetition.
fn closure(
    start: &RelationKey,
    next: impl Fn(&RelationKey) -> Option<Vec<RelationKey>>,
) -> impl Iterator<Item = RelationKey> {
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start.clone()];
    while let Some(key) = open.pop() {
        for parent in next(&key).unwrap_or_default() {
            if seen.insert(parent.clone()) {
                open.push(parent);
            }
        }
    }
    seen.into_iter()
}

/// Subselects that are kept.
const MOST_BUILT: usize = 256;
