//! What the server still owes, in order.
//!
//! Every message that goes upstream adds one [`Kind`] here; every message that comes down belongs to the first.
//! After an error PostgreSQL skips what follows up to the next Sync, and so does the queue. A reply that fits
//! nothing means that the two sides no longer agree on whose rows these are: the session ends.
//!
//! INVARIANT: at most one entry closes a series ([`Kind::closes`]), and it is the last. The session sends
//! nothing behind it until its ReadyForQuery has come, so no name and no transaction state is ever guessed.

use std::collections::VecDeque;

/// What was sent, by what it is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Parse.
    Parse,
    /// A Bind.
    Bind,
    /// Our own Describe before an Execute: the answer is checked and swallowed.
    Check,
    /// A Describe of a statement.
    DescribeStatement,
    /// A Describe of a portal.
    DescribePortal,
    /// An Execute.
    Execute,
    /// Our own Execute of a guard, which has no rows.
    Guard,
    /// A Close.
    Close,
    /// A message that must fail, in the place of a denied one.
    Refusal,
    /// A Sync.
    Sync,
    /// A simple Query.
    Query,
    /// A simple Query, in front of whose text this many guards are executed.
    GuardedQuery(usize),
    /// A FunctionCall.
    Call,
    /// A simple Query that must fail, in the place of a denied one.
    RefusedQuery,
}

impl Kind {
    /// Whether ReadyForQuery answers it.
    #[must_use]
    pub fn closes(self) -> bool {
        matches!(self, Self::Sync | Self::Query | Self::GuardedQuery(_) | Self::Call | Self::RefusedQuery)
    }
}

/// What a server's message means.
#[derive(Debug, PartialEq, Eq)]
pub enum Received<T> {
    /// A part of the answer to the first entry, which stays.
    Part(Kind),
    /// The end of the answer to the first entry.
    Done(Kind, T),
    /// The first entry failed, and the server skips everything up to the next Sync.
    Failed {
        /// What failed.
        kind: Kind,
        /// Its payload.
        payload: T,
        /// What will never be answered.
        skipped: Vec<T>,
    },
    /// The first entry failed; its ReadyForQuery is still to come.
    Broken(Kind),
    /// A guard in front of the first entry failed; the ReadyForQuery is still to come.
    Unguarded,
    /// A part of the answer to a guard in front of the first entry: nobody hears of it.
    Own,
    /// An error with nothing outstanding: the server speaks for itself.
    Unasked,
}

/// A message that fits nothing that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("message of type {tag} where {waiting:?} was to be answered", tag = tag.escape_ascii())]
pub struct Unexpected {
    /// Its type.
    pub tag: u8,
    /// What was to be answered first.
    pub waiting: Option<Kind>,
}

/// The queue. `T` is what the session keeps with each entry.
#[derive(Debug)]
pub struct Replies<T> {
    queue: VecDeque<Entry<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    kind: Kind,
    phase: Phase,
    payload: T,
}

/// How far the answer to the first entry has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Parameters,
    Answered,
    CopyIn,
    CopyOut,
    CopyBoth,
    Broken,
    /// This many guards are still to be answered.
    Guarding(usize),
}

enum Step {
    Stay(Phase),
    Own(Phase),
    Done,
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<T> Replies<T> {
    /// Notes that something was sent.
    pub fn expect(&mut self, kind: Kind, payload: T) {
        let phase = if let Kind::GuardedQuery(guards) = kind { Phase::Guarding(guards) } else { Phase::Open };
        self.queue.push_back(Entry { kind, phase, payload });
    }

    /// Takes in the type of a message from the server: any but notices, parameters and notifications.
    ///
    /// # Errors
    /// When it answers nothing that was sent.
    pub fn receive(&mut self, tag: u8) -> Result<Received<T>, Unexpected> {
        let Some(first) = self.queue.front_mut() else {
            return if tag == b'E' { Ok(Received::Unasked) } else { Err(Unexpected { tag, waiting: None }) };
        };
        let kind = first.kind;
        if tag == b'E' {
            return self.fail(kind);
        }
        match step(kind, first.phase, tag) {
            None => Err(Unexpected { tag, waiting: Some(kind) }),
            Some(Step::Stay(phase)) => {
                first.phase = phase;
                Ok(Received::Part(kind))
            }
            Some(Step::Own(phase)) => {
                first.phase = phase;
                Ok(Received::Own)
            }
            Some(Step::Done) => match self.queue.pop_front() {
                Some(entry) => Ok(Received::Done(kind, entry.payload)),
                None => Err(Unexpected { tag, waiting: None }),
            },
        }
    }

    /// What was sent first, of what is not yet answered.
    #[must_use]
    pub fn first_kind(&self) -> Option<Kind> {
        self.queue.front().map(|entry| entry.kind)
    }

    /// What is kept with all entries, in order.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.queue.iter().map(|entry| &entry.payload)
    }

    /// What is kept with the first entry.
    #[must_use]
    pub fn first(&self) -> Option<&T> {
        self.queue.front().map(|entry| &entry.payload)
    }

    /// What is kept with the first entry, to change it.
    pub fn first_mut(&mut self) -> Option<&mut T> {
        self.queue.front_mut().map(|entry| &mut entry.payload)
    }

    /// Whether a Sync or Query waits for its ReadyForQuery.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.queue.back().is_some_and(|entry| entry.kind.closes())
    }

    /// Whether nothing is outstanding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How much is outstanding.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    fn fail(&mut self, kind: Kind) -> Result<Received<T>, Unexpected> {
        if kind.closes() {
            let Some(first) = self.queue.front_mut() else { return Ok(Received::Broken(kind)) };
            let before = std::mem::replace(&mut first.phase, Phase::Broken);
            let is_guard = matches!(before, Phase::Guarding(_));
            return Ok(if is_guard { Received::Unguarded } else { Received::Broken(kind) });
        }
        let kept = self.queue.iter().position(|entry| entry.kind == Kind::Sync).unwrap_or(self.queue.len());
        let mut dropped = self.queue.drain(..kept).map(|entry| entry.payload);
        match dropped.next() {
            Some(payload) => Ok(Received::Failed { kind, payload, skipped: dropped.collect() }),
            None => Err(Unexpected { tag: b'E', waiting: Some(kind) }),
        }
    }
}

/// How a message of type `tag` moves an answer on; `None` if it does not belong to it.
fn step(kind: Kind, phase: Phase, tag: u8) -> Option<Step> {
    use Phase::{Answered, Broken, CopyBoth, CopyIn, CopyOut, Guarding, Open, Parameters};
    let step = match (kind, phase, tag) {
        (Kind::GuardedQuery(_), Guarding(left), b'T') => Step::Own(Guarding(left)),
        (Kind::GuardedQuery(_), Guarding(0 | 1), b'C') => Step::Own(Open),
        (Kind::GuardedQuery(_), Guarding(left), b'C') => Step::Own(Guarding(left - 1)),
        (Kind::GuardedQuery(_), Guarding(_), _) => return None,
        (Kind::GuardedQuery(_), phase, tag) => return step(Kind::Query, phase, tag),
        (Kind::Parse, Open, b'1') | (Kind::Bind, Open, b'2') | (Kind::Close, Open, b'3') => Step::Done,
        (Kind::Guard, Open, b'C') => Step::Done,
        (Kind::Check | Kind::DescribePortal, Open, b'T' | b'n') => Step::Done,
        (Kind::DescribeStatement, Open, b't') => Step::Stay(Parameters),
        (Kind::DescribeStatement, Parameters, b'T' | b'n') => Step::Done,
        (Kind::Sync, Open | Broken, b'Z') => Step::Done,
        (Kind::RefusedQuery, Broken, b'Z') => Step::Done,
        (Kind::Call, Open, b'V') => Step::Stay(Answered),
        (Kind::Call, Answered | Broken, b'Z') => Step::Done,
        (Kind::Query, Open, b'T' | b'I') => Step::Stay(Open),
        (Kind::Query, Open | Broken, b'Z') => Step::Done,
        (Kind::Execute | Kind::Query, Open, b'D') => Step::Stay(Open),
        (Kind::Execute | Kind::Query, Open, b'G') => Step::Stay(CopyIn),
        (Kind::Execute | Kind::Query, Open, b'H') => Step::Stay(CopyOut),
        (Kind::Execute | Kind::Query, CopyOut, b'd') => Step::Stay(CopyOut),
        (Kind::Execute | Kind::Query, CopyOut, b'c') => Step::Stay(Open),
        // Replication, which walsenders know by simple Query only.
        (Kind::Query, Open, b'W') => Step::Stay(CopyBoth),
        (Kind::Query, CopyBoth, b'd') => Step::Stay(CopyBoth),
        (Kind::Query, CopyBoth, b'c') => Step::Stay(Open),
        (Kind::Query, Open | CopyIn, b'C') => Step::Stay(Open),
        (Kind::Execute, Open | CopyIn, b'C') => Step::Done,
        (Kind::Execute, Open, b'I' | b's') => Step::Done,
        _ => return None,
    };
    Some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kinds: &[Kind]) -> Replies<usize> {
        let mut replies = Replies::default();
        for (place, kind) in kinds.iter().enumerate() {
            replies.expect(*kind, place);
        }
        replies
    }

    #[test]
    fn a_pipeline_is_answered_in_order() {
        use Kind::{Bind, Check, Close, DescribeStatement, Execute, Parse, Sync};
        let mut replies = sent(&[Parse, DescribeStatement, Bind, Check, Execute, Close, Sync]);
        assert!(replies.is_closed());
        let expected = [
            (b'1', Received::Done(Parse, 0)),
            (b't', Received::Part(DescribeStatement)),
            (b'n', Received::Done(DescribeStatement, 1)),
            (b'2', Received::Done(Bind, 2)),
            (b'T', Received::Done(Check, 3)),
            (b'D', Received::Part(Execute)),
            (b'C', Received::Done(Execute, 4)),
            (b'3', Received::Done(Close, 5)),
            (b'Z', Received::Done(Sync, 6)),
        ];
        for (tag, received) in expected {
            assert_eq!(replies.receive(tag), Ok(received));
        }
        assert!(replies.is_empty());
    }

    #[test]
    fn an_error_skips_up_to_the_sync_and_no_further() {
        use Kind::{Bind, Execute, Parse, Sync};
        let mut replies = sent(&[Parse, Bind, Execute, Sync]);
        let failed = Received::Failed { kind: Parse, payload: 0, skipped: vec![1, 2] };
        assert_eq!(replies.receive(b'E'), Ok(failed));
        assert_eq!(replies.receive(b'Z'), Ok(Received::Done(Sync, 3)));
    }

    #[test]
    fn an_error_before_the_sync_was_sent_leaves_nothing() {
        use Kind::{Bind, Parse, Query};
        let mut replies = sent(&[Parse, Bind, Query]);
        let failed = Received::Failed { kind: Parse, payload: 0, skipped: vec![1, 2] };
        assert_eq!(replies.receive(b'E'), Ok(failed));
        assert!(replies.is_empty() && !replies.is_closed());
    }

    #[test]
    fn a_query_that_fails_still_owes_its_ready() {
        let mut replies = sent(&[Kind::Query]);
        for (tag, received) in [
            (b'T', Received::Part(Kind::Query)),
            (b'D', Received::Part(Kind::Query)),
            (b'C', Received::Part(Kind::Query)),
            (b'E', Received::Broken(Kind::Query)),
            (b'Z', Received::Done(Kind::Query, 0)),
        ] {
            assert_eq!(replies.receive(tag), Ok(received));
        }
    }

    #[test]
    fn what_answers_guards_is_not_what_answers_the_query_behind_them() {
        let guarded = || sent(&[Kind::GuardedQuery(2)]);
        let mut replies = guarded();
        let query = Kind::GuardedQuery(2);
        for (tag, received) in [
            (b'T', Received::Own),
            (b'C', Received::Own),
            (b'T', Received::Own),
            (b'C', Received::Own),
            (b'T', Received::Part(query)),
            (b'D', Received::Part(query)),
            (b'C', Received::Part(query)),
            (b'Z', Received::Done(query, 0)),
        ] {
            assert_eq!(replies.receive(tag), Ok(received));
        }
        for answered in [&b""[..], b"T", b"TC", b"TCT"] {
            let after = |tag| {
                let mut replies = guarded();
                assert!(answered.iter().all(|tag| replies.receive(*tag).is_ok()));
                (replies.receive(tag), replies.receive(b'Z'))
            };
            assert_eq!(after(b'E'), (Ok(Received::Unguarded), Ok(Received::Done(query, 0))));
            for tag in *b"DZIGHWnst123" {
                assert!(after(tag).0.is_err(), "{}{}", answered.escape_ascii(), tag.escape_ascii());
            }
        }
    }

    #[test]
    fn a_commit_that_fails_at_the_sync_still_owes_its_ready() {
        let mut replies = sent(&[Kind::Sync]);
        assert_eq!(replies.receive(b'E'), Ok(Received::Broken(Kind::Sync)));
        assert_eq!(replies.receive(b'Z'), Ok(Received::Done(Kind::Sync, 0)));
    }

    #[test]
    fn a_refusal_that_succeeds_ends_the_session() {
        for (kind, tags) in [(Kind::Refusal, "12TDCZ"), (Kind::RefusedQuery, "TDCZI")] {
            for tag in tags.bytes() {
                let unexpected = Unexpected { tag, waiting: Some(kind) };
                assert_eq!(sent(&[kind]).receive(tag), Err(unexpected), "{}", tag.escape_ascii());
            }
        }
    }

    #[test]
    fn a_reply_that_fits_nothing_ends_the_session() {
        use Kind::{Bind, Check, Execute, Parse, Query, Sync};
        for (kind, tags) in [
            (Parse, "2TDCZ"),
            (Bind, "1TDCZ"),
            (Check, "12DCZt"),
            (Execute, "12TZdcnt3"),
            (Sync, "12TDCIs"),
            (Query, "12tnsdc3"),
        ] {
            for tag in tags.bytes() {
                assert!(sent(&[kind]).receive(tag).is_err(), "{kind:?} {}", tag.escape_ascii());
            }
        }
        assert!(Replies::<()>::default().receive(b'Z').is_err());
        assert_eq!(Replies::<()>::default().receive(b'E'), Ok(Received::Unasked));
    }

    #[test]
    fn replication_streams_until_the_server_has_done_and_may_tell_more_behind_it() {
        for copied in [&b"WddcTDCCZ"[..], b"WcCZ", b"WdEZ"] {
            let mut replies = sent(&[Kind::Query]);
            assert!(copied.iter().all(|tag| replies.receive(*tag).is_ok()), "{}", copied.escape_ascii());
            assert!(replies.is_empty());
        }
        for (kind, wrong) in [(Kind::Query, &b"WD"[..]), (Kind::Query, b"WW"), (Kind::Execute, b"W")] {
            let mut replies = sent(&[kind]);
            assert!(wrong.iter().any(|tag| replies.receive(*tag).is_err()), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn copy_data_comes_only_after_its_announcement() {
        let mut replies = sent(&[Kind::Execute]);
        for tag in *b"Hdd" {
            assert_eq!(replies.receive(tag), Ok(Received::Part(Kind::Execute)));
        }
        assert!(replies.receive(b'D').is_err());
        assert_eq!(replies.receive(b'c'), Ok(Received::Part(Kind::Execute)));
        assert_eq!(replies.receive(b'C'), Ok(Received::Done(Kind::Execute, 0)));
    }
}
