//! SIGHUP: everything that can be read again is read again, and nobody's session notices.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, Command, Stdio};

use rcgen::{CertificateParams, KeyPair};
use tokio_postgres::NoTls;

use crate::support::Database;

use super::Place;

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reads_rules_and_certificates_again_and_ends_no_session() {
    let database = Database::with("CREATE TABLE t (id int)").await;
    let url = format!(
        "postgres://{}@127.0.0.1:{}/{}",
        database.cluster.superuser(),
        database.cluster.port(),
        database.name
    );
    let place = Place::new(&url, database.cluster.password());
    place.replace("portcullis.toml", "[[database]]", "[[database]]\naccept = [\"superuser\"]");
    place.certify("door");
    place.replace(
        "portcullis.toml",
        "[wire]",
        "[wire]\nauth = \"trust\"\ntls = { cert = \"door.pem\", key = \"door.key\" }",
    );
    place.agent("ana", ANA);
    let mut running = Running::start(&place);
    let (client, connection) = tokio_postgres::connect(&running.target("ana"), NoTls).await.unwrap();
    let session = tokio::spawn(connection);
    client.simple_query("BEGIN").await.unwrap();
    for _ in 0..2 {
        running.hang_up();
        running.says(&["rules.replaced", "certificates.replaced"]);
    }
    place.agent("ana", &format!("no_such_key = 1\n{ANA}"));
    place.write("door.pem", "no certificate");
    running.hang_up();
    running.says(&["rules.refused", "certificates.refused"]);
    client.simple_query("SELECT 1").await.unwrap();
    client.simple_query("COMMIT").await.unwrap();
    assert!(!session.is_finished(), "the session has ended");
    running.stop();
}

#[test]
fn a_hangup_does_not_end_a_gateway_without_certificates() {
    let place = Place::without_database();
    let mut running = Running::start(&place);
    running.hang_up();
    running.says(&["rules.replaced"]);
    running.stop();
}

impl Place {
    /// `NAME.pem` and `NAME.key`: a certificate and its key.
    fn certify(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(self.folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(self.folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// The program, serving. It ends with the test.
struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    port: u16,
}

impl Running {
    fn start(place: &Place) -> Self {
        let mut child = place.command(&["serve"]).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let started =
            lines.by_ref().map(Result::unwrap).find(|line| line.contains("gateway.started")).unwrap();
        let address: String =
            started.split("127.0.0.1:").nth(1).unwrap().chars().take_while(char::is_ascii_digit).collect();
        Self { child, lines, port: address.parse().unwrap() }
    }

    fn target(&self, user: &str) -> String {
        format!("host=127.0.0.1 port={} user={user} dbname=shop", self.port)
    }

    fn hang_up(&self) {
        self.signal("-HUP");
    }

    /// Waits until it has said all of `words`, in any order.
    fn says(&mut self, words: &[&str]) {
        let mut missing = words.to_vec();
        while !missing.is_empty() {
            let line =
                self.lines.next().unwrap_or_else(|| panic!("it ended without saying {missing:?}")).unwrap();
            missing.retain(|word| !line.contains(word));
        }
    }

    fn stop(mut self) {
        self.signal("-TERM");
        self.lines.by_ref().for_each(drop);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
    }
}

const ANA: &str = "kind = \"human\"\n[scope.shop]\nread = [\"public.*\"]\n";
