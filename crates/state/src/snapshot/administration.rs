//! Records about agents out of service and about maintenance. Each is there only if there is something to say, so that
//! snapshots of clusters of lower levels are what they were.

use std::{io, sync::Arc};

use mesarch_types::{AgentId, Unavailability};

use super::{
    Records, kind,
    values::{Input, Malformed, Stored},
};
use crate::{
    machine::State,
    model::{Administration, Drain, DrainState, GoneAgent, InverseAnswer, InverseOffer, Machine, MachineId},
};

impl Records<'_> {
    pub(super) fn put_administration(&mut self, state: &State) -> io::Result<()> {
        let away = state.unreachable_agents().map(|away| &*away.agent);
        let mut agents = state
            .agents()
            .chain(away)
            .filter(|agent| agent.administration != Administration::default())
            .map(|agent| (agent.id.clone(), agent.administration));
        agents.try_for_each(|agent| self.put(kind::ADMINISTRATION, &agent))?;
        let mut gone = state.gone_agents().map(|(id, gone)| (id.clone(), *gone));
        gone.try_for_each(|gone| self.put(kind::GONE, &gone))?;
        let maintenance = &state.maintenance;
        self.put_all(kind::WINDOW, maintenance.windows.iter())?;
        let mut machines = maintenance.machines.iter().map(|(id, machine)| (id.clone(), *machine));
        machines.try_for_each(|machine| self.put(kind::MACHINE, &machine))?;
        let mut asked = maintenance.asked.iter().map(|(asked, offer)| (asked.clone(), offer.clone()));
        asked.try_for_each(|asked| self.put(kind::INVERSE_OFFER, &asked))?;
        let mut answers = maintenance.answers.iter().map(|(asked, answer)| (asked.clone(), *answer));
        answers.try_for_each(|answer| self.put(kind::INVERSE_ANSWER, &answer))
    }
}

impl State {
    /// Takes over one record of these kinds; what it is about came before.
    pub(super) fn restore_administration(
        &mut self,
        kind: u8,
        input: &mut Input<'_>,
    ) -> Result<(), Malformed> {
        let maintenance = &mut self.maintenance;
        match kind {
            kind::ADMINISTRATION => {
                let (id, administration) = <(AgentId, Administration)>::take(input)?;
                self.restore_administered(&id, administration)?;
            }
            kind::GONE => {
                let (id, gone) = <(AgentId, GoneAgent)>::take(input)?;
                self.gone.insert(id, gone);
            }
            kind::WINDOW => maintenance.windows.push(Stored::take(input)?),
            kind::MACHINE => {
                let (id, machine) = <(MachineId, Machine)>::take(input)?;
                maintenance.machines.insert(id, machine);
            }
            kind::INVERSE_OFFER => {
                let (asked, offer) = <(_, InverseOffer)>::take(input)?;
                maintenance.asked.insert(asked, offer);
            }
            kind::INVERSE_ANSWER => {
                let (asked, answer) = <(_, InverseAnswer)>::take(input)?;
                maintenance.answers.insert(asked, answer);
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn restore_administered(&mut self, id: &AgentId, stored: Administration) -> Result<(), Malformed> {
        if let Some(agent) = self.agents.get_mut(id) {
            Arc::make_mut(agent).administration = stored;
            return Ok(());
        }
        let away = self.unreachable.get_mut(id).ok_or(Malformed)?;
        Arc::make_mut(&mut Arc::make_mut(away).agent).administration = stored;
        Ok(())
    }
}

impl Stored for Drain {
    fn put(&self, out: &mut Vec<u8>) {
        let drained = self.state == DrainState::Drained;
        (self.max_grace_ns, self.mark_gone, drained, self.since).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (max_grace_ns, mark_gone, drained, since) = Stored::take(input)?;
        let state = if drained { DrainState::Drained } else { DrainState::Draining };
        Ok(Self { max_grace_ns, mark_gone, state, since })
    }
}

impl Stored for Unavailability {
    fn put(&self, out: &mut Vec<u8>) {
        (self.start_ns, self.duration_ns).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (start_ns, duration_ns) = Stored::take(input)?;
        Ok(Self { start_ns, duration_ns })
    }
}
