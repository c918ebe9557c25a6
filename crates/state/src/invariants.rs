//! What is true of every state, whatever commands led to it.

use std::{collections::BTreeSet, fmt::Debug};

use imbl::OrdMap;
use mesarch_types::resource::Resources;

use crate::{
    apply::GONE_AGENTS_MAX,
    machine::State,
    model::{Agent, COMPLETED_TASKS_MAX, Framework, OUTBOX_MAX, PROVIDERS_MAX, STATUSES_PER_TASK_MAX, Task},
};

/// Something that must never be is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {subject}")]
pub struct Violation {
    /// What should hold.
    pub rule: &'static str,
    /// Of whom it does not.
    pub subject: String,
}

/// Checks all rules; costs as much as a snapshot.
pub fn check(state: &State) -> Result<(), Violation> {
    check_indexes(state)?;
    state.agents().try_for_each(check_agent)?;
    state.frameworks().try_for_each(check_framework)?;
    state.tasks().try_for_each(|task| check_task(state, task))?;
    check_offers(state)?;
    check_sharing(state)?;
    check_administration(state)?;
    check_operations(state)?;
    state.unreachable_agents().try_for_each(|away| {
        let id = &away.agent.id;
        let apart = state.agent(id).is_none() && away.tasks.keys().all(|key| !state.tasks.contains_key(key));
        require(apart, "an unreachable agent and its tasks are not in the tables", id)
    })?;
    state.removed_frameworks().try_for_each(|(id, _)| {
        require(state.framework(id).is_none(), "a removed framework is not in the table", id)
    })
}

/// Lists, sums and books that are carried on are what the rest of the state makes them.
fn check_indexes(state: &State) -> Result<(), Violation> {
    let mut made = state.clone();
    made.reindex();
    same(&state.agents, &made.agents, "an agent's lists, hash and books follow from the tables")?;
    same(&state.frameworks, &made.frameworks, "a framework's lists follow from the tables")?;
    same(&state.sharing.consumed, &made.sharing.consumed, "consumption follows from agents and books")?;
    same(&state.executors, &made.executors, "an executor's tasks follow from the table")?;
    same(&state.nonces, &made.nonces, "nonces follow from the agents")?;
    let orders = state.unreachable_by_age == made.unreachable_by_age
        && state.removed_by_age == made.removed_by_age
        && state.gone_by_age == made.gone_by_age;
    require(orders, "ages follow from the tables", "those who are gone")?;
    require(state.filters.ends == made.filters.ends, "ends follow from the filters", "filters")
}

fn same<K: Ord + Debug, V: PartialEq + Debug>(
    is: &OrdMap<K, V>,
    should: &OrdMap<K, V>,
    rule: &'static str,
) -> Result<(), Violation> {
    let differs = is.iter().zip(should.iter()).find(|(is, should)| is != should);
    match differs {
        Some((is, should)) => Err(Violation { rule, subject: format!("{is:?} is not {should:?}") }),
        None => require(is.len() == should.len(), rule, "count"),
    }
}

fn check_agent(agent: &Agent) -> Result<(), Violation> {
    let ledger = &agent.ledger;
    let books = || ledger.used().values().chain(ledger.offered().values());
    let held = books().try_fold(Resources::default(), |sum, held| sum.checked_add(held));
    let conserved = held.and_then(|held| held.checked_add(ledger.available())) == Some(agent.total());
    require(conserved || ledger.is_overcommitted(), "total = used + offered + available", &agent.id)?;
    let withdrawn = agent.offers.is_empty() || !ledger.is_overcommitted();
    require(withdrawn, "nothing is offered of an overcommitted agent", &agent.id)?;
    let idle = agent.offers.is_empty() || agent.is_active();
    require(idle, "nothing is offered of a detached agent", &agent.id)
}

fn check_framework(framework: &Framework) -> Result<(), Violation> {
    let id = &framework.id;
    let positions = framework.outbox.keys().all(|position| *position < framework.outbox_next);
    require(positions && framework.outbox.len() <= OUTBOX_MAX, "outboxes are bounded", id)?;
    require(framework.completed.len() <= COMPLETED_TASKS_MAX, "histories are bounded", id)?;
    let idle = framework.offers.is_empty() || framework.is_active();
    require(idle, "nothing is offered to a disconnected framework", id)
}

fn check_task(state: &State, task: &Task) -> Result<(), Violation> {
    let id = &task.spec.id;
    let known = state.agents.contains_key(&task.agent) && state.frameworks.contains_key(&task.framework);
    require(known, "a task's agent and framework are in the tables", id)?;
    require(task.statuses.len() <= STATUSES_PER_TASK_MAX, "statuses are bounded", id)?;
    let pending = task.pending().and_then(|pending| pending.uuid);
    require(!task.unacknowledged || pending.is_some(), "a pending update has a uuid", id)?;
    require(pending.is_none() || pending != task.acknowledged, "an acknowledged update is not pending", id)?;
    require(!task.ack_owed || task.acknowledged.is_some(), "an owed acknowledgement exists", id)?;
    require(task.reported || task.statuses.is_empty(), "statuses come from the agent", id)?;
    require(task.kill.is_none() || !task.state.is_terminal(), "an ended task is not killed", id)
}

fn check_offers(state: &State) -> Result<(), Violation> {
    state.offers().try_for_each(|offer| {
        let known =
            state.agents.contains_key(&offer.agent) && state.frameworks.contains_key(&offer.framework);
        require(known, "an offer's agent and framework are in the tables", &offer.id)?;
        let marked =
            offer.resources.iter().all(|resource| resource.allocated_to.as_ref() == Some(&offer.role));
        require(
            marked && !offer.resources.is_empty(),
            "an offer is something, marked with its role",
            &offer.id,
        )
    })
}

fn check_administration(state: &State) -> Result<(), Violation> {
    let away = state.unreachable_agents().map(|away| &*away.agent);
    state.agents().chain(away).try_for_each(|agent| {
        let administration = &agent.administration;
        let left_alone = administration.drain.is_none() || administration.deactivated;
        require(left_alone, "an agent that is drained is deactivated", &agent.id)?;
        require(state.gone_agent(&agent.id).is_none(), "a gone agent is not remembered otherwise", &agent.id)
    })?;
    state.agents().try_for_each(|agent| {
        let settled = !administration_is_over(agent);
        require(settled, "an agent on which nothing is left is not being drained", &agent.id)?;
        require(!state.is_down(&agent.spec.hostname), "no agent is on a machine that is down", &agent.id)
    })?;
    let gone = state.gone.len() <= GONE_AGENTS_MAX;
    require(gone, "gone agents are bounded", state.gone.len())?;
    let scheduled: BTreeSet<_> = state.schedule().iter().flat_map(|window| &window.machines).collect();
    let same = state.machines().map(|(id, _)| id).eq(scheduled);
    require(same, "the machines are those of the schedule", "machines")?;
    state.inverse_offers().try_for_each(|(framework, agent, offer)| {
        let asked = state.framework(framework).is_some_and(|known| known.is_active());
        let about =
            state.agent(agent).is_some_and(|agent| agent.is_active() && agent.unavailability.is_some());
        require(asked && about, "who is there is asked about agents that will be down", &offer.id)
    })
}

fn administration_is_over(agent: &Agent) -> bool {
    agent.administration.is_draining() && agent.is_empty()
}

fn check_sharing(state: &State) -> Result<(), Violation> {
    let sharing = &state.sharing;
    for (role, quota) in &sharing.quotas {
        let own = quota.role() == role && !quota.is_none();
        require(own, "a quota says something, about its role", role)?;
    }
    let known = sharing.framework_priorities.keys().find(|id| state.framework(id).is_none());
    require(known.is_none(), "a framework with a priority is in the table", known)?;
    state.agents().filter_map(|agent| Some((agent, agent.converted.as_ref()?))).try_for_each(
        |(agent, converted)| {
            let amounts = converted.taken.quantities() == converted.made.quantities();
            require(amounts, "operators change what resources are, not how much there is", &agent.id)
        },
    )
}

fn check_operations(state: &State) -> Result<(), Violation> {
    state.operations().try_for_each(|operation| {
        let id = &operation.id;
        let framework = state.framework(&operation.framework);
        let goes_on = operation.on_provider.is_some() && !operation.finished && !operation.is_told();
        require(framework.is_some() || goes_on, "an operation's framework is in the table", id)?;
        if operation.on_provider.is_some() {
            return Ok(());
        }
        let Some(agent) = state.agent(&operation.agent) else { return Ok(()) };
        let pending = !operation.finished && agent.stored >= operation.version;
        require(!pending, "an operation that its agent has stored has ended", id)
    })?;
    state.agents().try_for_each(|agent| {
        let known = agent.stored <= agent.converted_at;
        require(known, "an agent has stored nothing that was never so", &agent.id)
    })?;
    let away = state.unreachable_agents().map(|away| &*away.agent);
    state.agents().chain(away).try_for_each(check_providers)
}

fn check_providers(agent: &Agent) -> Result<(), Violation> {
    require(agent.providers.len() <= PROVIDERS_MAX, "resource providers are bounded", &agent.id)?;
    agent.providers.iter().try_for_each(|(id, provider)| {
        let mut all = provider.total.iter();
        let own = provider.id == *id && all.all(|one| one.provider.as_deref() == Some(id.as_str()));
        require(own, "a resource provider has what carries its id", id)?;
        let said = provider.version.is_some() || provider.total.is_empty() || provider.doubtful;
        require(said, "a resource provider that has said nothing has nothing", id)
    })
}

fn require(holds: bool, rule: &'static str, subject: impl Debug) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation { rule, subject: format!("{subject:?}") }) }
}
