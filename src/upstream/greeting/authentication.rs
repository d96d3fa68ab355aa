//! The authentication of the gateway and of the server, one to the other.
//! Source: PostgreSQL documentation, "Message Flow: Start-up" and "SASL Authentication"; RFC 5802 and RFC 7677.
//!
//! SCRAM proves both sides to each other without showing the password. A server that asks for less proves nothing by it,
//! so that is accepted only where the server is known already: on this machine, or by its certificate.

use bytes::{Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::message::frontend;

use crate::identity::scram::client::{
    Binding, Challenge, Client, ClientError, Expected, Keys, MECHANISM_PLUS,
};
use crate::protocol::body::{Body, BodyError};

use super::super::settings::ChannelBinding;
use super::{Greeting, GreetingError, Standing, State, Terms, out_of_order, protocol};

/// What an authentication message says.
#[derive(Debug)]
pub(super) enum Request {
    Ok,
    Cleartext,
    Md5 { salt: [u8; 4] },
    Sasl { mechanisms: Bytes },
    SaslContinue(Bytes),
    SaslFinal(Bytes),
    Other(u32),
}

impl Greeting<'_> {
    /// Answers a challenge with `keys`, which were derived from the role's password and from what the challenge asks for.
    ///
    /// # Errors
    /// When the answer is too long for a message.
    pub fn answer(
        &mut self,
        challenge: Challenge,
        keys: &Keys,
        out: &mut BytesMut,
    ) -> Result<(), GreetingError> {
        let (answer, expected) = challenge.answer(keys);
        frontend::sasl_response(answer.as_bytes(), out).map_err(|error| unsendable(&error))?;
        self.state = State::Proof(expected);
        Ok(())
    }
}

impl Terms<'_> {
    /// Does what the server asks for, as far as it may. `request` is the first of it.
    pub(super) fn begin(&self, request: Request, out: &mut BytesMut) -> Result<State, GreetingError> {
        match request {
            Request::Sasl { mechanisms } => self.scram(&mechanisms, out),
            Request::Ok => self.may(Method::Nothing).map(|()| State::Settling),
            Request::Md5 { salt } => {
                self.may(Method::Md5)?;
                let hash = md5_hash(self.role.user.as_bytes(), self.role.password.as_bytes(), salt);
                password(hash.as_bytes(), out)
            }
            Request::Cleartext => {
                self.may(Method::Cleartext)?;
                password(self.role.password.as_bytes(), out)
            }
            Request::Other(method) => {
                Err(protocol(format!("it asks for authentication method {method}, which is not known")))
            }
            Request::SaslContinue(_) | Request::SaslFinal(_) => Err(out_of_order("an answer of SCRAM")),
        }
    }

    /// Whether a server of this standing may ask for `method`.
    fn may(&self, method: Method) -> Result<(), GreetingError> {
        let what = method.as_str();
        if self.channel_binding == ChannelBinding::Require {
            return Err(protocol(format!("it asks for {what}, and channel binding is required")));
        }
        if !method.suits(self.standing) {
            return Err(protocol(format!(
                "it asks for {what}, which the gateway does not accept from a server {}",
                whereabouts(self.standing)
            )));
        }
        if method != Method::Nothing {
            self.has_password(what)?;
        }
        Ok(())
    }

    fn scram(&self, mechanisms: &Bytes, out: &mut BytesMut) -> Result<State, GreetingError> {
        let binding = self.binding(mechanisms)?;
        self.has_password("a SCRAM password")?;
        let mechanism = binding.mechanism();
        let client = Client::new(binding, self.nonce);
        frontend::sasl_initial_response(mechanism, client.first().as_bytes(), out)
            .map_err(|error| unsendable(&error))?;
        Ok(State::Challenge(client))
    }

    /// What the exchange is bound to. A server that has TLS and offers no binding is told so (`y`): if it did offer one,
    /// somebody in between took the offer away, and it will say no.
    fn binding(&self, mechanisms: &Bytes) -> Result<Binding, GreetingError> {
        let offers =
            |name: &str| mechanisms.split(|&byte| byte == 0).any(|offered| offered == name.as_bytes());
        let binding = match &self.end_point {
            Some(hash) if offers(MECHANISM_PLUS) => return Ok(Binding::EndPoint(hash.clone())),
            Some(_) => Binding::NotOffered,
            None => Binding::None,
        };
        if self.channel_binding == ChannelBinding::Require {
            return Err(protocol("it offers no channel binding, and that is required"));
        }
        if self.standing == Standing::Encrypted {
            // Nobody has checked its certificate: without a binding it could be anybody who passes SCRAM on.
            return Err(protocol(
                "it offers no channel binding, and nothing else tells who it is: check its certificate",
            ));
        }
        if !offers(binding.mechanism()) {
            return Err(protocol("it offers no SASL mechanism that the gateway knows"));
        }
        Ok(binding)
    }

    fn has_password(&self, what: &str) -> Result<(), GreetingError> {
        if self.role.password.is_empty() {
            let user = &self.role.user;
            return Err(protocol(format!(
                "it asks for {what} of role `{user}`, and the gateway has none of that role"
            )));
        }
        Ok(())
    }
}

/// Takes the server's challenge.
pub(super) fn challenge(client: Client, request: Request) -> Result<Challenge, GreetingError> {
    let Request::SaslContinue(challenge) = request else {
        return Err(out_of_order("something else than a SCRAM challenge"));
    };
    Ok(client.challenged(&challenge)?)
}

/// Takes the server's own proof.
pub(super) fn proof(expected: Expected, request: Request) -> Result<(), GreetingError> {
    let Request::SaslFinal(proof) = request else {
        return Err(out_of_order("something else than its own SCRAM proof"));
    };
    Ok(expected.verify(&proof)?)
}

/// Takes AuthenticationOk.
pub(super) fn ok(request: &Request) -> Result<(), GreetingError> {
    match request {
        Request::Ok => Ok(()),
        Request::Cleartext
        | Request::Md5 { .. }
        | Request::Sasl { .. }
        | Request::SaslContinue(_)
        | Request::SaslFinal(_)
        | Request::Other(_) => Err(out_of_order("a second authentication request")),
    }
}

fn password(password: &[u8], out: &mut BytesMut) -> Result<State, GreetingError> {
    frontend::password_message(password, out).map_err(|error| unsendable(&error))?;
    Ok(State::Ok)
}

/// Ways to log in that prove nothing of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Nothing,
    Md5,
    Cleartext,
}

impl Method {
    fn suits(self, standing: Standing) -> bool {
        match standing {
            Standing::Local => true,
            // A server that asks for nothing has looked at our certificate, or at nothing at all.
            Standing::Verified { certified } => self != Self::Nothing || certified,
            Standing::Encrypted | Standing::Plain => false,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "no password",
            Self::Md5 => "an MD5 password",
            Self::Cleartext => "a password in clear text",
        }
    }
}

fn whereabouts(standing: Standing) -> &'static str {
    match standing {
        Standing::Local => "on this machine",
        Standing::Verified { .. } => "whose certificate was checked, unless it could ask for one of ours",
        Standing::Encrypted => "whose certificate nobody checked",
        Standing::Plain => "elsewhere, without TLS",
    }
}

fn unsendable(error: &std::io::Error) -> GreetingError {
    protocol(format!("it can't be answered: {error}"))
}

impl Request {
    pub(super) fn parse(body: Bytes) -> Result<Self, BodyError> {
        let mut body = Body::new(body);
        match body.u32("the authentication method")? {
            0 => Ok(Self::Ok),
            3 => Ok(Self::Cleartext),
            5 => {
                let field = "the salt";
                let salt = body.take(4, field)?;
                let salt = salt.first_chunk().copied().ok_or(BodyError::Short { field })?;
                Ok(Self::Md5 { salt })
            }
            10 => Ok(Self::Sasl { mechanisms: body.rest() }),
            11 => Ok(Self::SaslContinue(body.rest())),
            12 => Ok(Self::SaslFinal(body.rest())),
            method => Ok(Self::Other(method)),
        }
    }
}

impl From<ClientError> for GreetingError {
    fn from(error: ClientError) -> Self {
        protocol(error.to_string())
    }
}
