//! The start-up parameter `options`: command-line switches, split and read as PostgreSQL does it
//! (`pg_split_opts`, `process_postgres_switches`).

/// Why `options` can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// What stands there is no switch, or another than those that set something.
    #[error("invalid command-line argument for server process: {argument}")]
    Argument {
        /// As it stands there.
        argument: String,
    },
    /// A switch sets a name to nothing.
    #[error("{switch} requires a value")]
    Value {
        /// As it stands there.
        switch: String,
    },
}

/// The settings that `options` makes, in order: `-c name=value`, `-cname=value` and `--name=value`.
///
/// # Errors
/// At the first switch of another kind.
pub fn parse(options: &str) -> Result<Vec<(String, String)>, OptionsError> {
    let mut settings = Vec::new();
    let mut arguments = split(options).into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            // The end of all switches, after which nothing may stand.
            return match arguments.next() {
                None => Ok(settings),
                Some(argument) => Err(OptionsError::Argument { argument }),
            };
        }
        settings.push(if let Some(glued) = argument.strip_prefix("--") {
            setting(glued, "--")?
        } else {
            match argument.strip_prefix("-c") {
                Some("") => match arguments.next() {
                    Some(next) => setting(&next, "-c ")?,
                    None => return Err(OptionsError::Argument { argument }),
                },
                Some(glued) => setting(glued, "-c ")?,
                None => return Err(OptionsError::Argument { argument }),
            }
        });
    }
    Ok(settings)
}

/// Splits at white space. A backslash takes the next character as it is; one at the end is nothing.
fn split(options: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut chars = options.chars().skip_while(is_space).peekable();
    while chars.peek().is_some() {
        let mut argument = String::new();
        let mut escaped = false;
        while let Some(char) = chars.next_if(|char| escaped || !is_space(char)) {
            escaped = !escaped && char == '\\';
            if !escaped {
                argument.push(char);
            }
        }
        arguments.push(argument);
        while chars.next_if(is_space).is_some() {}
    }
    arguments
}

/// `name=value`. A name may be written with hyphens.
fn setting(text: &str, switch: &str) -> Result<(String, String), OptionsError> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.replace('-', "_"), value.to_owned())),
        None => Err(OptionsError::Value { switch: format!("{switch}{text}") }),
    }
}

/// C's `isspace` for ASCII.
fn is_space(char: &char) -> bool {
    matches!(char, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(options: &str) -> String {
        match parse(options) {
            Ok(settings) => settings.iter().map(|(name, value)| format!("[{name}|{value}]")).collect(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn switches_are_split_and_read_as_postgresql_does_it() {
        for (options, expected) in [
            ("", ""),
            (" \t\n", ""),
            ("-c a=b", "[a|b]"),
            ("-ca=b", "[a|b]"),
            ("--a=b", "[a|b]"),
            ("--a-b=c-d", "[a_b|c-d]"),
            ("-c a.b-c=d", "[a.b_c|d]"),
            ("-c  a=b\r\n-c\u{b}c=d", "[a|b][c|d]"),
            (r"-c a=b\ c", "[a|b c]"),
            (r"-c\ a=b", "[ a|b]"),
            (r"-c a=\\", r"[a|\]"),
            (r"-c a=b\", "[a|b]"),
            (r"-c a=\n", "[a|n]"),
            ("-c a=b=c", "[a|b=c]"),
            ("-c a=", "[a|]"),
            ("-c =b", "[|b]"),
            ("-c -c=b", "[_c|b]"),
            ("-c a=1 -c a=2", "[a|1][a|2]"),
            ("-c a=b --", "[a|b]"),
        ] {
            assert_eq!(said(options), expected, "{options:?}");
        }
    }

    #[test]
    fn what_sets_nothing_is_refused() {
        for (options, expected) in [
            ("-c", "invalid command-line argument for server process: -c"),
            ("-c a", "-c a requires a value"),
            ("--a-b", "--a-b requires a value"),
            ("-e", "invalid command-line argument for server process: -e"),
            ("a=b", "invalid command-line argument for server process: a=b"),
            ("-c a=b c=d", "invalid command-line argument for server process: c=d"),
            ("-", "invalid command-line argument for server process: -"),
            (r"\", "invalid command-line argument for server process: "),
            ("-- -c a=b", "invalid command-line argument for server process: -c"),
        ] {
            assert_eq!(said(options), expected, "{options:?}");
        }
    }
}
