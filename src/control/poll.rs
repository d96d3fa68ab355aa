//! Looking for a bundle: on disk, or at a server that says whether it changed.

use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;
use http::header::{ETAG, HeaderName, IF_NONE_MATCH};

use super::http::{Ask, Bounds, HttpError, Remote};
use super::{Origin, local};
use crate::policy::bundle::MAX_PACKED;

/// Where a bundle is looked for.
#[derive(Debug)]
pub(super) enum Source {
    Path(PathBuf),
    Server(Box<Remote>),
}

/// What a look found.
#[derive(Debug)]
pub(super) enum Found {
    /// It is as it was.
    Same,
    /// This, which may or may not be as it was.
    New { packed: Vec<u8>, etag: Option<String> },
}

impl Source {
    pub(super) fn new(origin: &Origin) -> Result<Self, HttpError> {
        Ok(match origin {
            Origin::Path(path) => Self::Path(path.clone()),
            Origin::Url(endpoint) => Self::Server(Box::new(Remote::new(endpoint)?)),
        })
    }

    /// Looks once. `etag` is what the server called the version that was found before.
    pub(super) async fn find(&self, etag: Option<&str>) -> Result<Found, String> {
        match self {
            Self::Path(path) => settled(path.clone()).await.map(|packed| Found::New { packed, etag: None }),
            Self::Server(remote) => ask(remote, etag).await,
        }
    }
}

/// How long to wait for the next look: anything between the bounds, and with every failure nearer to the longer one, so
/// that gateways don't come all at once to a server that has just recovered.
pub(super) fn pause((shortest, longest): (Duration, Duration), failures: u32) -> Duration {
    let shortest = shortest.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(1)).min(longest);
    shortest + longest.saturating_sub(shortest).mul_f64(rand::random::<f64>())
}

/// Reads what is at `path` until two reads find the same: whoever writes it may not be done.
async fn settled(path: PathBuf) -> Result<Vec<u8>, String> {
    let mut before = None;
    for _ in 0..LOOKS {
        let path = path.clone();
        let read = tokio::task::spawn_blocking(move || local::read(&path)).await;
        let now = read.map_err(|error| error.to_string())?;
        match (before, now) {
            (Some(Ok(before)), Ok(now)) if before == now => return Ok(now),
            (Some(Err(_)), Err(now)) => return Err(now),
            (_, now) => before = Some(now),
        }
        tokio::time::sleep(SETTLE).await;
    }
    Err("it changes all the time: put it in its place whole, by `mv`".to_owned())
}

async fn ask(remote: &Remote, etag: Option<&str>) -> Result<Found, String> {
    let mut headers = vec![(HeaderName::from_static("prefer"), "modes=snapshot".to_owned())];
    headers.extend(etag.map(|etag| (IF_NONE_MATCH, etag.to_owned())));
    let answer = remote.ask(Ask { headers, ..Ask::default() }, BOUNDS).await;
    let answer = answer.map_err(|error| error.to_string())?;
    match answer.status {
        StatusCode::OK => Ok(Found::New {
            etag: answer.headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned),
            packed: answer.body.to_vec(),
        }),
        StatusCode::NOT_MODIFIED if etag.is_some() => Ok(Found::Same),
        status if status.is_redirection() => Err(format!(
            "its server answers {status}, and redirects are not followed: write the address it leads to"
        )),
        status => Err(format!("its server answers {status}")),
    }
}

/// How long a file must stay as it is to be taken as written.
const SETTLE: Duration = Duration::from_millis(200);

/// How often a file is looked at until it stays as it is.
const LOOKS: usize = 25;

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(60), bytes: MAX_PACKED };
