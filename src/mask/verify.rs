//! The check of a result's description before its first row leaves.

use super::Plan;

/// One column of a RowDescription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The column's name.
    pub name: String,
    /// The OID of the table it comes from; 0 for an expression.
    pub table_oid: u32,
    /// The column's number in that table; 0 for an expression.
    pub column: i16,
    /// The type's OID.
    pub type_oid: u32,
}

/// A result that is not what was planned. Its rows must not leave.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another number of columns.
    #[error("the result has {actual} columns where {planned} were planned")]
    Arity {
        /// As planned.
        planned: usize,
        /// As described by the server.
        actual: usize,
    },
    /// A column comes straight from a governed one.
    #[error("result column `{name}` comes from a governed column")]
    Governed {
        /// The result column's name.
        name: String,
    },
    /// A definition is no longer the one that the statement was judged by.
    #[error("a definition that the statement rests on has changed since it was judged")]
    Redefined,
}

/// Holds `fields` against `plan`.
///
/// # Errors
/// When the result is not as planned.
pub fn verify(fields: &[Field], plan: &Plan) -> Result<(), Mismatch> {
    if let Some(planned) = plan.arity.filter(|&planned| planned != fields.len()) {
        return Err(Mismatch::Arity { planned, actual: fields.len() });
    }
    match fields.iter().find(|field| plan.forbidden.contains(&(field.table_oid, field.column))) {
        Some(field) => Err(Mismatch::Governed { name: field.name.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;

    fn field(name: &str, table_oid: u32, column: i16) -> Field {
        Field { name: name.into(), table_oid, column, type_oid: 25 }
    }

    #[test]
    fn a_result_with_another_number_of_columns_is_refused() {
        let plan = Plan { arity: Some(1), ..Plan::default() };
        let fields = [field("a", 0, 0), field("b", 0, 0)];
        assert_eq!(verify(&fields, &plan), Err(Mismatch::Arity { planned: 1, actual: 2 }));
        assert_eq!(verify(&fields[..1], &plan), Ok(()));
    }

    #[test]
    fn a_result_column_that_comes_from_a_governed_one_is_refused() {
        let plan = Plan { forbidden: Arc::new(HashSet::from([(7, 3)])), ..Plan::default() };
        assert_eq!(verify(&[field("x", 7, 3)], &plan), Err(Mismatch::Governed { name: "x".into() }));
        assert_eq!(verify(&[field("x", 7, 2)], &plan), Ok(()));
    }
}
