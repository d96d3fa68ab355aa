//! References: what has to change in an expression when its table became a subselect.

use pg_query::protobuf::{AExpr, AIndirection, ColumnRef, FuncCall, SubLink};
use pg_query::{Node, NodeEnum};

use crate::catalog::Relation;

use super::expression::identifier;
use super::reads::{Rewriter, constant_key, unknown};
use super::scope::{Binding, Masked};
use super::survey::{Reference, Survey};
use super::{Refusal, survey, walk, wrapper};

impl Rewriter<'_> {
    /// Rewrites an expression, or a query that stands as one.
    pub(super) fn expression(&mut self, node: &mut Node) -> Result<(), Refusal> {
        let Some(inner) = &mut node.node else { return Ok(()) };
        if let NodeEnum::ColumnRef(column) = inner {
            if let Some(row) = self.reference(column)? {
                *node = row;
            }
            return Ok(());
        }
        if let NodeEnum::SelectStmt(select) = inner {
            return self.select(select);
        }
        if let NodeEnum::SubLink(link) = inner {
            return self.sublink(link);
        }
        if let NodeEnum::FuncCall(call) = inner {
            self.no_row_for_user_functions(call)?;
        }
        if let NodeEnum::AIndirection(indirection) = inner {
            self.no_function_as_field(indirection)?;
        }
        if let NodeEnum::AExpr(comparison) = inner {
            self.no_constant_key(comparison)?;
        }
        let kind = survey::kind(inner);
        let children = walk::children(inner).ok_or_else(|| unknown(&format!("construct (`{kind}`)")))?;
        children.into_iter().try_for_each(|child| self.expression(child))
    }

    /// Rewrites a list of output columns and keeps their names.
    pub(super) fn targets(&mut self, targets: &mut [Node]) -> Result<(), Refusal> {
        for node in targets {
            let name = match &node.node {
                Some(NodeEnum::ResTarget(target)) if target.name.is_empty() => {
                    target.val.as_ref().and_then(|value| whole_name(value))
                }
                _ => None,
            };
            self.expression(node)?;
            if let (Some(name), Some(NodeEnum::ResTarget(target))) = (name, &mut node.node)
                && target.val.as_ref().is_some_and(|value| whole_name(value).is_none())
            {
                target.name = name;
            }
        }
        Ok(())
    }

    /// Strips the schema that a subselect's alias does not have. Gives a new node for a whole row.
    fn reference(&mut self, column: &mut ColumnRef) -> Result<Option<Node>, Refusal> {
        let names = walk::names(&column.fields);
        let parts = column.fields.len();
        self.no_denied_column(&names, names.len() < parts)?;
        if let ([name], 1) = (names.as_slice(), parts) {
            return self.whole_row(name);
        }
        let mut backward = names.iter().rev();
        let name = if names.len() == parts { backward.next() } else { None };
        let (table, schema) = (backward.next(), backward.next());
        let binding = match (schema, table) {
            (Some(schema), Some(table)) => self.scopes.qualified(schema, table),
            (None, Some(table)) => self.scopes.named(table),
            (_, None) => None,
        };
        if let Some(name) = name {
            self.no_function_as_column(name, binding)?;
        }
        let (Some(schema), Some(table)) = (schema, table) else { return Ok(None) };
        let Some(binding) = binding.filter(|binding| binding.masked.is_some()) else { return Ok(None) };
        if !self.scopes.named(table).is_some_and(|named| std::ptr::eq(named, binding)) {
            return Err(Refusal {
                what: format!(
                    "`{schema}.{table}` holds masked columns and another table is called `{table}` here"
                ),
                hint: "give each of them an alias".to_owned(),
            });
        }
        column.fields.drain(..parts.saturating_sub(2));
        Ok(None)
    }

    /// A column that nobody may ask for is NULL wherever it is not asked for by name, by `*` or with its whole row.
    fn no_denied_column(&self, names: &[String], is_star: bool) -> Result<(), Refusal> {
        let denied = match names {
            [] => self.scopes.innermost().iter().find_map(Binding::denied),
            [.., table] if is_star => self.scopes.named(table).and_then(Binding::denied),
            [name] => match self.scopes.with_column(name) {
                Some(binding) => binding.denied_as(name),
                None => self.scopes.named(name).and_then(Binding::denied),
            },
            [.., table, name] => self.scopes.named(table).and_then(|binding| binding.denied_as(name)),
        };
        denied.map_or(Ok(()), |(relation, column)| Err(unreadable(relation, column)))
    }

    /// `c.reveal` calls the function `reveal` with the row `c`, where `c` has no such column.
    fn no_function_as_column(&self, name: &str, binding: Option<&Binding>) -> Result<(), Refusal> {
        let is_column = binding.is_some_and(|binding| binding.has(name)) || wrapper::SYSTEM.contains(&name);
        if is_column {
            return Ok(());
        }
        if let Some(binding) = binding.filter(|binding| binding.masked.is_some() || binding.is_target) {
            return Err(Refusal {
                what: format!("`{}`, which holds masked columns, has no column `{name}`", binding.name),
                hint: "check the column's name; call functions as `name(argument)`".to_owned(),
            });
        }
        let functions = self.governance.catalog().resolve_functions(None, name);
        match functions.iter().any(|function| function.schema != "pg_catalog") {
            false => Ok(()),
            true => Err(Refusal {
                what: format!("`{name}` may be a function here, called with rows of masked columns"),
                hint: "call functions as `name(argument)`".to_owned(),
            }),
        }
    }

    /// `c` for a whole row of `customers c` gets the type of the table's rows, so that it stays usable as one.
    fn whole_row(&self, name: &str) -> Result<Option<Node>, Refusal> {
        let Some(binding) = self.row_of(name).filter(|_| self.cast_rows) else { return Ok(None) };
        let Some(masked) = &binding.masked else { return Ok(None) };
        let relation = &masked.relation;
        let row =
            format!("{}::{}.{}", identifier(name), identifier(&relation.schema), identifier(&relation.name));
        let text = if binding.nullable {
            // A cast would make a row of NULLs out of a row that an outer join left out.
            let key = relation.primary_key.iter().find(|key| !masked.masks.contains_key(*key));
            let key = key.ok_or_else(|| nullable_row(name, relation))?;
            format!("CASE WHEN {}.{} IS NULL THEN NULL ELSE {row} END", identifier(name), identifier(key))
        } else {
            row
        };
        wrapper::expression_node(&text).map(Some).ok_or_else(|| unknown("whole-row reference"))
    }

    /// The governed FROM item whose whole row `name` means, by PostgreSQL's rule: columns first.
    pub(super) fn row_of(&self, name: &str) -> Option<&Binding> {
        match self.scopes.with_column(name) {
            Some(_) => None,
            None => self.scopes.named(name).filter(|binding| binding.masked.is_some()),
        }
    }

    fn sublink(&mut self, link: &mut SubLink) -> Result<(), Refusal> {
        let test = link.testexpr.as_ref().and_then(|node| whole_name(node));
        let is_row = test.is_some_and(|name| self.row_of(&name).is_some());
        // `c IN (SELECT d FROM customers d)` compares two records: both stay as they are.
        let before = self.cast_rows;
        self.cast_rows = before && !is_row;
        for node in walk::one(&mut link.testexpr).chain(walk::one(&mut link.subselect)) {
            self.expression(node)?;
        }
        self.cast_rows = before;
        Ok(())
    }

    /// A function of a user may look up what the row's key leads to.
    fn no_row_for_user_functions(&self, call: &FuncCall) -> Result<(), Refusal> {
        let names = walk::names(&call.funcname);
        let (schema, name) = match names.as_slice() {
            [name] => (None, name.as_str()),
            [schema, name] => (Some(schema.as_str()), name.as_str()),
            _ => return Err(unknown("function call")),
        };
        let candidates = self.governance.catalog().resolve_functions(schema, name);
        let is_builtin =
            !candidates.is_empty() && candidates.iter().all(|function| function.schema == "pg_catalog");
        if is_builtin || schema == Some("pg_catalog") {
            return Ok(());
        }
        let arguments = Survey::of(&call.args).map_err(|_| unknown("function call"))?;
        let row = arguments.references.iter().find_map(|reference| self.row_argument(reference));
        let Some(masked) = row else { return Ok(()) };
        // `ssn(c)` is the column `ssn` of `c` where no function is called so.
        if schema.is_none() && candidates.is_empty() && masked.relation.column(name).is_some() {
            return Ok(());
        }
        Err(Refusal {
            what: format!(
                "a whole row of `{}`, which holds masked columns, can't go to the function `{name}`",
                masked.relation.key()
            ),
            hint: "pass the columns that it needs".to_owned(),
        })
    }

    /// `(c).reveal` is the function `reveal` as well.
    fn no_function_as_field(&self, indirection: &AIndirection) -> Result<(), Refusal> {
        let row =
            indirection.arg.as_ref().and_then(|node| whole_name(node)).and_then(|name| self.row_of(&name));
        for name in walk::names(&indirection.indirection) {
            self.no_function_as_column(&name, row)?;
        }
        Ok(())
    }

    fn row_argument(&self, reference: &Reference) -> Option<&Masked> {
        let is_star = reference.last().is_none();
        let names: Vec<&str> = reference.fields.iter().flatten().map(String::as_str).collect();
        let binding = match names.as_slice() {
            [name] if is_star => self.scopes.named(name),
            [name] => self.row_of(name),
            [.., schema, name] if is_star => self.scopes.qualified(schema, name),
            _ => None,
        };
        binding?.masked.as_deref()
    }

    /// `a.ssn = b.ssn` with a constant mask holds for every pair of rows.
    fn no_constant_key(&self, comparison: &AExpr) -> Result<(), Refusal> {
        if walk::names(&comparison.name).last().map(String::as_str) != Some("=") {
            return Ok(());
        }
        let sides =
            [&comparison.lexpr, &comparison.rexpr].map(|side| side.as_ref().map(|node| columns_of(node)));
        let [Some(left), Some(right)] = sides else { return Ok(()) };
        for pair in left.iter().zip(&right) {
            let (Some(a), Some(b)) = pair else { continue };
            let (a, b) = (self.origin(a), self.origin(b));
            let same = matches!((&a, &b), (Some((a, _)), Some((b, _))) if std::ptr::eq(*a, *b));
            let constant = [a, b].into_iter().flatten().find(|(binding, name)| binding.is_constant(name));
            if let Some((binding, name)) = constant.filter(|_| !same) {
                return Err(constant_key(&name, binding));
            }
        }
        Ok(())
    }

    fn origin(&self, column: &ColumnRef) -> Option<(&Binding, String)> {
        let names = walk::names(&column.fields);
        let binding = match names.as_slice() {
            [name] => self.scopes.with_column(name),
            [table, _] => self.scopes.named(table),
            [.., schema, table, _] => self.scopes.qualified(schema, table),
            [] => None,
        }?;
        Some((binding, names.into_iter().next_back()?))
    }
}

/// The name, where `node` is a reference of one part.
pub(super) fn whole_name(node: &Node) -> Option<String> {
    let Some(NodeEnum::ColumnRef(column)) = &node.node else { return None };
    let mut names = walk::names(&column.fields);
    if column.fields.len() == 1 { names.pop() } else { None }
}

/// The references in one side of a comparison: itself, or the fields of a row.
fn columns_of(node: &Node) -> Vec<Option<&ColumnRef>> {
    match &node.node {
        Some(NodeEnum::RowExpr(row)) => row.args.iter().map(column_ref).collect(),
        Some(NodeEnum::ColumnRef(column)) => vec![Some(column)],
        _ => Vec::new(),
    }
}

fn column_ref(node: &Node) -> Option<&ColumnRef> {
    match &node.node {
        Some(NodeEnum::ColumnRef(column)) => Some(column),
        _ => None,
    }
}

fn nullable_row(name: &str, relation: &Relation) -> Refusal {
    Refusal {
        what: format!(
            "`{name}` is a whole row of `{}` on the outer side of a join, which can't be masked without a readable primary key",
            relation.key()
        ),
        hint: "name the columns that you need".to_owned(),
    }
}

/// The refusal of a statement that reads a column which is denied.
pub(super) fn unreadable(relation: &Relation, column: &str) -> Refusal {
    Refusal {
        what: format!("column `{column}` of `{}` may not be read by you", relation.key()),
        hint: "leave it out: name the columns that you need instead of `*`".to_owned(),
    }
}
