//! `tls = { ... }` of a database: how its server is reached, and what counts as that server.
//!
//! Outside this machine nothing weaker than `verify-full` is meant unless it is written.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use crate::tls::client::{Client, Settings, Verification};
use crate::upstream::ChannelBinding;

use super::error::{ConfigError, Document};
use super::raw::{self, TlsMode};
use super::url::Url;

/// What `raw` means for the server of `url`: TLS or none, and whether authentication must be bound to it. `base` is where
/// relative paths start, `place` where the database stands.
pub(super) fn mean(
    document: &Document<'_>,
    base: &Path,
    place: Range<usize>,
    url: &Url,
    raw: Option<&Spanned<raw::UpstreamTls>>,
) -> Result<(Option<Client>, ChannelBinding), ConfigError> {
    let Some(written) = raw else {
        if url.is_local() {
            return Ok((None, ChannelBinding::Prefer));
        }
        let settings = Settings::new(&url.host, Verification::Full);
        return build(document, place, &settings).map(|client| (Some(client), ChannelBinding::Prefer));
    };
    let (place, raw) = (written.span(), written.get_ref());
    let refuse = |what: &str, allowed: &str| Err(document.refuse(place.clone(), what, allowed));
    let verification = match raw.mode.unwrap_or(TlsMode::VerifyFull) {
        TlsMode::Disable if has_more_than_a_mode(raw) => {
            return refuse(
                "there are keys for TLS beside `mode = \"disable\"`",
                "leave them out, or use TLS",
            );
        }
        TlsMode::Disable => return Ok((None, ChannelBinding::Prefer)),
        TlsMode::Require => Verification::Nothing,
        TlsMode::VerifyCa => Verification::Authority,
        TlsMode::VerifyFull => Verification::Full,
    };
    if url.is_unix() {
        return refuse("PostgreSQL has no TLS on a Unix socket", "leave `tls` out");
    }
    if verification == Verification::Nothing && raw.ca.is_some() {
        let allowed = "use `verify-full`, or leave `ca` out";
        return refuse("`ca` has no meaning where `mode = \"require\"` checks no certificate", allowed);
    }
    let own = match (&raw.cert, &raw.key) {
        (None, None) => None,
        (Some(cert), Some(key)) => Some((base.join(cert.get_ref()), base.join(key.get_ref()))),
        (Some(_), None) | (None, Some(_)) => {
            return refuse(
                "a certificate of our own needs its key",
                "give both `cert` and `key`, or neither",
            );
        }
    };
    let settings = Settings {
        server_name: raw.server_name.as_ref().map_or(&url.host, Spanned::get_ref).clone(),
        verification,
        authorities: raw.ca.as_ref().map(|ca| base.join(ca.get_ref())),
        own,
        direct: raw.direct,
    };
    let binding = match raw.channel_binding {
        raw::ChannelBinding::Prefer => ChannelBinding::Prefer,
        raw::ChannelBinding::Require => ChannelBinding::Require,
    };
    build(document, place, &settings).map(|client| (Some(client), binding))
}

fn has_more_than_a_mode(raw: &raw::UpstreamTls) -> bool {
    let files: [&Option<Spanned<PathBuf>>; 3] = [&raw.ca, &raw.cert, &raw.key];
    files.iter().any(|file| file.is_some())
        || raw.server_name.is_some()
        || raw.direct
        || raw.channel_binding == raw::ChannelBinding::Require
}

fn build(document: &Document<'_>, place: Range<usize>, settings: &Settings) -> Result<Client, ConfigError> {
    Client::build(settings).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        let what = format!("{error}{}", cause.unwrap_or_default());
        document.refuse(place, what, "the gateway needs this to know the server")
    })
}
