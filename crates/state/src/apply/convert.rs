//! Operators' reservations and volumes, on what is free or offered of an agent. Those of frameworks are in `operation.rs`.
//!
//! What an agent brings stays its own word; what operators made of it is kept beside it and applies again whenever the
//! agent comes back with at least that.

use std::sync::Arc;

use mesarch_types::{
    AgentId, ConversionError, Millis, OfferId,
    resource::{Conversion, Resources},
};

use crate::{
    change::Change,
    command::{ConvertResources, Refuse},
    machine::{LEVEL_OPERATIONS, LEVEL_RERESERVE},
    model::{Agent, Converted, OutboxItem},
    outcome::{Denial, Outcome, Refusal},
    step::Step,
};

/// For how long those whose offers were withdrawn for an operator are not offered the same again.
const RESCINDED_REFUSAL: Refuse = Refuse { duration: Millis::from_secs(5) };

impl Step<'_> {
    /// Withdraws just enough offers of the agent, then converts.
    pub(crate) fn convert_resources(&mut self, c: &ConvertResources) -> Outcome {
        let is_new = matches!(c.conversion, Conversion::Rereserve { .. });
        if is_new && self.state.meta.level < LEVEL_RERESERVE {
            return Outcome::Refused(Refusal::LevelTooLow);
        }
        let planned = match self.state.agents.get(&c.agent) {
            // A provider would have to be told, and to say that it did so; there is no framework that would hear of it.
            Some(agent) if agent.is_asked_of_provider(&c.conversion) => {
                Err(Denial::Conversion(ConversionError::OfProvider))
            }
            Some(agent) => self.plan_conversion(agent, &c.conversion).map_err(Denial::Conversion),
            None => Err(Denial::UnknownAgent(c.agent.clone())),
        };
        let (total, offers) = match planned {
            Ok(planned) => planned,
            Err(denial) => return Outcome::Denied(denial),
        };
        for offer in &offers {
            self.take_back(offer);
        }
        self.set_total(&c.agent, &total);
        self.note_leaving(&c.agent, &c.conversion);
        Outcome::Changed { rescinded: u32::try_from(offers.len()).unwrap_or(u32::MAX) }
    }

    /// The agent's total afterwards, and the offers that stand in the way.
    fn plan_conversion(
        &self,
        agent: &Agent,
        conversion: &Conversion,
    ) -> Result<(Resources, Vec<OfferId>), ConversionError> {
        let (consumed, _) = conversion.sides()?;
        agent.check_left(conversion)?;
        let total = agent.total().apply(conversion)?;
        let mut free = agent.available().clone();
        let mut offers = Vec::new();
        for id in &agent.offers {
            let missing = consumed.saturating_sub(&free);
            let Some(offer) = self.state.offers.get(id).filter(|_| !missing.is_empty()) else {
                break;
            };
            let offered = offer.resources.without_allocation();
            if missing.saturating_sub(&offered) != missing {
                free = free.saturating_add(&offered);
                offers.push(id.clone());
            }
        }
        match free.contains(&consumed) {
            true => Ok((total, offers)),
            false => {
                Err(ConversionError::NotThere { missing: consumed.saturating_sub(&free), available: free })
            }
        }
    }

    fn take_back(&mut self, id: &OfferId) {
        let Some(offer) = self.remove_offer(id) else {
            return;
        };
        let holder = (offer.framework.clone(), offer.role.clone());
        self.refuse(&offer.agent, holder, offer.resources.without_allocation(), RESCINDED_REFUSAL);
        self.post(&offer.framework, OutboxItem::Rescind(id.clone()));
    }

    /// What the agent has now, beside its own word; from level 3 on it is to store that.
    pub(super) fn set_total(&mut self, agent: &AgentId, total: &Resources) {
        self.count_agent(agent, crate::sharing::Count::Out);
        let version = self.epoch();
        let mut is_own = true;
        if let Some(known) = self.state.agents.get_mut(agent).map(Arc::make_mut) {
            is_own = known.set_total(total);
            known.version = version;
        }
        self.draw_up_uncounted_books(agent);
        self.change(Change::Agent(agent.clone()));
        if is_own && self.state.meta.level >= LEVEL_OPERATIONS {
            self.version_resources_of(agent);
        }
    }
}

impl Agent {
    fn is_asked_of_provider(&self, conversion: &Conversion) -> bool {
        let sides = conversion.sides();
        sides.is_ok_and(|(consumed, _)| consumed.iter().any(|one| self.provider_of(one).is_some()))
    }

    /// Notes what became of what the agent itself brings and of what its providers do. Whether any of it is the agent's own:
    /// that is for the agent to store, the other for the provider.
    fn set_total(&mut self, total: &Resources) -> bool {
        let own = total.filter(|resource| self.provider_of(resource).is_none());
        for (id, provider) in &mut self.providers {
            let part = total.filter(|resource| resource.provider.as_deref() == Some(id.as_str()));
            if part != provider.total {
                Arc::make_mut(provider).total = part;
            }
        }
        let is_own = self.providers.is_empty() || own != self.own_total();
        self.converted = Converted::between(&self.spec.total, &own);
        is_own
    }
}
