//! Queries that nobody has thought of: whatever a small grammar makes of the schema must give, rewritten, what it gives on
//! data whose masked columns were really overwritten. That is what it means to be masked.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{World, outcome};

#[tokio::test]
async fn a_random_query_gives_what_it_would_give_on_masked_data() {
    let world = World::start().await;
    let (mut wrong, mut refused, mut failed) = (Vec::new(), BTreeMap::<String, usize>::new(), 0_usize);
    for seed in 1..=SEEDS {
        let query = Maker::new(seed).statement();
        let rewritten = match world.rewrite(&query) {
            Ok(rewritten) => rewritten,
            Err(refusal) => {
                *refused.entry(refusal.what).or_default() += 1;
                continue;
            }
        };
        if let Some(guard) = &rewritten.plan.guard {
            let held = outcome(&world.real, guard.sql()).await;
            assert!(
                held.as_ref().is_ok_and(|rows| rows.last().is_some_and(|end| end == "0 rows")),
                "{query}: {held:?}"
            );
        }
        let actual = sorted(outcome(&world.real, &rewritten.sql).await);
        let reference = sorted(outcome(&world.copy, &query).await);
        failed += usize::from(reference.is_err());
        if actual != reference {
            wrong.push(format!(
                "seed {seed}: {query}\n  sent {}\n  gave {actual:?}\n  want {reference:?}",
                rewritten.sql
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {SEEDS} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let count: usize = refused.values().sum();
    let expected = |what: &&String| EXPECTED.iter().any(|known| what.contains(known));
    let unexpected: Vec<_> = refused.keys().filter(|what| !expected(what)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    let most = usize::try_from(SEEDS / 4).unwrap();
    assert!(
        count < most / 2 && failed < most,
        "{count} of {SEEDS} were refused, {failed} failed: {refused:#?}"
    );
}

/// Why a query may be refused.
const EXPECTED: [&str; 1] = ["with one fixed value and can't join rows"];

/// Rows in any order but a cursor's are the same.
fn sorted(outcome: Result<Vec<String>, String>) -> Result<Vec<String>, String> {
    let mut rows = outcome?;
    rows.sort();
    Ok(rows)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Int,
    Numeric,
    Date,
    Bool,
}

use Type::{Bool, Date, Int, Numeric, Text};

/// A relation in FROM: what it is called, and its columns.
#[derive(Debug, Clone)]
struct Source {
    alias: String,
    columns: Vec<(String, Type)>,
}

/// A source of queries; the same seed gives the same one.
struct Maker {
    state: u64,
    names: usize,
    /// Common table expressions of the statement that is being made.
    shared: Vec<Source>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, names: 0, shared: Vec::new() }
    }

    fn statement(&mut self) -> String {
        let mut with = Vec::new();
        for _ in 0..self.below(3) {
            let (query, columns) = self.query(2, &[]);
            let alias = self.name("w");
            let materialized = self.pick(&["", "", "MATERIALIZED ", "NOT MATERIALIZED "]);
            with.push(format!("{alias} AS {materialized}({query})"));
            self.shared.push(Source { alias, columns });
        }
        let (query, _) = self.query(3, &[]);
        match with.is_empty() {
            true => query,
            false => format!("WITH {} {query}", with.join(", ")),
        }
    }

    /// A query, with the names and types of its columns. `around` is what a subquery may refer to.
    fn query(&mut self, depth: usize, around: &[Source]) -> (String, Vec<(String, Type)>) {
        let (select, columns) = self.select(depth, around, None);
        if depth > 0 && self.below(6) == 0 {
            let types: Vec<Type> = columns.iter().map(|(_, kind)| *kind).collect();
            let (other, _) = self.select(depth - 1, around, Some(&types));
            let operator = self.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]);
            return (format!("({select}) {operator} ({other})"), columns);
        }
        if self.below(4) == 0 {
            // All columns together: rows that tie are equal.
            let order: Vec<String> = (1..=columns.len()).map(|place| place.to_string()).collect();
            let limit = self.below(6) + 1;
            return (
                format!("SELECT * FROM ({select}) ordered ORDER BY {} LIMIT {limit}", order.join(", ")),
                columns,
            );
        }
        (select, columns)
    }

    fn select(
        &mut self,
        depth: usize,
        around: &[Source],
        wanted: Option<&[Type]>,
    ) -> (String, Vec<(String, Type)>) {
        let (from, scope) = self.tables(depth);
        let all: Vec<Source> = scope.iter().chain(around).cloned().collect();
        let count = wanted.map_or_else(|| self.below(4) + 1, <[Type]>::len);
        let grouped = self.below(4) == 0;
        let mut columns = Vec::new();
        let mut items = Vec::new();
        let mut keys = Vec::new();
        for place in 0..count {
            let kind = match wanted {
                Some(types) => types[place],
                None => [Text, Text, Int, Int, Numeric, Date, Bool][self.below(7)],
            };
            let value = match grouped {
                true if self.below(2) == 0 => self.aggregate(kind, &all, depth),
                true => {
                    let key = self.expression(kind, &scope, 1);
                    keys.push(key.clone());
                    key
                }
                false if self.below(10) == 0 => self.window(kind, &all, depth),
                false => self.expression(kind, &all, depth),
            };
            let name = self.name("c");
            items.push(format!("{value} AS {name}"));
            columns.push((name, kind));
        }
        let mut text = format!(
            "SELECT {}{} FROM {from}",
            if !grouped && self.below(8) == 0 { "DISTINCT " } else { "" },
            items.join(", ")
        );
        if self.below(2) == 0 {
            write!(text, " WHERE {}", self.expression(Bool, &all, depth)).unwrap();
        }
        if grouped && !keys.is_empty() {
            write!(text, " GROUP BY {}", keys.join(", ")).unwrap();
        }
        if grouped && self.below(3) == 0 {
            write!(text, " HAVING {}", self.aggregate(Bool, &all, depth)).unwrap();
        }
        (text, columns)
    }

    /// What stands behind FROM, and what it gives.
    fn tables(&mut self, depth: usize) -> (String, Vec<Source>) {
        let mut from = String::new();
        let mut scope: Vec<Source> = Vec::new();
        for place in 0..=self.below(2) {
            let (text, source) = self.source(depth, &scope);
            if place > 0 {
                let all: Vec<Source> = scope.iter().cloned().chain([source.clone()]).collect();
                match self.below(4) {
                    0 => from.push_str(" CROSS JOIN "),
                    _ => from.push_str(self.pick(&[" JOIN ", " LEFT JOIN ", " FULL JOIN ", " RIGHT JOIN "])),
                }
                let is_cross = from.ends_with("CROSS JOIN ");
                from.push_str(&text);
                if !is_cross {
                    let key = |source: &Source| {
                        let key = source
                            .columns
                            .iter()
                            .find(|(name, kind)| *kind == Int && !MASKED_KEYS.contains(&name.as_str()));
                        key.map(|(name, _)| format!("{}.{name}", source.alias))
                    };
                    match (key(&all[0]), key(&source)) {
                        (Some(left), Some(right)) => write!(from, " ON {left} = {right}").unwrap(),
                        _ => from.push_str(" ON true"),
                    }
                    if from.ends_with("ON true") && from.contains("FULL JOIN") {
                        from = from.replace("FULL JOIN", "LEFT JOIN");
                    }
                }
            } else {
                from.push_str(&text);
            }
            scope.push(source);
        }
        (from, scope)
    }

    fn source(&mut self, depth: usize, before: &[Source]) -> (String, Source) {
        let alias = self.name("t");
        if depth > 0 && self.below(4) == 0 {
            let lateral = !before.is_empty() && self.below(2) == 0;
            let (query, columns) = self.query(depth - 1, if lateral { before } else { &[] });
            let lateral = if lateral { "LATERAL " } else { "" };
            return (format!("{lateral}({query}) AS {alias}"), Source { alias, columns });
        }
        if !self.shared.is_empty() && self.below(3) == 0 {
            let at = self.below(self.shared.len());
            let shared = self.shared[at].clone();
            return (format!("{} AS {alias}", shared.alias), Source { alias, ..shared });
        }
        let (table, columns) = TABLES[self.below(TABLES.len())];
        let columns: Vec<(String, Type)> =
            columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        if self.below(10) == 0 {
            // An alias can rename the first columns too.
            let renamed = self.name("r");
            let mut columns = columns;
            columns[0].0.clone_from(&renamed);
            return (format!("{table} AS {alias}({renamed})"), Source { alias, columns });
        }
        (format!("{table} AS {alias}"), Source { alias, columns })
    }

    fn expression(&mut self, kind: Type, scope: &[Source], depth: usize) -> String {
        if depth == 0 || self.below(3) == 0 {
            return self.leaf(kind, scope);
        }
        let depth = depth - 1;
        if self.below(12) == 0 {
            let (query, columns) = self.select(depth, scope, Some(&[kind]));
            let name = &columns[0].0;
            let first = match kind {
                Bool => format!("bool_or({name})"),
                _ => format!("max({name})"),
            };
            return format!("(SELECT {first} FROM ({query}) one)");
        }
        if kind == Text {
            return self.text(scope, depth);
        }
        let mut part = |kind| self.expression(kind, scope, depth);
        match kind {
            Text => unreachable!("made before"),
            Int => {
                let (a, b, t) = (part(Int), part(Int), part(Text));
                self.one([
                    format!("({a} + {b})"),
                    format!("({a} - {b})"),
                    format!("length({t})"),
                    format!("coalesce({a}, 0)"),
                    format!("abs({a})"),
                    format!("cardinality(ARRAY[{t}])"),
                    format!("CASE WHEN {t} IS NULL THEN {a} ELSE {b} END"),
                    format!("ascii({t})"),
                ])
            }
            Numeric => {
                let (a, n) = (part(Numeric), part(Int));
                self.one([
                    format!("({a} + {n})"),
                    format!("round({a}, 1)"),
                    format!("coalesce({a}, {n})"),
                    format!("({n})::numeric"),
                ])
            }
            Date => {
                let (a, n) = (part(Date), part(Int));
                self.one([
                    format!("({a} + ({n} % 100))"),
                    format!("coalesce({a}, date '2020-01-01')"),
                    format!("date_trunc('year', {a})::date"),
                ])
            }
            Bool => {
                let (t, u, n, m) = (part(Text), part(Text), part(Int), part(Int));
                let (d, q) = (part(Date), part(Numeric));
                self.one([
                    format!("({t} = {u})"),
                    format!("({t} LIKE '%a%')"),
                    format!("({n} < {m})"),
                    format!("({n} IN ({m}, 1, 2))"),
                    format!("({d} IS NOT NULL)"),
                    format!("({q} BETWEEN 0 AND 9000)"),
                    format!("({t} IS DISTINCT FROM {u})"),
                    format!("NOT ({n} = {m})"),
                    format!("({t} > {u} OR {n} > {m})"),
                    format!("(({t}, {n}) = ({u}, {m}))"),
                ])
            }
        }
    }

    fn text(&mut self, scope: &[Source], depth: usize) -> String {
        let mut part = |kind| self.expression(kind, scope, depth);
        let (a, b, n) = (part(Text), part(Text), part(Int));
        let choices = [
            format!("({a} || {b})"),
            format!("upper({a})"),
            format!("left({a}, 3)"),
            format!("coalesce({a}, {b})"),
            format!("nullif({a}, {b})"),
            format!("({n})::text"),
            format!("md5({a})"),
            format!("greatest({a}, {b})"),
            format!("concat({a}, {n})"),
            format!("(ARRAY[{a}, {b}])[1]"),
            format!("(jsonb_build_object('k', {a}) ->> 'k')"),
            format!("CASE WHEN {n} > 3 THEN {a} ELSE {b} END"),
        ];
        self.one(choices)
    }

    fn leaf(&mut self, kind: Type, scope: &[Source]) -> String {
        let columns: Vec<String> = scope
            .iter()
            .flat_map(|source| {
                let of_kind = source.columns.iter().filter(move |(_, own)| *own == kind);
                of_kind.map(move |(name, _)| format!("{}.{name}", source.alias))
            })
            .collect();
        if !columns.is_empty() && self.below(5) > 0 {
            return columns[self.below(columns.len())].clone();
        }
        match kind {
            Text => self.pick(&["'a'", "'CANARY-1'", "'it''s hidden'", "''", "NULL::text"]).to_owned(),
            Int => self.pick(&["0", "1", "7", "NULL::int"]).to_owned(),
            Numeric => self.pick(&["0.5", "8.5", "NULL::numeric"]).to_owned(),
            Date => self.pick(&["date '2000-01-01'", "NULL::date"]).to_owned(),
            Bool => self.pick(&["true", "false", "NULL::bool"]).to_owned(),
        }
    }

    fn aggregate(&mut self, kind: Type, scope: &[Source], depth: usize) -> String {
        let depth = depth.min(1);
        let mut part = |kind| self.plain(kind, scope, depth);
        let (t, n, q, d, b) = (part(Text), part(Int), part(Numeric), part(Date), part(Bool));
        let filter = if self.below(4) == 0 { format!(" FILTER (WHERE {b})") } else { String::new() };
        let call = match kind {
            Text => self.one([
                format!("max({t})"),
                format!("min({t})"),
                format!("string_agg({t}, ',' ORDER BY {t})"),
            ]),
            Int => self.one([
                format!("count({t})"),
                format!("count(DISTINCT {n})"),
                format!("max({n})"),
                "count(*)".to_owned(),
            ]),
            Numeric => self.one([format!("sum({q})"), format!("avg({n})"), format!("max({q})")]),
            Date => format!("max({d})"),
            Bool => self.one([format!("bool_or({b})"), format!("bool_and({b})")]),
        };
        let cast = if kind == Int { "::int" } else { "" };
        format!("({call}{filter}){cast}")
    }

    fn window(&mut self, kind: Type, scope: &[Source], depth: usize) -> String {
        let depth = depth.min(1);
        let (value, by) = (self.plain(kind, scope, depth), self.plain(Text, scope, depth));
        let over = match self.below(3) {
            0 => String::new(),
            1 => format!("PARTITION BY {by}"),
            _ => format!("ORDER BY {by}"),
        };
        match kind {
            Bool => format!("bool_or({value}) OVER ({over})"),
            Int => self.one([
                format!("max({value}) OVER ({over})"),
                format!("(rank() OVER ({over}))::int"),
                format!("(count({value}) OVER ({over}))::int"),
            ]),
            Text | Numeric | Date => format!("max({value}) OVER ({over})"),
        }
    }

    /// An expression without a subquery.
    fn plain(&mut self, kind: Type, scope: &[Source], depth: usize) -> String {
        loop {
            let text = self.expression(kind, scope, depth);
            if !text.contains("SELECT") {
                return text;
            }
        }
    }

    fn one<const N: usize>(&mut self, choices: [String; N]) -> String {
        let at = self.below(N);
        choices.into_iter().nth(at).unwrap()
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let high = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % bound
    }
}

type Table = (&'static str, &'static [(&'static str, Type)]);

const TABLES: [Table; 10] = [
    (
        "customers",
        &[
            ("id", Int),
            ("name", Text),
            ("email", Text),
            ("ssn", Text),
            ("pin", Int),
            ("balance", Numeric),
            ("birth", Date),
            ("phone", Text),
            ("region", Text),
            ("shout", Text),
        ],
    ),
    ("app.customers", &[("id", Int), ("name", Text), ("code", Text), ("card", Text), ("birth", Date)]),
    ("orders", &[("id", Int), ("customer_id", Int), ("amount", Int), ("ssn", Text)]),
    ("products", &[("id", Int), ("label", Text)]),
    ("hr.payroll", &[("who", Text), ("iban", Text), ("salary", Int)]),
    ("tax", &[("id", Int), ("who", Text), ("tax_id", Text)]),
    ("north", &[("key", Int), ("label", Text)]),
    ("events", &[("id", Int), ("secret", Text), ("kind", Text)]),
    ("people", &[("id", Int), ("secret", Text)]),
    ("both_view", &[("id", Int), ("who", Text), ("tax_id", Text)]),
];

/// A join on one mask in every row is refused, since it would be a cross product.
const MASKED_KEYS: [&str; 2] = ["pin", "salary"];

/// Of 4,000 none was wrong; so many are tried every time.
const SEEDS: u64 = 250;
