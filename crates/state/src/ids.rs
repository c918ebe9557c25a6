//! Ids that the cluster gives out: `<cluster>-<incarnation>-<number>`, so that no two clusters, and no two copies of
//! one cluster after a restore, give out the same.

use mesarch_types::{AgentId, FrameworkId, OfferId};

use crate::step::Step;

impl Step<'_> {
    /// The next framework id that is not taken (an adopted framework may have it).
    pub(crate) fn next_framework_id(&mut self) -> FrameworkId {
        loop {
            let number = next(&mut self.state.meta.next_framework);
            let id = FrameworkId::from(format!("{}-{number:04}", self.prefix()));
            if !self.state.frameworks.contains_key(&id) && !self.state.removed.contains_key(&id) {
                return id;
            }
        }
    }

    /// The next agent id that is not taken.
    pub(crate) fn next_agent_id(&mut self) -> AgentId {
        loop {
            let number = next(&mut self.state.meta.next_agent);
            let id = AgentId::from(format!("{}-S{number}", self.prefix()));
            if !self.state.agents.contains_key(&id) && !self.state.unreachable.contains_key(&id) {
                return id;
            }
        }
    }

    /// The next offer id. Offers are never adopted, so it is not taken.
    pub(crate) fn next_offer_id(&mut self) -> OfferId {
        let number = next(&mut self.state.meta.next_offer);
        OfferId::from(format!("{}-O{number}", self.prefix()))
    }

    fn prefix(&self) -> String {
        let meta = &self.state.meta;
        let cluster = meta.cluster.map(|cluster| cluster.to_string()).unwrap_or_default();
        format!("{cluster}-{}", meta.incarnation)
    }
}

fn next(counter: &mut u64) -> u64 {
    let number = *counter;
    *counter += 1;
    number
}
