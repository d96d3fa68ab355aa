//! `portcullis policy`: the tools of those who write rules. None of them needs a gateway or changes anything.

mod bundle;
mod check;
mod coverage;
mod deps;
mod junit;
mod test;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{self, sources};
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
    Deps(deps::Deps),
}

impl Policy {
    /// `verbose` is how often `-v` was given.
    pub(super) fn run(self, verbose: u8, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Bundle(command) => command.run(output),
            Self::Check(command) => command.run(output),
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
}

/// What `work` made, or a complaint and the exit code of a rulebook that can't be used.
fn usable<T>(work: anyhow::Result<T>, output: &mut Output) -> Result<T, Exit> {
    work.map_err(|error| {
        output.complain(&error);
        Exit::Refused
    })
}
