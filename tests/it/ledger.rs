//! The ledger as an operator meets it: files on a disk that fills, tears and is tampered with.

use std::fs::{self, OpenOptions};
use std::future::Future;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use portcullis::audit::{
    self, Durability, Event, Fault, Ledger, LedgerError, Memory, OpenError, Record, Settings, StatementRecord,
};

fn settings(folder: &Path) -> Settings {
    Settings::new(folder.join("ledger"), Durability::Os)
}

fn small_segments(folder: &Path) -> Settings {
    Settings { segment_bytes: 4096, ..settings(folder) }
}

fn record(event: Event) -> Record {
    Record {
        at: Timestamp::UNIX_EPOCH,
        decision_id: "d".into(),
        session_id: "s".into(),
        identity: "bot".into(),
        owner: "olga".into(),
        door: "wire".into(),
        client: "127.0.0.1:1".into(),
        database: "shop".into(),
        event,
    }
}

fn decided(statement: &str) -> Record {
    record(Event::Decided(Box::new(StatementRecord {
        via: "query".into(),
        statement: statement.into(),
        sent: String::new(),
        parameters: vec![Some("4111111111111111".into()), None],
        facts_digest: "".into(),
        command: "select".into(),
        decision: "allow".into(),
        rule: "".into(),
        message: String::new(),
        revision: "r1".into(),
        approval_id: "".into(),
        masked: [].into(),
        released: [].into(),
        detect: Vec::new(),
        row_filters: [].into(),
        max_rows: None,
        max_bytes: None,
        max_time_ms: None,
        labels: Vec::new(),
        place: String::new().into(),
        input: None,
    })))
}

fn settled(rows: u64) -> Record {
    let tag = format!("SELECT {rows}");
    record(Event::Settled {
        outcome: "ok".into(),
        tag,
        sqlstate: String::new(),
        rows,
        duration_ms: 1,
        why: String::new(),
        found: std::collections::BTreeMap::new(),
    })
}

fn open(settings: &Settings) -> Ledger {
    Ledger::open(settings, Timestamp::UNIX_EPOCH).unwrap()
}

/// A closed ledger of `count` statements.
async fn written(settings: &Settings, count: usize) {
    let ledger = open(settings);
    for at in 0..count {
        drop(ledger.append(decided(&format!("SELECT {at}"))).await.unwrap());
    }
    ledger.close().await.unwrap();
}

fn segments(settings: &Settings) -> Vec<PathBuf> {
    let entries = fs::read_dir(&settings.folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some()).collect();
    found.sort();
    found
}

fn statements(entries: &[audit::Entry]) -> Vec<String> {
    let statement = |entry: &audit::Entry| match &entry.record.event {
        Event::Decided(statement) => Some(statement.statement.clone()),
        _ => None,
    };
    entries.iter().filter_map(statement).collect()
}

/// Polls an inline ledger's append, which must be ready at once.
fn append_now(ledger: &Ledger, record: Record) -> Result<u64, LedgerError> {
    let mut append = pin!(ledger.append(record));
    match append.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map(|receipt| receipt.sequence()),
        Poll::Pending => panic!("an inline ledger made its caller wait"),
    }
}

#[tokio::test]
async fn what_was_appended_is_there_after_a_restart_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    for durability in [Durability::Fsync, Durability::Os] {
        let ledger = open(&Settings { durability, ..settings(folder.path()) });
        drop(ledger.append(decided("SELECT ssn FROM hr.payroll")).await.unwrap());
        ledger.note(settled(3));
        ledger.close().await.unwrap();
        assert_eq!(ledger.append(settled(1)).await.unwrap_err(), LedgerError::Closed);
    }
    let ledger = settings(folder.path()).folder;
    let verified = audit::verify(&ledger).unwrap();
    assert_eq!((verified.records, verified.first, verified.last), (4, 1, 4));
    let all = audit::tail(&ledger, 10, |_| true).unwrap();
    assert_eq!(all.iter().map(|entry| entry.sequence).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(all[2].record, decided("SELECT ssn FROM hr.payroll"));
    assert_eq!(all[3].record, settled(3));
    assert_eq!(verified.head_hash, all[3].hash);
}

#[tokio::test]
async fn only_its_owner_can_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    written(&settings, 1).await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&settings.folder), 0o700);
    assert_eq!(mode(&segments(&settings)[0]), 0o600);
    assert_eq!(mode(&settings.folder.join("lock")), 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_concurrent_appends_keep_their_order_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { segment_bytes: 512 << 10, ..settings(folder.path()) };
    let ledger = open(&settings);
    let tasks: Vec<_> = (0..20_u64)
        .map(|_| {
            let ledger = ledger.clone();
            tokio::spawn(async move {
                let mut sequences = Vec::new();
                for at in 0..500 {
                    sequences.push(ledger.append(settled(at)).await.unwrap().sequence());
                }
                sequences
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let sequences = task.await.unwrap();
        assert!(sequences.is_sorted(), "a task's later append came earlier");
        all.extend(sequences);
    }
    ledger.close().await.unwrap();
    all.sort_unstable();
    assert_eq!(all, (1..=10_000).collect::<Vec<_>>());
    assert!(segments(&settings).len() > 3, "{:?}", segments(&settings));
    assert_eq!(audit::verify(&settings.folder).unwrap().records, 10_000);
    let entries = audit::tail(&settings.folder, 20_000, |_| true).unwrap();
    let rows: u64 = entries
        .iter()
        .map(|entry| match entry.record.event {
            Event::Settled { rows, .. } => rows,
            _ => 0,
        })
        .sum();
    assert_eq!(rows, 20 * (0..500).sum::<u64>());
}

#[tokio::test]
async fn a_changed_byte_is_found_and_named_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    written(&settings, 3).await;
    let path = &segments(&settings)[0];
    let good = fs::read(path).unwrap();
    for at in (0..good.len()).filter(|at| at % 7 == 0 || good[*at] == b'\n') {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(path, &bad).unwrap();
        let line = good[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let found = audit::verify(&settings.folder).unwrap_err();
        assert_eq!((&found.file, found.line), (path, line as u64), "byte {at}: {found}");
    }
    fs::write(path, &good).unwrap();
    audit::verify(&settings.folder).unwrap();
}

#[tokio::test]
async fn removed_moved_and_inserted_lines_and_segments_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let settings = small_segments(folder.path());
    written(&settings, 30).await;
    let paths = segments(&settings);
    assert!(paths.len() >= 3);
    let good: Vec<String> = paths.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let lines: Vec<&str> = good[1].lines().collect();
    let tamperings: [Vec<&str>; 4] = [
        [&lines[..1], &lines[2..]].concat(),
        [&lines[1..2], &lines[..1], &lines[2..]].concat(),
        [&lines[..1], &lines[..]].concat(),
        Vec::new(),
    ];
    for tampered in tamperings {
        fs::write(&paths[1], tampered.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        audit::verify(&settings.folder).unwrap_err();
    }
    fs::write(&paths[1], &good[1]).unwrap();
    audit::verify(&settings.folder).unwrap();

    for removed in &paths[..2] {
        let kept = fs::read(removed).unwrap();
        fs::remove_file(removed).unwrap();
        let found = audit::verify(&settings.folder).unwrap_err();
        assert!(matches!(found.why, Fault::OutOfOrder { .. }), "{found}");
        fs::write(removed, kept).unwrap();
    }
    fs::write(&paths[0], &good[1]).unwrap();
    fs::write(&paths[1], &good[0]).unwrap();
    audit::verify(&settings.folder).unwrap_err();
}

/// What `Verified::unproven` says in words.
#[tokio::test]
async fn a_cut_off_end_shows_in_the_head_hash_only() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    written(&settings, 3).await;
    let before = audit::verify(&settings.folder).unwrap();
    let path = &segments(&settings)[0];
    let text = fs::read_to_string(path).unwrap();
    let kept: String = text.split_inclusive('\n').take(2).collect();
    fs::write(path, kept).unwrap();
    let after = audit::verify(&settings.folder).unwrap();
    assert_ne!(after.head_hash, before.head_hash);
    assert!(audit::Verified::unproven()[0].contains("cut the end off"));
}

#[tokio::test]
async fn a_redacted_ledger_verifies_and_shows_no_text() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    written(&settings, 3).await;
    let path = &segments(&settings)[0];
    let text = fs::read_to_string(path).unwrap();
    let redacted: String = text.lines().map(|line| audit::redact(line).unwrap() + "\n").collect();
    fs::write(path, &redacted).unwrap();
    let verified = audit::verify(&settings.folder).unwrap();
    assert_eq!((verified.records, verified.redacted), (3, 3));
    assert!(!redacted.contains("SELECT") && !redacted.contains("4111111111111111"));
    written(&settings, 1).await;
    assert_eq!(audit::verify(&settings.folder).unwrap().records, 4);
}

#[tokio::test]
async fn an_incomplete_last_line_is_cut_off_and_the_ledger_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    written(&settings, 2).await;
    let path = segments(&settings).remove(0);
    let line = fs::read_to_string(&path).unwrap().lines().next().unwrap().to_owned();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&line.as_bytes()[..100]).unwrap();
    assert_eq!(audit::verify(&settings.folder).unwrap_err().why, Fault::Torn);
    assert_eq!(audit::tail(&settings.folder, 10, |_| true).unwrap().len(), 2, "a reader leaves it out");

    written(&settings, 1).await;
    assert_eq!(audit::verify(&settings.folder).unwrap().records, 4);
    let entries = audit::tail(&settings.folder, 2, |_| true).unwrap();
    let Event::Gateway { what } = &entries[0].record.event else { panic!("{entries:?}") };
    assert_eq!(what, "cut 100 bytes of an incomplete last line off `000001.jsonl`");
    assert_eq!(statements(&entries), ["SELECT 0"]);
}

#[tokio::test]
async fn a_crash_right_after_a_new_segment_was_made_is_survived() {
    let folder = tempfile::tempdir().unwrap();
    let settings = small_segments(folder.path());
    written(&settings, 10).await;
    let next = format!("{:06}.jsonl", segments(&settings).len() + 1);
    for torn in ["", "{\"seq\":"] {
        fs::write(settings.folder.join(&next), torn).unwrap();
        written(&settings, 1).await;
        audit::verify(&settings.folder).unwrap();
    }
}

#[tokio::test]
async fn nothing_is_written_behind_a_damaged_record() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    written(&settings, 3).await;
    let path = segments(&settings).remove(0);
    let bad = fs::read_to_string(&path).unwrap().replacen("SELECT 1", "SELECT 9", 1);
    fs::write(&path, &bad).unwrap();
    let error = Ledger::open(&settings, Timestamp::UNIX_EPOCH).unwrap_err();
    let OpenError::Damaged(found) = &error else { panic!("{error}") };
    assert_eq!(
        found.to_string(),
        format!("{}:2: its `statement` is not what was written: the digest differs", path.display())
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), bad);
}

#[tokio::test]
async fn a_second_gateway_on_the_same_ledger_refuses_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let first = open(&settings);
    let error = Ledger::open(&settings, Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("is in use by another gateway"), "{error}");
    drop(first.append(settled(1)).await.unwrap());
    first.close().await.unwrap();
    open(&settings).close().await.unwrap();
}

#[tokio::test]
async fn a_ledger_that_is_no_folder_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    fs::write(&settings.folder, "").unwrap();
    let error = Ledger::open(&settings, Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains(settings.folder.to_str().unwrap()), "{error}");
    assert!(audit::verify(&settings.folder).is_err());
    assert!(audit::verify(&folder.path().join("nowhere")).is_err());
}

#[tokio::test]
async fn the_newest_records_are_found_from_the_end_however_long_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let ledger = open(&settings);
    for at in 0..6 {
        let padding = "x".repeat(at * 60_000);
        drop(ledger.append(decided(&format!("SELECT {at} /* {padding} */"))).await.unwrap());
        ledger.note(settled(at as u64));
    }
    ledger.flush().await.unwrap();
    let is_statement = |entry: &audit::Entry| matches!(entry.record.event, Event::Decided(_));
    let newest = audit::tail(&settings.folder, 3, is_statement).unwrap();
    let starts: Vec<String> = statements(&newest).into_iter().map(|text| text[..8].to_owned()).collect();
    assert_eq!(starts, ["SELECT 3", "SELECT 4", "SELECT 5"]);
    assert_eq!(audit::tail(&settings.folder, 100, is_statement).unwrap().len(), 6);
    assert!(audit::tail(&settings.folder, 0, |_| true).unwrap().is_empty());
}

#[test]
fn a_full_disk_refuses_statements_owes_outcomes_and_recovers_by_itself() {
    let disk = Memory::default();
    let ledger = Ledger::inline(disk.clone());
    assert_eq!(append_now(&ledger, decided("SELECT 1")), Ok(1));
    disk.fail(true);
    ledger.note(settled(1));
    assert!(matches!(ledger.failure(), Some(LedgerError::Write { .. })));
    assert!(matches!(append_now(&ledger, decided("SELECT 2")), Err(LedgerError::Write { .. })));
    assert!(matches!(append_now(&ledger, decided("SELECT 3")), Err(LedgerError::Write { .. })));
    disk.fail(false);
    assert_eq!(append_now(&ledger, decided("SELECT 4")), Ok(3), "the owed outcome comes first");
    assert_eq!(ledger.failure(), None);
    let text = disk.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[1].contains("settled") && lines[2].contains("SELECT 4"), "{text}");
    assert!(!text.contains("SELECT 2") && !text.contains("SELECT 3"), "a refused statement is on record");
}

#[test]
fn outcomes_that_are_too_many_to_hold_are_counted_and_the_count_is_kept() {
    let disk = Memory::default();
    let ledger = Ledger::inline(disk.clone());
    disk.fail(true);
    (0..1028).for_each(|rows| ledger.note(settled(rows)));
    disk.fail(false);
    assert_eq!(append_now(&ledger, decided("SELECT 1")), Ok(1024 + 2));
    assert!(disk.text().contains("4 outcome records could not be kept and are lost"));
    assert_eq!(ledger.failure(), None);
}

#[tokio::test]
async fn a_folder_that_was_moved_away_is_noticed_and_taken_up_again_when_it_is_back() {
    for durability in [Durability::Os, Durability::Fsync] {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings { durability, ..settings(folder.path()) };
        let ledger = open(&settings);
        drop(ledger.append(decided("SELECT 1")).await.unwrap());
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&settings.folder, &elsewhere).unwrap();
        let mut unnoticed = 0;
        let refused = loop {
            match ledger.append(decided("SELECT 2")).await {
                Ok(receipt) => unnoticed = receipt.sequence() - 1,
                Err(refused) => break refused,
            }
        };
        assert!(refused.to_string().contains("moved away or removed"), "{refused}");
        assert!(durability == Durability::Os || unnoticed == 0, "synced records are looked after each time");
        fs::rename(&elsewhere, &settings.folder).unwrap();
        ledger.note(settled(1));
        drop(ledger.append(decided("SELECT 3")).await.unwrap());
        ledger.close().await.unwrap();
        let verified = audit::verify(&settings.folder).unwrap();
        assert_eq!(verified.records, unnoticed + 3, "what went elsewhere came back with it");
    }
}

/// The real thing, where the tests may mount: a file system of 64 kB that fills up.
#[tokio::test]
async fn a_disk_that_is_really_full_leaves_no_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_disk) = SmallDisk::mount(folder.path()) else {
        eprintln!("no right to mount a small file system here: the failing sink stands for it");
        return;
    };
    for durability in [Durability::Os, Durability::Fsync] {
        let settings = Settings { durability, ..settings(folder.path()) };
        let ledger = open(&settings);
        let mut kept = audit::verify(&settings.folder).unwrap().records;
        let refused = loop {
            match ledger.append(decided(&"x".repeat(700))).await {
                Ok(receipt) => kept = receipt.sequence(),
                Err(refused) => break refused,
            }
        };
        assert!(refused.to_string().contains("No space left on device"), "{refused}");
        assert_eq!(ledger.failure(), Some(refused));
        assert_eq!(audit::verify(&settings.folder).unwrap().records, kept);
        let ballast = folder.path().join("ballast");
        if ballast.exists() {
            fs::remove_file(ballast).unwrap();
            drop(ledger.append(decided("SELECT 'back'")).await.unwrap());
            assert_eq!(ledger.failure(), None);
        }
        ledger.close().await.unwrap();
        audit::verify(&settings.folder).unwrap();
    }
}

struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts 64 kB at `path`, a quarter of them taken by a file `ballast`.
    fn mount(path: &Path) -> Option<Self> {
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
        mount.is_ok_and(|status| status.success()).then_some(())?;
        let disk = Self(path.to_owned());
        fs::write(path.join("ballast"), vec![0; 16 << 10]).unwrap();
        Some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
    }
}
