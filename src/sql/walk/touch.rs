//! The relations that a statement touches, and how.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use pg_query::protobuf::RangeVar;

use crate::catalog::{Relation, RelationKey, RelationKind, Snapshot};
use crate::sql::facts::{Access, TableFact};

use super::Walker;
use super::names::range_var_name;
use super::scope::{Column, Source, Sources};

/// One relation and one access, while it is collected.
#[derive(Debug)]
pub(super) struct Touch {
    schema: String,
    name: String,
    /// The relation; `None` for one that the statement is about to make.
    relation: Option<Arc<Relation>>,
    /// Empty once the statement itself names the relation.
    via: Option<RelationKey>,
    /// Whether children are touched too.
    descends: bool,
    read: BTreeSet<String>,
    filtered: BTreeSet<String>,
    written: BTreeSet<String>,
}

impl<'c> Walker<'c> {
    /// The relation that `range` names; reported where there is none.
    pub(super) fn relation(&mut self, range: &RangeVar) -> Option<&'c Arc<Relation>> {
        let found = self.lookup(range);
        if found.is_none() {
            self.unresolved("relation", &range_var_name(range), "does not exist or is not visible to you");
        }
        found
    }

    pub(super) fn lookup(&self, range: &RangeVar) -> Option<&'c Arc<Relation>> {
        let schema = (!range.schemaname.is_empty()).then_some(range.schemaname.as_str());
        self.catalog.resolve_relation(schema, &range.relname)
    }

    /// Lists `relation` under `access`.
    pub(super) fn touch(&mut self, relation: &Arc<Relation>, access: Access, descends: bool) {
        let via = self.views.last().cloned();
        let touch = self.touches.entry((relation.key(), access)).or_insert_with(|| Touch {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            relation: Some(Arc::clone(relation)),
            via: via.clone(),
            descends: false,
            read: BTreeSet::new(),
            filtered: BTreeSet::new(),
            written: BTreeSet::new(),
        });
        touch.descends |= descends;
        if via.is_none() {
            touch.via = None;
        }
    }

    /// Lists a relation that does not exist yet (or no longer), as one that is defined.
    pub(super) fn touch_new(&mut self, range: &RangeVar) {
        let path = self.catalog.search_path().first();
        let schema = match (range.relpersistence.as_str(), range.schemaname.as_str()) {
            ("t", _) => "pg_temp",
            (_, "") => path.map_or("?", String::as_str),
            (_, schema) => schema,
        };
        let is_temporary = schema == "pg_temp";
        if is_temporary && self.catalog.resolve_relation(None, &range.relname).is_some() {
            // Temporary tables come last on a judged session's search path, so that none can stand before one that
            // was judged: statements would go on reaching the other one, and be answered by it.
            let why =
                "is the name of another relation, which would go on being meant by it: use another name";
            self.unresolved("temporary relation", &range.relname, why);
        }
        let key = RelationKey::new(schema, &range.relname);
        self.touches.entry((key, Access::Define)).or_insert_with(|| Touch {
            schema: schema.to_owned(),
            name: range.relname.clone(),
            relation: None,
            via: None,
            descends: false,
            read: BTreeSet::new(),
            filtered: BTreeSet::new(),
            written: BTreeSet::new(),
        });
    }

    /// The columns of `relation` as a range shows them, listed under `access`.
    pub(super) fn columns_of(&mut self, relation: &Arc<Relation>, access: Access) -> Vec<Column> {
        let key = relation.key();
        let beneath = self.open_view(relation);
        let mut columns = Vec::with_capacity(relation.columns.len());
        for (index, column) in relation.columns.iter().enumerate() {
            let own = Source { key: key.clone(), access, column: column.name.clone() };
            let mut sources = Sources::from([Rc::new(own)]);
            if let Some(more) = beneath.as_ref().and_then(|beneath| beneath.get(index)) {
                sources.extend(more.iter().cloned());
            }
            columns.push(Column::new(&column.name, sources));
        }
        columns
    }

    /// Marks columns whose value is used.
    pub(super) fn read(&mut self, sources: &Sources) {
        self.steps = self.steps.saturating_add(sources.len());
        for source in sources {
            if let Some(touch) = self.touches.get_mut(&(source.key.clone(), source.access))
                && !touch.read.contains(&source.column)
            {
                touch.read.insert(source.column.clone());
            }
        }
    }

    /// Marks columns that decide which rows are touched.
    pub(super) fn filter(&mut self, sources: &Sources) {
        self.read(sources);
        for source in sources {
            if let Some(touch) = self.touches.get_mut(&(source.key.clone(), source.access)) {
                touch.filtered.insert(source.column.clone());
            }
        }
    }

    /// Marks columns of `relation` that are assigned.
    pub(super) fn write(&mut self, key: &RelationKey, access: Access, column: &str) {
        if let Some(touch) = self.touches.get_mut(&(key.clone(), access)) {
            touch.written.insert(column.to_owned());
        }
    }
}

/// The facts, with the children of every parent that is not named with ONLY.
pub(super) fn table_facts(
    mut touches: BTreeMap<(RelationKey, Access), Touch>,
    catalog: &Snapshot,
) -> Vec<TableFact> {
    let parents: Vec<_> =
        touches.iter().filter(|(_, touch)| touch.descends).map(|(at, _)| at.clone()).collect();
    for (parent, access) in parents {
        let Some(touch) = touches.get(&(parent.clone(), access)) else { continue };
        let columns = [touch.read.clone(), touch.filtered.clone(), touch.written.clone()];
        let mut seen = HashSet::from([parent.clone()]);
        let mut waiting = vec![parent];
        while let Some(parent) = waiting.pop() {
            for child in catalog.children(&parent).filter(|child| seen.insert(child.key())) {
                waiting.push(child.key());
                extend_child(&mut touches, child, access, &parent, &columns);
            }
        }
    }
    touches.into_iter().map(|((key, access), touch)| touch.into_fact(key, access)).collect()
}

fn extend_child(
    touches: &mut BTreeMap<(RelationKey, Access), Touch>,
    child: &Arc<Relation>,
    access: Access,
    parent: &RelationKey,
    [read, filtered, written]: &[BTreeSet<String>; 3],
) {
    let touch = touches.entry((child.key(), access)).or_insert_with(|| Touch {
        schema: child.schema.clone(),
        name: child.name.clone(),
        relation: Some(Arc::clone(child)),
        via: Some(parent.clone()),
        descends: false,
        read: BTreeSet::new(),
        filtered: BTreeSet::new(),
        written: BTreeSet::new(),
    });
    touch.read.extend(read.iter().cloned());
    touch.filtered.extend(filtered.iter().cloned());
    touch.written.extend(written.iter().cloned());
}

impl Touch {
    fn into_fact(self, key: RelationKey, access: Access) -> TableFact {
        let relation = self.relation.as_deref();
        TableFact {
            key,
            kind: relation.map_or(RelationKind::Table, |relation| relation.kind),
            access,
            system: relation.is_some_and(Relation::is_system),
            via_view: self.via.map(|via| via.to_string()).unwrap_or_default(),
            tags: relation.map(Relation::tags).unwrap_or_default(),
            tags_read: relation.map(|relation| relation.tags_of(&self.read)).unwrap_or_default(),
            tags_written: relation.map(|relation| relation.tags_of(&self.written)).unwrap_or_default(),
            columns_read: self.read.into_iter().collect(),
            columns_filtered: self.filtered.into_iter().collect(),
            columns_written: self.written.into_iter().collect(),
            row_estimate: relation.map_or(-1, |relation| relation.row_estimate),
            has_triggers: relation.is_some_and(|relation| relation.has_triggers),
            has_rules: relation.is_some_and(|relation| relation.has_rules),
            schema: self.schema,
            name: self.name,
        }
    }
}
