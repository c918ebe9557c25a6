//! Commands about sharing, and frameworks' rules about their offers.

use std::{collections::BTreeMap, sync::Arc};

use mesarch_proto::log::{self, constraint};
use mesarch_types::{
    Constraint, Constraints, FrameworkId, Predicate, Priority, Quantities, Quota, Role, Scalar, Selector,
    TextPattern, Weight, quota::WEIGHT_MAX_THOUSANDTHS,
};

use super::{DecodeError, Logged, field, from_logs, texts, to_logs};
use crate::command::{OfferRules, SetPolicy, SetPriorities, SetQuota, SetWeights, SetWhitelist};

impl Logged for SetWeights {
    type Message = log::SetWeights;

    fn to_log(&self) -> log::SetWeights {
        let weight = |(role, weight): &(Role, Weight)| log::Weight {
            role: role.to_string(),
            weight: weight.thousandths(),
        };
        log::SetWeights { weights: self.weights.iter().map(weight).collect() }
    }

    /// The first logs held weights as they came; what is out of range counts as the nearest that is not.
    fn from_log(message: log::SetWeights) -> Result<Self, DecodeError> {
        let weight = |one: log::Weight| {
            let weight = Weight::from_thousandths(one.weight.clamp(1, WEIGHT_MAX_THOUSANDTHS));
            Ok((Role::from(one.role), weight.map_err(|_| DecodeError::Field("weight"))?))
        };
        Ok(Self { weights: message.weights.into_iter().map(weight).collect::<Result<_, DecodeError>>()? })
    }
}

impl Logged for Quantities {
    type Message = log::Amounts;

    fn to_log(&self) -> log::Amounts {
        let amount = |(name, amount): (&Arc<str>, Scalar)| log::Amount {
            name: name.to_string(),
            thousandths: amount.0,
        };
        log::Amounts { amounts: self.iter().map(amount).collect() }
    }

    fn from_log(message: log::Amounts) -> Result<Self, DecodeError> {
        let amounts = message.amounts.into_iter();
        Ok(amounts.map(|one| (Arc::from(one.name), Scalar(one.thousandths))).collect())
    }
}

impl Logged for Quota {
    type Message = log::Quota;

    fn to_log(&self) -> log::Quota {
        log::Quota {
            role: self.role().to_string(),
            guarantees: Some(self.guarantees().to_log()),
            limits: Some(self.limits().to_log()),
        }
    }

    fn from_log(message: log::Quota) -> Result<Self, DecodeError> {
        let (guarantees, limits) =
            (field(message.guarantees, "guarantees")?, field(message.limits, "limits")?);
        Self::new(Role::from(message.role), guarantees, limits).map_err(|_| DecodeError::Field("quota"))
    }
}

impl Logged for SetQuota {
    type Message = log::SetQuota;

    fn to_log(&self) -> log::SetQuota {
        log::SetQuota { quotas: to_logs(&self.quotas), force: self.force, there: self.there }
    }

    fn from_log(message: log::SetQuota) -> Result<Self, DecodeError> {
        Ok(Self { quotas: from_logs(message.quotas)?, force: message.force, there: message.there })
    }
}

fn priority(value: i32) -> Result<Priority, DecodeError> {
    Priority::new(value.into()).map_err(|_| DecodeError::Field("priority"))
}

impl Logged for SetPriorities {
    type Message = log::SetPriorities;

    fn to_log(&self) -> log::SetPriorities {
        let role = |(role, priority): &(Role, Priority)| log::RolePriority {
            role: role.to_string(),
            priority: priority.get(),
        };
        let framework = |(framework, priority): &(FrameworkId, Priority)| log::FrameworkPriority {
            framework: framework.to_string(),
            priority: priority.get(),
        };
        log::SetPriorities {
            roles: self.roles.iter().map(role).collect(),
            frameworks: self.frameworks.iter().map(framework).collect(),
        }
    }

    fn from_log(message: log::SetPriorities) -> Result<Self, DecodeError> {
        let role = |one: log::RolePriority| Ok((Role::from(one.role), priority(one.priority)?));
        let framework =
            |one: log::FrameworkPriority| Ok((FrameworkId::from(one.framework), priority(one.priority)?));
        Ok(Self {
            roles: message.roles.into_iter().map(role).collect::<Result<_, DecodeError>>()?,
            frameworks: message.frameworks.into_iter().map(framework).collect::<Result<_, DecodeError>>()?,
        })
    }
}

impl Logged for SetWhitelist {
    type Message = log::SetWhitelist;

    fn to_log(&self) -> log::SetWhitelist {
        let names = self.hosts.as_ref().map(|hosts| log::Names { names: texts(hosts) });
        log::SetWhitelist { hosts: names }
    }

    fn from_log(message: log::SetWhitelist) -> Result<Self, DecodeError> {
        let hosts = message.hosts.map(|hosts| hosts.names.into_iter().map(Arc::from).collect());
        Ok(Self { hosts })
    }
}

impl Logged for SetPolicy {
    type Message = log::SetPolicy;

    fn to_log(&self) -> log::SetPolicy {
        log::SetPolicy { name: self.name.to_string() }
    }

    fn from_log(message: log::SetPolicy) -> Result<Self, DecodeError> {
        Ok(Self { name: message.name.into() })
    }
}

impl Logged for Constraint {
    type Message = log::Constraint;

    fn to_log(&self) -> log::Constraint {
        use constraint::{Predicate as Logged, Pseudo, Selector as Looks};
        let selector = match &self.selector {
            Selector::Attribute(name) => Looks::Attribute(name.to_string()),
            Selector::Hostname => Looks::Pseudo(Pseudo::Hostname as i32),
            Selector::Region => Looks::Pseudo(Pseudo::Region as i32),
            Selector::Zone => Looks::Pseudo(Pseudo::Zone as i32),
        };
        let (predicate, text) = match &self.predicate {
            Predicate::Exists => (Logged::Exists, ""),
            Predicate::NotExists => (Logged::NotExists, ""),
            Predicate::TextEquals(text) => (Logged::TextEquals, &**text),
            Predicate::TextNotEquals(text) => (Logged::TextNotEquals, &**text),
            Predicate::TextMatches(pattern) => (Logged::TextMatches, pattern.as_str()),
            Predicate::TextNotMatches(pattern) => (Logged::TextNotMatches, pattern.as_str()),
        };
        log::Constraint { selector: Some(selector), predicate: predicate as i32, text: text.to_owned() }
    }

    /// Patterns were judged at the edge, by the same rules.
    fn from_log(message: log::Constraint) -> Result<Self, DecodeError> {
        use constraint::{Predicate as Logged, Pseudo, Selector as Looks};
        let selector = match message.selector.ok_or(DecodeError::Field("selector"))? {
            Looks::Attribute(name) => Selector::Attribute(name.into()),
            Looks::Pseudo(pseudo) => {
                match Pseudo::try_from(pseudo).map_err(|_| DecodeError::Field("pseudo"))? {
                    Pseudo::Hostname => Selector::Hostname,
                    Pseudo::Region => Selector::Region,
                    Pseudo::Zone => Selector::Zone,
                }
            }
        };
        let text = message.text;
        let pattern = |text: &str| TextPattern::new(text).map_err(|_| DecodeError::Field("pattern"));
        let predicate =
            match Logged::try_from(message.predicate).map_err(|_| DecodeError::Field("predicate"))? {
                Logged::Exists => Predicate::Exists,
                Logged::NotExists => Predicate::NotExists,
                Logged::TextEquals => Predicate::TextEquals(text.into()),
                Logged::TextNotEquals => Predicate::TextNotEquals(text.into()),
                Logged::TextMatches => Predicate::TextMatches(pattern(&text)?),
                Logged::TextNotMatches => Predicate::TextNotMatches(pattern(&text)?),
            };
        Ok(Self { selector, predicate })
    }
}

pub(super) fn to_constraints(rules: &BTreeMap<Role, Constraints>) -> Vec<log::RoleConstraints> {
    let groups = |constraints: &Constraints| {
        constraints.groups().map(|group| log::ConstraintGroup { constraints: to_logs(group) }).collect()
    };
    let role = |(role, constraints): (&Role, &Constraints)| log::RoleConstraints {
        role: role.to_string(),
        groups: groups(constraints),
    };
    rules.iter().map(role).collect()
}

pub(super) fn to_alternatives(rules: &BTreeMap<Role, Vec<Quantities>>) -> Vec<log::RoleAlternatives> {
    let role = |(role, alternatives): (&Role, &Vec<Quantities>)| log::RoleAlternatives {
        role: role.to_string(),
        alternatives: to_logs(alternatives),
    };
    rules.iter().map(role).collect()
}

pub(super) fn from_rules(
    constraints: Vec<log::RoleConstraints>,
    alternatives: Vec<log::RoleAlternatives>,
) -> Result<Arc<OfferRules>, DecodeError> {
    let mut rules = OfferRules::default();
    for one in constraints {
        let groups = one.groups.into_iter().map(|group| from_logs(group.constraints));
        let groups: Vec<Vec<Constraint>> = groups.collect::<Result<_, _>>()?;
        let constraints = Constraints::new(groups).map_err(|_| DecodeError::Field("groups"))?;
        rules.constraints.insert(Role::from(one.role), constraints);
    }
    for one in alternatives {
        rules.min_allocatable.insert(Role::from(one.role), from_logs(one.alternatives)?);
    }
    Ok(Arc::new(rules))
}
