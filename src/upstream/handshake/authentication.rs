//! The authentication of the gateway and of the server, one to the other.
//! Source: PostgreSQL documentation, "Message Flow: Start-up" and "SASL Authentication"; RFC 5802 and RFC 7677.
//!
//! SCRAM proves both sides to each other without showing the password. A server that asks for less proves nothing by it,
//! so that is accepted only where the server is known already: on this machine, or by its certificate.

use bytes::Bytes;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::message::frontend;

use crate::identity::scram::client::{Binding, Client, ClientError, MECHANISM_PLUS};
use crate::protocol::body::{Body, BodyError};

use super::super::route::Standing;
use super::super::settings::ChannelBinding;
use super::{Failure, Starting, Terms, out_of_order};

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

impl Starting {
    /// Does what the server asks for, as far as it may. `request` is the first of it.
    pub(super) async fn authenticate(&mut self, request: Request, terms: &Terms<'_>) -> Result<(), Failure> {
        let role = terms.role;
        match request {
            Request::Sasl { mechanisms } => self.scram(&mechanisms, terms).await,
            Request::Ok => self.may(Method::Nothing, terms),
            Request::Md5 { salt } => {
                self.may(Method::Md5, terms)?;
                let hash = md5_hash(role.user.as_bytes(), role.password.as_bytes(), salt);
                self.password(hash.as_bytes()).await
            }
            Request::Cleartext => {
                self.may(Method::Cleartext, terms)?;
                self.password(role.password.as_bytes()).await
            }
            Request::Other(method) => Err(Failure::Protocol(format!(
                "it asks for authentication method {method}, which is not known"
            ))),
            Request::SaslContinue(_) | Request::SaslFinal(_) => Err(out_of_order("an answer of SCRAM")),
        }
    }

    /// Whether a server of this standing may ask for `method`.
    fn may(&self, method: Method, terms: &Terms<'_>) -> Result<(), Failure> {
        let what = method.as_str();
        if terms.database.channel_binding == ChannelBinding::Require {
            return Err(Failure::Protocol(format!("it asks for {what}, and channel binding is required")));
        }
        if !method.suits(self.standing) {
            return Err(Failure::Protocol(format!(
                "it asks for {what}, which the gateway does not accept from a server {}",
                whereabouts(self.standing)
            )));
        }
        if method != Method::Nothing {
            has_password(what, terms)?;
        }
        Ok(())
    }

    async fn password(&mut self, password: &[u8]) -> Result<(), Failure> {
        self.send(|packet| frontend::password_message(password, packet)).await?;
        self.expect_ok().await
    }

    async fn scram(&mut self, mechanisms: &Bytes, terms: &Terms<'_>) -> Result<(), Failure> {
        let binding = self.binding(mechanisms, terms)?;
        has_password("a SCRAM password", terms)?;
        let mechanism = binding.mechanism();
        let client = Client::new(binding);
        let first = client.first();
        self.send(|packet| frontend::sasl_initial_response(mechanism, first.as_bytes(), packet)).await?;
        let Request::SaslContinue(challenge) = self.request().await? else {
            return Err(out_of_order("something else than a SCRAM challenge"));
        };
        let challenge = client.challenged(&challenge)?;
        let keys = terms.keys.keys(terms.role, &challenge).await.map_err(Failure::Io)?;
        let (answer, expected) = challenge.answer(&keys);
        self.send(|packet| frontend::sasl_response(answer.as_bytes(), packet)).await?;
        let Request::SaslFinal(proof) = self.request().await? else {
            return Err(out_of_order("something else than its own SCRAM proof"));
        };
        expected.verify(&proof)?;
        self.expect_ok().await
    }

    /// What the exchange is bound to. A server that has TLS and offers no binding is told so (`y`): if it did offer one,
    /// somebody in between took the offer away, and it will say no.
    fn binding(&self, mechanisms: &Bytes, terms: &Terms<'_>) -> Result<Binding, Failure> {
        let offers =
            |name: &str| mechanisms.split(|&byte| byte == 0).any(|offered| offered == name.as_bytes());
        let binding = match &self.end_point {
            Some(hash) if offers(MECHANISM_PLUS) => return Ok(Binding::EndPoint(hash.clone())),
            Some(_) => Binding::NotOffered,
            None => Binding::None,
        };
        if terms.database.channel_binding == ChannelBinding::Require {
            return Err(Failure::Protocol("it offers no channel binding, and that is required".to_owned()));
        }
        if self.standing == Standing::Encrypted {
            // Nobody has checked its certificate: without a binding it could be anybody who passes SCRAM on.
            return Err(Failure::Protocol(
                "it offers no channel binding, and nothing else tells who it is: check its certificate"
                    .to_owned(),
            ));
        }
        if !offers(binding.mechanism()) {
            return Err(Failure::Protocol("it offers no SASL mechanism that the gateway knows".to_owned()));
        }
        Ok(binding)
    }

    async fn expect_ok(&mut self) -> Result<(), Failure> {
        match self.request().await? {
            Request::Ok => Ok(()),
            Request::Cleartext
            | Request::Md5 { .. }
            | Request::Sasl { .. }
            | Request::SaslContinue(_)
            | Request::SaslFinal(_)
            | Request::Other(_) => Err(out_of_order("a second authentication request")),
        }
    }
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

fn has_password(what: &str, terms: &Terms<'_>) -> Result<(), Failure> {
    let role = terms.role;
    if role.password.is_empty() {
        let what =
            format!("it asks for {what} of role `{}`, and the gateway has none of that role", role.user);
        return Err(Failure::Protocol(what));
    }
    Ok(())
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

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Protocol(error.to_string())
    }
}
