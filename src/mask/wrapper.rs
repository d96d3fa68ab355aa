//! The subselect that stands in place of a governed table, and nothing more of the table than the statement
//! can see: the columns that it names, in order.

use std::collections::BTreeSet;

use pg_query::protobuf::{Alias, ParseResult, RangeSubselect, RangeVar, RawStmt, ResTarget, SelectStmt};
use pg_query::{Node, NodeEnum};

use crate::catalog::{KeySettings, Relation, RelationKind};

use super::expression::{self, Anchor, identifier};
use super::governance::Columns;
use super::survey::{self, Survey};
use super::{Refusal, aggregates, walk};

/// Which columns the subselect gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// Columns, in the table's order.
    pub(super) columns: BTreeSet<String>,
    /// System columns that the statement names.
    pub(super) system: Vec<&'static str>,
    /// Masked columns whose truth it gives too, under a name of ours, for aggregates that are released.
    pub(super) truths: BTreeSet<String>,
}

impl Wanted {
    /// What a statement with this `survey` can see of `relation` under `alias`. Superfluous columns cost a
    /// little; a missing one makes PostgreSQL refuse the statement.
    pub(super) fn of(
        relation: &Relation,
        alias: &str,
        renames: bool,
        survey: &Survey,
    ) -> Result<Self, Refusal> {
        let all =
            survey.star() || survey.natural || survey.join_renames || renames || survey.refers_to(alias);
        let wanted = |name: &String| all || survey.texts.contains(name);
        let columns = relation.columns.iter().map(|column| column.name.clone()).filter(wanted).collect();
        let system: Vec<_> = SYSTEM.into_iter().filter(|name| survey.refers_to(name)).collect();
        match system.first() {
            Some(name) if all => Err(Refusal {
                what: format!(
                    "the system column `{name}` can't be read together with `*` or a whole row of `{}`, which holds masked columns",
                    relation.key()
                ),
                hint: "name the columns that you need".to_owned(),
            }),
            _ => Ok(Self { columns, system, truths: BTreeSet::new() }),
        }
    }
}

/// What stands between a relation and whoever reads it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cover<'a> {
    /// Masks by column.
    pub(super) masks: &'a Columns,
    /// The condition of a fence around its rows.
    pub(super) fence: Option<&'a str>,
    /// Where masks find their key.
    pub(super) keys: &'a KeySettings,
}

/// The subselect over `relation`: every wanted column, masked where `masks` says so.
pub(super) fn subselect(
    relation: &Relation,
    cover: &Cover<'_>,
    wanted: &Wanted,
    inherits: bool,
) -> Result<Box<SelectStmt>, Refusal> {
    let names: Vec<&str> = relation
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .filter(|name| wanted.columns.contains(*name))
        .collect();
    let seen = Seen { names: &names, system: &wanted.system, truths: &wanted.truths };
    select(relation, cover, &seen, inherits)
}

/// What a subselect gives, in this order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// Columns, masked where they must be.
    pub(super) names: &'a [&'a str],
    /// System columns.
    pub(super) system: &'a [&'a str],
    /// Masked columns whose truth is given.
    pub(super) truths: &'a BTreeSet<String>,
}

/// The query that COPY sends in place of `relation`, or what a subselect is.
pub(super) fn select(
    relation: &Relation,
    &Cover { masks, fence, keys }: &Cover<'_>,
    &Seen { names, system, truths }: &Seen<'_>,
    inherits: bool,
) -> Result<Box<SelectStmt>, Refusal> {
    let anchor = anchor(relation, masks);
    let mut items: Vec<String> = Vec::new();
    for name in names {
        let Some(column) = relation.column(name) else {
            return Err(Refusal {
                what: format!("`{}` has no column `{name}`", relation.key()),
                hint: "check the column list".to_owned(),
            });
        };
        items.push(match masks.get(&column.name) {
            None => identifier(name),
            Some(strategy) => {
                let mask = expression::unfoldable(column, strategy, relation, &anchor, keys);
                format!("{mask} AS {}", identifier(name))
            }
        });
    }
    items.extend(system.iter().map(|name| format!("{name} AS {name}")));
    for column in relation.columns.iter().filter(|column| truths.contains(&column.name)) {
        let name = identifier(&aggregates::name_of(column));
        items.push(format!("{} AS {name}", aggregates::truth(column)));
    }
    let only = if inherits { "" } else { "ONLY " };
    let text = format!(
        "SELECT {} FROM {only}{}.{}",
        items.join(", "),
        identifier(&relation.schema),
        identifier(&relation.name)
    );
    let select = parse(&text).ok_or_else(|| unbuildable(relation))?;
    names_no_masked_column(&select, relation, masks, truths)?;
    let Some(condition) = fence else { return Ok(select) };
    // Without OFFSET the planner would join this with the conditions around it, and work those out on rows of others.
    parse(&format!("{text} WHERE {condition} OFFSET 0")).ok_or_else(|| unbuildable(relation))
}

/// `subquery AS alias`, as a FROM item.
pub(super) fn from_item(subquery: Box<SelectStmt>, alias: Alias) -> Node {
    Node {
        node: Some(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
            lateral: false,
            subquery: Some(Box::new(Node { node: Some(NodeEnum::SelectStmt(subquery)) })),
            alias: Some(alias),
        }))),
    }
}

/// The alias of `range`, or else the relation's name as one.
pub(super) fn alias_of(range: &RangeVar) -> Alias {
    range.alias.clone().unwrap_or_else(|| Alias { aliasname: range.relname.clone(), colnames: Vec::new() })
}

/// One expression, parsed.
pub(super) fn expression_node(text: &str) -> Option<Node> {
    let select = parse(&format!("SELECT {text}"))?;
    let NodeEnum::ResTarget(target) = select.target_list.into_iter().next()?.node? else { return None };
    target.val.map(|node| *node)
}

/// The one expression that `text` is; `None` if it is more or something else.
pub(super) fn only_expression(text: &str) -> Option<Node> {
    let statements = walk::parse(&format!("SELECT {text}"))?;
    let [only] = statements.as_slice() else { return None };
    let node = expression_node(text)?;
    // Whatever else a SELECT can hold would be lost on the way there and back.
    let back = walk::parse(&format!("SELECT {}", printed(node.clone())?))?;
    let [again] = back.as_slice() else { return None };
    let same = survey::digest(&only.stmt).ok()? == survey::digest(&again.stmt).ok()?;
    same.then_some(node)
}

/// `node` as text.
pub(super) fn printed(node: Node) -> Option<String> {
    let target = ResTarget { val: Some(Box::new(node)), ..ResTarget::default() };
    let target = Node { node: Some(NodeEnum::ResTarget(Box::new(target))) };
    let [mut raw]: [RawStmt; 1] = walk::parse("SELECT 1")?.try_into().ok()?;
    let Some(NodeEnum::SelectStmt(select)) = raw.stmt.as_mut().and_then(|node| node.node.as_mut()) else {
        return None;
    };
    select.target_list = vec![target];
    let tree = ParseResult { version: 0, stmts: vec![RawStmt { stmt_location: 0, stmt_len: 0, ..raw }] };
    let sql = pg_query::deparse(&tree, pg_query::DeparseOptions::default()).ok()?;
    sql.strip_prefix("SELECT ").map(str::to_owned)
}

/// What ties the masks of `relation` to its rows.
fn anchor<'a>(relation: &'a Relation, masks: &Columns) -> Anchor<'a> {
    let clear = |name: &&String| !masks.contains_key(*name);
    if let Some(key) = relation.primary_key.iter().find(clear) {
        return Anchor::Key(key);
    }
    match relation.kind {
        RelationKind::View => {
            let first = relation.columns.iter().map(|column| &column.name).find(clear);
            first.map_or(Anchor::None, |name| Anchor::Column(name))
        }
        RelationKind::Table
        | RelationKind::PartitionedTable
        | RelationKind::MaterializedView
        | RelationKind::ForeignTable => Anchor::TableOid,
        RelationKind::Sequence | RelationKind::Other => Anchor::None,
    }
}

/// Holds the subselect against its promise: it names no masked column but where a mask is computed from it, or for its
/// own truth.
fn names_no_masked_column(
    select: &SelectStmt,
    relation: &Relation,
    masks: &Columns,
    truths: &BTreeSet<String>,
) -> Result<(), Refusal> {
    let mut masked = select.clone();
    let given = masked.target_list.split_off(select.target_list.len().saturating_sub(truths.len()));
    let names: Vec<&str> = in_order(relation, truths).collect();
    if names.len() != given.len() || given.len() != truths.len() {
        return Err(unbuildable(relation));
    }
    for (target, name) in given.iter().zip(names) {
        let survey = Survey::of(target).map_err(|_| unbuildable(relation))?;
        if !survey.references.iter().all(|reference| reference.last() == Some(name)) {
            return Err(unbuildable(relation));
        }
    }
    let survey = Survey::of(&masked).map_err(|_| unbuildable(relation))?;
    let hidden = |name: &str| match (relation.column(name), masks.get(name)) {
        (Some(column), Some(strategy)) => !expression::reads_column(column, strategy),
        (None, Some(_)) => true,
        (_, None) => false,
    };
    match survey.references.iter().any(|reference| reference.last().is_none_or(hidden)) {
        true => Err(unbuildable(relation)),
        false => Ok(()),
    }
}

fn in_order<'a>(relation: &'a Relation, names: &BTreeSet<String>) -> impl Iterator<Item = &'a str> {
    relation.columns.iter().map(|column| column.name.as_str()).filter(|name| names.contains(*name))
}

fn parse(text: &str) -> Option<Box<SelectStmt>> {
    let NodeEnum::SelectStmt(select) = walk::parse(text)?.into_iter().next()?.stmt?.node? else {
        return None;
    };
    Some(select)
}

fn unbuildable(relation: &Relation) -> Refusal {
    Refusal {
        what: format!("no masks could be built for `{}`", relation.key()),
        hint: "read other tables; the operator should check the types of its masked columns".to_owned(),
    }
}

/// Columns that every table has besides its own.
pub(super) const SYSTEM: [&str; 6] = ["ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"];
