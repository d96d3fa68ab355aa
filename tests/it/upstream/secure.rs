//! TLS and authentication towards a real PostgreSQL, and towards servers that don't behave.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis::cli::demo::cluster::Cluster;
use portcullis::gate::RunMode;
use portcullis::tls::client::{Client, Settings, Verification};
use portcullis::upstream::{
    ChannelBinding, ConnectError, DatabaseSettings, RoleSettings, RunError, UpstreamUser,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::stand::Stand;

/// A server with TLS, and the certificates around it.
struct Secure {
    cluster: &'static Cluster,
    folder: PathBuf,
    authority: Issuer<'static, KeyPair>,
}

impl Secure {
    /// One for the process.
    async fn server() -> &'static Self {
        static SERVER: OnceCell<Secure> = OnceCell::const_new();
        SERVER.get_or_init(Self::start).await
    }

    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let authority = authority(&folder, "ca");
        authority_of_others(&folder);
        let own = issue(&authority, "localhost", |_| {});
        let client = issue(&authority, "certified", |_| {});
        fs::write(folder.join("client.pem"), client.0).unwrap();
        fs::write(folder.join("client.key"), client.1).unwrap();
        let cluster: &'static Cluster = Box::leak(Box::new(crate::support::another_cluster().await));
        let data = cluster.socket_dir().parent().unwrap().join("data");
        let ca = fs::read_to_string(folder.join("ca.pem")).unwrap();
        for (name, text) in [("server.crt", &own.0), ("server.key", &own.1), ("root.crt", &ca)] {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let owner = fs::metadata(&data).unwrap();
            chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        for sql in [
            "ALTER SYSTEM SET ssl = on",
            "ALTER SYSTEM SET ssl_ca_file = 'root.crt'",
            ROLES,
            "SELECT pg_reload_conf()",
        ] {
            cluster.execute_sql("postgres", sql).await.unwrap();
        }
        let server = Self { cluster, folder, authority };
        while !server.has_tls().await {}
        server
    }

    async fn has_tls(&self) -> bool {
        let client = self.cluster.connect("postgres").await.unwrap();
        client.query_one("SHOW ssl", &[]).await.unwrap().get::<_, &str>(0) == "on"
    }

    /// A stand whose database is reached by `tls` as `user`.
    async fn stand(&self, user: &str, tls: Client) -> Stand {
        self.altered(user, tls, |_| {}).await
    }

    async fn altered(&self, user: &str, tls: Client, alter: impl FnOnce(&mut DatabaseSettings)) -> Stand {
        Stand::on(self.cluster, "", |settings| {
            settings.service = role(user);
            settings.tls = Some(tls);
            alter(settings);
        })
        .await
    }

    fn tls(&self, verification: Verification) -> Client {
        Client::build(&self.settings(verification)).unwrap()
    }

    fn settings(&self, verification: Verification) -> Settings {
        Settings {
            authorities: (verification != Verification::Nothing).then(|| self.folder.join("ca.pem")),
            ..Settings::new("localhost", verification)
        }
    }
}

fn role(user: &str) -> RoleSettings {
    RoleSettings { name: String::new(), user: user.into(), password: "geheim".into() }
}

fn authority(folder: &Path, name: &str) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.distinguished_name.push(DnType::CommonName, name);
    let certificate = parameters.self_signed(&key).unwrap();
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
    Issuer::new(parameters, key)
}

fn authority_of_others(folder: &Path) {
    drop(authority(folder, "others"));
}

/// A certificate made out to `name` and its key, in PEM form.
fn issue(
    authority: &Issuer<'static, KeyPair>,
    name: &str,
    alter: impl FnOnce(&mut CertificateParams),
) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    alter(&mut parameters);
    (parameters.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn tls_refused(error: ConnectError) -> String {
    let ConnectError::Tls { what, .. } = error else { panic!("{error}") };
    what
}

fn protocol_refused(error: ConnectError) -> String {
    let ConnectError::Protocol { what, .. } = error else { panic!("{error}") };
    what
}

#[tokio::test]
async fn a_verified_server_is_spoken_to_and_cancelled_by_tls() {
    let server = Secure::server().await;
    for verification in [Verification::Full, Verification::Authority, Verification::Nothing] {
        let stand = server.stand("bound", server.tls(verification)).await;
        let link = stand.open().await.unwrap();
        let by_tls = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                      WHERE ssl AND usename = 'bound' AND application_name LIKE 'portcullis:ana%'";
        assert_eq!(stand.number(by_tls).await, 1, "{verification:?}");
        drop(link);
        while stand.number(by_tls).await > 0 {}
    }
    let stand = server.stand("bound", server.tls(Verification::Full)).await;
    // The catalog came by TLS too: the role has no other way in.
    let link = stand.open().await.unwrap();
    let context = Arc::clone(link.context());
    let proof = stand.admit(&context, "SELECT pg_sleep(15)", RunMode::Read { max_rows: 1 }).await;
    let canceller = link.canceller();
    let running = stand.start(link, proof);
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(15)%' AND state = 'active'
                    AND usename = 'bound'";
    while stand.number(sleeping).await == 0 {}
    canceller.cancel().await;
    let Err(RunError::Server { sqlstate, .. }) = running.await.unwrap() else { panic!("not cancelled") };
    assert_eq!(sqlstate, "57014");
}

#[tokio::test]
async fn a_certificate_that_is_not_the_servers_is_refused() {
    let server = Secure::server().await;
    let refused = async |settings: Settings| {
        let stand = server.stand("bound", Client::build(&settings).unwrap()).await;
        tls_refused(stand.open().await.unwrap_err())
    };
    let settings = server.settings(Verification::Full);
    let named = Settings { server_name: "db.example.com".into(), ..settings.clone() };
    let said = refused(named.clone()).await;
    assert!(said.contains("not valid for name \"db.example.com\""), "{said}");
    let others = Settings { authorities: Some(server.folder.join("others.pem")), ..settings };
    let said = refused(others.clone()).await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    let said = refused(Settings { verification: Verification::Authority, ..others }).await;
    assert!(said.contains("UnknownIssuer"), "{said}");
    let any_name = Settings { verification: Verification::Authority, ..named };
    let stand = server.stand("bound", Client::build(&any_name).unwrap()).await;
    assert!(stand.open().await.is_ok(), "verify-ca does not look at the name");
}

#[tokio::test]
async fn authorities_that_were_read_again_hold_for_the_next_connection() {
    let server = Secure::server().await;
    let folder = tempfile::tempdir().unwrap();
    let authorities = folder.path().join("ca.pem");
    fs::copy(server.folder.join("others.pem"), &authorities).unwrap();
    let settings = Settings { authorities: Some(authorities.clone()), ..server.settings(Verification::Full) };
    let tls = Client::build(&settings).unwrap();
    let stand = server.stand("bound", tls.clone()).await;
    assert!(tls_refused(stand.open().await.unwrap_err()).contains("UnknownIssuer"));
    fs::copy(server.folder.join("ca.pem"), &authorities).unwrap();
    assert!(stand.open().await.is_err(), "nobody has read them yet");
    tls.reload().unwrap();
    assert!(stand.open().await.is_ok());
}

#[tokio::test]
async fn scram_is_bound_to_the_certificate() {
    let server = Secure::server().await;
    let require = |settings: &mut DatabaseSettings| settings.channel_binding = ChannelBinding::Require;
    for verification in [Verification::Full, Verification::Nothing] {
        let stand = server.altered("bound", server.tls(verification), require).await;
        for _ in 0..3 {
            assert!(stand.open().await.is_ok(), "{verification:?}");
        }
    }
    for (user, what) in [
        ("old", "it asks for an MD5 password, and channel binding is required"),
        ("clear", "it asks for a password in clear text, and channel binding is required"),
        ("free", "it asks for no password, and channel binding is required"),
    ] {
        let stand = server.altered(user, server.tls(Verification::Full), require).await;
        assert_eq!(protocol_refused(stand.open().await.unwrap_err()), what);
    }
    let stand = server
        .altered("bound", server.tls(Verification::Full), |settings| {
            settings.service.password = "wrong".into()
        })
        .await;
    assert!(matches!(stand.open().await, Err(ConnectError::Refused { .. })));
}

#[tokio::test]
async fn ways_to_log_in_that_prove_nothing_need_a_server_that_is_known() {
    let server = Secure::server().await;
    for user in ["old", "clear"] {
        for verification in [Verification::Full, Verification::Authority] {
            let stand = server.stand(user, server.tls(verification)).await;
            assert!(stand.open().await.is_ok(), "{user} {verification:?}");
        }
        let stand = server.stand(user, server.tls(Verification::Nothing)).await;
        let said = protocol_refused(stand.open().await.unwrap_err());
        assert!(said.ends_with("does not accept from a server whose certificate nobody checked"), "{said}");
    }
    for verification in [Verification::Full, Verification::Nothing] {
        let stand = server.stand("free", server.tls(verification)).await;
        let said = protocol_refused(stand.open().await.unwrap_err());
        assert!(said.starts_with("it asks for no password"), "{said}");
    }
}

#[tokio::test]
async fn a_certificate_of_our_own_logs_in_without_a_password() {
    let server = Secure::server().await;
    let certified = Settings {
        own: Some((server.folder.join("client.pem"), server.folder.join("client.key"))),
        ..server.settings(Verification::Full)
    };
    let tls = Client::build(&certified).unwrap();
    let no_password = |settings: &mut DatabaseSettings| settings.service.password.clear();
    let stand = server.altered("certified", tls.clone(), no_password).await;
    assert!(stand.open().await.is_ok());
    // Another role than the certificate's.
    let stand = server.altered("bound", tls, no_password).await;
    let said = protocol_refused(stand.open().await.unwrap_err());
    assert_eq!(said, "it asks for a SCRAM password of role `bound`, and the gateway has none of that role");
    let stand = server.stand("certified", server.tls(Verification::Full)).await;
    assert!(matches!(stand.open().await, Err(ConnectError::Refused { .. })), "no certificate");
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to() {
    let server = Secure::server().await;
    let tls = server.tls(Verification::Full);
    let stand = Stand::altered("", |settings| settings.tls = Some(tls)).await;
    assert_eq!(tls_refused(stand.open().await.unwrap_err()), "it has no TLS (it answered `N`)");
}

/// A server that hears one message, says `answer`, and is then still for as long as it is listened to.
async fn fake(answer: &'static [u8]) -> (u16, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut heard = [0; 1024];
        assert_eq!(socket.read(&mut heard).await.unwrap(), 8, "an SSLRequest");
        socket.write_all(answer).await.unwrap();
        socket.read(&mut heard).await.unwrap_or(0)
    });
    (port, server)
}

#[tokio::test]
async fn bytes_behind_the_answer_to_an_sslrequest_are_fatal() {
    let server = Secure::server().await;
    for (answer, what) in [
        // CVE-2021-23222: an AuthenticationOk that nobody encrypted.
        (&b"SR\0\0\0\x08\0\0\0\0"[..], "it sent bytes behind its `S`, before any handshake"),
        (b"SE", "it sent bytes behind its `S`, before any handshake"),
        (b"N", "it has no TLS (it answered `N`)"),
        (b"E\0\0\0\x20SFATAL\0", "it answered the request for TLS with an error"),
        (b"HTTP/1.1 400", "it answered the request for TLS with neither `S` nor `N`"),
    ] {
        let (port, fake) = fake(answer).await;
        let stand =
            server.altered("bound", server.tls(Verification::Nothing), |settings| settings.port = port).await;
        assert_eq!(tls_refused(stand.open().await.unwrap_err()), what);
        assert_eq!(fake.await.unwrap(), 0, "nothing more was said to it");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_every_mode_that_looks() {
    let server = Secure::server().await;
    let (certificate, key) = issue(&server.authority, "localhost", |parameters| {
        parameters.not_before = date_time_ymd(2000, 1, 1);
        parameters.not_after = date_time_ymd(2001, 1, 1);
    });
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for verification in [Verification::Full, Verification::Authority] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = acceptor.clone();
        let expired = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut heard = [0; 8];
            socket.read_exact(&mut heard).await.unwrap();
            socket.write_all(b"S").await.unwrap();
            acceptor.accept(socket).await.is_ok()
        });
        let stand = server.altered("bound", server.tls(verification), |settings| settings.port = port).await;
        let said = tls_refused(stand.open().await.unwrap_err());
        assert!(said.contains("certificate expired"), "{said}");
        assert!(!expired.await.unwrap());
    }
}

#[tokio::test]
async fn direct_tls_needs_a_server_that_names_the_protocol() {
    let server = Secure::server().await;
    let direct = Settings { direct: true, ..server.settings(Verification::Full) };
    let stand = server.stand("bound", Client::build(&direct).unwrap()).await;
    // PostgreSQL 15 takes the first bytes for a broken start-up packet.
    assert!(stand.open().await.is_err());
    for (named, answer) in [(true, "the connection was opened"), (false, "not agreed on")] {
        let (certificate, key) = issue(&server.authority, "localhost", |_| {});
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
                )
                .unwrap();
        if named {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut tls = acceptor.accept(socket).await.unwrap();
            let mut heard = [0; 8];
            let length = tls.read(&mut heard).await.unwrap_or(0);
            (tls.get_ref().1.server_name().map(str::to_owned), length)
        });
        let stand =
            server.altered("bound", Client::build(&direct).unwrap(), |settings| settings.port = port).await;
        let error = stand.open().await.unwrap_err();
        let (name, length) = heard.await.unwrap();
        assert_eq!(name.as_deref(), Some("localhost"), "SNI");
        if named {
            assert_eq!(length, 8, "{answer}: the start-up packet came");
        } else {
            assert_eq!(tls_refused(error), "it did not agree on the protocol `postgresql` (ALPN)");
            assert_eq!(length, 0);
        }
    }
}

#[tokio::test]
async fn the_clients_own_role_needs_a_server_that_trusts_this_machine() {
    let server = Secure::server().await;
    let same = |settings: &mut DatabaseSettings| settings.upstream_user = UpstreamUser::Same;
    let stand = Stand::on(server.cluster, "", same).await;
    let link = stand.open().await.unwrap();
    let own = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ana'";
    assert_eq!(stand.number(own).await, 1);
    drop(link);
    let stand = Stand::altered("", same).await;
    let said = protocol_refused(stand.open().await.unwrap_err());
    assert_eq!(said, "it asks for a SCRAM password of role `ana`, and the gateway has none of that role");
}

#[tokio::test]
async fn no_more_sessions_are_opened_than_the_configuration_allows() {
    let stand = Stand::altered("", |settings| settings.max_connections = Some(2)).await;
    let first = stand.open().await.unwrap();
    let _second = stand.open().await.unwrap();
    let error = stand.open().await.unwrap_err();
    assert!(matches!(error, ConnectError::Full { .. }), "{error}");
    drop(first);
    assert!(stand.open().await.is_ok());
}

const ROLES: &str = "CREATE ROLE bound LOGIN PASSWORD 'geheim';
    CREATE ROLE clear LOGIN PASSWORD 'geheim';
    CREATE ROLE certified LOGIN;
    CREATE ROLE free LOGIN;
    CREATE ROLE ana LOGIN;
    SET password_encryption = md5;
    CREATE ROLE old LOGIN PASSWORD 'geheim';";

const HBA: &str = "local all all scram-sha-256
hostssl all bound 127.0.0.1/32 scram-sha-256
hostssl all old 127.0.0.1/32 md5
hostssl all clear 127.0.0.1/32 password
hostssl all certified 127.0.0.1/32 cert
hostssl all free 127.0.0.1/32 trust
hostnossl all ana 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 scram-sha-256
";
