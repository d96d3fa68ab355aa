//! Derived SCRAM keys, kept so that a new connection does not pay for PBKDF2 again.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::identity::scram::client::{Challenge, Keys};

use super::RoleSettings;

/// The keys of the last few roles that logged in, newest first. They are overwritten when they leave.
#[derive(Debug, Default)]
pub(super) struct KeyRing(Mutex<VecDeque<(Origin, Arc<Keys>)>>);

/// What keys were derived from. A changed password or salt makes others; the old ones fall out of the ring.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    role: String,
    password: Zeroizing<[u8; 32]>,
    salt: Vec<u8>,
    iterations: u32,
}

impl KeyRing {
    /// The keys that answer `challenge`, derived if they are not here.
    ///
    /// # Errors
    /// When the runtime ends meanwhile.
    pub(super) async fn keys(&self, role: &RoleSettings, challenge: &Challenge) -> io::Result<Arc<Keys>> {
        let origin = Origin {
            role: role.user.clone(),
            password: Zeroizing::new(Sha256::digest(&role.password).into()),
            salt: challenge.salt().to_vec(),
            iterations: challenge.iterations(),
        };
        if let Some(keys) = self.find(&origin) {
            return Ok(keys);
        }
        let password = Zeroizing::new(role.password.clone());
        let (salt, iterations) = (origin.salt.clone(), origin.iterations);
        // Hashing takes milliseconds by design, so it is kept off the threads that serve everybody.
        let keys = tokio::task::spawn_blocking(move || Keys::derive(&password, &salt, iterations)).await;
        let keys = Arc::new(keys.map_err(io::Error::other)?);
        self.keep(origin, Arc::clone(&keys));
        Ok(keys)
    }

    fn find(&self, origin: &Origin) -> Option<Arc<Keys>> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().find(|(known, _)| known == origin).map(|(_, keys)| Arc::clone(keys))
    }

    fn keep(&self, origin: Origin, keys: Arc<Keys>) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if ring.iter().all(|(known, _)| *known != origin) {
            ring.push_front((origin, keys));
            ring.truncate(MOST_KEYS);
        }
    }
}

/// A database has a handful of roles. A server that makes up a salt each time can't fill more than this.
const MOST_KEYS: usize = 64;

#[cfg(test)]
mod tests {
    use crate::identity::scram::client::{Binding, Client};

    use super::*;

    fn challenge(salt: &str) -> Challenge {
        let client = Client::new(Binding::None, rand::random());
        let (_, nonce) = client.first().rsplit_once("r=").map(|(_, n)| ((), n.to_owned())).unwrap();
        client.challenged(format!("r={nonce}x,s={salt},i=1").as_bytes()).unwrap()
    }

    fn role(user: &str, password: &str) -> RoleSettings {
        RoleSettings { name: String::new(), user: user.into(), password: password.into() }
    }

    #[tokio::test]
    async fn keys_are_derived_once_for_the_same_role_password_and_salt() {
        let ring = KeyRing::default();
        let first = ring.keys(&role("a", "p"), &challenge("AAAA")).await.unwrap();
        let again = ring.keys(&role("a", "p"), &challenge("AAAA")).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for (user, password, salt) in [("b", "p", "AAAA"), ("a", "q", "AAAA"), ("a", "p", "AAAB")] {
            let other = ring.keys(&role(user, password), &challenge(salt)).await.unwrap();
            assert!(!Arc::ptr_eq(&first, &other), "{user} {password} {salt}");
        }
    }

    #[tokio::test]
    async fn a_server_with_ever_new_salts_fills_no_memory() {
        let ring = KeyRing::default();
        for salt in 0..200 {
            ring.keys(&role("a", "p"), &challenge(&format!("{salt:04}"))).await.unwrap();
        }
        assert_eq!(ring.0.lock().unwrap().len(), MOST_KEYS);
    }
}
