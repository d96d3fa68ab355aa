//! Durations as a client may write them in a setting: PostgreSQL's own syntax, read as PostgreSQL reads it.
//! Source: `parse_int` and `time_unit_conversion_table` of PostgreSQL's `guc.c`.

/// The milliseconds that PostgreSQL would make of `text` for a setting counted in milliseconds, such as
/// `statement_timeout`; 0 is no limit. `None` where PostgreSQL refuses it, and for the few odd spellings (hexadecimal
/// fractions) that nobody writes.
pub(super) fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim_matches(SPACES);
    let digits_end = number_end(text);
    let (number, unit) = text.split_at_checked(digits_end)?;
    let value = number_of(number)? * factor(unit.trim_start_matches(SPACES))?;
    let rounded = value.round_ties_even();
    // As PostgreSQL's own bound: an `int`.
    if !(0.0..=f64::from(i32::MAX)).contains(&rounded) {
        return None;
    }
    // Without the sign of a negative zero.
    format!("{:.0}", rounded.abs()).parse().ok()
}

/// Where the number ends and its unit begins.
fn number_end(text: &str) -> usize {
    let signless = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = text.len() - signless.len();
    if let Some(rest) = hexadecimal(signless) {
        let digits = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        return sign.saturating_add(2).saturating_add(digits);
    }
    let mantissa = signless.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(signless.len());
    let exponent = signless.get(mantissa..).map_or(0, exponent_length);
    sign.saturating_add(mantissa).saturating_add(exponent)
}

/// The length of `e[+-]digits` at the start of `text`; 0 where there is none.
fn exponent_length(text: &str) -> usize {
    let Some(rest) = text.strip_prefix(['e', 'E']) else { return 0 };
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    match digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()) {
        0 => 0,
        length => (text.len() - digits.len()).saturating_add(length),
    }
}

/// C's `strtol` with base 0, or `strtod` where there is a fraction or an exponent.
fn number_of(text: &str) -> Option<f64> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let whole = |digits: &str, radix| u32::from_str_radix(digits, radix).ok().map(f64::from);
    let value = if let Some(digits) = hexadecimal(text) {
        whole(digits, 16)
    } else if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
        whole(text, 8)
    } else if text.len() > 1 && text.starts_with('0') && !text.starts_with("0.") {
        None
    } else {
        text.parse::<f64>().ok().filter(|value| value.is_finite())
    };
    value.map(|value| sign * value)
}

fn hexadecimal(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

/// Milliseconds in a unit. PostgreSQL tells upper from lower case.
fn factor(unit: &str) -> Option<f64> {
    match unit {
        "us" => Some(0.001),
        "" | "ms" => Some(1.0),
        "s" => Some(1_000.0),
        "min" => Some(60_000.0),
        "h" => Some(3_600_000.0),
        "d" => Some(86_400_000.0),
        _ => None,
    }
}

/// C's `isspace`.
const SPACES: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];

#[cfg(test)]
mod tests {
    use super::*;

    /// Held against `SET statement_timeout` and `SHOW statement_timeout` of PostgreSQL 15 in `tests/it/upstream`.
    #[test]
    fn every_spelling_of_a_duration_is_read() {
        for (text, expected) in [
            ("0", 0),
            ("250", 250),
            ("30s", 30_000),
            ("5min", 300_000),
            (" 1 h ", 3_600_000),
            ("2d", 172_800_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1e3", 1_000),
            ("1.5e1s", 15_000),
            ("+7", 7),
            ("010", 8),
            ("0x10", 16),
            ("0.4", 0),
            ("400us", 0),
            ("1500us", 2),
            ("-0", 0),
            ("2147483647", 2_147_483_647),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_postgresql_refuses_is_refused() {
        for text in [
            "",
            " ",
            "s",
            "1x",
            "1S",
            "1 ms s",
            "1,5",
            "-1",
            "1e",
            "1e400",
            "nan",
            "inf",
            "08",
            "1 5",
            "0x",
            "2147483648",
            "30d1",
            "99999999999999999999",
            "--1",
            "1..5",
            ".",
            "1\0",
        ] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
