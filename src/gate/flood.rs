//! How much strangers can make the ledger grow: a number of records a minute from one address, and one more that
//! counts the rest. Without it, whoever can connect can fill the disk, and a full disk stops everybody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::clock::elapsed_ms;

/// What the addresses did in their current minutes.
#[derive(Debug, Default)]
pub(super) struct Floods(Mutex<HashMap<Source, Minute>>);

/// Where unwelcome messages come from: a door, and an address without its port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Source {
    /// The door.
    pub(super) door: String,
    /// The address; empty where too many others are counted together.
    pub(super) address: String,
}

#[derive(Debug)]
struct Minute {
    began: Timestamp,
    kept: u32,
    counted: u64,
    last: String,
}

/// What was not kept one by one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// From where.
    pub(super) source: Source,
    /// How many.
    pub(super) count: u64,
    /// When the minute began.
    pub(super) since: Timestamp,
    /// What the last was.
    pub(super) last: String,
}

impl Floods {
    /// Whether what came from `source` now gets a record of its own; else it is counted.
    pub(super) fn admits(&self, source: Source, now: Timestamp, last: impl FnOnce() -> String) -> bool {
        let mut minutes = self.minutes();
        let crowded = minutes.len() >= MOST_SOURCES && !minutes.contains_key(&source);
        let source = if crowded { Source { address: String::new(), ..source } } else { source };
        let minute = minutes.entry(source).or_insert_with(|| Minute::starting(now));
        if minute.kept < KEPT_A_MINUTE {
            minute.kept += 1;
            return true;
        }
        minute.counted = minute.counted.saturating_add(1);
        minute.last = last();
        false
    }

    /// Ends the minutes that are over at `now`; returns what was counted in them.
    pub(super) fn over(&self, now: Timestamp) -> Vec<Counted> {
        self.end(|minute| elapsed_ms(minute.began, now) >= MINUTE_MS)
    }

    /// Ends all minutes.
    pub(super) fn all(&self) -> Vec<Counted> {
        self.end(|_| true)
    }

    fn end(&self, is_over: impl Fn(&Minute) -> bool) -> Vec<Counted> {
        let mut minutes = self.minutes();
        let ended = minutes.extract_if(|_, minute| is_over(minute));
        let counted = ended.filter(|(_, minute)| minute.counted > 0).map(|(source, minute)| Counted {
            source,
            count: minute.counted,
            since: minute.began,
            last: minute.last,
        });
        counted.collect()
    }

    fn minutes(&self) -> MutexGuard<'_, HashMap<Source, Minute>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn starting(now: Timestamp) -> Self {
        Self { began: now, kept: 0, counted: 0, last: String::new() }
    }
}

impl Source {
    /// `client` is `address:port`. Whoever has one IPv6 address has a /64 of them.
    pub(super) fn new(door: &str, client: &str) -> Self {
        let address = match client.parse().map(|client: SocketAddr| client.ip()) {
            Ok(IpAddr::V6(address)) => {
                let network = address.to_bits() >> 64 << 64;
                format!("{}/64", Ipv6Addr::from_bits(network))
            }
            Ok(address @ IpAddr::V4(_)) => address.to_string(),
            Err(_) => client.to_owned(),
        };
        Self { door: door.to_owned(), address }
    }
}

/// Records that one address gets in a minute. A person's typing errors never come to that.
const KEPT_A_MINUTE: u32 = 60;
const MINUTE_MS: u64 = 60_000;
/// Addresses that are told apart; further ones share one count for each door.
const MOST_SOURCES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn knock(floods: &Floods, client: &str, second: i64) -> bool {
        floods.admits(Source::new("wire", client), at(second), || format!("from {client}"))
    }

    #[test]
    fn an_address_gets_its_records_and_then_a_count_whatever_ports_it_uses() {
        let floods = Floods::default();
        let kept = (0..100).filter(|port| knock(&floods, &format!("192.0.2.1:{port}"), 0)).count();
        assert_eq!(kept, 60);
        assert!(knock(&floods, "192.0.2.2:1", 0), "another address has its own minute");
        assert!(floods.over(at(59)).is_empty());
        let counted = floods.over(at(60));
        assert_eq!(counted.len(), 1);
        assert_eq!(
            (counted[0].count, counted[0].since, counted[0].last.as_str()),
            (40, at(0), "from 192.0.2.1:99")
        );
        assert!(knock(&floods, "192.0.2.1:1", 61), "a new minute");
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one() {
        let one = Source::new("wire", "[2001:db8::1]:1");
        assert_eq!(one, Source::new("wire", "[2001:db8::ffff:2]:2"));
        assert_ne!(one, Source::new("wire", "[2001:db8:0:1::1]:1"));
        assert_ne!(one, Source::new("mcp", "[2001:db8::1]:1"));
    }

    #[test]
    fn more_addresses_than_can_be_told_apart_share_one_count() {
        let floods = Floods::default();
        let kept =
            (0..20_000_u32).filter(|n| knock(&floods, &format!("{}:1", std::net::Ipv4Addr::from(*n)), 0));
        assert_eq!(kept.count(), MOST_SOURCES + 60);
        assert_eq!(floods.all().iter().map(|counted| counted.count).sum::<u64>(), 20_000 - 4096 - 60);
        assert!(floods.all().is_empty());
    }
}
