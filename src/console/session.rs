//! Who is signed in at the pages: sessions in memory, gone with the process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::identity::directory::Directory;
use crate::identity::{Identity, Kind};

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Session>>);

/// A session's id as it is kept: the id itself is known to the browser only.
type Key = [u8; 32];

/// One signed-in browser. It holds the token, so that a session ends when its token does, and is never more than
/// the identity is now.
struct Session {
    token: Zeroizing<String>,
    name: String,
    form_token: String,
    ends_at: Timestamp,
}

/// Who stands behind a valid session.
#[derive(Debug)]
pub(super) struct SignedIn {
    pub(super) identity: Identity,
    /// What every form of this session must bring.
    pub(super) form_token: String,
}

impl Sessions {
    /// Opens a session for `identity`, who proved it by `token`; returns its id. The identity's oldest session
    /// ends if it has too many.
    pub(super) fn open(&self, identity: &Identity, token: &str, now: Timestamp) -> String {
        let id = random();
        let session = Session {
            token: Zeroizing::new(token.to_owned()),
            name: identity.name().to_owned(),
            form_token: random(),
            ends_at: now.saturating_add(SignedDuration::try_from(LIFE).unwrap_or_default()).unwrap_or(now),
        };
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.ends_at > now);
        let own = sessions.iter().filter(|(_, other)| other.name == session.name);
        let own: Vec<(Timestamp, Key)> = own.map(|(key, other)| (other.ends_at, *key)).collect();
        if own.len() >= MOST_EACH
            && let Some((_, oldest)) = own.iter().min()
        {
            sessions.remove(oldest);
        }
        sessions.insert(key(&id), session);
        id
    }

    /// Who `id` belongs to, if the session lives and its token still proves the same person.
    pub(super) fn find(&self, id: &str, directory: &Directory, now: Timestamp) -> Option<SignedIn> {
        let mut sessions = self.lock();
        let key = key(id);
        let session = sessions.get(&key)?;
        let identity = directory
            .authenticate_token(&session.token)
            .filter(|identity| session.ends_at > now && identity.name() == session.name)
            .filter(|identity| identity.kind() == Kind::Human);
        match identity {
            Some(identity) => Some(SignedIn { identity, form_token: session.form_token.clone() }),
            None => {
                sessions.remove(&key);
                None
            }
        }
    }

    pub(super) fn close(&self, id: &str) {
        self.lock().remove(&key(id));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SignedIn {
    /// Whether a form that brings `presented` was made for this session.
    pub(super) fn sent_form(&self, presented: &str) -> bool {
        self.form_token.as_bytes().ct_eq(presented.as_bytes()).into()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.name)
            .field("ends_at", &self.ends_at)
            .finish_non_exhaustive()
    }
}

fn key(id: &str) -> Key {
    Sha256::digest(id).into()
}

/// 256 random bits in hexadecimal.
fn random() -> String {
    rand::random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How long a session lives, used or not.
pub(super) const LIFE: Duration = Duration::from_secs(8 * 3600);
/// Sessions of one identity.
const MOST_EACH: usize = 16;
