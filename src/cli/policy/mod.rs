//! `portcullis policy`: the tools of those who write rules. None of them needs a gateway or changes anything.

mod bench;
mod bundle;
mod check;
mod coverage;
mod deps;
mod difference;
mod eval;
mod explain;
mod junit;
mod recorded;
mod replay;
mod report;
mod revisions;
mod test;
mod trace;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use crate::config::{self, sources};
use crate::identity::directory::Directory;
use crate::policy::Source;

use super::exit::Exit;
use super::output::Output;

/// Tests, checks and explains a rulebook
#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    Check(check::Check),
    Test(test::Test),
    Eval(eval::Eval),
    Explain(explain::Explain),
    Replay(replay::Replay),
    Deps(deps::Deps),
    Bench(bench::Bench),
}

impl Policy {
    /// `verbose` is how often `-v` was given.
    pub(super) async fn run(self, verbose: u8, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Bundle(command) => command.run(output),
            Self::Check(command) => command.run(output),
            Self::Eval(command) => command.run(output).await,
            Self::Explain(command) => command.run(output),
            Self::Replay(command) => command.run(output),
            Self::Bench(command) => command.run(output),
            Self::Deps(command) => command.run(output),
            Self::Test(command) => command.run(verbose > 0, output),
        }
    }
}

/// Which rulebook.
#[derive(Debug, Args)]
struct Rulebook {
    /// The rulebook's folder; else the one that the configuration names, else `policies`
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,

    /// The configuration that names the folder, if there is one
    #[arg(short, long, value_name = "FILE", default_value = "portcullis.toml")]
    config: PathBuf,
}

impl Rulebook {
    /// The folder.
    fn path(&self) -> anyhow::Result<PathBuf> {
        match &self.folder {
            Some(folder) => Ok(folder.clone()),
            None if self.config.exists() => Ok(config::folders(&self.config)?.policy),
            None => Ok(PathBuf::from("policies")),
        }
    }

    /// Its files.
    fn sources(&self) -> anyhow::Result<Vec<Source>> {
        Ok(sources::rulebook(&self.path()?)?)
    }

    /// The identities of the configuration, if there is one that has a folder of them.
    fn directory(&self) -> anyhow::Result<Option<Directory>> {
        if !self.config.exists() {
            return Ok(None);
        }
        let folder = config::folders(&self.config)?.agents;
        match folder.exists() {
            true => Ok(Some(Directory::build(&sources::agents(&folder)?)?)),
            false => Ok(None),
        }
    }

    /// What rules find at `data.agents`.
    fn agents(&self) -> anyhow::Result<Value> {
        Ok(self.directory()?.map_or_else(|| Value::Object(Map::new()), |directory| directory.to_data()))
    }
}

/// What `work` made, or a complaint and the exit code of a rulebook that can't be used.
fn usable<T>(work: anyhow::Result<T>, output: &mut Output) -> Result<T, Exit> {
    work.map_err(|error| {
        output.complain(&error);
        Exit::Refused
    })
}
