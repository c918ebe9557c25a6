//! What the real shells do with protobuf: from one core's words to another's. The opaque messages are texts here.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_agent_core::{self as agent, MasterMessage};
use mesarch_leader_core::{Attach, FromAgent, Hello, TaskKey, ToAgent};
use mesarch_state::{
    State,
    command::{
        AgentSpec, ExecutorSpec, Inventory, InventoryExecutor, InventoryTask, StatusUpdate, StoredResources,
        TaskSpec,
    },
    model::Agent,
};
use mesarch_types::{
    AgentCapabilities, Disk, ExecutorId, FrameworkCapability, FrameworkId, Millis, Resource, Resources, Role,
    Source, TaskId, parse_resources,
};

/// Resources of a text that is known to be good.
pub(crate) fn resources(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("texts are made here")
}

/// A task with its opaque message: `task`, its resources, the executor's message if it has one, and which life of its id
/// the scheduler means.
pub(crate) fn task_spec(task: &TaskId, used: &str, executor: Option<ExecutorSpec>, life: u64) -> TaskSpec {
    let own =
        executor.as_ref().map_or("", |executor| std::str::from_utf8(&executor.info).unwrap_or_default());
    let info = format!("{task}|{used}|{own}|{life}");
    TaskSpec { id: task.clone(), info: info.into(), resources: resources(used), executor }
}

/// An executor with its opaque message: its id and resources.
pub(crate) fn executor_spec(id: &str, used: &str) -> ExecutorSpec {
    ExecutorSpec { id: ExecutorId::from(id), info: format!("{id}/{used}").into(), resources: resources(used) }
}

/// A volume made of this disk.
pub(crate) fn volume(id: &str, disk: &str) -> Resources {
    let volume = Disk { persistence_id: Some(id.into()), ..Disk::default() };
    let made = |below: &Resource| Resource { disk: Some(Arc::new(volume.clone())), ..below.clone() };
    Resources::new(resources(disk).iter().map(made)).expect("texts are made here")
}

fn read_task(info: &Bytes) -> TaskSpec {
    let text = std::str::from_utf8(info).unwrap_or_default();
    let mut parts = text.split('|');
    let (id, used, own) =
        (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let life = parts.next().and_then(|life| life.parse().ok()).unwrap_or_default();
    let executor = own.split_once('/').map(|(id, used)| executor_spec(id, used));
    task_spec(&TaskId::from(id), used, executor, life)
}

/// The task that a message to an executor is about, and which life of it.
pub(crate) fn task_of(info: &Bytes) -> (TaskId, u64) {
    let text = std::str::from_utf8(info).unwrap_or_default();
    let life = text.rsplit('|').next().and_then(|life| life.parse().ok()).unwrap_or_default();
    (read_task(info).id, life)
}

fn read_executor(info: &Bytes) -> ExecutorSpec {
    let text = std::str::from_utf8(info).unwrap_or_default();
    let (id, used) = text.split_once('/').unwrap_or((text, ""));
    executor_spec(id, used)
}

/// What agent number `number` says of itself.
pub(crate) fn agent_spec(number: usize) -> AgentSpec {
    AgentSpec {
        info: format!("agent {number}").into(),
        hostname: format!("host-{number}").into(),
        port: 5051,
        total: resources("cpus:4;mem:4096;disk:1000"),
        attributes: [].into(),
        capabilities: AgentCapabilities::all(),
        version: Arc::from("1"),
    }
}

fn key(key: &agent::TaskKey) -> TaskKey {
    TaskKey { framework: key.framework.clone(), task: key.task.clone(), launch: key.launch }
}

/// The first message of agent number `number`.
pub(crate) fn hello(number: usize, hello: agent::Hello) -> Hello {
    let spec = agent_spec(number);
    let Some(agent) = hello.agent else {
        return Hello::Register { nonce: [number as u8 + 1; 16], spec };
    };
    Hello::Attach(Attach {
        agent,
        spec,
        digest_form: hello.digest_form,
        digest: hello.digest,
        listed: hello.listed.iter().map(key).collect(),
        inventory_wanted: hello.inventory_wanted,
        highest: hello.highest,
        stored: hello.stored,
    })
}

/// An agent's inventory.
pub(crate) fn inventory(inventory: agent::Inventory) -> Inventory {
    let tasks = inventory.tasks.into_iter().map(|task| InventoryTask {
        framework: task.key.framework,
        launch: task.key.launch,
        spec: read_task(&task.info),
        state: task.state,
        acknowledged: task.acknowledged,
    });
    let executors = inventory
        .executors
        .into_iter()
        .map(|(framework, info)| InventoryExecutor { framework, spec: read_executor(&info) });
    Inventory {
        tasks: tasks.collect(),
        executors: executors.collect(),
        frameworks: inventory.frameworks,
        newest: inventory.newest,
        resources: inventory.resources.map(|facts| StoredResources {
            version: facts.version,
            taken: facts.taken,
            made: facts.made,
        }),
    }
}

/// What an attached agent reports; none for what is not for the masters' minds.
pub(crate) fn report(message: agent::ToMaster) -> Option<FromAgent> {
    match message {
        agent::ToMaster::Update { key, update, latest, .. } => Some(FromAgent::Updates(vec![StatusUpdate {
            framework: key.framework,
            task: key.task,
            launch: key.launch,
            status: update.uuid.0.to_vec().into(),
            state: update.state,
            latest,
            uuid: update.uuid,
            source: Source::Executor,
            reason: None,
        }])),
        agent::ToMaster::Forgot { key, uuid } => {
            let acknowledged = vec![(key.framework, key.task, key.launch, uuid)];
            Some(FromAgent::Forgot { acknowledged, frameworks: Vec::new() })
        }
        agent::ToMaster::ForgotFramework(framework) => {
            Some(FromAgent::Forgot { acknowledged: Vec::new(), frameworks: vec![framework] })
        }
        agent::ToMaster::ExecutorExited { executor, newest, status } => {
            let agent::ExecutorKey { framework, executor } = executor;
            Some(FromAgent::ExecutorExited { framework, executor, newest, status })
        }
        agent::ToMaster::ResourcesStored(version) => Some(FromAgent::ResourcesStored(version)),
        agent::ToMaster::Hello(_) | agent::ToMaster::Inventory(_) | agent::ToMaster::Message { .. } => None,
    }
}

/// A message to an agent with the bodies looked up in the newest state; none if it is about what is no more.
pub(crate) fn message(state: &State, message: ToAgent) -> Option<MasterMessage> {
    Some(match message {
        ToAgent::Attached { agent, .. } => MasterMessage::Attached(agent),
        ToAgent::InventoryRequest => MasterMessage::InventoryRequest,
        ToAgent::Resources { agent } => MasterMessage::Resources(resource_facts(state.agent(&agent)?)),
        // No resource provider is played here: none is told of, so none is asked.
        ToAgent::ApplyOperation { .. } | ToAgent::OperationAcknowledged { .. } => return None,
        ToAgent::RunTask { framework, task, launch } => {
            MasterMessage::RunTask(Box::new(run_task(state, framework, task, launch)?))
        }
        ToAgent::KillTask { framework, task, launch } => {
            MasterMessage::KillTask { key: agent::TaskKey { framework, task, launch }, policy: Bytes::new() }
        }
        ToAgent::Acknowledged { framework, task, launch, uuid } => {
            MasterMessage::Acknowledged { key: agent::TaskKey { framework, task, launch }, uuid }
        }
        ToAgent::ShutdownExecutor { framework, executor } => {
            MasterMessage::ShutdownExecutor(agent::ExecutorKey { framework, executor })
        }
        ToAgent::ShutdownFramework { framework } => MasterMessage::ShutdownFramework(framework),
        ToAgent::Shutdown { reason } => MasterMessage::Shutdown(reason.to_string().into()),
        ToAgent::ExecutorExitNoted { framework, executor, newest } => {
            let executor = agent::ExecutorKey { framework, executor };
            MasterMessage::ExecutorExitNoted { executor, newest }
        }
        ToAgent::Ping { .. } => return None,
    })
}

fn resource_facts(agent: &Agent) -> agent::ResourceFacts {
    let converted = agent.converted.as_deref();
    agent::ResourceFacts {
        version: agent.converted_at,
        taken: converted.map(|converted| converted.taken.clone()).unwrap_or_default(),
        made: converted.map(|converted| converted.made.clone()).unwrap_or_default(),
        gone: Resources::default(),
    }
}

fn run_task(
    state: &State,
    framework: FrameworkId,
    task: TaskId,
    launch: mesarch_types::LaunchId,
) -> Option<agent::RunTask> {
    let owner = state.framework(&framework)?;
    let known = state.task(&framework, &task).filter(|known| known.launch == launch)?;
    let own = known.spec.executor.as_ref();
    let executor = agent::ExecutorSpec {
        id: own.map_or_else(|| ExecutorId::from(task.as_str()), |executor| executor.id.clone()),
        info: own.map(|executor| executor.info.clone()).unwrap_or_default(),
        command: own.is_none(),
        shutdown_grace: Millis::from_secs(5),
    };
    let spec = agent::FrameworkSpec {
        id: framework.clone(),
        info: owner.spec.info.clone(),
        checkpoint: owner.spec.checkpoint,
        partition_aware: owner.spec.capabilities.has(FrameworkCapability::PartitionAware),
    };
    let key = agent::TaskKey { framework, task, launch };
    // Some tasks want what no agent has.
    let refused = launch.index.is_multiple_of(9).then(|| Arc::from("the agent does not have that"));
    let own = |resource: &Resource| resource.reservations.last().is_some();
    let converted = known.spec.resources.without_allocation().filter(own);
    let info = known.spec.info.clone();
    Some(agent::RunTask { key, info, framework: spec, executor, converted, refused })
}
