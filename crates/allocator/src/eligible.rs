//! Whether something free on an agent can be offered to a client, and what: everything but the order.

use mesarch_types::{
    AgentCapability, FrameworkCapability, FrameworkView, Millis, Quantities, Resource, Resources, Role,
    Value, can_handle,
};

use crate::{
    Config,
    agent::Agent,
    client::Clients,
    filter::{blocked_until, just_declined},
    index::ClientIx,
    kinds::Stock,
};

/// Why nothing can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    FrameworkUnknown,
    NeedsGpuCapability,
    OtherRegion,
    AgentTooOld,
    NothingForRole,
    TooSmall,
    Refused { until: Millis },
    JustDeclined,
}

/// All that the decision looks at.
pub(crate) struct Case<'a> {
    pub(crate) config: &'a Config,
    pub(crate) clients: &'a Clients,
    pub(crate) agent: &'a Agent,
    pub(crate) now: Millis,
}

impl Case<'_> {
    /// What of the stock can be offered to `client`.
    pub(crate) fn chunk(&self, client: ClientIx, stock: &Stock) -> Result<Resources, Refusal> {
        let view = self.clients.view_of(client).ok_or(Refusal::FrameworkUnknown)?;
        let role = &self.clients.get(client).role;
        self.check_agent(view, role)?;
        let fits =
            |resource: &Resource| resource.is_allocatable_to(role) && can_handle(view.capabilities, resource);
        let chunk = if stock.facts.plain { stock.resources.clone() } else { stock.resources.filter(fits) };
        if chunk.is_empty() {
            return Err(Refusal::NothingForRole);
        }
        let enough = match view.min_allocatable.get(role) {
            Some(own) => is_enough(&chunk, own),
            None if chunk.ptr_eq(&stock.resources) => stock.facts.enough,
            None => is_enough(&chunk, &self.config.min_allocatable),
        };
        if !enough {
            return Err(Refusal::TooSmall);
        }
        if let Some(until) = blocked_until(self.agent, self.clients, client, &chunk, self.now) {
            return Err(Refusal::Refused { until });
        }
        match just_declined(self.agent, self.clients, client, &chunk) {
            true => Err(Refusal::JustDeclined),
            false => Ok(chunk),
        }
    }

    fn check_agent(&self, framework: &FrameworkView, role: &Role) -> Result<(), Refusal> {
        let knows = |one| framework.capabilities.has(one);
        let Some(agent) = &self.agent.view else {
            return Err(Refusal::NothingForRole);
        };
        if self.config.filter_gpus && self.agent.has_gpus && !knows(FrameworkCapability::GpuResources) {
            return Err(Refusal::NeedsGpuCapability);
        }
        let away = agent.region.is_some() && agent.region != self.config.region;
        if away && !knows(FrameworkCapability::RegionAware) {
            return Err(Refusal::OtherRegion);
        }
        let lacks = |one| !agent.capabilities.has(one);
        let too_old = lacks(AgentCapability::MultiRole) && knows(FrameworkCapability::MultiRole)
            || lacks(AgentCapability::HierarchicalRole) && role.parent().is_some();
        if too_old { Err(Refusal::AgentTooOld) } else { Ok(()) }
    }
}

/// `is_allocatable` of the shared predicates, without building quantities: this is the planner's inner loop.
pub(crate) fn is_enough(chunk: &Resources, alternatives: &[Quantities]) -> bool {
    let amount_of = |name: &str| -> i64 {
        let named = chunk.iter_counted().filter(|(resource, _)| &*resource.name == name);
        named.fold(0, |sum, (resource, copies)| match &resource.value {
            Value::Scalar(amount) if resource.shared => sum.saturating_add(amount.0),
            Value::Scalar(amount) => sum.saturating_add(amount.0.saturating_mul(i64::from(copies))),
            Value::Ranges(_) | Value::Set(_) => sum,
        })
    };
    alternatives.is_empty()
        || alternatives.iter().any(|least| least.iter().all(|(name, amount)| amount_of(name) >= amount.0))
}
