//! Start-ups as transcripts: what a client sends, what it is told.

use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};

use super::*;
use crate::identity::Proof;
use crate::identity::directory::AgentSource;
use crate::identity::scram::Verifier;
use crate::identity::token::TokenDigest;
use crate::protocol::frame::put;

const PASSWORD: &str = "correct horse";
const SSL: &[u8] = b"\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\x04\xd2\x16\x30";

fn packet(body: &[u8]) -> Vec<u8> {
    let mut packet = u32::try_from(body.len() + 4).unwrap().to_be_bytes().to_vec();
    packet.extend_from_slice(body);
    packet
}

/// The start-up packet of protocol 3.`minor` with `parameters`, `|` standing for NUL.
fn hello(minor: u8, parameters: &str) -> Vec<u8> {
    packet(&[&[0, 3, 0, minor], format!("{parameters}||").replace('|', "\0").as_bytes()].concat())
}

fn password(body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    put(&mut out, b'p', |frame| frame.extend_from_slice(body));
    out.to_vec()
}

fn sasl(mechanism: &str, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    password(&[mechanism.as_bytes(), b"\0", &length, message].concat())
}

fn directory() -> Directory {
    let verifier = Verifier::from_password(PASSWORD, b"0123456789abcdef", 4096);
    let token = TokenDigest::of(PASSWORD);
    let file = |name: &str, auth: &str| AgentSource {
        path: format!("{name}.toml"),
        text: format!("name = \"{name}\"\nkind = \"human\"\n{auth}"),
    };
    Directory::build(&[
        file("ana", &format!("[auth]\nscram = \"{verifier}\"\ntoken_sha256 = \"{token}\"\n")),
        file("carl", "[auth]\ncertificate = { subject = \"CN=carl\" }\n"),
        file("gone", "disabled = true\n[auth]\ncertificate = { subject = \"CN=carl\" }\n"),
    ])
    .unwrap()
}

fn terms(auth: Auth, tls: Encryption) -> Terms {
    let directory = if auth == Auth::Trust { directory().trusting() } else { directory() };
    Terms { directory: Arc::new(directory), default_database: None, auth, tls }
}

fn channel(subject: Option<&str>) -> Channel {
    let certificate =
        subject.map(|subject| PeerCertificate { subject: subject.to_owned(), fingerprint: [7; 32] });
    Channel::Tls { certificate, binding: Some(b"ours".to_vec()) }
}

/// A client and its start-up.
struct Client {
    startup: Startup,
    input: BytesMut,
    out: BytesMut,
}

impl Client {
    fn new(auth: Auth, tls: Encryption) -> Self {
        let startup = Startup::new(terms(auth, tls));
        Self { startup, input: BytesMut::new(), out: BytesMut::new() }
    }

    fn over(auth: Auth, channel: Channel) -> Self {
        let mut client = Self::new(auth, Encryption::Required);
        client.startup.encrypted(channel);
        client
    }

    /// Hands `bytes` in one at a time, up to the first thing that is not `More`.
    fn play(&mut self, bytes: &[u8]) -> Result<Progress, Rejection> {
        for byte in bytes {
            self.input.extend_from_slice(&[*byte]);
            let mut progress = self.startup.receive(&mut self.input, &mut self.out)?;
            if let Progress::Knock(_) = progress {
                self.startup.welcomed();
                progress = self.startup.receive(&mut self.input, &mut self.out)?;
            }
            if !matches!(progress, Progress::More) {
                return Ok(progress);
            }
        }
        Ok(Progress::More)
    }

    /// The rejection's SQLSTATE and message.
    fn refusal(&mut self, bytes: &[u8]) -> (String, String) {
        let rejection = self.play(bytes).unwrap_err();
        (rejection.fields.sqlstate().to_owned(), rejection.fields.message().to_owned())
    }

    fn heard(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| Frame::decode(Leg::Backend, &mut self.out).unwrap()).collect()
    }

    fn opening(&mut self, bytes: &[u8]) -> Opening {
        self.opening_after(bytes).unwrap()
    }

    fn opening_after(&mut self, bytes: &[u8]) -> Result<Opening, Rejection> {
        let Progress::Proven(opening) = self.play(bytes)? else { panic!("it is not proven") };
        Ok(*opening)
    }
}

#[test]
fn an_unknown_user_is_challenged_like_anybody() {
    for user in ["nobody", "ana", "carl", "gone"] {
        let mut client = Client::new(Auth::Scram, Encryption::Unavailable);
        client.play(&hello(0, &format!("user|{user}"))).unwrap();
        client.play(&sasl("SCRAM-SHA-256", b"n,,n=,r=abcdefghijklm")).unwrap();
        let kinds: Vec<u8> = client.heard().iter().map(|frame| frame.body[3]).collect();
        assert_eq!(kinds, [10, 11], "{user}: AuthenticationSASL, AuthenticationSASLContinue");
    }
}

#[test]
fn a_start_up_out_of_order_is_refused() {
    let login = hello(0, "user|ana");
    let table: [(&str, Vec<u8>, &str); 7] = [
        ("a query before the password", [&login[..], b"Q\0\0\0\x05\0"].concat(), "08P01"),
        ("another mechanism", [&login[..], &sasl("PLAIN", b"")].concat(), "08P01"),
        (
            "a mechanism that was not offered",
            [&login[..], &sasl("SCRAM-SHA-256-PLUS", b"")].concat(),
            "08P01",
        ),
        ("a cut SASL message", [&login[..], &password(b"SCRAM-SHA-256\0\0\0")].concat(), "08P01"),
        ("no SCRAM in it", [&login[..], &sasl("SCRAM-SHA-256", b"x")].concat(), "08P01"),
        ("no user", packet(b"\0\x03\0\0\0"), "28000"),
        ("protocol 4", packet(b"\0\x04\0\0user\0ana\0\0"), "0A000"),
    ];
    for (what, bytes, code) in table {
        assert_eq!(Client::new(Auth::Scram, Encryption::Unavailable).refusal(&bytes).0, code, "{what}");
    }
}

#[test]
fn what_is_no_start_up_gets_no_answer() {
    let table: [&[u8]; 6] = [
        b"\0\0\0\0",
        b"\0\0\0\x07",
        b"\xff\xff\xff\xff",
        b"GET / HTTP/1.1",
        b"\x16\x03\x01",
        b"\0\0\x27\x15",
    ];
    for bytes in table {
        let mut client = Client::new(Auth::Scram, Encryption::Unavailable);
        let rejection = client.play(bytes).unwrap_err();
        assert_eq!((rejection.fault, client.out.is_empty()), (Fault::Noise, true), "{bytes:?}");
    }
    let mut longest = hello(0, &format!("user|ana|application_name|{}", "x".repeat(9_968)));
    assert_eq!(longest.len(), 10_004);
    assert!(matches!(Client::new(Auth::Scram, Encryption::Unavailable).play(&longest), Ok(Progress::More)));
    longest[3] += 1;
    let rejection = Client::new(Auth::Scram, Encryption::Unavailable).play(&longest).unwrap_err();
    assert_eq!(rejection.fault, Fault::Noise);
}

#[test]
fn requests_for_encryption_are_answered_once_in_any_order() {
    for (requests, answers) in [(&[SSL][..], "N"), (&[GSS], "N"), (&[SSL, GSS], "NN"), (&[GSS, SSL], "NN")] {
        let mut client = Client::new(Auth::Scram, Encryption::Unavailable);
        for request in requests {
            client.play(&packet(request)).unwrap();
        }
        assert_eq!(client.out, answers);
        client.play(&hello(0, "user|ana")).unwrap();
        let (code, message) =
            Client::new(Auth::Scram, Encryption::Unavailable).refusal(&packet(requests[0]).repeat(2));
        assert_eq!(code, "0A000");
        assert!(message.starts_with("unsupported frontend protocol 1234.56"), "{message}");
    }
}

#[test]
fn tls_is_spoken_with_whoever_asks_and_only_once() {
    let mut client = Client::new(Auth::Scram, Encryption::Offered);
    client.play(&packet(GSS)).unwrap();
    assert!(matches!(client.play(&packet(SSL)), Ok(Progress::Encrypt)));
    assert_eq!(client.out, "NS");
    client.startup.encrypted(channel(None));
    let (code, message) = client.refusal(&packet(SSL));
    assert_eq!((code.as_str(), message.contains("1234.5679")), ("0A000", true), "{message}");
    for request in [SSL, GSS] {
        let mut direct = Client::over(Auth::Scram, channel(None));
        assert_eq!(direct.refusal(&packet(request)).0, "0A000", "encryption within direct TLS");
        let mut asked = Client::new(Auth::Scram, Encryption::Offered);
        assert!(matches!(asked.play(&packet(SSL)), Ok(Progress::Encrypt)));
        asked.startup.encrypted(channel(None));
        assert_eq!(asked.refusal(&packet(request)).0, "0A000", "encryption within TLS");
    }
}

/// CVE-2021-23214: what a man in the middle sends behind a request must not be taken for what the client sends
/// once it is encrypted.
#[test]
fn plaintext_behind_a_request_for_encryption_ends_the_connection() {
    for request in [SSL, GSS] {
        for behind in [&b"\0"[..], &hello(0, "user|ana"), &packet(GSS), b"\x16\x03\x01"] {
            for tls in [Encryption::Unavailable, Encryption::Offered, Encryption::Required] {
                let mut client = Client::new(Auth::Scram, tls);
                client.input.extend_from_slice(&[&packet(request)[..], behind].concat());
                let refused = client.startup.receive(&mut client.input, &mut client.out).unwrap_err();
                assert_eq!((refused.fields.sqlstate(), refused.fault), ("08P01", Fault::Protocol));
                assert!(client.out.is_empty(), "nothing was answered");
            }
        }
    }
}

#[test]
fn where_tls_is_required_only_a_cancel_comes_without_it() {
    let (code, message) = Client::new(Auth::Scram, Encryption::Required).refusal(&hello(0, "user|ana"));
    assert_eq!((code.as_str(), message.contains("unencrypted")), ("28000", true), "{message}");
    let (code, _) = Client::new(Auth::Trust, Encryption::Required).refusal(&hello(0, "user|ana"));
    assert_eq!(code, "28000");
    let cancel =
        Client::new(Auth::Scram, Encryption::Required).play(&packet(b"\x04\xd2\x16\x2e\0\0\0\x07\0\0\0\x09"));
    assert!(matches!(cancel, Ok(Progress::Cancel { process: 7, .. })));
}

#[test]
fn a_protocol_is_agreed_on_as_postgresql_18_does_it() {
    let negotiated = |minor: u8, parameters: &str| {
        let mut client = Client::new(Auth::Scram, Encryption::Unavailable);
        client.play(&hello(minor, parameters)).unwrap();
        let first = client.heard().remove(0);
        (first.tag == b'v').then(|| String::from_utf8_lossy(&first.body).replace('\0', "."))
    };
    assert_eq!(negotiated(0, "user|ana"), None);
    assert_eq!(negotiated(2, "user|ana"), None);
    assert_eq!(negotiated(3, "user|ana").unwrap(), ".\u{3}.\u{2}....");
    assert_eq!(negotiated(200, "user|ana").unwrap(), ".\u{3}.\u{2}....");
    assert_eq!(negotiated(0, "user|ana|_pq_.x|1|_pq_.y|1").unwrap(), ".\u{3}.....\u{2}_pq_.x._pq_.y.");
    let mut trusted = Client::new(Auth::Trust, Encryption::Unavailable);
    let opening = trusted.opening(&hello(9, "user|ana|_pq_.x|1"));
    assert_eq!(opening.minor, 2);
    assert!(opening.settings.is_empty(), "an extension is no setting");
}

#[test]
fn settings_come_from_options_and_parameters_and_the_last_word_counts() {
    let mut client = Client::new(Auth::Trust, Encryption::Unavailable);
    let parameters = r"user|x|user|ana|DateStyle|ISO|options|-e|options|-c DATESTYLE=sql -c jit=off --a-b=1\ 2|TimeZone|UTC|application_name|psql";
    let opening = client.opening(&hello(0, parameters));
    assert_eq!((opening.identity.name(), opening.database.as_str()), ("ana", "ana"));
    assert_eq!(opening.application, "psql");
    let settings: Vec<String> =
        opening.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(settings, ["jit=off", "a_b=1 2", "DateStyle=ISO", "TimeZone=UTC", "application_name=psql"]);
    let (code, message) = Client::new(Auth::Trust, Encryption::Unavailable)
        .refusal(&hello(0, "user|ana|options|-c jit=off -e"));
    assert_eq!(code, "42601");
    assert_eq!(message, "invalid command-line argument for server process: -e");
}

#[test]
fn scram_is_bound_to_the_channel() {
    let log_in = |offered: &Channel, theirs: ChannelBinding, mechanism: &str| {
        let mut client = Client::over(Auth::Scram, offered.clone());
        let mut scram = ScramSha256::new(PASSWORD.as_bytes(), theirs);
        client.play(&hello(0, "user|ana"))?;
        assert_eq!(&client.heard()[0].body[4..], b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
        client.play(&sasl(mechanism, scram.message()))?;
        scram.update(&client.heard()[0].body[4..]).unwrap();
        Ok(client.opening_after(&password(scram.message()))?.identity.proof())
    };
    let (plain, plus) = ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS");
    let binding = |hash: &[u8]| ChannelBinding::tls_server_end_point(hash.to_vec());
    let code = |refused: Result<Proof, Rejection>| refused.unwrap_err().fields.sqlstate().to_owned();
    let ours = channel(None);
    assert_eq!(log_in(&ours, binding(b"ours"), plus), Ok(Proof::Scram));
    assert_eq!(log_in(&ours, ChannelBinding::unsupported(), plain), Ok(Proof::Scram));
    assert_eq!(code(log_in(&ours, binding(b"of a man in the middle"), plus)), "28000");
    assert_eq!(code(log_in(&ours, ChannelBinding::unrequested(), plain)), "28000", "PLUS was taken out");
    assert_eq!(code(log_in(&ours, binding(b"ours"), plain)), "08P01");
}

#[test]
fn a_token_is_taken_in_clear_over_tls_only_and_says_nothing_about_who_exists() {
    for user in ["ana", "nobody", "carl", "gone"] {
        let mut client = Client::over(Auth::Token, channel(None));
        client.play(&hello(0, &format!("user|{user}"))).unwrap();
        assert_eq!(&client.heard()[0].body[..], [0, 0, 0, 3], "{user}: AuthenticationCleartextPassword");
        let (code, message) = client.refusal(&password(b"wrong\0"));
        assert_eq!(code, "28P01");
        assert_eq!(message, format!("password authentication failed for user \"{user}\""));
    }
    let mut client = Client::over(Auth::Token, channel(None));
    let opening = client.opening(&[hello(0, "user|ana"), password(b"correct horse\0")].concat());
    assert_eq!((opening.identity.name(), opening.identity.proof()), ("ana", Proof::Token));
    let mut plain = Client::new(Auth::Token, Encryption::Offered);
    plain.play(&hello(0, "user|ana")).unwrap();
    assert_eq!(&plain.heard()[0].body[..4], [0, 0, 0, 10], "AuthenticationSASL");
    for broken in [&b""[..], b"correct horse", b"correct horse\0\0", b"\xff\0"] {
        let mut client = Client::over(Auth::Token, channel(None));
        client.play(&hello(0, "user|ana")).unwrap();
        assert_eq!(client.refusal(&password(broken)).0, "08P01", "{broken:?}");
    }
}

#[test]
fn a_certificate_proves_the_identity_that_names_it_and_no_other() {
    for auth in [Auth::Scram, Auth::Token, Auth::Trust] {
        let opening = Client::over(auth, channel(Some("CN=carl"))).opening(&hello(0, "user|carl"));
        assert_eq!((opening.identity.name(), opening.identity.proof()), ("carl", Proof::Certificate));
    }
    for (user, subject) in [
        ("carl", None),
        ("carl", Some("CN=Carl")),
        ("carl", Some("CN=carl,O=Elsewhere")),
        ("ana", Some("CN=carl")),
        ("gone", Some("CN=carl")),
    ] {
        let mut client = Client::over(Auth::Scram, channel(subject));
        assert!(matches!(client.play(&hello(0, &format!("user|{user}"))), Ok(Progress::More)));
        assert_eq!(&client.heard()[0].body[..4], [0, 0, 0, 10], "{user} {subject:?} is asked for a password");
    }
}

#[test]
fn nobody_is_asked_for_a_proof_before_they_are_welcome() {
    let mut client = Client::new(Auth::Scram, Encryption::Unavailable);
    client.input.extend_from_slice(&hello(0, "user|ana|application_name|psql"));
    let Ok(Progress::Knock(arrival)) = client.startup.receive(&mut client.input, &mut client.out) else {
        panic!("it does not knock");
    };
    assert_eq!((arrival.user.as_str(), arrival.application.as_str()), ("ana", "psql"));
    assert!(client.out.is_empty(), "nothing is said before");
    for _ in 0..3 {
        let again = client.startup.receive(&mut client.input, &mut client.out);
        assert!(matches!(again, Ok(Progress::More)) && client.out.is_empty());
    }
    client.startup.welcomed();
    client.startup.receive(&mut client.input, &mut client.out).unwrap();
    assert!(client.out.starts_with(b"R"), "now it is asked");
}

#[test]
fn trust_believes_any_name_that_is_not_disabled() {
    let believed = |user: &str| {
        Client::new(Auth::Trust, Encryption::Unavailable).opening(&hello(0, &format!("user|{user}"))).identity
    };
    assert_eq!(
        (believed("ana").proof(), believed("ana").kind()),
        (Proof::Trust, crate::identity::Kind::Human)
    );
    assert_eq!((believed("postgres").name(), believed("postgres").groups()), ("postgres", &[][..]));
    let (code, _) = Client::new(Auth::Trust, Encryption::Unavailable).refusal(&hello(0, "user|gone"));
    assert_eq!(code, "28000");
    let unbelieving =
        Terms { directory: Arc::new(directory()), ..terms(Auth::Trust, Encryption::Unavailable) };
    let mut startup = Startup::new(unbelieving);
    let mut input = BytesMut::from(&hello(0, "user|postgres")[..]);
    assert!(matches!(startup.receive(&mut input, &mut BytesMut::new()), Ok(Progress::Knock(_))));
    startup.welcomed();
    assert!(startup.receive(&mut input, &mut BytesMut::new()).is_err(), "the directory has the last word");
}

#[test]
fn nobody_is_welcomed_by_a_server_with_other_lexing_settings() {
    let server = |name: &str, value: &str| readable(&[(name.to_owned(), value.to_owned())]);
    assert!(server("client_encoding", "LATIN1").is_err());
    assert!(server("standard_conforming_strings", "off").is_err());
    assert!(server("client_encoding", "UTF8").is_ok());
}
