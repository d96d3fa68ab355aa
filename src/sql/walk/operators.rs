//! Operators: each calls a function. PostgreSQL's own are known by name, those of extensions by the catalog.

use pg_query::protobuf::Node;

use super::Walker;
use super::names::{dotted, strings};

impl Walker<'_> {
    /// Lists what an operator calls that is not PostgreSQL's own, and reports one that nobody knows. A database's own
    /// overload of a known name is taken for PostgreSQL's.
    pub(super) fn operator(&mut self, name: &[Node]) {
        let (schema, operator) = match strings(name).as_slice() {
            [] => return,
            [operator] | ["pg_catalog", operator] if is_known(operator) => return,
            [operator] => (None, *operator),
            [schema, operator] => (Some(*schema), *operator),
            _ => return self.unknown_operator(name),
        };
        let candidates = self.catalog.resolve_operators(schema, operator);
        if candidates.is_empty() {
            self.unknown_operator(name);
        }
        for candidate in candidates {
            if !self.record_call(Some(&candidate.function_schema), &candidate.function) {
                self.unknown_operator(name);
            }
        }
    }

    fn unknown_operator(&mut self, name: &[Node]) {
        self.unresolved("operator", &dotted(name), "does not exist or is not visible to you");
    }
}

/// Whether the grammar makes the name (`LIKE` is `~~`, `NOT IN` is `<>`) or `pg_operator` of PostgreSQL has it.
fn is_known(operator: &str) -> bool {
    OPERATORS.contains(&operator) || operator.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b' ')
}

/// The operators of `pg_catalog`, from PostgreSQL 15.
const OPERATORS: [&str; 74] = [
    "!!", "!~", "!~*", "!~~", "!~~*", "#", "##", "#-", "#>", "#>>", "%", "&", "&&", "&<", "&<|", "&>", "*",
    "*<", "*<=", "*<>", "*=", "*>", "*>=", "+", "-", "->", "->>", "-|-", "/", "<", "<->", "<<", "<<=", "<<|",
    "<=", "<>", "<@", "<^", "=", ">", ">=", ">>", ">>=", ">^", "?", "?#", "?&", "?-", "?-|", "?|", "?||",
    "@", "@-@", "@>", "@?", "@@", "@@@", "^", "^@", "|", "|&>", "|/", "|>>", "||", "||/", "~", "~*", "~<=~",
    "~<~", "~=", "~>=~", "~>~", "~~", "~~*",
];
