use std::io::Write as _;

use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;

const RULE: &str =
    "package portcullis.statement.hours\n\ndeny contains {\"rule\": \"hours\"} if input.time.hour < 8\n";

/// A tar with `files`, as `tar` writes it.
fn tar(files: &[(&str, &str)]) -> tar::Builder<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in files {
        add(&mut tar, path, text, tar::EntryType::Regular);
    }
    tar
}

/// Any path at all: the writer of the crate is more careful than other people's.
fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, text: &str, kind: tar::EntryType) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(kind);
    header.set_cksum();
    tar.append(&header, text.as_bytes()).unwrap();
}

fn gzip(tar: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(tar).unwrap();
    gzip.finish().unwrap()
}

fn packed(files: &[(&str, &str)]) -> Vec<u8> {
    gzip(&tar(files).into_inner().unwrap())
}

fn read(files: &[(&str, &str)]) -> Result<Bundle, BundleError> {
    Bundle::read("central", &packed(files), None)
}

fn refusal(files: &[(&str, &str)]) -> String {
    read(files).unwrap_err().to_string()
}

#[test]
fn a_bundle_is_read_whichever_way_its_paths_are_written() {
    let manifest = r#"{"revision": "v7", "roots": ["/portcullis/statement/hours/", "limits"], "metadata": {"by": "ci"}}"#;
    for before in ["", "/", "./"] {
        let path = |name: &str| format!("{before}{name}");
        let bundle = read(&[
            (&path(".manifest"), manifest),
            (&path("limits/data.json"), "{\"rows\": 5}"),
            (&path("hours/hours.rego"), RULE),
            (&path("README.md"), "about"),
        ])
        .unwrap();
        assert_eq!(bundle.manifest().revision, "v7");
        assert_eq!(bundle.manifest().roots, ["portcullis/statement/hours", "limits"]);
        assert_eq!(bundle.manifest().metadata["by"], "ci");
        let names: Vec<String> = bundle.sources(false).iter().map(Source::name).collect();
        assert_eq!(names, ["central:hours/hours.rego", "central:limits/data.json"]);
        assert!(bundle.sources(true).iter().all(|source| source.grants));
    }
}

#[test]
fn what_would_not_be_read_is_refused_by_name() {
    for (path, text, part) in [
        ("patch.json", "{}", "`patch.json` makes this a delta bundle"),
        ("policy.wasm", "", "`policy.wasm` is WebAssembly"),
        ("plan.json", "{}", "`plan.json` is a compiled plan"),
        ("limits/data.yaml", "a: 1", "`limits/data.yaml` is YAML"),
        ("limits/rows.json", "{}", "`limits/rows.json` would not be read"),
        ("below/.manifest", "{}", "`below/.manifest` is read at the top"),
        ("._data.json", "{}", "`._data.json` would not be read"),
        (".manifest", "{", "`.manifest` is no manifest"),
        (".manifest", "{\"rego_version\": 0}", "another `rego_version` than 1"),
        (
            ".manifest",
            "{\"rego_version\": 1, \"file_rego_versions\": {\"/old.rego\": 0}}",
            "another `rego_version`",
        ),
        (".manifest", "{\"wasm\": [{\"entrypoint\": \"x\"}]}", "leads to WebAssembly"),
        (".manifest", "{\"roots\": [\"a\", \"a/b\"]}", "roots that overlap: `a` and `a/b`"),
        ("a.rego", "package portcullis.statement.hours\n\ndeny contains {", "central:a.rego:3"),
        ("data.json", "{", "central:data.json:1"),
    ] {
        let refused = refusal(&[("hours.rego", RULE), (path, text)]);
        assert!(refused.contains(part), "{path}: {refused}");
    }
    let refused = Bundle::read(
        "central",
        &gzip(&{
            let mut tar = tar(&[]);
            add(&mut tar, "x.rego", "\u{e9}", tar::EntryType::Regular);
            let mut bytes = tar.into_inner().unwrap();
            bytes[512] = 0xff;
            bytes
        }),
        None,
    );
    assert!(refused.unwrap_err().to_string().contains("`x.rego` is not UTF-8 from byte 0"));
}

#[test]
fn nothing_leads_out_of_a_bundle_and_nothing_is_there_twice() {
    for path in ["../x.rego", "a/../x.rego", "a//x.rego", "a/./x.rego", "a\\x.rego", "a/\u{1}.rego", "a/"] {
        let refused = refusal(&[(path, RULE)]);
        assert!(refused.contains("is no path for a file"), "{path}: {refused}");
    }
    for (one, two) in [("x.rego", "x.rego"), ("x.rego", "/x.rego"), ("./x.rego", "x.rego")] {
        assert!(refusal(&[(one, RULE), (two, RULE)]).contains("is there twice"), "{one} {two}");
    }
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo] {
        let mut tar = tar(&[("x.rego", RULE)]);
        add(&mut tar, "link.rego", "", kind);
        let refused = Bundle::read("central", &gzip(&tar.into_inner().unwrap()), None).unwrap_err();
        assert!(refused.to_string().contains("`link.rego` is a link or a device"), "{refused}");
    }
}

#[test]
fn a_truncated_bundle_is_refused_wherever_it_ends() {
    let whole = packed(&[(".manifest", "{\"roots\": [\"portcullis\"]}"), ("hours.rego", RULE)]);
    assert!(Bundle::read("central", &whole, None).is_ok());
    for length in 0..whole.len() {
        let refused = Bundle::read("central", &whole[..length], None).unwrap_err();
        assert!(matches!(refused, BundleError::Archive(_)), "{length}: {refused}");
    }
    // An archive that was cut off before it was packed has a sound checksum around it.
    let inner = tar(&[(".manifest", "{}"), ("hours.rego", RULE)]).into_inner().unwrap();
    for length in (0..inner.len()).step_by(256).filter(|length| inner.len() - length > 512) {
        let refused = Bundle::read("central", &gzip(&inner[..length]), None).unwrap_err();
        assert!(refused.to_string().contains("the archive"), "{length}: {refused}");
    }
}

#[test]
fn nothing_may_follow_the_end() {
    let whole = packed(&[("hours.rego", RULE)]);
    let twice: Vec<u8> = [whole.as_slice(), &whole].concat();
    let refused = Bundle::read("central", &twice, None).unwrap_err().to_string();
    assert!(refused.contains("bytes behind its end"), "{refused}");
    let mut inner = tar(&[("hours.rego", RULE)]).into_inner().unwrap();
    inner.extend(tar(&[("more.rego", RULE)]).into_inner().unwrap());
    let refused = Bundle::read("central", &gzip(&inner), None).unwrap_err().to_string();
    assert!(refused.contains("goes on behind its end"), "{refused}");
    let refused = Bundle::read("central", b"package x", None).unwrap_err().to_string();
    assert!(refused.contains("is not gzip"), "{refused}");
}

#[test]
fn a_bundle_of_any_size_is_held_to_bounds() {
    let data = format!("{{\"limits\": \"{}\"}}", "x".repeat(50 << 20));
    assert_eq!(refusal(&[("data.json", &data)]), "`data.json` has more than 16 MiB");
    let files: Vec<(String, &str)> = (0..10_001).map(|at| (format!("{at}.md"), "")).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
    assert_eq!(refusal(&files), "the archive has more than 10000 files");
    let bomb = gzip(&vec![0; 300 << 20]);
    assert!(bomb.len() < 2 << 20);
    let refused = Bundle::read("central", &bomb, None).unwrap_err().to_string();
    assert_eq!(refused, "the unpacked archive has more than 256 MiB");
    let refused = Bundle::read("central", &vec![0x1f; MAX_PACKED + 1], None).unwrap_err().to_string();
    assert_eq!(refused, "the archive has more than 64 MiB");
}

#[test]
fn content_lies_within_the_manifest_s_roots() {
    let manifest = |roots: &str| format!("{{\"roots\": {roots}}}");
    let outside = |roots: &str, path: &str, text: &str, stray: &str| {
        let refused = refusal(&[(".manifest", &manifest(roots)), (path, text)]);
        assert!(refused.contains(&format!("`{path}` holds `{stray}`")), "{refused}");
    };
    outside("[\"portcullis/session\"]", "a.rego", RULE, "portcullis/statement/hours");
    outside("[\"portcullis/statement/hour\"]", "a.rego", RULE, "portcullis/statement/hours");
    outside("[]", "a.rego", RULE, "portcullis/statement/hours");
    outside("[\"org/teams\"]", "data.json", "{\"org\": {\"teams\": {}, \"people\": 1}}", "org/people");
    outside("[\"org/teams\"]", "org/data.json", "{\"teams\": {}, \"people\": 1}", "org/people");
    outside("[\"org/teams\"]", "data.json", "{\"org\": 1}", "org");
    let quoted = "package portcullis.statement[\"a/b\"]\n\nx := 1\n";
    assert!(read(&[(".manifest", &manifest("[\"portcullis\"]")), ("a.rego", quoted)]).is_err());
    let inside = [
        (".manifest", manifest("[\"portcullis/statement\", \"org/teams\"]")),
        ("a.rego", RULE.to_owned()),
        ("org/data.json", "{\"teams\": {\"a\": 1}}".to_owned()),
    ];
    let inside: Vec<(&str, &str)> = inside.iter().map(|(path, text)| (*path, text.as_str())).collect();
    assert!(read(&inside).is_ok());
}

#[test]
fn what_one_bundle_claims_no_other_source_holds() {
    let bundle = |name: &str, roots: &str, path: &str, text: &str| {
        let manifest = format!("{{\"roots\": {roots}}}");
        Bundle::read(name, &packed(&[(".manifest", &manifest), (path, text)]), None).unwrap()
    };
    let hours = bundle("hours", "[\"portcullis/statement/hours\"]", "hours.rego", RULE);
    let org = bundle("org", "[\"org/teams\"]", "org/data.json", "{\"teams\": {}}");
    let folder = [
        Source::file("statement.rego", "package portcullis.statement\n\nallow := true\n"),
        Source::file("data/org.json", "{\"people\": {}}"),
    ];
    let all = compose(&folder, &[(&hours, true), (&org, false)]).unwrap();
    let shown: Vec<_> = all.iter().map(|source| (source.name(), source.grants)).collect();
    let expected = [
        ("statement.rego", true),
        ("data/org.json", true),
        ("hours:hours.rego", true),
        ("org:org/data.json", false),
    ];
    assert_eq!(shown, expected.map(|(name, grants)| (name.to_owned(), grants)));

    let refused = |folder: &[Source], bundles: &[&Bundle], part: &str| {
        let bundles: Vec<_> = bundles.iter().map(|bundle| (*bundle, false)).collect();
        let error = compose(folder, &bundles).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let wide = bundle("wide", "[\"portcullis/statement\"]", "hours.rego", RULE);
    let all = bundle("all", "[\"\"]", "hours.rego", RULE);
    refused(&[], &[&hours, &wide], "`hours` and `wide` have roots that overlap");
    refused(&[], &[&wide, &hours], "`portcullis/statement` and `portcullis/statement/hours`");
    refused(&[], &[&org, &all], "the empty one, which is everything");
    refused(
        &folder,
        &[&wide],
        "`statement.rego` of the rulebook's folder holds what the bundle `wide` claims",
    );
    refused(&folder, &[&all], "`statement.rego` of the rulebook's folder");
    refused(&[Source::file("data/org.json", "{\"teams\": 1}")], &[&org], "`data/org.json` of");
    refused(&[Source::file("data/org/teams/x.json", "1")], &[&org], "`data/org/teams/x.json` of");
}

fn key(text: &str, algorithm: Algorithm) -> PublicKey {
    PublicKey::parse(algorithm, text).unwrap()
}

fn with_key(id: &str, key: PublicKey, scope: &str) -> Verification {
    Verification { keys: [(id.to_owned(), (key, scope.to_owned()))].into(), key_id: None, scope: None }
}

/// Signed by OpenSSL, listed by another program: paths with and without `/`, the deprecated claim for the key, two
/// digests, documents whose numbers and spaces matter.
const ELSEWHERE: [(&str, &str); 3] = [
    (".manifest", "{ \"roots\": [\"portcullis/statement/hours\", \"limits\"], \"revision\": \"r<1>\" }"),
    (
        "data.json",
        "{\"limits\": {\"rows\": 1.50, \"big\": 123456789012345678901234567890, \"note\": \"<é>\\u2028\"}}",
    ),
    (
        "hours/hours.rego",
        "package portcullis.statement.hours\n\ndeny contains {\"rule\": \"hours\", \"message\": \"not now\"} if input.time.hour < data.limits.rows\n",
    ),
];

fn signed_elsewhere(files: &[(&str, &str)]) -> Vec<u8> {
    let signatures = format!("{{\"signatures\": [\"{}\"]}}", include_str!("tests/token.jwt").trim());
    let mut files = files.to_vec();
    files.push((".signatures.json", &signatures));
    packed(&files)
}

fn release_key() -> PublicKey {
    key(include_str!("tests/rsa.public.pem"), Algorithm::Rs256)
}

#[test]
fn a_signature_made_elsewhere_holds() {
    let packed = signed_elsewhere(&ELSEWHERE);
    let bundle =
        Bundle::read("central", &packed, Some(&with_key("release", release_key(), "write"))).unwrap();
    assert_eq!(bundle.manifest().revision, "r<1>");
    // Spaces and the order of fields are no part of a document; the text of numbers is.
    let mut reordered = ELSEWHERE;
    reordered[1].1 =
        "{\"limits\":{\"note\":\"\\u003cé>\u{2028}\",\"big\":123456789012345678901234567890,\"rows\":1.50}}";
    let verification = with_key("release", release_key(), "write");
    assert!(Bundle::read("central", &signed_elsewhere(&reordered), Some(&verification)).is_ok());
    reordered[1].1 =
        "{\"limits\":{\"note\":\"<é>\\u2028\",\"big\":123456789012345678901234567890,\"rows\":1.5}}";
    assert!(Bundle::read("central", &signed_elsewhere(&reordered), Some(&verification)).is_err());
}

#[test]
fn a_signature_is_by_the_configured_key_and_for_the_configured_scope() {
    let packed = signed_elsewhere(&ELSEWHERE);
    let refused = |verification: &Verification, part: &str| {
        let error = Bundle::read("central", &packed, Some(verification)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let wide = with_key("release", release_key(), "write");
    refused(&with_key("other", release_key(), "write"), "no key `release` is configured");
    refused(&with_key("release", release_key(), "read"), "its scope is `write`, and `read` is wanted");
    refused(&Verification { scope: Some("read".to_owned()), ..wide.clone() }, "`read` is wanted");
    refused(&Verification { key_id: Some("gone".to_owned()), ..wide }, "no key `gone`");
    let pss = key(include_str!("tests/rsa.public.pem"), Algorithm::Ps256);
    refused(&with_key("release", pss, "write"), "it is not by the key `release` (PS256)");
    // The classic forgery: the public key as the secret of an HMAC, because the token says so.
    let secret = key(include_str!("tests/rsa.public.pem"), Algorithm::Hs256);
    refused(&with_key("release", secret, "write"), "it is not by the key `release` (HS256)");
    // The configuration's word on the key stands above the token's.
    let renamed =
        Verification { key_id: Some("mine".to_owned()), ..with_key("mine", release_key(), "write") };
    assert!(Bundle::read("central", &packed, Some(&renamed)).is_ok());
}

#[test]
fn every_file_is_signed_and_every_signed_file_is_there() {
    let verification = with_key("release", release_key(), "write");
    let refused = |files: &[(&str, &str)], part: &str| {
        let packed = signed_elsewhere(files);
        let error = Bundle::read("central", &packed, Some(&verification)).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let mut more = ELSEWHERE.to_vec();
    more.push(("more.rego", RULE));
    refused(&more, "it does not list `more.rego`");
    let mut about = ELSEWHERE.to_vec();
    about.push(("README.md", ""));
    refused(&about, "it does not list `README.md`");
    refused(&ELSEWHERE[..2], "it lists `hours/hours.rego`, which is not in the bundle");
    let mut changed = ELSEWHERE;
    changed[2].1 = RULE;
    refused(&changed, "`hours/hours.rego` is not the file that was signed");
    let mut roots = ELSEWHERE;
    roots[0].1 = "{\"roots\": [\"\"], \"revision\": \"r<1>\"}";
    refused(&roots, "`.manifest` is not the file that was signed");
}

#[test]
fn unsigned_and_unasked_for_signatures_are_refused() {
    let verification = with_key("release", release_key(), "write");
    let error = Bundle::read("central", &packed(&ELSEWHERE), Some(&verification)).unwrap_err().to_string();
    assert!(error.contains("there is none (no `.signatures.json`)"), "{error}");
    let error = Bundle::read("central", &signed_elsewhere(&ELSEWHERE), None).unwrap_err().to_string();
    assert!(error.contains("no key is configured"), "{error}");
    let token = include_str!("tests/token.jwt").trim();
    let none = token.split('.').take(2).collect::<Vec<_>>().join(".");
    for signatures in [
        "{\"signatures\": []}".to_owned(),
        format!("{{\"signatures\": [\"{token}\", \"{token}\"]}}"),
        format!("{{\"signatures\": [\"{none}.\"]}}"),
        format!("{{\"signatures\": [\"{none}\"]}}"),
        "{\"signatures\": [\"a.b.c\"]}".to_owned(),
        "[]".to_owned(),
    ] {
        let mut files = ELSEWHERE.to_vec();
        files.push((".signatures.json", &signatures));
        let error = Bundle::read("central", &packed(&files), Some(&verification)).unwrap_err();
        assert!(matches!(error, BundleError::Signature(_)), "{signatures}: {error}");
    }
}

#[test]
fn every_algorithm_signs_and_checks_and_no_other_key_does() {
    let pair = |how| {
        let pair = KeyPair::generate_for(how).unwrap();
        (pair.serialize_pem(), pair.public_key_pem())
    };
    let rsa = (include_str!("tests/rsa.pem").to_owned(), include_str!("tests/rsa.public.pem").to_owned());
    let secret = ("a secret".to_owned(), "a secret".to_owned());
    let packed = build(&[Source::file("hours.rego", RULE)], &Plan::named("v1")).unwrap();
    for name in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
        "HS512",
    ] {
        let algorithm: Algorithm = name.parse().unwrap();
        let fresh = || match name {
            "ES256" => pair(&PKCS_ECDSA_P256_SHA256),
            "ES384" => pair(&PKCS_ECDSA_P384_SHA384),
            "EdDSA" => pair(&PKCS_ED25519),
            "HS256" | "HS384" | "HS512" => secret.clone(),
            _ => rsa.clone(),
        };
        let (private, public) = fresh();
        let private = PrivateKey::parse(algorithm, &private).unwrap();
        let signed = sign(&packed, &private, "k", "").unwrap();
        let verification = with_key("k", key(&public, algorithm), "");
        assert!(Bundle::read("central", &signed, Some(&verification)).is_ok(), "{name}");
        let again = sign(&signed, &private, "k", "x").unwrap();
        assert!(Bundle::read("central", &again, Some(&verification)).is_err(), "{name}");
        if name.starts_with('E') {
            let (_, other) = fresh();
            let verification = with_key("k", key(&other, algorithm), "");
            assert!(Bundle::read("central", &signed, Some(&verification)).is_err(), "{name}");
        }
    }
}

#[test]
fn a_key_for_something_else_is_refused() {
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Es384, Algorithm::EdDsa] {
        let error = PublicKey::parse(algorithm, &p256.public_key_pem()).unwrap_err();
        assert!(error.to_string().contains("BEGIN PUBLIC KEY"), "{error}");
        assert!(PrivateKey::parse(algorithm, &p256.serialize_pem()).is_err());
        assert!(PublicKey::parse(algorithm, &p256.serialize_pem()).is_err(), "a private key");
    }
    assert!(PublicKey::parse(Algorithm::Hs256, "").is_err());
    for name in ["none", "RS007", "hs256", ""] {
        assert!(name.parse::<Algorithm>().unwrap_err().to_string().contains("is no algorithm"));
    }
    assert!(!format!("{:?}", key("a secret", Algorithm::Hs256)).contains("secret"));
}

#[test]
fn a_built_bundle_is_the_rulebook_again() {
    let sources = [
        Source::file("statement/hours.rego", RULE),
        Source::file(
            "statement/hours_test.rego",
            "package portcullis.statement.hours_test\n\ntest_a if true\n",
        ),
        Source::file("data/limits.json", "{\"rows\": 1.50}"),
        Source::file("data/org/teams.json", "[1e3]"),
        Source::file("org/data.json", "{\"people\": {}}"),
    ];
    let packed = build(&sources, &Plan::named("v7")).unwrap();
    assert_eq!(packed, build(&sources, &Plan::named("v7")).unwrap(), "the same bytes");
    let bundle = Bundle::read("central", &packed, None).unwrap();
    assert_eq!(bundle.manifest().revision, "v7");
    let roots = ["limits", "org", "portcullis/statement/hours", "portcullis/statement/hours_test"];
    assert_eq!(bundle.manifest().roots, roots);
    let data = bundle.sources(true).into_iter().find(|source| source.path == "data.json").unwrap();
    assert_eq!(data.text, "{\"limits\":{\"rows\":1.50},\"org\":{\"people\":{},\"teams\":[1e3]}}");
    let bare = build(&sources, &Plan { tests: false, ..Plan::named("v7") }).unwrap();
    let bare = Bundle::read("central", &bare, None).unwrap();
    assert!(bare.sources(true).iter().all(|source| !source.path.ends_with("_test.rego")));
    let narrow = Plan { roots: vec!["limits".to_owned()], ..Plan::named("v7") };
    assert!(build(&sources, &narrow).unwrap_err().to_string().contains("in none of the manifest's roots"));
}

proptest! {
    #[test]
    fn no_bytes_make_a_panic(start in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..300, byte: u8) {
        drop(Bundle::read("x", &gzip(&start), None));
        let mut whole = packed(&[(".manifest", "{}"), ("hours.rego", RULE)]);
        let at = at % whole.len();
        whole[at] = byte;
        drop(Bundle::read("x", &whole, None));
        let mut inner = tar(&[(".manifest", "{}"), ("hours.rego", RULE)]).into_inner().unwrap();
        inner[at] = byte;
        drop(Bundle::read("x", &gzip(&inner), None));
    }
}
