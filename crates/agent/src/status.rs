//! `mesos.v1.TaskStatus`: completed for executors, made for the agent itself.

use std::net::IpAddr;

use bytes::Bytes;
use mesarch_agent_core::{Body, ExecutorUpdate, Run, TaskKey, Update};
use mesarch_proto::mesos::v1::{
    AgentId, ContainerId, ContainerStatus, ExecutorId, NetworkInfo, TaskId, TaskStatus,
    network_info::IpAddress, task_status::Source,
};
use mesarch_types::{TaskState, WallMillis};
use prost::Message;

use crate::wire::{WireError, uuid_from, uuid_to};

/// What the agent puts into every status.
#[derive(Clone, Debug)]
pub(crate) struct Renderer {
    /// None until the cluster gave one out; no task runs before.
    pub(crate) agent: Option<mesarch_types::AgentId>,
    /// Of the machine: tasks share its network.
    pub(crate) ip: IpAddr,
}

impl Renderer {
    /// The status as it is sent to the leader.
    pub(crate) fn status(&self, key: &TaskKey, update: &Update, run: Option<&Run>) -> Bytes {
        let (reason, message) = match &update.body {
            Body::Executor(status) => return status.clone(),
            Body::Agent { reason, message } => (reason.map(|reason| reason as i32), message.to_string()),
        };
        let status = TaskStatus {
            task_id: TaskId { value: key.task.to_string() },
            state: update.state as i32,
            message: Some(message),
            source: Some(Source::Agent as i32),
            reason,
            agent_id: self.agent_id(),
            executor_id: run.map(|run| ExecutorId { value: run.executor.to_string() }),
            timestamp: Some(seconds(update.wall)),
            uuid: Some(uuid_to(update.uuid)),
            container_status: run.map(|run| self.container_status(run)),
            ..Default::default()
        };
        status.encode_to_vec().into()
    }

    /// Completes what an executor sent whose first process is `pid`.
    pub(crate) fn complete(
        &self,
        mut status: TaskStatus,
        run: &Run,
        pid: Option<i32>,
        wall: WallMillis,
    ) -> Result<ExecutorUpdate, WireError> {
        let uuid = uuid_from(status.uuid.as_deref().ok_or(WireError("uuid"))?)?;
        let state = TaskState::from_number(status.state).ok_or(WireError("state"))?;
        status.agent_id = self.agent_id();
        status.executor_id = Some(ExecutorId { value: run.executor.to_string() });
        status.source = Some(Source::Executor as i32);
        status.timestamp.get_or_insert_with(|| seconds(wall));
        let container = self.container_status(run);
        let known = status.container_status.get_or_insert_default();
        known.container_id = known.container_id.take().or(container.container_id);
        if known.network_infos.is_empty() {
            known.network_infos = container.network_infos;
        }
        // Of a container within the executor's it says itself which process it is.
        let nested = known.container_id.as_ref().is_some_and(|id| id.parent.is_some());
        if !nested {
            known.executor_pid = pid.and_then(|pid| u32::try_from(pid).ok()).or(known.executor_pid);
        }
        let task = mesarch_types::TaskId::from(status.task_id.value.as_str());
        Ok(ExecutorUpdate { task, uuid, state, status: status.encode_to_vec().into() })
    }

    fn agent_id(&self) -> Option<AgentId> {
        self.agent.as_ref().map(|id| AgentId { value: id.to_string() })
    }

    fn container_status(&self, run: &Run) -> ContainerStatus {
        let address = IpAddress { ip_address: Some(self.ip.to_string()), ..Default::default() };
        ContainerStatus {
            container_id: Some(ContainerId { value: run.container.to_string(), ..Default::default() }),
            network_infos: vec![NetworkInfo { ip_addresses: vec![address], ..Default::default() }],
            ..Default::default()
        }
    }
}

/// Wall time as tools read it.
pub(crate) fn seconds(wall: WallMillis) -> f64 {
    wall.0 as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use mesarch_types::{LaunchId, Reason, UpdateUuid};

    use super::*;

    fn renderer() -> Renderer {
        Renderer { agent: Some("S1".into()), ip: IpAddr::from([127, 0, 0, 1]) }
    }

    fn run() -> Run {
        Run { framework: "F".into(), executor: "e".into(), container: "c".into() }
    }

    fn address(status: &TaskStatus) -> Option<&str> {
        status.container_status.as_ref()?.network_infos.first()?.ip_addresses.first()?.ip_address.as_deref()
    }

    #[test]
    fn the_agent_fills_in_what_an_executor_leaves_out() {
        let sent = TaskStatus {
            task_id: TaskId { value: "t".into() },
            state: TaskState::Running as i32,
            uuid: Some(Bytes::from_static(&[1; 16])),
            data: Some(Bytes::from_static(b"kept")),
            ..Default::default()
        };
        let update = renderer().complete(sent, &run(), Some(77), WallMillis(1500)).unwrap();
        let status = TaskStatus::decode(update.status).unwrap();
        assert_eq!(status.agent_id.as_ref().unwrap().value, "S1");
        assert_eq!(status.executor_id.as_ref().unwrap().value, "e");
        assert_eq!((status.source, status.timestamp), (Some(Source::Executor as i32), Some(1.5)));
        assert_eq!(status.container_status.as_ref().unwrap().container_id.as_ref().unwrap().value, "c");
        assert_eq!(address(&status), Some("127.0.0.1"));
        assert_eq!(status.container_status.as_ref().unwrap().executor_pid, Some(77));
        assert_eq!(status.data.as_deref(), Some(&b"kept"[..]));
    }

    #[test]
    fn the_agent_s_own_updates_say_why() {
        let key = TaskKey { framework: "F".into(), task: "t".into(), launch: LaunchId::default() };
        let body = Body::Agent { reason: Some(Reason::ExecutorTerminated), message: "it ended".into() };
        let update =
            Update { uuid: UpdateUuid([2; 16]), state: TaskState::Failed, wall: WallMillis(2000), body };
        let status = TaskStatus::decode(renderer().status(&key, &update, Some(&run()))).unwrap();
        assert_eq!(status.message.as_deref(), Some("it ended"));
        assert_eq!(status.reason, Some(Reason::ExecutorTerminated as i32));
        assert_eq!(status.source, Some(Source::Agent as i32));
        assert_eq!(status.uuid.as_deref(), Some(&[2u8; 16][..]));
    }
}
