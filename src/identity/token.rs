//! Bearer tokens: made at random, kept as digests.
