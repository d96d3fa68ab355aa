//! `[policy.shadow]`, `[policy.delegate]`, `[decision_log]` and `[alert]` as meant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value};
use toml::Spanned;

use crate::control::{DelegateSettings, LogSettings, ShadowSettings, Sink};

use super::control::{Keys, SecretKeys, ServerKeys};
use super::error::ConfigError;
use super::raw;
use super::settings::Meaning;
use super::wire::seconds;

impl Meaning<'_> {
    /// A candidate rulebook, or a candidate for one of the `bundles`.
    pub(super) fn shadow(
        &self,
        raw: &Spanned<raw::Shadow>,
        keys: &Keys,
        bundles: &BTreeSet<String>,
    ) -> Result<ShadowSettings, ConfigError> {
        let shadow = raw.get_ref();
        if let Some(replaces) = shadow.replaces.as_ref().filter(|name| !bundles.contains(name.get_ref())) {
            let what = format!("there is no bundle `{}` to replace", replaces.get_ref());
            return Err(self.refuse(
                replaces,
                what,
                "name a [[policy.bundle]], or leave it out for a whole rulebook",
            ));
        }
        let sample = shadow.sample.as_ref().map_or(0.0, |sample| *sample.get_ref());
        if let Some(written) = shadow.sample.as_ref().filter(|_| !(0.0..=1.0).contains(&sample)) {
            return Err(self.refuse(written, "this is no share", "a share is 0.0 to 1.0"));
        }
        let replaces = shadow.replaces.as_ref().map(|name| name.get_ref().clone());
        let bundle = raw::Bundle {
            name: Spanned::new(raw.span(), replaces.clone().unwrap_or_else(|| "shadow".to_owned())),
            path: shadow.path.clone(),
            url: shadow.url.clone(),
            ca: shadow.ca.clone(),
            token_env: shadow.token_env.clone(),
            token_file: shadow.token_file.clone(),
            token_command: shadow.token_command.clone(),
            // It grants nothing for real: nothing runs because of it.
            grants: true,
            keys: shadow.keys.clone(),
            scope: shadow.scope.clone(),
            poll_min_s: None,
            poll_max_s: None,
            required: Some(false),
        };
        let bundle = self.bundle(&Spanned::new(raw.span(), bundle), keys, &mut BTreeSet::new())?;
        Ok(ShadowSettings { bundle, replaces, sample })
    }

    /// An OPA server that decides on statements.
    pub(super) fn delegate(&self, raw: &raw::Delegate) -> Result<DelegateSettings, ConfigError> {
        let token = SecretKeys {
            env: raw.token_env.as_ref(),
            file: raw.token_file.as_ref(),
            command: raw.token_command.as_ref(),
        };
        let endpoint = self.server(&ServerKeys { url: &raw.url, ca: raw.ca.as_ref(), token })?;
        let timeout = self.count(&raw.timeout_ms, 1..=60_000)?.unwrap_or(1000);
        let usual = || READS.iter().map(|path| (*path).to_owned()).collect();
        let reads: Vec<String> = raw
            .reads
            .as_ref()
            .map_or_else(usual, |reads| reads.iter().map(|path| path.get_ref().clone()).collect());
        Ok(DelegateSettings {
            endpoint,
            path: raw.path.clone().unwrap_or_else(|| "portcullis/statement".to_owned()),
            timeout: Duration::from_millis(u64::try_from(timeout).unwrap_or(1000)),
            reads: reads.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect(),
        })
    }

    /// Where decision logs go.
    pub(super) fn decision_log(&self, raw: &raw::DecisionLog) -> Result<LogSettings, ConfigError> {
        let token = SecretKeys {
            env: raw.token_env.as_ref(),
            file: raw.token_file.as_ref(),
            command: raw.token_command.as_ref(),
        };
        let endpoint = self.server(&ServerKeys { url: &raw.url, ca: raw.ca.as_ref(), token })?;
        let shortest = self.count(&raw.every_min_s, EVERY)?.unwrap_or(5);
        let longest = self.count(&raw.every_max_s, EVERY)?.unwrap_or_else(|| shortest.max(10));
        let mut labels: Map<String, Value> =
            raw.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        labels.entry("version").or_insert_with(|| env!("CARGO_PKG_VERSION").into());
        Ok(LogSettings {
            endpoint,
            labels,
            every: (seconds(shortest), seconds(longest.max(shortest))),
            buffer: self.count(&raw.buffer_events, 1..=1_000_000)?.unwrap_or(10_000),
            chunk_bytes: self.count(&raw.chunk_bytes, 1024..=16_777_216)?.unwrap_or(32_768),
        })
    }

    /// Where alerts go, by names.
    pub(super) fn alerts(
        &self,
        raw: &BTreeMap<String, Spanned<raw::Alert>>,
    ) -> Result<BTreeMap<String, Sink>, ConfigError> {
        let sink = |(name, raw): (&String, &Spanned<raw::Alert>)| {
            let alert = raw.get_ref();
            let Some(url) = &alert.webhook else { return Ok((name.clone(), Sink::Log)) };
            let token = SecretKeys {
                env: alert.token_env.as_ref(),
                file: alert.token_file.as_ref(),
                command: alert.token_command.as_ref(),
            };
            let endpoint = self.server(&ServerKeys { url, ca: alert.ca.as_ref(), token })?;
            Ok((name.clone(), Sink::Webhook(endpoint)))
        };
        raw.iter().map(sink).collect()
    }
}

/// What an OPA server is shown unless told otherwise: all but bind values, budgets and seconds. The minute bounds how
/// long an answer is remembered.
const READS: &[&str] = &[
    "identity",
    "database",
    "door",
    "via",
    "name",
    "tool",
    "arguments",
    "session",
    "statement",
    "batch",
    "approvals",
    "labels",
    "unjudged",
    "time.date",
    "time.hour",
    "time.minute",
    "time.weekday",
];

/// Seconds between two uploads.
const EVERY: std::ops::RangeInclusive<usize> = 1..=3600;
