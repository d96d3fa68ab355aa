//! Every type of message in every state of a session: what may come, what passes, what ends it. The letters are the
//! types' bytes, as in PostgreSQL's documentation.

use portcullis::protocol::backend::MessageType;
use portcullis::protocol::frame::{Frame, Leg};

use super::messages::sample;
use super::rig::{Client, Rig, bind, close, describe, execute, message, parse, query, sync};

const INSERT: &str = "insert into orders (id, status) values ('9', 'new')";

/// How a session gets to where it is: what its client says, and what the server has answered by then.
type Steps = fn() -> Vec<(Vec<u8>, &'static [u8])>;

/// A state, who is in it, how it comes about, and which types of the server's messages may come in it. Any other ends the
/// session: the two sides no longer agree on whose answer this is.
const AFTER: [(&str, &str, Steps, &str); 23] = [
    ("nothing", "bot", Vec::new, "AENS"),
    ("a Query", "bot", || vec![(query(INSERT), b"")], "ACDEGHINSTZ"),
    ("a Query that failed", "bot", || vec![(query(INSERT), b"E")], "AENSZ"),
    ("a Query that was denied", "bot", denied, "AENS"),
    ("a Parse", "bot", || vec![(parse("a", INSERT), b"")], "1AENS"),
    ("a Parse that was denied", "bot", || vec![(parse("a", "drop table orders"), b"")], "AENS"),
    ("a Bind", "bot", || vec![(parse("a", INSERT), b"1"), (bind("", "a"), b"")], "2AENS"),
    (
        "Describe of a statement",
        "bot",
        || vec![(parse("a", INSERT), b"1"), (describe(b'S', "a"), b"")],
        "AENSt",
    ),
    ("its parameters", "bot", || vec![(parse("a", INSERT), b"1"), (describe(b'S', "a"), b"t")], "AENSTn"),
    ("Describe of a portal", "bot", || [bound(), vec![(describe(b'P', ""), b"")]].concat(), "AENSTn"),
    ("an Execute", "bot", || [bound(), vec![(execute("", 0), b"n")]].concat(), "ACDEGHINSs"),
    ("an Execute of COPY", "bot", || [bound(), vec![(execute("", 0), b"nG")]].concat(), "ACENS"),
    ("a Close", "bot", || vec![(close(b'S', "a"), b"")], "3AENS"),
    ("a Sync", "bot", || vec![(sync(), b"")], "AENSZ"),
    ("a COPY to the server", "bot", || vec![(query("copy orders from stdin"), b"G")], "ACENS"),
    ("a COPY to the client", "bot", || vec![(query("copy orders to stdout"), b"31TCH")], "AENScd"),
    ("a guard", "bot", || vec![(query("copy orders to stdout"), b"31")], "ACENST"),
    ("its rows' description", "bot", || vec![(query("copy orders to stdout"), b"31T")], "ACENST"),
    ("its failure", "bot", || vec![(query("copy orders to stdout"), b"31E")], "AENSZ"),
    ("a guarded Query", "bot", || vec![(query("copy orders to stdout"), b"31TC")], "ACDEGHINSTZ"),
    ("a replication", "dba", || vec![(query("start_replication slot s"), b"W")], "AENScd"),
    ("a FunctionCall", "dba", || vec![(call(), b"")], "AENSV"),
    ("its result", "dba", || vec![(call(), b"V")], "AENSZ"),
];

#[test]
fn a_server_can_say_what_answers_and_nothing_else() {
    let rig = Rig::new();
    for (state, name, steps, may_come) in AFTER {
        let passes = |kind: &MessageType| stepped(&rig, name, steps).arrive(&sample(*kind)).is_ok();
        let mut came: Vec<char> =
            MessageType::ALL.into_iter().filter(passes).map(|kind| kind.tag() as char).collect();
        came.sort_unstable();
        assert_eq!(came.into_iter().collect::<String>(), may_come, "after {state}");
    }
}

/// A state, who is in it, how it comes about; then which types of a client's messages go up in it as what they are, and
/// which end the session. Of the others the gate knows a better answer, or PostgreSQL ignores them too, or they wait.
const SAID: [(&str, &str, Steps, &str, &str); 8] = [
    ("nothing", "bot", Vec::new, "CDHPQSX", "p"),
    ("nothing, unjudged", "dba", Vec::new, "BCDEFHPQSX", "p"),
    ("a Query", "bot", || vec![(query(INSERT), b"")], "", ""),
    ("a Bind", "bot", bound, "CDEHPQSX", "p"),
    ("an error", "bot", || vec![(parse("a", INSERT), b"E")], "SX", "p"),
    ("a COPY to the server", "bot", || vec![(query("copy orders from stdin"), b"G")], "Xcdf", "BCDEFPQp"),
    ("a COPY to the client", "bot", || vec![(query("copy orders to stdout"), b"31TCH")], "", ""),
    ("a replication", "dba", || vec![(query("start_replication slot s"), b"W")], "Xcdf", "BCDEFPQp"),
];

#[test]
fn a_client_can_say_what_postgresql_takes_and_nothing_else() {
    let rig = Rig::new();
    for (state, name, steps, goes_up, ends) in SAID {
        let (mut went, mut ended) = (String::new(), String::new());
        for bytes in client_samples() {
            let mut client = stepped(&rig, name, steps);
            client.input.extend_from_slice(&bytes);
            let tag = bytes[0] as char;
            match client.feed() {
                Ok(_) => {
                    client.judge();
                    let mut up = client.session.outbox().take();
                    let mut sent = std::iter::from_fn(|| Frame::decode(Leg::Frontend, &mut up).unwrap());
                    // A text goes up as it was understood.
                    if sent.any(|sent| sent.to_bytes() == bytes || (sent.tag, tag) == (b'Q', 'Q')) {
                        went.push(tag);
                    }
                }
                Err(_) => ended.push(tag),
            }
        }
        assert_eq!((went.as_str(), ended.as_str()), (goes_up, ends), "after {state}");
    }
}

/// A session of `name` that has come to a state. Nobody answers behind it.
fn stepped(rig: &Rig, name: &str, steps: Steps) -> Client {
    let mut client = rig.client(name);
    for (said, answers) in steps() {
        client.input.extend_from_slice(&said);
        while client.feed().unwrap() | client.judge() {}
        for answer in answers {
            client.arrive(&sample(MessageType::of(*answer).unwrap())).unwrap();
        }
    }
    drop(client.session.outbox().take());
    client
}

/// A statement that was prepared and bound.
fn bound() -> Vec<(Vec<u8>, &'static [u8])> {
    vec![(parse("a", INSERT), b"1"), (bind("", "a"), b"2")]
}

/// A transaction is open, so the server must be made to fail.
fn denied() -> Vec<(Vec<u8>, &'static [u8])> {
    vec![(parse("a", INSERT), b"1"), (query("drop table orders"), b"")]
}

fn call() -> Vec<u8> {
    message(b'F', |body| body.extend_from_slice(&[0; 10]))
}

/// A well-formed message of each type that a client has, in the order of the types.
fn client_samples() -> [Vec<u8>; 14] {
    let empty = |tag| message(tag, |_| {});
    [
        bind("", "b"),
        close(b'P', "b"),
        describe(b'P', "b"),
        execute("", 0),
        call(),
        empty(b'H'),
        parse("b", INSERT),
        query(INSERT),
        sync(),
        empty(b'X'),
        empty(b'c'),
        message(b'd', |body| body.extend_from_slice(b"1\tx\n")),
        message(b'f', |body| body.extend_from_slice(b"no\0")),
        message(b'p', |body| body.extend_from_slice(b"x\0")),
    ]
}
