//! Bundles as OPA makes them: a gzipped tar of `.rego` and `data.json` files with a `.manifest`, and a `.signatures.json`
//! where keys are configured.
//!
//! Bytes in, [`Source`]s out; no I/O. A bundle is taken whole or not at all: whatever it holds that would not be read is
//! refused by name, because it could be the rule that was meant to deny.
//!
//! ```
//! use portcullis::policy::Source;
//! use portcullis::policy::bundle::{Bundle, Plan, build};
//!
//! let rule = "package portcullis.statement.hours\n\ndeny contains {\"rule\": \"hours\"} if input.time.hour < 8\n";
//! let packed = build(&[Source::file("hours.rego", rule)], &Plan::named("v7"))?;
//! let bundle = Bundle::read("central", &packed, None)?;
//! assert_eq!(bundle.manifest().roots, ["portcullis/statement/hours"]);
//! # Ok::<(), portcullis::policy::bundle::BundleError>(())
//! ```

mod archive;
mod build;
mod canonical;
mod manifest;
mod roots;
mod signature;

pub use crate::jws::{Algorithm, KeyError, PrivateKey, PublicKey};
pub use archive::MAX_PACKED;
pub use build::{Plan, build, pack, sign};
pub use manifest::Manifest;
pub use roots::compose;
pub use signature::Verification;

use super::snapshot::{RulebookError, Source};

#[cfg(test)]
mod tests;

/// A bundle that holds together: its files are the signed ones and lie within its roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    name: String,
    manifest: Manifest,
    /// `.rego` and `data.json` files: path and text.
    files: Vec<(String, String)>,
}

/// Why a bundle is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The archive can't be read to its end.
    #[error("the archive {0}")]
    Archive(String),
    /// There is too much of something.
    #[error("{what} has more than {limit}")]
    TooMuch {
        /// Of what: the archive, or a file in it.
        what: String,
        /// What is allowed, with its unit.
        limit: &'static str,
    },
    /// A file has no business there.
    #[error("`{path}` {why}")]
    File {
        /// Its path in the bundle.
        path: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// The signature does not hold.
    #[error("the signature does not hold: {0}")]
    Signature(String),
    /// Something lies outside of the roots that the manifest claims, or within another's.
    #[error("{0}")]
    Roots(String),
    /// A policy can't be read.
    #[error(transparent)]
    Rulebook(#[from] RulebookError),
}

impl Bundle {
    /// Reads the archive `packed`. With `verification`, its signature must hold; without, there must be none, for whoever
    /// signs expects it to be looked at.
    ///
    /// # Errors
    /// Names the first thing that is wrong.
    pub fn read(name: &str, packed: &[u8], verification: Option<&Verification>) -> Result<Self, BundleError> {
        let mut files = archive::unpack(packed)?;
        let signatures = files.remove(SIGNATURES);
        match (verification, signatures) {
            (Some(verification), Some(signatures)) => verification.check(&signatures, &files)?,
            (Some(_), None) => {
                let why = "there is none (no `.signatures.json`), and keys are configured for this bundle";
                return Err(BundleError::Signature(why.to_owned()));
            }
            (None, Some(_)) => {
                let why =
                    "there is one, and no key is configured to check it: name the keys, or send it unsigned";
                return Err(BundleError::Signature(why.to_owned()));
            }
            (None, None) => {}
        }
        Self::open(name, files)
    }

    /// Takes files that have been checked.
    fn open(name: &str, mut files: archive::Files) -> Result<Self, BundleError> {
        let manifest = match files.remove(MANIFEST) {
            Some(text) => Manifest::parse(&utf8(MANIFEST, text)?)?,
            None => Manifest::default(),
        };
        let mut kept = Vec::new();
        for (path, bytes) in files {
            if is_read(&path)? {
                let text = utf8(&path, bytes)?;
                kept.push((path, text));
            }
        }
        let bundle = Self { name: name.to_owned(), manifest, files: kept };
        roots::hold(&bundle.manifest, &bundle.sources(false))?;
        Ok(bundle)
    }

    /// The name by which the configuration, and every error, calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its files, as parts of a rulebook. `grants` is whether the configuration lets it grant anything.
    #[must_use]
    pub fn sources(&self, grants: bool) -> Vec<Source> {
        let source = |(path, text): &(String, String)| Source {
            bundle: self.name.clone(),
            path: path.clone(),
            text: text.clone(),
            grants,
        };
        self.files.iter().map(source).collect()
    }
}

/// Whether a file is part of the rulebook; an error where skipping it could lose a rule.
fn is_read(path: &str) -> Result<bool, BundleError> {
    let refused = |why: &str| BundleError::File { path: path.to_owned(), why: why.to_owned() };
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    match (name, ending) {
        ("patch.json", _) => {
            Err(refused("makes this a delta bundle, which is not read: serve whole bundles"))
        }
        ("plan.json", _) => Err(refused("is a compiled plan, which is not read: build with `-t rego`")),
        (_, "wasm") => Err(refused("is WebAssembly, which is not read: build with `-t rego`")),
        (_, "yaml" | "yml") => Err(refused("is YAML, which is not read: write it as JSON")),
        (MANIFEST | SIGNATURES, _) => Err(refused("is read at the top of a bundle only")),
        ("data.json", _) | (_, "rego") => Ok(true),
        (_, "md") => Ok(false),
        _ => Err(refused("would not be read: a bundle holds `.rego`, `data.json` and `.md` files")),
    }
}

fn utf8(path: &str, bytes: Vec<u8>) -> Result<String, BundleError> {
    String::from_utf8(bytes).map_err(|error| BundleError::File {
        path: path.to_owned(),
        why: format!("is not UTF-8 from byte {}", error.utf8_error().valid_up_to()),
    })
}

/// The file in which a bundle says what it is.
const MANIFEST: &str = ".manifest";

/// The file with the signature over all others.
const SIGNATURES: &str = ".signatures.json";
