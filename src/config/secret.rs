//! Secrets: where they come from, and a type that can't be printed.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use zeroize::Zeroizing;

use super::environment;

/// A secret text. It has no `Display`, its `Debug` says nothing, and it is overwritten when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

/// Why there is no secret. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is missing, empty or not UTF-8.
    #[error("environment variable `{name}` is not set, or empty")]
    Variable {
        /// The variable.
        name: String,
    },
    /// The file can't be read.
    #[error("secret file `{path}` can't be read")]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The command can't be started, or gives no UTF-8.
    #[error("the secret command can't be run")]
    Command {
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The command failed.
    #[error("the secret command ended with {status}")]
    Status {
        /// How it ended.
        status: String,
    },
    /// The secret is empty.
    #[error("{origin} holds an empty secret")]
    Empty {
        /// Where it came from.
        origin: String,
    },
}

impl Secret {
    /// Takes `text` as a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself. Don't log it, don't put it into an error.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// From environment variable `name`.
    ///
    /// # Errors
    /// When it is not set, not UTF-8, or empty.
    pub fn from_env(name: &str) -> Result<Self, SecretError> {
        let text =
            environment::variable(name).ok_or_else(|| SecretError::Variable { name: name.to_owned() })?;
        Self::trimmed(text, || format!("environment variable `{name}`"))
    }

    /// From the file at `path`, without the line break at its end.
    ///
    /// # Errors
    /// When it can't be read or is empty.
    pub fn from_file(path: &Path) -> Result<Self, SecretError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| SecretError::File { path: name.clone(), source })?;
        Self::trimmed(text, || format!("secret file `{name}`"))
    }

    /// From what `sh -c command` prints, without the line break at its end. Its standard error is ours.
    ///
    /// # Errors
    /// When it can't be started, fails, or prints nothing. The command itself is not in the error: it may hold
    /// what opens a vault.
    pub fn from_command(command: &str) -> Result<Self, SecretError> {
        let failed = |source| SecretError::Command { source };
        let output = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(failed)?;
        if !output.status.success() {
            let status = output.status.to_string();
            return Err(SecretError::Status { status });
        }
        let text =
            String::from_utf8(output.stdout).map_err(|_| failed(std::io::ErrorKind::InvalidData.into()))?;
        Self::trimmed(text, || "the secret command".to_owned())
    }

    fn trimmed(text: String, origin: impl FnOnce() -> String) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text);
        let secret = text.strip_suffix('\n').unwrap_or(&text);
        let secret = secret.strip_suffix('\r').unwrap_or(secret);
        if secret.is_empty() {
            return Err(SecretError::Empty { origin: origin() });
        }
        Ok(Self::new(secret.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}
