//! A second reader of SQL, who knows neither PostgreSQL's grammar nor the catalog, held against the facts. Whatever table
//! it sees, the facts must list. What the facts list and it does not see is counted by why: that is how far a gateway would
//! be from the truth that took its facts from it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use portcullis::catalog::Snapshot;
use portcullis::cli::demo::shop;
use portcullis::gate::Catalogs as _;
use portcullis::sql::{Statement, analyze};
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};
use sqlparser::ast::visit_relations;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::support::shop_cluster;

#[tokio::test]
async fn no_table_that_a_second_reader_sees_is_missing_in_the_facts() {
    let cluster = shop_cluster().await;
    let role = RoleSettings {
        name: String::new(),
        user: cluster.superuser().into(),
        password: cluster.password().into(),
    };
    let settings =
        DatabaseSettings::new("shop".into(), "127.0.0.1".into(), cluster.port(), shop::NAME.into(), role);
    let catalog = Upstream::new(vec![settings]).refresh("shop").await.unwrap();
    let (mut missed, mut readers) = (Vec::new(), BTreeMap::<&str, Vec<String>>::new());
    for sql in corpus() {
        let Some(ours) = listed(&sql, &catalog) else { continue };
        let what = match seen(&sql, &catalog) {
            None => "it can't read",
            Some(theirs) if theirs == ours => "both agree on",
            Some(theirs) => {
                let more: Vec<_> = theirs.difference(&ours).cloned().collect();
                if more.is_empty() {
                    "it misses a table of"
                } else {
                    missed.push(format!("{sql}: {more:?}"));
                    "it sees more in"
                }
            }
        };
        readers.entry(what).or_default().push(sql);
    }
    missed.retain(|missed| !EXPLAINED.iter().any(|(sql, _)| missed.starts_with(sql)));
    assert_eq!(missed, Vec::<String>::new());
    let count = |what: &str| readers.get(what).map_or(0, Vec::len);
    let all: usize = readers.values().map(Vec::len).sum();
    assert!(
        all > 800 && count("both agree on") * 10 > all * 7,
        "of {all}: {} agreed",
        count("both agree on")
    );
    assert!(
        EXPLAINED
            .iter()
            .all(|(sql, why)| !why.is_empty() && corpus().iter().any(|line| line.starts_with(sql)))
    );
    // Every one of these would run past whoever believed it.
    let blind = readers.get("it misses a table of").map(Vec::as_slice).unwrap_or_default();
    for known in ["FROM ONLY", "TABLE customers"] {
        assert!(blind.iter().any(|sql| sql.contains(known)), "{known}: {blind:#?}");
    }
}

/// Where it sees a table that is none, and why.
const EXPLAINED: [(&str, &str); 1] =
    [("WITH RECURSIVE pg_class AS (", "a common table expression hides the table of its name")];

/// The tables of the catalog that the facts list as named by the statement itself; `None` where it is not understood.
fn listed(sql: &str, catalog: &Snapshot) -> Option<BTreeSet<String>> {
    let statement = Statement::new(sql.as_bytes(), Statement::WIRE_CAP).ok()?;
    let analysis = analyze(&statement, catalog).ok()?;
    let facts = analysis.items().iter().map(|item| &item.facts);
    if facts.clone().any(|facts| !facts.unresolved.is_empty()) {
        return None;
    }
    let named = facts.flat_map(|facts| &facts.tables).filter(|table| table.via_view.is_empty());
    Some(named.map(|table| table.name.clone()).collect())
}

/// The tables of the catalog that the second reader sees; `None` where it can't read the statement.
fn seen(sql: &str, catalog: &Arc<Snapshot>) -> Option<BTreeSet<String>> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).ok()?;
    let mut names = BTreeSet::new();
    let all: ControlFlow<()> = visit_relations(&statements, |name| {
        let parts: Vec<String> = name.0.iter().filter_map(|part| part.as_ident()).map(folded).collect();
        let found = match parts.as_slice() {
            [name] => catalog.resolve_relation(None, name),
            [.., schema, name] => catalog.resolve_relation(Some(schema), name),
            [] => None,
        };
        names.extend(found.map(|relation| relation.name.clone()));
        ControlFlow::Continue(())
    });
    all.is_continue().then_some(names)
}

fn folded(ident: &sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

/// Attacks, and what real clients ask.
fn corpus() -> Vec<String> {
    let attacks = [include_str!("../../attacks/reads.sql"), include_str!("../../attacks/writes.sql")];
    let lines = attacks.iter().flat_map(|file| file.lines());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("-- ")).map(str::to_owned);
    let captured = include_str!("../../benign/captured.jsonl").lines().map(|line| {
        let captured: serde_json::Value = serde_json::from_str(line).unwrap();
        captured["sql"].as_str().unwrap().to_owned()
    });
    lines.chain(captured).collect()
}
