//! Once all is quiet, the executors that the masters charge for are those that run: each run is in the books of its agent,
//! and nothing is in the books that does not run.

use std::collections::BTreeSet;

use super::Violation;
use crate::world::World;

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    world.hosts.iter().enumerate().try_for_each(|(number, _)| check_host(world, number))
}

fn check_host(world: &World, number: usize) -> Result<(), Violation> {
    let Some(core) = &world.hosts[number].core else {
        return Ok(());
    };
    let Some(id) = core.id() else { return Ok(()) };
    let own = core.durable().runs.iter().filter(|(_, run)| !run.spec.command);
    let running: BTreeSet<_> = own.map(|(key, _)| (&key.framework, &key.executor)).collect();
    let state = &world.master.state;
    let charged: BTreeSet<_> =
        state.executors_on(id).map(|one| (&one.key.framework, &one.key.executor)).collect();
    if charged == running {
        return Ok(());
    }
    let what = format!("on {id} {running:?} run, and {charged:?} are charged");
    Err(Violation::new("what is charged for is what runs", what))
}
