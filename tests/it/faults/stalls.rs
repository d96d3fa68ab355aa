//! A server that takes nothing for a while, and then goes on.

use std::time::Duration;

use bytes::BytesMut;
use portcullis::protocol::backend::{ErrorFields, Severity};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, UnixListener, UnixStream, tcp};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::support::gateway::Stand;
use crate::wire_real::Raw;
use crate::wire_sim::rig::{message, query};

/// How much fits between a client and its server depends on the system. So COPYs of all sizes are tried: there is one
/// that ends while exactly this much waits in the gateway and no more can come from the client to wake it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_once_the_server_takes_data_again_wherever_it_was_held_up() {
    let (stand, dam) = dammed().await;
    let mut ana = Raw::session(&stand, "ana").await;
    let row = "x".repeat(ROW_LENGTH - 1) + "\n";
    let row = message(b'd', |body| body.extend_from_slice(row.as_bytes()));
    for rows in (100..1200).step_by(12) {
        ana.send(&query("COPY load FROM STDIN")).await;
        assert_eq!(ana.frame().await.unwrap().tag, b'G');
        dam.set(true);
        ana.send(&row.repeat(rows)).await;
        ana.send(&message(b'c', |_| {})).await;
        // A word from the server wakes the session up: behind it, all is where it can go no further.
        for _ in 0..3 {
            dam.drip();
            assert_eq!(ana.frame().await.unwrap().tag, b'N');
        }
        dam.set(false);
        let heard = timeout(FOREVER, ana.until_ready()).await;
        assert_eq!(heard.as_deref(), Ok(format!("C(COPY {rows}) Z(I)").as_str()), "a COPY of {rows} rows");
    }
}

/// A gateway that allows everything, and whose way to its database can be dammed.
async fn dammed() -> (Stand, Dam) {
    let mut stand = Stand::start_with(|home, _| {
        let allow_all = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/policies/allow-all");
        std::fs::remove_dir_all(home.join("policies")).unwrap();
        std::os::unix::fs::symlink(allow_all, home.join("policies")).unwrap();
    })
    .await;
    let table = "CREATE TABLE load (line text); GRANT INSERT ON load TO PUBLIC";
    stand.cluster.execute_sql("shop", table).await.unwrap();
    let dam = Dam::before(stand.cluster.port());
    stand.settings.databases[0].host = dam.folder.path().to_str().unwrap().to_owned();
    (stand.restart().await, dam)
}

/// A way to a server, on which nothing of a session's goes up while it is dammed. It is a Unix socket, which holds little.
struct Dam {
    folder: TempDir,
    dammed: watch::Sender<bool>,
    drops: broadcast::Sender<()>,
}

impl Dam {
    fn before(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(format!(".s.PGSQL.{port}"))).unwrap();
        let (dammed, drops) = (watch::channel(false).0, broadcast::channel(1).0);
        let (way, source) = (dammed.clone(), drops.clone());
        tokio::spawn(async move {
            while let Ok((gateway, _)) = listener.accept().await {
                tokio::spawn(flow(gateway, port, way.subscribe(), source.subscribe()));
            }
        });
        Self { folder, dammed, drops }
    }

    fn set(&self, dammed: bool) {
        self.dammed.send(dammed).unwrap();
    }

    /// Lets the server say something of its own to every session.
    fn drip(&self) {
        self.drops.send(()).unwrap();
    }
}

/// One connection through a dam; those that read the catalog are left alone.
async fn flow(
    mut gateway: UnixStream,
    port: u16,
    dammed: watch::Receiver<bool>,
    drops: broadcast::Receiver<()>,
) {
    let mut server = TcpSocket::new_v4().unwrap().connect(([127, 0, 0, 1], port).into()).await.unwrap();
    let mut start = vec![0; 4096];
    let read = gateway.read(&mut start).await.unwrap_or_default();
    server.write_all(&start[..read]).await.unwrap();
    if String::from_utf8_lossy(&start).contains("portcullis/catalog") {
        copy_bidirectional(&mut gateway, &mut server).await.ok();
        return;
    }
    let ((from_gateway, to_gateway), (from_server, to_server)) = (gateway.into_split(), server.into_split());
    tokio::select! {
        () = up(from_gateway, to_server, dammed) => {}
        () = down(from_server, to_gateway, drops) => {}
    }
}

async fn up(mut gateway: OwnedReadHalf, mut server: tcp::OwnedWriteHalf, mut dammed: watch::Receiver<bool>) {
    let mut bytes = vec![0; 8192];
    while dammed.wait_for(|dammed| !dammed).await.is_ok() {
        match gateway.read(&mut bytes).await {
            Ok(read @ 1..) => server.write_all(&bytes[..read]).await.unwrap(),
            _ => return,
        }
    }
}

async fn down(
    mut server: tcp::OwnedReadHalf,
    mut gateway: OwnedWriteHalf,
    mut drops: broadcast::Receiver<()>,
) {
    let mut notice = BytesMut::new();
    ErrorFields::new(Severity::Notice, "00000", "drip").put_notice(&mut notice);
    let mut bytes = vec![0; 8192];
    loop {
        let sent = tokio::select! {
            read = server.read(&mut bytes) => match read {
                Ok(read @ 1..) => gateway.write_all(&bytes[..read]).await,
                _ => return,
            },
            Ok(()) = drops.recv() => gateway.write_all(&notice).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

/// How long a row is, its end included.
const ROW_LENGTH: usize = 1000;
/// Long enough for whatever happens at all.
const FOREVER: Duration = Duration::from_secs(60);
