//! What the gateway makes of a client's `statement_timeout`, against what PostgreSQL makes of it.

use std::sync::Arc;

use portcullis::gate::RunMode;
use portcullis::upstream::execute;

use super::stand::Stand;

#[tokio::test]
async fn every_spelling_of_a_time_limit_means_what_postgresql_means_by_it() {
    let stand = Stand::with("").await;
    let client = stand.database.connect().await;
    let mut sooner = 0;
    for text in SPELLINGS {
        let theirs = client.batch_execute(&format!("SET statement_timeout = '{text}'")).await.is_ok();
        let ours = stand.open_with(vec![("Statement_Timeout".to_owned(), text.to_owned())]).await;
        let mut link = match ours {
            Ok(link) => link,
            Err(error) => {
                let said = error.to_string();
                assert_eq!(said, format!("invalid value for parameter \"Statement_Timeout\": \"{text}\""));
                assert!(!theirs, "`{text}`");
                continue;
            }
        };
        assert!(theirs, "`{text}`");
        let context = Arc::clone(link.context());
        let proof = stand
            .admit(&context, "SELECT current_setting('statement_timeout')", RunMode::Read { max_rows: 1 })
            .await;
        let in_force = execute(&mut link, proof, &stand.gate, &stand.ana)
            .await
            .unwrap()
            .rows
            .remove(0)
            .remove(0)
            .unwrap();
        // `ana` may take 20 s; 0 is no limit.
        let asked: i64 = client.query_one(MILLISECONDS, &[]).await.unwrap().get(0);
        if asked == 0 || asked > 20_000 {
            assert_eq!(in_force, "20s", "`{text}`");
        } else {
            sooner += 1;
            let shown: String = client.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0);
            assert_eq!(in_force, shown, "`{text}`");
        }
    }
    assert!(sooner > 10);
}

const MILLISECONDS: &str = "SELECT setting::int8 FROM pg_settings WHERE name = 'statement_timeout'";

/// None so short that reading it would take longer.
const SPELLINGS: [&str; 34] = [
    "12345",
    "5s",
    "0.25min",
    " 6 s ",
    "7.5s",
    "+7000",
    "010000",
    "0x1000",
    "0X1f40",
    "7e3",
    "1.5e1s",
    "4500000us",
    "7500.6",
    "0",
    "0.4",
    "400us",
    "-0",
    "1h",
    "21s",
    "20001",
    "",
    "s",
    "1x",
    "9S",
    "1 ms s",
    "1,5",
    "-1",
    "1e",
    "1e400",
    "nan",
    "08000",
    "9000 5",
    "2147483648",
    "1..5",
];
