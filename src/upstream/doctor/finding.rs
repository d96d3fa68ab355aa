//! What was seen of a role, turned into findings: what is wrong, through what, and the SQL that ends it. Pure.

use super::kind::Kind;
use super::observed::{ColumnGrant, Grant, Membership, Observed, Role};

/// A right that a role has and should not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What sort of right.
    pub kind: Kind,
    /// Through what the role has it, each ready to be read: `EXECUTE on ROUTINE lo_import(text), granted to PUBLIC`.
    pub through: Vec<String>,
    /// Statements that end it, each a line, with comments where they do more than that. They may be run again.
    pub fix: Vec<String>,
}

/// All that is wrong with a role, the worst first.
pub(super) fn findings(observed: &Observed) -> Vec<Finding> {
    let none = |kind: &Kind| Finding { kind: *kind, through: Vec::new(), fix: Vec::new() };
    let mut all: Vec<Finding> = Kind::ALL.iter().map(none).collect();
    for finding in &mut all {
        attributes(observed, finding);
        memberships(observed, finding);
        owned(observed, finding);
        for (kind, grant) in &observed.grants {
            if *kind == finding.kind {
                granted(grant, finding);
            }
        }
        if finding.kind == Kind::MaskedColumns {
            observed.columns.iter().for_each(|columns| readable(columns, finding));
        }
    }
    all.retain(|finding| !finding.through.is_empty());
    all
}

/// What the role is itself.
fn attributes(observed: &Observed, finding: &mut Finding) {
    let itself = observed.roles.iter().filter(|role| role.membership.is_none());
    for role in itself.filter(|role| role.attributes.iter().any(|has| has == finding.kind.name())) {
        finding.through.push(format!("attribute of role {}", quoted(&role.name)));
        finding.fix.push(match role.is_first && finding.kind == Kind::Superuser {
            true => FIRST.to_owned(),
            false => format!("ALTER ROLE {} NO{};", quoted(&role.name), finding.kind.name().to_uppercase()),
        });
    }
}

/// What it can become.
fn memberships(observed: &Observed, finding: &mut Finding) {
    for role in &observed.roles {
        let Some(membership) = &role.membership else { continue };
        let is_powerful = finding.kind == Kind::PowerfulRole && !role.attributes.is_empty();
        let is_meant = is_powerful || Kind::of_predefined_role(&role.name) == Some(finding.kind);
        if is_meant {
            finding.through.push(path(role, membership));
            leave(observed, membership, finding);
        }
    }
}

/// What it owns, and what is owned by roles that it is a member of.
fn owned(observed: &Observed, finding: &mut Finding) {
    if finding.kind != Kind::Owner {
        return;
    }
    for owned in &observed.owned {
        if owned.owner == observed.user {
            finding.through.push(owned.object.clone());
            let user = quoted(&observed.user);
            let remark = format!("-- Who runs this is the new owner; then grant {user} what it needs.");
            add(finding, [remark, format!("REASSIGN OWNED BY {user} TO CURRENT_USER;")]);
            continue;
        }
        finding.through.push(format!("{}, owned by {}", owned.object, quoted(&owned.owner)));
        for role in observed.roles.iter().filter(|role| role.name == owned.owner) {
            role.membership.iter().for_each(|membership| leave(observed, membership, finding));
        }
    }
}

fn granted(grant: &Grant, finding: &mut Finding) {
    let to = grant.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), quoted);
    finding.through.push(format!("{} on {}, granted to {to}", grant.privilege, grant.object));
    if grant.grantee.is_none() {
        add(finding, [FROM_PUBLIC.to_owned()]);
    }
    revoke(grant, &to, finding);
}

fn readable(columns: &ColumnGrant, finding: &mut Finding) {
    let ColumnGrant { grant, masked, rest } = columns;
    let to = grant.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), quoted);
    finding.through.push(format!("{} of {}, granted to {to}", masked.join(", "), grant.object));
    if grant.grantee.is_none() {
        add(finding, [FROM_PUBLIC.to_owned()]);
    }
    revoke(grant, &to, finding);
    if !rest.is_empty() {
        add(finding, [format!("GRANT SELECT ({}) ON {} TO {to};", rest.join(", "), grant.object)]);
    }
}

/// A right can be taken back only in the name of who has granted it. What its holder has passed on goes too.
fn revoke(grant: &Grant, from: &str, finding: &mut Finding) {
    let revoke = format!("REVOKE {} ON {} FROM {from} CASCADE;", grant.privilege, grant.object);
    match &grant.grantor {
        None => add(finding, [revoke]),
        Some(grantor) => {
            finding.fix.push(format!("SET LOCAL ROLE {};", quoted(grantor)));
            finding.fix.push(revoke);
            finding.fix.push("RESET ROLE;".to_owned());
        }
    }
}

fn leave(observed: &Observed, membership: &Membership, finding: &mut Finding) {
    let Membership { group, grantors } = membership;
    let revoke = format!("REVOKE {} FROM {}", quoted(group), quoted(&observed.user));
    if grantors.is_empty() {
        add(finding, [format!("{revoke} CASCADE;")]);
    }
    for grantor in grantors {
        add(finding, [format!("{revoke} GRANTED BY {} CASCADE;", quoted(grantor))]);
    }
}

/// How the role is a member of `role`.
fn path(role: &Role, membership: &Membership) -> String {
    let of = match role.name == membership.group {
        true => format!("member of role {}", quoted(&role.name)),
        false => format!("member of role {} through {}", quoted(&role.name), quoted(&membership.group)),
    };
    match role.attributes.is_empty() {
        true => of,
        false => format!("{of} ({})", role.attributes.join(", ")),
    }
}

/// Adds lines that are not there yet.
fn add<const LINES: usize>(finding: &mut Finding, lines: [String; LINES]) {
    for line in lines {
        if !finding.fix.contains(&line) {
            finding.fix.push(line);
        }
    }
}

/// An identifier as SQL writes it, whatever is in it.
pub(in crate::upstream) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const FIRST: &str = "-- initdb has made this role, and it stays a superuser: make another for the gateway (CREATE ROLE ... LOGIN), grant it what it needs, and name it in the configuration.";
const FROM_PUBLIC: &str =
    "-- This takes it from everybody who has it only as PUBLIC: grant it to those who need it.";

#[cfg(test)]
mod tests {
    use super::*;

    fn itself(attributes: &[&str], is_first: bool) -> Role {
        let attributes = attributes.iter().map(|&name| name.to_owned()).collect();
        Role { name: "a\"b".into(), attributes, is_first, membership: None }
    }

    fn observed(roles: Vec<Role>) -> Observed {
        Observed { user: "a\"b".into(), roles, ..Observed::default() }
    }

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        let found = findings(&observed(vec![itself(&["superuser", "createdb"], false)]));
        let fixes: Vec<&str> = found.iter().flat_map(|finding| &finding.fix).map(String::as_str).collect();
        assert_eq!(fixes, ["ALTER ROLE \"a\"\"b\" NOSUPERUSER;", "ALTER ROLE \"a\"\"b\" NOCREATEDB;"]);
    }

    #[test]
    fn the_first_superuser_is_told_to_make_room_for_another_role() {
        let found = findings(&observed(vec![itself(&["superuser"], true)]));
        assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [Kind::Superuser]);
        assert!(found[0].fix.iter().all(|line| line.starts_with("--")), "{found:?}");
    }

    #[test]
    fn a_membership_ends_where_it_begins_by_each_who_granted_it() {
        let membership = Membership { group: "team".into(), grantors: vec!["x".into(), "y".into()] };
        let role = Role { name: "root".into(), attributes: vec!["superuser".into()], ..Role::default() };
        let found = findings(&observed(vec![Role { membership: Some(membership), ..role }]));
        assert_eq!(found[0].kind, Kind::PowerfulRole);
        assert_eq!(found[0].through, ["member of role \"root\" through \"team\" (superuser)"]);
        assert_eq!(
            found[0].fix,
            [
                "REVOKE \"team\" FROM \"a\"\"b\" GRANTED BY \"x\" CASCADE;",
                "REVOKE \"team\" FROM \"a\"\"b\" GRANTED BY \"y\" CASCADE;",
            ]
        );
    }

    #[test]
    fn a_role_that_is_nothing_special_has_no_findings() {
        assert_eq!(findings(&observed(vec![itself(&[], false)])), []);
    }

    #[test]
    fn every_name_is_found_again() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of_name(kind.name()), Some(*kind));
            assert!(kind.harm().ends_with('.'), "{kind}");
        }
    }
}
