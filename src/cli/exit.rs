//! Exit codes, for scripts.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// It worked.
    Ok,
    /// It failed.
    Failed,
    /// The arguments are wrong.
    Usage,
    /// It worked, and the answer is no.
    Refused,
    /// It worked, and the answer needs somebody's approval.
    Pending,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Pending => 4,
        })
    }
}

/// For `-h`.
pub(super) const HELP: &str =
    "Exit codes: 0 worked, 1 failed, 2 wrong arguments, 3 denied or not valid, 4 needs approval";
