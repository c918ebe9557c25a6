//! Why a framework is or is not offered an agent.

use mesarch_types::{AgentId, FrameworkId, FrameworkView, Millis, Role};

use crate::{
    allocator::Allocator,
    eligible::{Case, Refusal},
    index::AgentIx,
    kinds::Stock,
};

/// One reason, for one role where it names one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the role in question and the moment (cluster time) of an end"
)]
pub enum Why {
    /// No such framework, or it left.
    FrameworkUnknown,
    /// It is not connected.
    FrameworkInactive,
    /// It has no role to be offered anything in.
    NoRole,
    /// No such agent, or it left.
    AgentUnknown,
    /// The agent is detached, draining or deactivated.
    AgentInactive,
    /// Everything on the agent is offered or in use.
    NothingFree,
    /// The framework wants no offers for this role now.
    Suppressed { role: Role },
    /// The agent has gpus and the framework does not know gpus.
    NeedsGpuCapability { role: Role },
    /// The agent is in another region and the framework is not aware of regions.
    OtherRegion { role: Role },
    /// The agent lacks a role capability that the framework or the role needs.
    AgentTooOld { role: Role },
    /// What is free is reserved to others, or of a kind that the framework cannot handle.
    NothingForRole { role: Role },
    /// What is free is less than the smallest offer.
    TooSmall { role: Role },
    /// The framework refused as much until then.
    Refused { role: Role, until: Millis },
    /// The framework declined as much since the last tick; it is asked again from the next one on.
    JustDeclined { role: Role, until: Millis },
    /// It waits for the next tick, then it is this role's or another's turn.
    WaitsForTick { role: Role, until: Millis },
    /// It may be offered at the next run, unless others of smaller rank take it.
    InTurn { role: Role },
}

impl Allocator {
    /// Why `framework` is not (or may be) offered what is free on `agent` now: one reason per role, or one for all.
    pub fn explain(&self, framework: &FrameworkId, agent: &AgentId, now: Millis) -> Vec<Why> {
        let slot = self.clients.framework(framework);
        let Some(view) = slot.and_then(|slot| self.clients.frameworks[slot].view.as_ref()) else {
            return vec![Why::FrameworkUnknown];
        };
        let slot = self.agents.find(agent).filter(|slot| self.agents.slots[*slot].view.is_some());
        match slot {
            _ if !view.active => vec![Why::FrameworkInactive],
            _ if view.roles.is_empty() => vec![Why::NoRole],
            None => vec![Why::AgentUnknown],
            Some(slot) if !self.agents.slots[slot].is_active() => vec![Why::AgentInactive],
            Some(slot) if self.agents.slots[slot].free_resources().is_empty() => vec![Why::NothingFree],
            Some(slot) => view.roles.iter().map(|role| self.explain_role(view, role, slot, now)).collect(),
        }
    }

    fn explain_role(&self, view: &FrameworkView, role: &Role, slot: AgentIx, now: Millis) -> Why {
        let role = role.clone();
        if !view.wants(&role) {
            return Why::Suppressed { role };
        }
        let Some(client) = self.clients.by_names(&view.id, &role) else {
            return Why::FrameworkUnknown;
        };
        let agent = &self.agents.slots[slot];
        let case = Case { config: &self.config, clients: &self.clients, agent, now };
        let next_tick = self.config.tick(self.config.round(now) + 1);
        let stock = Stock::to_look_at(agent.free_resources(), &self.config.min_allocatable);
        match case.chunk(client, &stock) {
            Ok(_) if self.agents.waiting.has(slot.0) && !self.agents.dirty.has(slot.0) => {
                Why::WaitsForTick { role, until: next_tick }
            }
            Ok(_) => Why::InTurn { role },
            Err(Refusal::FrameworkUnknown) => Why::FrameworkUnknown,
            Err(Refusal::NeedsGpuCapability) => Why::NeedsGpuCapability { role },
            Err(Refusal::OtherRegion) => Why::OtherRegion { role },
            Err(Refusal::AgentTooOld) => Why::AgentTooOld { role },
            Err(Refusal::NothingForRole) => Why::NothingForRole { role },
            Err(Refusal::TooSmall) => Why::TooSmall { role },
            Err(Refusal::Refused { until }) => Why::Refused { role, until },
            Err(Refusal::JustDeclined) => Why::JustDeclined { role, until: next_tick },
        }
    }
}
