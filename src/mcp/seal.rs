//! Marks that clients carry for the gateway and hand back: where a list goes on, which request a link was shown for.
//! They are bound to who got them, what they are for and what they are about, and mean nothing anywhere else.

use std::time::Duration;

use rmcp::model::{RequestStateCodec, SealOptions};

/// Makes marks, and knows its own again. Those of another process are not its own.
#[derive(Debug)]
pub(super) struct Seal(RequestStateCodec);

/// What a mark is bound to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<'a> {
    /// The identity that it is given to.
    pub(super) who: &'a str,
    /// What sort of mark it is.
    pub(super) purpose: &'a str,
    /// What it is about: the arguments of a search.
    pub(super) about: &'a str,
}

impl Seal {
    /// One with a key of its own.
    pub(super) fn new() -> Self {
        let key: [u8; 32] = rand::random();
        Self(RequestStateCodec::new_unchecked(key.to_vec()))
    }

    /// A mark that stands for `payload`, which who gets it can read.
    pub(super) fn close(&self, bound: Bound<'_>, payload: &str) -> String {
        let about = bound.bytes();
        let options = SealOptions::new().associated_data(&about).ttl(LASTS);
        self.0.seal_with(payload.as_bytes(), &options)
    }

    /// What `mark` stands for, if it was made for exactly this, not too long ago.
    pub(super) fn open(&self, bound: Bound<'_>, mark: &str) -> Option<String> {
        let payload = self.0.open_with(mark, &bound.bytes()).ok()?;
        String::from_utf8(payload).ok()
    }
}

impl Bound<'_> {
    /// Each part with its length, so that no part can pass for a piece of its neighbour.
    fn bytes(self) -> Vec<u8> {
        let parts = [self.who, self.purpose, self.about];
        parts.iter().flat_map(|part| part.len().to_be_bytes().into_iter().chain(part.bytes())).collect()
    }
}

/// As long as a person may take over one thing.
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const ROBIN: Bound<'_> = Bound { who: "robin", purpose: "search", about: "{}" };

    #[test]
    fn a_mark_means_something_only_where_it_was_made_for() {
        let seal = Seal::new();
        let mark = seal.close(ROBIN, "public.orders");
        assert_eq!(seal.open(ROBIN, &mark).as_deref(), Some("public.orders"));
        let others = [
            Bound { who: "mallory", ..ROBIN },
            Bound { purpose: "link", ..ROBIN },
            Bound { about: "{\"schema\":\"hr\"}", ..ROBIN },
            Bound { who: "robins", purpose: "earch", ..ROBIN },
        ];
        for other in others {
            assert_eq!(seal.open(other, &mark), None, "{other:?}");
        }
        assert_eq!(Seal::new().open(ROBIN, &mark), None, "another process");
    }

    #[test]
    fn a_mark_that_was_changed_is_none() {
        let seal = Seal::new();
        let mark = seal.close(ROBIN, "public.orders");
        for index in 0..mark.len() {
            let mut bytes = mark.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            assert_eq!(seal.open(ROBIN, &String::from_utf8(bytes).unwrap()), None, "{index}");
        }
        for made_up in ["", "public.orders", "rs1.", "....", &mark[1..], &format!("{mark}A")] {
            assert_eq!(seal.open(ROBIN, made_up), None, "{made_up}");
        }
    }
}
