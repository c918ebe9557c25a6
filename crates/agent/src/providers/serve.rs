//! What the runner does for resource providers, and for the launches that wait for them.

use std::time::Duration;

use mesarch_agent_core::{Input, Run, ToProvider};
use mesarch_mesos_v1::ContentType;
use mesarch_proto::mesos::v1::{
    TaskInfo,
    executor::Event,
    resource_provider::{
        Call,
        call::{Type, update_publish_resources_status::Status},
    },
};
use mesarch_types::{ProviderId, UpdateUuid};
use prost::Message;
use tokio::sync::{mpsc, oneshot};

use super::{ProviderRefusal, Told, publish, uuid_of};
use crate::{
    requests::{EventStream, GoneRefusal, Request},
    runner::{Runner, launched},
};

/// From asking a provider to make resources usable to giving their launch up.
const PUBLISH_WITHIN: Duration = Duration::from_secs(30);
/// What was told to masters and providers and may be lost is told again so often.
const TELL_AGAIN: Duration = Duration::from_secs(15);

/// Wakes the runner for its providers from time to time.
pub(crate) async fn clock(requests: mpsc::Sender<Request>) {
    loop {
        tokio::time::sleep(TELL_AGAIN).await;
        if requests.send(Request::ProvidersTick).await.is_err() {
            return;
        }
    }
}

impl Runner {
    /// SUBSCRIBE: who it is is stored before it hears its id.
    pub(crate) fn subscribe_provider(
        &mut self,
        call: Call,
        content_type: ContentType,
    ) -> Result<(String, EventStream), ProviderRefusal> {
        let asked = call.subscribe.unwrap_or_default().resource_provider_info;
        let admitted = self.providers.admit(asked)?;
        let (id, info) = (admitted.id.clone(), admitted.info.encode_to_vec().into());
        if self.core.durable().providers.get(&id) != Some(&info) {
            self.step(Input::ProviderAdmitted { id, info });
        }
        Ok(self.providers.open(admitted, content_type))
    }

    /// Every other call.
    pub(crate) fn provider_call(&mut self, call: Call, stream: &str) -> Result<(), ProviderRefusal> {
        let id = ProviderId::from(call.resource_provider_id.clone().unwrap_or_default().value);
        self.providers.caller(&id, stream)?;
        match self.take_provider_call(&id, call)? {
            Told::Nothing => {}
            Told::Ready => {
                for uuid in self.publishing.asked_of(&id) {
                    self.ask(uuid);
                }
            }
            Told::Published { uuid, done: true } => self.published(uuid),
            Told::Published { uuid, done: false } => self.give_up(uuid, "the resource provider could not"),
        }
        Ok(())
    }

    fn take_provider_call(&mut self, id: &ProviderId, call: Call) -> Result<Told, ProviderRefusal> {
        match call.r#type() {
            Type::UpdateState => self.providers.state(id, call.update_state.unwrap_or_default()),
            Type::UpdateOperationStatus => {
                self.providers.status(id, call.update_operation_status.unwrap_or_default());
                Ok(Told::Nothing)
            }
            Type::UpdatePublishResourcesStatus => {
                let update = call.update_publish_resources_status.unwrap_or_default();
                let done = update.status() == Status::Ok;
                let uuid = uuid_of(&update.uuid);
                Ok(uuid.map_or(Told::Nothing, |uuid| Told::Published { uuid, done }))
            }
            Type::Unknown | Type::Subscribe => Ok(Told::Nothing),
        }
    }

    /// What the leader wants a provider to hear.
    pub(crate) fn order(&mut self, order: ToProvider) {
        match order {
            ToProvider::Apply(order) => self.providers.apply(*order),
            ToProvider::Acknowledged { provider, operation, status } => {
                self.providers.acknowledged(&provider, operation, status);
            }
        }
    }

    /// An operator gives a provider up. It is answered once that is stored.
    pub(crate) fn mark_provider_gone(
        &mut self,
        id: &ProviderId,
        reply: oneshot::Sender<Result<(), GoneRefusal>>,
    ) {
        let refusal = match (self.providers.is_known(id), self.uses_provider(id)) {
            (false, _) => Some(GoneRefusal::Unknown),
            (true, true) => Some(GoneRefusal::InUse),
            (true, false) => None,
        };
        if let Some(refusal) = refusal {
            // Whoever asked and is gone does not need the answer.
            let _ = reply.send(Err(refusal));
            return;
        }
        self.step(Input::ProviderGone(id.clone()));
        self.gone.push((id.clone(), reply));
    }

    /// What was decided of providers and is stored by now.
    pub(crate) fn serve_providers(&mut self) {
        for (id, reply) in std::mem::take(&mut self.gone) {
            self.providers.remove(&id);
            let _ = reply.send(Ok(()));
        }
        self.providers.write();
    }

    fn uses_provider(&self, id: &ProviderId) -> bool {
        let tasks = self.core.durable().tasks.values().filter(|task| !task.state.is_terminal());
        let uses = |task: TaskInfo| publish::wanted(&[task]).contains_key(id);
        tasks.filter_map(|task| TaskInfo::decode(task.info.clone()).ok()).any(uses)
    }

    /// An event for an executor, once what it needs of providers is usable.
    pub(crate) fn deliver(&mut self, run: &Run, event: Event) {
        let Some(stream) = self.streams.number(run) else { return };
        let event = match self.publishing.queue(run, stream, event) {
            Ok(Some(event)) => event,
            Ok(None) => return,
            Err(()) => return self.posix.kill(run),
        };
        let wanted = publish::wanted(launched(&event));
        if wanted.is_empty() {
            return self.write_to_executor(run, &event);
        }
        for uuid in self.publishing.hold(run, stream, event, wanted) {
            self.ask(uuid);
            let requests = self.requests_again.clone();
            self.tasks.spawn("deadline of a publication", async move {
                tokio::time::sleep(PUBLISH_WITHIN).await;
                // The runner is gone when this fails, and with it the launch.
                let _ = requests.send(Request::PublishDue { uuid }).await;
            });
        }
    }

    fn ask(&mut self, uuid: UpdateUuid) {
        if let Some((provider, resources)) = self.publishing.asked(uuid) {
            self.providers.publish(provider, uuid, resources);
        }
    }

    fn published(&mut self, uuid: UpdateUuid) {
        let Some((run, stream, mut events)) = self.publishing.done(uuid) else { return };
        if self.streams.number(&run) != Some(stream) {
            return;
        }
        if let Some(launch) = events.pop_front() {
            self.write_to_executor(&run, &launch);
        }
        for event in events {
            self.deliver(&run, event);
        }
    }

    /// A task must not start without what it was promised.
    pub(crate) fn give_up(&mut self, uuid: UpdateUuid, why: &str) {
        if let Some(run) = self.publishing.failed(uuid) {
            tracing::error!(executor = %run.executor, why, "a task's resources were not published");
            self.posix.kill(&run);
        }
    }
}
