//! Parameters: JSON as a model writes it, in PostgreSQL's text form.
//!
//! A JSON array is an array where the statement or the column says that one is wanted, and JSON text otherwise. What
//! it becomes is settled before the gate judges, so that an approver reads what the database gets.

use serde_json::{Number, Value};

use crate::catalog::Snapshot;
use crate::sql::Statement;
use crate::sql::parameters::{Use, Uses, uses};

use super::values::{EXACT_LIMIT, Kind, arrays};

/// Values in PostgreSQL's text form, `None` is NULL: a list for each statement.
pub(super) type Lists = Vec<Vec<Option<String>>>;

/// Why a parameter can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParameterError {
    /// JSON numbers beyond 2^53 have lost digits before they reach us.
    #[error("parameter ${position} is a number that JSON can't hold exactly: pass it as a string")]
    Inexact {
        /// Its position, from 1.
        position: usize,
    },
    /// PostgreSQL's text form has no NUL.
    #[error("parameter ${position} holds a NUL character, which PostgreSQL can't store")]
    Nul {
        /// Its position, from 1.
        position: usize,
    },
    /// The protocol counts parameters in 16 bits.
    #[error("{count} parameters are too many: at most {MAX_PARAMETERS} can be sent")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

/// `parameters` of `statement` in PostgreSQL's text form; `None` is NULL. `catalog` knows the types of columns.
///
/// What the catalog says changes the text of a value only, never whether there is an answer: it knows what is hidden.
pub(super) fn to_text(
    parameters: &[Value],
    statement: &Statement,
    catalog: Option<&Snapshot>,
) -> Result<Vec<Option<String>>, ParameterError> {
    if parameters.len() > MAX_PARAMETERS {
        return Err(ParameterError::TooMany { count: parameters.len() });
    }
    let known = match parameters.iter().any(Value::is_array) {
        true => uses(statement),
        false => Uses::default(),
    };
    let one = |(index, value): (usize, &Value)| {
        let position = index.saturating_add(1);
        parameter(position, value, wanted(position, &known, catalog))
    };
    parameters.iter().enumerate().map(one).collect()
}

/// Which sort of array a parameter takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Array,
    /// An array of JSON documents.
    Documents,
    /// No array of PostgreSQL's, or nobody knows.
    Document,
}

fn wanted(position: usize, uses: &Uses, catalog: Option<&Snapshot>) -> Wanted {
    let own = uses.parameters.iter().filter(|(number, _)| usize::try_from(*number) == Ok(position));
    let mut wanted = own.map(|(_, used)| match used {
        Use::Array => Wanted::Array,
        Use::Document => Wanted::Document,
        Use::Type(name) => by_type(catalog, name),
        Use::Column(name) => by_column(uses, catalog, |_, column| column == name),
        Use::Place(place) => by_column(uses, catalog, |at, _| at == *place),
    });
    let first = wanted.next().unwrap_or(Wanted::Document);
    if wanted.all(|other| other == first) { first } else { Wanted::Document }
}

/// What a type of the database's own takes.
fn by_type(catalog: Option<&Snapshot>, name: &str) -> Wanted {
    let Some(catalog) = catalog else { return Wanted::Document };
    let mut called = catalog.types_called(name).map(|found| Kind::of(found.oid, Some(catalog)).is_array());
    if called.next() == Some(true) && called.all(|is_array| is_array) {
        Wanted::Array
    } else {
        Wanted::Document
    }
}

/// What the columns that `is_meant` points at take; they are told by their place in the table and their name.
fn by_column(uses: &Uses, catalog: Option<&Snapshot>, is_meant: impl Fn(usize, &str) -> bool) -> Wanted {
    let Some(catalog) = catalog else { return Wanted::Document };
    let relations =
        uses.relations.iter().filter_map(|(schema, name)| catalog.resolve_relation(schema.as_deref(), name));
    let columns = relations.flat_map(|relation| relation.columns.iter().enumerate());
    let mut wanted =
        columns.filter(|(place, column)| is_meant(*place, &column.name)).map(|(_, column)| {
            match (column.base_type_category, column.base_type_oid) {
                ('A', JSON_ARRAY | JSONB_ARRAY) => Wanted::Documents,
                ('A', _) => Wanted::Array,
                _ => Wanted::Document,
            }
        });
    let first = wanted.next().unwrap_or(Wanted::Document);
    if wanted.all(|other| other == first) { first } else { Wanted::Document }
}

fn parameter(position: usize, value: &Value, wanted: Wanted) -> Result<Option<String>, ParameterError> {
    if !is_exact(value) {
        return Err(ParameterError::Inexact { position });
    }
    let text = match (value, wanted) {
        (Value::Null, _) => return Ok(None),
        (Value::String(text), _) => text.clone(),
        (Value::Array(items), Wanted::Array) => arrays::write(items, false),
        (Value::Array(items), Wanted::Documents) => arrays::write(items, true),
        (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_), _) => value.to_string(),
    };
    if text.contains('\0') { Err(ParameterError::Nul { position }) } else { Ok(Some(text)) }
}

/// Whether a client surely meant the numbers that were parsed.
fn is_exact(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_exact_number(number),
        Value::Array(items) => items.iter().all(is_exact),
        Value::Object(fields) => fields.values().all(is_exact),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Integers are exact as far as 64 bits go, and what looks like a fraction is refused where its size says that it was
/// a longer integer.
fn is_exact_number(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|value| value.abs() < EXACT_LIMIT)
}

const MAX_PARAMETERS: usize = 65_535;
const JSON_ARRAY: u32 = 199;
const JSONB_ARRAY: u32 = 3807;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sent(sql: &str, parameters: &[Value]) -> Result<Vec<Option<String>>, ParameterError> {
        to_text(parameters, &Statement::new(sql.as_bytes(), Statement::AGENT_CAP).unwrap(), None)
    }

    #[test]
    fn parameters_take_postgresqls_text_form() {
        let sent = sent("", &[json!(true), json!(-7), json!(0.1), json!(null), json!("x"), json!([1, "a"])]);
        let expected = [Some("true"), Some("-7"), Some("0.1"), None, Some("x"), Some("[1,\"a\"]")];
        assert_eq!(sent.unwrap(), expected.map(|text| text.map(str::to_owned)));
    }

    #[test]
    fn a_list_is_an_array_where_the_statement_says_so() {
        let sql = "SELECT $1::int[], $2::jsonb, $3 FROM t WHERE id = ANY ($4)";
        let lists = [json!([1, null]), json!([1]), json!([1]), json!(["a,b", "{}"])];
        let expected = [r#"{"1",NULL}"#, "[1]", "[1]", r#"{"a,b","{}"}"#];
        assert_eq!(sent(sql, &lists).unwrap(), expected.map(|text| Some(text.to_owned())));
    }

    #[test]
    fn a_list_that_is_used_in_two_ways_is_a_document() {
        let sent = sent("SELECT $1::int[], $1::jsonb", &[json!([1])]);
        assert_eq!(sent.unwrap(), [Some("[1]".to_owned())]);
    }

    #[test]
    fn a_number_that_lost_digits_is_refused_and_says_what_works() {
        let long: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        let error = sent("", &[json!(1), long.clone()]).unwrap_err();
        assert_eq!(error, ParameterError::Inexact { position: 2 });
        assert!(error.to_string().contains("$2") && error.to_string().contains("as a string"));
        assert_eq!(sent("", &[json!(u64::MAX)]).unwrap(), [Some("18446744073709551615".to_owned())]);
        for nested in [json!([1, [long.clone()]]), json!({"a": long})] {
            assert_eq!(sent("", &[nested]).unwrap_err(), ParameterError::Inexact { position: 1 });
        }
    }

    #[test]
    fn a_nul_character_never_reaches_the_protocol() {
        for hidden in [json!("a\0b"), json!(["a\0b"])] {
            assert_eq!(
                sent("SELECT $1::text[]", &[hidden]).unwrap_err(),
                ParameterError::Nul { position: 1 }
            );
        }
    }
}
