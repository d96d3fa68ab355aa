//! The command line: one file a subcommand.
//!
//! Commands that change something which a running gateway owns (approvals) go through its API with the caller's
//! own token; they never open its store. Results go to standard output by `output`, everything else to
//! standard error.

mod agent;
mod approvals;
mod audit;
mod check;
mod client;
mod console;
pub mod demo;
mod discover;
mod doctor;
mod eval;
mod exit;
mod mcp;
mod output;
mod policy;
mod rls;
mod serve;
mod shell;
mod stop;
mod token;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory as _, Parser, Subcommand};

use crate::config::environment;
use crate::telemetry;

use exit::Exit;
use output::Output;

/// Governed access to PostgreSQL for AI agents and people: one gate, two doors.
///
/// The gateway stands between PostgreSQL and everyone who queries it. People and programs connect to it as if it
/// were PostgreSQL, agents by MCP tools. Policies decide on every statement; governed columns are masked at the
/// source; risky writes wait for a human; a ledger keeps it all.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, propagate_version = true, after_help = exit::HELP, after_long_help = LONG_HELP)]
struct Arguments {
    /// Says more on standard error; up to three times. PORTCULLIS_LOG sets a filter instead.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Mcp(mcp::Mcp),
    Check(check::Check),
    #[command(subcommand)]
    Agent(agent::Agent),
    Approvals(approvals::Approvals),
    #[command(subcommand)]
    Audit(audit::Audit),
    Eval(eval::Eval),
    #[command(subcommand)]
    Policy(policy::Policy),
    Doctor(doctor::Doctor),
    Discover(discover::Discover),
    #[command(subcommand)]
    Rls(rls::Rls),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// Runs the program with `arguments`, the first of which is its own name.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let mut output = Output::default();
    match dispatch(arguments, &mut output) {
        Ok(exit) => exit.into(),
        Err(error) if is_broken_pipe(&error) => Exit::Ok.into(),
        Err(error) => {
            output.complain(&error);
            if error.is::<console::Refused>() { Exit::Refused.into() } else { Exit::Failed.into() }
        }
    }
}

fn dispatch(arguments: Arguments, output: &mut Output) -> anyhow::Result<Exit> {
    let wanted = environment::variable("PORTCULLIS_LOG");
    // Of a gateway, one wants to see what it does.
    let (usual, format) = match &arguments.command {
        Command::Serve(serve) => (arguments.verbose.saturating_add(1), serve.log_format()),
        Command::Demo(_)
        | Command::Mcp(_)
        | Command::Check(_)
        | Command::Agent(_)
        | Command::Approvals(_)
        | Command::Audit(_)
        | Command::Eval(_)
        | Command::Policy(_)
        | Command::Doctor(_)
        | Command::Discover(_)
        | Command::Rls(_)
        | Command::Completions(_)
        | Command::Man(_) => (arguments.verbose, telemetry::Format::Text),
    };
    telemetry::start(wanted.as_deref().unwrap_or(telemetry::filter(usual)), format)?;
    match arguments.command {
        Command::Serve(command) => wait_for(command.run()),
        Command::Demo(command) => wait_for(command.run(output)),
        Command::Mcp(command) => wait_for(command.run()),
        Command::Check(command) => command.run(output),
        Command::Agent(command) => command.run(output),
        Command::Approvals(command) => wait_for(command.run(output)),
        Command::Audit(command) => command.run(output),
        Command::Eval(command) => wait_for(command.run(output)),
        Command::Policy(command) => wait_for(command.run(arguments.verbose, output)),
        Command::Doctor(command) => wait_for(command.run(output)),
        Command::Discover(command) => wait_for(command.run(output)),
        Command::Rls(command) => wait_for(command.run(output)),
        Command::Completions(command) => command.run(output, Arguments::command()),
        Command::Man(command) => command.run(output, Arguments::command()),
    }
}

fn wait_for(work: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// What clap has to say: help and version are results, everything else is a mistake in the arguments.
fn usage(error: &clap::Error) -> ExitCode {
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
    match error.print() {
        Ok(()) => exit.into(),
        Err(_) => Exit::Failed.into(),
    }
}

/// Whoever read our output has seen enough, as in `portcullis audit tail | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

const LONG_HELP: &str = "\
Examples:
  portcullis demo                                 a throw-away PostgreSQL with sample data, governed
  portcullis demo --tour                          a scripted walk through it
  portcullis check --config portcullis.toml       is everything in order?
  portcullis policy test                          the rulebook's own tests
  portcullis doctor --config portcullis.toml      may the gateway's own roles do too much?
  portcullis discover --database shop             which columns should be masked?
  portcullis rls plan                             the SQL that puts row filters in force
  portcullis serve --config portcullis.toml       the gateway
  portcullis agent add support-bot --owner ana    a new identity; prints its secret once
  portcullis approvals watch                      what waits for you?

Exit codes:
  0  it worked
  1  it failed: the message says why
  2  the arguments are wrong
  3  the answer is no: denied, not valid, a broken ledger, a dangerous role, or a row filter that is not in force
  4  the answer is not yet: it needs somebody's approval (eval)";
