//! What runs here and what ran here, in the shapes that tools read. Only what is known to be so.
//! `/state` is here, the messages of the v1 API are in `v1.rs`.

mod amounts;
mod task;
pub(super) mod v1;

use std::{collections::BTreeMap, sync::Arc};

use mesarch_agent_core::{Agent, ExecutorKey, ExecutorSpec, FrameworkSpec, Run, RunFacts, RunPhase, TaskKey};
use mesarch_mesos_v1::convert::{ResourceForm, attributes_from_v1, resources_from_v1, resources_to_v1};
use mesarch_mesos_v1::v0::Attributes;
use mesarch_proto::{
    json::Json,
    mesos::v1::{
        ExecutorInfo, FrameworkInfo, Operation, Resource, ResourceProviderInfo, TaskInfo,
        agent::response::get_resource_providers::ResourceProvider, executor_info, framework_info,
    },
};
use mesarch_types::{AgentId, ContainerId, FrameworkId, Resources, TaskState};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    calls::Calls,
    history::{History, PastRun, Told},
    info::Identity,
    runner::Facts,
    sandbox::Places,
    status::{Renderer, seconds},
    wire::capability_names,
};
use amounts::{amounts, by_role, unreserved};

/// What is looked at: a copy of one moment, so that nobody waits while it is rendered. Descriptions and statuses, which
/// are most of it, are shared and not copied.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) core: Agent,
    pub(crate) history: History,
    pub(crate) identity: Identity,
    pub(crate) renderer: Renderer,
    pub(crate) facts: Arc<Facts>,
    /// The first process of each run that has one.
    pub(crate) pids: BTreeMap<ContainerId, i32>,
    /// Runs that could not be started since the agent was.
    pub(crate) launch_failures: u64,
    /// Resource providers, each with what it has.
    pub(crate) providers: Vec<(ResourceProviderInfo, Vec<Resource>)>,
    /// What these are to do, or have done and masters do not know yet.
    pub(crate) operations: Vec<Operation>,
    /// Their event streams: opened since the agent was started, and open now.
    pub(crate) streams_of_providers: (u64, u64),
    /// What executors asked for.
    pub(crate) calls: Calls,
    /// Who leads, host:port, as far as there is a link.
    pub(crate) master: Option<Arc<str>>,
}

/// A task with its name.
type Task<'a> = (&'a TaskKey, &'a Told);
type TasksByRun<'a> = BTreeMap<&'a ContainerId, Vec<Task<'a>>>;

impl Look {
    fn resource_providers(&self) -> Vec<Value> {
        let shown = self.providers.iter().map(|(info, resources)| {
            json_of(&ResourceProvider {
                resource_provider_info: info.clone(),
                total_resources: resources.clone(),
            })
        });
        shown.collect()
    }

    /// The whole document.
    pub(crate) fn render(&self) -> Value {
        let info = &self.identity.info;
        let total = self.converted();
        let allocated = self.allocated();
        let mut document = json!({
            "version": super::API_LEVEL,
            "mesarch_version": env!("CARGO_PKG_VERSION"),
            "build_date": "",
            "build_time": 0.0,
            "build_user": "",
            "start_time": seconds(self.facts.started),
            "id": self.core.id().map(AgentId::as_str).unwrap_or_default(),
            "pid": self.identity.pid(),
            "hostname": info.hostname,
            "port": info.port,
            "attached": self.core.attached(),
            "capabilities": capability_names(),
            "resources": amounts(&total),
            "reserved_resources": by_role(&total, amounts),
            "unreserved_resources": amounts(&unreserved(&total)),
            "reserved_resources_full": by_role(&total, full),
            "unreserved_resources_full": full(&unreserved(&total)),
            "reserved_resources_allocated": by_role(&allocated, amounts),
            "unreserved_resources_allocated": amounts(&unreserved(&allocated)),
            "resource_providers": self.resource_providers(),
            "attributes": self.attributes(),
            "flags": self.facts.flags,
            "frameworks": self.frameworks(),
            "completed_frameworks": self.completed_frameworks(),
        });
        if let Some((host, _)) = self.master.as_deref().and_then(|master| master.rsplit_once(':')) {
            document["master_hostname"] = json!(host);
        }
        if let Some(domain) = &info.domain {
            document["domain"] = json_of(domain);
        }
        document
    }

    /// What the agent brings, with what operators and frameworks made of it.
    fn converted(&self) -> Resources {
        let total = resources(&self.identity.info.resources);
        let facts = &self.core.durable().resources;
        // Started with other resources than those that were converted, it can tell of these alone.
        let converted = total.checked_sub(&facts.taken).and_then(|rest| rest.checked_add(&facts.made));
        converted.unwrap_or(total)
    }

    fn frameworks(&self) -> Vec<Value> {
        let (ended, completed) = self.past();
        let durable = self.core.durable();
        let frameworks = durable.frameworks.iter().map(|(id, facts)| {
            let executors = durable.runs_of_framework(id).filter_map(|run| {
                let spec = &durable.runs.get(&run.key())?.spec;
                Some(self.executor(&run, spec, &completed))
            });
            let past = ended.get(id).map(Vec::as_slice).unwrap_or_default();
            self.framework(&facts.spec, executors.collect(), past, &completed)
        });
        frameworks.collect()
    }

    fn completed_frameworks(&self) -> Vec<Value> {
        let (ended, completed) = self.past();
        let over = ended.iter().filter(|(id, _)| !self.core.durable().frameworks.contains_key(**id));
        let newest = over.filter_map(|(_, runs)| Some((&runs.last()?.framework, runs)));
        newest.map(|(spec, runs)| self.framework(spec, Vec::new(), runs, &completed)).collect()
    }

    /// Ended runs by framework, completed tasks by run.
    fn past(&self) -> (BTreeMap<&FrameworkId, Vec<&PastRun>>, TasksByRun<'_>) {
        let (mut runs, mut tasks) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for over in self.history.ended() {
            runs.entry(&over.run.framework).or_default().push(over);
        }
        for (key, told) in self.history.completed() {
            if let Some(container) = &told.container {
                tasks.entry(container).or_default().push((key, told));
            }
        }
        (runs, tasks)
    }

    fn framework(
        &self,
        spec: &FrameworkSpec,
        executors: Vec<Value>,
        ended: &[&PastRun],
        completed: &TasksByRun<'_>,
    ) -> Value {
        let info = FrameworkInfo::decode(spec.info.clone()).unwrap_or_default();
        let told = json_of(&info);
        let over = ended.iter().map(|past| self.executor(&past.run, &past.spec, completed));
        let mut view = json!({
            "id": spec.id.as_str(),
            "name": info.name,
            "user": info.user,
            "failover_timeout": info.failover_timeout.unwrap_or_default(),
            "checkpoint": spec.checkpoint,
            "hostname": info.hostname.as_deref().unwrap_or_default(),
            "executors": executors,
            "completed_executors": over.collect::<Vec<_>>(),
        });
        if crate::launch::has(&info, framework_info::capability::Type::MultiRole) {
            view["roles"] = json!(info.roles);
        } else {
            view["role"] = told.get("role").cloned().unwrap_or_else(|| json!("*"));
        }
        copy(&told, &["principal"], &mut view);
        view
    }

    fn executor(&self, run: &Run, spec: &ExecutorSpec, completed: &TasksByRun<'_>) -> Value {
        let info = ExecutorInfo::decode(spec.info.clone()).unwrap_or_default();
        let told = json_of(&info);
        let (queued, open): (Vec<Task<'_>>, _) =
            self.tasks_of(run).into_iter().partition(|(key, told)| self.is_queued(key, told));
        let (over, live): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, it)| it.state.is_terminal());
        let past = completed.get(&run.container).into_iter().flatten().copied();
        let mut all = info.resources.clone();
        all.extend(live.iter().flat_map(|(_, task)| task_info(task).resources));
        let role = all.first().map(|resource| task::role_of(std::slice::from_ref(resource)));
        let view = |(key, told): Task<'_>| task::view(key, told, &self.renderer);
        let mut executor = json!({
            "id": run.executor.as_str(),
            "name": info.name.as_deref().unwrap_or_default(),
            "source": text(&told, "source"),
            "container": run.container.as_str(),
            "directory": self.directory(run),
            "resources": amounts(&resources(&all)),
            "tasks": live.into_iter().map(view).collect::<Vec<_>>(),
            "queued_tasks": queued.into_iter().map(|it| task::queued(it.0, it.1, &self.renderer)).collect::<Vec<_>>(),
            "completed_tasks": past.chain(over).map(view).collect::<Vec<_>>(),
        });
        executor["role"] = json!(role.unwrap_or_else(|| "*".to_owned()));
        if info.r#type.is_some_and(|kind| kind != executor_info::Type::Unknown as i32) && !spec.command {
            copy(&told, &["type"], &mut executor);
        }
        if let Some(labels) = told.pointer("/labels/labels") {
            executor["labels"] = labels.clone();
        }
        executor
    }

    /// The tasks of a run, and those that wait for its end.
    fn tasks_of(&self, run: &Run) -> Vec<Task<'_>> {
        let framework = self.core.durable().frameworks.get_key_value(&run.framework).map(|(id, _)| id);
        let tasks = framework.into_iter().flat_map(|id| self.history.live_of(id));
        let is_latest =
            self.core.durable().runs.get(&run.key()).is_some_and(|it| it.container == run.container);
        let belongs = |told: &Told| match &told.container {
            Some(container) => *container == run.container,
            None => is_latest && told.executor == run.executor && !told.state.is_terminal(),
        };
        tasks.filter(|(_, told)| belongs(told)).collect()
    }

    /// Not handed to the executor yet.
    fn is_queued(&self, key: &TaskKey, told: &Told) -> bool {
        let phase = self.core.run(&key.framework, &told.executor).map(|view| view.phase);
        told.state == TaskState::Staging && (told.container.is_none() || phase == Some(RunPhase::Starting))
    }

    /// Absolute. Nothing runs before the agent has its id.
    pub(super) fn directory(&self, run: &Run) -> String {
        let agent = self.core.id().cloned().unwrap_or_else(|| AgentId::from(""));
        Places::new(&self.facts.work_dir, &agent, run).sandbox.display().to_string()
    }

    /// What executors and unfinished tasks were given.
    pub(super) fn allocated(&self) -> Resources {
        let durable = self.core.durable();
        let of_run = |(key, facts): (&ExecutorKey, &RunFacts)| self.given(key, facts);
        resources(&durable.runs.iter().flat_map(of_run).collect::<Vec<_>>())
    }

    /// What an executor and its unfinished tasks were given.
    pub(super) fn given(&self, key: &ExecutorKey, facts: &RunFacts) -> Vec<Resource> {
        let info = ExecutorInfo::decode(facts.spec.info.clone()).unwrap_or_default();
        let tasks = self.tasks_of(&key.run(&facts.container));
        let live = tasks.into_iter().filter(|(_, told)| !told.state.is_terminal());
        live.flat_map(|(_, told)| task_info(told).resources).chain(info.resources).collect()
    }

    fn attributes(&self) -> Value {
        json!(Attributes(&attributes_from_v1(&self.identity.info.attributes)))
    }
}

fn task_info(told: &Told) -> TaskInfo {
    TaskInfo::decode(told.info.clone()).unwrap_or_default()
}

/// What was judged when it came cannot be wrong now; nothing is told of what is.
pub(super) fn resources(list: &[Resource]) -> Resources {
    resources_from_v1(list).unwrap_or_default()
}

/// As messages, in the form that tools of all ages read.
fn full(resources: &Resources) -> Value {
    Value::Array(resources_to_v1(resources, ResourceForm::Both).iter().map(json_of).collect())
}

/// A message in its JSON form.
pub(super) fn json_of<M: Json>(message: &M) -> Value {
    let mut bytes = Vec::new();
    message.write_json(&mut bytes);
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn text(message: &Value, key: &str) -> Value {
    message.get(key).cloned().unwrap_or_else(|| json!(""))
}

/// Copies the fields that are set.
fn copy(from: &Value, keys: &[&str], to: &mut Value) {
    for key in keys {
        if let Some(value) = from.get(*key) {
            to[*key] = value.clone();
        }
    }
}
