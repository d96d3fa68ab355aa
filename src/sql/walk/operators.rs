//! Operators: each calls a function, and PostgreSQL's own are known by name.

use pg_query::protobuf::Node;

use super::Walker;
use super::names::{dotted, strings};

impl Walker<'_> {
    /// Reports an operator that is not PostgreSQL's own: what it calls could read past the masks. A database's
    /// own overload of a known name can't be told from its name, as the catalog snapshot holds no operators.
    pub(super) fn operator(&mut self, name: &[Node]) {
        let own = match strings(name).as_slice() {
            [] => true,
            [operator] | ["pg_catalog", operator] => is_known(operator),
            _ => false,
        };
        if !own {
            self.unresolved("operator", &dotted(name), "is not one of PostgreSQL's own");
        }
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
