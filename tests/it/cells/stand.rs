//! A gateway whose agents are looked after by given detectors, and a table full of secrets.

use std::fs;

use portcullis::cli::demo::shop;

use crate::support::gateway::Stand;
use crate::wire_real::Raw;

/// Who is looked after.
pub(super) const BOT: &str = "support-bot";

/// Every detector.
pub(super) const ALL: &[&str] = &[
    r#"{"detector": "card"}"#,
    r#"{"detector": "iban"}"#,
    r#"{"detector": "ssn"}"#,
    r#"{"detector": "phone"}"#,
    r#"{"detector": "email"}"#,
    r#"{"detector": "jwt"}"#,
    r#"{"detector": "api_key"}"#,
    r#"{"detector": "private_key"}"#,
];

const SCHEMA: &str = r#"
    CREATE DOMAIN note AS text;
    CREATE TYPE holder AS (name text, number text);
    CREATE TABLE findings (
        id int PRIMARY KEY, t text, v varchar(60), b char(40), n name, j json, jb jsonb, x xml, d note,
        ta text[], ja jsonb[], r holder, i8 bigint, num numeric, f8 float8, made date, u uuid);
    INSERT INTO findings VALUES
        (1, 'card 4111-1111-1111-1111.', 'ssn 078-05-1120', 'iban DE89370400440532013000', '4111111111111111',
         '{"mail": "bob@example.com", "card": 4111111111111111}',
         '{"card": 4111111111111111, "note": "4111111111111111"}',
         '<a>4111111111111111</a>', 'call bob@example.com', ARRAY['4111', '4111 1111 1111 1111'],
         ARRAY['{"card": "4111111111111111"}'::jsonb], ('ann', '4111111111111111'),
         4111111111111111, 4111111111111111.50, 4111111111111111, '2024-02-29',
         'f47ac10b-58cc-4372-a567-0e02b2c3d479'),
        (2, 'bob@example.com, 078-05-1120 and DE89 3704 0044 0532 0130 00', NULL, NULL, '', '[]', '[]', NULL, '',
         '{}', '{}', NULL, 17, 1.5, 2.5, NULL, NULL);
    CREATE FUNCTION shout(t text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE 'heard %', t USING DETAIL = t, HINT = t; RETURN t; END $$;
"#;

/// Starts it.
pub(super) async fn start(detectors: &[&str]) -> Stand {
    let data = format!(r#"{{"agent": [{}], "human": [], "service": []}}"#, detectors.join(", "));
    let stand = Stand::start_with(|home, _| {
        let change = |file: &str, from: &str, to: &str| {
            let path = home.join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{file}: {from}");
            fs::write(&path, text.replace(from, to)).unwrap();
        };
        fs::write(home.join("policies/data/detectors.json"), data).unwrap();
        change("agents/support-bot.toml", "\"public.tickets\"", "\"public.tickets\", \"public.findings\"");
        change("policies/data/functions.json", r#""by_oid": []"#, r#""by_oid": ["textcat"]"#);
        change(
            "policies/data/functions.json",
            r#""cleared": { "shop": [] }"#,
            r#""cleared": { "shop": ["public.shout"] }"#,
        );
        change("policies/data/channels.json", "[]", r#"["news"]"#);
    })
    .await;
    let grant = format!(
        "{SCHEMA} GRANT SELECT ON findings TO {user}; GRANT EXECUTE ON FUNCTION shout TO {user};",
        user = shop::SERVICE_USER
    );
    stand.cluster.execute_sql(shop::NAME, &grant).await.unwrap();
    stand
}

/// All bytes of the messages up to the next ReadyForQuery.
pub(super) async fn heard(raw: &mut Raw, bytes: &[u8]) -> Vec<u8> {
    raw.send(bytes).await;
    let mut heard = Vec::new();
    loop {
        let frame = raw.frame().await.unwrap();
        heard.extend_from_slice(&frame.to_bytes());
        if frame.tag == b'Z' {
            return heard;
        }
    }
}

/// The secrets that stand in `bytes`, as text or as a binary number.
pub(super) fn canaries_in(bytes: &[u8]) -> Vec<&'static str> {
    let integer = 4_111_111_111_111_111_i64.to_be_bytes();
    let float = 4_111_111_111_111_111_f64.to_be_bytes();
    let secrets: [(&str, &[u8]); 11] = [
        ("card", b"4111111111111111"),
        ("spaced card", b"4111 1111 1111 1111"),
        ("dashed card", b"4111-1111-1111-1111"),
        ("ssn", b"078-05-1120"),
        ("iban", b"DE89370400440532013000"),
        ("spaced iban", b"DE89 3704 0044 0532 0130 00"),
        ("address", b"bob@example"),
        ("integer", &integer),
        ("float", &float),
        ("float as text", b"4.111111111111111e"),
        ("numeric", b"\x10\x0f\x04\x57\x04\x57\x04\x57"),
    ];
    let found = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    secrets.into_iter().filter(|(_, secret)| found(secret)).map(|(name, _)| name).collect()
}
