//! Once faults have ended for long enough everything that was promised is done.

use mesarch_state::{Effect, open_work};

use super::Violation;
use crate::world::World;

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    let fail = |what: String| Err(Violation::new("promises are kept once faults end", what));
    let state = &world.master.state;
    if let Some(agent) = state.agents().find(|agent| !agent.is_attached()) {
        return fail(format!("agent {} is not attached", agent.id));
    }
    if state.counts().agents != world.hosts.len() {
        return fail(format!("{} agents of {} are known", state.counts().agents, world.hosts.len()));
    }
    let owed = open_work(state).into_iter().find(|effect| !matches!(effect, Effect::SendOffer { .. }));
    if let Some(effect) = owed {
        return fail(format!("{effect:?} is still owed"));
    }
    if let Some(task) = state.tasks().find(|task| !task.reported) {
        return fail(format!("{}/{} was never heard of", task.framework, task.spec.id));
    }
    world.schedulers.iter().enumerate().try_for_each(|(number, _)| check_scheduler(world, number))
}

fn check_scheduler(world: &World, number: usize) -> Result<(), Violation> {
    let fail = |what: String| Err(Violation::new("promises are kept once faults end", what));
    let scheduler = &world.schedulers[number];
    let (Some(framework), Some(_)) = (&scheduler.id, &scheduler.stream) else {
        return fail(format!("scheduler {number} is not subscribed"));
    };
    if scheduler.offers_seen == 0 {
        return fail(format!("scheduler {number} with demand was offered nothing"));
    }
    let told =
        |task: &mesarch_types::TaskId| scheduler.told.get(&(framework.clone(), task.clone())) == Some(&true);
    match world.watch.accepted.of(framework).find(|task| !told(task)) {
        Some(task) => fail(format!("the end of {framework}/{task} was never told")),
        None => Ok(()),
    }
}
