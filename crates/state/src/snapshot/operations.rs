//! Records about operations and what agents store of them. Clusters below level 3 have none, and keep their bytes.

use std::{io, sync::Arc};

use mesarch_types::{AgentId, ResourceVersion, resource::Resources};

use super::{
    Records, kind,
    values::{Input, Malformed, Stored},
};
use crate::{
    machine::State,
    model::{Agent, Operation},
};

impl Records<'_> {
    pub(super) fn put_operations(&mut self, state: &State) -> io::Result<()> {
        let away = state.unreachable_agents().map(|away| &*away.agent);
        let none = ResourceVersion::default();
        let told = |agent: &&Agent| (agent.converted_at, agent.stored) != (none, none);
        let mut agents = state.agents().chain(away).filter(told);
        agents.try_for_each(|agent| {
            let known = (agent.converted_at, agent.stored, agent.leaving.clone());
            self.put(kind::RESOURCES, &(agent.id.clone(), known))
        })?;
        self.put_all(kind::OPERATION, state.operations.values())
    }
}

impl State {
    /// Takes over one record of these kinds; what it is about came before.
    pub(super) fn restore_operations(&mut self, kind: u8, input: &mut Input<'_>) -> Result<(), Malformed> {
        if kind == kind::OPERATION {
            let operation = Arc::<Operation>::take(input)?;
            self.operations.insert(operation.key(), operation);
            return Ok(());
        }
        type Known = (ResourceVersion, ResourceVersion, Resources);
        let (id, known) = <(AgentId, Known)>::take(input)?;
        let agent = self.agent_record_mut(&id).ok_or(Malformed)?;
        (agent.converted_at, agent.stored, agent.leaving) = known;
        Ok(())
    }
}
