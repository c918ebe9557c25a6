//! The effects that are owed, from the state alone.
//!
//! A new leader does not replay what former leaders did: it lists what is still to be done, and does it, perhaps for
//! the second time. Nothing is owed to those without a link or stream; it is listed when they come back.

use std::collections::BTreeSet;

use mesarch_faults::{Fault, on};
use mesarch_types::{AgentId, FrameworkId};

use crate::{
    effect::Effect,
    machine::State,
    model::{Agent, Framework, Operation, Task, TaskGroup},
};

/// All effects that are owed now.
pub fn open_work(state: &State) -> Vec<Effect> {
    let frameworks = state.frameworks().flat_map(|known| open_work_of_framework(state, &known.id));
    frameworks.chain(state.agents().flat_map(|known| open_work_of_agent(state, &known.id))).collect()
}

/// What is owed to one framework: first what its outbox holds, in log order, then updates that it has not
/// acknowledged, then ends of operations, then its offers, and requests to leave agents. Nothing if it has no stream.
pub fn open_work_of_framework(state: &State, id: &FrameworkId) -> Vec<Effect> {
    let Some(framework) = state.framework(id).filter(|known| known.is_connected()) else {
        return Vec::new();
    };
    let outbox = framework
        .outbox
        .keys()
        .map(|position| Effect::SendOutbox { framework: id.clone(), position: *position });
    let offers = framework
        .offers
        .iter()
        .map(|offer| Effect::SendOffer { framework: id.clone(), offer: offer.clone() });
    let inverse = state.inverse_offers_of(id).into_iter();
    let inverse = inverse.map(|(agent, _)| Effect::SendInverseOffer { framework: id.clone(), agent });
    let operations = state.operations_of(id).filter(|operation| operation.finished).map(finished);
    let updates = pending_updates(state, framework);
    outbox.chain(updates).chain(operations).chain(offers).chain(inverse).collect()
}

fn pending_updates<'a>(state: &'a State, framework: &'a Framework) -> impl Iterator<Item = Effect> + 'a {
    framework.tasks.iter().filter_map(move |task| {
        let uuid = state.task(&framework.id, task)?.pending()?.uuid?;
        Some(Effect::SendUpdate { framework: framework.id.clone(), task: task.clone(), uuid })
    })
}

/// The end of an operation, for its framework.
pub(crate) fn finished(operation: &Operation) -> Effect {
    Effect::SendOperation {
        framework: operation.framework.clone(),
        operation: operation.id.clone(),
        uuid: operation.uuid,
    }
}

/// What is owed to one agent: first what became of its resources, and what its resource providers are to do with theirs,
/// in the order of the log, for launches may use it; launches before kills, so
/// that a kill finds its task. Nothing if it has no link.
pub fn open_work_of_agent(state: &State, id: &AgentId) -> Vec<Effect> {
    let Some(agent) = state.agent(id).filter(|known| known.is_attached()) else {
        return Vec::new();
    };
    // Broken: what a former leader may not have done is done.
    if on(Fault::OpenWorkForgotten) {
        return Vec::new();
    }
    let resources = agent.is_owed_resources().then(|| Effect::SendResources { agent: id.clone() });
    let operations =
        operations_on_providers(state, agent).into_iter().map(|operation| Effect::ApplyOperation {
            agent: id.clone(),
            framework: operation.framework.clone(),
            operation: operation.id.clone(),
        });
    // Each is looked up once: nothing is owed of most, and thousands of agents come back at the same time.
    let tasks: Vec<&Task> = tasks(state, agent).filter(|task| is_owed_something(task)).collect();
    let launches = launches(state, &tasks);
    let kills = tasks.iter().filter(|task| task.kill.is_some()).map(|task| kill(task));
    let acknowledgements = tasks.iter().filter(|task| task.ack_owed).filter_map(|task| acknowledge(task));
    let forgetting =
        agent.forgetting.iter().map(|((framework, task, launch), uuid)| Effect::SendAcknowledgement {
            agent: id.clone(),
            framework: framework.clone(),
            task: task.clone(),
            launch: *launch,
            uuid: *uuid,
        });
    let executors = state.executors_on(id).filter(|executor| executor.shutdown_requested);
    let executors = executors.map(|executor| Effect::ShutdownExecutor(executor.key.clone()));
    let frameworks = agent.pending_shutdowns.iter();
    let frameworks = frameworks
        .map(|framework| Effect::ShutdownFramework { agent: id.clone(), framework: framework.clone() });
    let first = resources.into_iter().chain(operations).chain(launches).chain(kills).chain(acknowledgements);
    first.chain(forgetting).chain(executors).chain(frameworks).collect()
}

fn operations_on_providers<'a>(state: &'a State, agent: &Agent) -> Vec<&'a Operation> {
    let pending = agent.operations.iter().filter_map(|(framework, id)| state.operation(framework, id));
    let mut pending: Vec<&Operation> = pending.filter(|operation| operation.on_provider.is_some()).collect();
    pending.sort_by_key(|operation| operation.on_provider.as_ref().map(|on| on.serial));
    pending
}

fn tasks<'a>(state: &'a State, agent: &'a Agent) -> impl Iterator<Item = &'a Task> {
    agent.tasks.iter().filter_map(|(framework, task)| state.task(framework, task))
}

fn is_owed_something(task: &Task) -> bool {
    is_to_run(task) || task.kill.is_some() || task.ack_owed
}

fn is_to_run(task: &Task) -> bool {
    !task.reported && !task.state.is_terminal()
}

/// Tasks of which the agent has not spoken; those of a group as one, and not without the rest of it that is known.
fn launches(state: &State, tasks: &[&Task]) -> Vec<Effect> {
    let mut groups = BTreeSet::new();
    let unreported = tasks.iter().copied().filter(|task| is_to_run(task));
    let effect = |task: &Task| match state.group_of(task) {
        None => Some(run(task)),
        Some(group) => groups.insert(group.launch).then(|| run_group(&task.agent, group)),
    };
    unreported.filter_map(effect).collect()
}

/// The delivery of a group.
pub(crate) fn run_group(agent: &AgentId, group: &TaskGroup) -> Effect {
    Effect::RunTaskGroup { agent: agent.clone(), launch: group.launch }
}

fn run(task: &Task) -> Effect {
    Effect::RunTask {
        agent: task.agent.clone(),
        framework: task.framework.clone(),
        task: task.spec.id.clone(),
        launch: task.launch,
    }
}

fn kill(task: &Task) -> Effect {
    Effect::KillTask {
        agent: task.agent.clone(),
        framework: task.framework.clone(),
        task: task.spec.id.clone(),
        launch: task.launch,
    }
}

fn acknowledge(task: &Task) -> Option<Effect> {
    Some(Effect::SendAcknowledgement {
        agent: task.agent.clone(),
        framework: task.framework.clone(),
        task: task.spec.id.clone(),
        launch: task.launch,
        uuid: task.acknowledged?,
    })
}
