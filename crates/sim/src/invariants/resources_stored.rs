//! Once all is quiet, agents have stored what the masters' log says of their resources, and have the volumes for it and no
//! others.

use std::collections::BTreeSet;

use super::Violation;
use crate::{host::volume_name, world::World};

pub(crate) fn check(world: &World) -> Result<(), Violation> {
    world.hosts.iter().enumerate().try_for_each(|(number, _)| check_host(world, number))
}

fn check_host(world: &World, number: usize) -> Result<(), Violation> {
    let host = &world.hosts[number];
    let Some(core) = &host.core else { return Ok(()) };
    let Some(agent) = core.id().and_then(|id| world.master.state.agent(id)) else { return Ok(()) };
    let made = agent.converted.as_ref().map(|converted| converted.made.clone()).unwrap_or_default();
    let stored = &core.durable().resources;
    let volumes: BTreeSet<String> = made.iter().filter_map(volume_name).collect();
    let is_same = (stored.version, &stored.made) == (agent.converted_at, &made);
    if is_same && volumes == host.volumes {
        return Ok(());
    }
    let what = format!(
        "{} has {:?} with the volumes {:?}, and the masters know {made:?} with {volumes:?}",
        agent.id, stored.made, host.volumes
    );
    Err(Violation::new("agents store what the log says of their resources", what))
}
