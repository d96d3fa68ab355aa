//! SCRAM-SHA-256, the server side: verifiers and the exchange, without I/O (RFC 5802, RFC 7677). The client side, for
//! the leg towards a database, is [`client`].
//!
//! As PostgreSQL does it: the user is the one of the startup message (the name inside the exchange is ignored),
//! channel binding is offered over TLS (RFC 5929), and a user who can't log in gets an exchange that looks like any
//! other.

pub mod client;

use std::fmt;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::agent::Agent;
use super::{Identity, Proof};

/// Which of the two mechanisms a client chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// `SCRAM-SHA-256`.
    Scram,
    /// `SCRAM-SHA-256-PLUS`: the exchange is bound to its channel, so nobody can stand in between.
    ScramPlus,
}

/// What a server keeps of a password: enough to check a proof, not enough to make one.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// Why a text is not a [`Verifier`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// It has another form.
    #[error("must have PostgreSQL's form `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`")]
    Form,
    /// Its iteration count is out of bounds.
    #[error("must have from {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations")]
    Iterations,
}

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// A message breaks the protocol.
    #[error("malformed SCRAM message: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The client asks for channel binding, which is not offered.
    #[error("SCRAM channel binding is not offered")]
    ChannelBinding,
    /// The client could bind the exchange to its channel, but was told that this server can't: by somebody in between.
    #[error(
        "SCRAM channel binding negotiation error: the client supports channel binding but thinks the server does not"
    )]
    Downgrade,
    /// The channel ends elsewhere than the client thinks: somebody is in between.
    #[error("SCRAM channel binding check failed")]
    OtherChannel,
    /// The proof is wrong, or the user can't log in: nobody learns which.
    #[error("password authentication failed")]
    Refused,
}

/// One exchange. A failed proof, an unknown user and a disabled one are the same to the client.
#[derive(Debug)]
pub struct Exchange {
    agent: Option<Arc<Agent>>,
    verifier: Verifier,
    binding: Option<Vec<u8>>,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    Challenged(Challenge),
}

#[derive(Debug)]
struct Challenge {
    mechanism: Mechanism,
    /// What the client must send as `c=`.
    binding: String,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

type Key = [u8; 32];

impl Mechanism {
    /// The mechanism called `name`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Scram, Self::ScramPlus].into_iter().find(|mechanism| mechanism.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scram => MECHANISM,
            Self::ScramPlus => "SCRAM-SHA-256-PLUS",
        }
    }
}

impl Verifier {
    /// The verifier of `password`, with a fresh salt.
    #[must_use]
    pub fn generate(password: &str) -> Self {
        Self::from_password(password, &rand::random::<[u8; SALT_LENGTH]>(), ITERATIONS)
    }

    /// The verifier of `password`, which is normalised as PostgreSQL does (SASLprep where it applies).
    #[must_use]
    pub fn from_password(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        let client_key = Zeroizing::new(hmac(&*salted, &[b"Client Key"]));
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(client_key.as_slice()).into(),
            server_key: hmac(&*salted, &[b"Server Key"]),
        }
    }

    /// Reads PostgreSQL's text of a verifier (`pg_authid.rolpassword`).
    ///
    /// # Errors
    /// Says what the text must look like.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix(MECHANISM).and_then(|rest| rest.strip_prefix('$'));
        let (cost, keys) = rest.and_then(|rest| rest.split_once('$')).ok_or(VerifierError::Form)?;
        let (iterations, salt) = cost.split_once(':').ok_or(VerifierError::Form)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(VerifierError::Form)?;
        if !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VerifierError::Form);
        }
        let iterations: u32 = iterations.parse().map_err(|_| VerifierError::Iterations)?;
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            return Err(VerifierError::Iterations);
        }
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or(VerifierError::Form)?;
        let stored_key = decode_key(stored_key).ok_or(VerifierError::Form)?;
        let server_key = decode_key(server_key).ok_or(VerifierError::Form)?;
        Ok(Self { iterations, salt, stored_key, server_key })
    }

    /// A verifier that no password fits, always with the same salt for the same name: whoever asks twice must
    /// not see by a changing salt that there is no such user.
    pub(super) fn mock(user: &str) -> Self {
        let salt = hmac(MOCK_SECRET.as_slice(), &[b"salt", user.as_bytes()]);
        let key = hmac(MOCK_SECRET.as_slice(), &[b"key", user.as_bytes()]);
        let salt = salt.iter().copied().take(SALT_LENGTH).collect();
        Self { iterations: ITERATIONS, salt, stored_key: key, server_key: key }
    }
}

/// PostgreSQL's text of the verifier.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{MECHANISM}${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key),
        )
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({} iterations)", self.iterations)
    }
}

impl Exchange {
    pub(super) fn new(agent: Option<Arc<Agent>>, verifier: Verifier, binding: Option<Vec<u8>>) -> Self {
        Self { agent, verifier, binding, state: State::Start }
    }

    /// The mechanisms that the client may choose from, best first.
    pub fn mechanisms(&self) -> impl Iterator<Item = Mechanism> {
        let plus = self.binding.as_ref().map(|_| Mechanism::ScramPlus);
        plus.into_iter().chain([Mechanism::Scram])
    }

    /// Takes client-first-message, returns server-first-message.
    ///
    /// # Errors
    /// When the message is malformed, or its channel binding is not what `mechanism` and the channel allow.
    pub fn first(&mut self, mechanism: Mechanism, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        self.challenge(mechanism, message, &STANDARD.encode(rand::random::<[u8; NONCE_LENGTH]>()))
    }

    /// Takes client-final-message, returns server-final-message and who it is.
    ///
    /// # Errors
    /// When the message is malformed, the proof is wrong, or the user can't log in.
    pub fn finish(self, message: &[u8]) -> Result<(Vec<u8>, Identity), ScramError> {
        let State::Challenged(challenge) = &self.state else {
            return Err(malformed("the final message came first"));
        };
        let Challenge { mechanism, binding: expected, client_first_bare, server_first, nonce } = challenge;
        let text = text_of(message)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(malformed("no proof"))?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|part| part.strip_prefix("c="));
        if binding.ok_or(malformed("no channel binding data"))? != expected {
            return Err(match mechanism {
                Mechanism::Scram => malformed("the channel binding data is not that of the first message"),
                Mechanism::ScramPlus => ScramError::OtherChannel,
            });
        }
        let echoed = attributes.next().and_then(|part| part.strip_prefix("r="));
        if echoed.ok_or(malformed("no nonce"))? != nonce {
            return Err(malformed("the nonce is not the one sent"));
        }
        let proof = decode_key(proof).ok_or(malformed("the proof is not 32 bytes in base64"))?;
        let auth_message = [client_first_bare, ",", server_first, ",", without_proof].map(str::as_bytes);
        let signature = hmac(&self.verifier.stored_key, &auth_message);
        let mut client_key = proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let presented: Key = Sha256::digest(client_key).into();
        let proven = bool::from(presented.ct_eq(&self.verifier.stored_key));
        let server_signature = hmac(&self.verifier.server_key, &auth_message);
        match self.agent {
            Some(agent) if proven => {
                let answer = format!("v={}", STANDARD.encode(server_signature));
                Ok((answer.into_bytes(), agent.proven(Proof::Scram)))
            }
            Some(_) | None => Err(ScramError::Refused),
        }
    }

    fn challenge(
        &mut self,
        mechanism: Mechanism,
        message: &[u8],
        server_nonce: &str,
    ) -> Result<Vec<u8>, ScramError> {
        if matches!(self.state, State::Challenged(_)) {
            return Err(malformed("the first message came twice"));
        }
        let (header, bare) = self.split_gs2(mechanism, text_of(message)?)?;
        let mut binding = header.as_bytes().to_vec();
        if mechanism == Mechanism::ScramPlus {
            binding.extend_from_slice(self.binding.as_deref().unwrap_or_default());
        }
        let mut attributes = bare.split(',');
        // RFC 5802 reserves `m=` for extensions that a server must understand; there are none.
        attributes.next().and_then(|part| part.strip_prefix("n=")).ok_or(malformed("no user name"))?;
        let client_nonce =
            attributes.next().and_then(|part| part.strip_prefix("r=")).ok_or(malformed("no nonce"))?;
        if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(malformed("the nonce is empty or not printable"));
        }
        let nonce = format!("{client_nonce}{server_nonce}");
        let salt = STANDARD.encode(&self.verifier.salt);
        let server_first = format!("r={nonce},s={salt},i={}", self.verifier.iterations);
        let answer = server_first.clone().into_bytes();
        self.state = State::Challenged(Challenge {
            mechanism,
            binding: STANDARD.encode(binding),
            client_first_bare: bare.to_owned(),
            server_first,
            nonce,
        });
        Ok(answer)
    }

    /// Splits the GS2 header off client-first-message. No authorization identity is taken, so each way of channel
    /// binding has one header.
    fn split_gs2<'a>(
        &self,
        mechanism: Mechanism,
        text: &'a str,
    ) -> Result<(&'static str, &'a str), ScramError> {
        let offered = self.binding.is_some();
        let header = match mechanism {
            Mechanism::ScramPlus if !offered => return Err(ScramError::ChannelBinding),
            Mechanism::ScramPlus => BOUND,
            Mechanism::Scram if text.starts_with("p=") => return Err(ScramError::ChannelBinding),
            // RFC 5802, section 6: it says so after somebody has taken PLUS out of what we offered.
            Mechanism::Scram if text.starts_with(UNOFFERED) && offered => return Err(ScramError::Downgrade),
            Mechanism::Scram if text.starts_with(UNOFFERED) => UNOFFERED,
            Mechanism::Scram => UNBOUND,
        };
        let bare = text.strip_prefix(header).ok_or(malformed(match mechanism {
            Mechanism::Scram => "the header is neither `n,,` nor `y,,`",
            Mechanism::ScramPlus => "the header is not `p=tls-server-end-point,,`",
        }))?;
        Ok((header, bare))
    }
}

fn text_of(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_CAP {
        return Err(malformed("longer than any SCRAM message"));
    }
    std::str::from_utf8(message).map_err(|_| malformed("not UTF-8"))
}

fn malformed(what: &'static str) -> ScramError {
    ScramError::Malformed { what }
}

fn decode_key(text: &str) -> Option<Key> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn hmac(key: &[u8], parts: &[&[u8]]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// `SaltedPassword` of RFC 5802. The password is normalised as PostgreSQL does: SASLprep where it applies, else as it is.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
fn salted_password(password: &str, salt: &[u8], iterations: u32) -> Zeroizing<Key> {
    let normalised = match stringprep::saslprep(password) {
        Ok(prepared) => Zeroizing::new(prepared.into_owned()),
        Err(_) => Zeroizing::new(password.to_owned()),
    };
    let salted = pbkdf2::pbkdf2_array::<Hmac<Sha256>, 32>(normalised.as_bytes(), salt, iterations);
    Zeroizing::new(salted.expect("a key of any length"))
}

/// The name of the mechanism without channel binding, and of PostgreSQL's verifiers.
const MECHANISM: &str = "SCRAM-SHA-256";

/// The header of a client that can't bind, or won't.
const UNBOUND: &str = "n,,";

/// The header of a client that could bind, and thinks that the server can't.
const UNOFFERED: &str = "y,,";

/// The header of a client that binds.
const BOUND: &str = "p=tls-server-end-point,,";

/// Makes the mock verifiers of this process.
static MOCK_SECRET: LazyLock<Key> = LazyLock::new(rand::random);

/// Iterations of verifiers that we make: PostgreSQL's own default, so that mock verifiers look like real ones.
const ITERATIONS: u32 = 4096;

/// RFC 7677's floor.
const MIN_ITERATIONS: u32 = 4096;

/// What libpq, pgjdbc and tokio-postgres still accept.
const MAX_ITERATIONS: u32 = 100_000;

/// PostgreSQL's `SCRAM_DEFAULT_SALT_LEN`, in bytes.
const SALT_LENGTH: usize = 16;

/// PostgreSQL's `SCRAM_RAW_NONCE_LEN`, in bytes.
/// The length of a nonce in bytes; PostgreSQL's own.
pub const NONCE_LENGTH: usize = 18;

/// PostgreSQL's `PG_MAX_SASL_MESSAGE_LENGTH`, in bytes.
const MESSAGE_CAP: usize = 1024;

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

    use super::super::directory::{AgentSource, Directory};
    use super::*;

    const PASSWORD: &str = "correct horse";

    fn directory(extra: &str) -> Directory {
        let verifier = Verifier::from_password(PASSWORD, b"0123456789abcdef", 4096);
        let text = format!("name = \"ana\"\nkind = \"human\"\n{extra}\n[auth]\nscram = \"{verifier}\"\n");
        Directory::build(&[AgentSource { path: "ana.toml".into(), text }]).unwrap()
    }

    fn log_in(mut exchange: Exchange, password: &str) -> Result<Identity, ScramError> {
        let mut client = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        client.update(&exchange.first(Mechanism::Scram, client.message())?).unwrap();
        let (answer, identity) = exchange.finish(client.message())?;
        client.finish(&answer).unwrap();
        Ok(identity)
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::from_password("pencil", &salt, 4096);
        let agent = directory("").agent("ana").cloned();
        let mut exchange = Exchange::new(agent, verifier, None);
        let first = exchange.challenge(
            Mechanism::Scram,
            b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        );
        assert_eq!(
            String::from_utf8(first.unwrap()).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let (answer, _) = exchange.finish(last).unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_verifier_that_postgresql_made_is_read_and_written_unchanged() {
        // Made by PostgreSQL 15: CREATE ROLE r PASSWORD 'pencil'.
        let text = POSTGRES_VERIFIER;
        let verifier = Verifier::parse(text).unwrap();
        assert_eq!(verifier.to_string(), text);
        assert_eq!(Verifier::from_password("pencil", &verifier.salt, 4096), verifier);
    }

    #[test]
    fn the_right_password_opens_and_a_wrong_one_does_not() {
        let directory = directory("");
        let identity = log_in(directory.scram("ana", None), PASSWORD).unwrap();
        assert_eq!((identity.name(), identity.proof()), ("ana", Proof::Scram));
        assert_eq!(log_in(directory.scram("ana", None), "wrong"), Err(ScramError::Refused));
    }

    #[test]
    fn unknown_and_disabled_users_fail_exactly_as_a_wrong_password() {
        let open = directory("");
        assert_eq!(log_in(open.scram("nobody", None), PASSWORD), Err(ScramError::Refused));
        assert_eq!(
            log_in(directory("disabled = true").scram("ana", None), PASSWORD),
            Err(ScramError::Refused)
        );
        let salt_of = |user: &str| {
            let first = open.scram(user, None).challenge(Mechanism::Scram, b"n,,n=,r=abc", "").unwrap();
            String::from_utf8(first).unwrap()
        };
        assert_eq!(salt_of("nobody"), salt_of("nobody"), "a stable salt");
        assert_ne!(salt_of("nobody"), salt_of("somebody"));
        assert_eq!(salt_of("nobody").len(), salt_of("ana").len());
    }

    #[test]
    fn ways_around_the_proof_are_malformed() {
        let exchange = || {
            let mut exchange = directory("").scram("ana", None);
            exchange.challenge(Mechanism::Scram, b"n,,n=,r=abc", "def").unwrap();
            exchange
        };
        let proof = STANDARD.encode([0; 32]);
        for (message, what) in [
            ("".to_owned(), "no proof"),
            (format!("c=biws,r=abc,p={proof}"), "the nonce is not the one sent"),
            (format!("c=biws,r=abcdefg,p={proof}"), "the nonce is not the one sent"),
            (format!("r=abcdef,c=biws,p={proof}"), "no channel binding data"),
            (
                format!("c=eSws,r=abcdef,p={proof}"),
                "the channel binding data is not that of the first message",
            ),
            (format!("c=biws,r=abcdef,p={proof},x=1"), "the proof is not 32 bytes in base64"),
            ("c=biws,r=abcdef,p=AAAA".to_owned(), "the proof is not 32 bytes in base64"),
            (
                format!("c=biws,r=abcdef,p={}", proof.trim_end_matches('=')),
                "the proof is not 32 bytes in base64",
            ),
            ("x".repeat(1025), "longer than any SCRAM message"),
        ] {
            assert_eq!(exchange().finish(message.as_bytes()), Err(malformed(what)), "{message}");
        }
        let zero = format!("c=biws,r=abcdef,p={proof}");
        assert_eq!(exchange().finish(zero.as_bytes()), Err(ScramError::Refused));
    }

    #[test]
    fn a_first_message_that_asks_for_more_is_refused() {
        for (message, error) in [
            (&b"p=tls-server-end-point,,n=,r=abc"[..], ScramError::ChannelBinding),
            (b"n,a=root,n=,r=abc", malformed("the header is neither `n,,` nor `y,,`")),
            (b"n,,m=ext,n=,r=abc", malformed("no user name")),
            (b"n,,n=ana", malformed("no nonce")),
            (b"n,,n=ana,r=", malformed("the nonce is empty or not printable")),
            (b"n,,n=ana,r=a b", malformed("the nonce is empty or not printable")),
            (b"n,,n=\xff,r=abc", malformed("not UTF-8")),
            (b"", malformed("the header is neither `n,,` nor `y,,`")),
        ] {
            assert_eq!(directory("").scram("ana", None).first(Mechanism::Scram, message), Err(error));
        }
        let mut twice = directory("").scram("ana", None);
        twice.first(Mechanism::Scram, b"y,,n=,r=abc").unwrap();
        assert!(twice.first(Mechanism::Scram, b"n,,n=,r=abc").is_err());
        assert!(directory("").scram("ana", None).finish(b"c=biws,r=,p=").is_err());
    }

    #[test]
    fn an_exchange_is_bound_to_its_channel() {
        let directory = directory("");
        let log_in = |binding: Option<&[u8]>, theirs: ChannelBinding| {
            let mut exchange = directory.scram("ana", binding.map(<[u8]>::to_vec));
            let mechanism = exchange.mechanisms().next().unwrap();
            let mut client = ScramSha256::new(PASSWORD.as_bytes(), theirs);
            client.update(&exchange.first(mechanism, client.message())?).unwrap();
            let (answer, identity) = exchange.finish(client.message())?;
            client.finish(&answer).unwrap();
            Ok(identity.proof())
        };
        let end_point = |hash: &[u8]| ChannelBinding::tls_server_end_point(hash.to_vec());
        assert_eq!(log_in(Some(b"ours"), end_point(b"ours")), Ok(Proof::Scram));
        assert_eq!(
            log_in(None, ChannelBinding::unrequested()),
            Ok(Proof::Scram),
            "`y`, and nothing was offered"
        );
        assert_eq!(log_in(Some(b"ours"), end_point(b"theirs")), Err(ScramError::OtherChannel));
        assert_eq!(log_in(None, end_point(b"theirs")), Err(ScramError::ChannelBinding));
    }

    #[test]
    fn a_client_that_was_told_less_than_was_offered_is_refused() {
        for (mechanism, message, error) in [
            (Mechanism::Scram, &b"y,,n=,r=abc"[..], ScramError::Downgrade),
            (Mechanism::Scram, b"p=tls-server-end-point,,n=,r=abc", ScramError::ChannelBinding),
            (Mechanism::ScramPlus, b"y,,n=,r=abc", malformed("the header is not `p=tls-server-end-point,,`")),
            (Mechanism::ScramPlus, b"n,,n=,r=abc", malformed("the header is not `p=tls-server-end-point,,`")),
            (
                Mechanism::ScramPlus,
                b"p=tls-unique,,n=,r=abc",
                malformed("the header is not `p=tls-server-end-point,,`"),
            ),
        ] {
            let mut exchange = directory("").scram("ana", Some(b"ours".to_vec()));
            assert_eq!(exchange.first(mechanism, message), Err(error));
        }
        let mut unbound = directory("").scram("ana", Some(b"ours".to_vec()));
        assert!(unbound.first(Mechanism::Scram, b"n,,n=,r=abc").is_ok(), "whoever can't bind need not");
        let mut unoffered = directory("").scram("ana", None);
        let message = b"p=tls-server-end-point,,n=,r=abc";
        assert_eq!(unoffered.first(Mechanism::ScramPlus, message), Err(ScramError::ChannelBinding));
    }

    #[test]
    fn texts_that_are_no_verifier_are_refused() {
        let key = STANDARD.encode([7; 32]);
        for text in [
            "secret".to_owned(),
            "md5c4ca4238a0b923820dcc509a6f75849b".to_owned(),
            format!("SCRAM-SHA-256$4096:c2FsdA==${key}"),
            format!("SCRAM-SHA-256$4096:${key}:{key}"),
            format!("SCRAM-SHA-256$4096:c2FsdA==${key}:AAAA"),
            format!("SCRAM-SHA-256$+4096:c2FsdA==${key}:{key}"),
            format!("SCRAM-SHA-512$4096:c2FsdA==${key}:{key}"),
        ] {
            assert_eq!(Verifier::parse(&text), Err(VerifierError::Form), "{text}");
        }
        for count in ["1", "999999999", "99999999999999"] {
            let text = format!("SCRAM-SHA-256${count}:c2FsdA==${key}:{key}");
            assert_eq!(Verifier::parse(&text), Err(VerifierError::Iterations), "{text}");
        }
    }

    const POSTGRES_VERIFIER: &str = "SCRAM-SHA-256$4096:y7k/NyiQOhkozzILYIkneQ==$hMKx0a8PPVoiG7OQbLLEXL4WNcRaD3cLp9YRirxIrlM=:wLsyg0wy2j27C4dFDRmYT+HQ/hyCRz96Ug65r/yrAp0=";
}
