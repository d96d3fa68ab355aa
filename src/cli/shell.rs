//! `portcullis completions` and `portcullis man`: for shells and manuals.

use clap::Args;
use clap_complete::Shell;

use super::exit::Exit;
use super::output::Output;

/// Prints the completions for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  portcullis completions bash > ~/.local/share/bash-completion/completions/portcullis"
)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the manual page
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  portcullis man > /usr/local/share/man/man1/portcullis.1\n  portcullis man agent add | man -l -"
)]
pub(super) struct Man {
    /// The subcommand to print the page of, as in `portcullis man agent add`
    #[arg(value_name = "SUBCOMMAND")]
    path: Vec<String>,
}

impl Completions {
    pub(super) fn run(self, output: &mut Output, mut command: clap::Command) -> anyhow::Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "portcullis", &mut script);
        output.bytes(&script)?;
        Ok(Exit::Ok)
    }
}

impl Man {
    pub(super) fn run(self, output: &mut Output, mut command: clap::Command) -> anyhow::Result<Exit> {
        command.build();
        let mut page = &command;
        for name in &self.path {
            let Some(next) = page.find_subcommand(name) else {
                anyhow::bail!("there is no subcommand `{}`", self.path.join(" "));
            };
            page = next;
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(page.clone()).render(&mut text)?;
        output.bytes(&text)?;
        Ok(Exit::Ok)
    }
}
