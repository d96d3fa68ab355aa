//! Secrets that are known by how they begin: tokens, keys of services, private keys. What follows may be of any length.

use super::Detector;
use super::unit::{Ahead, Class, More, is_end, is_word};

/// What the rest of a secret is made of. It ends where something else comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Letters, digits, `_`, `-`, and in tokens `.` and `=`.
    Token,
    /// Letters, digits, `_`, `-`.
    Key,
    /// Anything, up to five dashes, of which so many have come.
    Pem(u8),
}

impl Rest {
    /// Whether `class` goes on with it.
    pub(super) fn takes(self, class: Class) -> bool {
        match self {
            Self::Token => is_word(class) || matches!(class, b'_' | b'-' | b'.' | b'='),
            Self::Key => is_word(class) || matches!(class, b'_' | b'-'),
            // No text has a zero byte: what follows is another one.
            Self::Pem(_) => class != 0,
        }
    }

    /// Whether `class` is overwritten in it.
    pub(super) fn hides(self, class: Class) -> bool {
        match self {
            Self::Token | Self::Key => class != b'.',
            Self::Pem(_) => is_word(class) || matches!(class, b'+' | b'/' | b'='),
        }
    }
}

/// A secret that begins here, by a letter: of which detector, and what it is made of.
pub(super) fn secret(ahead: Ahead<'_>) -> Result<Option<(Detector, Rest)>, More> {
    let mut head = ahead;
    let Some(first) = head.next()?.filter(|class| FIRST.contains(class)) else { return Ok(None) };
    let Some(second) = head.next()? else { return Ok(None) };
    if [first, second] == *b"ey" && token(ahead)? {
        return Ok(Some((Detector::Jwt, Rest::Token)));
    }
    for key in KEYS.iter().filter(|key| key.prefix.starts_with(&[first, second])) {
        if key.begins(ahead)? {
            return Ok(Some((Detector::ApiKey, Rest::Key)));
        }
    }
    Ok(None)
}

/// A base64 text whose first bytes are `{"`, as a token's header is.
fn token(mut ahead: Ahead<'_>) -> Result<bool, More> {
    if !ahead.passes(b"eyJ")? {
        return Ok(false);
    }
    for _ in 0..LEAST_TOKEN {
        if !ahead.next()?.is_some_and(|class| is_word(class) || matches!(class, b'_' | b'-')) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where the first line of a private key that begins here ends: `-----BEGIN ... PRIVATE KEY...-----`.
pub(super) fn private_key(mut ahead: Ahead<'_>) -> Result<Option<usize>, More> {
    if !ahead.passes(b"-----BEGIN ")? {
        return Ok(None);
    }
    let mut is_private = false;
    for _ in 0..MOST_LABEL {
        is_private |= { ahead }.passes(b"PRIVATE KEY")?;
        let mut behind = ahead;
        if behind.passes(b"-----")? {
            return Ok(is_private.then_some(behind.at()));
        }
        match ahead.next()? {
            Some(class) if class.is_ascii_uppercase() || class.is_ascii_digit() || class == b' ' => {}
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// How the keys of a service look.
struct Key {
    prefix: &'static [u8],
    /// How many characters follow at least.
    least: usize,
    of: Of,
}

/// What a key's characters are, up to the least number of them.
enum Of {
    /// Letters and digits.
    Word,
    /// Those, `_` and `-`.
    Dashed,
    /// Those, and one of them is a digit: the prefix alone says little.
    DashedWithDigit,
    /// Capital letters and digits, and no more of them than the least.
    Capitals,
}

impl Key {
    fn begins(&self, mut ahead: Ahead<'_>) -> Result<bool, More> {
        if !ahead.passes(self.prefix)? {
            return Ok(false);
        }
        let mut has_digit = false;
        for _ in 0..self.least {
            let Some(class) = ahead.next()? else { return Ok(false) };
            has_digit |= class.is_ascii_digit();
            let fits = match self.of {
                Of::Word => is_word(class),
                Of::Dashed | Of::DashedWithDigit => Rest::Key.takes(class),
                Of::Capitals => class.is_ascii_uppercase() || class.is_ascii_digit(),
            };
            if !fits {
                return Ok(false);
            }
        }
        Ok(match self.of {
            Of::Word | Of::Dashed => true,
            Of::DashedWithDigit => has_digit,
            Of::Capitals => is_end(ahead.peek()?),
        })
    }
}

const fn key(prefix: &'static [u8], least: usize, of: Of) -> Key {
    Key { prefix, least, of }
}

/// By what services say of their own keys.
const KEYS: [Key; 28] = [
    key(b"AKIA", 16, Of::Capitals),
    key(b"ASIA", 16, Of::Capitals),
    key(b"AROA", 16, Of::Capitals),
    key(b"AIDA", 16, Of::Capitals),
    key(b"ABIA", 16, Of::Capitals),
    key(b"ghp_", 36, Of::Word),
    key(b"gho_", 36, Of::Word),
    key(b"ghu_", 36, Of::Word),
    key(b"ghs_", 36, Of::Word),
    key(b"ghr_", 36, Of::Word),
    key(b"github_pat_", 22, Of::Word),
    key(b"glpat-", 20, Of::Dashed),
    key(b"xoxa-", 10, Of::Dashed),
    key(b"xoxb-", 10, Of::Dashed),
    key(b"xoxe-", 10, Of::Dashed),
    key(b"xoxp-", 10, Of::Dashed),
    key(b"xoxr-", 10, Of::Dashed),
    key(b"xoxs-", 10, Of::Dashed),
    key(b"xapp-", 10, Of::Dashed),
    key(b"sk_live_", 10, Of::Word),
    key(b"sk_test_", 10, Of::Word),
    key(b"rk_live_", 10, Of::Word),
    key(b"rk_test_", 10, Of::Word),
    key(b"whsec_", 20, Of::Word),
    key(b"AIza", 35, Of::Dashed),
    key(b"npm_", 36, Of::Word),
    key(b"sk-ant-", 20, Of::Dashed),
    key(b"sk-", 32, Of::DashedWithDigit),
];

/// What tokens and keys begin with.
const FIRST: &[u8] = b"eAgxsrwn";
/// Characters of base64 behind `eyJ`: fewer may be anything.
const LEAST_TOKEN: usize = 16;
/// Longest text between the dashes of a PEM line.
const MOST_LABEL: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_missed_for_its_first_letter() {
        assert!(KEYS.iter().all(|key| FIRST.contains(&key.prefix[0])));
    }
}
