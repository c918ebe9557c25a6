//! `/state`: what runs here, in the shape that tools read. Only what is known to be so.

use mesarch_agent_core::{Agent, Durable, ExecutorKey, RunFacts, TaskFacts, TaskKey};
use mesarch_mesos_v1::convert::{attributes_from_v1, resources_from_v1};
use mesarch_proto::mesos::v1::{ExecutorInfo, FrameworkInfo, TaskInfo};
use mesarch_types::{AttributeValue, FrameworkId, Value as Amount};
use prost::Message;
use serde_json::{Map, Value, json};

use crate::info::Identity;

/// The whole document.
pub(crate) fn render(core: &Agent, identity: &Identity) -> Value {
    let durable = core.durable();
    let frameworks = durable.frameworks.keys().map(|id| framework(durable, id));
    json!({
        "id": core.id().map(|id| id.as_str()).unwrap_or_default(),
        "pid": identity.pid(),
        "hostname": identity.info.hostname,
        "version": super::API_LEVEL,
        "mesarch_version": env!("CARGO_PKG_VERSION"),
        "attached": core.attached(),
        "resources": resources(&identity.info.resources),
        "attributes": attributes(identity),
        "frameworks": frameworks.collect::<Vec<_>>(),
    })
}

fn framework(durable: &Durable, id: &FrameworkId) -> Value {
    let facts = &durable.frameworks[id];
    let info = FrameworkInfo::decode(facts.spec.info.clone()).unwrap_or_default();
    let executors = durable.runs.iter().filter(|(key, _)| key.framework == *id);
    json!({
        "id": id.as_str(),
        "name": info.name,
        "user": info.user,
        "checkpoint": facts.spec.checkpoint,
        "executors": executors.map(|(key, run)| executor(durable, key, run)).collect::<Vec<_>>(),
    })
}

fn executor(durable: &Durable, key: &ExecutorKey, run: &RunFacts) -> Value {
    let info = ExecutorInfo::decode(run.spec.info.clone()).unwrap_or_default();
    let this_run = key.run(&run.container);
    let (ended, live): (Vec<_>, Vec<_>) =
        durable.tasks_of(&this_run).partition(|(_, task)| task.state.is_terminal());
    let list = |tasks: Vec<(&TaskKey, &TaskFacts)>| -> Vec<Value> {
        tasks.into_iter().map(|(key, facts)| task(key, facts)).collect()
    };
    json!({
        "id": key.executor.as_str(),
        "name": info.name.unwrap_or_default(),
        "container": run.container.as_str(),
        "tasks": list(live),
        "terminated_tasks": list(ended),
    })
}

fn task(key: &TaskKey, facts: &TaskFacts) -> Value {
    let info = TaskInfo::decode(facts.info.clone()).unwrap_or_default();
    json!({
        "id": key.task.as_str(),
        "name": info.name,
        "framework_id": key.framework.as_str(),
        "executor_id": facts.executor.id.as_str(),
        "state": facts.state.name(),
        "resources": resources(&info.resources),
    })
}

/// Totals by name: scalars as numbers, the others as text.
fn resources(list: &[mesarch_proto::mesos::v1::Resource]) -> Value {
    let Ok(resources) = resources_from_v1(list) else {
        return json!({});
    };
    let mut totals = Map::new();
    for (name, amount) in resources.quantities().iter() {
        totals.insert(name.to_string(), json!(amount.to_f64()));
    }
    for resource in resources.iter().filter(|resource| !matches!(resource.value, Amount::Scalar(_))) {
        totals.entry(resource.name.to_string()).or_insert_with(|| json!(resource.value.to_string()));
    }
    Value::Object(totals)
}

fn attributes(identity: &Identity) -> Value {
    let entries = attributes_from_v1(&identity.info.attributes).into_iter().map(|attribute| {
        let value = match &attribute.value {
            AttributeValue::Scalar(scalar) => json!(scalar.to_f64()),
            AttributeValue::Ranges(ranges) => json!(ranges.to_string()),
            AttributeValue::Text(text) => json!(&**text),
        };
        (attribute.name.to_string(), value)
    });
    Value::Object(entries.collect())
}
