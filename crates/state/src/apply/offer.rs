//! Offers: issued, declined, withdrawn. Their acceptance has its own file.

use std::sync::Arc;

use mesarch_types::{
    AgentId, Millis, OfferId,
    filter::{REFUSE_MAX, RefuseFilter},
    resource::Resources,
};

use crate::{
    change::{Change, Released},
    command::{DeclineOffers, IssueOffers, OfferItem, Refuse, RescindOffers},
    effect::Effect,
    filters::SHORT_REFUSAL_MAX,
    model::{Holder, Offer, ledger::Side},
    outcome::{OfferRefusal, Outcome, Refusal},
    step::{Rescind, Step},
};

impl Step<'_> {
    /// Re-checks each planned offer against what is true now; what does not hold any more is refused, not cut down.
    pub(crate) fn issue_offers(&mut self, c: IssueOffers) -> Outcome {
        let current = c.policy == self.state.meta.policy_version;
        let results = c.items.into_iter().map(|item| match current {
            true => self.issue_offer(item),
            false => Err(OfferRefusal::PolicyChanged),
        });
        Outcome::Issued(results.collect())
    }

    fn issue_offer(&mut self, item: OfferItem) -> Result<OfferId, OfferRefusal> {
        let resources = item.resources.without_allocation();
        let item = self.check_offer(item, &resources)?;
        let id = self.next_offer_id();
        let holder = (item.framework.clone(), item.role.clone());
        let offer = Offer {
            id: id.clone(),
            framework: item.framework.clone(),
            role: item.role.clone(),
            agent: item.agent.clone(),
            resources: resources.allocated_to(&item.role),
            issued: self.epoch(),
        };
        self.state.offers.insert(id.clone(), Arc::new(offer));
        let is_connected = self.framework_mut(&item.framework).is_some_and(|framework| {
            framework.offers.insert(id.clone());
            framework.is_connected()
        });
        self.enter_with(Side::Offered, &item.agent, &holder, &resources, |agent| {
            agent.offers.insert(id.clone());
        });
        self.taken(&item.agent, &holder, &resources);
        self.change(Change::OfferAdded(id.clone()));
        if is_connected {
            self.effect(Effect::SendOffer { framework: item.framework, offer: id.clone() });
        }
        Ok(id)
    }

    /// The item with its ids and its role as the state has them: one text for all offers, and equal by its address.
    /// `wanted`: its resources without a mark.
    fn check_offer(&self, item: OfferItem, wanted: &Resources) -> Result<OfferItem, OfferRefusal> {
        let framework = self.state.frameworks.get(&item.framework).ok_or(OfferRefusal::FrameworkChanged)?;
        let role = framework.spec.roles.get(&item.role).ok_or(OfferRefusal::FrameworkChanged)?;
        if framework.version != item.framework_version || !framework.wants(role) {
            return Err(OfferRefusal::FrameworkChanged);
        }
        let agent = self.state.agents.get(&item.agent).ok_or(OfferRefusal::AgentChanged)?;
        if agent.version != item.agent_version || !agent.is_active() {
            return Err(OfferRefusal::AgentChanged);
        }
        if wanted.is_empty() || !agent.available().contains(wanted) {
            return Err(OfferRefusal::Resources);
        }
        self.check_limit(role, wanted)?;
        let (framework, role, agent) = (framework.id.clone(), role.clone(), agent.id.clone());
        Ok(OfferItem { framework, role, agent, ..item })
    }

    /// Gives offers back. Unknown ones, and those of others, are ignored.
    pub(crate) fn decline_offers(&mut self, c: DeclineOffers) -> Result<Outcome, Refusal> {
        self.state.known_framework(&c.framework)?;
        for id in c.offers {
            let foreign = self.state.offers.get(&id).is_none_or(|offer| offer.framework != c.framework);
            if foreign {
                continue;
            }
            if let Some(offer) = self.remove_offer(&id) {
                let holder = (offer.framework.clone(), offer.role.clone());
                self.refuse(&offer.agent, holder, offer.resources.without_allocation(), c.refuse);
            }
        }
        Ok(Outcome::Done)
    }

    /// Frees what a framework did not want; a long refusal is kept for the next leader.
    pub(crate) fn refuse(&mut self, agent: &AgentId, holder: Holder, resources: Resources, refuse: Refuse) {
        if resources.is_empty() {
            return;
        }
        let now = self.at.now;
        let duration = refuse.duration.min(REFUSE_MAX);
        let until: Millis = now.saturating_add(duration);
        self.released(agent, &holder, &resources, Released::Refused { until });
        if duration > SHORT_REFUSAL_MAX {
            let filter = RefuseFilter { refused: resources, until };
            self.state.filters.insert((holder.0, holder.1, agent.clone()), filter, now);
        }
    }

    /// Withdraws offers. Those that are gone already are ignored.
    pub(crate) fn rescind_offers(&mut self, c: &RescindOffers) -> Outcome {
        for id in &c.offers {
            self.withdraw_offer(id, Rescind::Told);
        }
        Outcome::Done
    }
}
