//! The agents' side of the master: their links, and the watch that tells them where the leader is.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use mesarch_consensus::Members;
use mesarch_leader_core::{Hello, Input};
use mesarch_proto::link::{
    ExecutorMessage, FromAgent, LeaderChange, ToAgent, WatchLeaderRequest, agent_link_server::AgentLink,
    from_agent::Kind,
};
use mesarch_state::command::Link;
use mesarch_types::{AgentId, FrameworkId};
use tokio::sync::{mpsc, watch};
use tonic::{Request, Response, Status, Streaming};

use super::Outgoing;
use crate::{
    app::App,
    events,
    leader::{Session, ToLeader},
    link_messages::{self, InvalidMessage},
    view::LeaderView,
};

/// How long an agent may take to say who it is.
const HELLO_WAIT: Duration = Duration::from_secs(10);

/// See the module's text.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) app: Arc<App>,
}

#[tonic::async_trait]
impl AgentLink for Service {
    type ConnectStream = Outgoing<ToAgent>;
    type WatchLeaderStream = Outgoing<LeaderChange>;

    /// Agents know from the watch when to come: one that comes to another master is sent away at once.
    async fn connect(
        &self,
        request: Request<Streaming<FromAgent>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        let LeaderView::Leading(session) = self.app.view.borrow().clone() else {
            return Err(Status::failed_precondition("this master does not lead"));
        };
        let link = session.next_link();
        let queue = self.app.links.open(link);
        let reader = Reader { app: self.app.clone(), session, link, agent: None };
        tokio::spawn(reader.run(request.into_inner()));
        Ok(Response::new(outgoing(queue).boxed()))
    }

    async fn watch_leader(
        &self,
        _: Request<WatchLeaderRequest>,
    ) -> Result<Response<Self::WatchLeaderStream>, Status> {
        let own: Arc<str> = Arc::from(self.app.facts.address());
        let watched = Watched { view: self.app.view.clone(), members: self.app.consensus.0.memberships() };
        let changes =
            stream::unfold((watched, None), move |(watched, last)| next_change(watched, last, own.clone()));
        Ok(Response::new(changes.boxed()))
    }
}

fn outgoing(
    queue: mpsc::Receiver<crate::links::Outgoing>,
) -> impl futures::Stream<Item = crate::links::Outgoing> {
    stream::unfold(queue, |mut queue| async move { Some((queue.recv().await?, queue)) })
}

/// Who leads, and who belongs to the cluster.
struct Watched {
    view: watch::Receiver<LeaderView>,
    members: watch::Receiver<Members>,
}

type Watch = (Watched, Option<LeaderChange>);

/// The next change that differs from the last one told.
async fn next_change(
    mut watched: Watched,
    last: Option<LeaderChange>,
    own: Arc<str>,
) -> Option<(Result<LeaderChange, Status>, Watch)> {
    loop {
        let now = change(&watched.view.borrow_and_update(), &watched.members.borrow_and_update(), &own);
        if last.as_ref() != Some(&now) {
            return Some((Ok(now.clone()), (watched, Some(now))));
        }
        tokio::select! {
            changed = watched.view.changed() => changed.ok()?,
            changed = watched.members.changed() => changed.ok()?,
        }
    }
}

fn change(view: &LeaderView, members: &Members, own: &str) -> LeaderChange {
    let (leader, here) = match view {
        LeaderView::Electing { .. } => (String::new(), false),
        LeaderView::Following { leader, .. } => (leader.to_string(), false),
        LeaderView::Leading(_) => (own.to_owned(), true),
    };
    let masters = members.all().map(|(_, info)| info.client.clone()).collect();
    LeaderChange { term: view.term(), leader, here, masters }
}

/// Reads one agent's stream.
struct Reader {
    app: Arc<App>,
    session: Arc<Session>,
    link: Link,
    /// Known from the beginning, or looked up once it is needed.
    agent: Option<AgentId>,
}

impl Reader {
    /// Until the stream, the link or the term ends.
    async fn run(mut self, mut messages: Streaming<FromAgent>) {
        let ended = self.session.clone();
        tokio::select! {
            reason = self.read(&mut messages) => {
                tracing::debug!(link = ?self.link, %reason, "an agent's link ends");
                self.app.links.close(self.link, &reason);
            }
            () = ended.ended() => {}
        }
        self.tell(Input::LinkClosed { link: self.link }).await;
    }

    async fn tell(&self, input: Input) -> bool {
        self.session.tell(ToLeader::Input(input)).await
    }

    /// Why the link ends.
    async fn read(&mut self, messages: &mut Streaming<FromAgent>) -> String {
        let hello = match tokio::time::timeout(HELLO_WAIT, next(messages)).await {
            Ok(Ok(kind)) => link_messages::hello(kind),
            Ok(Err(reason)) => return reason,
            Err(_) => return "the agent did not say who it is".to_owned(),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(error) => return error.to_string(),
        };
        if let Hello::Attach(attach) = &hello {
            self.agent = Some(attach.agent.clone());
        }
        if !self.tell(Input::LinkOpened { link: self.link, hello }).await {
            return "this master does not lead any more".to_owned();
        }
        loop {
            let kind = match next(messages).await {
                Ok(kind) => kind,
                Err(reason) => return reason,
            };
            match self.take(kind) {
                Ok(Some(input)) => {
                    if !self.tell(input).await {
                        return "this master does not lead any more".to_owned();
                    }
                }
                Ok(None) => {}
                Err(error) => return error.to_string(),
            }
        }
    }

    /// What the leader is told of a message.
    fn take(&mut self, kind: Kind) -> Result<Option<Input>, InvalidMessage> {
        let link = self.link;
        let message = match kind {
            Kind::Inventory(inventory) => {
                let inventory = link_messages::inventory(inventory)?;
                return Ok(Some(Input::LinkInventory { link, inventory }));
            }
            Kind::Pong(pong) => {
                return Ok(Some(Input::Pong { link, number: pong.number }));
            }
            Kind::Message(message) => {
                self.forward(message);
                return Ok(None);
            }
            Kind::Updates(updates) => link_messages::updates(updates)?,
            Kind::Forgot(forgot) => link_messages::forgot(forgot)?,
            Kind::ResourcesStored(stored) => link_messages::resources_stored(stored)?,
            Kind::Providers(providers) => link_messages::providers(providers)?,
            Kind::OperationUpdates(updates) => link_messages::operation_updates(updates)?,
            Kind::ExecutorExited(exited) => link_messages::executor_exited(exited)?,
            Kind::Register(_) | Kind::Attach(_) => {
                return Err(InvalidMessage::Field {
                    field: "kind",
                    reason: "an agent says who it is once per link".to_owned(),
                });
            }
        };
        Ok(Some(Input::FromAgent { link, message }))
    }

    /// An executor's bytes for its scheduler: best effort, never in the log.
    fn forward(&mut self, message: ExecutorMessage) {
        let Some(agent) = self.agent_id() else { return };
        let framework = FrameworkId::from(message.framework);
        if let Some(stream) = self.app.streams.get(&framework) {
            stream.push(&events::message(&agent, &message.executor.into(), message.data), None);
        }
    }

    /// An agent that registered on this link got its id later.
    fn agent_id(&mut self) -> Option<AgentId> {
        if self.agent.is_none() {
            let published = self.app.newest();
            let found = published.state.agents().find(|agent| agent.link == self.link);
            self.agent = found.map(|agent| agent.id.clone());
        }
        self.agent.clone()
    }
}

/// The next message that says something; why there is none.
async fn next(messages: &mut Streaming<FromAgent>) -> Result<Kind, String> {
    match messages.message().await {
        Ok(Some(FromAgent { kind: Some(kind) })) => Ok(kind),
        Ok(Some(FromAgent { kind: None })) => Err("a message of an unknown kind".to_owned()),
        Ok(None) => Err("the agent closed its stream".to_owned()),
        Err(status) => Err(format!("the agent's stream broke: {}", status.message())),
    }
}
