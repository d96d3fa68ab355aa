//! What decisions demand while statements run and afterwards, and ways around it.

mod ending;
mod result;
mod time;

use std::fs;
use std::path::Path;

use portcullis::audit::Event;

use crate::support::gateway::Stand;
use crate::support::shop_cluster;
use crate::wire_real::Raw;
use crate::wire_sim::rig::word;

/// A gateway whose rulebook allows every statement, and says `rules` besides; `sql` was run on the shop before.
pub(super) async fn stand(rules: &str, sql: &str) -> Stand {
    stand_with(sql, |home| rule(home, "statement", rules)).await
}

/// As [`stand`], with more of a home changed.
pub(super) async fn stand_with(sql: &str, change: impl FnOnce(&Path)) -> Stand {
    let cluster = shop_cluster().await;
    cluster.execute_sql("shop", sql).await.unwrap();
    Stand::start_on(cluster, |home, _| {
        fs::remove_dir_all(home.join("policies/statement")).unwrap();
        rule(home, "statement", "");
        change(home);
    })
    .await
}

/// Writes the rules of one decision point beside those that ship.
pub(super) fn rule(home: &Path, point: &str, rules: &str) {
    let folder = home.join("policies").join(point);
    fs::create_dir_all(&folder).unwrap();
    let allow = if point == "statement" { "allow := true\n\n" } else { "" };
    fs::write(folder.join("limits.rego"), format!("package portcullis.{point}\n\n{allow}{rules}")).unwrap();
}

/// Why statements were stopped, by the ledger.
pub(super) async fn whys(stand: &Stand) -> Vec<String> {
    stand.gateway.gate().close_ledger().await.unwrap();
    let events = stand.ledger().into_iter().map(|entry| entry.record.event);
    events
        .filter_map(|event| match event {
            Event::Settled { outcome, why, .. } if outcome == "stopped" => Some(why),
            _ => None,
        })
        .collect()
}

/// What comes until the gateway closes the connection, a word a message, and the texts of its errors.
pub(super) async fn until_closed(raw: &mut Raw) -> (String, Vec<String>) {
    let (mut words, mut errors) = (Vec::new(), Vec::new());
    while let Some(frame) = raw.frame().await {
        if frame.tag == b'E' {
            errors.push(String::from_utf8_lossy(&frame.body).into_owned());
        }
        words.push(word(&frame));
    }
    (words.join(" "), errors)
}
