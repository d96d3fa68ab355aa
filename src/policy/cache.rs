//! Decisions that were made before. They belong to one snapshot and go with it: other rules, other decisions.

use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Decision;
use crate::mask::Masks;

/// Decisions by the exact bytes of what the rulebook could read (see [`super::projection`]), bounded by their weight.
#[derive(Debug)]
pub(super) struct Decisions {
    kept: Cache<Box<[u8]>, Arc<Decision>, Weight>,
    /// The masks of kept decisions, each once: few identities differ in them.
    masks: Mutex<Vec<Arc<Masks>>>,
}

impl Decisions {
    /// Remembers nothing yet.
    pub(super) fn new() -> Self {
        let entries = usize::try_from(MOST_BYTES / LEAST_BYTES).unwrap_or(usize::MAX);
        Self { kept: Cache::with_weighter(entries, MOST_BYTES, Weight), masks: Mutex::default() }
    }

    /// The decision that was made on `key`.
    pub(super) fn recall(&self, key: &[u8]) -> Option<Arc<Decision>> {
        self.kept.get(key)
    }

    /// Keeps a decision on `key`.
    pub(super) fn keep(&self, key: Vec<u8>, mut decision: Decision) -> Arc<Decision> {
        decision.masks = self.shared(decision.masks);
        let decision = Arc::new(decision);
        self.kept.insert(key.into(), Arc::clone(&decision));
        decision
    }

    /// Equal masks are one and the same, so that what follows from them is found again without comparing them.
    fn shared(&self, masks: Arc<Masks>) -> Arc<Masks> {
        let mut known = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = known.iter().find(|same| **same == masks) {
            return Arc::clone(same);
        }
        if known.len() < MOST_MASKS {
            known.push(Arc::clone(&masks));
        }
        masks
    }
}

/// About how many bytes an entry takes.
#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Box<[u8]>, Arc<Decision>> for Weight {
    fn weight(&self, key: &Box<[u8]>, decision: &Arc<Decision>) -> u64 {
        let columns = decision.masks.len();
        let reasons = decision.reasons.iter().chain(decision.alerts.iter().map(|alert| &alert.reason));
        let words: usize = reasons.map(|reason| reason.message.len() + reason.hint.len()).sum();
        let bytes = key.len() + words + columns * COLUMN_BYTES;
        LEAST_BYTES + u64::try_from(bytes).unwrap_or(u64::MAX >> 1)
    }
}

/// Most memory that decisions may take, in bytes.
const MOST_BYTES: u64 = 16 << 20;
/// What an entry takes beyond its parts.
const LEAST_BYTES: u64 = 512;
/// What a masked column takes; masks are shared, so this is too much for most.
const COLUMN_BYTES: usize = 64;
/// Masks that are told apart.
const MOST_MASKS: usize = 256;

#[cfg(test)]
mod tests;
