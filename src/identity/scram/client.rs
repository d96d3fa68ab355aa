//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, the client side, without I/O (RFC 5802, RFC 7677).
//!
//! Whoever runs it asks for the keys of a password, a salt and an iteration count in between: deriving them takes
//! milliseconds by design, so they are worth keeping.
//!
//! ```no_run
//! # fn ask_the_server(_: &[u8]) -> Vec<u8> { Vec::new() }
//! # fn example() -> Result<(), portcullis::identity::scram::client::ClientError> {
//! use portcullis::identity::scram::client::{Binding, Client, Keys};
//!
//! let client = Client::new(Binding::None, rand::random());
//! let answer = ask_the_server(client.first().as_bytes());
//! let challenge = client.challenged(&answer)?;
//! let keys = Keys::derive("secret", challenge.salt(), challenge.iterations());
//! let (answer, expected) = challenge.answer(&keys);
//! expected.verify(&ask_the_server(answer.as_bytes()))?;
//! # Ok(())
//! # }
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub use super::NONCE_LENGTH;
use super::{Key, MECHANISM, decode_key, hmac, salted_password};

/// The mechanism with channel binding.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Most iterations that a server may ask for: beyond it, it would keep us hashing for minutes. PostgreSQL's default is
/// 4096.
pub const MOST_ITERATIONS: u32 = 1_000_000;

/// What binds the exchange to the connection beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: there is no TLS, or none whose certificate can be bound to.
    None,
    /// Nothing, since the server offers no binding. It is told that we could have: a server that did offer one knows by
    /// that that somebody took its offer away.
    NotOffered,
    /// `tls-server-end-point`: this hash of the server's certificate.
    EndPoint(Vec<u8>),
}

/// What takes a password's place in an exchange. Enough to log in with where the same salt and count are in force;
/// never printed, overwritten when dropped.
pub struct Keys {
    client_key: Zeroizing<Key>,
    server_key: Zeroizing<Key>,
}

/// An exchange that has not heard the server yet.
#[derive(Debug)]
pub struct Client {
    binding: Binding,
    first_bare: String,
    nonce: String,
}

/// What the server asks for.
#[derive(Debug)]
pub struct Challenge {
    salt: Vec<u8>,
    iterations: u32,
    without_proof: String,
    auth_message: String,
}

/// What the server must answer, if it knows the password too.
#[derive(Debug)]
pub struct Expected(Key);

/// Why an exchange failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A message breaks the protocol.
    #[error("its SCRAM message is malformed: {what}")]
    Malformed {
        /// What is wrong with it.
        what: &'static str,
    },
    /// It asks for too much work, or for none.
    #[error("it asks for {asked} SCRAM iterations; 1 to {MOST_ITERATIONS} are accepted")]
    Iterations {
        /// How many.
        asked: u64,
    },
    /// It answered with an error of SCRAM.
    #[error("it refused the SCRAM exchange: `{reason}`")]
    Refused {
        /// The error's name in RFC 5802.
        reason: String,
    },
    /// Its proof is wrong.
    #[error("it can't prove that it knows the password")]
    Unproven,
}

impl Binding {
    /// The mechanism that it needs.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::None | Self::NotOffered => MECHANISM,
            Self::EndPoint(_) => MECHANISM_PLUS,
        }
    }

    fn gs2_header(&self) -> &'static str {
        match self {
            Self::None => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    /// The header again, and what it binds to, in base64.
    fn proof(&self) -> String {
        let mut bound = self.gs2_header().as_bytes().to_vec();
        if let Self::EndPoint(hash) = self {
            bound.extend_from_slice(hash);
        }
        STANDARD.encode(bound)
    }
}

impl Keys {
    /// The keys of `password`, normalised as PostgreSQL does. Takes as long as `iterations` says.
    #[must_use]
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let salted = salted_password(password, salt, iterations);
        Self {
            client_key: Zeroizing::new(hmac(&*salted, &[b"Client Key"])),
            server_key: Zeroizing::new(hmac(&*salted, &[b"Server Key"])),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Client {
    /// A fresh exchange; `nonce` is random and never used before. The user is the one of the startup message, so none is
    /// named in here, as libpq has it.
    #[must_use]
    pub fn new(binding: Binding, nonce: [u8; NONCE_LENGTH]) -> Self {
        Self::with(binding, "", &STANDARD.encode(nonce))
    }

    /// client-first-message.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}{}", self.binding.gs2_header(), self.first_bare)
    }

    /// Takes server-first-message.
    ///
    /// # Errors
    /// When it is malformed, answers somebody else's nonce, or asks for too many iterations.
    pub fn challenged(self, server_first: &[u8]) -> Result<Challenge, ClientError> {
        let text = text_of(server_first)?;
        let mut attributes = text.split(',');
        let mut attribute = |name| attributes.next().and_then(|part| part.strip_prefix(name));
        let nonce = attribute("r=").ok_or(malformed("no nonce"))?;
        let salt = attribute("s=").ok_or(malformed("no salt"))?;
        let count = attribute("i=").ok_or(malformed("no iteration count"))?;
        if attributes.next().is_some() {
            return Err(malformed("something behind the iteration count"));
        }
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(malformed("the nonce is not ours, extended"));
        }
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty()).ok_or(malformed("no salt"))?;
        let iterations = iterations(count)?;
        let without_proof = format!("c={},r={nonce}", self.binding.proof());
        let auth_message = format!("{},{text},{without_proof}", self.first_bare);
        Ok(Challenge { salt, iterations, without_proof, auth_message })
    }

    fn with(binding: Binding, user: &str, nonce: &str) -> Self {
        Self { binding, first_bare: format!("n={user},r={nonce}"), nonce: nonce.to_owned() }
    }
}

impl Challenge {
    /// The salt of the password.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// How often it is hashed: 1 to [`MOST_ITERATIONS`].
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// client-final-message by `keys`, and what the server must answer.
    #[must_use]
    pub fn answer(self, keys: &Keys) -> (String, Expected) {
        let message: [&[u8]; 1] = [self.auth_message.as_bytes()];
        let stored_key: Key = Sha256::digest(keys.client_key.as_slice()).into();
        let mut proof = hmac(&stored_key, &message);
        proof.iter_mut().zip(keys.client_key.iter()).for_each(|(byte, mask)| *byte ^= mask);
        let answer = format!("{},p={}", self.without_proof, STANDARD.encode(proof));
        (answer, Expected(hmac(keys.server_key.as_slice(), &message)))
    }
}

impl Expected {
    /// Takes server-final-message.
    ///
    /// # Errors
    /// When it is malformed, or does not prove that the server knows the password.
    pub fn verify(self, server_final: &[u8]) -> Result<(), ClientError> {
        let text = text_of(server_final)?;
        if let Some(reason) = text.strip_prefix("e=") {
            return Err(ClientError::Refused { reason: reason.chars().take(LONGEST_REASON).collect() });
        }
        let signature = text.strip_prefix("v=").and_then(decode_key).ok_or(malformed("no proof"))?;
        if bool::from(signature.ct_eq(&self.0)) { Ok(()) } else { Err(ClientError::Unproven) }
    }
}

fn iterations(count: &str) -> Result<u32, ClientError> {
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("the iteration count is no number"));
    }
    let asked = count.parse().unwrap_or(u64::MAX);
    let accepted = u32::try_from(asked).ok().filter(|asked| (1..=MOST_ITERATIONS).contains(asked));
    accepted.ok_or(ClientError::Iterations { asked })
}

fn text_of(message: &[u8]) -> Result<&str, ClientError> {
    std::str::from_utf8(message).map_err(|_| malformed("not UTF-8"))
}

fn malformed(what: &'static str) -> ClientError {
    ClientError::Malformed { what }
}

/// RFC 5802's longest is `server-does-support-channel-binding`.
const LONGEST_REASON: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::super::directory::{AgentSource, Directory};
    use super::super::{Mechanism, Verifier};
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const CHALLENGE: &str =
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn client() -> Client {
        Client::with(Binding::None, "user", NONCE)
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let client = client();
        assert_eq!(client.first(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = client.challenged(CHALLENGE.as_bytes()).unwrap();
        let keys = Keys::derive("pencil", challenge.salt(), challenge.iterations());
        let (answer, expected) = challenge.answer(&keys);
        assert_eq!(
            answer,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(expected.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
    }

    #[test]
    fn the_same_keys_serve_every_exchange_with_our_own_server_side() {
        let salt = b"0123456789abcdef";
        let verifier = Verifier::from_password("I\u{ad}X", salt, 4096);
        let text = format!("name = \"ana\"\nkind = \"human\"\n[auth]\nscram = \"{verifier}\"\n");
        let directory = Directory::build(&[AgentSource { path: "ana.toml".into(), text }]).unwrap();
        let log_in = |keys: &Keys, offered: Option<&[u8]>, binding: Binding| {
            let mut server = directory.scram("ana", offered.map(<[u8]>::to_vec));
            let mechanism = match binding {
                Binding::None | Binding::NotOffered => Mechanism::Scram,
                Binding::EndPoint(_) => Mechanism::ScramPlus,
            };
            let client = Client::new(binding, [7; NONCE_LENGTH]);
            let challenge = server.first(mechanism, client.first().as_bytes()).ok()?;
            let challenge = client.challenged(&challenge).unwrap();
            assert_eq!((challenge.salt(), challenge.iterations()), (&salt[..], 4096));
            let (answer, expected) = challenge.answer(keys);
            let (last, _) = server.finish(answer.as_bytes()).ok()?;
            Some(expected.verify(&last))
        };
        // SASLprep drops the soft hyphen.
        let keys = Keys::derive("IX", salt, 4096);
        for binding in [Binding::None, Binding::NotOffered, Binding::None] {
            assert_eq!(log_in(&keys, None, binding), Some(Ok(())));
        }
        let end_point = |hash: &[u8]| Binding::EndPoint(hash.to_vec());
        assert_eq!(log_in(&keys, Some(b"ours"), end_point(b"ours")), Some(Ok(())));
        assert_eq!(log_in(&keys, Some(b"ours"), end_point(b"theirs")), None, "somebody in between");
        assert_eq!(log_in(&keys, Some(b"ours"), Binding::NotOffered), None, "the offer was taken away");
        assert_eq!(log_in(&Keys::derive("IX", salt, 4095), None, Binding::None), None);
        let half_known = Keys { client_key: keys.client_key, server_key: Zeroizing::new([0; 32]) };
        assert_eq!(log_in(&half_known, None, Binding::None), Some(Err(ClientError::Unproven)));
    }

    #[test]
    fn the_certificate_is_part_of_what_is_signed() {
        let answers = [Binding::EndPoint(vec![1; 32]), Binding::EndPoint(vec![2; 32]), Binding::NotOffered];
        let answers = answers.map(|binding| {
            let client = Client::with(binding, "user", NONCE);
            let first = client.first();
            let challenge = client.challenged(CHALLENGE.as_bytes()).unwrap();
            let keys = Keys::derive("pencil", b"salt", 1);
            (first, challenge.answer(&keys).0)
        });
        let [(first, one), (_, other), (fallen, _)] = answers;
        assert!(first.starts_with("p=tls-server-end-point,,n="), "{first}");
        assert!(one.starts_with("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsAQEB"), "{one}");
        assert_ne!(one.rsplit_once("p=").unwrap().1, other.rsplit_once("p=").unwrap().1);
        assert!(fallen.starts_with("y,,n="), "{fallen}");
    }

    #[test]
    fn a_server_that_asks_for_more_work_than_is_sane_is_refused_before_any_is_done() {
        for (count, asked) in [("1000001", 1_000_001), ("50000000", 50_000_000), ("0", 0)] {
            let message = CHALLENGE.replace("4096", count);
            let error = client().challenged(message.as_bytes()).unwrap_err();
            assert_eq!(error, ClientError::Iterations { asked }, "{count}");
        }
        let endless = CHALLENGE.replace("4096", &"9".repeat(40));
        assert_eq!(
            client().challenged(endless.as_bytes()).unwrap_err(),
            ClientError::Iterations { asked: u64::MAX }
        );
    }

    #[test]
    fn a_challenge_that_is_none_is_refused() {
        let table = [
            ("", "no nonce"),
            ("m=ext,r=x", "no nonce"),
            ("r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=1", "the nonce is not ours, extended"),
            ("r=somebody-elses,s=AAAA,i=1", "the nonce is not ours, extended"),
            ("r=rOprNGfwEbeRWgbNEkqO1,i=1", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=,i=1", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=!,i=1", "no salt"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA", "no iteration count"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=", "the iteration count is no number"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=-1", "the iteration count is no number"),
            ("r=rOprNGfwEbeRWgbNEkqO1,s=AAAA,i=1,x=y", "something behind the iteration count"),
        ];
        for (message, what) in table {
            assert_eq!(client().challenged(message.as_bytes()).unwrap_err(), malformed(what), "{message}");
        }
        assert_eq!(client().challenged(b"\xff").unwrap_err(), malformed("not UTF-8"));
    }

    #[test]
    fn a_server_that_proves_nothing_is_refused() {
        let expected = || Expected([7; 32]);
        let right = format!("v={}", STANDARD.encode([7; 32]));
        assert_eq!(expected().verify(right.as_bytes()), Ok(()));
        let wrong = format!("v={}", STANDARD.encode([8; 32]));
        assert_eq!(expected().verify(wrong.as_bytes()), Err(ClientError::Unproven));
        for message in ["", "v=", "v=AAAA", "ok"] {
            assert_eq!(expected().verify(message.as_bytes()), Err(malformed("no proof")), "{message}");
        }
        let refused = expected().verify(b"e=invalid-proof").unwrap_err();
        assert_eq!(refused.to_string(), "it refused the SCRAM exchange: `invalid-proof`");
    }

    #[test]
    fn keys_do_not_print() {
        assert_eq!(format!("{:?}", Keys::derive("geheim", b"salt", 1)), "Keys(..)");
    }
}
