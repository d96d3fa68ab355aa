//! What a client asks for in its start-up packet.

use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;
use crate::wire::refusals::fatal;

use super::options::{self, OptionsError};

/// What a client asks for in its start-up packet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    pub(super) user: String,
    pub(super) database: String,
    /// Name and value as the client wrote them, each name once: what `options` sets, then what parameters set.
    pub(super) settings: Vec<(String, String)>,
    /// Protocol extensions that it asks for. None is known.
    pub(super) extensions: Vec<String>,
    /// The minor version of protocol 3 that it speaks, as far as it is spoken here.
    pub(super) minor: u16,
}

impl Wanted {
    /// Sorts the parameters of a start-up packet. What is wrong with them is told beside them: by then it is known
    /// who asked.
    pub(super) fn read(
        parameters: Vec<(String, String)>,
        minor: u16,
        default_database: Option<&str>,
    ) -> (Self, Result<(), ErrorFields>) {
        let mut wanted = Self { minor, ..Self::default() };
        let (mut options, mut replication, mut settings) = (String::new(), String::new(), Vec::new());
        for (name, value) in parameters {
            match name.as_str() {
                "user" => wanted.user = value,
                "database" => wanted.database = value,
                "options" => options = value,
                "replication" => replication = value,
                _ if name.starts_with("_pq_.") => wanted.extensions.push(name),
                _ => settings.push((name, value)),
            }
        }
        if wanted.database.is_empty() {
            wanted.database = default_database.unwrap_or(&wanted.user).to_owned();
        }
        let usable = wanted.set(&options, settings).and_then(|()| wanted.replicate(&replication));
        if wanted.settings.iter().any(|(name, value)| name == "replication" && value == "true")
            && let Some(database) = default_database
        {
            // All databases at once: PostgreSQL ignores the name, and clients make one up.
            wanted.database = database.to_owned();
        }
        (wanted, usable)
    }

    /// `application_name`, as claimed; empty without one.
    pub(super) fn application(&self) -> String {
        let mut settings = self.settings.iter();
        let claimed = settings.find(|(name, _)| name.eq_ignore_ascii_case("application_name"));
        claimed.map(|(_, value)| value.chars().take(LONGEST_APPLICATION).collect()).unwrap_or_default()
    }

    fn set(&mut self, options: &str, parameters: Vec<(String, String)>) -> Result<(), ErrorFields> {
        if self.user.is_empty() {
            let message = "no PostgreSQL user name specified in startup packet";
            return Err(fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message));
        }
        let options = options::parse(options).map_err(|error| {
            let hint = match error {
                OptionsError::Argument { .. } => "Try \"postgres --help\" for more information.",
                OptionsError::Value { .. } => "",
            };
            fatal(sqlstate::SYNTAX_ERROR, error.to_string()).with_hint(hint)
        })?;
        for (name, value) in options.into_iter().chain(parameters) {
            // Not settings, though they stand in the same packet: none of them may get there by `options`.
            if OTHERS.iter().any(|other| other.eq_ignore_ascii_case(&name)) || name.starts_with("_pq_.") {
                let message = format!("unrecognized configuration parameter \"{name}\"");
                return Err(fatal(sqlstate::UNDEFINED_OBJECT, message));
            }
            self.settings.retain(|(earlier, _)| !earlier.eq_ignore_ascii_case(&name));
            self.settings.push((name, value));
        }
        Ok(())
    }

    /// `replication` is a setting here, so that it is judged; one that says no is none.
    fn replicate(&mut self, value: &str) -> Result<(), ErrorFields> {
        if value.is_empty() || is_prefix(value, &["false", "no", "off", "0"]) {
            return Ok(());
        }
        let value = match value {
            "database" => value,
            _ if is_prefix(value, &["true", "yes", "on", "1"]) => "true",
            _ => {
                let message = format!("invalid value for parameter \"replication\": \"{value}\"");
                return Err(fatal(sqlstate::INVALID_PARAMETER_VALUE, message)
                    .with_hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."));
            }
        };
        self.settings.push(("replication".to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Whether `value` is one of `words`, or a beginning that no other word has: as `parse_bool` reads it.
fn is_prefix(value: &str, words: &[&str]) -> bool {
    let lower = value.to_ascii_lowercase();
    lower != "o" && words.iter().any(|word| word.starts_with(&lower))
}

const OTHERS: [&str; 4] = ["user", "database", "options", "replication"];

/// PostgreSQL keeps 63 bytes (`NAMEDATALEN`).
const LONGEST_APPLICATION: usize = 63;
