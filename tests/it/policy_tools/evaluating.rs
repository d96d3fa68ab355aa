//! `policy eval`: from a written input, and from a statement.

use serde_json::json;

use super::*;
use crate::support::Database;

const RULES: &str = r#"package portcullis.statement

allow if input.statement.class == "read"

deny contains {"rule": "night", "message": "it is night", "hint": "come by day"} if {
	input.time.hour < 6
	not at_home
}

escalate contains {"rule": "write", "message": "m", "hint": "h", "groups": ["dba"], "ttl_s": 60} if {
	print("class", input.statement.class)
	input.statement.class == "write"
}

limit contains {"rows": 10}

at_home if input.session.address == "127.0.0.1"
"#;

/// A rulebook, ana who may approve, and an input of hers.
fn desk(class: &str, hour: i64) -> Desk {
    let desk = Desk::open(&[("statement.rego", RULES)]);
    desk.write("portcullis.toml", "[policy]\npath = \"policies\"\n[agents]\npath = \"agents\"\n");
    desk.write("agents/ana.toml", "name = \"ana\"\nkind = \"human\"\ngroups = [\"dba\"]\n");
    desk.write("agents/bot.toml", "name = \"bot\"\nkind = \"agent\"\nowner = \"ana\"\n");
    desk.write("agents/ben.toml", "name = \"ben\"\nkind = \"human\"\ngroups = [\"dba\"]\n");
    let mut input = desk.run(&["eval", "--example"]).json();
    input["identity"]["name"] = json!("bot");
    input["identity"]["kind"] = json!("agent");
    input["statement"]["class"] = json!(class);
    input["time"]["hour"] = json!(hour);
    desk.write("input.json", &input.to_string());
    desk
}

#[test]
fn a_written_input_is_decided_with_reasons_places_and_exit_code() {
    let ran = desk("read", 12).run(&["eval", "--input", "input.json"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("allow\n") && ran.out.contains("limit      {\"rows\":10}\n"), "{}", ran.out);
    assert_eq!(ran.err, "", "an example has every field");
    let ran = desk("read", 3).run(&["eval", "statement", "--input", "input.json"]);
    assert_eq!(ran.code, Some(3));
    assert!(
        ran.out.starts_with("deny\n  night: it is night  statement.rego:5\n    come by day\n"),
        "{}",
        ran.out
    );
    let ran = desk("write", 12).run(&["eval", "--input", "input.json", "--json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.err);
    let json = ran.json();
    assert_eq!((&json["verdict"], &json["reasons"][0]["rule"]), (&json!("escalate"), &json!("write")));
    assert_eq!(json["decision"]["limits"]["rows"], 10);
}

#[test]
fn a_trace_says_which_rules_held_and_where_the_others_stopped() {
    let desk = desk("write", 3);
    let ran = desk.run(&["eval", "--input", "input.json", "--trace"]);
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    for said in [
        "print      statement.rego:11: class write\n",
        "      3    statement.allow did not hold\n           line 3: input.statement.class == \"read\"\n",
        "      5    statement.deny held\n",
        "     10    statement.escalate held\n",
        "     17    statement.at_home did not hold\n",
    ] {
        assert!(ran.out.contains(said), "{said}\n{}", ran.out);
    }
    let json = desk.run(&["eval", "--input", "input.json", "--trace", "--json"]).json();
    let deny = json["trace"].as_array().unwrap().iter().find(|rule| rule["line"] == 5).unwrap();
    assert_eq!((&deny["held"], &deny["covered"]), (&json!(true), &json!([5, 6, 7])));
}

#[test]
fn an_input_that_lacks_what_the_gateway_always_says_is_pointed_out() {
    let desk = desk("read", 12);
    desk.write(
        "short.json",
        r#"{"identity": {"name": "bot", "kind": "agent"}, "statement": {"class": "read"}}"#,
    );
    let ran = desk.run(&["eval", "--input", "short.json"]);
    assert_eq!(ran.code, Some(0), "the deny reads an hour that is not there, and is silent");
    assert!(ran.err.contains("`input.time` is missing: in force it is always there\n"), "{}", ran.err);
    assert!(ran.err.contains("`input.statement.tables` is missing"), "{}", ran.err);
    for (input, code, said) in [
        ("{", 1, "`x.json` is no JSON"),
        ("{}", 3, "the input can't be read: missing field `identity`"),
        (r#"{"identity": {"name": "gone", "kind": "agent"}}"#, 3, "the identity `gone` has no file any more"),
        (
            r#"{"identity": {"name": "bot", "kind": "human"}}"#,
            3,
            "the identity `bot` is of another kind by now",
        ),
    ] {
        desk.write("x.json", input);
        let ran = desk.run(&["eval", "--input", "x.json"]);
        assert_eq!(ran.code, Some(code), "{input}\n{}{}", ran.out, ran.err);
        assert!(ran.out.contains(said) || ran.err.contains(said), "{said}\n{}{}", ran.out, ran.err);
    }
}

#[test]
fn other_decision_points_answer_too() {
    let desk = desk("read", 12);
    desk.write(
        "policies/session.rego",
        "package portcullis.session\n\nallow if input.door == \"wire\"\n\nread_only := true\n",
    );
    let mut input = desk.run(&["eval", "session", "--example"]).json();
    input["identity"]["name"] = json!("ana");
    input["identity"]["kind"] = json!("human");
    desk.write("login.json", &input.to_string());
    let ran = desk.run(&["eval", "session", "--input", "login.json"]);
    assert_eq!(ran.code, Some(3), "{}", ran.out);
    assert!(ran.out.contains("read_only  true\n"), "{}", ran.out);
    input["door"] = json!("wire");
    desk.write("login.json", &input.to_string());
    assert_eq!(desk.run(&["eval", "portcullis.session", "--input", "login.json"]).code, Some(0));
    let ran = desk.run(&["eval", "nosuch", "--input", "login.json"]);
    assert!(ran.code == Some(1) && ran.err.contains("there is no decision point `nosuch`"), "{}", ran.err);
}

/// As `portcullis eval`, by way of the database's catalog.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_decided_and_traced_without_an_input() {
    let database = Database::with(
        "CREATE TABLE people (id int);
         CREATE ROLE pe_reader LOGIN PASSWORD 'pw'; GRANT SELECT, DELETE ON people TO pe_reader",
    )
    .await;
    let desk = desk("read", 12);
    desk.write("password", "pw");
    desk.write(
        "portcullis.toml",
        &format!(
            "[policy]\npath = \"policies\"\n[agents]\npath = \"agents\"\n[[database]]\nname = \"shop\"\n\
             url = \"postgres://pe_reader@127.0.0.1:{}/{}\"\npassword_file = \"password\"\n",
            database.cluster.port(),
            database.name
        ),
    );
    let rules = desk.folder.path().join("policies/statement.rego");
    let text = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, text.replace("input.time.hour < 6", "input.time.hour < 0")).unwrap();
    let sql = |sql: &str| desk.run(&["eval", "--sql", sql, "--as", "bot", "--database", "shop", "--trace"]);
    let ran = sql("SELECT id FROM people");
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("      3    statement.allow held\n"), "{}", ran.out);
    let ran = sql("DELETE FROM people");
    assert_eq!(ran.code, Some(4), "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("     10    statement.escalate held\n"), "{}", ran.out);
    assert!(ran.out.contains("facts      delete (write) delete public.people\n"), "{}", ran.out);
    assert_eq!(desk.run(&["eval", "--sql", "SELECT 1", "--as", "bot"]).code, Some(2), "which database?");
}
