//! `portcullis agent`: identities as files. A running gateway sees a change by itself.

pub(super) mod connect;
pub(super) mod file;

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::config::{self, sources};
use crate::identity::Kind;
use crate::identity::directory::{AgentSource, Directory};
use crate::identity::token::Credentials;

use super::client::Client;
use super::exit::Exit;
use super::output::{Output, Table};

use file::NewAgent;

/// Adds, lists and renews identities: agents, people and services; sets up their clients
#[derive(Debug, Subcommand)]
pub(super) enum Agent {
    Add(Add),
    List(List),
    Rotate(Rotate),
    Connect(connect::Connect),
}

/// Writes a new identity's file and prints its secret, once
///
/// The secret is its password at the wire door and its bearer token at the MCP door and the console. The file
/// holds only a SCRAM verifier and a digest of it. For an agent, what to paste into its MCP client follows, on standard
/// error; `agent connect` prints that again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  portcullis agent add ana --kind human --group dba
  portcullis agent add support-bot --owner ana --read 'shop:public.*' --write 'shop:public.orders(status)'
  portcullis agent add support-bot --owner ana --token-file support-bot.token --client claude-desktop")]
pub(super) struct Add {
    /// Its name: a-z, 0-9, `_`, `.` and `-`
    name: String,

    /// What sort of principal it is
    #[arg(long, value_enum, default_value_t = KindArgument::Agent)]
    kind: KindArgument,

    /// The person who answers for it; an agent needs one
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,

    /// A group it belongs to; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,

    /// What it may read: DATABASE:SCHEMA.TABLE, :SCHEMA.* or :SCHEMA.TABLE(COLUMN, ...); may be repeated
    #[arg(long, value_name = "WHAT")]
    read: Vec<String>,

    /// What it may write, once a person agrees; written like --read
    #[arg(long, value_name = "WHAT")]
    write: Vec<String>,

    /// A group whose members may approve what it asks for; may be repeated
    #[arg(long = "approver", value_name = "GROUP")]
    approvers: Vec<String>,

    /// What it is for
    #[arg(long, default_value = "")]
    description: String,

    /// The MCP client to set up
    #[arg(long, value_enum, conflicts_with = "json")]
    client: Option<Client>,

    #[command(flatten)]
    secret: SecretArguments,

    #[command(flatten)]
    folder: FolderArguments,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// Lists identities, without any secret
#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    folder: FolderArguments,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// Gives an identity a new secret and prints it, once; the old one stops working
#[derive(Debug, Args)]
pub(super) struct Rotate {
    /// Its name
    name: String,

    #[command(flatten)]
    secret: SecretArguments,

    #[command(flatten)]
    folder: FolderArguments,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// Where a new secret goes.
#[derive(Debug, Args)]
struct SecretArguments {
    /// Writes the secret to FILE, for its owner only, and does not print it
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    token_file: Option<PathBuf>,
}

/// Where the identities' files are.
#[derive(Debug, Args)]
struct FolderArguments {
    /// The gateway's configuration, which says where the identities' folder is
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml", conflicts_with = "agents")]
    config: PathBuf,

    /// The identities' folder itself
    #[arg(long, value_name = "DIR")]
    agents: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArgument {
    /// Decides by itself what to ask for
    Agent,
    /// A person
    Human,
    /// A program with fixed statements
    Service,
}

impl Agent {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Add(add) => add.run(output),
            Self::List(list) => list.run(output),
            Self::Rotate(rotate) => rotate.run(output),
            Self::Connect(connect) => connect.run(output),
        }
    }
}

impl FolderArguments {
    fn folder(&self) -> anyhow::Result<PathBuf> {
        match &self.agents {
            Some(folder) => Ok(folder.clone()),
            None => Ok(config::folders(&self.config)?.agents),
        }
    }

    /// The configuration, where that is what says it.
    fn config(&self) -> Option<&Path> {
        self.agents.is_none().then_some(self.config.as_path())
    }
}

impl Add {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let folder = self.folder.folder()?;
        let credentials = Credentials::generate();
        let agent = NewAgent {
            name: &self.name,
            kind: self.kind.into(),
            owner: self.owner.as_deref(),
            groups: &self.groups,
            description: &self.description,
            read: &self.read,
            write: &self.write,
            approvers: &self.approvers,
        };
        let text = agent.to_toml(&credentials)?;
        let others = sources::agents(&folder)?;
        let path = format!("{}.toml", self.name);
        if others.iter().any(|source| source.path == path) {
            bail!("`{}` exists already; a new secret for it: `portcullis agent rotate {}`", path, self.name);
        }
        judge(others, AgentSource { path: path.clone(), text: text.clone() })?;
        let token_file = self.secret.token_file.as_deref();
        let url = connect::endpoint(self.folder.config())?;
        // Refused before anything is there, where this client can't be set up so.
        connect::connection(url.clone(), token_file)?.block(self.client.unwrap_or(Client::ClaudeCode))?;
        put(&folder.join(&path), &text, Put::New)?;
        self.secret.hand_over(output, &self.name, &credentials, self.json)?;
        if !self.json && (self.client.is_some() || matches!(self.kind, KindArgument::Agent)) {
            connect::advise(output, url, token_file, self.client)?;
        }
        Ok(Exit::Ok)
    }
}

impl List {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let directory = Directory::build(&sources::agents(&self.folder.folder()?)?)?;
        if self.json {
            output.json(&directory.to_data())?;
            return Ok(Exit::Ok);
        }
        let mut table = Table::new(&["NAME", "KIND", "OWNER", "GROUPS", "LOGS IN BY", "DATABASES"]);
        for agent in directory.agents() {
            let ways = match (agent.disabled(), agent.has_scram(), agent.has_token()) {
                (true, _, _) => "disabled",
                (false, true, true) => "password, token",
                (false, true, false) => "password",
                (false, false, true) => "token",
                (false, false, false) => "nothing",
            };
            table.row([
                agent.name().to_owned(),
                kind_word(agent.kind()).to_owned(),
                agent.owner().unwrap_or("-").to_owned(),
                agent.groups().join(","),
                ways.to_owned(),
                agent.scope().keys().cloned().collect::<Vec<_>>().join(","),
            ]);
        }
        output.line(table)?;
        Ok(Exit::Ok)
    }
}

impl Rotate {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let folder = self.folder.folder()?;
        let mut others = sources::agents(&folder)?;
        let path = format!("{}.toml", self.name);
        let Some(at) = others.iter().position(|source| source.path == path) else {
            bail!(
                "there is no `{path}` in `{}`; `portcullis agent list` shows who there is",
                folder.display()
            );
        };
        let old = others.swap_remove(at);
        let credentials = Credentials::generate();
        let text =
            file::rotated(&old.text, &credentials).with_context(|| format!("`{path}` can't be changed"))?;
        judge(others, AgentSource { path: path.clone(), text: text.clone() })?;
        put(&folder.join(&path), &text, Put::Instead)?;
        self.secret.hand_over(output, &self.name, &credentials, self.json)?;
        Ok(Exit::Ok)
    }
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Agent => Self::Agent,
            KindArgument::Human => Self::Human,
            KindArgument::Service => Self::Service,
        }
    }
}

/// The word for `kind` in files and tables.
fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Agent => "agent",
        Kind::Human => "human",
        Kind::Service => "service",
    }
}

/// Refuses a file that a gateway would refuse, before it is there for it to see.
fn judge(mut sources: Vec<AgentSource>, new: AgentSource) -> anyhow::Result<()> {
    sources.push(new);
    Directory::build(&sources).map(drop).context("the file would not be valid, nothing was written")
}

/// Whether a file may be there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Put {
    New,
    Instead,
}

/// Writes `text` to `path` in one step: a gateway that looks sees all of it or nothing.
fn put(path: &Path, text: &str, how: Put) -> anyhow::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let failed = || format!("`{}` can't be written", path.display());
    let mode = match how {
        Put::New => 0o644,
        Put::Instead => std::fs::metadata(path).with_context(failed)?.permissions().mode(),
    };
    let mut draft = tempfile::Builder::new()
        .prefix(".portcullis-")
        .permissions(std::fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
        .with_context(failed)?;
    draft.write_all(text.as_bytes()).with_context(failed)?;
    draft.as_file().sync_all().with_context(failed)?;
    match how {
        Put::New => draft.persist_noclobber(path).with_context(failed)?,
        Put::Instead => draft.persist(path).with_context(failed)?,
    };
    Ok(())
}

impl SecretArguments {
    /// Hands the secret over, once: into its file, or alone on standard output.
    fn hand_over(
        &self,
        output: &mut Output,
        name: &str,
        credentials: &Credentials,
        json: bool,
    ) -> anyhow::Result<()> {
        let secret = credentials.secret.reveal();
        if let Some(file) = &self.token_file {
            put_secret(file, secret).with_context(|| {
                format!(
                    "nobody has the secret of `{name}` now; `portcullis agent rotate {name}` makes another"
                )
            })?;
            let file = file.display();
            return Ok(output.remark(format_args!("the secret of `{name}` is in {file}, and nowhere else"))?);
        }
        if json {
            return Ok(output.json(&json!({ "name": name, "secret": secret }))?);
        }
        output.remark(format_args!(
            "the secret of `{name}`, for psql and as bearer token; it is not shown again:"
        ))?;
        Ok(output.line(secret)?)
    }
}

/// Writes a secret to `path`, which nobody else may read, in place of what was there.
fn put_secret(path: &Path, secret: &str) -> anyhow::Result<()> {
    let failed = || format!("`{}` can't be written", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = tempfile::Builder::new()
        .prefix(".portcullis-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .with_context(failed)?;
    writeln!(draft, "{secret}").with_context(failed)?;
    draft.persist(path).with_context(failed)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.toml");
        put(&path, "one", Put::New).unwrap();
        assert!(put(&path, "two", Put::New).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        put(&path, "three", Put::Instead).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a draft was left behind");
        assert!(put(&folder.path().join("none/bot.toml"), "x", Put::New).is_err());
    }
}
