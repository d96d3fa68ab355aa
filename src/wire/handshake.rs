//! One connection from accept to its session: sockets around [`super::startup`].

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use crate::gate::{Connect, Denial, Door, Silent};
use crate::identity::Identity;
use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;
use crate::upstream::{ConnectError, Link};

use super::cancel::Registration;
use super::drive;
use super::listener::Shared;
use super::refusals;
use super::startup::{Fault, Opening, Progress, Rejection, Startup, welcome};
use super::stream::Stream;

/// A session that was opened, with what its client sent ahead and what it has yet to be told.
pub(super) struct Opened {
    pub(super) who: Arc<Identity>,
    pub(super) link: Link,
    pub(super) registration: Registration,
    pub(super) input: BytesMut,
    pub(super) out: BytesMut,
}

/// Serves one connection from its first byte to its last.
pub(super) async fn connection(mut stream: Stream, client: String, shared: Arc<Shared>) {
    let deadline =
        tokio::time::timeout(shared.settings.handshake_timeout, open(&mut stream, &client, &shared));
    let opened = tokio::select! {
        () = shared.shutdown.cancelled() => return,
        opened = deadline => opened,
    };
    match opened {
        Err(_) => {
            shared.gate.refused(Door::Wire, &client, "", "", "the start-up took too long");
            let mut out = BytesMut::new();
            refusals::fatal(sqlstate::QUERY_CANCELED, "the start-up took too long").put_error(&mut out);
            farewell(&mut stream, out).await;
        }
        Ok(Err(error)) => tracing::debug!(%client, %error, "wire.startup_broken"),
        Ok(Ok(None)) => {}
        Ok(Ok(Some(opened))) => drive::run(stream, *opened, &shared).await,
    }
}

/// Start-up to an open session; `None` where the connection has ended otherwise.
async fn open(stream: &mut Stream, client: &str, shared: &Shared) -> std::io::Result<Option<Box<Opened>>> {
    let mut startup = Startup::new(shared.gate.directory(), shared.settings.default_database.clone());
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    let opening = loop {
        match startup.receive(&mut input, &mut out) {
            Ok(Progress::More) => {
                stream.write_all_buf(&mut out).await?;
                if stream.read_buf(&mut input).await? == 0 {
                    return Ok(None);
                }
            }
            Ok(Progress::Cancel { process, key }) => {
                cancel(shared, client, process, &key).await;
                return Ok(None);
            }
            Ok(Progress::Proven(opening)) => break opening,
            Err(rejection) => {
                record(shared, client, &rejection);
                return end(stream, out, &rejection.fields).await;
            }
        }
    };
    match session(*opening, client, shared).await {
        Ok((who, mut link)) => {
            let registration = shared.cancels.register(Arc::clone(&who), link.context().session_id());
            let (process, key) = (registration.process(), registration.key());
            match welcome(link.parameters(), process, key, &mut out) {
                Ok(()) => {
                    link.forget_parameters();
                    Ok(Some(Box::new(Opened { who, link, registration, input, out })))
                }
                Err(violation) => end(stream, out, &violation.to_fields()).await,
            }
        }
        Err(fields) => end(stream, out, &fields).await,
    }
}

/// Asks the gate for the session, and opens the connection that carries it.
async fn session(
    opening: Opening,
    client: &str,
    shared: &Shared,
) -> Result<(Arc<Identity>, Link), ErrorFields> {
    let Opening { identity, database, application, settings } = opening;
    let connect = Connect {
        door: Door::Wire,
        database: database.clone(),
        client: client.to_owned(),
        application,
        settings,
    };
    let proof = shared
        .gate
        .admit(&identity, connect, &Silent)
        .await
        .map_err(|denial: Denial| refusals::fatally_denied(&denial))?;
    let link = shared.upstream.connect(proof, &identity).await.map_err(|error| {
        tracing::error!(%database, error = %chain(&error), "wire.upstream_failed");
        shared.gate.refused(Door::Wire, client, identity.name(), &database, &error.to_string());
        unreachable_database(&database, &error)
    })?;
    Ok((Arc::new(identity), link))
}

/// What the client is told when its database can't be opened: never what the server said to the gateway, unless the
/// session is unjudged and the server's words are for its client.
fn unreachable_database(database: &str, error: &ConnectError) -> ErrorFields {
    let what = match error {
        ConnectError::Refused { answer, unjudged: true, .. } => return (**answer).clone(),
        ConnectError::Setting { .. } => {
            return refusals::fatal(sqlstate::INVALID_PARAMETER_VALUE, error.to_string());
        }
        ConnectError::Full { .. } => {
            let message = format!("sorry, too many clients already on database `{database}`");
            return refusals::fatal(sqlstate::TOO_MANY_CONNECTIONS, message);
        }
        ConnectError::Unreachable { .. } => "can't be reached by the gateway",
        ConnectError::Tls { .. } => "can't be reached by the gateway as safely as it must be",
        ConnectError::Refused { .. } => "refused the gateway's own credential",
        ConnectError::Protocol { .. } => "answered the gateway unexpectedly",
        ConnectError::Unconfigured { .. } => "is not configured as the gateway needs it",
    };
    refusals::fatal(sqlstate::CONNECTION_FAILURE, format!("database `{database}` {what}"))
        .with_hint("tell the operator of the gateway; its log has the cause")
}

async fn cancel(shared: &Shared, client: &str, process: u32, key: &Bytes) {
    match shared.cancels.find(process, key) {
        Some(way) => {
            shared.gate.cancel(client, Some(&way.who), &way.session_id, true);
            way.cancel().await;
        }
        None => shared.gate.cancel(client, None, "", false),
    }
}

fn record(shared: &Shared, client: &str, rejection: &Rejection) {
    let what = rejection.fields.message();
    match rejection.fault {
        Fault::Protocol => shared.gate.malformed(Door::Wire, client, None, what),
        Fault::Login => {
            shared.gate.refused(Door::Wire, client, &rejection.user, &rejection.database, what);
        }
    }
}

async fn end(
    stream: &mut Stream,
    mut out: BytesMut,
    fields: &ErrorFields,
) -> std::io::Result<Option<Box<Opened>>> {
    fields.put_error(&mut out);
    farewell(stream, out).await;
    Ok(None)
}

/// Tells a client last words, as far as it listens.
pub(super) async fn farewell(stream: &mut Stream, mut out: BytesMut) {
    let said = async {
        stream.write_all_buf(&mut out).await?;
        stream.shutdown().await
    };
    match tokio::time::timeout(FAREWELL, said).await {
        Ok(Ok(())) => hear_out(stream).await,
        Ok(Err(_)) | Err(_) => tracing::debug!("wire.farewell_unheard"),
    }
}

/// Reads what a client still says after the last words to it, and forgets it: a socket that is closed with bytes
/// unread in it takes back what was sent last. Ends soon, whatever the client does.
pub(super) async fn hear_out(reader: &mut (impl AsyncRead + Unpin)) {
    let mut unread = BytesMut::with_capacity(READ_BYTES);
    let heard = async {
        while matches!(reader.read_buf(&mut unread).await, Ok(1..)) {
            unread.clear()
        }
    };
    if tokio::time::timeout(FAREWELL, heard).await.is_err() {
        tracing::debug!("wire.client_goes_on_talking");
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// How long a client may take to hear last words, and to say what nobody listens to any more.
const FAREWELL: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 4096;
