//! Records about sharing. Each is there only if there is something to say, so that snapshots of clusters without quota,
//! priorities and reservations are what they were before there were any.

use std::{collections::BTreeMap, io, sync::Arc};

use mesarch_types::{
    AgentId, Constraint, Constraints, FrameworkId, Predicate, Priority, Quantities, Quota, Role, Scalar,
    Selector, TextPattern, Weight, resource::Resources,
};

use super::{
    Records, kind,
    values::{Input, Malformed, Stored},
};
use crate::{command::OfferRules, machine::State, model::Converted};

impl Records<'_> {
    pub(super) fn put_sharing(&mut self, state: &State) -> io::Result<()> {
        let sharing = &state.sharing;
        sharing.policy.iter().try_for_each(|name| self.put(kind::POLICY, name))?;
        sharing.quotas.values().try_for_each(|quota| self.put(kind::QUOTA, quota))?;
        let mut roles = sharing.role_priorities.iter();
        roles.try_for_each(|(role, one)| self.put(kind::ROLE_PRIORITY, &(role.clone(), *one)))?;
        let mut frameworks = sharing.framework_priorities.iter();
        frameworks.try_for_each(|(id, one)| self.put(kind::FRAMEWORK_PRIORITY, &(id.clone(), *one)))?;
        sharing.whitelist.iter().try_for_each(|hosts| self.put(kind::WHITELIST, hosts))?;
        let rules = state.frameworks().map(|known| (&known.id, &known.spec.rules));
        let mut rules = rules.filter(|(_, rules)| ***rules != OfferRules::default());
        rules.try_for_each(|(id, rules)| self.put(kind::OFFER_RULES, &(id.clone(), rules.clone())))?;
        let away = state.unreachable_agents().map(|away| &*away.agent);
        let mut agents =
            state.agents().chain(away).filter_map(|agent| Some((&agent.id, agent.converted.as_ref()?)));
        agents.try_for_each(|(id, converted)| self.put(kind::CONVERTED, &(id.clone(), converted.clone())))
    }
}

impl State {
    /// Takes over one record of these kinds; what it is about came before.
    pub(super) fn restore_sharing(&mut self, kind: u8, input: &mut Input<'_>) -> Result<(), Malformed> {
        let sharing = &mut self.sharing;
        match kind {
            kind::POLICY => sharing.policy = Some(Stored::take(input)?),
            kind::QUOTA => {
                let quota = Quota::take(input)?;
                sharing.quotas.insert(quota.role().clone(), quota);
            }
            kind::ROLE_PRIORITY => {
                let (role, priority) = <(Role, Priority)>::take(input)?;
                sharing.role_priorities.insert(role, priority);
            }
            kind::FRAMEWORK_PRIORITY => {
                let (id, priority) = <(FrameworkId, Priority)>::take(input)?;
                sharing.framework_priorities.insert(id, priority);
            }
            kind::WHITELIST => sharing.whitelist = Some(Stored::take(input)?),
            kind::OFFER_RULES => {
                let (id, rules) = <(FrameworkId, Arc<OfferRules>)>::take(input)?;
                let framework = self.frameworks.get_mut(&id).ok_or(Malformed)?;
                Arc::make_mut(&mut Arc::make_mut(framework).spec).rules = rules;
            }
            kind::CONVERTED => {
                let (id, converted) = <(AgentId, Arc<Converted>)>::take(input)?;
                self.restore_converted(&id, converted)?;
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn restore_converted(&mut self, id: &AgentId, converted: Arc<Converted>) -> Result<(), Malformed> {
        if let Some(agent) = self.agents.get_mut(id) {
            Arc::make_mut(agent).converted = Some(converted);
            return Ok(());
        }
        let away = self.unreachable.get_mut(id).ok_or(Malformed)?;
        Arc::make_mut(&mut Arc::make_mut(away).agent).converted = Some(converted);
        Ok(())
    }
}

impl Stored for Weight {
    fn put(&self, out: &mut Vec<u8>) {
        self.thousandths().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Self::from_thousandths(u64::take(input)?).map_err(|_| Malformed)
    }
}

impl Stored for Priority {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Self::new(i32::take(input)?.into()).map_err(|_| Malformed)
    }
}

impl Stored for Quantities {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().map(|(name, amount)| (name.clone(), amount)).collect::<Vec<_>>().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Ok(Vec::<(Arc<str>, Scalar)>::take(input)?.into_iter().collect())
    }
}

impl Stored for Quota {
    fn put(&self, out: &mut Vec<u8>) {
        self.role().put(out);
        self.guarantees().put(out);
        self.limits().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (role, guarantees, limits) = <(Role, Quantities, Quantities)>::take(input)?;
        Self::new(role, guarantees, limits).map_err(|_| Malformed)
    }
}

impl Stored for Converted {
    fn put(&self, out: &mut Vec<u8>) {
        self.taken.put(out);
        self.made.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let (taken, made) = <(Resources, Resources)>::take(input)?;
        Ok(Self { taken, made })
    }
}

impl Stored for OfferRules {
    fn put(&self, out: &mut Vec<u8>) {
        self.constraints.put(out);
        self.min_allocatable.put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let constraints = BTreeMap::take(input)?;
        Ok(Self { constraints, min_allocatable: BTreeMap::take(input)? })
    }
}

impl Stored for Constraints {
    fn put(&self, out: &mut Vec<u8>) {
        self.groups().map(<[Constraint]>::to_vec).collect::<Vec<_>>().put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        Self::new(Vec::take(input)?).map_err(|_| Malformed)
    }
}

impl Stored for Constraint {
    fn put(&self, out: &mut Vec<u8>) {
        let (selector, name) = match &self.selector {
            Selector::Attribute(name) => (1u8, Some(name.clone())),
            Selector::Hostname => (2, None),
            Selector::Region => (3, None),
            Selector::Zone => (4, None),
        };
        let (predicate, text) = match &self.predicate {
            Predicate::Exists => (1u8, None),
            Predicate::NotExists => (2, None),
            Predicate::TextEquals(text) => (3, Some(text.clone())),
            Predicate::TextNotEquals(text) => (4, Some(text.clone())),
            Predicate::TextMatches(pattern) => (5, Some(Arc::from(pattern.as_str()))),
            Predicate::TextNotMatches(pattern) => (6, Some(Arc::from(pattern.as_str()))),
        };
        ((selector, name), (predicate, text)).put(out);
    }

    fn take(input: &mut Input<'_>) -> Result<Self, Malformed> {
        type Numbered = (u8, Option<Arc<str>>);
        let (selector, predicate) = <(Numbered, Numbered)>::take(input)?;
        let pattern = |text: Arc<str>| TextPattern::new(&text).map_err(|_| Malformed);
        let selector = match selector {
            (1, Some(name)) => Selector::Attribute(name),
            (2, None) => Selector::Hostname,
            (3, None) => Selector::Region,
            (4, None) => Selector::Zone,
            _ => return Err(Malformed),
        };
        let predicate = match predicate {
            (1, None) => Predicate::Exists,
            (2, None) => Predicate::NotExists,
            (3, Some(text)) => Predicate::TextEquals(text),
            (4, Some(text)) => Predicate::TextNotEquals(text),
            (5, Some(text)) => Predicate::TextMatches(pattern(text)?),
            (6, Some(text)) => Predicate::TextNotMatches(pattern(text)?),
            _ => return Err(Malformed),
        };
        Ok(Self { selector, predicate })
    }
}
