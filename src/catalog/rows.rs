//! What PostgreSQL itself holds rows of a relation back by, and from whom.

/// A relation's owner and its row-level security.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowSecurity {
    /// Whether it is enabled.
    pub enabled: bool,
    /// The role that owns the relation, and that nothing holds back.
    pub owner: String,
    /// Its policies by name; without effect while it is not enabled.
    pub policies: Vec<RowPolicy>,
}

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPolicy {
    /// Its name.
    pub name: String,
    /// Whether it lets rows pass (`PERMISSIVE`) or holds them back (`RESTRICTIVE`).
    pub permissive: bool,
    /// `pg_policy.polcmd`: `*` for all commands, `r` SELECT, `a` INSERT, `w` UPDATE, `d` DELETE.
    pub command: char,
    /// The roles that it is for, ordered; `public` is everybody.
    pub roles: Vec<String>,
    /// Its USING as `pg_get_expr` prints it with an empty search_path; empty without one.
    pub using: String,
    /// Its WITH CHECK, likewise.
    pub check: String,
    /// Its comment; empty without one.
    pub comment: String,
    /// The id of the transaction that wrote it.
    pub stamp: i64,
}

/// A role that sessions of the gateway may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// Whether it is, or can become, a role that no policy holds back: a superuser, or one with BYPASSRLS.
    pub unbound: bool,
    /// The roles that it can become, itself among them.
    pub member_of: Vec<String>,
}
