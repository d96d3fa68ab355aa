//! Looks at samples of a database's values, to propose labels. Values are looked through where they arrive, and only
//! counts go on: what a column holds is never printed, logged or kept.
//!
//! Tables and materialized views are sampled in a session that can only read, by a role that the configuration has.
//! Views show what tables hold, and foreign tables belong to another server: of these only the names are looked at, as of
//! whatever the role may not read. Types of extensions have output functions of their own, which are not called.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::{Client, Row, SimpleQueryMessage};

use crate::catalog::RelationKey;
use crate::mask::Detectors;
use crate::mask::detect::{Detector, label_by_name, label_by_value};

use super::catalog::{LoadError, session};
use super::doctor::quoted;
use super::settings::RoleSettings;
use super::target::Target;

/// A column that may deserve a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Its table.
    pub relation: RelationKey,
    /// Its name.
    pub column: String,
    /// Its type, as `\d` shows it.
    pub data_type: String,
    /// The label that fits.
    pub label: &'static str,
    /// Whether its name tells so.
    pub is_named_so: bool,
    /// How many values were looked at; `None` where the role may not read it, or nobody looked.
    pub sampled: Option<u64>,
    /// In how many of them each detector has found something.
    pub found: BTreeMap<Detector, u64>,
}

impl Suspect {
    /// Whether the label is worth proposing: by the column's name, or because at least half of its values look so. What
    /// only some values hold, a note for example, is better left to detectors.
    #[must_use]
    pub fn is_proposed(&self) -> bool {
        let most = self.found.values().max().copied().unwrap_or_default();
        self.is_named_so || most.saturating_mul(2) >= self.sampled.unwrap_or(u64::MAX).max(1)
    }

    /// Why, a line each, without a value.
    #[must_use]
    pub fn because(&self) -> Vec<String> {
        let sampled = self.sampled.unwrap_or_default();
        let found = self.found.iter();
        let mut because: Vec<String> = found
            .map(|(detector, count)| {
                format!("{count} of {sampled} values hold what looks like {}", looks(*detector))
            })
            .collect();
        if self.is_named_so {
            because.push(match self.sampled {
                Some(_) => "its name".to_owned(),
                None => "its name; its values were not looked at".to_owned(),
            });
        }
        because
    }
}

/// A column as the catalog has it.
#[derive(Debug)]
struct Column {
    relation: RelationKey,
    schema: String,
    table: String,
    name: String,
    data_type: String,
    is_sampled: bool,
    row_estimate: f32,
}

/// Looks at up to `rows` rows of each table as `role`.
pub(super) async fn discover(
    target: &Target,
    role: &RoleSettings,
    rows: u32,
) -> Result<Vec<Suspect>, LoadError> {
    let client = session::open(target, role, &PARAMETERS).await?;
    let listed =
        timeout(DEADLINE, client.query(COLUMNS, &[])).await.map_err(|_| LoadError::Late(DEADLINE))??;
    let columns = listed.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let mut suspects = Vec::new();
    for table in columns.chunk_by(|one, two| one.relation == two.relation) {
        suspects.extend(look(&client, table, rows).await);
    }
    Ok(suspects)
}

fn column(row: &Row) -> Result<Column, tokio_postgres::Error> {
    let (schema, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Column {
        relation: RelationKey::new(&schema, &table),
        schema,
        table,
        name: row.try_get(2)?,
        data_type: row.try_get(3)?,
        is_sampled: row.try_get(4)?,
        row_estimate: row.try_get(5)?,
    })
}

/// The suspects among the columns of one table.
async fn look(client: &Client, table: &[Column], rows: u32) -> Vec<Suspect> {
    let sampled: Vec<&Column> = table.iter().filter(|column| column.is_sampled).collect();
    let counts = match sample(&sampled, rows) {
        None => Vec::new(),
        Some(sql) => match timeout(DEADLINE, client.simple_query(&sql)).await {
            Ok(Ok(messages)) => count(&messages, sampled.len()),
            // A table that is locked, slow or broken is judged by its names.
            Ok(Err(_)) | Err(_) => Vec::new(),
        },
    };
    let counted = sampled.iter().zip(counts).map(|(column, counted)| (column.name.as_str(), counted));
    let mut counted: BTreeMap<&str, Counted> = counted.collect();
    table.iter().filter_map(|column| suspect(column, counted.remove(column.name.as_str()))).collect()
}

/// How many values of a column were looked at, and what was found in how many.
#[derive(Debug, Clone, Default)]
struct Counted {
    values: u64,
    found: BTreeMap<Detector, u64>,
}

fn suspect(column: &Column, counted: Option<Counted>) -> Option<Suspect> {
    let named = label_by_name(&column.name, &column.data_type);
    let (sampled, found) = match counted {
        None => (None, BTreeMap::new()),
        Some(counted) => (Some(counted.values), counted.found),
    };
    let most = found.iter().max_by_key(|(_, count)| **count).map(|(detector, _)| label_by_value(*detector));
    Some(Suspect {
        relation: column.relation.clone(),
        column: column.name.clone(),
        data_type: column.data_type.clone(),
        label: named.or(most)?,
        is_named_so: named.is_some(),
        sampled,
        found,
    })
}

/// A statement that reads a sample of `columns`, which are of one table; `None` if there are none. Names are quoted;
/// all else is constant.
fn sample(columns: &[&Column], rows: u32) -> Option<String> {
    let first = columns.first()?;
    let value = |column: &&Column| {
        format!("pg_catalog.left({}::pg_catalog.text, {VALUE_CHARS})", quoted(&column.name))
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    let wanted = f64::from(rows) * PAGES_PER_ROW;
    let estimate = f64::from(first.row_estimate);
    let some = match estimate > wanted * 10.0 {
        true => format!(" TABLESAMPLE SYSTEM ({:.6})", 100.0 * wanted / estimate),
        false => String::new(),
    };
    let table = format!("{}.{}", quoted(&first.schema), quoted(&first.table));
    Some(format!("SELECT {} FROM {table}{some} LIMIT {rows}", values.join(", ")))
}

/// Looks through the values, and forgets them.
fn count(messages: &[SimpleQueryMessage], columns: usize) -> Vec<Counted> {
    let detectors = Detectors::all();
    let mut counts = vec![Counted::default(); columns];
    for message in messages {
        let SimpleQueryMessage::Row(row) = message else { continue };
        for (at, counted) in counts.iter_mut().enumerate() {
            let Some(value) = row.get(at).filter(|value| !value.is_empty()) else { continue };
            counted.values += 1;
            for detector in detectors.find(value) {
                *counted.found.entry(detector).or_default() += 1;
            }
        }
    }
    counts
}

fn looks(detector: Detector) -> &'static str {
    match detector {
        Detector::Card => "a payment card's number",
        Detector::Iban => "an IBAN",
        Detector::Ssn => "a social security number",
        Detector::Phone => "a telephone number",
        Detector::Email => "an e-mail address",
        Detector::Jwt => "a token",
        Detector::ApiKey => "an API key",
        Detector::PrivateKey => "a private key",
    }
}

/// Every column of tables, partitioned tables, materialized views and foreign tables that is not of a partition, and
/// whether its values can be looked at: the role may read it, and its type is text, or an array, a document or a number of
/// PostgreSQL's own.
const COLUMNS: &str = "
    SELECT n.nspname::text, c.relname::text, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod),
           c.relkind <> 'f'
               AND (b.typcategory = 'S' AND b.oid < 16384
                    OR b.oid IN (20, 1700, 114, 3802, 142, 1009, 1015, 1014, 199, 3807))
               AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
               AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'),
           c.reltuples
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
    WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
      AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname NOT LIKE 'pg\\_temp\\_%'
    ORDER BY n.nspname, c.relname, a.attnum";

/// As for the doctor, with patience for nobody: whoever works with a table comes first.
const PARAMETERS: [(&str, &str); 7] = [
    ("application_name", "portcullis/discover"),
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("search_path", ""),
    ("statement_timeout", "10s"),
    ("lock_timeout", "1s"),
    ("default_transaction_read_only", "on"),
];

/// For one question.
const DEADLINE: Duration = Duration::from_secs(15);
/// So much of a value is looked at, in characters.
const VALUE_CHARS: u32 = 4000;
/// TABLESAMPLE takes whole pages: more are asked for than rows are needed.
const PAGES_PER_ROW: f64 = 5.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, row_estimate: f32) -> Column {
        Column {
            relation: RelationKey::new("app", "t"),
            schema: "app".into(),
            table: "t\"; DROP TABLE x; --".into(),
            name: name.into(),
            data_type: "text".into(),
            is_sampled: true,
            row_estimate,
        }
    }

    #[test]
    fn names_are_quoted_and_large_tables_are_sampled() {
        let sql = sample(&[&column("a\"b", 100.0)], 200).unwrap();
        let expected = "SELECT pg_catalog.left(\"a\"\"b\"::pg_catalog.text, 4000) FROM \"app\".\"t\"\"; DROP TABLE x; --\" LIMIT 200";
        assert_eq!(sql, expected);
        let sql = sample(&[&column("a", 1e6)], 200).unwrap();
        assert!(sql.contains("TABLESAMPLE SYSTEM (0.100000) LIMIT 200"), "{sql}");
        assert_eq!(sample(&[], 200), None);
    }

    #[test]
    fn a_label_is_proposed_by_name_or_by_half_of_the_values() {
        let with = |name: &str, values, found| {
            let found = BTreeMap::from([(Detector::Iban, found)]);
            suspect(&column(name, 1.0), Some(Counted { values, found })).unwrap()
        };
        let accounts = with("x", 200, 100);
        assert_eq!((accounts.label, accounts.is_proposed()), ("bank_account", true));
        assert_eq!(accounts.because(), ["100 of 200 values hold what looks like an IBAN"]);
        assert!(!with("notes", 200, 17).is_proposed());
        assert_eq!(with("email", 200, 1).label, "email", "the name says what the column is for");
        let unread = suspect(&column("ssn", 1.0), None).unwrap();
        assert_eq!(unread.because(), ["its name; its values were not looked at"]);
        assert_eq!(suspect(&column("title", 1.0), None), None);
    }
}
