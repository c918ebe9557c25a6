//! Whether a returning agent and the masters know the same, judged by digest.
//!
//! The agent sums the hashes of its tasks that have an acknowledged update and nothing else to tell, and lists the
//! others. The state keeps the same sum over all its tasks of the agent that have an acknowledged update. So the
//! leader takes the listed ones out of its sum and compares.

use mesarch_state::{State, command::AgentSpec, model::Agent};
use mesarch_types::{
    FrameworkId, LaunchId, TaskId,
    digest::{DIGEST_FORM, SetHash, task_hash},
};

use crate::message::{Attach, CloseReason, How, TaskKey};

/// What to do with an agent that may attach.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Both sides know the same of its tasks.
    Agreed {
        /// If it differs from what is stored.
        spec: Option<AgentSpec>,
    },
    /// It must tell all that it runs.
    InventoryNeeded(How),
}

/// Compares what the agent knows with what the masters know; an error if it must not attach to this leader.
pub(crate) fn judge(state: &State, hello: &Attach) -> Result<Verdict, CloseReason> {
    misplaced(state, hello)?;
    if state.gone_agent(&hello.agent).is_some() {
        return Err(CloseReason::Gone);
    }
    if state.is_down(&hello.spec.hostname) {
        return Err(CloseReason::MachineDown);
    }
    let needed = |how| Ok(Verdict::InventoryNeeded(how));
    let Some(agent) = state.agent(&hello.agent) else {
        return needed(How::Unknown);
    };
    if agent.incarnation != state.incarnation() {
        return needed(How::Unknown);
    }
    if agent.owes_inventory {
        return needed(How::Differed);
    }
    if hello.inventory_wanted || hello.digest_form != DIGEST_FORM {
        return needed(How::Wanted);
    }
    if !agrees(state, agent, hello) {
        return needed(How::Differed);
    }
    Ok(Verdict::Agreed { spec: (*agent.spec != hello.spec).then(|| hello.spec.clone()) })
}

/// An agent that has obeyed somebody whom this leader must not contradict.
fn misplaced(state: &State, hello: &Attach) -> Result<(), CloseReason> {
    let Some(highest) = &hello.highest else {
        return Ok(());
    };
    if state.cluster().is_some_and(|cluster| cluster != highest.cluster) {
        return Err(CloseReason::ForeignCluster);
    }
    match (highest.incarnation, highest.term) > (state.incarnation(), state.term()) {
        true => Err(CloseReason::StaleLeader),
        false => Ok(()),
    }
}

/// Whether the agent's list and digest together are what the state holds.
///
/// An ended task whose last acknowledgement is on its way to the agent may or may not be forgotten there. Nothing is
/// lost either way, for the acknowledgement is sent again after attaching; so a digest without all of those is as good.
fn agrees(state: &State, agent: &Agent, hello: &Attach) -> bool {
    let listed: Vec<_> = hello.listed.iter().map(TaskKey::parts).collect();
    let knows = |digest| state.knows_tasks_of(&agent.id, digest, &listed);
    knows(hello.digest)
        || (!agent.forgetting.is_empty() && knows(with_forgetting(agent, &listed, hello.digest)))
}

/// `digest` as if the agent still remembered what it may have forgotten. Listed tasks are not part of a digest.
fn with_forgetting(
    agent: &Agent,
    listed: &[(FrameworkId, TaskId, LaunchId)],
    mut digest: SetHash,
) -> SetHash {
    for (key, uuid) in agent.forgetting.iter().filter(|(key, _)| !listed.contains(key)) {
        digest.insert(task_hash(&key.0, &key.1, key.2, Some(*uuid)));
    }
    digest
}
