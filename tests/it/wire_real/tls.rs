//! TLS towards clients: psql as people use it, and clients that speak bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;

use portcullis::audit::Event;
use portcullis::config::Settings;
use portcullis::tls::server::{Certificates, Files};
use portcullis::wire::Auth;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::faults::until;
use crate::support::gateway::Stand;
use crate::wire_sim::rig::{query, word};

use super::raw::startup;
use super::{Raw, packet};

const SSL: [u8; 4] = [0x04, 0xd2, 0x16, 0x2f];

#[tokio::test(flavor = "multi_thread")]
async fn psql_connects_by_tls_and_is_bound_to_the_gateways_certificate() {
    let stand = Stand::start_with(|home, settings| speak_tls(home, settings, true)).await;
    let password = ("PGPASSWORD", stand.secrets["ana"].as_str());
    let root = format!("sslrootcert={}", stand.home.path().join("ca.pem").display());
    for options in [
        "sslmode=require".to_owned(),
        "sslmode=require channel_binding=require".to_owned(),
        format!("sslmode=verify-full {root} channel_binding=require"),
        "sslmode=require ssl_max_protocol_version=TLSv1.2 channel_binding=require".to_owned(),
    ] {
        let shown =
            psql(&stand, &format!("user=ana {options}"), &[password], "SELECT 'it ' || 'works'").await;
        assert!(shown.contains("it works"), "{options}: {shown}");
    }
    let refused = psql(&stand, "user=ana sslmode=disable", &[password], "SELECT 1").await;
    assert!(refused.contains("takes no unencrypted connections") && refused.contains("sslmode"), "{refused}");
    let other = tempfile::tempdir().unwrap();
    Authority::new(other.path()).issue(other.path(), "localhost");
    let stranger =
        format!("user=ana sslmode=verify-full sslrootcert={}", other.path().join("ca.pem").display());
    let refused = psql(&stand, &stranger, &[password], "SELECT 1").await;
    assert!(refused.contains("certificate verify failed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_a_proof_and_so_is_a_token_where_the_door_says_so() {
    let stand = Stand::start_with(|home, settings| {
        speak_tls(home, settings, true);
        settings.wire_door.auth = Auth::Token;
        let authority = Authority::new(&home.join("clients"));
        authority.issue_client(&home.join("clients"), "ana");
        Authority::new(&home.join("strangers")).issue_client(&home.join("strangers"), "ana");
        let file = home.join("agents/ana.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(file, text.replace("[auth]\n", "[auth]\ncertificate = { subject = \"CN=ana\" }\n"))
            .unwrap();
        let files = Files { client_ca: Some(home.join("clients/ca.pem")), ..files(home) };
        settings.wire_door.certificates = Some(Arc::new(Certificates::load(files).unwrap()));
    })
    .await;
    let shown_by = |folder: &str| {
        let folder = stand.home.path().join(folder);
        format!("sslmode=require sslcert={0}/cert.pem sslkey={0}/key.pem", folder.display())
    };
    let shown =
        psql(&stand, &format!("user=ana {}", shown_by("clients")), &[], "SELECT 'no ' || 'word'").await;
    assert!(shown.contains("no word"), "{shown}");
    let shown = psql(&stand, &format!("user=dora {}", shown_by("clients")), &[], "SELECT 1").await;
    assert!(shown.contains("no password supplied"), "another name needs another proof: {shown}");
    let shown = psql(&stand, &format!("user=ana {}", shown_by("strangers")), &[], "SELECT 1").await;
    assert!(shown.contains("unknown ca") || shown.contains("decrypt error"), "{shown}");
    let token = ("PGPASSWORD", stand.secrets["dora"].as_str());
    let shown = psql(&stand, "user=dora sslmode=require", &[token], "SELECT 'by ' || 'token'").await;
    assert!(shown.contains("by token"), "{shown}");
    let wrong = ("PGPASSWORD", stand.secrets["ana"].as_str());
    let shown = psql(&stand, "user=dora sslmode=require", &[wrong], "SELECT 1").await;
    assert!(shown.contains("password authentication failed for user \"dora\""), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_tls_must_name_the_protocol() {
    let stand = Stand::start_with(|home, settings| speak_tls(home, settings, true)).await;
    let hello = startup(&[("user", "ana"), ("database", "shop")]);
    let mut tls = shake_hands(&stand, tcp(&stand).await, &["postgresql"]).await.unwrap();
    tls.write_all(&hello).await.unwrap();
    assert_eq!(tls.read_u8().await.unwrap(), b'R');
    let mut unnamed = shake_hands(&stand, tcp(&stand).await, &[]).await.unwrap();
    unnamed.write_all(&hello).await.unwrap_or_default();
    assert!(unnamed.read_u8().await.is_err(), "closed without an answer");
    assert!(shake_hands(&stand, tcp(&stand).await, &["h2"]).await.is_err());
    // Negotiated TLS needs no name, because the request for it was one.
    let mut asked = Raw::connect(&stand).await;
    asked.send(&packet(&SSL)).await;
    assert_eq!(asked.stream.read_u8().await.unwrap(), b'S');
    let mut tls = shake_hands(&stand, asked.stream, &[]).await.unwrap();
    tls.write_all(&packet(&SSL)).await.unwrap();
    assert_eq!(tls.read_u8().await.unwrap(), b'E', "TLS within TLS");
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_behind_a_request_for_tls_is_fatal() {
    let stand = Stand::start_with(|home, settings| speak_tls(home, settings, false)).await;
    let hello = startup(&[("user", "ana"), ("database", "shop")]);
    let mut raw = Raw::connect(&stand).await;
    raw.send(&[packet(&SSL), hello].concat()).await;
    assert_eq!(word(&raw.frame().await.unwrap()), "E(08P01)");
    assert!(raw.frame().await.is_none());
    // Bytes that come after the answer are the client's handshake, or nothing.
    let mut raw = Raw::connect(&stand).await;
    raw.send(&packet(&SSL)).await;
    assert_eq!(raw.stream.read_u8().await.unwrap(), b'S');
    raw.send(&startup(&[("user", "ana"), ("database", "shop")])).await;
    let mut heard = Vec::new();
    raw.stream.read_to_end(&mut heard).await.unwrap_or_default();
    assert!(!heard.contains(&b'R'), "{heard:?}");
    let broken = |event: &Event| matches!(event, Event::Malformed { .. });
    until("both are on record", async || {
        stand.ledger().iter().filter(|entry| broken(&entry.record.event)).count() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_cancels_what_runs_and_what_waits() {
    let stand = Stand::start_with(|home, settings| speak_tls(home, settings, true)).await;
    let client = start_psql(&stand, "ana", "SELECT pg_sleep(600)").await;
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    until("it sleeps", async || {
        let admin = stand.cluster.connect("postgres").await.unwrap();
        admin.query_one(asleep, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    assert!(interrupt(client).await.contains("canceling statement due to user request"));
    let client = start_psql(&stand, "support-bot", "UPDATE orders SET status = 'x' WHERE id = 1").await;
    until("it waits", async || {
        let waits =
            |event: &Event| matches!(event, Event::ApprovalChanged { state, .. } if state == "pending");
        stand.ledger().iter().any(|entry| waits(&entry.record.event))
    })
    .await;
    assert!(interrupt(client).await.contains("canceling statement due to user request"));
    let accepted = |event: &Event| matches!(event, Event::Cancel { accepted: true });
    until("both are on record", async || {
        stand.ledger().iter().filter(|entry| accepted(&entry.record.event)).count() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_gets_no_answer_by_any_way() {
    let stand = Stand::start_with(|home, settings| speak_tls(home, settings, true)).await;
    let cancel = packet(&[&[0x04, 0xd2, 0x16, 0x2e][..], &[0, 0, 0, 7], &[9; 32]].concat());
    let mut plain = tcp(&stand).await;
    plain.write_all(&cancel).await.unwrap();
    assert_eq!(plain.read(&mut [0; 1]).await.unwrap(), 0);
    let mut direct = shake_hands(&stand, tcp(&stand).await, &["postgresql"]).await.unwrap();
    direct.write_all(&cancel).await.unwrap();
    assert!(!matches!(direct.read(&mut [0; 1]).await, Ok(1..)));
    let wrong = |event: &Event| matches!(event, Event::Cancel { accepted: false });
    until("both are on record", async || {
        stand.ledger().iter().filter(|entry| wrong(&entry.record.event)).count() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_put_in_force_and_sessions_go_on() {
    let stand = Stand::start_with(|home, settings| speak_tls(home, settings, false)).await;
    let home = stand.home.path();
    let presented = async || {
        let tls = shake_hands(&stand, tcp(&stand).await, &["postgresql"]).await.unwrap();
        tls.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let mut session = Raw::session(&stand, "ana").await;
    let before = presented().await;
    fs::write(home.join("cert.pem"), "nonsense").unwrap();
    let refused =
        |event: &Event| matches!(event, Event::Gateway { what } if what.contains("certificates refused"));
    until("the broken file is refused", async || {
        stand.ledger().iter().any(|entry| refused(&entry.record.event))
    })
    .await;
    assert_eq!(presented().await, before);
    // From here on the old one, of another authority, would be refused.
    Authority::new(home).issue(home, "localhost");
    let trusted = async || shake_hands(&stand, tcp(&stand).await, &["postgresql"]).await.is_ok();
    until("the new one is in force", trusted).await;
    assert_eq!(session.ask(&query("SELECT 1")).await, "T D C(SELECT 1) Z(I)");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_and_a_database_have_no_more_places_than_they_have() {
    let stand = Stand::start_with(|_, settings| {
        settings.wire_door.max_connections_per_identity = Some(2);
        settings.wire_door.max_connections_per_database = Some(3);
    })
    .await;
    let refused = async |user: &str| {
        let mut raw = Raw::connect(&stand).await;
        raw.prove(user, &stand.secrets[user], &startup(&[("user", user), ("database", "shop")])).await;
        raw.until_ready().await
    };
    let mut ana = vec![Raw::session(&stand, "ana").await, Raw::session(&stand, "ana").await];
    assert_eq!(refused("ana").await, "E(53300)");
    let _dora = Raw::session(&stand, "dora").await;
    assert_eq!(refused("dora").await, "E(53300)", "the database is full");
    drop(ana.pop());
    until("a place that was left can be taken", async || refused("dora").await.ends_with("Z(I)")).await;
    let full = |event: &Event| matches!(event, Event::Refused { reason, .. } if reason.contains("too many"));
    until("refusals are on record", async || {
        stand.ledger().iter().filter(|entry| full(&entry.record.event)).count() >= 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trust_asks_nobody_for_anything_and_the_rulebook_still_holds() {
    let stand = Stand::start_with(|_, settings| settings.wire_door.auth = Auth::Trust).await;
    let mut ana = Raw::connect(&stand).await;
    ana.send(&startup(&[("user", "ana"), ("database", "shop")])).await;
    assert!(ana.until_ready().await.ends_with("K Z(I)"));
    assert_eq!(ana.ask(&query("drop table customers")).await, "E(42501) Z(I)");
    let mut stranger = Raw::connect(&stand).await;
    stranger.send(&startup(&[("user", "postgres"), ("database", "shop")])).await;
    assert_eq!(stranger.until_ready().await, "E(3D000)", "nothing grants a stranger the shop");
}

/// An authority, and certificates that it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, called like its folder; its certificate is `ca.pem` in `folder`.
    fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, format!("of {}", folder.display()));
        fs::write(folder.join("ca.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
        Self { issuer: Issuer::new(parameters, key) }
    }

    /// A server's certificate: `cert.pem` and `key.pem` in `folder`.
    fn issue(&self, folder: &Path, name: &str) {
        self.write(folder, &CertificateParams::new(vec![name.to_owned()]).unwrap());
    }

    /// A client's certificate whose subject is `CN=name`.
    fn issue_client(&self, folder: &Path, name: &str) {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        self.write(folder, &parameters);
    }

    fn write(&self, folder: &Path, parameters: &CertificateParams) {
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let path = folder.join("key.pem");
        fs::write(&path, key.serialize_pem()).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    }
}

fn files(home: &Path) -> Files {
    Files { certificate: home.join("cert.pem"), key: home.join("key.pem"), client_ca: None }
}

/// Gives the gateway in `home` a certificate for `localhost`.
fn speak_tls(home: &Path, settings: &mut Settings, required: bool) {
    Authority::new(home).issue(home, "localhost");
    settings.wire_door.certificates = Some(Arc::new(Certificates::load(files(home)).unwrap()));
    settings.wire_door.tls_required = required;
}

async fn tcp(stand: &Stand) -> tokio::net::TcpStream {
    TcpSocket::new_v4().unwrap().connect(stand.gateway.addresses().wire).await.unwrap()
}

/// A TLS client that trusts the stand's authority, and names `protocols`.
async fn shake_hands(
    stand: &Stand,
    socket: tokio::net::TcpStream,
    protocols: &[&str],
) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let mut roots = RootCertStore::empty();
    let authority: PathBuf = stand.home.path().join("ca.pem");
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

/// Everything that psql prints, errors too.
async fn psql(stand: &Stand, options: &str, environment: &[(&str, &str)], sql: &str) -> String {
    let child = psql_command(stand, options, sql).envs(environment.iter().copied()).spawn().unwrap();
    said(child.wait_with_output().await.unwrap())
}

async fn start_psql(stand: &Stand, user: &str, sql: &str) -> Child {
    let password = &stand.secrets[user];
    psql_command(stand, &format!("user={user} sslmode=require"), sql)
        .env("PGPASSWORD", password)
        .spawn()
        .unwrap()
}

fn psql_command(stand: &Stand, options: &str, sql: &str) -> Command {
    let port = stand.gateway.addresses().wire.port();
    let target = format!("host=localhost hostaddr=127.0.0.1 port={port} dbname=shop {options}");
    let mut command = Command::new("psql");
    command
        .args(["-X", "-w", "-At", "-d", &target, "-c", sql])
        .env_remove("PGPASSWORD")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Presses Ctrl-C.
async fn interrupt(client: Child) -> String {
    let id = client.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    said(client.wait_with_output().await.unwrap())
}

fn said(output: Output) -> String {
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat()
}
