//! The catalog of the tests, and ways to ask about facts in one line.

use crate::catalog::{
    Column, Function, FunctionResult, Operator, Relation, RelationKey, RelationKind, RowSecurity, Snapshot,
    Volatility,
};
use crate::sql::facts::{Access, Facts, TableFact};
use crate::sql::{Analysis, AnalyzeError, Item, Statement, analyze};

/// Analyses `sql` against the shop on PostgreSQL 15.
pub(super) fn analysis(sql: &str) -> Result<Analysis, AnalyzeError> {
    analysis_on(150_018, sql)
}

/// Analyses `sql` on a stack as the gate's threads have it.
pub(super) fn analysis_on(server_version_num: u32, sql: &str) -> Result<Analysis, AnalyzeError> {
    let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).unwrap();
    let thread = std::thread::Builder::new().stack_size(32 * 1024 * 1024);
    let work = move || analyze(&statement, &shop(server_version_num));
    thread.spawn(work).unwrap().join().unwrap()
}

/// The facts of a single statement.
pub(super) fn facts(sql: &str) -> Facts {
    facts_on(150_018, sql)
}

pub(super) fn facts_on(server_version_num: u32, sql: &str) -> Facts {
    let analysis = analysis_on(server_version_num, sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert_eq!(analysis.items().len(), 1, "{sql}");
    (*analysis.items()[0].facts).clone()
}

/// A single statement.
pub(super) fn item(sql: &str) -> Item {
    analysis(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).items()[0].clone()
}

/// The facts of a statement that has to be understood completely.
pub(super) fn clear(sql: &str) -> Facts {
    let facts = facts(sql);
    assert_eq!(facts.unresolved, [], "{sql}");
    facts
}

/// What could not be understood, as `what name`.
pub(super) fn unresolved(sql: &str) -> Vec<String> {
    facts(sql).unresolved.iter().map(|entry| format!("{} {}", entry.what, entry.name)).collect()
}

/// The entry of `key` under `access`.
pub(super) fn table<'f>(facts: &'f Facts, key: &str, access: Access) -> &'f TableFact {
    let found = facts.tables.iter().find(|table| table.key.as_str() == key && table.access == access);
    found.unwrap_or_else(|| panic!("no {key} {access:?} in {:?}", tables(facts)))
}

/// `access key` of every entry.
pub(super) fn tables(facts: &Facts) -> Vec<String> {
    let access = |table: &TableFact| format!("{:?}", table.access).to_lowercase();
    facts.tables.iter().map(|table| format!("{} {}", access(table), table.key)).collect()
}

/// The columns of `public.customers` that are read.
pub(super) fn read(sql: &str) -> Vec<String> {
    table(&clear(sql), "public.customers", Access::Read).columns_read.clone()
}

/// The columns of `public.customers` that decide which rows are read.
pub(super) fn filtered(sql: &str) -> Vec<String> {
    table(&clear(sql), "public.customers", Access::Read).columns_filtered.clone()
}

/// The outputs as `name<-source,source` with `public.` left out.
pub(super) fn outputs(sql: &str) -> Vec<String> {
    shown(&clear(sql))
}

pub(super) fn shown(facts: &Facts) -> Vec<String> {
    let outputs = facts.outputs.iter();
    let sources = |sources: &[String]| sources.join(",").replace("public.", "");
    outputs.map(|output| format!("{}<-{}", output.name, sources(&output.sources))).collect()
}

pub(super) fn shop(server_version_num: u32) -> Snapshot {
    let view = "SELECT c.id, c.name, c.ssn AS number FROM public.customers c WHERE (c.city = 'Oslo'::text)";
    let nested = "SELECT oslo.id, upper(oslo.number) AS upper FROM public.oslo";
    let relations = vec![
        relation(1, "public.customers", "id name email ssn city"),
        relation(2, "public.orders", "id customer_id total note"),
        relation(3, "public.flags", "id active"),
        relation(4, "hr.payroll", "id customer_id salary"),
        Relation { kind: RelationKind::PartitionedTable, ..relation(5, "public.events", "id body at") },
        Relation {
            parents: vec![RelationKey::new("public", "events")],
            ..relation(6, "public.events_2026", "id body at")
        },
        Relation {
            kind: RelationKind::View,
            definition: Some(view.into()),
            ..relation(7, "public.oslo", "id name number")
        },
        Relation {
            kind: RelationKind::View,
            definition: Some(nested.into()),
            ..relation(8, "public.nested", "id upper")
        },
        Relation {
            kind: RelationKind::View,
            definition: Some("SELECT".into()),
            ..relation(9, "public.broken", "id")
        },
        Relation { kind: RelationKind::Other, ..relation(10, "public.place", "street town") },
        Relation {
            columns: vec![
                column("id", 1),
                Column { type_name: "public.place".into(), base_type_kind: 'c', ..column("home", 2) },
            ],
            ..relation(11, "public.people", "id")
        },
        relation(20, "pg_catalog.pg_class", "oid relname relkind"),
        relation(21, "public.pg_class", "oid secret"),
    ];
    Snapshot::new(1, server_version_num, vec!["public".into()], relations, functions())
        .with_operators(vec![operator("public", "<=>", "distance"), operator("hr", "%%", "hidden")])
}

fn operator(schema: &str, name: &str, function: &str) -> Operator {
    Operator {
        schema: schema.into(),
        name: name.into(),
        function_schema: schema.into(),
        function: function.into(),
    }
}

fn relation(oid: u32, key: &str, columns: &str) -> Relation {
    let (schema, name) = key.split_once('.').unwrap();
    Relation {
        oid,
        schema: schema.into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns: columns.split(' ').zip(1..).map(|(name, number)| column(name, number)).collect(),
        primary_key: vec!["id".into()],
        parents: Vec::new(),
        definition: None,
        row_estimate: 100,
        has_triggers: false,
        has_rules: false,
        row_security: RowSecurity::default(),
        comment: None,
        stamp: 0,
    }
}

fn column(name: &str, number: i16) -> Column {
    Column {
        name: name.into(),
        number,
        type_oid: 25,
        type_name: "text".into(),
        base_type_oid: 25,
        base_type_kind: 'b',
        base_type_category: 'S',
        collation: None,
        not_null: false,
        generated: false,
        comment: None,
        security_labels: Vec::new(),
    }
}

fn functions() -> Vec<Function> {
    let builtin = "lower upper count max sum avg now generate_series unnest json_each set_config nextval \
        pg_read_file row_to_json array_agg string_agg row_number rank overlay extract position btrim substring \
        jsonb_array_elements_text random length coalesce_ pg_sleep json_to_recordset to_tsvector timezone date_part";
    let mut all: Vec<Function> = builtin.split(' ').map(|name| function("pg_catalog", name)).collect();
    all.push(Function { security_definer: true, language: "sql".into(), ..function("public", "peek") });
    all.push(Function { language: "plpgsql".into(), ..function("public", "lower") });
    all.push(Function { kind: 'p', language: "plpgsql".into(), ..function("public", "close_year") });
    all.push(function("hr", "hidden"));
    all.push(function("public", "distance"));
    all.push(function("public", "split"));
    all.push(function("public", "move_to"));
    all.push(function("pg_catalog", "jsonb_populate_record"));
    all
}

fn function(schema: &str, name: &str) -> Function {
    let builtin = schema == "pg_catalog";
    Function {
        oid: 0,
        schema: schema.into(),
        name: name.into(),
        volatility: if builtin { Volatility::Immutable } else { Volatility::Volatile },
        security_definer: false,
        language: if builtin { "internal".into() } else { "sql".into() },
        returns_set: false,
        kind: 'f',
        result: result(name),
        stamp: 0,
    }
}

fn result(name: &str) -> FunctionResult {
    let named = |names: &[&str]| FunctionResult::Named(names.iter().map(|name| (*name).to_owned()).collect());
    match name {
        "json_each" | "jsonb_each" | "json_each_text" | "jsonb_each_text" => named(&["key", "value"]),
        "json_array_elements" | "jsonb_array_elements" => named(&["value"]),
        "jsonb_to_recordset" | "json_to_recordset" | "jsonb_populate_record" | "hidden" | "peek" => {
            FunctionResult::Unknown
        }
        "split" => named(&["head", "tail"]),
        "move_to" => FunctionResult::Row(10),
        _ => FunctionResult::Plain,
    }
}
