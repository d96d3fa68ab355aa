//! Accepts connections, as many as are allowed, until it is told to stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::gate::{Door, Gate};
use crate::protocol::sqlstate;
use crate::tcp;
use crate::upstream::Upstream;

use super::Settings;
use super::cancel::Cancels;
use super::lanes::Lanes;
use super::places::Places;
use super::stream::Stream;
use super::{handshake, refusals};

/// The wire door.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    lanes: Lanes,
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) gate: Arc<Gate>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) settings: Settings,
    pub(super) cancels: Arc<Cancels>,
    pub(super) places: Places,
    pub(super) shutdown: CancellationToken,
}

impl Wire {
    /// A door that leads through `gate` to `upstream`. Starts the threads that sessions run on.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn new(gate: Arc<Gate>, upstream: Arc<Upstream>, settings: Settings) -> io::Result<Self> {
        let (cancels, places) = (Arc::default(), Places::new(&settings));
        let shared = Shared { gate, upstream, settings, cancels, places, shutdown: CancellationToken::new() };
        Ok(Self { shared: Arc::new(shared), lanes: Lanes::start()? })
    }

    /// Serves `listener` until `shutdown`; returns once every session has ended.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        let places = Arc::new(Semaphore::new(self.shared.settings.max_connections));
        let porch = Arc::new(Semaphore::new(MOST_TURNED_AWAY));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        prepare(&stream);
                        let (shared, places) = (Arc::clone(&self.shared), Arc::clone(&places));
                        let visit = visit(stream, peer, shared, places, Arc::clone(&porch));
                        match self.lanes.next() {
                            Some(lane) => connections.spawn_on(visit, lane),
                            None => connections.spawn(visit),
                        };
                    }
                    Err(error) => {
                        // Out of file descriptors, mostly: sessions that end give some back.
                        tracing::warn!(%error, "wire.accept_failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        // Those who are not yet in a session, then those who are.
        self.shared.shutdown.cancel();
        self.shared.cancels.close();
        while connections.join_next().await.is_some() {}
    }
}

/// One connection, on the thread that it stays on. Its socket was accepted on another.
async fn visit(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    porch: Arc<Semaphore>,
) {
    let client = peer.to_string();
    let stream = match stream.into_std().and_then(TcpStream::from_std) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "wire.socket_lost"),
    };
    match places.try_acquire_owned() {
        Ok(_place) => handshake::connection(stream, client, shared).await,
        Err(_) => turn_away(stream, &client, &shared, &porch).await,
    }
}

/// A dead peer must not hold its session, its locks and its place for ever.
fn prepare(stream: &TcpStream) {
    if let Err(error) = tcp::prepare(&SockRef::from(stream)) {
        tracing::debug!(%error, "wire.socket_option_failed");
    }
}

/// Tells a client that there is no place. Under a flood not all are told: nobody may crowd the porch either.
async fn turn_away(stream: TcpStream, client: &str, shared: &Shared, porch: &Semaphore) {
    shared.gate.refused(Door::Wire, client, "", "", "too many connections");
    let Ok(_standing) = porch.try_acquire() else { return };
    let mut out = BytesMut::new();
    refusals::fatal(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already").put_error(&mut out);
    handshake::farewell(&mut Stream::Plain(stream), out).await;
}

/// Clients that are being told that there is no place.
const MOST_TURNED_AWAY: usize = 64;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
