//! Types of a database's own: what is needed to read their values.

/// A type that is not PostgreSQL's own, or an array of such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// `pg_type.oid`.
    pub oid: u32,
    /// As `format_type` prints it with an empty search_path: `app.mood`, `app.mood[]`.
    pub name: String,
    /// `pg_type.typtype`: `b` base, `c` composite, `d` domain, `e` enum, `r` range, `m` multirange.
    pub kind: char,
    /// The type of an array's elements; 0 where it is no array.
    pub element: u32,
    /// What stands between an array's elements.
    pub delimiter: char,
    /// The type that a domain is over; 0 where it is none.
    pub base: u32,
}
