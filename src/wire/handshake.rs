//! One connection from accept to its session: sockets around [`super::startup`].

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::gate::{Connect, Denial, Door, Encrypted, Knock, Silent};
use crate::identity::Identity;
use crate::protocol::backend::ErrorFields;
use crate::protocol::sqlstate;
use crate::protocol::startup::TLS_HANDSHAKE;
use crate::tls::certificate::PeerCertificate;
use crate::tls::server::{Certificates, Handshake};
use crate::upstream::{ConnectError, Link};

use super::cancel::Registration;
use super::drive;
use super::listener::Shared;
use super::places::Place;
use super::refusals;
use super::startup::{
    Arrival, Channel, Fault, Opening, Progress, Rejection, Startup, Terms, readable, welcome,
};
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
pub(super) async fn connection(socket: TcpStream, client: String, shared: Arc<Shared>) {
    let mut visit =
        Visit { stream: Some(Stream::Plain(socket)), client, shared: Arc::clone(&shared), tls: None };
    // In a box, so that a session does not carry the room that its start-up took.
    let deadline = tokio::time::timeout(shared.settings.handshake_timeout, Box::pin(visit.open()));
    let opened = tokio::select! {
        () = shared.shutdown.cancelled() => return,
        opened = deadline => opened,
    };
    match opened {
        Err(_) => visit.too_late().await,
        Ok(Err(error)) => tracing::debug!(client = visit.client, %error, "wire.startup_broken"),
        Ok(Ok(None)) => {}
        Ok(Ok(Some((opened, place)))) => {
            if let Some(stream) = visit.stream {
                drive::run(stream, *opened, &shared).await;
            }
            drop(place);
        }
    }
}

/// A connection that has no session yet.
struct Visit {
    /// `None` while a TLS handshake has the socket, and after one that failed.
    stream: Option<Stream>,
    client: String,
    shared: Arc<Shared>,
    /// The version of TLS, and the name that the client asked for.
    tls: Option<(String, String)>,
}

/// An open session and its place; `None` where the connection has ended otherwise.
type Visited = io::Result<Option<(Box<Opened>, Place)>>;

impl Visit {
    /// Start-up to an open session.
    async fn open(&mut self) -> Visited {
        let settings = &self.shared.settings;
        let mut startup = Startup::new(Terms {
            directory: self.shared.gate.directory(),
            default_database: settings.default_database.clone(),
            auth: settings.auth,
            tls: settings.encryption(),
        });
        let certificates = settings.certificates.clone();
        if let Some(certificates) = &certificates
            && self.begins_with_tls().await?
        {
            let Some(handshake) = self.shake_hands(certificates).await else { return Ok(None) };
            if !handshake.named_protocol {
                // ALPACA: TLS that was meant for another service on this name must not end here.
                self.malformed("direct TLS without the protocol's name (ALPN `postgresql`)");
                return Ok(None);
            }
            startup.encrypted(self.encrypted(handshake));
        }
        let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
        loop {
            match startup.receive(&mut input, &mut out) {
                Ok(Progress::More) => {
                    self.say(&mut out).await?;
                    if self.stream()?.read_buf(&mut input).await? == 0 {
                        return Ok(None);
                    }
                }
                Ok(Progress::Encrypt) => {
                    self.say(&mut out).await?;
                    let Some(certificates) = &certificates else { return Ok(None) };
                    let Some(handshake) = self.shake_hands(certificates).await else { return Ok(None) };
                    startup.encrypted(self.encrypted(handshake));
                }
                Ok(Progress::Cancel { process, key }) => {
                    self.cancel(process, &key).await;
                    return Ok(None);
                }
                Ok(Progress::Knock(arrival)) => match self.knock(&arrival, startup.certificate()) {
                    Ok(()) => startup.welcomed(),
                    Err(denial) => return self.end(out, &refusals::unwelcome(&denial)).await,
                },
                Ok(Progress::Proven(opening)) => return self.proven(*opening, input, out).await,
                Err(rejection) => {
                    self.record(&rejection);
                    if rejection.fault == Fault::Noise {
                        return Ok(None);
                    }
                    return self.end(out, &rejection.fields).await;
                }
            }
        }
    }

    /// Asks whether a client may go on to prove who it is.
    fn knock(&self, arrival: &Arrival, certificate: Option<&PeerCertificate>) -> Result<(), Denial> {
        let Arrival { user, database, application, settings, minor } = arrival;
        let tls =
            self.tls.as_ref().map(|(version, server_name)| Encrypted { version, server_name, certificate });
        self.shared.gate.knock(&Knock {
            door: Door::Wire,
            client: &self.client,
            tls,
            protocol: &format!("3.{minor}"),
            user,
            database,
            application,
            settings,
        })
    }

    async fn proven(&mut self, opening: Opening, input: BytesMut, mut out: BytesMut) -> Visited {
        let minor = opening.minor;
        let (who, mut link, place) = match self.session(opening).await {
            Ok(session) => session,
            Err(fields) => return self.end(out, &fields).await,
        };
        let (session_id, process) = (link.context().session_id(), link.process());
        let registration = self.shared.cancels.register(Arc::clone(&who), session_id, process, minor);
        let is_unjudged = link.context().is_unjudged();
        if let Err(violation) = readable(link.parameters())
            && !is_unjudged
        {
            return self.end(out, &violation.to_fields()).await;
        }
        let notices = link.take_notices();
        welcome(&notices, link.parameters(), registration.process(), registration.key(), &mut out);
        if !is_unjudged {
            link.forget_parameters();
        }
        Ok(Some((Box::new(Opened { who, link, registration, input, out }), place)))
    }

    /// Finds a place for the session, asks the gate for it, and opens the connection that carries it.
    async fn session(&self, opening: Opening) -> Result<(Arc<Identity>, Link, Place), ErrorFields> {
        let Opening { identity, database, application, settings, minor: _ } = opening;
        let (gate, client) = (&self.shared.gate, self.client.as_str());
        let place = self.shared.places.take(identity.name(), &database).inspect_err(|fields| {
            gate.refused(Door::Wire, client, identity.name(), &database, fields.message());
        })?;
        let connect = Connect {
            door: Door::Wire,
            database: database.clone(),
            client: client.to_owned(),
            application,
            settings,
            tls: self.tls.is_some(),
        };
        let proof = gate
            .admit(&identity, connect, &Silent)
            .await
            .map_err(|denial: Denial| refusals::fatally_denied(&denial))?;
        let link = self.shared.upstream.connect(proof, &identity).await.map_err(|error| {
            tracing::error!(%database, error = %chain(&error), "wire.upstream_failed");
            gate.refused(Door::Wire, client, identity.name(), &database, &error.to_string());
            unreachable_database(&database, &error)
        })?;
        Ok((Arc::new(identity), link, place))
    }

    /// Whether the first byte is one of TLS. It stays unread.
    async fn begins_with_tls(&mut self) -> io::Result<bool> {
        match self.stream()? {
            Stream::Plain(socket) => {
                let mut first = [0];
                Ok(socket.peek(&mut first).await? == 1 && first == [TLS_HANDSHAKE])
            }
            Stream::Tls(_) => Ok(false),
        }
    }

    /// Shakes hands for TLS; `None` where that came to nothing, and the socket is closed.
    async fn shake_hands(&mut self, certificates: &Certificates) -> Option<Handshake> {
        let Some(Stream::Plain(socket)) = self.stream.take() else { return None };
        let handshake = certificates.current().accept(socket).await;
        handshake.inspect_err(|error| self.malformed(&format!("TLS handshake failed: {error}"))).ok()
    }

    fn encrypted(&mut self, handshake: Handshake) -> Channel {
        let Handshake { stream, named_protocol: _, certificate, binding, version, server_name } = handshake;
        self.tls = Some((version, server_name));
        self.stream = Some(Stream::Tls(Box::new(stream)));
        Channel::Tls { certificate, binding }
    }

    async fn cancel(&self, process: u32, key: &Bytes) {
        let Shared { gate, cancels, .. } = &*self.shared;
        match cancels.find(&self.client, process, key, Instant::now()) {
            Some(way) => {
                gate.cancel(&self.client, Some(&way.who), &way.session_id, true);
                way.cancel().await;
            }
            None => gate.cancel(&self.client, None, "", false),
        }
    }

    fn record(&self, rejection: &Rejection) {
        let what = rejection.fields.message();
        match rejection.fault {
            Fault::Protocol | Fault::Noise => self.malformed(what),
            Fault::Login => {
                let Rejection { user, database, .. } = rejection;
                self.shared.gate.refused(Door::Wire, &self.client, user, database, what);
            }
        }
    }

    fn malformed(&self, what: &str) {
        self.shared.gate.malformed(Door::Wire, &self.client, None, what);
    }

    fn stream(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Sends all of `out`. TLS keeps back what the socket did not take until it is flushed.
    async fn say(&mut self, out: &mut BytesMut) -> io::Result<()> {
        let stream = self.stream()?;
        stream.write_all_buf(out).await?;
        stream.flush().await
    }

    async fn end(&mut self, mut out: BytesMut, fields: &ErrorFields) -> Visited {
        fields.put_error(&mut out);
        farewell(self.stream()?, out).await;
        Ok(None)
    }

    async fn too_late(mut self) {
        self.shared.gate.refused(Door::Wire, &self.client, "", "", "the start-up took too long");
        let mut out = BytesMut::new();
        refusals::fatal(sqlstate::QUERY_CANCELED, "the start-up took too long").put_error(&mut out);
        if let Some(stream) = &mut self.stream {
            farewell(stream, out).await;
        }
    }
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
        ConnectError::Dangerous(_) => {
            "would be used by a role that may do more than the gateway lets anybody do"
        }
        ConnectError::Unconfigured { .. } => "is not configured as the gateway needs it",
    };
    refusals::fatal(sqlstate::CONNECTION_FAILURE, format!("database `{database}` {what}"))
        .with_hint("tell the operator of the gateway; its log has the cause")
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
