//! What operators set: weights, priorities, quota, whitelist, policy.

use std::{collections::BTreeSet, sync::Arc};

use mesarch_types::{FrameworkId, Priority, Quota, Role, Weight};

use crate::{Policies, agent::Agents, allocator::Allocator, index::AgentIx, tree::Standing};

impl Allocator {
    /// Sets a role's weight; [`Weight::ONE`] is the default. It shows at the next run.
    pub fn set_weight(&mut self, role: &Role, weight: Weight) {
        self.change_standing(role, |standing| standing.weight_thousandths = weight.thousandths());
    }

    /// Sets a role's priority among its siblings. Only policies that look at priorities heed it.
    pub fn set_role_priority(&mut self, role: &Role, priority: Priority) {
        self.change_standing(role, |standing| standing.priority = priority.get());
    }

    /// Sets a framework's priority within each of its roles. Only policies that look at priorities heed it.
    pub fn set_framework_priority(&mut self, framework: &FrameworkId, priority: Priority) {
        match priority.get() {
            0 => self.priorities.remove(framework),
            other => self.priorities.insert(framework.clone(), other),
        };
        let standing = self.framework_standing(framework);
        if let Some(slot) = self.clients.framework(framework) {
            for client in &self.clients.frameworks[slot].clients {
                self.tree.set_standing(self.clients.get(*client).leaf, standing);
            }
        }
    }

    fn change_standing(&mut self, role: &Role, change: impl FnOnce(&mut Standing)) {
        let mut standing = self.standings.get(role).copied().unwrap_or_default();
        change(&mut standing);
        match standing == Standing::default() {
            true => self.standings.remove(role),
            false => self.standings.insert(role.clone(), standing),
        };
        self.tree.set_role_standing(role, standing);
    }

    pub(crate) fn framework_standing(&self, framework: &FrameworkId) -> Standing {
        let priority = self.priorities.get(framework).copied().unwrap_or(0);
        Standing { priority, ..Standing::default() }
    }

    /// Sets a role's quota, or removes it if it says nothing. What it keeps or sets free shows from the next tick on.
    pub fn set_quota(&mut self, quota: Quota) {
        self.replace_quota(quota);
    }

    /// Sets the hosts whose agents may be offered; none: all. What is let in is offered from the next tick on.
    pub fn set_whitelist(&mut self, hosts: Option<BTreeSet<Arc<str>>>) {
        if self.whitelist != hosts {
            self.whitelist = hosts;
            let Agents { waiting, idle, .. } = &mut self.agents;
            waiting.unite(idle);
        }
    }

    /// Changes the policy: the next run goes by its order.
    pub fn set_policies(&mut self, policies: Policies) {
        self.config.policies = policies;
        self.tree.mark_all_stale();
    }

    /// What a plan may never give away: agents that are not there, not active or not on the whitelist.
    pub(crate) fn is_offerable(&self, slot: AgentIx) -> bool {
        self.agents.slots[slot].is_active() && self.is_whitelisted(slot)
    }

    pub(crate) fn is_whitelisted(&self, slot: AgentIx) -> bool {
        let host = self.agents.slots[slot].view.as_ref().map(|view| &view.hostname);
        let listed = |hosts: &BTreeSet<Arc<str>>| host.is_some_and(|host| hosts.contains(host));
        self.whitelist.as_ref().is_none_or(listed)
    }
}
