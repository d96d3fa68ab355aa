//! Roots: which paths below `data` belong to a bundle. What lies in them comes from it alone, and it brings nothing else.

use regorus::Engine;
use serde_json::Value;

use super::super::documents;
use super::super::load::error_at;
use super::super::snapshot::{RulebookError, Source};
use super::{Bundle, BundleError, Manifest};

/// The sources of the rulebook's folder and of all bundles, each with whether it may grant, as one rulebook.
///
/// # Errors
/// When two bundles claim the same root, or the folder holds what a bundle claims.
pub fn compose(folder: &[Source], bundles: &[(&Bundle, bool)]) -> Result<Vec<Source>, BundleError> {
    for (at, (bundle, _)) in bundles.iter().enumerate() {
        for (other, _) in bundles.iter().take(at) {
            if let Some((one, two)) = shared(other.manifest(), bundle.manifest()) {
                return Err(BundleError::Roots(format!(
                    "the bundles `{}` and `{}` have roots that overlap: {} and {}",
                    other.name(),
                    bundle.name(),
                    shown(one),
                    shown(two)
                )));
            }
        }
    }
    for source in folder {
        let content = Content::of(source)?;
        for (bundle, _) in bundles {
            if let Some(root) = bundle.manifest().roots.iter().find(|root| content.reaches(root)) {
                return Err(BundleError::Roots(format!(
                    "`{}` of the rulebook's folder holds what the bundle `{}` claims by its root {}",
                    source.path,
                    bundle.name(),
                    shown(root)
                )));
            }
        }
    }
    let bundled = bundles.iter().flat_map(|(bundle, grants)| bundle.sources(*grants));
    Ok(folder.iter().cloned().chain(bundled).collect())
}

/// Refuses files outside of the manifest's roots.
pub(super) fn hold(manifest: &Manifest, sources: &[Source]) -> Result<(), BundleError> {
    for source in sources {
        let content = Content::of(source)?;
        if let Some(stray) = content.outside(&manifest.roots) {
            return Err(BundleError::Roots(format!(
                "`{}` holds `{stray}`, which is in none of the manifest's roots: {}",
                source.path,
                manifest.roots.iter().map(|root| shown(root)).collect::<Vec<_>>().join(", ")
            )));
        }
    }
    Ok(())
}

/// The smallest set of roots that sources lie in: their packages, and the first names of their documents.
pub(super) fn around(sources: &[Source]) -> Result<Vec<String>, BundleError> {
    let mut paths = Vec::new();
    for source in sources {
        match Content::of(source)? {
            Content::Package(path) => paths.push(path.join("/")),
            Content::Document(path, value) => match (path.first(), value) {
                (Some(first), _) => paths.push(first.clone()),
                (None, Value::Object(fields)) => paths.extend(fields.keys().cloned()),
                (None, _) => {}
            },
        }
    }
    paths.sort();
    let mut roots: Vec<String> = Vec::new();
    for path in paths {
        if !roots.iter().any(|root| overlap(root, &path)) {
            roots.push(path);
        }
    }
    Ok(roots)
}

/// Whether one of two roots lies in the other.
pub(super) fn overlap(one: &str, two: &str) -> bool {
    let (one, two) = (parts(one), parts(two));
    one.iter().zip(&two).all(|(left, right)| left == right)
}

fn shared<'a>(one: &'a Manifest, two: &'a Manifest) -> Option<(&'a str, &'a str)> {
    let pairs = one.roots.iter().flat_map(|left| two.roots.iter().map(move |right| (left, right)));
    pairs
        .into_iter()
        .find(|(left, right)| overlap(left, right))
        .map(|(left, right)| (left.as_str(), right.as_str()))
}

/// What a file adds below `data`, and where.
enum Content {
    Package(Vec<String>),
    Document(Vec<String>, Value),
}

impl Content {
    fn of(source: &Source) -> Result<Self, RulebookError> {
        if !source.path.ends_with(".rego") {
            let (path, value) = documents::read(source)?;
            return Ok(Self::Document(path.into_iter().map(str::to_owned).collect(), value));
        }
        let package = Engine::new().add_policy(source.name(), source.text.clone());
        let package = package.map_err(|problem| error_at(&problem, source.name()))?;
        let path = package.strip_prefix("data.").unwrap_or(&package);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.');
        if !path.chars().all(plain) {
            let what = format!("the package `{path}` has a name in quotes: use letters, digits and `_`");
            return Err(RulebookError { file: source.name(), line: 0, what });
        }
        Ok(Self::Package(path.split('.').map(str::to_owned).collect()))
    }

    /// The first path that lies in none of `roots`.
    fn outside(&self, roots: &[String]) -> Option<String> {
        match self {
            Self::Package(path) => (!is_within(path, roots)).then(|| path.join("/")),
            Self::Document(path, value) => stray(&mut path.clone(), value, roots),
        }
    }

    /// Whether anything of it lies in `root`.
    fn reaches(&self, root: &str) -> bool {
        let root = parts(root);
        match self {
            Self::Package(path) => path.len() >= root.len() && starts_with(path, &root),
            Self::Document(path, _) if path.len() >= root.len() => starts_with(path, &root),
            Self::Document(path, value) => {
                let (above, below) = root.split_at(path.len());
                let leads = starts_with(path, above);
                leads && below.iter().try_fold(value, |node, name| node.get(name)).is_some()
            }
        }
    }
}

fn stray(path: &mut Vec<String>, value: &Value, roots: &[String]) -> Option<String> {
    if is_within(path, roots) {
        return None;
    }
    let leads_on = roots.iter().any(|root| starts_with(&parts(root), path));
    let Some(fields) = value.as_object().filter(|_| leads_on) else { return Some(path.join("/")) };
    fields.iter().find_map(|(name, value)| {
        path.push(name.clone());
        let found = stray(path, value, roots);
        path.pop();
        found
    })
}

fn is_within(path: &[String], roots: &[String]) -> bool {
    roots.iter().any(|root| starts_with(path, &parts(root)))
}

/// Whether the first names of `path` are those of `start`.
fn starts_with<A: PartialEq<B>, B>(path: &[A], start: &[B]) -> bool {
    path.len() >= start.len() && path.iter().zip(start).all(|(left, right)| left == right)
}

fn parts(root: &str) -> Vec<&str> {
    root.split('/').filter(|part| !part.is_empty()).collect()
}

fn shown(root: &str) -> String {
    match root {
        "" => "the empty one, which is everything (name `roots` in its `.manifest`)".to_owned(),
        root => format!("`{root}`"),
    }
}
