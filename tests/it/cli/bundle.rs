//! Bundles by the command line: built, signed, checked, served.

use std::fs;

use super::Place;

#[test]
fn a_rulebook_becomes_a_bundle_that_a_gateway_takes() {
    let place = Place::without_database();
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/policies");
    let bundle = |arguments: &[&str]| {
        let all: Vec<&str> = ["policy", "bundle"].iter().chain(arguments).copied().collect();
        place.run(&all)
    };
    let built = bundle(&["build", policies, "-o", "rules.tar.gz", "--revision", "v7"]);
    assert_eq!(built.code, Some(0), "{}", built.err);
    assert!(built.out.contains("rules.tar.gz: revision v7, "), "{}", built.out);
    let first = fs::read(place.folder.path().join("rules.tar.gz")).unwrap();
    bundle(&["build", policies, "-o", "again.tar.gz", "--revision", "v7"]);
    assert_eq!(first, fs::read(place.folder.path().join("again.tar.gz")).unwrap(), "the same bytes");
    assert_eq!(bundle(&["verify", "rules.tar.gz"]).code, Some(0));

    place.write("secret", "of-the-release");
    let key = ["--key-file", "secret", "--algorithm", "HS256", "--key-id", "release"];
    let with_key = |verb, more: &[&str]| {
        bundle(&[verb, "rules.tar.gz"].iter().chain(&key).chain(more).copied().collect::<Vec<_>>())
    };
    let signed = with_key("sign", &["--scope", "prod"]);
    assert!(signed.out.contains("signed by the key `release` (HS256)"), "{}{}", signed.out, signed.err);
    assert_eq!(with_key("verify", &["--scope", "prod"]).code, Some(0));
    let refused = with_key("verify", &[]);
    assert_eq!(refused.code, Some(3));
    assert!(refused.err.contains("its scope is `prod`"), "{}", refused.err);
    place.write("secret", "of-somebody");
    let refused = with_key("verify", &["--scope", "prod", "--json"]);
    assert_eq!(refused.code, Some(3));
    assert!(refused.out.contains("it is not by the key `release`"), "{}", refused.out);

    place.write("secret", "of-the-release");
    let folder = format!("path = \"{policies}\"");
    place.replace(
        "portcullis.toml",
        &folder,
        "path = \"\"\n[[policy.key]]\nid = \"release\"\nalgorithm = \"HS256\"\nsecret_file = \"secret\"\n\
         [[policy.bundle]]\nname = \"all\"\npath = \"rules.tar.gz\"\nkeys = [\"release\"]\nscope = \"prod\"\ngrants = true",
    );
    let check = place.run(&["check"]);
    assert_eq!(check.code, Some(0), "{}", check.err);
    fs::write(place.folder.path().join("rules.tar.gz"), &first[..first.len() / 2]).unwrap();
    let check = place.run(&["check"]);
    assert_eq!(check.code, Some(3));
    assert!(
        check.err.contains("bundle `all` is not there") && check.err.contains("cut off"),
        "{}",
        check.err
    );
}

#[test]
fn what_is_no_rulebook_becomes_no_bundle() {
    let place = Place::without_database();
    fs::create_dir_all(place.folder.path().join("mine/data")).unwrap();
    place.write("mine/a.rego", "package portcullis.statement\n\ndeny contains");
    let built = place.run(&["policy", "bundle", "build", "mine", "-o", "rules.tar.gz"]);
    assert_eq!(built.code, Some(1));
    assert!(built.err.contains("a.rego:3"), "{}", built.err);
    assert!(!place.folder.path().join("rules.tar.gz").exists());
}
