//! `portcullis rls` as it is used.

use std::fs;
use std::process::Command;

use portcullis::cli::demo::shop;
use serde_json::Value;

use super::{Tenants, everything, filters};
use crate::support::gateway::UPSTREAM_PASSWORD;

/// Runs `portcullis rls` on the gateway's database; its exit code, and what it printed.
fn rls(tenants: &Tenants, arguments: &[&str]) -> (Option<i32>, String, String) {
    let home = tenants.stand.home.path();
    let configuration = format!(
        "[policy]\npath = \"{0}/policies\"\n[agents]\npath = \"{0}/agents\"\n[[database]]\nname = \"shop\"\n\
         url = \"postgres://{1}@127.0.0.1:{2}/shop\"\npassword_file = \"{0}/password\"\n\
         [[database.role]]\nname = \"full\"\nuser = \"{3}\"\npassword_file = \"{0}/password\"\n",
        home.display(),
        shop::SERVICE_USER,
        tenants.stand.cluster.port(),
        shop::FULL_USER,
    );
    fs::write(home.join("portcullis.toml"), configuration).unwrap();
    fs::write(home.join("password"), UPSTREAM_PASSWORD).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("rls")
        .args(arguments)
        .env("OWNER_PASSWORD", tenants.stand.cluster.password())
        .current_dir(home)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ran.status.code(), text(ran.stdout), text(ran.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_applies_what_is_planned_and_verify_agrees() {
    let tenants = Tenants::start(&filters("rls"), everything).await;
    let (code, out, _) = rls(&tenants, &["verify"]);
    assert_eq!(code, Some(3), "{out}");
    assert!(
        out.contains("shop: tenant on public.notes: NOT IN FORCE\n  row_security_off: row-level"),
        "{out}"
    );
    let (code, out, _) = rls(&tenants, &["plan"]);
    assert_eq!(code, Some(0), "{out}");
    assert!(out.contains("CREATE POLICY portcullis_tenant ON \"public\".\"notes\" AS RESTRICTIVE"), "{out}");
    let (code, out, err) =
        rls(&tenants, &["apply", "--user", shop::SERVICE_USER, "--password-file", "password"]);
    assert_eq!(code, Some(1), "the gateway's own user can't: {out} {err}");
    assert!(err.contains("nothing was changed") && err.contains("must be owner"), "{err}");
    let owner = tenants.stand.cluster.superuser();
    let (code, out, err) = rls(&tenants, &["apply", "--user", owner, "--password-env", "OWNER_PASSWORD"]);
    assert_eq!(code, Some(0), "{out} {err}");
    assert!(out.contains("shop: tenant on public.notes: in force"), "{out}");
    let (code, out, _) = rls(&tenants, &["verify", "--json"]);
    assert_eq!((code, out.as_str()), (Some(0), "{\"findings\":[],\"ok\":true}\n"));
    tenants.sql("ALTER POLICY portcullis_tenant ON notes USING (true)").await;
    let (code, out, _) = rls(&tenants, &["verify", "--json", "--database", "shop"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(3));
    assert_eq!(out["findings"][0]["finding"], "policy_altered", "{out}");
    let (code, out, _) = rls(&tenants, &["plan", "--json"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &out[0]["done"]), (Some(0), &Value::Bool(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_put_in_force_is_said_before_anything_is_done() {
    let mut definitions = filters("rls");
    for (name, relation, using) in [
        ("view", "public.notes_view", "tenant = ANY ($values)"),
        ("gone", "public.nothing", "tenant = ANY ($values)"),
        ("column", "public.owners", "tenant = ANY ($values)"),
        ("kind", "public.above_memos", "id = ANY ($values)"),
    ] {
        definitions["shop"][name] = serde_json::json!({"relation": relation, "using": using});
    }
    let tenants = Tenants::start(&definitions, everything).await;
    let (code, out, _) = rls(&tenants, &["plan"]);
    assert_eq!(code, Some(3), "{out}");
    for said in ["`public.notes_view` is no table", "no relation `public.nothing`", "no column `tenant`"] {
        assert!(out.contains(&format!("NOT IN FORCE: {said}")) || out.contains(said), "{said}: {out}");
    }
    let owner = tenants.stand.cluster.superuser();
    let (code, _, err) = rls(&tenants, &["apply", "--user", owner, "--password-env", "OWNER_PASSWORD"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("operator does not exist"), "{err}");
    let (_, out, _) = rls(&tenants, &["verify"]);
    assert!(out.contains("no_column: `public.owners` has no column `tenant`"), "{out}");
    assert!(out.contains("NOT IN FORCE"), "nothing was done at all: {out}");
}
