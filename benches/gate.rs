//! What the gate and the ledger cost a statement, without sockets. `cargo bench` prints a table.
//!
//! The statement is pgbench's, the rulebook is the one that ships, and the ledger is in a temporary folder with
//! `durability = "os"`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that can't be set up has nothing to measure"
)]

use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as Polling, Poll, Waker};

use bytes::Bytes;
use divan::{Bencher, black_box};
use jiff::Timestamp;
use portcullis::approval::Desk;
use portcullis::audit::{Durability, Event, Ledger, Record, Settings};
use portcullis::catalog::{Column, Relation, RelationKind, RowSecurity, Snapshot};
use portcullis::clock::{Clock, SystemClock};
use portcullis::gate::{
    Act, Authorized, Bind, CatalogError, Catalogs, Connect, Context, Door, Gate, Names, Parameters, Parts,
    Prepare, Query, Rules, Silent, Workers,
};
use portcullis::identity::directory::{AgentSource, Directory};
use portcullis::identity::token::TokenDigest;
use portcullis::identity::{Identity, Kind};
use portcullis::mask::{Masks, rewrite};
use portcullis::policy::input::{BindInput, IdentityInput, Time};
use portcullis::policy::{self, Digested, Source, StatementInput};
use portcullis::sql::{Analysis, Statement, analyze};
use portcullis::store::Store;
use portcullis::upstream::Outbox;
use tempfile::TempDir;

fn main() {
    divan::main();
}

#[divan::bench]
fn facts_cold(bencher: Bencher<'_, '_>) {
    let (catalog, statement) = (catalog(), statement(READ));
    bencher.bench(|| analyze(black_box(&statement), &catalog).unwrap());
}

#[divan::bench]
fn rewrite_without_masks(bencher: Bencher<'_, '_>) {
    let (catalog, analysis) = (catalog(), analysis());
    bencher.bench(|| rewrite(READ, &analysis.items()[0], black_box(&Masks::default()), &catalog));
}

#[divan::bench]
fn decision_cold(bencher: Bencher<'_, '_>) {
    let (policy, analysis) = (rules().policy, analysis());
    bencher.bench(|| policy.decide(black_box(&input(&analysis))));
}

#[divan::bench]
fn decision_cached(bencher: Bencher<'_, '_>) {
    let (policy, analysis) = (rules().policy, analysis());
    let digested = Digested::new(Arc::clone(&analysis.items()[0].facts));
    bencher.bench(|| policy.recall_or_decide(black_box(&input(&analysis)), &digested));
}

#[divan::bench]
fn decision_cached_on_new_facts(bencher: Bencher<'_, '_>) {
    let (policy, analysis) = (rules().policy, analysis());
    let fresh = || Digested::new(Arc::clone(&analysis.items()[0].facts));
    bencher.with_inputs(fresh).bench_values(|digested| policy.recall_or_decide(&input(&analysis), &digested));
}

/// A Bind whose decision is known, with its record and its outcome's.
#[divan::bench]
fn admit_bind_cached(bencher: Bencher<'_, '_>) {
    let stage = Stage::new();
    let (prepared, receipt) = Outbox::new().prepare(ready(stage.admit(stage.prepare())));
    drop(receipt);
    bencher.bench(|| {
        let bind = Bind {
            context: Arc::clone(&stage.context),
            prepared: Arc::clone(&prepared),
            statement_name: "P0_0".into(),
            portal: String::new(),
            parameters: Parameters {
                formats: Vec::new(),
                values: vec![Some(Bytes::from_static(b"123"))],
                result_formats: Vec::new(),
            },
            names: Names::default(),
        };
        ready(stage.admit(bind))
    });
}

/// A Parse of a text that is known, with its record and its outcome's.
#[divan::bench]
fn admit_prepare_cached(bencher: Bencher<'_, '_>) {
    let stage = Stage::new();
    bencher.bench(|| ready(stage.admit(stage.prepare())));
}

/// A Query string that is known.
#[divan::bench]
fn admit_query_known(bencher: Bencher<'_, '_>) {
    let stage = Stage::new();
    bencher.bench(|| ready(stage.admit(stage.query(READ))));
}

/// A Query string that never came before, but for its literals.
#[divan::bench]
fn admit_query_with_fresh_literals(bencher: Bencher<'_, '_>) {
    let stage = Stage::new();
    let number = AtomicU64::new(0);
    bencher.bench(|| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        let text = format!("SELECT abalance FROM pgbench_accounts WHERE aid = {number}");
        ready(stage.admit(stage.query(&text)))
    });
}

/// One record, and the outcome of the one before, in one write.
#[divan::bench]
fn ledger_append(bencher: Bencher<'_, '_>) {
    let (_folder, ledger) = ledger();
    bencher.bench(|| {
        ledger.note(outcome());
        ready(ledger.append(outcome())).unwrap()
    });
}

/// 64 outcomes and a record, in one write.
#[divan::bench]
fn ledger_append_batch_of_65(bencher: Bencher<'_, '_>) {
    let (_folder, ledger) = ledger();
    bencher.bench(|| {
        (0..64).for_each(|_| ledger.note(outcome()));
        ready(ledger.append(outcome())).unwrap()
    });
}

/// A gate with the rulebook that ships, and a session of a person.
struct Stage {
    gate: Gate,
    who: Identity,
    context: Arc<Context>,
    _folder: TempDir,
}

impl Stage {
    fn new() -> Self {
        let (folder, ledger) = ledger();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let gate = Gate::new(Parts {
            catalogs: Arc::new(Fixed(Arc::new(catalog()))),
            rules: rules(),
            desk: Desk::new(Store::in_memory().unwrap(), Arc::clone(&clock)).unwrap(),
            ledger,
            clock,
            workers: Workers::start(1, 64).unwrap(),
            console_url: String::new(),
        })
        .unwrap();
        let who = gate.authenticate(TOKEN, Door::Wire, "").unwrap();
        let connect = Connect {
            door: Door::Wire,
            database: "bank".into(),
            client: "127.0.0.1:54321".into(),
            application: "pgbench".into(),
            settings: Vec::new(),
            tls: false,
        };
        let context = Arc::clone(ready(gate.admit(&who, connect, &Silent)).unwrap().context());
        Self { gate, who, context, _folder: folder }
    }

    async fn admit<A: Act>(&self, act: A) -> Authorized<A> {
        self.gate.admit(&self.who, act, &Silent).await.unwrap()
    }

    fn prepare(&self) -> Prepare {
        Prepare {
            context: Arc::clone(&self.context),
            sql: statement(PREPARED),
            name: "P0_0".into(),
            parameter_types: Vec::new(),
            names: Names::default(),
        }
    }

    fn query(&self, text: &str) -> Query {
        Query { context: Arc::clone(&self.context), sql: statement(text), names: Names::default() }
    }
}

#[derive(Debug)]
struct Fixed(Arc<Snapshot>);

impl Catalogs for Fixed {
    fn current(&self, _database: &str) -> Option<Arc<Snapshot>> {
        Some(Arc::clone(&self.0))
    }

    fn refresh<'a>(
        &'a self,
        _database: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<Snapshot>, CatalogError>> + Send + 'a>> {
        Box::pin(async { Ok(Arc::clone(&self.0)) })
    }

    fn names(&self) -> Vec<String> {
        vec!["bank".into()]
    }

    fn roles(&self, _database: &str) -> Option<&[String]> {
        Some(&[])
    }
}

/// The result of a future that waits for nobody: at most it lets others queue their records first.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..MOST_TURNS {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Polling::from_waker(Waker::noop())) {
            return value;
        }
    }
    unreachable!("it waits")
}

/// How often an admission may let others go first.
const MOST_TURNS: usize = 100;

fn ledger() -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::new(folder.path().join("ledger"), Durability::Os);
    let ledger = Ledger::open(&settings, Timestamp::UNIX_EPOCH).unwrap();
    (folder, ledger)
}

fn outcome() -> Record {
    Record {
        at: Timestamp::UNIX_EPOCH,
        decision_id: "0123456789abcdef0123456789abcdef".into(),
        session_id: "0123456789abcdef0123456789abcdef".into(),
        identity: "teller".into(),
        owner: "".into(),
        door: "wire".into(),
        client: "127.0.0.1:54321".into(),
        database: "bank".into(),
        event: Event::Settled {
            outcome: "ok".into(),
            tag: "SELECT 1".into(),
            sqlstate: String::new(),
            rows: 1,
            duration_ms: 1,
            why: String::new(),
            found: Default::default(),
        },
    }
}

fn rules() -> Rules {
    let agent = format!(
        "name = \"teller\"\nkind = \"human\"\ngroups = [\"dba\"]\n[auth]\ntoken_sha256 = \"{}\"\n\
         [scope.bank]\nread = [\"public.*\"]\n",
        TokenDigest::of(TOKEN)
    );
    let directory = Directory::build(&[AgentSource { path: "teller.toml".into(), text: agent }]).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut sources = Vec::new();
    gather(&root, &root, &mut sources);
    let policy = policy::Snapshot::build(&sources, &directory.to_data()).unwrap();
    Rules { policy, directory: Arc::new(directory) }
}

fn gather(root: &Path, folder: &Path, into: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(root, &path, into);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            into.push(Source::file(name, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn input(analysis: &Analysis) -> StatementInput<'_> {
    let teller = IdentityInput::named("teller", Kind::Human);
    let time = Time::at(Timestamp::UNIX_EPOCH, &[]);
    StatementInput {
        bind: BindInput { known: true, ..BindInput::default() },
        ..StatementInput::plain(teller, "bank", "wire", &analysis.items()[0].facts, time)
    }
}

fn statement(text: &str) -> Statement {
    Statement::new(text.as_bytes(), Statement::WIRE_CAP).unwrap()
}

fn analysis() -> Analysis {
    analyze(&statement(READ), &catalog()).unwrap()
}

/// pgbench's table among four hundred others, as many as `pg_catalog` has.
fn catalog() -> Snapshot {
    let column = |name: &str, number| Column {
        name: name.into(),
        number,
        type_oid: 23,
        type_name: "integer".into(),
        base_type_oid: 23,
        base_type_kind: 'b',
        base_type_category: 'N',
        collation: None,
        not_null: true,
        generated: false,
        comment: None,
        security_labels: Vec::new(),
    };
    let table = |oid: u32, name: String| Relation {
        oid,
        schema: "public".into(),
        name,
        kind: RelationKind::Table,
        columns: vec![column("aid", 1), column("bid", 2), column("abalance", 3), column("filler", 4)],
        primary_key: vec!["aid".into()],
        parents: Vec::new(),
        definition: None,
        row_estimate: 100_000,
        has_triggers: false,
        has_rules: false,
        row_security: RowSecurity::default(),
        comment: None,
        stamp: 0,
    };
    let others = (0..400).map(|oid| table(oid + 2, format!("other_{oid}")));
    let relations = others.chain([table(1, "pgbench_accounts".into())]).collect();
    Snapshot::new(1, 150_018, vec!["public".into()], relations, Vec::new())
}

const READ: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 123";
const PREPARED: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";
const TOKEN: &str = "a token of a benchmark";
