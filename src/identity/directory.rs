//! The identities in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::agent::{self, Agent};
use super::scram::{Exchange, Verifier};
use super::token::TokenDigest;
use super::vouched::Who;
use super::{Identity, Kind, Proof};
use crate::tls::certificate::PeerCertificate;

/// One file of the agents' folder.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    trusts: bool,
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
        let directory = Self { agents, trusts: false };
        for (source, name, owner_line) in places {
            let wrong = |what| AgentError { file: source.path.clone(), line: owner_line, what };
            directory.check_owner(&name).map_err(wrong)?;
            directory.check_parent(&name).map_err(wrong)?;
            directory.check_token(&name).map_err(wrong)?;
            directory.check_oidc(&name).map_err(wrong)?;
        }
        Ok(directory)
    }

    /// The same directory, which believes everybody who says who they are at the wire door: for a gateway that only
    /// this machine can reach.
    #[must_use]
    pub fn trusting(self) -> Self {
        Self { trusts: true, ..self }
    }

    /// Whether it believes everybody: then any name is an identity, with a file or without.
    #[must_use]
    pub fn trusts(&self) -> bool {
        self.trusts
    }

    /// The identity of `user`, who proved nothing; `None` unless the directory believes everybody, and for those
    /// that are disabled.
    #[must_use]
    pub fn believe(&self, user: &str) -> Option<Identity> {
        match self.agents.get(user) {
            _ if !self.trusts => None,
            None => Some(Identity::stranger(user)),
            Some(agent) => {
                Some(agent).filter(|agent| !agent.disabled()).map(|agent| agent.proven(Proof::Trust))
            }
        }
    }

    /// The identity of `user`, if its file admits `certificate`.
    #[must_use]
    pub fn authenticate_certificate(&self, user: &str, certificate: &PeerCertificate) -> Option<Identity> {
        let agent = self.agents.get(user).filter(|agent| !agent.disabled())?;
        let admitted = agent.auth().certificate.as_ref().is_some_and(|rule| rule.admits(certificate));
        admitted.then(|| agent.proven(Proof::Certificate))
    }

    /// The identity of `user`, if `presented` is its token. Whether there is such a user takes no time of its own.
    #[must_use]
    pub fn authenticate_user_token(&self, user: &str, presented: &str) -> Option<Identity> {
        let digest = TokenDigest::of(presented);
        let agent = self.agents.get(user).filter(|agent| !agent.disabled());
        let own = agent.and_then(|agent| agent.auth().token.as_ref());
        let fits = own.unwrap_or(&TokenDigest::none()).ct_eq(&digest);
        agent.filter(|_| bool::from(fits)).map(|agent| agent.proven(Proof::Token))
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

    /// Whether `token` is still the digest of the token by which the identity called `name` logs in.
    #[must_use]
    pub fn holds(&self, name: &str, token: &TokenDigest) -> bool {
        let agent = self.agents.get(name).filter(|agent| !agent.disabled());
        let own = agent.and_then(|agent| agent.auth().token.as_ref());
        own.is_some_and(|own| bool::from(own.ct_eq(token)))
    }

    /// Begins a SCRAM exchange for `user`. One who can't log in gets an exchange too, which fails at its end:
    /// nothing tells a wrong password from an unknown name. `binding` is what the exchange can be bound to: the
    /// `tls-server-end-point` of the channel.
    #[must_use]
    pub fn scram(&self, user: &str, binding: Option<Vec<u8>>) -> Exchange {
        let mock = Verifier::mock(user);
        let known = self.agents.get(user).filter(|agent| !agent.disabled());
        let verifier = known.and_then(|agent| agent.auth().scram.clone().map(|verifier| (agent, verifier)));
        match verifier {
            Some((agent, verifier)) => Exchange::new(Some(Arc::clone(agent)), verifier, binding),
            None => Exchange::new(None, mock, binding),
        }
    }

    /// The identity's description; nobody has proved to be it.
    #[must_use]
    pub fn agent(&self, name: &str) -> Option<&Arc<Agent>> {
        self.agents.get(name)
    }

    /// On whose behalf the identity called `name` acts: the agents above it, and last its owner.
    #[must_use]
    pub fn delegation(&self, name: &str) -> Vec<&str> {
        let mut chain = Vec::new();
        let mut below = self.agents.get(name);
        while let Some(parent) = below.and_then(|agent| agent.parent()) {
            chain.push(parent);
            below = self.agents.get(parent).filter(|_| chain.len() < LONGEST_CHAIN);
        }
        chain.extend(self.agents.get(name).and_then(|agent| agent.owner()));
        chain
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

    /// What policy goes by for those who have no file, where the directory believes everybody.
    #[must_use]
    pub fn stranger_data() -> Value {
        Agent::stranger().to_data()
    }

    /// Every agent above `name` must be there and have the same owner, and none comes twice.
    fn check_parent(&self, name: &str) -> Result<(), String> {
        let Some(agent) = self.agents.get(name) else { return Ok(()) };
        let mut seen = vec![name];
        let mut below = agent;
        while let Some(parent) = below.parent() {
            if seen.contains(&parent) {
                return Err(format!("`{}` works for itself, by way of {}", parent, seen.join(", ")));
            }
            if seen.len() > LONGEST_CHAIN {
                return Err(format!("at most {LONGEST_CHAIN} agents can work for one another"));
            }
            below = match self.agents.get(parent) {
                Some(found) if found.kind() != Kind::Agent => {
                    return Err(format!("the parent `{parent}` is no agent: name its owner in `owner`"));
                }
                Some(found) if found.owner() != agent.owner() => {
                    return Err(format!(
                        "the parent `{parent}` has another owner: one person answers for both"
                    ));
                }
                Some(found) => found,
                None => return Err(format!("the parent `{parent}` has no file: add `{parent}.toml`")),
            };
            seen.push(parent);
        }
        Ok(())
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

    /// No two files may be for the same tokens; and a client's is that of a program.
    fn check_oidc(&self, name: &str) -> Result<(), String> {
        let Some(agent) = self.agents.get(name) else { return Ok(()) };
        let Some(rule) = agent.auth().oidc.as_ref() else { return Ok(()) };
        if matches!(rule.who, Who::Client(_)) && agent.kind() == Kind::Human {
            return Err("`oidc` names a client, which is a program: use `subject` for a person".to_owned());
        }
        let mut others = self.agents.values().filter(|agent| agent.name() != name);
        match others.find(|other| other.auth().oidc.as_ref() == Some(rule)) {
            None => Ok(()),
            Some(other) => {
                Err(format!("`oidc` is that of `{}` too: a token can be one's only", other.name()))
            }
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

/// Agents that work for one another.
const LONGEST_CHAIN: usize = 8;
