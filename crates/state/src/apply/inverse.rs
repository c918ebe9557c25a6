//! Inverse offers: frameworks are asked to leave agents whose machines will be down.

use std::collections::BTreeSet;

use mesarch_types::{AgentId, FrameworkId, OfferId};

use crate::{
    change::Change,
    command::{AnswerInverseOffers, InverseOfferItem, IssueInverseOffers},
    effect::Effect,
    model::{Asked, InverseAnswer, InverseOffer, OutboxItem},
    outcome::{OfferRefusal, Outcome},
    step::{Rescind, Step},
};

impl Step<'_> {
    /// Re-checks each planned one against what is true now.
    pub(crate) fn issue_inverse_offers(&mut self, c: IssueInverseOffers) -> Outcome {
        Outcome::Issued(c.items.into_iter().map(|item| self.issue_inverse_offer(item)).collect())
    }

    fn issue_inverse_offer(
        &mut self,
        item: InverseOfferItem,
    ) -> Result<mesarch_types::OfferId, OfferRefusal> {
        let framework = self.state.frameworks.get(&item.framework).filter(|known| known.is_active());
        let framework = framework.ok_or(OfferRefusal::FrameworkChanged)?;
        let agent = self.state.agents.get(&item.agent).ok_or(OfferRefusal::AgentChanged)?;
        if agent.version != item.agent_version || !agent.is_active() || agent.unavailability.is_none() {
            return Err(OfferRefusal::AgentChanged);
        }
        let books = [agent.ledger.used(), agent.ledger.offered()];
        let holds = books.into_iter().flat_map(|book| book.keys()).any(|(holder, _)| *holder == framework.id);
        let asked = (framework.id.clone(), agent.id.clone());
        if !holds || self.state.maintenance.asked.contains_key(&asked) {
            return Err(OfferRefusal::Resources);
        }
        let is_connected = framework.is_connected();
        let id = self.next_offer_id();
        let issued = self.epoch();
        self.state.maintenance.asked.insert(asked.clone(), InverseOffer { id: id.clone(), issued });
        let (framework, agent) = asked;
        self.change(Change::InverseOfferAdded { framework: framework.clone(), agent: agent.clone() });
        if is_connected {
            self.effect(Effect::SendInverseOffer { framework, agent });
        }
        Ok(id)
    }

    /// Unknown offers, and those of others, are ignored.
    pub(crate) fn answer_inverse_offers(&mut self, c: &AnswerInverseOffers) -> Outcome {
        let (at, until) = (self.at.wall, self.at.now.saturating_add(c.refuse.duration));
        let answered: BTreeSet<&OfferId> = c.offers.iter().collect();
        for agent in self.state.inverse_offers_of(&c.framework) {
            if !answered.contains(&agent.1.id) {
                continue;
            }
            let asked = (c.framework.clone(), agent.0);
            self.state.maintenance.asked.remove(&asked);
            let answer = InverseAnswer { accepted: c.accepted, at };
            self.state.maintenance.answers.insert(asked.clone(), answer);
            let (framework, agent) = asked;
            self.change(Change::InverseOfferRemoved { framework, agent, until: Some(until) });
        }
        Outcome::Done
    }

    /// The agent is not asked about for now; what was answered is still true.
    pub(crate) fn withdraw_inverse_offers_of_agent(&mut self, agent: &AgentId) {
        for framework in self.asked_about(agent) {
            self.withdraw_inverse_offer(&framework, agent, Rescind::Told);
        }
    }

    /// The agent goes, or is asked about anew: what was answered is void, too.
    pub(crate) fn forget_inverse_offers_of_agent(&mut self, agent: &AgentId) {
        self.withdraw_inverse_offers_of_agent(agent);
        self.forget_answers(|(_, about)| about == agent);
    }

    /// The framework is not there to answer; it does not hear of it.
    pub(crate) fn withdraw_inverse_offers_of_framework(&mut self, framework: &FrameworkId) {
        for (agent, _) in self.state.inverse_offers_of(framework) {
            self.withdraw_inverse_offer(framework, &agent, Rescind::Silent);
        }
    }

    /// The framework is no more.
    pub(crate) fn forget_inverse_answers_of_framework(&mut self, framework: &FrameworkId) {
        self.forget_answers(|(who, _)| who == framework);
    }

    fn forget_answers(&mut self, void: impl Fn(&Asked) -> bool) {
        let answers = &mut self.state.maintenance.answers;
        let void: Vec<Asked> = answers.keys().filter(|asked| void(asked)).cloned().collect();
        for asked in void {
            answers.remove(&asked);
        }
    }

    fn asked_about(&self, agent: &AgentId) -> Vec<FrameworkId> {
        let about = self.state.maintenance.asked.keys().filter(|(_, about)| about == agent);
        about.map(|(framework, _)| framework.clone()).collect()
    }

    fn withdraw_inverse_offer(&mut self, framework: &FrameworkId, agent: &AgentId, rescind: Rescind) {
        let asked = (framework.clone(), agent.clone());
        let Some(offer) = self.state.maintenance.asked.remove(&asked) else {
            return;
        };
        let (framework, agent) = asked;
        self.change(Change::InverseOfferRemoved { framework: framework.clone(), agent, until: None });
        if rescind == Rescind::Told {
            self.post(&framework, OutboxItem::RescindInverse(offer.id));
        }
    }
}
