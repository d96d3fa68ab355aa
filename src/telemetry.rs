//! Logs: one JSON or text line an event on standard error. Never SQL literals or row values above `trace`.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For collectors: one JSON object a line.
    Json,
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter can't be read.
    #[error("log filter `{filter}` can't be read: write for example `info` or `portcullis::gate=debug,info`")]
    Filter {
        /// As written.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process logs already.
    #[error("logs were started twice")]
    Twice,
}

/// The filter for `-v` given `verbosity` times.
#[must_use]
pub fn filter(verbosity: u8) -> &'static str {
    match verbosity {
        0 => "warn",
        1 => "portcullis=info,warn",
        2 => "portcullis=debug,info",
        _ => "trace",
    }
}

/// Starts logs for this process.
///
/// # Errors
/// When `filter` is none, or logs were started before.
pub fn start(filter: &str, format: Format) -> Result<(), TelemetryError> {
    let directives = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let lines = tracing_subscriber::fmt().with_env_filter(directives).with_writer(std::io::stderr);
    match format {
        Format::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Format::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verbosity_is_a_filter_and_nonsense_is_not() {
        for verbosity in 0..5 {
            EnvFilter::builder().parse(filter(verbosity)).unwrap();
        }
        let said = start("portcullis=loud", Format::Text).unwrap_err().to_string();
        assert!(said.contains("`portcullis=loud`"), "{said}");
    }
}
