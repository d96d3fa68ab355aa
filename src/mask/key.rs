//! The key of hashes that stand in place of values.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::catalog::KeySettings;

/// One database's key. Equal secrets give equal hashes, on every gateway that has the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of `database` (its name in the configuration) under the gateway's `secret`: what is hashed in one
    /// database can't be looked up in another.
    #[must_use]
    pub fn of(secret: &[u8; 32], database: &str) -> Self {
        let secret = Self(*secret);
        let named = ["portcullis mask 1\n".as_bytes(), database.as_bytes()].concat();
        let inner = Sha256::digest([&secret.block(INNER)[..], &named].concat());
        Self(Sha256::digest([&secret.block(OUTER)[..], &inner].concat()).into())
    }

    /// The settings by which a session of the server has the key: HMAC's two blocks, in hexadecimal.
    #[must_use]
    pub fn settings(&self) -> [(String, String); 2] {
        let names = self.setting_names();
        [(names.inner, digits(&self.block(INNER))), (names.outer, digits(&self.block(OUTER)))]
    }

    /// What those settings are called: nobody without the key can guess it.
    #[must_use]
    pub fn setting_names(&self) -> KeySettings {
        let name = |block: u8| {
            let hash = Sha256::digest([b"portcullis setting 1\n", &self.block(block)[..]].concat());
            format!("portcullis.k{}", digits(hash.get(..16).unwrap_or_default()))
        };
        KeySettings { inner: name(INNER), outer: name(OUTER) }
    }

    /// The key at the length of SHA-256's block, every byte of it changed by `with`.
    fn block(&self, with: u8) -> [u8; 64] {
        let mut block = [with; 64];
        block.iter_mut().zip(self.0).for_each(|(place, byte)| *place ^= byte);
        block
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 2104's two constants.
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_database_has_a_key_of_its_own_and_it_is_never_printed() {
        let (one, other) = (Key::of(&[7; 32], "shop"), Key::of(&[7; 32], "bank"));
        assert_ne!(one, other);
        assert_ne!(one, Key::of(&[8; 32], "shop"));
        assert_eq!(one, Key::of(&[7; 32], "shop"));
        assert_eq!(format!("{one:?}"), "Key(..)");
        assert!(
            one.settings().iter().all(|(name, value)| name.starts_with("portcullis.") && value.len() == 128)
        );
    }
}
