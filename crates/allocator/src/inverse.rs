//! Inverse offers: asking frameworks to leave agents that will be down.

use std::collections::BTreeSet;

use mesarch_types::{AgentId, FrameworkId, Millis, Unavailability};

use crate::{
    allocator::Allocator,
    bits::Bits,
    index::{AgentIx, FrameworkIx, Slot},
};

/// An inverse offer to be proposed: the framework holds something on an agent that will be down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InversePlan {
    /// Who is asked.
    pub framework: FrameworkId,
    /// To leave which agent.
    pub agent: AgentId,
    /// When that will be down.
    pub unavailability: Unavailability,
    /// The agent's version that was seen.
    pub agent_version: u64,
}

/// Which agents are to be looked at for inverse offers.
#[derive(Debug, Default)]
pub(crate) struct Inverse {
    /// Will be down.
    draining: Bits,
    /// To be looked at by the next plan.
    pub(crate) due: Bits,
    /// To be looked at from the next tick on.
    pub(crate) later: Bits,
    /// Refusals by their ends.
    pub(crate) ends: BTreeSet<(Millis, AgentIx)>,
}

/// What one agent's frameworks were asked and said.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    outstanding: Vec<FrameworkIx>,
    refusals: Vec<(FrameworkIx, Millis)>,
}

impl Inverse {
    /// A tick has come.
    pub(crate) fn turn(&mut self, now: Millis) {
        self.end_waits();
        while let Some((until, slot)) = self.ends.first().copied().filter(|(until, _)| *until <= now) {
            self.ends.remove(&(until, slot));
            self.due.put(slot.0, self.due.has(slot.0) || self.draining.has(slot.0));
        }
    }

    pub(crate) fn end_waits(&mut self) {
        let later = std::mem::take(&mut self.later);
        self.due.unite(&later);
    }

    /// The agent may be asked about again from the next tick on.
    pub(crate) fn note_later(&mut self, slot: AgentIx) {
        if self.draining.has(slot.0) {
            self.later.set(slot.0);
        }
    }

    /// A framework holds more on the agent, or an inverse offer was refused by the state and has to be made anew.
    pub(crate) fn note_now(&mut self, slot: AgentIx) {
        if self.draining.has(slot.0) {
            self.due.set(slot.0);
        }
    }

    /// Everyone may have to be asked anew.
    pub(crate) fn note_all(&mut self) {
        self.due.unite(&self.draining);
    }

    pub(crate) fn forget(&mut self, slot: AgentIx) {
        for set in [&mut self.draining, &mut self.due, &mut self.later] {
            set.clear(slot.0);
        }
    }
}

impl Allocator {
    /// The agent's unavailability changed: what was asked and answered about the old one is void.
    pub(crate) fn unavailability_changed(&mut self, slot: AgentIx) {
        let agent = &mut self.agents.slots[slot];
        agent.seldom.asked = Asked::default();
        let draining = agent.view.as_ref().is_some_and(|view| view.unavailability.is_some());
        self.inverse.forget(slot);
        self.inverse.draining.put(slot.0, draining);
        self.inverse.due.put(slot.0, draining);
    }

    /// The framework is forgotten; its number may be used again.
    pub(crate) fn forget_asked(&mut self, framework: FrameworkIx) {
        for number in self.inverse.draining.ones() {
            let asked = &mut self.agents.slots[AgentIx::new(number)].seldom.asked;
            asked.outstanding.retain(|kept| *kept != framework);
            asked.refusals.retain(|(kept, _)| *kept != framework);
        }
    }

    /// When [`Allocator::plan_inverse`] has something to do, at the earliest: now, at a tick, or never.
    pub fn next_inverse_wake(&self, now: Millis) -> Option<Millis> {
        if !self.inverse.due.is_empty() {
            return Some(now);
        }
        let next_tick = self.config.tick(self.round.saturating_add(1));
        let waits = (!self.inverse.later.is_empty()).then_some(next_tick);
        let ends = self.inverse.ends.first().map(|(until, _)| self.config.tick_from(*until).max(next_tick));
        waits.into_iter().chain(ends).min().map(|wake| wake.max(now))
    }

    /// The inverse offers to propose now, at most `max`: one to each connected framework that holds something on an active
    /// agent that will be down, has no inverse offer outstanding there and did not refuse one until later. Books nothing; like
    /// [`Allocator::plan`] it is not to be called again before its items are applied ([`Allocator::ask_back`]) or refused
    /// ([`Allocator::mark_dirty`]). `now` is cluster time.
    pub fn plan_inverse(&mut self, now: Millis, max: usize) -> Vec<InversePlan> {
        self.turn(now);
        let mut due = std::mem::take(&mut self.inverse.due);
        let mut plans = Vec::new();
        for number in due.clone().ones() {
            if plans.len() >= max {
                break;
            }
            due.clear(number);
            self.ask_holders(AgentIx(number), now, &mut plans);
        }
        self.inverse.due = due;
        plans
    }

    fn ask_holders(&self, slot: AgentIx, now: Millis, plans: &mut Vec<InversePlan>) {
        let agent = &self.agents.slots[slot];
        let Some((view, unavailability)) = agent
            .view
            .as_ref()
            .filter(|view| view.active)
            .and_then(|view| Some((view, view.unavailability?)))
        else {
            return;
        };
        let holders = agent.holders.iter().map(|holder| self.clients.get(holder.client).framework);
        let to_ask = holders.collect::<BTreeSet<FrameworkIx>>().into_iter().filter(|framework| {
            let refused =
                agent.seldom.asked.refusals.iter().any(|(who, until)| who == framework && now < *until);
            !refused && !agent.seldom.asked.outstanding.contains(framework)
        });
        let mut asked: Vec<&FrameworkId> = to_ask
            .filter_map(|framework| self.clients.frameworks[framework].view.as_ref())
            .filter(|framework| framework.active)
            .map(|framework| &framework.id)
            .collect();
        asked.sort();
        plans.extend(asked.into_iter().map(|framework| InversePlan {
            framework: framework.clone(),
            agent: view.id.clone(),
            unavailability,
            agent_version: view.version,
        }));
    }

    /// Books that an inverse offer is outstanding: no other is made for the pair.
    pub fn ask_back(&mut self, framework: &FrameworkId, agent: &AgentId) {
        let pair = self.clients.framework(framework).zip(self.agents.find(agent));
        if let Some((framework, slot)) = pair {
            let outstanding = &mut self.agents.slots[slot].seldom.asked.outstanding;
            if !outstanding.contains(&framework) {
                outstanding.push(framework);
            }
        }
    }

    /// Whether an inverse offer is outstanding.
    pub fn is_asked_back(&self, framework: &FrameworkId, agent: &AgentId) -> bool {
        let pair = self.clients.framework(framework).zip(self.agents.find(agent));
        pair.is_some_and(|(framework, slot)| {
            self.agents.slots[slot].seldom.asked.outstanding.contains(&framework)
        })
    }

    /// Books that an inverse offer was answered, accepting or declining, or is gone. The framework is not asked again
    /// before `refused_until`, nor before the next tick.
    pub fn answer_inverse(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        refused_until: Option<Millis>,
    ) {
        let Some((framework, slot)) = self.clients.framework(framework).zip(self.agents.find(agent)) else {
            return;
        };
        let asked = &mut self.agents.slots[slot].seldom.asked;
        asked.outstanding.retain(|kept| *kept != framework);
        asked.refusals.retain(|(kept, _)| *kept != framework);
        self.inverse.note_later(slot);
        if let Some(until) = refused_until {
            asked.refusals.push((framework, until));
            self.inverse.ends.insert((until, slot));
        }
    }

    /// Forgets for how long the framework did not want to be asked.
    pub(crate) fn forget_inverse_refusals(&mut self, framework: FrameworkIx) {
        for number in self.inverse.draining.ones() {
            let asked = &mut self.agents.slots[AgentIx::new(number)].seldom.asked;
            asked.refusals.retain(|(kept, _)| *kept != framework);
        }
        self.inverse.note_all();
    }
}
