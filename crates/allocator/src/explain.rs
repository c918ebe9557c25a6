//! Why a framework is or is not offered an agent: asked of the same code that decides.

use std::{collections::BTreeMap, fmt};

use mesarch_types::{AgentId, FrameworkId, FrameworkView, Millis, Resources, Role};
use serde::{Serialize, Serializer};

use crate::{
    allocator::Allocator,
    draw::mix,
    eligible::{No, Refusal},
    index::{AgentIx, ClientIx},
    kinds::Stock,
    plan::{Run, Slate},
};

/// One reason, for one role where it is about one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Why {
    /// The framework's role that it is about; none: all of them.
    #[serde(serialize_with = "text_of_some", skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The agent that was asked about, or the first by id of those that the reason is true of.
    #[serde(serialize_with = "text_of_some", skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// Of how many agents it is true; zero if it is about none.
    pub agents: u32,
    /// The reason itself.
    #[serde(flatten)]
    pub reason: Reason,
}

/// Why. Moments are cluster time in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[expect(missing_docs, reason = "the fields are the moment of an end, or who and what the sentence names")]
pub enum Reason {
    /// No such framework, or it left.
    FrameworkUnknown,
    /// It is not connected.
    FrameworkInactive,
    /// It has no role to be offered anything in.
    NoRole,
    /// No such agent, or it left.
    AgentUnknown,
    /// There is no agent at all.
    NoAgents,
    /// The agent is detached, draining or deactivated.
    AgentInactive,
    /// The agent's host is not on the whitelist.
    NotWhitelisted,
    /// The framework has an offer or tasks of the agent.
    Holds { resources: String },
    /// Everything on the agent is offered or in use.
    NothingFree,
    /// The framework wants no offers for this role now.
    Suppressed,
    /// The agent has gpus and the framework does not know gpus.
    NeedsGpuCapability,
    /// The agent is in another region and the framework is not aware of regions.
    OtherRegion,
    /// The agent lacks a role capability that the framework or the role needs.
    AgentTooOld,
    /// The framework's own offer constraints exclude the agent.
    Constraint,
    /// What is free is reserved to others, or of a kind that the framework cannot handle.
    NothingForRole,
    /// What is free is less than the smallest offer.
    TooSmall,
    /// The role's quota limit leaves no room.
    OverLimit,
    /// What is free is kept for guarantees of other roles.
    Headroom,
    /// The framework refused as much until then.
    Refused { until_ms: u64 },
    /// The framework declined as much since the last tick; it is asked again from the next one on.
    JustDeclined { until_ms: u64 },
    /// Somebody else is before it in order.
    Behind { framework: String, role: String },
    /// The agent waits for the next tick; then it is this one's turn.
    WaitsForTick { until_ms: u64 },
    /// As many offers per second as are allowed were made.
    Paced { until_ms: u64 },
    /// It is first in order and is offered at the next run.
    InTurn,
}

fn text_of_some<T: fmt::Display, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameworkUnknown => f.write_str("the framework is not known"),
            Self::FrameworkInactive => f.write_str("the framework is not connected"),
            Self::NoRole => f.write_str("the framework has no role"),
            Self::AgentUnknown => f.write_str("the agent is not known"),
            Self::NoAgents => f.write_str("there is no agent"),
            Self::AgentInactive => f.write_str("the agent is detached, draining or deactivated"),
            Self::NotWhitelisted => f.write_str("the agent's host is not on the whitelist"),
            Self::Holds { resources } => write!(f, "the framework already holds {resources}"),
            Self::NothingFree => f.write_str("everything on the agent is offered or in use"),
            Self::Suppressed => f.write_str("the framework suppressed its offers"),
            Self::NeedsGpuCapability => {
                f.write_str("the agent has gpus and the framework lacks the capability GPU_RESOURCES")
            }
            Self::OtherRegion => f.write_str(
                "the agent is in another region and the framework lacks the capability REGION_AWARE",
            ),
            Self::AgentTooOld => f.write_str("the agent lacks a capability for the framework's roles"),
            Self::Constraint => f.write_str("the framework's offer constraints exclude the agent"),
            Self::NothingForRole => f.write_str(
                "what is free is reserved to others or of a kind that the framework cannot handle",
            ),
            Self::TooSmall => f.write_str("what is free is less than the smallest offer"),
            Self::OverLimit => f.write_str("the role's quota limit leaves no room"),
            Self::Headroom => f.write_str("what is free is kept for the quota guarantees of other roles"),
            Self::Refused { until_ms } => write!(f, "the framework refused as much until {until_ms} ms"),
            Self::JustDeclined { until_ms } => {
                write!(f, "the framework just declined as much and is asked again from {until_ms} ms on")
            }
            Self::Behind { framework, role } => {
                write!(f, "framework {framework} in role {role} is before it in order")
            }
            Self::WaitsForTick { until_ms } => write!(f, "the agent waits for the tick at {until_ms} ms"),
            Self::Paced { until_ms } => write!(f, "the rate of offers is used up until {until_ms} ms"),
            Self::InTurn => f.write_str("it is first in order and is offered at the next run"),
        }
    }
}

/// A sentence: `role web, agent S1: the framework suppressed its offers`.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(role) = &self.role {
            write!(f, "role {role}")?;
        }
        let comma = if self.role.is_some() { ", " } else { "" };
        match (&self.agent, self.agents) {
            (Some(agent), 0 | 1) => write!(f, "{comma}agent {agent}: ")?,
            (Some(agent), more) => write!(f, "{comma}{more} agents such as {agent}: ")?,
            (None, _) if self.role.is_some() => f.write_str(": ")?,
            (None, _) => {}
        }
        self.reason.fmt(f)
    }
}

impl Allocator {
    /// Why `framework` holds no offer of `agent` now, or none of any agent if none is named: a reason for each of its
    /// roles, or one for all. Over all agents, equal reasons are counted together. `now` is cluster time.
    pub fn explain(&mut self, framework: &FrameworkId, agent: Option<&AgentId>, now: Millis) -> Vec<Why> {
        let about_all = |reason| vec![Why { role: None, agent: agent.cloned(), agents: 0, reason }];
        let view = self.clients.framework(framework);
        let Some(view) = view.and_then(|slot| self.clients.frameworks[slot].view.clone()) else {
            return about_all(Reason::FrameworkUnknown);
        };
        if !view.active {
            return about_all(Reason::FrameworkInactive);
        }
        if view.roles.is_empty() {
            return about_all(Reason::NoRole);
        }
        self.refresh_order();
        let is_known = |slot: &AgentIx| self.agents.slots[*slot].view.is_some();
        let slots: Vec<AgentIx> = match agent {
            Some(id) => self.agents.find(id).filter(is_known).into_iter().collect(),
            None => self.agents.slots.iter().map(|(slot, _)| slot).filter(is_known).collect(),
        };
        if slots.is_empty() {
            return about_all(if agent.is_some() { Reason::AgentUnknown } else { Reason::NoAgents });
        }
        self.explain_agents(&view, slots, now)
    }

    fn explain_agents(&mut self, view: &FrameworkView, slots: Vec<AgentIx>, now: Millis) -> Vec<Why> {
        let mut groups: BTreeMap<(Option<Role>, Reason), (u32, AgentId)> = BTreeMap::new();
        for slot in slots {
            let id = self.agents.slots[slot].id.clone();
            for reason in self.explain_agent(view, slot, now) {
                let group = groups.entry(reason).or_insert_with(|| (0, id.clone()));
                group.0 += 1;
                if id < group.1 {
                    group.1 = id.clone();
                }
            }
        }
        let listed = groups.into_iter();
        listed
            .map(|((role, reason), (agents, agent))| Why { role, agent: Some(agent), agents, reason })
            .collect()
    }

    fn explain_agent(
        &mut self,
        view: &FrameworkView,
        slot: AgentIx,
        now: Millis,
    ) -> Vec<(Option<Role>, Reason)> {
        let mut reasons = self.holdings(view, slot);
        let interval = self.agents.interval;
        let agent = &mut self.agents.slots[slot];
        agent.begin_interval(interval);
        agent.learn_renewals(&self.clients);
        let stock = agent.free(&mut self.kinds, &self.config.min_allocatable);
        if !agent.is_active() {
            reasons.push((None, Reason::AgentInactive));
        } else if !self.is_whitelisted(slot) {
            reasons.push((None, Reason::NotWhitelisted));
        } else if stock.resources.is_empty() {
            reasons.push((None, Reason::NothingFree));
        } else {
            let of_role =
                |role: &Role| (Some(role.clone()), self.explain_role(view, role, slot, &stock, now));
            reasons.extend(view.roles.iter().map(of_role));
        }
        reasons
    }

    fn holdings(&self, view: &FrameworkView, slot: AgentIx) -> Vec<(Option<Role>, Reason)> {
        let held = |role: &Role| -> Option<Resources> {
            let client = self.clients.by_names(&view.id, role)?;
            let holder = self.agents.slots[slot].holders.iter().find(|holder| holder.client == client)?;
            Some(holder.held.clone())
        };
        let holds =
            |role: &Role| Some((Some(role.clone()), Reason::Holds { resources: held(role)?.to_string() }));
        view.roles.iter().filter_map(holds).collect()
    }

    fn explain_role(
        &self,
        view: &FrameworkView,
        role: &Role,
        slot: AgentIx,
        stock: &Stock,
        now: Millis,
    ) -> Reason {
        if !view.wants(role) {
            return Reason::Suppressed;
        }
        let Some(client) = self.clients.by_names(&view.id, role) else {
            return Reason::FrameworkUnknown;
        };
        let next_tick = self.config.tick(self.config.round(now) + 1);
        match self.case(slot, now).chunk(client, stock) {
            Ok(_) => self.explain_order(client, slot, stock, now, next_tick),
            Err(no) => reason_of(no, next_tick),
        }
    }

    /// Nothing speaks against it but the time and the others.
    fn explain_order(
        &self,
        client: ClientIx,
        slot: AgentIx,
        stock: &Stock,
        now: Millis,
        next_tick: Millis,
    ) -> Reason {
        let first = self.first_in_order(slot, stock, now).filter(|first| *first != client);
        if let Some(other) = first {
            let (framework, role) = (self.clients.get(other).framework, &self.clients.get(other).role);
            let framework = self.clients.frameworks[framework].id.to_string();
            return Reason::Behind { framework, role: role.to_string() };
        }
        let ready = self.pace.ready(now);
        match () {
            () if self.agents.waiting.has(slot.0) && !self.agents.dirty.has(slot.0) => {
                Reason::WaitsForTick { until_ms: next_tick.0 }
            }
            () if ready > now => Reason::Paced { until_ms: ready.0 },
            () => Reason::InTurn,
        }
    }

    /// Who would be served first from the agent.
    fn first_in_order(&self, slot: AgentIx, stock: &Stock, now: Millis) -> Option<ClientIx> {
        let draw = mix(self.config.seed ^ mix(self.sequence));
        let run = Run::to_look(now, draw, self.guaranteed_roles());
        let slate = Slate { slot, stock: stock.clone(), whole: false, given: Vec::new() };
        if let Some((client, _)) = self.pick_guaranteed(&slate, &run) {
            return Some(client);
        }
        let case = self.case(slot, now);
        self.tree.first(self.tree.root(), &self.turn_of(slot, run.draw), &mut |client: ClientIx| {
            case.chunk(client, stock).ok().map(|_| client)
        })
    }
}

fn reason_of(no: No, next_tick: Millis) -> Reason {
    match no.refusal {
        Refusal::FrameworkUnknown => Reason::FrameworkUnknown,
        Refusal::NeedsGpuCapability => Reason::NeedsGpuCapability,
        Refusal::OtherRegion => Reason::OtherRegion,
        Refusal::AgentTooOld => Reason::AgentTooOld,
        Refusal::Constraint => Reason::Constraint,
        Refusal::NothingForRole => Reason::NothingForRole,
        Refusal::TooSmall => Reason::TooSmall,
        Refusal::OverLimit => Reason::OverLimit,
        Refusal::Headroom => Reason::Headroom,
        Refusal::Refused { until } => Reason::Refused { until_ms: until.0 },
        Refusal::JustDeclined => Reason::JustDeclined { until_ms: next_tick.0 },
    }
}
