//! What must not compile: forging a proof, copying one, sending without one, inventing an act.
//!
//! Each file in `tests/compile_fail/` names the errors that it must draw, one `//~ E0000` a line that is wrong.
//! The compiler runs straight against the library that this test was built with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

#[test]
fn proofs_cannot_be_forged_copied_or_bypassed() {
    let library = library();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 8, "only {} cases found", cases.len());
    for case in cases {
        let expected = expected(&case);
        assert!(!expected.is_empty(), "{} expects no error", case.display());
        assert_eq!(errors(&case, &library), expected, "in {}", case.display());
    }
}

#[test]
fn the_runner_sees_code_that_does_compile() {
    let folder = tempfile::tempdir().unwrap();
    let fine = folder.path().join("fine.rs");
    fs::write(&fine, "use portcullis::gate::Door;\nfn main() { let _ = Door::Wire.as_str(); }\n").unwrap();
    assert_eq!(errors(&fine, &library()), Vec::new());
}

/// `(line, code)` of each `//~` mark.
fn expected(case: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(case).unwrap();
    let marked = text.lines().enumerate().filter_map(|(index, line)| {
        line.split_once("//~ ").map(|(_, code)| (index + 1, code.trim().to_owned()))
    });
    marked.collect()
}

/// `(line, code)` of each error that the compiler finds, in order of lines.
fn errors(case: &Path, library: &Path) -> Vec<(usize, String)> {
    // Into a folder of its own: the compiler replaces its output file, even one called `/dev/null`.
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO").replace("bin/cargo", "bin/rustc"))
        .args(["--edition=2024", "--crate-type=bin", "--emit=metadata", "--error-format=json"])
        .arg("--out-dir")
        .arg(folder.path())
        .arg("--extern")
        .arg(format!("portcullis={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg(case)
        .output()
        .unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    let mut errors: Vec<(usize, String)> = messages.lines().filter_map(error).collect();
    errors.sort();
    errors
}

fn error(line: &str) -> Option<(usize, String)> {
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    let spans = message["spans"].as_array()?;
    let primary = spans.iter().find(|span| span["is_primary"] == true)?;
    let code = message["code"]["code"].as_str().unwrap_or("none");
    let line = usize::try_from(primary["line_start"].as_u64()?).ok()?;
    (message["level"] == "error").then(|| (line, code.to_owned()))
}

/// The library as built for integration tests: the newest beside this test's own executable.
fn library() -> PathBuf {
    let executable = PathBuf::from(env!("CARGO_BIN_EXE_portcullis"));
    let deps = executable.parent().unwrap().join("deps");
    let built = |path: &PathBuf| -> Option<SystemTime> { fs::metadata(path).and_then(|m| m.modified()).ok() };
    fs::read_dir(deps)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("libportcullis-") && name.ends_with(".rlib")
        })
        .max_by_key(built)
        .expect("the library is built before its tests")
}
