//! The chain: how a record becomes a line, and how a line is held against the one before it. No I/O.
//!
//! # The format, version 1
//!
//! A line is one compact JSON object with exactly these keys in this order:
//!
//! ```text
//! {"seq":7,"prev":"<64 hex>","hash":"<64 hex>","checkpoint":null,"record":{...},"text":{...} or null}
//! ```
//!
//! - `seq` counts from 1; `prev` is the `hash` of the line before, 64 zeros for the first.
//! - `checkpoint` is reserved for signatures and outside anchors; it is null in this version.
//! - `record` is what happened. SQL text, sent text and bind values are not in it: each non-empty one is
//!   replaced by `sha256:` and its digest, SHA-256 over salt (16 bytes), the field's name (`statement`,
//!   `sent`, `parameters.0`, ...), a zero byte and the text as UTF-8.
//! - `text` holds what was replaced, with the salt: `{"salt":"<32 hex>","statement":"...","sent":"...",
//!   "parameters":["...",null]}`. It is null where there is no such text, and where it was redacted.
//! - `hash` is SHA-256 over the UTF-8 bytes of
//!   `portcullis ledger 1\n` `seq` `\n` `prev` `\n` `checkpoint` `\n` `record`,
//!   the last two exactly as they stand in the line.
//!
//! So a redaction that replaces `text` by null leaves every hash as it is, and because the salt goes with the
//! text, nobody can find the text again by guessing. A line must be byte for byte what this program would
//! write, so there is no second spelling of the same line.

use std::mem;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Event, Record, StatementRecord};

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The number of the last line; 0 before the first.
    pub sequence: u64,
    /// Its hash; 64 zeros before the first.
    pub hash: String,
}

impl Head {
    /// Before the first line.
    #[must_use]
    pub fn genesis() -> Self {
        Self { sequence: 0, hash: "0".repeat(64) }
    }
}

/// One line as it was read back.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its number.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
    /// Whether its text was redacted: SQL and bind values are digests then.
    pub redacted: bool,
    /// What happened.
    pub record: Record,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It can't be read at all.
    #[error("it is not a ledger line: {why}")]
    Unreadable {
        /// What the parser said.
        why: String,
    },
    /// It says the same as a ledger line would, in other bytes.
    #[error("it is not spelled as the gateway spells it")]
    Respelled,
    /// The line before it is not the one that it was written after.
    #[error("record {found} stands where {expected} must: a line is missing, added or moved")]
    OutOfOrder {
        /// The number it must have.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// Its `prev` is not the hash of the line before.
    #[error("it does not follow from the line before it")]
    Unlinked,
    /// Its hash is not the hash of its content.
    #[error("its content is not what was written: the hash differs")]
    Altered,
    /// A text is not the one that was written.
    #[error("its `{field}` is not what was written: the digest differs")]
    TextAltered {
        /// Which.
        field: String,
    },
    /// Bytes after the last newline.
    #[error("it is not complete: the gateway is writing it now, or was stopped while it did")]
    Torn,
}

/// A record as it will stand in its line: all but what ties it to the line before it. Made by whoever has the record,
/// so that there is little left to do for the one who writes.
#[derive(Debug)]
pub(super) struct Body {
    /// The record and behind it the text, both as JSON.
    json: Vec<u8>,
    /// Where the text begins.
    text_at: usize,
    /// When it happened.
    pub(super) at: Timestamp,
}

impl Body {
    /// # Errors
    /// When the record can't be serialized.
    pub(super) fn of(mut record: Record) -> Result<Self, serde_json::Error> {
        let text = take_texts(&mut record);
        let mut json = Vec::with_capacity(BODY_BYTES);
        serde_json::to_writer(&mut json, &record)?;
        let text_at = json.len();
        serde_json::to_writer(&mut json, &text)?;
        Ok(Self { json, text_at, at: record.at })
    }
}

/// Adds the line (with its newline) that keeps `body` after `head` to `lines`, and moves `head` to it: as [`Line`] is
/// spelled.
pub(super) fn seal(body: &Body, head: &mut Head, lines: &mut Vec<u8>) {
    let (record, text) = body.json.split_at_checked(body.text_at).unwrap_or_default();
    let sequence = head.sequence.saturating_add(1);
    let hash = line_hash(sequence, &head.hash, NO_CHECKPOINT, record);
    let number = sequence.to_string();
    let parts: [&[u8]; 11] = [
        b"{\"seq\":",
        number.as_bytes(),
        b",\"prev\":\"",
        head.hash.as_bytes(),
        b"\",\"hash\":\"",
        hash.as_bytes(),
        b"\",\"checkpoint\":null,\"record\":",
        record,
        b",\"text\":",
        text,
        b"}\n",
    ];
    parts.iter().for_each(|part| lines.extend_from_slice(part));
    *head = Head { sequence, hash };
}

/// Reads one line (without its newline) and holds it against the line before it, `head`, which it moves on.
///
/// # Errors
/// Says what is wrong.
pub(super) fn check(line: &str, head: &mut Head) -> Result<Entry, Fault> {
    let parsed = parse(line)?;
    let expected = head.sequence.saturating_add(1);
    if parsed.seq != expected {
        return Err(Fault::OutOfOrder { expected, found: parsed.seq });
    }
    if parsed.prev != head.hash {
        return Err(Fault::Unlinked);
    }
    let entry = open(parsed)?;
    *head = Head { sequence: entry.sequence, hash: entry.hash.clone() };
    Ok(entry)
}

/// Reads one line (without its newline) by itself: its content is checked, its place in the chain is not.
///
/// # Errors
/// Says what is wrong.
pub(super) fn read(line: &str) -> Result<Entry, Fault> {
    open(parse(line)?)
}

/// The head that a line (without its newline) claims to follow.
///
/// # Errors
/// When it is no line.
pub(super) fn before(line: &str) -> Result<Head, Fault> {
    let parsed = parse(line)?;
    Ok(Head { sequence: parsed.seq.saturating_sub(1), hash: parsed.prev.to_owned() })
}

/// The line (without its newline) without its text and salt. The chain stays whole; the text is gone for good.
///
/// # Errors
/// When it is no sound line.
pub fn redact(line: &str) -> Result<String, Fault> {
    let parsed = parse(line)?;
    read(line)?;
    serde_json::to_string(&Line { text: None, ..parsed }).map_err(|error| unreadable(&error))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    seq: u64,
    prev: &'a str,
    hash: &'a str,
    #[serde(borrow)]
    checkpoint: &'a RawValue,
    #[serde(borrow)]
    record: &'a RawValue,
    text: Option<Text>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    salt: String,
    statement: String,
    sent: String,
    parameters: Vec<Option<String>>,
}

fn parse(line: &str) -> Result<Line<'_>, Fault> {
    let parsed: Line<'_> = serde_json::from_str(line).map_err(|error| unreadable(&error))?;
    let respelled = serde_json::to_string(&parsed).map_err(|error| unreadable(&error))?;
    if respelled == line { Ok(parsed) } else { Err(Fault::Respelled) }
}

fn open(line: Line<'_>) -> Result<Entry, Fault> {
    if line_hash(line.seq, line.prev, line.checkpoint.get(), line.record.get().as_bytes()) != line.hash {
        return Err(Fault::Altered);
    }
    let mut record: Record = serde_json::from_str(line.record.get()).map_err(|error| unreadable(&error))?;
    let redacted = match (sealed_statement(&mut record), line.text) {
        (Some(statement), Some(text)) => {
            unseal(statement, text)?;
            false
        }
        (Some(_), None) => true,
        (None, None) => false,
        (None, Some(_)) => return Err(Fault::TextAltered { field: "text".to_owned() }),
    };
    Ok(Entry { sequence: line.seq, hash: line.hash.to_owned(), redacted, record })
}

/// The part of a record that holds text, or digests of it; `None` where all of it is empty.
fn sealed_statement(record: &mut Record) -> Option<&mut StatementRecord> {
    let Event::Decided(statement) = &mut record.event else { return None };
    let empty = statement.statement.is_empty()
        && statement.sent.is_empty()
        && statement.parameters.iter().flatten().all(String::is_empty);
    (!empty).then_some(statement)
}

/// Takes the texts out of a record, and leaves their digests; `None` where it holds no text.
fn take_texts(record: &mut Record) -> Option<Text> {
    let statement = sealed_statement(record)?;
    let salt = rand::random::<u128>();
    let digests = Digests::of(salt, &statement.statement, &statement.sent, &statement.parameters);
    Some(Text {
        salt: hex(&salt.to_be_bytes()),
        statement: mem::replace(&mut statement.statement, digests.statement),
        sent: mem::replace(&mut statement.sent, digests.sent),
        parameters: mem::replace(&mut statement.parameters, digests.parameters),
    })
}

fn put_back(statement: &mut StatementRecord, text: Text) {
    statement.statement = text.statement;
    statement.sent = text.sent;
    statement.parameters = text.parameters;
}

/// Puts the texts back, if they are what the digests say.
fn unseal(statement: &mut StatementRecord, text: Text) -> Result<(), Fault> {
    let altered = |field: &str| Err(Fault::TextAltered { field: field.to_owned() });
    let digests = salt_of(&text.salt)
        .map(|salt| Digests::of(salt, &text.statement, &text.sent, &text.parameters))
        .unwrap_or_default();
    if statement.statement != digests.statement {
        return altered("statement");
    }
    if statement.sent != digests.sent {
        return altered("sent");
    }
    if statement.parameters != digests.parameters {
        return altered("parameters");
    }
    put_back(statement, text);
    Ok(())
}

/// The number that a salt's 32 lower-case hexadecimal digits say; one of any other form fits no text.
fn salt_of(text: &str) -> Option<u128> {
    let number = u128::from_str_radix(text, 16).ok()?;
    (hex(&number.to_be_bytes()) == text).then_some(number)
}

/// What stands in the place of texts.
#[derive(Default)]
struct Digests {
    statement: String,
    sent: String,
    parameters: Vec<Option<String>>,
}

impl Digests {
    fn of(salt: u128, statement: &str, sent: &str, parameters: &[Option<String>]) -> Self {
        let digest = |at: usize, value: &str| text_digest(salt, &format!("parameters.{at}"), value);
        let parameters = parameters.iter().enumerate();
        Self {
            statement: text_digest(salt, "statement", statement),
            sent: text_digest(salt, "sent", sent),
            parameters: parameters
                .map(|(at, value)| value.as_deref().map(|value| digest(at, value)))
                .collect(),
        }
    }
}

/// An empty text stays empty.
fn text_digest(salt: u128, field: &str, text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let mut hash = Sha256::new();
    hash.update(salt.to_be_bytes());
    hash.update(field);
    hash.update([0]);
    hash.update(text);
    format!("sha256:{}", hex(&hash.finalize()))
}

fn line_hash(seq: u64, prev: &str, checkpoint: &str, record: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("portcullis ledger 1\n{seq}\n{prev}\n{checkpoint}\n"));
    hash.update(record);
    hex(&hash.finalize())
}

/// `bytes` in lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(if half < 10 { b'0' + half } else { b'a' + half - 10 });
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

fn unreadable(error: &serde_json::Error) -> Fault {
    Fault::Unreadable { why: error.to_string() }
}

const NO_CHECKPOINT: &str = "null";
/// What most records take.
const BODY_BYTES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn chained(count: usize) -> Vec<String> {
        let mut head = Head::genesis();
        let mut lines = Vec::new();
        for at in 0..count {
            seal(&Body::of(sample(at)).unwrap(), &mut head, &mut lines);
        }
        String::from_utf8(lines).unwrap().lines().map(str::to_owned).collect()
    }

    fn verified(lines: &[String]) -> Result<(), (usize, Fault)> {
        let mut head = Head::genesis();
        for (at, line) in lines.iter().enumerate() {
            check(line, &mut head).map_err(|fault| (at, fault))?;
        }
        Ok(())
    }

    #[test]
    fn what_was_sealed_is_read_back() {
        for (at, line) in chained(6).iter().enumerate() {
            let entry = read(line).unwrap();
            assert_eq!(entry.record, sample(at));
            assert!(!entry.redacted);
        }
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let lines = chained(3);
        let middle = lines[1].as_bytes();
        for at in 0..middle.len() {
            for bit in [0x01, 0x20, 0x40] {
                let mut flipped = middle.to_vec();
                flipped[at] ^= bit;
                let Ok(flipped) = String::from_utf8(flipped) else { continue };
                let found = verified(&[lines[0].clone(), flipped.clone(), lines[2].clone()]);
                assert!(found.is_err(), "byte {at} of {flipped}");
            }
        }
    }

    #[test]
    fn another_spelling_of_the_same_line_is_found() {
        let line = &chained(2)[1];
        let spellings = [
            line.replacen("\"seq\":", "\"seq\": ", 1),
            line.replacen("UPDATE", "\\u0055PDATE", 1),
            line.replacen("{\"seq\":2,", "{\"note\":1,\"seq\":2,", 1),
            line.replacen("\"text\":{", "\"text\":null,\"text\":{", 1),
            format!("{line} "),
        ];
        for spelling in spellings {
            assert_ne!(&spelling, line);
            read(&spelling).unwrap_err();
        }
    }

    #[test]
    fn lines_that_are_missing_added_or_moved_are_found() {
        let lines = chained(5);
        let mut missing = lines.clone();
        missing.remove(2);
        assert_eq!(verified(&missing), Err((2, Fault::OutOfOrder { expected: 3, found: 4 })));
        let mut moved = lines.clone();
        moved.swap(1, 3);
        assert!(verified(&moved).is_err());
        let mut added = lines.clone();
        added.insert(2, lines[1].clone());
        assert_eq!(verified(&added), Err((2, Fault::OutOfOrder { expected: 3, found: 2 })));
        let mut foreign = lines;
        foreign[3] = chained(5)[3].clone();
        assert_eq!(verified(&foreign), Err((3, Fault::Unlinked)), "another chain's line with that number");
    }

    #[test]
    fn redaction_takes_text_and_salt_and_leaves_the_chain_whole() {
        let mut lines = chained(4);
        lines[1] = redact(&lines[1]).unwrap();
        verified(&lines).unwrap();
        let entry = read(&lines[1]).unwrap();
        assert!(entry.redacted);
        assert!(!lines[1].contains("UPDATE") && !lines[1].contains("4111 1111"), "{}", lines[1]);
        assert!(!lines[1].contains("salt"));
        assert_eq!(redact(&lines[1]).unwrap(), lines[1]);
    }

    #[test]
    fn text_cant_be_put_into_a_redacted_line_nor_be_replaced() {
        let lines = chained(2);
        let redacted = redact(&lines[1]).unwrap();
        let invented = r#""text":{"salt":"00000000000000000000000000000000","statement":"SELECT 1","sent":"","parameters":[]}}"#;
        let forged = redacted.replacen("\"text\":null}", invented, 1);
        assert_eq!(read(&forged), Err(Fault::TextAltered { field: "statement".into() }));
        let emptied = redacted.replacen("\"text\":null}", &invented.replace("SELECT 1", ""), 1);
        assert_eq!(read(&emptied), Err(Fault::TextAltered { field: "statement".into() }));
        let unsalted = redacted.replacen("\"text\":null}", &invented.replace('0', "z"), 1);
        assert_eq!(read(&unsalted), Err(Fault::TextAltered { field: "statement".into() }));
        let other = &chained(1)[0];
        let texted = other.replacen("\"text\":null}", invented, 1);
        assert_eq!(read(&texted), Err(Fault::TextAltered { field: "text".into() }), "{other}");
    }

    #[test]
    fn the_same_text_has_another_digest_in_every_record_and_field() {
        let lines = chained(4);
        let digest = |line: &str| {
            let at = line.find("sha256:").unwrap();
            line[at..at + 71].to_owned()
        };
        assert_ne!(digest(&redact(&lines[1]).unwrap()), digest(&redact(&lines[3]).unwrap()));
        assert_ne!(text_digest(0, "parameters.0", "x"), text_digest(0, "parameters.1", "x"));
    }

    /// Computed once by an independent program from the description above.
    #[test]
    fn the_hash_is_as_described() {
        assert_eq!(
            line_hash(1, &"0".repeat(64), "null", b"{}"),
            "d804f380a4348365181da1da5ba3e1a29876fd36d2a534cfeda4126549fc3667"
        );
        assert_eq!(
            text_digest(salt_of("000102030405060708090a0b0c0d0e0f").unwrap(), "statement", "SELECT 1"),
            "sha256:0e97c0fba176e6b99eb80b3a70e0232685a7d385ab801ff7b197fb976b286949"
        );
    }
}
