//! `docs/policy.md` says what the code does.

use super::*;

fn handbook() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md")).unwrap()
}

/// Every decision point with exactly what it may declare: a declaration that is not read is refused by name.
#[test]
fn the_table_of_decision_points_is_what_the_gateway_reads() {
    let handbook = handbook();
    for (package, _) in portcullis::policy::input_schemas() {
        let row = handbook.lines().find(|line| line.starts_with(&format!("| `{package}` |")));
        let row = row.unwrap_or_else(|| panic!("{package} is not in the handbook"));
        assert!(row.contains(&format!("(schema/{package}.json)")), "{row}");
        let listed = row.trim_end_matches('|').rsplit('|').next().unwrap().trim().replace('`', "");
        let file = format!("{}_odd.rego", package.trim_start_matches("portcullis."));
        let odd = format!("package {package}\n\nnobody_reads_this := 1\n");
        let ran = Desk::open(&[(&file, &odd)]).run(&["check", "--json"]);
        let said = ran.json()["findings"].to_string();
        let (_, declared) = said.split_once("may declare ").unwrap_or_else(|| panic!("{said}"));
        let (declared, _) = declared.split_once(", and rules that").unwrap();
        let sorted = |text: &str| {
            let mut names: Vec<String> = text.split(", ").map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&listed), sorted(declared), "{package}");
    }
}

#[test]
fn every_command_and_every_warning_is_in_the_handbook() {
    let handbook = handbook();
    let help = Desk::open(&[]).run(&["--help"]).out;
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() > 6, "{help}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        assert!(handbook.contains(&format!("| `portcullis policy {command} ")), "{command}");
    }
    let lints = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/lint");
    for file in fs::read_dir(lints).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for word in text.split('"').filter(|word| word.contains('-') && !word.contains([' ', '\n', '.'])) {
            assert!(handbook.contains(&format!("`{word}`")) || word.contains('{'), "{word}");
        }
    }
}
