//! Planned outages of machines: the schedule, and machines that go down and come up.

use mesarch_types::{AgentId, Unavailability};

use crate::{
    change::Change,
    command::{Machines, SetSchedule},
    model::{Machine, MachineId, MachineMode},
    outcome::{Denial, Outcome},
    step::Step,
};

impl Step<'_> {
    /// Replaces the schedule. Machines that are new in it begin to drain; those that are not in it any more are up.
    pub(crate) fn set_schedule(&mut self, c: SetSchedule) -> Result<Outcome, Denial> {
        let named = c.windows.iter().flat_map(|window| {
            window.machines.iter().map(|machine| (machine.clone(), window.unavailability))
        });
        let known = &self.state.maintenance.machines;
        let machines: imbl::OrdMap<MachineId, Machine> = named
            .map(|(id, unavailability)| {
                let mode = known.get(&id).map_or(MachineMode::Draining, |known| known.mode);
                (id, Machine { mode, unavailability })
            })
            .collect();
        let is_missing = |(id, known): &(&MachineId, &Machine)| {
            known.mode == MachineMode::Down && !machines.contains_key(*id)
        };
        if let Some((down, _)) = known.iter().find(is_missing) {
            return Err(Denial::MachineDown(down.clone()));
        }
        self.state.maintenance.machines = machines;
        self.state.maintenance.windows = c.windows;
        let rescinded = self.follow_schedule();
        Ok(Outcome::Changed { rescinded })
    }

    /// The machines' agents are removed, and none may come until they are up again.
    pub(crate) fn start_maintenance(&mut self, c: &Machines) -> Result<Outcome, Denial> {
        self.check_mode(&c.machines, MachineMode::Draining, Denial::NotScheduled)?;
        for id in &c.machines {
            if let Some(machine) = self.state.maintenance.machines.get_mut(id) {
                machine.mode = MachineMode::Down;
            }
        }
        let is_down = |agent: &&crate::model::Agent| self.state.is_down(&agent.spec.hostname);
        let down: Vec<AgentId> = self.state.agents().filter(is_down).map(|agent| agent.id.clone()).collect();
        for agent in &down {
            self.remove_agent(agent);
        }
        Ok(Outcome::Done)
    }

    /// The machines are up, and no more in the schedule.
    pub(crate) fn stop_maintenance(&mut self, c: &Machines) -> Result<Outcome, Denial> {
        self.check_mode(&c.machines, MachineMode::Down, Denial::NotDown)?;
        let maintenance = &mut self.state.maintenance;
        for id in &c.machines {
            maintenance.machines.remove(id);
        }
        for window in &mut maintenance.windows {
            window.machines.retain(|machine| !c.machines.contains(machine));
        }
        maintenance.windows.retain(|window| !window.machines.is_empty());
        let rescinded = self.follow_schedule();
        Ok(Outcome::Changed { rescinded })
    }

    fn check_mode(
        &self,
        machines: &[MachineId],
        mode: MachineMode,
        denial: fn(MachineId) -> Denial,
    ) -> Result<(), Denial> {
        let known = &self.state.maintenance.machines;
        let is_other = |id: &&MachineId| known.get(*id).is_none_or(|machine| machine.mode != mode);
        match machines.iter().find(is_other) {
            Some(other) => Err(denial(other.clone())),
            None => Ok(()),
        }
    }

    /// Agents whose unavailability is another one than it was are offered anew, with the new one. How many offers were
    /// withdrawn.
    fn follow_schedule(&mut self) -> u32 {
        let changed: Vec<(AgentId, Option<Unavailability>)> = self
            .state
            .agents()
            .map(|agent| (agent, self.state.unavailability_of(&agent.spec.hostname)))
            .filter(|(agent, now)| agent.unavailability != *now)
            .map(|(agent, now)| (agent.id.clone(), now))
            .collect();
        changed.into_iter().map(|(agent, now)| self.set_unavailability(&agent, now)).sum()
    }

    fn set_unavailability(&mut self, id: &AgentId, now: Option<Unavailability>) -> u32 {
        let offers = self.state.agents.get(id).map_or(0, |agent| agent.offers.len());
        self.withdraw_offers_of_agent(id);
        self.forget_inverse_offers_of_agent(id);
        let version = self.epoch();
        if let Some(agent) = self.agent_mut(id) {
            agent.unavailability = now;
            agent.version = version;
        }
        self.change(Change::Agent(id.clone()));
        u32::try_from(offers).unwrap_or(u32::MAX)
    }
}
