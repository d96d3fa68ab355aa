//! Completion of names, in addresses of tables and in arguments of prompts: only of what the caller can use. Whoever may not
//! use something gets nothing, as for what does not exist.

use std::collections::BTreeSet;

use rmcp::model::{CompleteRequestParams, CompleteResult, CompletionInfo, ErrorData};

use super::caller::Caller;
use super::prompts;
use super::resources::{TEMPLATE, sight};
use super::rooms::Rooms;

/// The names that what was typed may become.
pub(super) async fn complete(
    rooms: &Rooms,
    caller: &Caller,
    request: &CompleteRequestParams,
) -> Result<CompleteResult, ErrorData> {
    let wanted = wanted(request).ok_or_else(|| {
        ErrorData::invalid_params("there is no such prompt, resource template or argument", None)
    })?;
    let given = |name: &str| {
        let context = request.context.as_ref();
        context.and_then(|context| context.get_argument(name)).map_or("", String::as_str)
    };
    let names = match wanted {
        Wanted::Nothing => BTreeSet::new(),
        Wanted::Database => rooms.databases(&caller.identity).into_iter().collect(),
        Wanted::Schema | Wanted::Table | Wanted::Key => {
            let relations = relations(rooms, caller, given("database")).await;
            relations.iter().filter_map(|key| part(key, wanted, given("schema"))).collect()
        }
    };
    Ok(CompleteResult::new(page(names, &request.argument.value)))
}

/// What sort of name is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Database,
    Schema,
    /// A table within a schema.
    Table,
    /// `schema.table`.
    Key,
    /// Something that only who types it knows.
    Nothing,
}

fn wanted(request: &CompleteRequestParams) -> Option<Wanted> {
    let argument = request.argument.name.as_str();
    if let Some(uri) = request.r#ref.as_resource_uri() {
        return match argument {
            _ if uri != TEMPLATE => None,
            "database" => Some(Wanted::Database),
            "schema" => Some(Wanted::Schema),
            "table" => Some(Wanted::Table),
            _ => None,
        };
    }
    request.r#ref.as_prompt_name().filter(|prompt| prompts::has_argument(prompt, argument))?;
    match argument {
        "database" => Some(Wanted::Database),
        "table" => Some(Wanted::Key),
        _ => Some(Wanted::Nothing),
    }
}

/// The keys of all relations that the caller can use in a database; none where there is no such database for it.
async fn relations(rooms: &Rooms, caller: &Caller, database: &str) -> Vec<String> {
    // Without a name it is not clear which is meant: that is no misuse, and needs no record.
    if database.is_empty() && rooms.databases(&caller.identity).len() != 1 {
        return Vec::new();
    }
    let seen = sight(rooms, caller, database).await;
    seen.map(|(_, access)| access.into_iter().map(|relation| relation.key).collect()).unwrap_or_default()
}

fn part(key: &str, wanted: Wanted, within: &str) -> Option<String> {
    let (schema, table) = key.split_once('.')?;
    match wanted {
        Wanted::Schema => Some(schema.to_owned()),
        Wanted::Table => (within.is_empty() || within == schema).then(|| table.to_owned()),
        Wanted::Key => Some(key.to_owned()),
        Wanted::Database | Wanted::Nothing => None,
    }
}

fn page(names: BTreeSet<String>, typed: &str) -> CompletionInfo {
    let typed = typed.to_lowercase();
    let fits = |name: &String| {
        let name = name.to_lowercase();
        // A table may be typed without its schema.
        name.starts_with(&typed) || name.split_once('.').is_some_and(|(_, table)| table.starts_with(&typed))
    };
    let mut values: Vec<String> = names.into_iter().filter(fits).collect();
    let total = u32::try_from(values.len()).unwrap_or(u32::MAX);
    values.truncate(CompletionInfo::MAX_VALUES);
    let more = u32::try_from(values.len()).is_ok_and(|shown| shown < total);
    CompletionInfo::with_pagination(values, Some(total), more).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn names_begin_as_they_are_typed_in_any_case() {
        let found = page(names(&["public.Orders", "public.customers", "sales.orders_old"]), "ORD");
        assert_eq!(found.values, ["public.Orders", "sales.orders_old"]);
        assert_eq!((found.total, found.has_more), (Some(2), Some(false)));
        assert_eq!(page(names(&["public.orders"]), "pub").values, ["public.orders"]);
        assert!(page(names(&["public.orders"]), "rders").values.is_empty());
    }

    #[test]
    fn a_hundred_are_shown_and_the_rest_is_counted() {
        let many: BTreeSet<String> = (0..250).map(|number| format!("t{number:03}")).collect();
        let found = page(many, "t");
        assert_eq!((found.values.len(), found.total, found.has_more), (100, Some(250), Some(true)));
    }

    #[test]
    fn a_table_is_one_of_its_schema() {
        assert_eq!(part("hr.payroll", Wanted::Table, "public"), None);
        assert_eq!(part("hr.payroll", Wanted::Table, "hr").as_deref(), Some("payroll"));
        assert_eq!(part("hr.payroll", Wanted::Schema, "").as_deref(), Some("hr"));
    }
}
