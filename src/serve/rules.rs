//! How rules get in force: read, vetted, tested, warmed, and only then swapped in as one.
//!
//! Rules are made of pieces: identities, the rulebook's folder, and each bundle. A piece that can't be used leaves its
//! last good version in force and holds up no other piece: an identity that was disabled is disabled although
//! somebody is half-way through an edit of a policy.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::Settings;
use crate::config::sources;
use crate::control::{Bundles, Delivery, Held, ShadowSettings};
use crate::gate::Rules;
use crate::identity::directory::{AgentSource, Directory};
use crate::policy::bundle::compose;
use crate::policy::{self, Source, testing};
use crate::wire;

use super::{RulesError, ServeError};

/// Everything that rules are made of.
#[derive(Debug, Clone, PartialEq)]
struct Pieces {
    agents: Arc<Vec<AgentSource>>,
    folder: Arc<Vec<Source>>,
    /// In the order of the configuration; those that are not there are left out.
    bundles: Vec<Arc<Delivery>>,
}

/// Pieces as they were found, some of which may not be readable.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    agents: Result<Arc<Vec<AgentSource>>, String>,
    folder: Result<Arc<Vec<Source>>, String>,
    bundles: Vec<Arc<Delivery>>,
}

/// Looks after the rules in force.
#[derive(Debug)]
pub(super) struct Keeper {
    settings: Settings,
    bundles: Arc<Bundles>,
    good: Pieces,
    /// What was tried last: the same is not tried again.
    tried: Found,
    /// Which pieces were refused, and why.
    refused: BTreeMap<String, String>,
}

/// A rulebook that may come one day, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate(Result<Pieces, String>);

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// Rules to be put in force.
    pub(super) rules: Option<Rules>,
    /// What was refused, in words for people: each once.
    pub(super) refusals: Vec<String>,
}

impl Keeper {
    /// The rules to start with. Bundles that were delivered and can't be used are replaced by those of an earlier run.
    pub(super) async fn start(
        settings: &Settings,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Rules), ServeError> {
        let bundles = Arc::new(open_bundles(settings, clock)?);
        bundles.first().await.map_err(RulesError::from)?;
        let (good, rules) = first_rules(settings, &bundles)?;
        bundles.in_force(&good.bundles);
        let tried = Found::of(&good);
        let keeper = Self { settings: settings.clone(), bundles, good, tried, refused: BTreeMap::new() };
        Ok((keeper, rules))
    }

    /// What a candidate rulebook is compared by: the pieces in force.
    pub(super) fn candidate(&self, shadow: &ShadowSettings, held: &[Held]) -> Candidate {
        let delivered = held.iter().find_map(|held| held.newest.clone().or(held.kept.clone()));
        let pieces = match (shadow.folder(), delivered, &shadow.replaces) {
            (Some(folder), _, _) => sources::rulebook(folder)
                .map(|folder| Pieces { folder: Arc::new(folder), bundles: Vec::new(), ..self.good.clone() })
                .map_err(|error| error.to_string()),
            (None, None, _) => Err("it is not there yet".to_owned()),
            (None, Some(delivery), Some(_)) => Ok(self.good.with(delivery)),
            (None, Some(delivery), None) => {
                Ok(Pieces { folder: Arc::default(), bundles: vec![delivery], ..self.good.clone() })
            }
        };
        Candidate(pieces)
    }

    /// Makes a rulebook of a candidate, by the same checks as for one that is to be in force.
    pub(super) fn build(&self, candidate: &Candidate) -> Result<policy::Snapshot, String> {
        let pieces = candidate.0.as_ref().map_err(Clone::clone)?;
        build(&self.settings, pieces).map(|rules| rules.policy).map_err(|error| error.to_string())
    }

    /// The bundles behind the rules.
    pub(super) fn bundles(&self) -> &Arc<Bundles> {
        &self.bundles
    }

    /// Everything as it is now.
    pub(super) fn found(&self) -> Found {
        Found::now(&self.settings, &self.bundles)
    }

    /// Whether anything is otherwise than when it was last tried.
    pub(super) fn is_stale(&self) -> bool {
        self.found() != self.tried
    }

    /// Reads everything again and makes rules of it if anything changed, or if `asked` to. Blocks for as long as the
    /// rulebook's tests run.
    pub(super) fn look(&mut self, asked: bool) -> Look {
        let found = Found::now(&self.settings, &self.bundles);
        if found == self.tried && !asked {
            return Look::default();
        }
        self.tried = found.clone();
        let mut look = Look::default();
        let mut refused = BTreeMap::new();
        match found.whole().map(|pieces| (build(&self.settings, &pieces), pieces)) {
            Some((Ok(rules), pieces)) => {
                self.good = pieces;
                look.rules = Some(rules);
            }
            Some((Err(_), _)) | None => refused = self.piece_by_piece(found, &mut look),
        }
        if look.rules.is_none() && refused.is_empty() {
            look.rules = build(&self.settings, &self.good).ok();
        }
        for (piece, why) in &refused {
            if asked || self.refused.get(piece) != Some(why) {
                look.refusals.push(format!("{piece} refused, the last good version stays in force: {why}"));
            }
        }
        self.refused = refused;
        self.bundles.in_force(&self.good.bundles);
        look
    }

    /// Takes what can be taken, one piece after the other, and says why the rest can't be.
    fn piece_by_piece(&mut self, found: Found, look: &mut Look) -> BTreeMap<String, String> {
        let mut refused = BTreeMap::new();
        let mut take = |piece: String, candidate: Result<Pieces, String>, good: &mut Pieces| {
            let built = candidate.and_then(|pieces| {
                if pieces == *good {
                    return Ok(());
                }
                let rules = build(&self.settings, &pieces).map_err(|error| error.to_string())?;
                look.rules = Some(rules);
                *good = pieces;
                Ok(())
            });
            if let Err(why) = built {
                refused.insert(piece, why);
            }
        };
        let good = &mut self.good;
        let agents = found.agents.map(|agents| Pieces { agents, ..good.clone() });
        take("changed identities".to_owned(), agents, good);
        let folder = found.folder.map(|folder| Pieces { folder, ..good.clone() });
        take("changed policies".to_owned(), folder, good);
        for delivery in found.bundles {
            let name = delivery.bundle.name().to_owned();
            let candidate = good.with(delivery);
            take(format!("bundle `{name}`"), Ok(candidate), good);
        }
        for (piece, why) in &refused {
            if let Some(name) = piece.strip_prefix("bundle `").and_then(|name| name.strip_suffix('`')) {
                self.bundles.refused(name, why);
            }
        }
        refused
    }
}

impl Found {
    /// Everything as it is now.
    fn now(settings: &Settings, bundles: &Bundles) -> Self {
        let newest = bundles.held().into_iter().filter_map(|held| held.newest.or(held.kept));
        Self {
            agents: agents(settings).map(Arc::new).map_err(|error| error.to_string()),
            folder: folder(settings).map(Arc::new).map_err(|error| error.to_string()),
            bundles: newest.collect(),
        }
    }

    fn of(pieces: &Pieces) -> Self {
        Self {
            agents: Ok(Arc::clone(&pieces.agents)),
            folder: Ok(Arc::clone(&pieces.folder)),
            bundles: pieces.bundles.clone(),
        }
    }

    /// All pieces, if all can be read.
    fn whole(&self) -> Option<Pieces> {
        let (Ok(agents), Ok(folder)) = (&self.agents, &self.folder) else { return None };
        let (agents, folder) = (Arc::clone(agents), Arc::clone(folder));
        Some(Pieces { agents, folder, bundles: self.bundles.clone() })
    }
}

impl Pieces {
    /// The same with another version of a bundle.
    fn with(&self, delivery: Arc<Delivery>) -> Self {
        let mut pieces = self.clone();
        let name = delivery.bundle.name();
        match pieces.bundles.iter_mut().find(|bundle| bundle.bundle.name() == name) {
            Some(bundle) => *bundle = delivery,
            None => pieces.bundles.push(delivery),
        }
        pieces
    }
}

/// Reads policies and identities as they are on disk now, and bundles as far as no server need be asked: from files, and
/// as an earlier run kept them. Does not run the rulebook's tests.
///
/// # Errors
/// Names the file and line that can't be used.
pub fn load_rules(settings: &Settings) -> Result<Rules, RulesError> {
    let mut untested = settings.clone();
    untested.control.run_tests = false;
    check_rules(&untested)
}

/// As [`load_rules`], and runs the rulebook's tests, unless the configuration says otherwise: as a start would.
///
/// # Errors
/// As [`load_rules`], or names the first test that fails.
pub fn check_rules(settings: &Settings) -> Result<Rules, RulesError> {
    let bundles = open_bundles(settings, Arc::new(crate::clock::SystemClock))?;
    bundles.at_hand()?;
    first_rules(settings, &bundles).map(|(_, rules)| rules)
}

/// The first rules that can be had: by the newest of each bundle, else by the last good ones.
fn first_rules(settings: &Settings, bundles: &Bundles) -> Result<(Pieces, Rules), RulesError> {
    let held = bundles.held();
    let newest: Vec<_> = held.iter().filter_map(|held| held.newest.clone().or(held.kept.clone())).collect();
    let kept: Vec<_> = held.iter().filter_map(|held| held.kept.clone().or(held.newest.clone())).collect();
    let pieces =
        Pieces { agents: Arc::new(agents(settings)?), folder: Arc::new(folder(settings)?), bundles: newest };
    let refusal = match build(settings, &pieces) {
        Ok(rules) => return Ok((pieces, rules)),
        Err(refusal) => refusal,
    };
    let before = Pieces { bundles: kept, ..pieces.clone() };
    if before == pieces {
        return Err(refusal);
    }
    tracing::error!(error = %refusal, "bundles.refused: those of the last run are used");
    build(settings, &before).map(|rules| (before, rules)).map_err(|_| refusal)
}

fn open_bundles(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Bundles, RulesError> {
    Ok(Bundles::new(&settings.control.bundles, &settings.state_path.join("bundles"), clock)?)
}

fn agents(settings: &Settings) -> Result<Vec<AgentSource>, sources::SourcesError> {
    sources::agents(&settings.agents_path)
}

/// The rulebook's own folder; empty where the configuration has bundles in its place.
fn folder(settings: &Settings) -> Result<Vec<Source>, sources::SourcesError> {
    if settings.policy_path == Path::new("") {
        return Ok(Vec::new());
    }
    sources::rulebook(&settings.policy_path)
}

/// Makes rules of `pieces`, by every check that there is.
fn build(settings: &Settings, pieces: &Pieces) -> Result<Rules, RulesError> {
    let bundles: Vec<_> = pieces.bundles.iter().map(|delivery| (&delivery.bundle, delivery.grants)).collect();
    let all = compose(&pieces.folder, &bundles)?;
    let directory = Directory::build(&pieces.agents)?;
    known_issuers(settings, &directory)?;
    let policy = policy::Snapshot::build(&all, &directory.to_data())?;
    if settings.control.run_tests {
        run_tests(&all)?;
    }
    let (directory, policy) = match settings.wire_door.auth {
        wire::Auth::Scram | wire::Auth::Token => (directory, policy),
        wire::Auth::Trust => (directory.trusting(), policy.with_strangers(Directory::stranger_data())),
    };
    for database in &settings.databases {
        policy.row_filters(&database.name).map_err(|reason| RulesError::RowFilters {
            database: database.name.clone(),
            why: reason.message,
        })?;
    }
    policy.warm().map_err(RulesError::Endless)?;
    let policy = match &settings.control.delegate {
        Some(delegate) => policy.delegating(&delegate.reads),
        None => policy,
    };
    Ok(Rules { policy, directory: Arc::new(directory) })
}

/// Whoever relies on an issuer relies on one that is there: a name that is written wrong would keep somebody out.
fn known_issuers(settings: &Settings, directory: &Directory) -> Result<(), RulesError> {
    let is_known = |name: &str| settings.mcp_door.issuers.iter().any(|issuer| issuer.name == name);
    match directory.issuers().find(|(issuer, _)| !is_known(issuer)) {
        None => Ok(()),
        Some((issuer, file)) => {
            Err(RulesError::NoIssuer { file: file.to_owned(), issuer: issuer.to_owned() })
        }
    }
}

/// Runs the tests that come with a rulebook.
fn run_tests(sources: &[Source]) -> Result<(), RulesError> {
    let results = testing::run(sources)?;
    let mut failed = results.iter().filter(|result| !result.passed);
    let Some(first) = failed.next() else { return Ok(()) };
    let others = match failed.count() {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let (file, line, name, detail) = (&first.file, first.line, &first.name, &first.detail);
    Err(RulesError::Tests(format!("{file}:{line}: the test `{name}` fails: {detail}{others}")))
}
