//! One identity's file, as written and as meant.

mod raw;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use toml::Spanned;

use super::certificate::CertificateRule;
use super::directory::{AgentError, AgentSource};
use super::scram::Verifier;
use super::token::TokenDigest;
use super::vouched::{OidcRule, Who};
use super::{Identity, Kind, Limits, Proof, STRANGER};
use raw::{RawAgent, RawAuth, RawCertificate, RawClaim, RawOidc};

/// An identity as its file describes it. Nobody has proved to be it: policy may be asked about an `Agent`, but
/// only an [`Identity`] passes the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    name: String,
    kind: Kind,
    owner: Option<String>,
    parent: Option<String>,
    groups: Vec<String>,
    claims: Claims,
    description: String,
    disabled: bool,
    scope: BTreeMap<String, Scope>,
    limits: Limits,
    approval_groups: Vec<String>,
    auth: Auth,
}

/// What is claimed of an identity, by name; a list also where there is one.
pub type Claims = BTreeMap<String, Vec<String>>;

/// What an identity may touch in one database.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// What it may read.
    pub read: Grants,
    /// What it may write, once a person agrees.
    pub write: Grants,
}

/// Relations (`schema.table`, or `schema.*` for all of a schema) with the columns that are granted.
pub type Grants = BTreeMap<String, Columns>;

/// Columns of a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// All of them.
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// What a proof is held against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Auth {
    pub(super) scram: Option<Verifier>,
    pub(super) token: Option<TokenDigest>,
    pub(super) certificate: Option<CertificateRule>,
    pub(super) oidc: Option<OidcRule>,
}

impl Agent {
    /// The name, as in `agents/NAME.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What sort of principal it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The agent that it works for, which has the same owner.
    #[must_use]
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_deref()
    }

    /// What its file claims of it: facts that no group says, a tenant or a region.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The groups it belongs to, ordered.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What it is for, in its file's words; empty where the file says nothing.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whether it is switched off.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.disabled
    }

    /// What it may touch, by the database's name in the configuration.
    #[must_use]
    pub fn scope(&self) -> &BTreeMap<String, Scope> {
        &self.scope
    }

    /// The ceilings written in its file.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whose members may approve what it asks for, ordered.
    #[must_use]
    pub fn approval_groups(&self) -> &[String] {
        &self.approval_groups
    }

    /// Whether it can log in at the wire door with a password.
    #[must_use]
    pub fn has_scram(&self) -> bool {
        self.auth.scram.is_some()
    }

    /// Whether it can log in by token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.auth.token.is_some()
    }

    /// Somebody without a file.
    pub(super) fn stranger() -> Self {
        Self {
            name: String::new(),
            kind: STRANGER,
            owner: None,
            parent: None,
            groups: Vec::new(),
            claims: Claims::new(),
            description: String::new(),
            disabled: false,
            scope: BTreeMap::new(),
            limits: Limits::default(),
            approval_groups: Vec::new(),
            auth: Auth::default(),
        }
    }

    pub(super) fn auth(&self) -> &Auth {
        &self.auth
    }

    /// The principal, after `proof` was checked. Every caller has just compared a proof.
    pub(super) fn proven(&self, proof: Proof) -> Identity {
        Identity {
            name: self.name.clone(),
            kind: self.kind,
            owner: self.owner.clone(),
            groups: self.groups.clone(),
            limits: self.limits,
            proof,
            vouched: None,
        }
    }

    /// The entry of `data.agents`: every field always present, a ceiling of 0 means none, no auth material.
    pub(super) fn to_data(&self) -> Value {
        let scope: BTreeMap<_, _> = self
            .scope
            .iter()
            .map(|(database, scope)| {
                (database, json!({"read": grants_data(&scope.read), "write": grants_data(&scope.write)}))
            })
            .collect();
        json!({
            "kind": self.kind,
            "owner": self.owner.as_deref().unwrap_or_default(),
            "parent": self.parent.as_deref().unwrap_or_default(),
            "groups": self.groups,
            "claims": self.claims,
            "description": self.description,
            "disabled": self.disabled,
            "scope": scope,
            "limits": {
                "rows": self.limits.rows.unwrap_or(0),
                "bytes": self.limits.bytes.unwrap_or(0),
                "statement_timeout_ms": self.limits.statement_timeout_ms.unwrap_or(0),
            },
            "approval": {"groups": self.approval_groups},
        })
    }
}

fn grants_data(grants: &Grants) -> BTreeMap<&str, Vec<&str>> {
    let names = |columns: &Columns| match columns {
        Columns::All => vec![ALL],
        Columns::Only(_) => Vec::new(),
    };
    grants
        .iter()
        .map(|(relation, columns)| {
            let mut list = names(columns);
            if let Columns::Only(only) = columns {
                list.extend(only.iter().map(String::as_str));
            }
            (relation.as_str(), list)
        })
        .collect()
}

/// Reads one file. The second value is the line of `owner`, for the directory to say where an owner is unknown.
pub(super) fn parse(source: &AgentSource) -> Result<(Agent, usize), AgentError> {
    let file = File { source };
    let raw: RawAgent = toml::from_str(&source.text).map_err(|error| file.syntax(&error))?;
    let name = file.name(&raw.name)?;
    let owner_line = raw.owner.as_ref().map_or(1, |owner| file.line(owner));
    let owner = file.owner(&raw, &name)?;
    let mut scope = BTreeMap::new();
    for (database, raw_scope) in &raw.scope {
        let read = file.grants(&raw_scope.read)?;
        let write = file.grants(&raw_scope.write)?;
        scope.insert(database.clone(), Scope { read, write });
    }
    let agent = Agent {
        owner,
        parent: file.parent(&raw, &name)?,
        kind: raw.kind,
        claims: file.claims(&raw.claims)?,
        groups: file.groups(&raw.groups)?,
        description: raw.description,
        disabled: raw.disabled,
        scope,
        limits: raw.limits.meant(),
        approval_groups: file.groups(&raw.approval.groups)?,
        auth: file.auth(&raw.auth)?,
        name,
    };
    Ok((agent, owner_line))
}

/// Whether `text` can name an identity or a group.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let head = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    head && text.len() <= NAME_CAP
        && bytes.all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.' | b'-')
        })
}

/// Splits `schema.table(column, ...)`; the error says what is wrong with it.
fn parse_grant(text: &str) -> Result<(String, Columns), String> {
    let (relation, columns) = match text.split_once('(') {
        None => (text, None),
        Some((relation, rest)) => match rest.trim_end().strip_suffix(')') {
            Some(columns) => (relation, Some(columns)),
            None => return Err("lacks its closing parenthesis".to_owned()),
        },
    };
    let Some((schema, table)) = relation.trim().split_once('.') else {
        return Err("names no schema".to_owned());
    };
    let all_tables = table == ALL;
    if !is_plain(schema) || !(all_tables || is_plain(table)) {
        return Err("is not a schema and a table".to_owned());
    }
    let columns = match columns {
        None => Columns::All,
        Some(_) if all_tables => return Err("lists columns of a whole schema".to_owned()),
        Some(list) => {
            let names: BTreeSet<String> = list.split(',').map(|name| name.trim().to_owned()).collect();
            if !names.iter().all(|name| is_plain(name)) {
                return Err("has an empty or impossible column name".to_owned());
            }
            Columns::Only(names)
        }
    };
    Ok((format!("{schema}.{table}"), columns))
}

/// Whether `text` is a name that can be told from the punctuation around it. A name with a dot could be read
/// in two ways, so none is taken.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text.trim() == text
        && !text.chars().any(|char| char.is_control() || matches!(char, '.' | '*' | '(' | ')' | ',' | '"'))
}

/// A file that is being read: turns places into lines.
struct File<'a> {
    source: &'a AgentSource,
}

impl File<'_> {
    fn error(&self, line: usize, what: impl Into<String>) -> AgentError {
        AgentError { file: self.source.path.clone(), line, what: what.into() }
    }

    fn line<T>(&self, value: &Spanned<T>) -> usize {
        self.line_at(value.span().start)
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = self.source.text.bytes().take(offset);
        before.filter(|&byte| byte == b'\n').count() + 1
    }

    /// A mistake that the TOML reader found. A secret in clear is an unknown key to it: say what to do instead.
    fn syntax(&self, error: &toml::de::Error) -> AgentError {
        let span = error.span().unwrap_or(0..0);
        let line = self.line_at(span.start);
        let key = self.source.text.get(span).unwrap_or_default();
        if error.message().starts_with("unknown field") && SECRET_KEYS.contains(&key) {
            return self.error(
                line,
                format!(
                    "`{key}` would be a secret in clear; allowed in [auth] are `scram` (a verifier), `token_sha256` \
                     (a digest), `certificate` and `oidc`: `portcullis agent rotate NAME` makes the first two and prints the \
                     secret once"
                ),
            );
        }
        self.error(line, error.message().trim_end())
    }

    fn name(&self, raw: &Spanned<String>) -> Result<String, AgentError> {
        let name = raw.get_ref();
        if !is_name(name) {
            return Err(self.error(
                self.line(raw),
                format!(
                    "`{name}` can't be a name: allowed are 1 to {NAME_CAP} of a-z, 0-9, `_`, `.` and `-`, \
                     beginning with a letter or digit"
                ),
            ));
        }
        let file_name = self.source.path.rsplit('/').next().unwrap_or_default();
        if file_name.strip_suffix(".toml") != Some(name) {
            return Err(self.error(
                self.line(raw),
                format!(
                    "the name `{name}` must be the file's name: rename the file to `{name}.toml`, or the name"
                ),
            ));
        }
        Ok(name.clone())
    }

    fn owner(&self, raw: &RawAgent, name: &str) -> Result<Option<String>, AgentError> {
        match &raw.owner {
            None if raw.kind == Kind::Agent => Err(self.error(
                self.line(&raw.name),
                "an agent needs an `owner`: the name of the human identity that answers for it",
            )),
            Some(owner) if owner.get_ref() == name => Err(self
                .error(self.line(owner), "an identity can't own itself: name another, or leave `owner` out")),
            owner => Ok(owner.as_ref().map(|owner| owner.get_ref().clone())),
        }
    }

    fn parent(&self, raw: &RawAgent, name: &str) -> Result<Option<String>, AgentError> {
        match &raw.parent {
            Some(parent) if raw.kind != Kind::Agent => {
                Err(self
                    .error(self.line(parent), "only an agent has a `parent`: the agent that it works for"))
            }
            Some(parent) if parent.get_ref() == name => {
                Err(self.error(self.line(parent), "an agent can't be its own parent"))
            }
            parent => Ok(parent.as_ref().map(|parent| parent.get_ref().clone())),
        }
    }

    fn claims(&self, raw: &BTreeMap<String, Spanned<RawClaim>>) -> Result<Claims, AgentError> {
        let claim = |(name, claim): (&String, &Spanned<RawClaim>)| {
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(self.error(self.line(claim), "a claim needs a name"));
            }
            Ok((name.clone(), claim.get_ref().values()))
        };
        raw.iter().map(claim).collect()
    }

    fn groups(&self, raw: &[Spanned<String>]) -> Result<Vec<String>, AgentError> {
        if let Some(wrong) = raw.iter().find(|group| !is_name(group.get_ref())) {
            return Err(self.error(
                self.line(wrong),
                format!("`{}` can't be a group: allowed are a-z, 0-9, `_`, `.` and `-`", wrong.get_ref()),
            ));
        }
        let groups: BTreeSet<_> = raw.iter().map(|group| group.get_ref().clone()).collect();
        Ok(groups.into_iter().collect())
    }

    fn grants(&self, raw: &[Spanned<String>]) -> Result<Grants, AgentError> {
        let mut grants = Grants::new();
        for text in raw {
            let (relation, columns) = parse_grant(text.get_ref()).map_err(|why| {
                self.error(
                    self.line(text),
                    format!(
                        "`{}` {why}: allowed are \"schema.table\", \"schema.*\" and \"schema.table(column, ...)\"",
                        text.get_ref()
                    ),
                )
            })?;
            let merged = match (grants.remove(&relation), columns) {
                (Some(Columns::Only(mut present)), Columns::Only(more)) => {
                    present.extend(more);
                    Columns::Only(present)
                }
                (None, columns) => columns,
                (Some(_), _) => Columns::All,
            };
            grants.insert(relation, merged);
        }
        Ok(grants)
    }

    fn auth(&self, raw: &RawAuth) -> Result<Auth, AgentError> {
        let scram = match &raw.scram {
            None => None,
            Some(text) => Some(Verifier::parse(text.get_ref()).map_err(|error| {
                self.error(
                    self.line(text),
                    format!("`scram` {error}: `portcullis agent rotate NAME` makes one"),
                )
            })?),
        };
        let token = match &raw.token_sha256 {
            None => None,
            Some(text) => Some(TokenDigest::parse(text.get_ref()).ok_or_else(|| {
                self.error(
                    self.line(text),
                    "`token_sha256` must be a SHA-256 digest, 64 hexadecimal digits: `portcullis agent rotate NAME` \
                     makes one",
                )
            })?),
        };
        let certificate = raw.certificate.as_ref().map(|rule| self.certificate(rule)).transpose()?;
        let oidc = raw.oidc.as_ref().map(|rule| self.oidc(rule)).transpose()?;
        Ok(Auth { scram, token, certificate, oidc })
    }

    fn oidc(&self, raw: &Spanned<RawOidc>) -> Result<OidcRule, AgentError> {
        let RawOidc { issuer, subject, client, group } = raw.get_ref().clone();
        let who = match (subject, client, group) {
            (Some(subject), None, None) if !subject.is_empty() => Some(Who::Subject(subject)),
            (None, Some(client), None) if !client.is_empty() => Some(Who::Client(client)),
            (None, None, Some(group)) if is_name(&group) => Some(Who::Group(group)),
            _ => None,
        };
        let who = who.ok_or_else(|| {
            self.error(
                self.line(raw),
                "`oidc` must name the issuer and one of: { issuer = \"corp\", subject = \"...\" } for one person or \
                 workload, { issuer = \"corp\", client = \"...\" } for a client of the issuer, { issuer = \"corp\", \
                 group = \"...\" } for everybody in a group of the gateway's",
            )
        })?;
        Ok(OidcRule { issuer, who })
    }

    fn certificate(&self, raw: &Spanned<RawCertificate>) -> Result<CertificateRule, AgentError> {
        let rule = match (&raw.get_ref().subject, &raw.get_ref().sha256) {
            (Some(subject), None) if subject.contains('=') => Some(CertificateRule::Subject(subject.clone())),
            (None, Some(sha256)) => CertificateRule::fingerprint(sha256),
            (Some(_) | None, Some(_) | None) => None,
        };
        rule.ok_or_else(|| {
            self.error(
                self.line(raw),
                "`certificate` must be either { subject = \"CN=...\" }, as `openssl x509 -noout -subject -nameopt \
                 RFC2253` prints it, or { sha256 = \"...\" }, the 64 digits of `openssl x509 -noout -fingerprint \
                 -sha256`",
            )
        })
    }
}

/// Stands for every column, or for every relation of a schema.
const ALL: &str = "*";

/// Longest name, in bytes: what fits PostgreSQL's `NAMEDATALEN`.
const NAME_CAP: usize = 63;

/// Keys under which people write a secret in clear.
const SECRET_KEYS: &[&str] =
    &["password", "passwd", "passphrase", "token", "bearer", "secret", "api_key", "apikey", "key"];
