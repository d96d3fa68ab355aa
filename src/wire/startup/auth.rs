//! How a client proves who it is. The way depends on the door and the channel, never on the name: asking tells
//! nobody who exists.

use bytes::{Bytes, BytesMut};

use crate::identity::Identity;
use crate::identity::directory::Directory;
use crate::identity::scram::{Exchange, Mechanism, ScramError};
use crate::protocol::backend;
use crate::protocol::body::Body;
use crate::protocol::sqlstate;
use crate::wire::refusals::fatal;

use super::wanted::Wanted;
use super::{Auth, Channel, Fault, Opening, Progress, Rejection, State, Step, Terms, broken, unfit};

/// Asks for the proof that `terms` and `channel` call for, unless it is there already.
pub(super) fn begin(
    terms: &Terms,
    channel: &Channel,
    wanted: Wanted,
    out: &mut BytesMut,
) -> Result<Step, Rejection> {
    let (certificate, binding) = match channel {
        Channel::Plain => (None, None),
        Channel::Tls { certificate, binding } => (certificate.as_ref(), binding.clone()),
    };
    let certified =
        certificate.and_then(|shown| terms.directory.authenticate_certificate(&wanted.user, shown));
    if let Some(identity) = certified {
        return Ok(proven(wanted, identity));
    }
    match terms.auth {
        Auth::Trust => match terms.directory.believe(&wanted.user) {
            Some(identity) => Ok(proven(wanted, identity)),
            None => {
                let message = format!("role \"{}\" is not permitted to log in", wanted.user);
                Err(unfit(&wanted, fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, message)))
            }
        },
        Auth::Token if *channel != Channel::Plain => {
            backend::authentication_cleartext_password(out);
            Ok(Step::Next(State::Token(Box::new(wanted))))
        }
        Auth::Token | Auth::Scram => {
            let exchange = terms.directory.scram(&wanted.user, binding);
            backend::authentication_sasl(out, exchange.mechanisms().map(Mechanism::name));
            Ok(Step::Next(State::First(Box::new(wanted), Box::new(exchange))))
        }
    }
}

/// Checks a PasswordMessage with a token in it.
pub(super) fn token(directory: &Directory, wanted: Wanted, body: Bytes) -> Result<Step, Rejection> {
    let mut body = Body::new(body);
    let malformed = |_| broken("invalid password packet size");
    let presented = body.text("the password").map_err(malformed)?;
    body.end().map_err(malformed)?;
    match directory.authenticate_user_token(&wanted.user, &presented) {
        Some(identity) => Ok(proven(wanted, identity)),
        None => Err(refused(&wanted, &ScramError::Refused)),
    }
}

/// Takes SASLInitialResponse.
pub(super) fn first(
    wanted: Box<Wanted>,
    mut exchange: Box<Exchange>,
    body: Bytes,
    out: &mut BytesMut,
) -> Result<Step, Rejection> {
    let mut body = Body::new(body);
    let no_sasl = |_| broken("malformed SASLInitialResponse");
    let name = body.text("the mechanism").map_err(no_sasl)?;
    let mechanism = Mechanism::parse(&name)
        .filter(|chosen| exchange.mechanisms().any(|offered| offered == *chosen))
        .ok_or_else(|| broken("client selected an invalid SASL authentication mechanism"))?;
    let message = body.value("the initial response").map_err(no_sasl)?.unwrap_or_default();
    body.end().map_err(no_sasl)?;
    let answer = exchange.first(mechanism, &message).map_err(|error| refused(&wanted, &error))?;
    backend::authentication_sasl_continue(out, &answer);
    Ok(Step::Next(State::Final(wanted, exchange)))
}

/// Takes the last SASLResponse.
pub(super) fn finish(
    wanted: Wanted,
    exchange: Exchange,
    message: &[u8],
    out: &mut BytesMut,
) -> Result<Step, Rejection> {
    let (answer, identity) = exchange.finish(message).map_err(|error| refused(&wanted, &error))?;
    backend::authentication_sasl_final(out, &answer);
    Ok(proven(wanted, identity))
}

fn proven(wanted: Wanted, identity: Identity) -> Step {
    let application = wanted.application();
    let Wanted { database, settings, minor, user: _, extensions: _ } = wanted;
    let opening = Opening { identity, database, application, settings, minor };
    Step::Stop(State::Over, Progress::Proven(Box::new(opening)))
}

fn refused(wanted: &Wanted, error: &ScramError) -> Rejection {
    match error {
        ScramError::Refused => {
            let message = format!("password authentication failed for user \"{}\"", wanted.user);
            unfit(wanted, fatal(sqlstate::INVALID_PASSWORD, message))
        }
        ScramError::Downgrade | ScramError::OtherChannel => {
            unfit(wanted, fatal(sqlstate::INVALID_AUTHORIZATION_SPECIFICATION, error.to_string()))
        }
        ScramError::Malformed { .. } | ScramError::ChannelBinding => Rejection {
            fault: Fault::Protocol,
            ..unfit(wanted, fatal(sqlstate::PROTOCOL_VIOLATION, error.to_string()))
        },
    }
}
