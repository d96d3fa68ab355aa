//! `portcullis policy bundle`: bundles as OPA makes them, out of a rulebook.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::Secret;
use crate::policy::bundle::{Algorithm, Bundle as Contents, Plan, PrivateKey, PublicKey, Verification};
use crate::policy::bundle::{build, sign};

use super::super::exit::Exit;
use super::super::output::{Output, one_line};
use super::Rulebook;

/// Makes, signs and checks bundles of policies, as OPA has them
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Bundle {
    Build(Build),
    Sign(Sign),
    Verify(Verify),
}

/// Packs a rulebook into a bundle
///
/// The same files give the same bytes. All data becomes one `data.json`; the manifest's roots are those that the files
/// need, unless others are given.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  portcullis policy bundle build policies -o rules.tar.gz --revision $(git rev-parse HEAD)")]
pub(in crate::cli) struct Build {
    #[command(flatten)]
    rulebook: Rulebook,

    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// The revision in its manifest
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    revision: String,

    /// A root that it claims, as in `portcullis/statement/central`; may be given several times
    #[arg(long, value_name = "PATH")]
    root: Vec<String>,

    /// Leaves the tests out: whoever puts the bundle in force can't run them
    #[arg(long)]
    no_tests: bool,
}

/// Signs a bundle in its place
///
/// Its `.signatures.json` lists every file with its digest, in one JSON Web Token.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out release.key
  portcullis policy bundle sign rules.tar.gz --key-file release.key --algorithm ES256 --key-id release")]
pub(in crate::cli) struct Sign {
    /// The bundle
    #[arg(value_name = "FILE")]
    bundle: PathBuf,

    /// The private key in PEM form; for HS256, HS384 and HS512 the secret itself
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    #[command(flatten)]
    key: Key,
}

/// Checks a bundle, and its signature if a key is given
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 the bundle holds, 3 it does not: the message says why")]
pub(in crate::cli) struct Verify {
    /// The bundle
    #[arg(value_name = "FILE")]
    bundle: PathBuf,

    /// The public key in PEM form; for HS256, HS384 and HS512 the secret itself
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    #[command(flatten)]
    key: Key,

    /// Answers in JSON
    #[arg(long)]
    json: bool,
}

/// How a key is used.
#[derive(Debug, Args)]
struct Key {
    /// RS256, ES256, EdDSA, HS256 and the like
    #[arg(long, value_name = "NAME", default_value = "RS256")]
    algorithm: String,

    /// The name by which gateways know the key
    #[arg(long, value_name = "ID", default_value = "default")]
    key_id: String,

    /// What the signature is for; gateways may ask for it
    #[arg(long, value_name = "TEXT", default_value = "")]
    scope: String,
}

impl Bundle {
    pub(super) fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        match self {
            Self::Build(command) => command.run(output),
            Self::Sign(command) => command.run(output),
            Self::Verify(command) => command.run(output),
        }
    }
}

impl Build {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let sources = self.rulebook.sources()?;
        let plan = Plan { revision: self.revision, roots: self.root, tests: !self.no_tests };
        let packed = build(&sources, &plan)?;
        write(&self.output, &packed)?;
        let bundle = Contents::read("bundle", &packed, None)?;
        output.line(format_args!("{}: {}", self.output.display(), described(&bundle)))?;
        Ok(Exit::Ok)
    }
}

impl Sign {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let algorithm: Algorithm = self.key.algorithm.parse()?;
        let key = PrivateKey::parse(algorithm, Secret::from_file(&self.key_file)?.expose())?;
        let signed = sign(&read(&self.bundle)?, &key, &self.key.key_id, &self.key.scope)?;
        write(&self.bundle, &signed)?;
        let (path, id) = (self.bundle.display(), one_line(&self.key.key_id));
        output.line(format_args!("{path}: signed by the key `{id}` ({})", algorithm.name()))?;
        Ok(Exit::Ok)
    }
}

impl Verify {
    fn run(self, output: &mut Output) -> anyhow::Result<Exit> {
        let verification = self.verification()?;
        let packed = read(&self.bundle)?;
        match Contents::read("bundle", &packed, verification.as_ref()) {
            Ok(bundle) if self.json => {
                let manifest = bundle.manifest();
                output
                    .json(&json!({ "ok": true, "manifest": manifest, "signed": verification.is_some() }))?;
            }
            Ok(bundle) => {
                let signed = if verification.is_some() { ", and the signature holds" } else { "" };
                output.line(format_args!("{}: {}{signed}", self.bundle.display(), described(&bundle)))?;
            }
            Err(error) if self.json => {
                output.json(&json!({ "ok": false, "error": error.to_string() }))?;
                return Ok(Exit::Refused);
            }
            Err(error) => {
                output.complain(&anyhow::Error::new(error).context(self.bundle.display().to_string()));
                return Ok(Exit::Refused);
            }
        }
        Ok(Exit::Ok)
    }

    fn verification(&self) -> anyhow::Result<Option<Verification>> {
        let Some(file) = &self.key_file else { return Ok(None) };
        let algorithm: Algorithm = self.key.algorithm.parse()?;
        let key = PublicKey::parse(algorithm, Secret::from_file(file)?.expose())?;
        let id = self.key.key_id.clone();
        let keys = BTreeMap::from([(id.clone(), (key, self.key.scope.clone()))]);
        Ok(Some(Verification { keys, key_id: Some(id), scope: None }))
    }
}

fn described(bundle: &Contents) -> String {
    let manifest = bundle.manifest();
    let revision = match manifest.revision.as_str() {
        "" => "no revision".to_owned(),
        revision => format!("revision {}", one_line(revision)),
    };
    let roots: Vec<String> = manifest.roots.iter().map(|root| one_line(root)).collect();
    format!("{revision}, {} files, roots {}", bundle.sources(false).len(), roots.join(", "))
}

fn read(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("`{}` can't be read", path.display()))
}

fn write(path: &PathBuf, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    if beside == *path {
        bail!("`{}` can't be written: give it another ending", path.display());
    }
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    written.with_context(|| format!("`{}` can't be written", path.display()))
}
