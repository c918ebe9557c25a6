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
        self.check_offer(&item)?;
        let item = self.with_own_names(item);
        let id = self.next_offer_id();
        let holder = (item.framework.clone(), item.role.clone());
        let resources = item.resources.without_allocation();
        let offer = Offer {
            id: id.clone(),
            framework: item.framework.clone(),
            role: item.role.clone(),
            agent: item.agent.clone(),
            resources: resources.allocated_to(&item.role),
            issued: self.epoch(),
        };
        self.state.offers.insert(id.clone(), Arc::new(offer));
        if let Some(framework) = self.framework_mut(&item.framework) {
            framework.offers.insert(id.clone());
        }
        if let Some(agent) = self.agent_mut(&item.agent) {
            agent.offers.insert(id.clone());
        }
        self.take(Side::Offered, &item.agent, &holder, &resources);
        self.change(Change::OfferAdded(id.clone()));
        if self.is_connected(&item.framework) {
            self.effect(Effect::SendOffer { framework: item.framework, offer: id.clone() });
        }
        Ok(id)
    }

    /// The same item with the ids and the role as the state has them: one text for all offers, and equal by its address.
    fn with_own_names(&self, item: OfferItem) -> OfferItem {
        let framework = self.state.frameworks.get(&item.framework);
        let role = framework.and_then(|framework| framework.spec.roles.get(&item.role)).cloned();
        OfferItem {
            framework: framework.map_or(item.framework, |framework| framework.id.clone()),
            role: role.unwrap_or(item.role),
            agent: self.state.agents.get(&item.agent).map_or(item.agent, |agent| agent.id.clone()),
            ..item
        }
    }

    fn check_offer(&self, item: &OfferItem) -> Result<(), OfferRefusal> {
        let framework = self.state.frameworks.get(&item.framework).ok_or(OfferRefusal::FrameworkChanged)?;
        if framework.version != item.framework_version || !framework.wants(&item.role) {
            return Err(OfferRefusal::FrameworkChanged);
        }
        let agent = self.state.agents.get(&item.agent).ok_or(OfferRefusal::AgentChanged)?;
        if agent.version != item.agent_version || !agent.is_active() {
            return Err(OfferRefusal::AgentChanged);
        }
        let wanted = item.resources.without_allocation();
        if wanted.is_empty() || !agent.available().contains(&wanted) {
            return Err(OfferRefusal::Resources);
        }
        self.check_limit(&item.role, &wanted)
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
