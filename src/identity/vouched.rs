//! Identities that somebody else vouches for: what an issuer's token says of who came, and whom that makes here.
//!
//! A token never makes an identity by itself: some file must name the subject, the client or a group of it. Whoever comes
//! by a group's file, and every agent that acts for somebody, is one of many behind one file; each gets a name of its own,
//! by which the ledger, approvals, budgets and sessions tell them apart, and which no file can have.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::agent::{Agent, Claims};
use super::directory::Directory;
use super::{Identity, Kind, Limits, Proof};

/// What a token says, once its signature holds and it is meant for this gateway; in this gateway's words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Testimony {
    /// The issuer's name in the configuration.
    pub issuer: String,
    /// Whom the token is about (`sub`); never empty.
    pub subject: String,
    /// The client that the token was given to; empty where it does not say.
    pub client: String,
    /// Who acts for the subject (`act`): the one who acts now first, then those who had it act. Empty where nobody does.
    pub actors: Vec<String>,
    /// The groups of this gateway that the issuer's configuration makes of the token's.
    pub groups: Vec<String>,
    /// The claims that policy is shown.
    pub claims: Claims,
    /// What it is for, in the issuer's words; empty where it does not say.
    pub task: String,
}

/// By what a file is found for a testimony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OidcRule {
    /// The issuer's name in the configuration.
    pub(super) issuer: String,
    pub(super) who: Who,
}

/// Whom of an issuer a file is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    /// One person or workload.
    Subject(String),
    /// A client of the issuer: by itself, or acting for somebody.
    Client(String),
    /// Everybody in this group of the gateway's.
    Group(String),
}

/// Somebody whom an issuer vouches for.
#[derive(Debug, PartialEq, Eq)]
pub struct Vouched {
    name: String,
    file: Arc<Agent>,
    human: Option<Arc<Agent>>,
    owner: Option<String>,
    groups: Vec<String>,
    claims: Claims,
    delegation: Vec<String>,
    task: String,
}

/// Why a good token makes nobody here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NobodyError {
    /// No file is for the subject.
    #[error("no identity's file is for `{who}`")]
    Unknown {
        /// The issuer's name and the subject, shortened as identities' names are.
        who: String,
    },
    /// Files of several groups are for the subject.
    #[error("several identities' files are for `{who}`: {files}")]
    Ambiguous {
        /// As above.
        who: String,
        /// The files' names.
        files: String,
    },
    /// Somebody acts for the subject, and no file is for them.
    #[error("no identity's file is for `{actor}`, which acts for `{who}`")]
    UnknownActor {
        /// Who acts.
        actor: String,
        /// For whom.
        who: String,
    },
    /// A workload was acted for, and only people can be.
    #[error("`{agent}` acts for `{who}`, which is not a person")]
    NoPerson {
        /// Who acts.
        agent: String,
        /// For whom.
        who: String,
    },
    /// The file is switched off.
    #[error("identity `{file}` is disabled")]
    Disabled {
        /// The file's name.
        file: String,
    },
}

impl Testimony {
    /// Who came, as the ledger calls somebody who is nobody here: the issuer's name and the subject.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.issuer, &self.subject)
    }
}

impl Vouched {
    /// The identity's name: that of its file, or one that no file can have.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file by which it may do what it may.
    #[must_use]
    pub fn file(&self) -> &Agent {
        &self.file
    }

    /// Who answers for it: whom it acts for, or its file's owner.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Its groups: its file's, and for who acts for nobody those that the token confers.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// What its file claims of it, and then what the token does. `issuer`, `subject`, `client` and `task` are always the
    /// token's.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// On whose behalf it acts: who had it act, and last the person.
    pub fn delegation(&self) -> impl Iterator<Item = &str> {
        self.delegation.iter().map(String::as_str)
    }

    /// What it is for, as the issuer says; empty where it does not.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// Whether the files that made it are still as they were, in `directory`.
    #[must_use]
    pub fn holds_in(&self, directory: &Directory) -> bool {
        let is_same = |file: &Arc<Agent>| directory.agent(file.name()) == Some(file);
        is_same(&self.file) && self.human.as_ref().is_none_or(is_same)
    }

    /// What its file limits.
    pub(super) fn limits(&self) -> Limits {
        self.file.limits()
    }
}

impl Directory {
    /// Whom `testimony` makes here.
    ///
    /// # Errors
    /// When no file, or more than one, is for who came, or one that is needed is disabled.
    pub fn vouch(&self, testimony: &Testimony) -> Result<Identity, NobodyError> {
        let Testimony { issuer, subject, client, actors, .. } = testimony;
        let vouched = match actors.first() {
            Some(actor) => {
                let agent = self.client(issuer, actor).ok_or_else(|| NobodyError::UnknownActor {
                    actor: name_of(issuer, actor),
                    who: name_of(issuer, subject),
                })?;
                self.acting(agent, testimony)?
            }
            None => match (self.subject(issuer, subject), self.client(issuer, client)) {
                (Some(file), _) if file.kind() != Kind::Human => itself(file, file.name(), testimony)?,
                (_, Some(agent)) if subject == client => itself(agent, agent.name(), testimony)?,
                (_, Some(agent)) => self.acting(agent, testimony)?,
                (_, None) => self.person(testimony)?,
            },
        };
        let vouched = Arc::new(vouched);
        Ok(Identity {
            name: vouched.name.clone(),
            kind: vouched.file.kind(),
            owner: vouched.owner.clone(),
            groups: vouched.groups.clone(),
            limits: vouched.limits(),
            proof: Proof::Oidc,
            vouched: Some(vouched),
        })
    }

    /// The names of all issuers that files rely on, each with such a file's name.
    pub fn issuers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.agents().filter_map(|agent| Some((agent.auth().oidc.as_ref()?.issuer.as_str(), agent.name())))
    }

    /// Who the subject is by itself: by a file of its own, or by that of a group.
    fn person(&self, testimony: &Testimony) -> Result<Vouched, NobodyError> {
        let Testimony { issuer, subject, groups, .. } = testimony;
        if let Some(file) = self.subject(issuer, subject) {
            return itself(file, file.name(), testimony);
        }
        let who = name_of(issuer, subject);
        let fits = |file: &&Arc<Agent>| matches!(who_of(file, issuer), Some(Who::Group(group)) if groups.contains(group));
        let files: Vec<&Arc<Agent>> = self.agents().filter(fits).collect();
        match files.as_slice() {
            [] => Err(NobodyError::Unknown { who }),
            [file] => itself(file, &who, testimony),
            several => {
                let names: Vec<&str> = several.iter().map(|file| file.name()).collect();
                Err(NobodyError::Ambiguous { who, files: names.join(", ") })
            }
        }
    }

    /// `agent`, acting for the subject. It may do what its own file lets it, and nothing more because of whom it acts for:
    /// the person's groups are not its.
    fn acting(&self, agent: &Arc<Agent>, testimony: &Testimony) -> Result<Vouched, NobodyError> {
        let human = self.person(testimony)?;
        if human.file.kind() != Kind::Human {
            return Err(NobodyError::NoPerson { agent: agent.name().to_owned(), who: human.name });
        }
        let name = format!("{}/{}", agent.name(), human.name);
        let bare = Testimony { groups: Vec::new(), ..testimony.clone() };
        let before = testimony.actors.iter().skip(1);
        let before = before.map(|actor| match self.client(&testimony.issuer, actor) {
            Some(agent) => agent.name().to_owned(),
            None => name_of(&testimony.issuer, actor),
        });
        let delegation = before.chain([human.name.clone()]).collect();
        Ok(Vouched {
            owner: Some(human.name),
            human: Some(human.file),
            delegation,
            ..itself(agent, &name, &bare)?
        })
    }

    fn subject(&self, issuer: &str, subject: &str) -> Option<&Arc<Agent>> {
        self.agents()
            .find(|file| matches!(who_of(file, issuer), Some(Who::Subject(known)) if known == subject))
    }

    fn client(&self, issuer: &str, client: &str) -> Option<&Arc<Agent>> {
        self.agents().find(|file| matches!(who_of(file, issuer), Some(Who::Client(known)) if known == client))
    }
}

/// Whoever `file` is for, by themselves, called `name`.
fn itself(file: &Arc<Agent>, name: &str, testimony: &Testimony) -> Result<Vouched, NobodyError> {
    if file.disabled() {
        return Err(NobodyError::Disabled { file: file.name().to_owned() });
    }
    let groups: BTreeSet<&String> = file.groups().iter().chain(&testimony.groups).collect();
    let owner = file.owner().map(str::to_owned);
    Ok(Vouched {
        name: name.to_owned(),
        human: None,
        delegation: owner.iter().cloned().collect(),
        owner,
        groups: groups.into_iter().cloned().collect(),
        claims: claims(file, testimony),
        task: testimony.task.clone(),
        file: Arc::clone(file),
    })
}

/// The file's word weighs more than the token's, except on who vouched for whom.
fn claims(file: &Agent, testimony: &Testimony) -> Claims {
    let mut claims = testimony.claims.clone();
    claims.extend(file.claims().clone());
    let Testimony { issuer, subject, client, task, .. } = testimony;
    for (name, value) in [("issuer", issuer), ("subject", subject), ("client", client), ("task", task)] {
        claims.remove(name);
        if !value.is_empty() {
            claims.insert(name.to_owned(), vec![value.clone()]);
        }
    }
    claims
}

fn who_of<'a>(file: &'a Agent, issuer: &str) -> Option<&'a Who> {
    file.auth().oidc.as_ref().filter(|rule| rule.issuer == issuer).map(|rule| &rule.who)
}

/// The name of a subject of an issuer: no two have the same, and no file can have it, for it holds a colon. A subject that
/// is long, or holds what has no place in a log or a path, shows as a digest of it.
fn name_of(issuer: &str, subject: &str) -> String {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@' | b'|');
    if (1..=LONGEST_PLAIN).contains(&subject.len()) && subject.bytes().all(is_plain) {
        return format!("{issuer}:{subject}");
    }
    let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(subject.as_bytes()));
    format!("{issuer}:~{digest}")
}

/// Bytes of a subject that is shown as it is: a UUID, and most mail addresses.
const LONGEST_PLAIN: usize = 48;

#[cfg(test)]
mod tests;
