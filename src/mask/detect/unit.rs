//! A text, character by character, as detectors see it.
//!
//! A value may be written in many ways: digits of other scripts, wide letters, `\u0034` in JSON, `\\u0034` in JSON in an
//! array. Each comes as the ASCII character that it stands for, together with how many bytes it takes.

/// What a character is, folded: an ASCII character, or [`OTHER`].
pub(super) type Class = u8;

/// Anything beyond ASCII that no ASCII character stands for. It is no part of a word: scripts without spaces put words
/// and numbers right behind one another.
pub(super) const OTHER: Class = 0x80;

/// A character and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) class: Class,
    pub(super) bytes: usize,
}

/// The bytes that have arrived don't decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct More;

/// What lies ahead in a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether the text ends with these bytes.
    ends: bool,
}

impl<'a> Ahead<'a> {
    /// The text from byte `at` of `bytes` on.
    pub(super) fn new(bytes: &'a [u8], at: usize, ends: bool) -> Self {
        Self { bytes, at, ends }
    }

    /// The next character, which is passed; `None` at the end of the text.
    pub(super) fn next(&mut self) -> Result<Option<Class>, More> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let Some(unit) = unit(rest, self.ends)? else { return Ok(None) };
        self.at += unit.bytes;
        Ok(Some(unit.class))
    }

    /// The next character, which is not passed.
    pub(super) fn peek(mut self) -> Result<Option<Class>, More> {
        self.next()
    }

    /// Whether exactly these characters come next; passes them if so.
    pub(super) fn passes(&mut self, wanted: &[u8]) -> Result<bool, More> {
        let mut ahead = *self;
        for class in wanted {
            if ahead.next()? != Some(*class) {
                return Ok(false);
            }
        }
        *self = ahead;
        Ok(true)
    }

    /// Passes `count` digits and gives them; `None` if there are fewer.
    pub(super) fn digits<const COUNT: usize>(&mut self) -> Result<Option<[u8; COUNT]>, More> {
        let mut digits = [0; COUNT];
        for digit in &mut digits {
            match self.next()? {
                Some(class) if class.is_ascii_digit() => *digit = class - b'0',
                _ => return Ok(None),
            }
        }
        Ok(Some(digits))
    }

    /// How far into the bytes it has come.
    pub(super) fn at(&self) -> usize {
        self.at
    }
}

/// The character that `bytes` begin with; `None` if there is none. `ends` says that the text ends with them.
pub(super) fn unit(bytes: &[u8], ends: bool) -> Result<Option<Unit>, More> {
    match bytes.first() {
        None if ends => Ok(None),
        None => Err(More),
        Some(b'\\') => escape(bytes, ends).map(Some),
        Some(&class) if class < 0x80 => Ok(Some(Unit { class, bytes: 1 })),
        Some(&lead) => wide(lead, bytes, ends).map(Some),
    }
}

/// Whether it is a letter or a digit.
pub(super) fn is_word(class: Class) -> bool {
    class.is_ascii_alphanumeric()
}

/// Whether nothing of a word follows.
pub(super) fn is_end(next: Option<Class>) -> bool {
    !next.is_some_and(is_word)
}

/// One or more backslashes, and what they stand for together with what follows. Each level of quoting doubles them.
fn escape(bytes: &[u8], ends: bool) -> Result<Unit, More> {
    let slashes = bytes.iter().take(MOST_SLASHES).take_while(|byte| **byte == b'\\').count();
    let alone = Unit { class: b'\\', bytes: slashes };
    if slashes == MOST_SLASHES {
        return Ok(alone);
    }
    match bytes.get(slashes) {
        None if ends => Ok(alone),
        None => Err(More),
        Some(b'b' | b'f' | b'n' | b'r' | b't' | b'v') => Ok(Unit { class: b'\n', bytes: slashes + 1 }),
        Some(b'u') => {
            let digits = bytes.get(slashes + 1..).unwrap_or_default();
            let digits = digits.get(..4).unwrap_or(digits);
            let Some(code) = hexadecimal(digits) else { return Ok(alone) };
            match digits.len() {
                4 => {
                    let class = char::from_u32(code).map_or(OTHER, fold);
                    Ok(Unit { class, bytes: slashes + 5 })
                }
                _ if ends => Ok(alone),
                _ => Err(More),
            }
        }
        Some(_) => Ok(alone),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

/// A character of several bytes; a byte that begins none is one of its own.
fn wide(lead: u8, bytes: &[u8], ends: bool) -> Result<Unit, More> {
    let broken = Unit { class: OTHER, bytes: 1 };
    let length = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Ok(broken),
    };
    let whole = bytes.get(..length).unwrap_or(bytes);
    match std::str::from_utf8(whole) {
        Ok(text) => Ok(Unit { class: text.chars().next().map_or(OTHER, fold), bytes: length }),
        Err(error) if error.error_len().is_none() && !ends => Err(More),
        Err(_) => Ok(broken),
    }
}

/// The ASCII character that stands for `char`.
fn fold(char: char) -> Class {
    let code = u32::from(char);
    let digit = |zero: u32| u8::try_from(code - zero).map_or(OTHER, |digit| b'0' + digit % 10);
    match code {
        0..0x80 => u8::try_from(code).unwrap_or(OTHER),
        0xa0 | 0x2000..=0x200d | 0x202f | 0x205f | 0x2060 | 0x3000 | 0xfeff => b' ',
        0xad | 0x2010..=0x2015 | 0x2212 | 0xfe58 | 0xfe63 => b'-',
        0x660..=0x669 => digit(0x660),
        0x6f0..=0x6f9 => digit(0x6f0),
        0x966..=0x96f => digit(0x966),
        0x9e6..=0x9ef => digit(0x9e6),
        0xe50..=0xe59 => digit(0xe50),
        0xff01..=0xff5e => u8::try_from(code - 0xfee0).unwrap_or(OTHER),
        0x1d7ce..=0x1d7ff => digit(0x1d7ce),
        _ => OTHER,
    }
}

/// As many backslashes are one escape: four levels of quoting have eight.
const MOST_SLASHES: usize = 17;

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut ahead = Ahead::new(text.as_bytes(), 0, true);
        std::iter::from_fn(|| ahead.next().unwrap()).map(|class| char::from(class.min(b'~'))).collect()
    }

    #[test]
    fn every_way_to_write_a_digit_gives_the_digit() {
        for text in ["4\u{664}", "\u{ff14}\u{6f4}", "\\u0034\\\\u0664", "\u{1d7d2}\u{96a}"] {
            assert_eq!(folded(text), "44", "{text}");
        }
        assert_eq!(folded("a\\tb\\\\n\u{a0}\u{2013}\u{ff20}\u{e9}"), "a\nb\n -@~");
        assert_eq!(folded("\\\"\\4\\u12x"), "\\\"\\4\\u12x");
    }

    #[test]
    fn what_may_go_on_is_not_decided_before_it_is_there() {
        for (part, whole) in
            [(&b"\\"[..], &b"\\n"[..]), (b"\\u003", b"\\u0034"), (b"\xef\xbc", b"\xef\xbc\x94")]
        {
            assert_eq!(unit(part, false), Err(More));
            assert_eq!(unit(whole, false).unwrap().unwrap().bytes, whole.len());
            assert!(unit(part, true).is_ok());
        }
        assert_eq!(unit(b"\xff", false), Ok(Some(Unit { class: OTHER, bytes: 1 })));
    }
}
