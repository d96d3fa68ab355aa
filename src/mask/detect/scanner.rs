//! One text on its way, looked through and overwritten in place as it comes.
//!
//! A character is passed once all that may begin with it is decided, and overwritten while it is passed. So detectors
//! always read what was really written, and values that lie over one another are both overwritten. What stays behind is
//! what is not decided, and what may yet turn out to stand before an `@`.

use super::email::{domain, is_local};
use super::iban::iban;
use super::numbers::{Number, card, float_card, phone, ssn};
use super::secrets::{Rest, private_key, secret};
use super::unit::{Ahead, Class, More, OTHER, Unit, is_word, unit};
use super::{Detector, Detectors, Kinds};

/// How a text is written, and so what may stand in it instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Text: `*`.
    Stars,
    /// One number: zeros. Only cards are looked for.
    Zeros,
    /// Text with numbers in it, as in JSON: a number becomes 1 and zeros, which is a number anywhere.
    Mixed,
    /// Bytes in which texts stand behind their lengths, as in a binary array: `*`. A length may look like a letter, and
    /// has a zero among its bytes, which no text has: right behind one a value may begin anywhere.
    Packed,
}

/// The state of one text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner {
    style: Style,
    /// How many of the bytes that were left behind have been passed.
    passed: usize,
    /// The last two characters.
    before: [Class; 2],
    /// How many characters have come since the last zero byte.
    since_zero: u8,
    /// Where the word began that may stand before an `@`.
    local: Option<usize>,
    /// Where the value ends that is being overwritten, and with what.
    hidden: usize,
    fill: Fill,
    /// The secret that is being overwritten, from where on.
    rest: Option<(Rest, usize)>,
    found: Kinds,
}

/// What bytes are overwritten with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    Stars,
    Zeros,
    OneAndZeros,
}

impl Scanner {
    /// The state before the first byte.
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            passed: 0,
            before: [START; 2],
            since_zero: u8::MAX,
            local: None,
            hidden: 0,
            fill: Fill::Stars,
            rest: None,
            found: Kinds::default(),
        }
    }

    /// What was found.
    pub(super) fn found(&self) -> Kinds {
        self.found
    }

    /// Looks through `bytes`: what the last call left behind, and what has arrived since; `missing` bytes of the text
    /// are still to come. Returns how many bytes at the front may leave: all, if none is missing.
    pub(super) fn scan(&mut self, wanted: &Detectors, bytes: &mut [u8], missing: usize) -> usize {
        let mut at = self.passed;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let word = self.word_goes_on(at, rest);
            if word > 0 {
                at += word;
                continue;
            }
            let Ok(Some(unit)) = unit(rest, missing == 0) else { break };
            if self.meets(wanted, bytes, at, unit.class, missing == 0).is_err() {
                break;
            }
            self.pass(wanted, bytes, at, unit);
            at += unit.bytes;
        }
        let left = self.local.unwrap_or(at).min(at);
        self.passed = at - left;
        self.local = self.local.map(|local| local - left);
        self.hidden = self.hidden.saturating_sub(left);
        self.rest = self.rest.map(|(rest, from)| (rest, from.saturating_sub(left)));
        if missing == 0 { bytes.len() } else { left }
    }

    /// How many letters and digits go on with a word in which nothing begins and nothing is overwritten; passes them.
    fn word_goes_on(&mut self, at: usize, rest: &[u8]) -> usize {
        let is_plain = self.rest.is_none() && at >= self.hidden && self.style != Style::Packed;
        if !(is_plain && is_word(self.before[1])) {
            return 0;
        }
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let (Some(word), Some(end)) = (rest.get(..length), (at + length).checked_sub(1)) else { return 0 };
        if let Some((last, before)) = word.split_last() {
            self.before = [before.last().copied().unwrap_or(self.before[1]), *last];
            // As if each had been passed by itself.
            self.local = self.local.map(|local| local + (end - local) / MOST_LOCAL * MOST_LOCAL);
        }
        length
    }

    /// Looks for what begins at the character `class`, and for an address of which it is the `@`.
    fn meets(
        &mut self,
        wanted: &Detectors,
        bytes: &mut [u8],
        at: usize,
        class: Class,
        ends: bool,
    ) -> Result<(), More> {
        let [before, last] = self.before;
        let is_amid = is_word(last) && is_word(class) && !self.follows_length();
        if self.rest.is_some() || is_amid {
            return Ok(());
        }
        let ahead = Ahead::new(bytes, at, ends);
        match class {
            b'0'..=b'9' if last == b'.' && before.is_ascii_digit() => Ok(()),
            b'0'..=b'9' | b'+' | b'(' => self.number(wanted, ahead),
            b'a'..=b'z' | b'A'..=b'Z' => self.word(wanted, ahead),
            b'-' if wanted.wants(Detector::PrivateKey) => {
                if let Some(end) = private_key(ahead)? {
                    self.found.add(Detector::PrivateKey);
                    self.rest = Some((Rest::Pem(0), end));
                }
                Ok(())
            }
            b'@' if wanted.wants(Detector::Email) => self.address(bytes, at, ends),
            _ => Ok(()),
        }
    }

    /// Whether the bytes right before may be a length.
    fn follows_length(&self) -> bool {
        self.style == Style::Packed && self.since_zero < LENGTH_BYTES
    }

    fn number(&mut self, wanted: &Detectors, ahead: Ahead<'_>) -> Result<(), More> {
        let [before, last] = self.before;
        if wanted.wants(Detector::Card) {
            let found = match card(ahead, usize::from(wanted.keep_last))? {
                None => float_card(ahead)?,
                found => found,
            };
            if let Some(number) = found {
                self.hide(Detector::Card, ahead.at(), number);
                return Ok(());
            }
        }
        if self.style == Style::Zeros {
            return Ok(());
        }
        if wanted.wants(Detector::Ssn)
            && let Some(number) = ssn(ahead)?
        {
            self.hide(Detector::Ssn, ahead.at(), number);
            return Ok(());
        }
        // A later group of a longer number is no number of its own.
        let goes_on = matches!(last, b'-' | b'.' | b'/' | b':') && before.is_ascii_digit();
        if wanted.wants(Detector::Phone)
            && !goes_on
            && let Some(number) = phone(ahead)?
        {
            self.hide(Detector::Phone, ahead.at(), number);
        }
        Ok(())
    }

    fn word(&mut self, wanted: &Detectors, ahead: Ahead<'_>) -> Result<(), More> {
        if self.style == Style::Zeros {
            return Ok(());
        }
        if wanted.wants(Detector::Iban)
            && let Some(end) = iban(ahead)?
        {
            self.hide(Detector::Iban, ahead.at(), Number { end, is_plain: false });
        }
        if (wanted.wants(Detector::Jwt) || wanted.wants(Detector::ApiKey))
            && let Some((detector, rest)) = secret(ahead)?
            && wanted.wants(detector)
        {
            self.found.add(detector);
            self.rest = Some((rest, ahead.at()));
        }
        Ok(())
    }

    fn hide(&mut self, detector: Detector, at: usize, number: Number) {
        if number.end <= self.hidden {
            return;
        }
        self.found.add(detector);
        if at >= self.hidden {
            self.fill = match self.style {
                Style::Zeros => Fill::Zeros,
                Style::Mixed if number.is_plain && self.before[1] != b'"' => Fill::OneAndZeros,
                Style::Stars | Style::Mixed | Style::Packed => Fill::Stars,
            };
        }
        self.hidden = self.hidden.max(number.end);
    }

    /// An address whose `@` is at `at`: what stands before it has been passed, but has not left.
    fn address(&mut self, bytes: &mut [u8], at: usize, ends: bool) -> Result<(), More> {
        let Some(local) = self.local.filter(|local| *local < at) else { return Ok(()) };
        let Some(end) = domain(Ahead::new(bytes, at + 1, ends))? else { return Ok(()) };
        let passed = bytes.get_mut(local..at).unwrap_or_default();
        passed.iter_mut().filter(|byte| **byte != b'.').for_each(|byte| *byte = STAR);
        self.found.add(Detector::Email);
        (self.hidden, self.fill) = (self.hidden.max(end), Fill::Stars);
        Ok(())
    }

    /// Passes a character, and overwrites it if it is part of what was found.
    fn pass(&mut self, wanted: &Detectors, bytes: &mut [u8], at: usize, unit: Unit) {
        let Unit { class, bytes: size } = unit;
        let place = bytes.get_mut(at..at + size).unwrap_or_default();
        let is_hidden = self.goes_on(class, at) || (at < self.hidden && (is_word(class) || class == OTHER));
        if is_hidden {
            match self.fill {
                Fill::Stars => place.fill(STAR),
                Fill::Zeros => place.fill(b'0'),
                Fill::OneAndZeros => {
                    place.fill(b'1');
                    self.fill = Fill::Zeros;
                }
            }
        }
        self.local = match self.local {
            _ if !wanted.wants(Detector::Email) || !is_local(class) => None,
            // The last byte of a length is no part of an address.
            _ if self.follows_length() && self.since_zero == 0 => None,
            Some(local) if at - local < MOST_LOCAL => Some(local),
            _ => Some(at),
        };
        self.before = [self.before[1], class];
        self.since_zero = if class == 0 { 0 } else { self.since_zero.saturating_add(1) };
    }

    /// Whether `class` is overwritten as part of a secret; notes the secret's end.
    fn goes_on(&mut self, class: Class, at: usize) -> bool {
        let Some((rest, from)) = self.rest else { return false };
        if at < from {
            return false;
        }
        self.fill = Fill::Stars;
        self.rest = match rest {
            _ if !rest.takes(class) => None,
            Rest::Pem(PEM_DASHES) if class == b'-' => None,
            Rest::Pem(dashes) if class == b'-' => Some((Rest::Pem(dashes + 1), from)),
            Rest::Pem(_) => Some((Rest::Pem(0), from)),
            Rest::Token | Rest::Key => Some((rest, from)),
        };
        self.rest.is_some() && rest.hides(class)
    }
}

/// What a text that is not looked through becomes: all that is no ASCII sign or space is overwritten.
pub(super) fn blot(style: Style, bytes: &mut [u8]) {
    let fill = if style == Style::Zeros { b'0' } else { STAR };
    let written = bytes.iter_mut().filter(|byte| byte.is_ascii_alphanumeric() || !byte.is_ascii());
    written.for_each(|byte| *byte = fill);
}

/// What stands before a text: nothing that anything could go on from.
const START: Class = b'\n';
const STAR: u8 = b'*';
/// A length is four bytes.
const LENGTH_BYTES: u8 = 4;
/// Dashes before the last of those that end a PEM line.
const PEM_DASHES: u8 = 4;
/// Bytes before an `@` that are looked at: 64 characters may each be escaped.
const MOST_LOCAL: usize = 512;
