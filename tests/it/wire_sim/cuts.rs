//! Every byte of what clients and servers say is once the last one, and once another one. Whatever that makes of a
//! session, nothing runs that no record allows, and nobody is told half of anything.

use std::fmt;

use portcullis::protocol::frame::Leg;
use portcullis::protocol::run::Frames;

use super::random::{EXCHANGES, exchange};
use super::records::Records;
use super::rig::{Client, Rig};

#[test]
fn however_the_bytes_are_cut_they_mean_the_same() {
    let rig = Rig::new();
    each(&rig, |rig, script, whole| {
        for cut in 1..script.bytes.len() {
            let mut client = rig.client(script.name);
            client.input.extend_from_slice(&script.bytes[..cut]);
            client.settle();
            client.input.extend_from_slice(&script.bytes[cut..]);
            client.settle();
            assert_eq!(Played::of(client), *whole, "{script:?} cut at {cut}");
        }
        for size in [1, 3, 7] {
            let mut client = rig.client(script.name);
            client.input.extend_from_slice(&script.bytes);
            while client.feed().unwrap() | client.judge() | client.flush() | client.serve(size).unwrap() {}
            assert_eq!(Played::of(client), *whole, "{script:?}, answered {size} bytes at a time");
        }
    });
}

#[test]
fn a_client_that_goes_away_at_any_byte_has_done_the_beginning_of_what_it_wanted() {
    let rig = Rig::new();
    let mut records = Records::default();
    each(&rig, |rig, script, whole| {
        let mut told = Vec::new();
        for cut in 0..script.bytes.len() {
            let mut client = rig.client(script.name);
            client.input.extend_from_slice(&script.bytes[..cut]);
            client.settle();
            let played = Played::of(client);
            assert!(whole.begins_with(&played), "{script:?} cut at {cut}: {played:?} begins not {whole:?}");
            told.extend(played.texts);
        }
        records.assert_allow(rig, &told);
    });
}

#[test]
fn a_server_that_goes_away_at_any_byte_has_told_the_beginning_of_its_answer() {
    let rig = Rig::new();
    each(&rig, |rig, script, whole| {
        for cut in 0..whole.served {
            let mut client = rig.client(script.name);
            client.input.extend_from_slice(&script.bytes);
            let moves = |client: &mut Client| {
                let left = cut - client.served;
                client.feed().unwrap() | client.judge() | client.flush() | client.serve(left).unwrap()
            };
            while moves(&mut client) {}
            assert_eq!(client.served, cut, "{script:?}");
            let played = Played::of(client);
            assert!(
                whole.heard.starts_with(&played.heard),
                "{script:?}, answered up to {cut}: {played:?} begins not {whole:?}"
            );
        }
    });
}

#[test]
fn a_wrong_byte_of_a_clients_runs_nothing_that_no_record_allows() {
    let rig = Rig::new();
    let mut records = Records::default();
    each(&rig, |rig, script, _| {
        let mut told = Vec::new();
        for place in 0..script.bytes.len() {
            let mut bytes = script.bytes.clone();
            bytes[place] ^= WRONG[place % WRONG.len()];
            let mut client = rig.client(script.name);
            client.input.extend_from_slice(&bytes);
            // Whether that ends the session is the protocol's to say.
            drop(client.settle_or_end());
            told.extend(client.postgres.texts.iter().map(|(_, text)| text.clone()));
            client.assert_whole_messages();
        }
        records.assert_allow(rig, &told);
    });
}

#[test]
fn a_wrong_byte_of_a_servers_ends_the_session_or_passes_as_a_message() {
    let rig = Rig::new();
    each(&rig, |rig, script, whole| {
        for place in 0..whole.served {
            let mut client = rig.client(script.name);
            client.input.extend_from_slice(&script.bytes);
            let mut moves = || {
                let moved = client.feed()? | client.judge() | client.flush();
                let left = place - client.served.min(place);
                match left {
                    0 if client.served == place => {
                        let moved = moved | client.serve(0)?;
                        let Some(byte) = client.wire.first_mut() else { return Ok(moved) };
                        *byte ^= WRONG[place % WRONG.len()];
                        client.serve(usize::MAX).map(|_| true)
                    }
                    0 => Ok(moved | client.serve(usize::MAX)?),
                    _ => Ok(moved | client.serve(left)?),
                }
            };
            while moves().unwrap_or(false) {}
            client.assert_whole_messages();
        }
    });
}

/// One client's bytes.
struct Script {
    name: &'static str,
    bytes: Vec<u8>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with \"{}\"", self.name, self.bytes.escape_ascii())
    }
}

/// What came of them.
#[derive(Debug, PartialEq)]
struct Played {
    heard: Vec<String>,
    texts: Vec<String>,
    committed: Vec<String>,
    calls: usize,
    /// How many bytes the server has said.
    served: usize,
}

impl Played {
    fn of(mut client: Client) -> Self {
        Self {
            // That a statement waits for a person is told when that begins, whatever else is on its way.
            heard: client
                .heard()
                .split(' ')
                .filter(|word| !["", "N"].contains(word))
                .map(str::to_owned)
                .collect(),
            texts: client.postgres.texts.into_iter().map(|(_, text)| text).collect(),
            committed: client.postgres.committed,
            calls: client.postgres.calls,
            served: client.served,
        }
    }

    fn begins_with(&self, beginning: &Self) -> bool {
        self.heard.starts_with(&beginning.heard)
            && self.texts.starts_with(&beginning.texts)
            && self.committed.starts_with(&beginning.committed)
            && beginning.calls <= self.calls
    }
}

impl Client {
    /// Nobody is told half of a message, but for data of which the rest is still to come.
    fn assert_whole_messages(mut self) {
        let mut frames = Frames::new(Leg::Backend);
        self.output.unsplit(self.session.client_bytes().split());
        while frames.next(&mut self.output).unwrap().is_some() {}
        assert!(self.output.is_empty(), "half a message: {:?}", self.output);
        assert_eq!(frames.is_midway(), self.session.is_midway());
    }
}

/// Plays every script: of an agent whose statements are judged and masked, or of somebody's whose are not.
fn each(rig: &Rig, mut check: impl FnMut(&Rig, &Script, &Played)) {
    for choice in 0..EXCHANGES {
        let name = if UNJUDGED.contains(&choice) { "dba" } else { "bot" };
        let script = Script { name, bytes: exchange(choice).0 };
        let mut client = rig.client(name);
        client.input.extend_from_slice(&script.bytes);
        client.settle();
        let waits = client.waits();
        let whole = Played::of(client);
        assert!(waits || !whole.heard.is_empty(), "{script:?}");
        check(rig, &script, &whole);
    }
}

/// What only an unjudged session may say, and some of what it may say too.
const UNJUDGED: [usize; 5] = [12, 15, 17, 24, 25];

/// Other letters, other lengths, no letters.
const WRONG: [u8; 3] = [0x20, 0x01, 0x80];
