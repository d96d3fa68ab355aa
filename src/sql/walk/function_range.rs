//! Functions in FROM, and which columns they give.

use std::rc::Rc;

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeFunction};

use super::Walker;
use super::figure;
use super::names::{alias_columns, strings};
use super::scope::{Column, Range, Scope, Sources};

impl Walker<'_> {
    /// `FROM f(x)`, `FROM ROWS FROM (f(x), g(y))`: always LATERAL.
    pub(super) fn function_range(
        &mut self,
        range: &RangeFunction,
        so_far: &Scope<'_>,
        influences: &mut Sources,
    ) -> Range {
        let alias = range.alias.as_ref();
        let alias_name = alias.map(|alias| alias.aliasname.as_str());
        let mut all = Sources::new();
        let mut columns = Vec::new();
        let mut star_known = true;
        let mut first_name = String::new();
        for function in &range.functions {
            let Some(NodeEnum::List(pair)) = function.node.as_ref() else { continue };
            let Some(call) = pair.items.first() else { continue };
            let mut sources = Sources::new();
            self.expression(call, so_far, &mut sources);
            let name = figure::column_name(call);
            let defined = definitions(pair.items.get(1)).or_else(|| column_names(&range.coldeflist));
            let alone = range.functions.len() == 1;
            let alias = alias_name.filter(|_| alone);
            match defined.or_else(|| self.known_columns(call, &name, alias, so_far)) {
                Some(names) => columns.extend(names.iter().map(|name| Column::new(name, sources.clone()))),
                None => star_known = false,
            }
            if first_name.is_empty() {
                first_name = name;
            }
            all.append(&mut sources);
        }
        if range.ordinality {
            columns.push(Column::new("ordinality", Sources::new()));
        }
        influences.extend(all.iter().cloned());
        let names = alias_columns(alias);
        if !star_known {
            columns = names.iter().map(|name| Column::new(name, all.clone())).collect();
            // A function of unknown shape whose alias names columns still has those at least.
        }
        Range::rename(&mut columns, &names);
        Range {
            name: Rc::from(alias_name.unwrap_or(&first_name)),
            unaliased: None,
            relation: None,
            columns,
            open: Some(Rc::new(all)),
            star_known,
        }
    }

    /// The columns of one of PostgreSQL's own functions; `None` where they are not known. A function that gives
    /// one plain value has one column, called as the alias is.
    fn known_columns(
        &mut self,
        call: &Node,
        name: &str,
        alias: Option<&str>,
        scope: &Scope<'_>,
    ) -> Option<Vec<String>> {
        let node = call.node.as_ref()?;
        let NodeEnum::FuncCall(call) = node else {
            // CURRENT_USER, COALESCE(...) and the like give one value.
            return matches!(node, NodeEnum::SqlvalueFunction(_))
                .then(|| vec![alias.unwrap_or(name).to_owned()]);
        };
        let parts = strings(&call.funcname);
        let function = match parts.as_slice() {
            [function] | ["pg_catalog", function] => *function,
            _ => return None,
        };
        if let Some((_, columns)) = RECORD_FUNCTIONS.iter().find(|(name, _)| *name == function) {
            return Some(columns.iter().map(|column| (*column).to_owned()).collect());
        }
        if function == "unnest" {
            return Some(self.unnest_columns(call, scope, alias));
        }
        SCALAR_FUNCTIONS.contains(&function).then(|| vec![alias.unwrap_or(function).to_owned()])
    }
}

/// The column definitions of one function within ROWS FROM.
fn definitions(node: Option<&Node>) -> Option<Vec<String>> {
    let Some(NodeEnum::List(list)) = node?.node.as_ref() else { return None };
    column_names(&list.items)
}

fn column_names(definitions: &[Node]) -> Option<Vec<String>> {
    if definitions.is_empty() {
        return None;
    }
    let name = |node: &Node| match node.node.as_ref() {
        Some(NodeEnum::ColumnDef(column)) => column.colname.clone(),
        Some(_) | None => String::new(),
    };
    Some(definitions.iter().map(name).collect())
}

/// Functions that give one plain value a row, whatever their arguments.
const SCALAR_FUNCTIONS: [&str; 21] = [
    "current_database",
    "current_schemas",
    "current_setting",
    "generate_series",
    "generate_subscripts",
    "json_object_keys",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_path_query_tz",
    "lower",
    "now",
    "pg_backend_pid",
    "pg_get_viewdef",
    "pg_postmaster_start_time",
    "regexp_matches",
    "regexp_split_to_table",
    "string_to_array",
    "string_to_table",
    "upper",
    "version",
    "pg_listening_channels",
];

/// Functions that give several columns, with their names since PostgreSQL 13 or longer.
const RECORD_FUNCTIONS: [(&str, &[&str]); 14] = [
    ("aclexplode", &["grantor", "grantee", "privilege_type", "is_grantable"]),
    ("json_array_elements", &["value"]),
    ("json_array_elements_text", &["value"]),
    ("json_each", &["key", "value"]),
    ("json_each_text", &["key", "value"]),
    ("jsonb_array_elements", &["value"]),
    ("jsonb_array_elements_text", &["value"]),
    ("jsonb_each", &["key", "value"]),
    ("jsonb_each_text", &["key", "value"]),
    ("pg_options_to_table", &["option_name", "option_value"]),
    ("pg_partition_ancestors", &["relid"]),
    ("pg_partition_tree", &["relid", "parentrelid", "isleaf", "level"]),
    ("pg_timezone_abbrevs", &["abbrev", "utc_offset", "is_dst"]),
    ("pg_timezone_names", &["name", "abbrev", "utc_offset", "is_dst"]),
];
