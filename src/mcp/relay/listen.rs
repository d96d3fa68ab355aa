//! What a gateway says of its own accord: in a session, a stream beside the answers. (Since 2026-07-28 a client asks for it
//! by a request, whose answer is that stream.)

use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Response, StatusCode};
use tokio::io::AsyncWrite;
use tokio::sync::Mutex as AsyncMutex;

use super::headers::{SESSION, VERSION};
use super::sse::Events;
use super::{EVENT_STREAM, Gateway, MAX_MESSAGE, content_type, json_rpc, write};

impl Gateway {
    /// Carries it down, whichever session there is, until the gateway says that it has nothing to say.
    pub(super) async fn listen<W: AsyncWrite + Unpin>(&self, output: &AsyncMutex<W>) -> std::io::Result<()> {
        loop {
            match self.open_stream().await {
                Some(answer) if answer.status() == StatusCode::METHOD_NOT_ALLOWED => return Ok(()),
                Some(answer) if content_type(&answer).starts_with(EVENT_STREAM) => {
                    carry(answer, output).await?;
                }
                _ => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The stream of the session, if there is one and the gateway answers.
    async fn open_stream(&self) -> Option<Response> {
        let (session, version) = {
            let conversation = self.conversation();
            (conversation.session.clone()?, conversation.version.clone())
        };
        let request = self.http.get(self.url.clone()).header(ACCEPT, EVENT_STREAM).header(SESSION, session);
        let request = request.header(AUTHORIZATION, self.authorization.clone());
        request.header(VERSION, version.unwrap_or_default()).send().await.ok()
    }
}

async fn carry<W: AsyncWrite + Unpin>(mut answer: Response, output: &AsyncMutex<W>) -> std::io::Result<()> {
    let mut events = Events::new(MAX_MESSAGE, true);
    while let Ok(Some(chunk)) = answer.chunk().await {
        let Ok(texts) = events.take(&chunk, false) else { return Ok(()) };
        for message in texts.iter().filter_map(|text| json_rpc(text)) {
            write(output, &message).await?;
        }
    }
    Ok(())
}

/// Before a stream that has ended, or could not be opened, is opened again.
const PAUSE: Duration = Duration::from_secs(1);
