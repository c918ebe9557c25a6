//! Records about operations, what agents store of them, and resource providers. Clusters below level 3 have none, and keep
//! their bytes; those below level 4 have no resource providers.

use std::{io, sync::Arc};

use mesarch_types::{AgentId, ResourceVersion, resource::Resources};

use super::{
    Records, kind,
    values::{Input, Malformed, Stored},
};
use crate::{
    machine::State,
    model::{Agent, Heard, OnProvider, Operation, OperationKey, Provider},
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
        self.put_all(kind::OPERATION, state.operations.values())?;
        self.put_providers(state)
    }

    fn put_providers(&mut self, state: &State) -> io::Result<()> {
        let away = state.unreachable_agents().map(|away| &*away.agent);
        for agent in state.agents().chain(away).filter(|agent| agent.heard != Heard::default()) {
            self.put(kind::HEARD, &(agent.id.clone(), agent.heard))?;
            for provider in agent.providers.values() {
                self.put(kind::PROVIDER, &(agent.id.clone(), provider.clone()))?;
            }
        }
        let on_providers = state.operations().filter_map(|one| Some((one, one.on_provider.clone()?)));
        for (operation, on) in on_providers {
            self.put(kind::ON_PROVIDER, &(operation.key(), on))?;
        }
        Ok(())
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
        match kind {
            kind::HEARD => {
                let (id, heard) = <(AgentId, Heard)>::take(input)?;
                self.agent_record_mut(&id).ok_or(Malformed)?.heard = heard;
                return Ok(());
            }
            kind::PROVIDER => {
                let (id, provider) = <(AgentId, Arc<Provider>)>::take(input)?;
                let agent = self.agent_record_mut(&id).ok_or(Malformed)?;
                agent.providers.insert(provider.id.clone(), provider);
                return Ok(());
            }
            kind::ON_PROVIDER => {
                let (key, on) = <(OperationKey, Arc<OnProvider>)>::take(input)?;
                let operation = self.operations.get_mut(&key).ok_or(Malformed)?;
                Arc::make_mut(operation).on_provider = Some(on);
                return Ok(());
            }
            _ => {}
        }
        type Known = (ResourceVersion, ResourceVersion, Resources);
        let (id, known) = <(AgentId, Known)>::take(input)?;
        let agent = self.agent_record_mut(&id).ok_or(Malformed)?;
        (agent.converted_at, agent.stored, agent.leaving) = known;
        Ok(())
    }
}
