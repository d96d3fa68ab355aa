//! The identities in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::agent::{self, Agent};
use super::scram::{Exchange, Verifier};
use super::token::TokenDigest;
use super::{Identity, Kind, Proof};

/// One file of the agents' folder.
#[derive(Debug, Clone)]
pub struct AgentSource {
    /// The path below the agents' folder, with `/`.
    pub path: String,
    /// The text.
    pub text: String,
}

/// An identity's file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct AgentError {
    /// The file below the agents' folder.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what is allowed.
    pub what: String,
}

/// All identities, as loaded from `agents/*.toml`: immutable, replaced as a whole.
#[derive(Debug, Default)]
pub struct Directory {
    agents: BTreeMap<String, Arc<Agent>>,
}

impl Directory {
    /// Builds the directory of all identities in `sources`.
    ///
    /// # Errors
    /// Names the first file and line that can't be used.
    pub fn build(sources: &[AgentSource]) -> Result<Self, AgentError> {
        let mut agents = BTreeMap::new();
        let mut places = Vec::new();
        for source in sources {
            let (agent, owner_line) = agent::parse(source)?;
            places.push((source, agent.name().to_owned(), owner_line));
            if let Some(twin) = agents.insert(agent.name().to_owned(), Arc::new(agent)) {
                let what = format!("there is another file for `{}`: keep one of them", twin.name());
                return Err(AgentError { file: source.path.clone(), line: 1, what });
            }
        }
        let directory = Self { agents };
        for (source, name, owner_line) in places {
            let wrong = |what| AgentError { file: source.path.clone(), line: owner_line, what };
            directory.check_owner(&name).map_err(wrong)?;
            directory.check_token(&name).map_err(wrong)?;
        }
        Ok(directory)
    }

    /// The identity that `presented` proves, unless it is disabled. Every entry is compared, in constant time.
    #[must_use]
    pub fn authenticate_token(&self, presented: &str) -> Option<Identity> {
        let digest = TokenDigest::of(presented);
        let mut found = None;
        for agent in self.agents.values() {
            let token = agent.auth().token.as_ref();
            if token.is_some_and(|token| bool::from(token.ct_eq(&digest))) {
                found = Some(agent);
            }
        }
        found.filter(|agent| !agent.disabled()).map(|agent| agent.proven(Proof::Token))
    }

    /// Begins a SCRAM exchange for `user`. One who can't log in gets an exchange too, which fails at its end:
    /// nothing tells a wrong password from an unknown name.
    #[must_use]
    pub fn scram(&self, user: &str) -> Exchange {
        let mock = Verifier::mock(user);
        let known = self.agents.get(user).filter(|agent| !agent.disabled());
        let verifier = known.and_then(|agent| agent.auth().scram.clone().map(|verifier| (agent, verifier)));
        match verifier {
            Some((agent, verifier)) => Exchange::new(Some(Arc::clone(agent)), verifier),
            None => Exchange::new(None, mock),
        }
    }

    /// The identity's description; nobody has proved to be it.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.get(name)
    }

    /// All identities, ordered by name.
    pub fn agents(&self) -> impl Iterator<Item = &Arc<Agent>> {
        self.agents.values()
    }

    /// The document `data.agents` for policy: name -> description and scope, without any auth material.
    #[must_use]
    pub fn to_data(&self) -> Value {
        Value::Object(self.agents.iter().map(|(name, agent)| (name.clone(), agent.to_data())).collect())
    }

    fn check_owner(&self, name: &str) -> Result<(), String> {
        let Some(owner) = self.agents.get(name).and_then(|agent| agent.owner()) else { return Ok(()) };
        match self.agents.get(owner) {
            Some(found) if found.kind() == Kind::Human => Ok(()),
            Some(_) => Err(format!("the owner `{owner}` is not human: a person must answer for `{name}`")),
            None => Err(format!(
                "the owner `{owner}` has no file: add `{owner}.toml`, or name an identity that has one"
            )),
        }
    }

    fn check_token(&self, name: &str) -> Result<(), String> {
        let Some(token) = self.agents.get(name).and_then(|agent| agent.auth().token.as_ref()) else {
            return Ok(());
        };
        let mut others = self.agents.values().filter(|agent| agent.name() != name);
        match others.find(|agent| agent.auth().token.as_ref() == Some(token)) {
            None => Ok(()),
            Some(other) => Err(format!(
                "`token_sha256` is that of `{}` too: `portcullis agent rotate {name}` makes another",
                other.name()
            )),
        }
    }
}
