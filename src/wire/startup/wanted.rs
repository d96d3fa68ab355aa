//! What a client asks for in its start-up packet.

use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;
use crate::wire::refusals::fatal;

use super::options;

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
        let (mut options, mut settings) = (String::new(), Vec::new());
        for (name, value) in parameters {
            match name.as_str() {
                "user" => wanted.user = value,
                "database" => wanted.database = value,
                "options" => options = value,
                _ if name.starts_with("_pq_.") => wanted.extensions.push(name),
                _ => settings.push((name, value)),
            }
        }
        if wanted.database.is_empty() {
            wanted.database = default_database.unwrap_or(&wanted.user).to_owned();
        }
        let usable = wanted.set(&options, settings);
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
        let options =
            options::parse(options).map_err(|error| fatal(sqlstate::SYNTAX_ERROR, error.to_string()))?;
        for (name, value) in options.into_iter().chain(parameters) {
            self.settings.retain(|(earlier, _)| !earlier.eq_ignore_ascii_case(&name));
            self.settings.push((name, value));
        }
        Ok(())
    }
}

/// PostgreSQL keeps 63 bytes (`NAMEDATALEN`).
const LONGEST_APPLICATION: usize = 63;
