use super::*;
use crate::identity::directory::AgentSource;

/// `dana` is a person, `robin` an agent of a client, `meter` a workload; analysts come by their group.
const FILES: [(&str, &str); 7] = [
    (
        "dana",
        "kind = \"human\"\ngroups = [\"approvers\"]\nauth.oidc = { issuer = \"corp\", subject = \"u-1\" }",
    ),
    ("lena", "kind = \"human\"\ndisabled = true\nauth.oidc = { issuer = \"corp\", subject = \"u-2\" }"),
    (
        "robin",
        "kind = \"agent\"\nowner = \"dana\"\ngroups = [\"support\"]\nclaims = { region = \"eu\" }\n\
         auth.oidc = { issuer = \"corp\", client = \"robin-app\" }",
    ),
    ("meter", "kind = \"service\"\nauth.oidc = { issuer = \"corp\", subject = \"svc-9\" }"),
    (
        "relay",
        "kind = \"agent\"\nowner = \"dana\"\nauth.oidc = { issuer = \"corp\", client = \"relay-app\" }",
    ),
    (
        "analyst",
        "kind = \"human\"\ngroups = [\"readers\"]\nauth.oidc = { issuer = \"corp\", group = \"analysts\" }",
    ),
    ("dba", "kind = \"human\"\nauth.oidc = { issuer = \"corp\", group = \"dba\" }"),
];

fn directory() -> Directory {
    let file = |(name, text): &(&str, &str)| AgentSource {
        path: format!("{name}.toml"),
        text: format!("name = \"{name}\"\n{text}\n"),
    };
    Directory::build(&FILES.iter().map(file).collect::<Vec<_>>()).unwrap()
}

fn token(subject: &str, client: &str, actors: &[&str], groups: &[&str]) -> Testimony {
    let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
    Testimony {
        issuer: "corp".to_owned(),
        subject: subject.to_owned(),
        client: client.to_owned(),
        actors: owned(actors),
        groups: owned(groups),
        ..Testimony::default()
    }
}

/// Name, owner and groups of who comes; or why nobody does.
fn who(testimony: &Testimony) -> String {
    match directory().vouch(testimony) {
        Ok(who) => {
            format!("{} of {} in {}", who.name(), who.owner().unwrap_or("-"), who.groups().join(","))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn one_person_or_workload_has_the_name_of_its_file() {
    assert_eq!(who(&token("u-1", "", &[], &[])), "dana of - in approvers");
    assert_eq!(who(&token("u-1", "some-app", &[], &["analysts"])), "dana of - in analysts,approvers");
    assert_eq!(who(&token("svc-9", "robin-app", &[], &[])), "meter of - in ");
    assert_eq!(who(&token("robin-app", "robin-app", &[], &["x"])), "robin of dana in support,x");
}

#[test]
fn everybody_of_a_group_is_somebody_else() {
    assert_eq!(who(&token("u-7", "", &[], &["analysts"])), "corp:u-7 of - in analysts,readers");
    assert_eq!(who(&token("u-8", "", &[], &["analysts"])), "corp:u-8 of - in analysts,readers");
    assert_eq!(who(&token("u-7", "", &[], &[])), "no identity's file is for `corp:u-7`");
    let both = token("u-7", "", &[], &["analysts", "dba"]);
    assert_eq!(who(&both), "several identities' files are for `corp:u-7`: analyst, dba");
    let elsewhere = Testimony { issuer: "other".to_owned(), ..token("u-7", "", &[], &["analysts"]) };
    assert_eq!(who(&elsewhere), "no identity's file is for `other:u-7`");
}

#[test]
fn an_agent_that_acts_for_somebody_gets_what_its_own_file_gives() {
    let by_client = token("u-1", "robin-app", &[], &["analysts"]);
    assert_eq!(who(&by_client), "robin/dana of dana in support", "none of the person's groups");
    let by_act = token("u-7", "", &["robin-app"], &["analysts"]);
    assert_eq!(who(&by_act), "robin/corp:u-7 of corp:u-7 in support");
    let far = token("u-1", "x", &["robin-app", "relay-app", "a b"], &[]);
    let identity = directory().vouch(&far).unwrap();
    let delegation: Vec<&str> = identity.principal().vouched().unwrap().delegation().collect();
    assert_eq!(delegation[0], "relay");
    assert!(delegation[1].starts_with("corp:~") && delegation[2] == "dana", "{delegation:?}");
}

#[test]
fn who_acts_without_a_file_or_for_nobody_is_nobody() {
    for (testimony, said) in [
        (
            token("u-1", "", &["mallory"], &[]),
            "no identity's file is for `corp:mallory`, which acts for `corp:u-1`",
        ),
        // The actor counts, whatever client the token was given to.
        (
            token("u-1", "robin-app", &["mallory"], &[]),
            "no identity's file is for `corp:mallory`, which acts for `corp:u-1`",
        ),
        (token("u-9", "robin-app", &[], &[]), "no identity's file is for `corp:u-9`"),
        (token("svc-9", "", &["robin-app"], &[]), "`robin` acts for `meter`, which is not a person"),
        (token("robin-app", "", &["relay-app"], &[]), "no identity's file is for `corp:robin-app`"),
        (token("u-2", "", &[], &[]), "identity `lena` is disabled"),
        (token("u-2", "robin-app", &[], &[]), "identity `lena` is disabled"),
        (token("u-2", "", &[], &["analysts"]), "identity `lena` is disabled"),
    ] {
        assert_eq!(who(&testimony), said, "{testimony:?}");
    }
}

#[test]
fn the_files_claims_weigh_more_but_not_on_who_vouched() {
    let claims = [("region", "us"), ("desk", "7"), ("subject", "forged"), ("task", "forged")];
    let claims = claims.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).into();
    let testimony = Testimony { claims, ..token("u-1", "robin-app", &[], &[]) };
    let identity = directory().vouch(&testimony).unwrap();
    let seen = identity.principal().vouched().unwrap().claims();
    let seen: Vec<String> =
        seen.iter().map(|(name, values)| format!("{name}={}", values.join(","))).collect();
    assert_eq!(seen, ["client=robin-app", "desk=7", "issuer=corp", "region=eu", "subject=u-1"]);
}

#[test]
fn names_are_plain_bounded_and_never_anothers() {
    assert_eq!(name_of("corp", "ana@example.com"), "corp:ana@example.com");
    assert_eq!(name_of("corp", "auth0|5f7"), "corp:auth0|5f7");
    let odd = ["", " ana", "a/b", "a:b", "~x", "ana\u{202e}", &"x".repeat(49), "A", "a", "robin/dana"];
    let mut names: Vec<String> = odd.iter().map(|subject| name_of("corp", subject)).collect();
    for name in &names {
        assert!(name.len() <= 60 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
        assert!(name.matches([':', '/']).count() == 1, "{name}");
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), odd.len());
}

#[test]
fn a_changed_file_ends_what_it_vouched_for() {
    let vouched = directory().vouch(&token("u-1", "robin-app", &[], &[])).unwrap();
    let vouched = vouched.principal().vouched().unwrap();
    assert!(vouched.holds_in(&directory()));
    for changed in ["dana", "robin"] {
        let sources: Vec<AgentSource> = FILES
            .iter()
            .map(|(name, text)| AgentSource {
                path: format!("{name}.toml"),
                text: format!(
                    "name = \"{name}\"\ndescription = \"{}\"\n{text}\n",
                    if *name == changed { "x" } else { "" }
                ),
            })
            .collect();
        assert!(!vouched.holds_in(&Directory::build(&sources).unwrap()), "{changed}");
    }
}

#[test]
fn two_files_for_one_token_or_a_person_for_a_program_are_refused() {
    let refused = |one: &str, two: &str| {
        let file = |name: &str, text: &str| AgentSource {
            path: format!("{name}.toml"),
            text: format!("name = \"{name}\"\n{text}\n"),
        };
        Directory::build(&[file("a", one), file("b", two)]).unwrap_err().to_string()
    };
    let subject = "kind = \"human\"\nauth.oidc = { issuer = \"corp\", subject = \"u\" }";
    assert_eq!(refused(subject, subject), "a.toml:1: `oidc` is that of `b` too: a token can be one's only");
    let client = "kind = \"human\"\nauth.oidc = { issuer = \"corp\", client = \"u\" }";
    assert!(refused(client, "kind = \"human\"").contains("use `subject` for a person"));
    for rule in [
        "{ issuer = \"corp\" }",
        "{ issuer = \"corp\", subject = \"a\", client = \"b\" }",
        "{ issuer = \"corp\", subject = \"\" }",
        "{ issuer = \"corp\", group = \"Not A Group\" }",
    ] {
        let file = format!("kind = \"human\"\nauth.oidc = {rule}");
        let said = refused(&file, "kind = \"human\"");
        assert!(said.starts_with("a.toml:3: `oidc` must name the issuer and one of"), "{said}");
    }
}
