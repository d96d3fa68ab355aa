//! What becomes of a log's statements offline: every one that a server was sent goes through facts and rewrite, by the
//! catalog of the database as it is now. `scripts/regress.sh understood` runs it over PostgreSQL's regression suite.
//!
//!     corpus PORT DATABASE LOG [WORD]     LOG: a jsonlog with log_statement = all; WORD: shows statements so denied
//!
//! The server itself says which statements exist: a SELECT, INSERT, UPDATE or DELETE that it prepares as the database is
//! now, and that the gateway does not understand, is falsely denied.

#![expect(clippy::print_stdout, reason = "it prints figures")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use portcullis::catalog::Snapshot;
use portcullis::gate::Catalogs as _;
use portcullis::mask::{Governed, Masks, Selector, Strategy, rewrite_as};
use portcullis::sql::facts::Class;
use portcullis::sql::{AnalyzeError, Item, Statement, analyze};
use portcullis::upstream::{DatabaseSettings, RoleSettings, Upstream};
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let [port, database, log, rest @ ..] = words.as_slice() else { return Ok(()) };
    let port: u16 = port.parse().context("the port")?;
    let role = RoleSettings { name: String::new(), user: "postgres".into(), password: "any".into() };
    let settings = DatabaseSettings::new("corpus".into(), "127.0.0.1".into(), port, database.clone(), role);
    let snapshot = Upstream::new(vec![settings]).refresh("corpus").await?;
    let texts = statements(log, database)?;
    let thread = std::thread::Builder::new().stack_size(32 << 20);
    let run = thread.spawn(move || Run::over(&texts, &snapshot))?;
    let run = run.join().map_err(|_| anyhow::anyhow!("the run itself panicked"))?;
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(connection);
    run.print();
    plain(&run, &client, rest.first().map(String::as_str)).await;
    Ok(())
}

/// The texts that clients sent, in the log's order.
fn statements(log: &str, database: &str) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    for line in BufReader::new(File::open(log)?).lines() {
        let entry: serde_json::Value = serde_json::from_str(&line?)?;
        let message = entry.get("message").and_then(serde_json::Value::as_str).unwrap_or_default();
        let is_of_the_suite = entry.get("dbname").and_then(serde_json::Value::as_str) == Some(database);
        if let Some(text) = message.strip_prefix("statement: ").filter(|_| is_of_the_suite) {
            texts.push(text.to_owned());
        }
    }
    Ok(texts)
}

/// What became of them.
#[derive(Debug, Default)]
struct Run {
    texts: usize,
    items: usize,
    panics: Vec<String>,
    took: Duration,
    slowest: (Duration, String),
    denied: BTreeMap<String, usize>,
    /// SELECT, INSERT, UPDATE and DELETE by their texts.
    plain: BTreeMap<String, Fate>,
}

/// What became of one statement.
#[derive(Debug, Clone)]
struct Fate {
    /// Why it was denied, if it was.
    why: Option<String>,
    /// Whether a relation of which something is masked is in it.
    governed: bool,
}

impl Run {
    fn over(texts: &[String], snapshot: &Arc<Snapshot>) -> Self {
        let mut masks = Masks::default();
        for selector in serde_json::from_str::<Vec<Selector>>(MASKED).unwrap_or_default() {
            masks.select(selector, Strategy::Null);
        }
        let governed = Governed::new(&masks, snapshot);
        let mut run = Self { texts: texts.len(), ..Self::default() };
        for text in texts {
            let begun = Instant::now();
            let fates = catch_unwind(AssertUnwindSafe(|| fates(text, &governed, snapshot)));
            let took = begun.elapsed();
            run.took += took;
            if took > run.slowest.0 {
                run.slowest = (took, text.clone());
            }
            let Ok(fates) = fates else {
                run.panics.push(text.clone());
                continue;
            };
            for (item, is_plain, fate) in fates {
                run.items += 1;
                if let Some(why) = &fate.why {
                    *run.denied.entry(why.clone()).or_default() += 1;
                }
                if is_plain {
                    run.plain.insert(item, fate);
                }
            }
        }
        run
    }

    fn print(&self) {
        let denied: usize = self.denied.values().sum();
        println!("| what | |\n|---|---:|");
        println!("| texts, statements | {}, {} |", self.texts, self.items);
        println!("| panics | {} |", self.panics.len());
        println!("| in all | {:.1} s |", self.took.as_secs_f64());
        println!("| the slowest | {:.0} ms |", self.slowest.0.as_secs_f64() * 1e3);
        println!("| not understood or not to be masked | {denied} ({}) |", share(denied, self.items));
        println!("\nslowest: {:.200}\n", self.slowest.1);
        for text in &self.panics {
            println!("PANIC: {text}");
        }
        println!("| why | statements | share |\n|---|---:|---:|");
        let mut all: Vec<_> = self.denied.iter().collect();
        all.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for (why, count) in all {
            println!("| {why} | {count} | {} |", share(*count, self.items));
        }
    }
}

/// Each statement of `text`, whether it is a plain one, and what becomes of it.
fn fates(text: &str, governed: &Governed, snapshot: &Snapshot) -> Vec<(String, bool, Fate)> {
    let whole = |why: String| vec![(text.to_owned(), false, Fate { why: Some(why), governed: false })];
    let statement = match Statement::new(text.as_bytes(), Statement::WIRE_CAP) {
        Ok(statement) => statement,
        Err(error) => return whole(error.to_string()),
    };
    match analyze(&statement, snapshot) {
        Ok(analysis) => analysis.items().iter().map(|item| fate(text, item, governed, snapshot)).collect(),
        Err(AnalyzeError::Syntax { .. }) => whole("PostgreSQL's grammar refuses it".to_owned()),
        Err(AnalyzeError::GaveUp { why }) => whole(why),
    }
}

fn fate(text: &str, item: &Item, governed: &Governed, snapshot: &Snapshot) -> (String, bool, Fate) {
    let text = text.get(item.range.clone()).unwrap_or_default();
    let facts = &item.facts;
    let unresolved = facts.unresolved.first().map(|it| format!("{}: {}", it.what, without_names(&it.why)));
    let unknown = (facts.class == Class::Unknown).then(|| "statement: unknown".to_owned());
    let is_governed = facts.tables.iter().any(|table| governed.columns_of(&table.key).next().is_some());
    let why = unresolved.or(unknown).or_else(|| {
        let refusal = rewrite_as(text, item, governed, snapshot).err()?;
        Some(format!("mask: {}", without_names(&refusal.what)))
    });
    let is_plain = matches!(facts.kind.as_str(), "select" | "insert" | "update" | "delete");
    (text.to_owned(), is_plain, Fate { why, governed: is_governed })
}

/// Prints what became of those plain statements that the server prepares.
async fn plain(run: &Run, client: &Client, word: Option<&str>) {
    let (mut clear, mut governed) = (Share::default(), Share::default());
    for (text, fate) in &run.plain {
        let prepared = client.batch_execute(&format!("PREPARE probe AS {text}\n; DEALLOCATE probe")).await;
        if prepared.is_ok() {
            let share = if fate.governed { &mut governed } else { &mut clear };
            share.count(text, fate);
        }
    }
    for (of, share) in [("nothing masked", clear), ("something masked", governed)] {
        let denied: usize = share.denied.values().map(BTreeSet::len).sum();
        println!(
            "\nplain statements that exist, with {of}: {}; denied: {denied} ({})",
            share.all,
            self::share(denied, share.all)
        );
        for (why, texts) in &share.denied {
            println!("| {why} | {} |", texts.len());
            let shown = word.is_some_and(|word| why.contains(word));
            for text in texts.iter().filter(|_| shown) {
                println!("    {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
}

#[derive(Debug, Default)]
struct Share<'r> {
    all: usize,
    denied: BTreeMap<&'r str, BTreeSet<&'r str>>,
}

impl<'r> Share<'r> {
    fn count(&mut self, text: &'r str, fate: &'r Fate) {
        self.all += 1;
        if let Some(why) = &fate.why {
            self.denied.entry(why).or_default().insert(text);
        }
    }
}

/// The words without what stands in backticks.
fn without_names(words: &str) -> String {
    words.split('`').step_by(2).collect::<Vec<_>>().join("_")
}

fn share(part: usize, whole: usize) -> String {
    let permille = part.saturating_mul(1000).checked_div(whole).unwrap_or_default();
    format!("{}.{} %", permille / 10, permille % 10)
}

/// Columns of the suite's own tables that are masked.
const MASKED: &str = r#"[
    {"relation": "public.onek", "column": "stringu1"}, {"relation": "public.emp", "column": "salary"},
    {"relation": "public.person", "column": "location"}, {"relation": "public.text_tbl", "column": "f1"}]"#;
