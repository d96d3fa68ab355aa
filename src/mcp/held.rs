//! How a call of a tool is answered when its statement is held for approval: by waiting a little as ever, by a task that
//! the client polls, or by first showing a person the link. Which of these, the client's own request says: its era, and
//! what it declares.

use std::pin::pin;
use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{CallToolResponse, JsonObject};
use rmcp::service::RequestContext;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::approval::ApprovalId;
use crate::gate::Hold;

use super::caller::Caller;
use super::links::{self, ReviewLinks};
use super::rooms::Rooms;
use super::tools::{self, Call};
use super::{tasks, waiting};

/// A call that is about to be made.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) rooms: Arc<Rooms>,
    pub(super) caller: Caller,
    pub(super) context: RequestContext<RoleServer>,
    pub(super) seat: OwnedSemaphorePermit,
    pub(super) tool: &'static str,
    pub(super) arguments: JsonObject,
    /// The request whose link was shown before the same call was made again.
    pub(super) resumed: Option<ApprovalId>,
}

/// Makes the call, and answers it.
pub(super) async fn answer(asked: Asked) -> CallToolResponse {
    let Asked { rooms, caller, context, seat, tool, arguments, resumed } = asked;
    let held = watch::Sender::new(None);
    let holds = held.subscribe();
    let gone = CancellationToken::new();
    let client = Client {
        way: Way::of(&context, rooms.review_links),
        about: links::about(tool, &arguments),
        rooms: Arc::clone(&rooms),
        who: caller.identity.name().to_owned(),
        context: context.clone(),
    };
    let mut own = context;
    own.ct = gone.clone();
    let call = Call { rooms, caller, context: own, seat, held };
    let work = pin!(async move {
        match resumed {
            Some(id) => links::resume(id, &arguments, call).await,
            None => tools::call(tool, arguments, call).await,
        }
    });
    tokio::select! {
        // Before the answer: one that did not wait at all comes at the very moment when the statement is held.
        biased;
        instead = client.instead(holds.clone()) => instead,
        envelope = work => envelope.into_result().into(),
        () = client.left(holds, &gone) => waiting::gone().into_result().into(),
    }
}

/// Who waits for the answer.
#[derive(Debug)]
struct Client {
    rooms: Arc<Rooms>,
    context: RequestContext<RoleServer>,
    way: Way,
    who: String,
    about: String,
}

/// What a client is given when its statement is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The answer, a little later.
    Wait,
    /// The same, and a person at the client sees the link meanwhile.
    WaitWithLink,
    /// The link, and the answer when it calls again.
    LinkFirst,
    /// A task.
    Task,
}

impl Way {
    fn of(context: &RequestContext<RoleServer>, links: ReviewLinks) -> Self {
        let Some(capabilities) = context.client_capabilities() else { return Self::Wait };
        let has_sessions = context.protocol_version().is_none_or(|version| version.has_initialize());
        let shows_links = capabilities.elicitation.as_ref().is_some_and(|modes| modes.url.is_some());
        match (has_sessions, links) {
            // Clients of the older eras that declare tasks mean another sort.
            (false, _) if capabilities.supports_tasks() => Self::Task,
            (true, ReviewLinks::Beside | ReviewLinks::Always) if shows_links => Self::WaitWithLink,
            (false, ReviewLinks::Always) if shows_links => Self::LinkFirst,
            (true | false, ReviewLinks::Off | ReviewLinks::Beside | ReviewLinks::Always) => Self::Wait,
        }
    }
}

impl Client {
    /// What it gets in place of the answer once its statement is held; never ends where that is nothing.
    async fn instead(&self, mut holds: watch::Receiver<Option<Hold>>) -> CallToolResponse {
        let hold = holds.wait_for(Option::is_some).await.ok().and_then(|hold| hold.clone());
        if let Some(hold) = hold
            && let Some(response) = self.deferred(&hold).await
        {
            return response;
        }
        std::future::pending().await
    }

    async fn deferred(&self, hold: &Hold) -> Option<CallToolResponse> {
        let id = &hold.approval_id;
        match self.way {
            Way::Wait => None,
            Way::Task => {
                let task = tasks::created(&self.rooms, id)?;
                Some(CallToolResponse::Task(task))
            }
            Way::LinkFirst if links::has_link(hold) && self.rooms.show_once(id) => {
                let question = links::question(&self.rooms, &self.who, &self.about, hold);
                Some(CallToolResponse::InputRequired(question))
            }
            Way::WaitWithLink if links::has_link(hold) && self.rooms.show_once(id) => {
                links::show_beside(&self.context, hold).await;
                None
            }
            Way::LinkFirst | Way::WaitWithLink => None,
        }
    }

    /// Ends when it is gone and its statement is held: the request stays, and whatever comes of it is kept. Before that, its
    /// leaving is passed on to the work.
    async fn left(&self, holds: watch::Receiver<Option<Hold>>, gone: &CancellationToken) {
        self.context.ct.cancelled().await;
        if holds.borrow().is_none() {
            gone.cancel();
            std::future::pending::<()>().await;
        }
    }
}
