//! Value detectors: what looks like a card number, a key or an address is overwritten in whatever leaves.
//!
//! They are a net under the masks, not a wall: they know values by their looks, and whoever may compute can make a value
//! look otherwise. What they find is overwritten in place, byte for byte, so that every length stays true and rows stream
//! through without being held. `Scanner` looks through one text, `Cells` through the messages of one result.
//!
//! What is found never depends on how a text was cut into pieces: each detector decides on at most [`LONGEST`] bytes, and
//! what is not decided yet is held back.

mod cells;
mod copies;
mod email;
mod iban;
mod names;
mod numbers;
mod scanner;
mod secrets;
#[cfg(test)]
mod tests;
mod types;
mod unit;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use cells::{Broken, Cells, Column};
pub use copies::check_copy;
pub use names::{label_by_name, label_by_value};
use scanner::{Scanner, Style};

/// Something that a value may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// A payment card's number: 13 to 19 digits, single spaces or dashes between them, an issuer's prefix, Luhn's digit.
    Card,
    /// An international bank account number: the length of its country, mod 97.
    Iban,
    /// A United States social security number, with its dashes or spaces, of an area that was ever given out.
    Ssn,
    /// A telephone number: `+` and 8 to 15 digits, or a common national form.
    Phone,
    /// An e-mail address.
    Email,
    /// A JSON Web Token, or any other JSON object in base64.
    Jwt,
    /// A key of a well-known service: AWS, GitHub, GitLab, Slack, Stripe, Google, `sk-...`.
    ApiKey,
    /// A private key in PEM.
    PrivateKey,
}

/// Every detector, in the order of their declaration.
pub const ALL: [Detector; 8] = [
    Detector::Card,
    Detector::Iban,
    Detector::Ssn,
    Detector::Phone,
    Detector::Email,
    Detector::Jwt,
    Detector::ApiKey,
    Detector::PrivateKey,
];

impl Detector {
    /// Its name in rulebooks and in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ssn => "ssn",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::Jwt => "jwt",
            Self::ApiKey => "api_key",
            Self::PrivateKey => "private_key",
        }
    }

    /// Its bit in a [`Kinds`].
    fn bit(self) -> u8 {
        match self {
            Self::Card => 1,
            Self::Iban => 1 << 1,
            Self::Ssn => 1 << 2,
            Self::Phone => 1 << 3,
            Self::Email => 1 << 4,
            Self::Jwt => 1 << 5,
            Self::ApiKey => 1 << 6,
            Self::PrivateKey => 1 << 7,
        }
    }
}

impl FromStr for Detector {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = ALL.into_iter().find(|detector| detector.as_str() == name);
        known.ok_or_else(|| {
            let names = ALL.map(Self::as_str).join(", ");
            format!("there is no detector `{name}`; there are: {names}")
        })
    }
}

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Kinds(u8);

impl Kinds {
    fn add(&mut self, detector: Detector) {
        self.0 |= detector.bit();
    }

    fn has(self, detector: Detector) -> bool {
        self.0 & detector.bit() != 0
    }

    fn iter(self) -> impl Iterator<Item = Detector> {
        ALL.into_iter().filter(move |detector| self.has(*detector))
    }
}

/// What becomes of a row that holds more text than is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beyond {
    /// The rest of it is overwritten.
    #[default]
    Redact,
    /// The rest of it is overwritten, and no further row leaves.
    Stop,
}

/// What a rulebook wants looked for in a statement's result. Nothing, by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "Vec<Wanted>")]
pub struct Detectors {
    kinds: Kinds,
    /// Digits of a card number that stay.
    keep_last: u8,
    /// Bytes of text that are looked through in one row; `None` is [`ROW_BYTES`].
    row_bytes: Option<u64>,
    beyond: Beyond,
}

/// One entry of a rulebook's `detect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// The detector's name.
    pub detector: Detector,
    /// How many digits at the end of a card number stay, at most [`MOST_KEPT`]; for cards only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u8>,
    /// Bytes of text that are looked through in one row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_bytes: Option<u64>,
    /// What becomes of the rest of such a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<Beyond>,
}

impl Default for Detectors {
    fn default() -> Self {
        Self { kinds: Kinds::default(), keep_last: MOST_KEPT, row_bytes: None, beyond: Beyond::Redact }
    }
}

impl Detectors {
    /// Adds one. Of two that differ the stricter holds: fewer digits kept, fewer bytes looked through, and stopping.
    ///
    /// # Errors
    /// Says what is wrong with it, in a sentence without a full stop.
    pub fn add(&mut self, wanted: &Wanted) -> Result<(), String> {
        let Wanted { detector, keep_last, row_bytes, beyond } = wanted;
        if keep_last.is_some() && *detector != Detector::Card {
            return Err(format!("`keep_last` is for `card` only, not for `{}`", detector.as_str()));
        }
        if keep_last.is_some_and(|kept| kept > MOST_KEPT) {
            return Err(format!("`keep_last` may be {MOST_KEPT} at most"));
        }
        if row_bytes.is_some_and(|bytes| bytes == 0) {
            return Err("`row_bytes` must be at least 1".to_owned());
        }
        if *detector == Detector::Card {
            self.keep_last = self.keep_last.min(keep_last.unwrap_or(0));
        }
        self.row_bytes = smaller(self.row_bytes, *row_bytes);
        self.beyond = self.beyond.max(beyond.unwrap_or_default());
        self.kinds.add(*detector);
        Ok(())
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds == Kinds::default()
    }

    /// How many bytes of text are looked through in one row.
    #[must_use]
    pub fn row_bytes(&self) -> u64 {
        self.row_bytes.unwrap_or(ROW_BYTES)
    }

    /// The names of what is looked for.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.kinds.iter().map(Detector::as_str)
    }

    /// Looks for what either looks for, by the stricter's terms.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            kinds: Kinds(self.kinds.0 | other.kinds.0),
            keep_last: self.keep_last.min(other.keep_last),
            row_bytes: smaller(self.row_bytes, other.row_bytes),
            beyond: self.beyond.max(other.beyond),
        }
    }

    /// All of them, with no digit kept: for looking at samples.
    #[must_use]
    pub fn all() -> Self {
        Self { kinds: Kinds(u8::MAX), keep_last: 0, ..Self::default() }
    }

    /// `text` with what is found in it overwritten.
    #[must_use]
    pub fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_empty() {
            return text.into();
        }
        let mut bytes = text.as_bytes().to_vec();
        match self.mask(&mut bytes).is_empty() {
            true => text.into(),
            false => String::from_utf8_lossy(&bytes).into_owned().into(),
        }
    }

    /// Overwrites what is found in a text that is there as a whole, of any encoding; returns what that was.
    pub fn mask(&self, text: &mut [u8]) -> BTreeSet<Detector> {
        let mut scanner = Scanner::new(Style::Stars);
        scanner.scan(self, text, 0);
        scanner.found().iter().collect()
    }

    /// The detectors that find something in `text`.
    #[must_use]
    pub fn find(&self, text: &str) -> BTreeSet<Detector> {
        self.mask(&mut text.as_bytes().to_vec())
    }

    fn wants(&self, detector: Detector) -> bool {
        self.kinds.has(detector)
    }
}

fn smaller(one: Option<u64>, two: Option<u64>) -> Option<u64> {
    one.into_iter().chain(two).min()
}

impl From<Detectors> for Vec<Wanted> {
    fn from(detectors: Detectors) -> Self {
        let wanted = |detector| Wanted {
            detector,
            keep_last: Some(detectors.keep_last).filter(|kept| detector == Detector::Card && *kept > 0),
            row_bytes: Some(detectors.row_bytes()),
            beyond: Some(detectors.beyond),
        };
        detectors.kinds.iter().map(wanted).collect()
    }
}

/// In how many values each detector has found something. Of COPY in text, a line is one value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings([u64; ALL.len()]);

impl Findings {
    fn add(&mut self, found: Kinds) {
        for (count, detector) in self.0.iter_mut().zip(ALL) {
            *count = count.saturating_add(u64::from(found.has(detector)));
        }
    }

    /// The detectors that have found anything, by name, each with the number of values.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0);
        counts.map(|(detector, count)| (detector.as_str(), count))
    }
}

/// Most digits at the end of a card number that a rulebook may leave.
pub const MOST_KEPT: u8 = 4;
/// Bytes of text that are looked through in one row, unless the rulebook says otherwise.
pub const ROW_BYTES: u64 = 64 * 1024 * 1024;
/// Most bytes that are held back: an address whose every character is escaped as often as it can be.
pub const LONGEST: usize = 8 * 1024;
