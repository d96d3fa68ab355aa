//! The text of an identity's file: a new one, and an old one with a new secret.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use toml::Spanned;

use crate::identity::Kind;
use crate::identity::token::Credentials;

use super::kind_word;

/// An identity that is about to have a file.
#[derive(Debug)]
pub(crate) struct NewAgent<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) owner: Option<&'a str>,
    pub(crate) groups: &'a [String],
    pub(crate) description: &'a str,
    /// `DATABASE:SCHEMA.TABLE`, with columns in parentheses where not all are meant.
    pub(crate) read: &'a [String],
    pub(crate) write: &'a [String],
    pub(crate) approvers: &'a [String],
}

impl NewAgent<'_> {
    /// The file's text.
    pub(crate) fn to_toml(&self, credentials: &Credentials) -> anyhow::Result<String> {
        let mut text = format!("name = {}\nkind = \"{}\"\n", quoted(self.name), kind_word(self.kind));
        if let Some(owner) = self.owner {
            writeln!(text, "owner = {}", quoted(owner))?;
        }
        writeln!(text, "groups = {}", list(self.groups))?;
        if !self.description.is_empty() {
            writeln!(text, "description = {}", quoted(self.description))?;
        }
        write!(text, "\n{}", auth(credentials))?;
        let (read, write) = (by_database(self.read)?, by_database(self.write)?);
        let mut databases: Vec<&str> = read.keys().chain(write.keys()).copied().collect();
        databases.sort_unstable();
        databases.dedup();
        for database in databases {
            writeln!(text, "\n[scope.{}]", quoted(database))?;
            for (key, grants) in [("read", &read), ("write", &write)] {
                if let Some(grants) = grants.get(database) {
                    writeln!(text, "{key} = {}", list(grants))?;
                }
            }
        }
        if !self.approvers.is_empty() {
            writeln!(text, "\n[approval]\ngroups = {}", list(self.approvers))?;
        }
        Ok(text)
    }
}

/// `text` with the secret of `credentials`, and everything else as it was, comments included.
pub(crate) fn rotated(text: &str, credentials: &Credentials) -> anyhow::Result<String> {
    #[derive(Deserialize)]
    struct File {
        auth: Option<Spanned<Auth>>,
    }
    #[derive(Deserialize)]
    struct Auth {
        scram: Option<Spanned<String>>,
        token_sha256: Option<Spanned<String>>,
    }
    let file: File = toml::from_str(text).context("it is no TOML")?;
    let Some(auth_table) = file.auth else {
        return Ok(format!("{}\n\n{}", text.trim_end(), auth(credentials)));
    };
    let auth_table = auth_table.into_inner();
    let (Some(scram), Some(token)) = (auth_table.scram, auth_table.token_sha256) else {
        bail!("its [auth] has only one of `scram` and `token_sha256`; remove [auth] and try again");
    };
    let mut edits: [(Range<usize>, String); 2] = [
        (scram.span(), quoted(&credentials.scram.to_string())),
        (token.span(), quoted(&credentials.token_sha256.to_string())),
    ];
    edits.sort_by_key(|(span, _)| std::cmp::Reverse(span.start));
    let mut text = text.to_owned();
    for (span, value) in edits {
        text.replace_range(span, &value);
    }
    Ok(text)
}

fn auth(credentials: &Credentials) -> String {
    let (scram, token) = (credentials.scram.to_string(), credentials.token_sha256.to_string());
    format!("[auth]\nscram = {}\ntoken_sha256 = {}\n", quoted(&scram), quoted(&token))
}

/// Grants by database, from `DATABASE:GRANT`.
fn by_database(grants: &[String]) -> anyhow::Result<BTreeMap<&str, Vec<String>>> {
    let mut databases: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for grant in grants {
        let Some((database, grant)) = grant.split_once(':') else {
            bail!(
                "`{grant}` names no database: write DATABASE:SCHEMA.TABLE, as in `shop:public.orders(status)`"
            );
        };
        databases.entry(database).or_default().push(grant.to_owned());
    }
    Ok(databases)
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// `text` as a basic TOML string.
fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len().saturating_add(2));
    literal.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => literal.extend(['\\', char]),
            char if char.is_control() => literal.push_str(&format!("\\U{:08X}", u32::from(char))),
            char => literal.push(char),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::directory::{AgentSource, Directory};

    fn directory(text: &str) -> Directory {
        let ana = AgentSource { path: "ana.toml".into(), text: "name = \"ana\"\nkind = \"human\"\n".into() };
        let bot = AgentSource { path: "bot.toml".into(), text: text.to_owned() };
        Directory::build(&[ana, bot]).unwrap()
    }

    fn bot(credentials: &Credentials) -> String {
        let agent = NewAgent {
            name: "bot",
            kind: Kind::Agent,
            owner: Some("ana"),
            groups: &["support".to_owned()],
            description: "Says \"hello\"\n\\",
            read: &["shop:public.*".to_owned(), "other:a.b(c, d)".to_owned()],
            write: &["shop:public.orders(status)".to_owned()],
            approvers: &["dba".to_owned()],
        };
        agent.to_toml(credentials).unwrap()
    }

    #[test]
    fn a_new_file_says_what_was_asked_for_and_holds_no_secret() {
        let credentials = Credentials::generate();
        let text = bot(&credentials);
        assert!(!text.contains(credentials.secret.reveal()), "{text}");
        let directory = directory(&text);
        assert_eq!(directory.authenticate_token(credentials.secret.reveal()).unwrap().name(), "bot");
        let agent = directory.agent("bot").unwrap();
        assert_eq!(agent.description(), "Says \"hello\"\n\\");
        assert_eq!(agent.scope().len(), 2);
        assert!(agent.has_scram());
    }

    #[test]
    fn rotation_changes_the_secret_and_nothing_else() {
        let (old, new) = (Credentials::generate(), Credentials::generate());
        let text = format!("# mine\n{}# end\n", bot(&old));
        let rotated_text = rotated(&text, &new).unwrap();
        assert!(rotated_text.starts_with("# mine\n") && rotated_text.ends_with("# end\n"), "{rotated_text}");
        let directory = directory(&rotated_text);
        assert!(directory.authenticate_token(old.secret.reveal()).is_none());
        assert!(directory.authenticate_token(new.secret.reveal()).is_some());
        assert_eq!(rotated(&rotated_text, &old).unwrap(), text);
    }

    #[test]
    fn rotation_gives_a_secret_to_one_who_had_none() {
        let credentials = Credentials::generate();
        let text = rotated("name = \"bot\"\nkind = \"agent\"\nowner = \"ana\"\n", &credentials).unwrap();
        assert!(directory(&text).authenticate_token(credentials.secret.reveal()).is_some());
        assert!(rotated("name = \"bot\"\n[auth]\nscram = \"x\"\n", &credentials).is_err());
    }

    #[test]
    fn a_grant_without_a_database_is_refused() {
        assert!(
            by_database(&["public.orders".to_owned()]).unwrap_err().to_string().contains("names no database")
        );
    }
}
