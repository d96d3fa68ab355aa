//! The house: which room may know which, held against the code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor table of `src/lib.rs` and ARCHITECTURE.md. A room imports lower floors only.
const FLOORS: [(&str, u8); 25] = [
    ("cli", 11),
    ("serve", 10),
    ("config", 9),
    ("wire", 8),
    ("mcp", 8),
    ("console", 8),
    ("upstream", 7),
    ("control", 7),
    ("gate", 6),
    ("audit", 5),
    ("approval", 5),
    ("runs", 5),
    ("policy", 4),
    ("mask", 3),
    ("store", 2),
    ("sql", 2),
    ("identity", 2),
    ("catalog", 1),
    ("protocol", 1),
    ("jws", 1),
    ("clock", 1),
    ("flow", 1),
    ("telemetry", 1),
    ("tls", 1),
    ("tcp", 1),
];

/// Rooms, and files of the doors to either side, that are pure: no runtime, no sockets.
const PURE: [&str; 12] = [
    "src/jws",
    "src/protocol",
    "src/sql",
    "src/catalog",
    "src/mask",
    "src/policy",
    "src/wire/session",
    "src/wire/startup",
    "src/wire/portals",
    "src/wire/replies",
    "src/upstream/greeting",
    "src/upstream/outbox",
];

/// The most lines that one file may have.
const FILE_LINES: usize = 600;

#[test]
fn a_room_imports_lower_floors_only() {
    let floors: BTreeMap<&str, u8> = FLOORS.into_iter().collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let room = room_of(&file);
        let Some(floor) = floors.get(room.as_str()) else { continue };
        for other in rooms_named_in(&file) {
            let Some(other_floor) = floors.get(other.as_str()) else {
                wrong.push(format!("{} names the unknown room `{other}`", file.display()));
                continue;
            };
            if other != room && other_floor >= floor {
                wrong.push(format!("{} ({room}, {floor}) names {other} ({other_floor})", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_has_a_floor() {
    let known: Vec<&str> = FLOORS.iter().map(|(room, _)| *room).collect();
    let unknown: Vec<String> = sources()
        .iter()
        .map(|file| room_of(file))
        .filter(|room| !["lib", "main"].contains(&room.as_str()) && !known.contains(&room.as_str()))
        .collect();
    assert!(unknown.is_empty(), "rooms without a floor: {unknown:?}");
}

#[test]
fn only_the_gate_names_both_policy_and_approval_and_no_door_names_policy() {
    let mut wrong = Vec::new();
    for file in sources() {
        let (room, named) = (room_of(&file), rooms_named_in(&file));
        let names = |other: &str| named.iter().any(|name| name == other);
        if ["wire", "mcp", "console"].contains(&room.as_str()) && names("policy") {
            wrong.push(format!("{} is a door and names policy", file.display()));
        }
        if !["gate", "serve", "cli"].contains(&room.as_str()) && names("policy") && names("approval") {
            wrong.push(format!("{} names both policy and approval", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn pure_rooms_know_no_runtime_and_no_socket() {
    let banned = ["tokio", "std::net::", "std::fs::", "std::thread::"];
    let mut wrong = Vec::new();
    for file in sources() {
        let path = file.to_string_lossy().into_owned();
        if !PURE.iter().any(|pure| path.contains(pure)) || is_test(&file) {
            continue;
        }
        for word in banned.iter().filter(|word| code_of(&file).contains(*word)) {
            wrong.push(format!("{path} names {word}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn proofs_are_taken_apart_in_upstream_and_gate_only() {
    let opens = [".spend()", ".split()"];
    for file in sources() {
        if ["upstream", "gate", "approval"].contains(&room_of(&file).as_str()) {
            continue;
        }
        let code = code_of(&file);
        let takes_proofs = code.contains("Authorized<") && opens.iter().any(|call| code.contains(call));
        assert!(!takes_proofs, "{} takes a proof apart", file.display());
    }
}

#[test]
fn only_upstream_dials_a_governed_database() {
    for file in sources() {
        let room = room_of(&file);
        let code = code_of(&file);
        let dials = ["TcpStream::connect", "UnixStream::connect", "tokio_postgres::"];
        let found = dials.iter().find(|word| code.contains(*word));
        let allowed = ["upstream", "cli"].contains(&room.as_str());
        assert!(allowed || found.is_none(), "{} names {}", file.display(), found.unwrap_or(&""));
    }
}

#[test]
fn no_file_outgrows_its_room() {
    let long: Vec<String> = sources()
        .iter()
        .map(|file| (file, fs::read_to_string(file).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(file, lines)| format!("{}: {lines} lines", file.display()))
        .collect();
    assert!(long.is_empty(), "over {FILE_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn nothing_is_left_undone() {
    let marks = ["TODO", "FIXME", "unimplemented!", "todo!"];
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let found = marks.iter().find(|mark| text.contains(*mark));
        assert!(found.is_none(), "{} holds {}", file.display(), found.unwrap_or(&""));
    }
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 30, "the scan found {} files only", files.len());
    files
}

fn is_test(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.components().any(|part| part.as_os_str() == "tests")
}

fn room_of(file: &Path) -> String {
    let below = file.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The code of a file: without comments and without its tests.
fn code_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn rooms_named_in(file: &Path) -> Vec<String> {
    let code = code_of(file);
    let mut rooms: Vec<String> = code
        .split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or_default().split(',').map(first_word).collect(),
            None => vec![first_word(rest)],
        })
        .filter(|room| !room.is_empty())
        .collect();
    rooms.sort();
    rooms.dedup();
    rooms
}

fn first_word(text: &str) -> String {
    text.trim().chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
}
