//! Bundles out of rulebooks: the same files give the same bytes.

use std::collections::BTreeMap;

use super::super::documents;
use super::super::load::is_test;
use super::super::snapshot::Source;
use super::canonical::Node;
use super::{Bundle, BundleError, MANIFEST, Manifest, SIGNATURES, archive, roots, signature};
use crate::jws::PrivateKey;

/// How a bundle is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The revision in its manifest.
    pub revision: String,
    /// The roots that it claims; none are those that its files need.
    pub roots: Vec<String>,
    /// Whether its tests come with it, so that whoever puts it in force can run them.
    pub tests: bool,
}

impl Plan {
    /// With tests, and the roots that the files need.
    #[must_use]
    pub fn named(revision: impl Into<String>) -> Self {
        Self { revision: revision.into(), roots: Vec::new(), tests: true }
    }
}

/// Packs a rulebook's sources. All data becomes one `data.json` at the top, which is where OPA reads it.
///
/// # Errors
/// Names the first source that can't be in a bundle.
pub fn build(sources: &[Source], plan: &Plan) -> Result<Vec<u8>, BundleError> {
    let kept: Vec<Source> = sources.iter().filter(|source| plan.tests || !is_test(source)).cloned().collect();
    let manifest = Manifest {
        revision: plan.revision.clone(),
        roots: match plan.roots.as_slice() {
            [] => roots::around(&kept)?,
            chosen => chosen.to_vec(),
        },
        ..Manifest::default()
    };
    let manifest = serde_json::to_string(&manifest).map_err(|error| unwritten(&error.to_string()))?;
    let mut data = Node::Object(BTreeMap::new());
    let mut files = archive::Files::from([(MANIFEST.to_owned(), manifest.into_bytes())]);
    for source in kept {
        if source.path.ends_with(".rego") {
            files.insert(source.path, source.text.into_bytes());
        } else {
            add(&mut data, &source)?;
        }
    }
    if data != Node::Object(BTreeMap::new()) {
        files.insert(DATA.to_owned(), data.text().into_bytes());
    }
    let packed = pack(&files)?;
    // What this refuses would be refused wherever the bundle goes.
    Bundle::open("", files)?;
    Ok(packed)
}

/// Signs a packed bundle, in place of any signature that it has.
///
/// # Errors
/// When it is no bundle, or the key can't sign.
pub fn sign(packed: &[u8], key: &PrivateKey, key_id: &str, scope: &str) -> Result<Vec<u8>, BundleError> {
    let mut files = archive::unpack(packed)?;
    files.remove(SIGNATURES);
    let signatures = signature::sign(&files, key, key_id, scope)?;
    files.insert(SIGNATURES.to_owned(), signatures);
    pack(&files)
}

/// Packs files as they are, whatever they are.
///
/// # Errors
/// When a path can't be in an archive.
pub fn pack(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, BundleError> {
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    archive::pack(&files)
}

/// Adds the document of `source` to `data`, its numbers as they are written.
fn add(data: &mut Node, source: &Source) -> Result<(), BundleError> {
    let (path, _) = documents::read(source)?;
    let refused = |why: String| BundleError::File { path: source.path.clone(), why };
    let mut node = Node::parse(&source.text).map_err(refused)?;
    for name in path.into_iter().rev() {
        node = Node::Object(BTreeMap::from([(name.to_owned(), node)]));
    }
    data.merge(node)
        .map_err(|twice| refused(format!("holds `data{twice}`, which another data file holds too")))
}

fn unwritten(why: &str) -> BundleError {
    BundleError::File { path: MANIFEST.to_owned(), why: format!("can't be written: {why}") }
}

/// Where OPA reads the documents that lie in no folder.
const DATA: &str = "data.json";
