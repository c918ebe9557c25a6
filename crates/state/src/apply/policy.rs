//! What operators decide about sharing: weights, priorities, the whitelist, the policy. Quota has its own file.

use crate::{
    change::Change,
    command::{SetPolicy, SetPriorities, SetWeights, SetWhitelist},
    outcome::{Outcome, Refusal},
    sharing::ENTRIES_MAX,
    step::Step,
};

impl Step<'_> {
    pub(crate) fn set_weights(&mut self, c: SetWeights) -> Outcome {
        for (role, weight) in c.weights {
            self.state.sharing.weights.insert(role, weight);
        }
        self.policy_changed();
        Outcome::Done
    }

    /// All of them, or none.
    pub(crate) fn set_priorities(&mut self, c: SetPriorities) -> Result<Outcome, Refusal> {
        for (framework, _) in &c.frameworks {
            self.state.known_framework(framework)?;
        }
        let before = self.state.sharing.clone();
        let sharing = &mut self.state.sharing;
        for (role, priority) in c.roles {
            match priority.get() {
                0 => sharing.role_priorities.remove(&role),
                _ => sharing.role_priorities.insert(role, priority),
            };
        }
        for (framework, priority) in c.frameworks {
            match priority.get() {
                0 => sharing.framework_priorities.remove(&framework),
                _ => sharing.framework_priorities.insert(framework, priority),
            };
        }
        if sharing.role_priorities.len().max(sharing.framework_priorities.len()) > ENTRIES_MAX {
            self.state.sharing = before;
            return Err(Refusal::Full);
        }
        self.policy_changed();
        Ok(Outcome::Done)
    }

    /// Offers of agents that are not on it any more stay, as in Mesos.
    pub(crate) fn set_whitelist(&mut self, c: SetWhitelist) -> Outcome {
        self.state.sharing.whitelist = c.hosts.map(|hosts| hosts.into_iter().collect());
        self.policy_changed();
        Outcome::Done
    }

    pub(crate) fn set_policy(&mut self, c: SetPolicy) -> Outcome {
        self.state.sharing.policy = Some(c.name);
        self.policy_changed();
        Outcome::Done
    }

    /// Plans that were made before are void.
    pub(crate) fn policy_changed(&mut self) {
        self.state.meta.policy_version = self.epoch();
        self.change(Change::Policy);
    }
}
