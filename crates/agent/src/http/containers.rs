//! Executors as containers: which processes they are, and what they use.

use std::collections::BTreeMap;

use mesarch_agent_core::{ExecutorKey, RunFacts};
use mesarch_mesos_v1::Query;
use mesarch_proto::mesos::v1::{
    self, ContainerStatus, ExecutorInfo, ResourceStatistics, agent::response::get_containers::Container,
};
use mesarch_types::{ContainerId, Scalar};
use prost::Message;
use serde_json::{Value, json};

use super::state::{Look, json_of, resources};
use crate::{
    containerizer::usage::{Census, Usage},
    status::seconds,
};

const MB: u64 = 1024 * 1024;

/// All containers, in the order of their executors. Blocking: looks at every process of the machine, once.
pub(super) fn containers(look: &Look) -> Vec<Container> {
    let usages = usages(look);
    let runs = look.core.durable().runs.iter();
    runs.map(|(key, facts)| container(look, key, facts, usages.get(&facts.container))).collect()
}

/// Of the runs whose processes are there.
fn usages(look: &Look) -> BTreeMap<&ContainerId, Usage> {
    match Census::take() {
        Ok(census) => {
            let pids = look.pids.iter();
            pids.filter_map(|(container, pid)| Some((container, census.usage(*pid)?))).collect()
        }
        Err(error) => {
            tracing::warn!(%error, "the processes cannot be looked at: containers are told without statistics");
            BTreeMap::new()
        }
    }
}

fn container(look: &Look, key: &ExecutorKey, facts: &RunFacts, usage: Option<&Usage>) -> Container {
    let info = ExecutorInfo::decode(facts.spec.info.clone()).unwrap_or_default();
    let container_id = v1::ContainerId { value: facts.container.to_string(), ..Default::default() };
    let pid = look.pids.get(&facts.container).and_then(|pid| u32::try_from(*pid).ok());
    Container {
        framework_id: Some(v1::FrameworkId { value: key.framework.to_string() }),
        executor_id: Some(v1::ExecutorId { value: key.executor.to_string() }),
        executor_name: Some(info.name.unwrap_or_default()),
        container_status: Some(ContainerStatus {
            container_id: Some(container_id.clone()),
            executor_pid: pid,
            ..Default::default()
        }),
        container_id,
        resource_statistics: usage.map(|usage| statistics(usage, look, key, facts)),
    }
}

/// What is used, beside what was given. Nothing here is enforced, and so there are soft limits only; memory is told as a
/// limit too, as it is by Mesos without an isolator that enforces it.
fn statistics(usage: &Usage, look: &Look, key: &ExecutorKey, facts: &RunFacts) -> ResourceStatistics {
    let given = resources(&look.given(key, facts)).quantities();
    let scalar = |kind: &str| given.get(kind);
    let bytes = |megabytes: Scalar| (megabytes.to_f64() * MB as f64) as u64;
    let wall = crate::runner::wall_now();
    ResourceStatistics {
        timestamp: seconds(wall),
        processes: Some(usage.processes),
        threads: Some(usage.threads),
        cpus_user_time_secs: Some(usage.user.as_secs_f64()),
        cpus_system_time_secs: Some(usage.system.as_secs_f64()),
        cpus_soft_limit: Some(scalar("cpus").to_f64()),
        mem_limit_bytes: Some(bytes(scalar("mem"))),
        mem_soft_limit_bytes: Some(bytes(scalar("mem"))),
        mem_rss_bytes: Some(usage.resident_bytes),
        ..Default::default()
    }
}

/// `/containers`, all or one.
pub(super) fn list(look: &Look, query: &Query) -> Value {
    let only = query.get("container_id");
    let wanted = |container: &&Container| only.is_none_or(|only| container.container_id.value == only);
    let all = containers(look);
    all.iter().filter(wanted).map(|container| shown(look, container, true)).collect()
}

/// `/monitor/statistics`.
pub(super) fn monitor(look: &Look) -> Value {
    let all = containers(look);
    let measured = all.iter().filter(|container| container.resource_statistics.is_some());
    measured.map(|container| shown(look, container, false)).collect()
}

fn shown(look: &Look, container: &Container, with_status: bool) -> Value {
    let value = |id: Option<&str>| id.unwrap_or_default().to_owned();
    let framework = value(container.framework_id.as_ref().map(|id| id.value.as_str()));
    let executor = value(container.executor_id.as_ref().map(|id| id.value.as_str()));
    let key = ExecutorKey::new(&framework.as_str().into(), &executor.as_str().into());
    let info = look.core.durable().runs.get(&key).map(|facts| facts.spec.info.clone()).unwrap_or_default();
    let mut view = json!({
        "framework_id": framework,
        "executor_id": executor,
        "executor_name": container.executor_name,
        "source": ExecutorInfo::decode(info).unwrap_or_default().source.unwrap_or_default(),
    });
    if let Some(statistics) = &container.resource_statistics {
        view["statistics"] = json_of(statistics);
    }
    if with_status {
        view["container_id"] = json!(container.container_id.value);
        view["status"] = container.container_status.as_ref().map(json_of).unwrap_or_default();
    }
    view
}
