//! What operators ask for, judged by form. Each error names the field and the bound.

use std::sync::Arc;

use mesarch_allocator::Registry;
use mesarch_proto::admin::{
    ConvertRequest, Quantity, RoleQuota, SetPolicyRequest, SetPrioritiesRequest, SetQuotaRequest,
    SetWeightsRequest, SetWhitelistRequest,
};
use mesarch_state::{
    Command,
    command::{SetPolicy, SetPriorities, SetWhitelist},
};
use mesarch_types::{Conversion, FrameworkId, Priority, Quantities, Quota, Resources, Scalar, Weight};

use crate::operator::{
    Invalid,
    request::{self, ENTRIES_MAX, Once, check_count, invalid, role},
};

/// Most hosts of a whitelist.
const HOSTS_MAX: usize = 100_000;

pub(super) fn weights(request: SetWeightsRequest) -> Result<Command, Invalid> {
    let weight = |thousandths| Weight::from_thousandths(thousandths);
    request::weights(request.weights.iter().map(|one| (one.role.as_str(), weight(one.thousandths))))
}

pub(super) fn quotas(request: SetQuotaRequest) -> Result<Command, Invalid> {
    request::quotas(request.quotas.into_iter().map(quota), request.force)
}

fn quota(one: RoleQuota) -> Result<Quota, Invalid> {
    let role = role(&one.role)?;
    let (guarantees, limits) = (amounts("guarantees", one.guarantees)?, amounts("limits", one.limits)?);
    Quota::new(role, guarantees, limits).map_err(|error| invalid(format!("quota of {}: {error}", one.role)))
}

fn amounts(field: &'static str, list: Vec<Quantity>) -> Result<Quantities, Invalid> {
    let mut names = Once::of(field);
    let amounts = list.into_iter().map(|one| {
        if one.name.is_empty() {
            return Err(invalid(format!("{field}: a name must not be empty")));
        }
        names.add(&one.name)?;
        Ok((Arc::from(one.name), Scalar(one.thousandths)))
    });
    amounts.collect()
}

pub(super) fn priorities(request: SetPrioritiesRequest) -> Result<Command, Invalid> {
    check_count("roles and frameworks", request.roles.len() + request.frameworks.len(), ENTRIES_MAX)?;
    let (mut names, mut ids) = (Once::of("roles"), Once::of("frameworks"));
    let of = |name: &str, value| Priority::new(value).map_err(|error| invalid(format!("{name}: {error}")));
    let roles = request.roles.iter().map(|one| {
        names.add(&one.role)?;
        Ok((role(&one.role)?, of(&one.role, one.priority)?))
    });
    let frameworks = request.frameworks.iter().map(|one| {
        ids.add(&one.framework)?;
        Ok((FrameworkId::from(one.framework.as_str()), of(&one.framework, one.priority)?))
    });
    Ok(Command::SetPriorities(SetPriorities {
        roles: roles.collect::<Result<_, Invalid>>()?,
        frameworks: frameworks.collect::<Result<_, Invalid>>()?,
    }))
}

pub(super) fn policy(request: SetPolicyRequest, known: &Registry) -> Result<Command, Invalid> {
    known.make(&request.name).map_err(invalid)?;
    Ok(Command::SetPolicy(SetPolicy { name: request.name.into() }))
}

pub(super) fn whitelist(request: SetWhitelistRequest) -> Result<Command, Invalid> {
    let Some(hosts) = request.hosts else {
        return Ok(Command::SetWhitelist(SetWhitelist { hosts: None }));
    };
    let count = hosts.names.len();
    if count > HOSTS_MAX {
        return Err(invalid(format!("hosts: {count} are more than the bound of {HOSTS_MAX}")));
    }
    if hosts.names.iter().any(String::is_empty) {
        return Err(invalid("hosts: a name must not be empty"));
    }
    let hosts = Some(hosts.names.into_iter().map(Arc::from).collect());
    Ok(Command::SetWhitelist(SetWhitelist { hosts }))
}

pub(super) fn convert(
    request: ConvertRequest,
    conversion: fn(Resources) -> Conversion,
) -> Result<Command, Invalid> {
    request::convert(request.agent.into(), &request.resources, conversion)
}

#[cfg(test)]
mod tests {
    use mesarch_proto::admin::{FrameworkPriority, Hosts, RolePriority, RoleWeight};

    use super::*;

    fn check(asked: Result<Command, Invalid>, expect: &str) {
        let Invalid(text) = asked.expect_err(expect);
        assert!(text.contains(expect), "{text} instead of {expect}");
    }

    fn quota(role: &str, guarantees: &[(&str, i64)], limits: &[(&str, i64)]) -> SetQuotaRequest {
        let list = |list: &[(&str, i64)]| {
            let one = |(name, thousandths): &(&str, i64)| Quantity {
                name: (*name).to_owned(),
                thousandths: *thousandths,
            };
            list.iter().map(one).collect()
        };
        let quota = RoleQuota {
            role: role.into(),
            guarantees: list(guarantees),
            limits: list(limits),
            consumed: Vec::new(),
        };
        SetQuotaRequest { quotas: vec![quota], force: true }
    }

    #[test]
    fn quotas_that_cannot_be_are_refused_by_field_and_bound() {
        assert!(quotas(quota("eng", &[("cpus", 1000)], &[("cpus", 1000)])).is_ok());
        check(quotas(SetQuotaRequest::default()), "quotas: must not be empty");
        check(quotas(quota("eng/web", &[], &[])), "only top-level roles can have one (here eng)");
        check(quotas(quota("*/x", &[], &[])), "role: ");
        check(quotas(quota("", &[], &[])), "role: ");
        check(
            quotas(quota("eng", &[("cpus", -1)], &[])),
            "quota of eng: guarantees.cpus: -0.001 is negative",
        );
        check(quotas(quota("eng", &[], &[("mem", i64::MAX)])), "is more than the bound of 1099511627776");
        check(
            quotas(quota("eng", &[("cpus", 2000)], &[("cpus", 1000)])),
            "limits.cpus: 1 is below the guarantee of 2",
        );
        check(quotas(quota("eng", &[("cpus", 1), ("cpus", 2)], &[])), "guarantees: cpus is named twice");
        check(quotas(quota("eng", &[("", 1)], &[])), "guarantees: a name must not be empty");
        let mut twice = quota("eng", &[], &[]);
        twice.quotas.push(twice.quotas[0].clone());
        check(quotas(twice), "quotas: eng is named twice");
    }

    #[test]
    fn weights_and_priorities_beyond_their_bounds_are_refused() {
        let weight = |role: &str, thousandths| {
            weights(SetWeightsRequest { weights: vec![RoleWeight { role: role.into(), thousandths }] })
        };
        assert!(weight("eng/web", 1).is_ok());
        check(weight("eng", 0), "eng: weight: must be a number of at least 0.001");
        check(weight("eng", u64::MAX), "eng: weight: must be at most 1000000");
        check(weight("a b", 1), "role: ");
        let role = |priority| {
            let roles = vec![RolePriority { role: "eng".into(), priority }];
            priorities(SetPrioritiesRequest { roles, frameworks: Vec::new() })
        };
        assert!(role(-1_000_000).is_ok());
        check(role(1_000_001), "eng: priority: 1000001 is not between -1000000 and 1000000");
        let frameworks = vec![FrameworkPriority { framework: "f".into(), priority: i64::MIN }];
        check(priorities(SetPrioritiesRequest { roles: Vec::new(), frameworks }), "f: priority: ");
    }

    #[test]
    fn policies_are_those_of_the_registry_and_hosts_have_names() {
        let registry = Registry::builtin();
        let named = |name: &str| policy(SetPolicyRequest { name: name.into() }, &registry);
        assert!(named("priority").is_ok());
        check(named("fifo"), "policy: there is no \"fifo\", only drf, priority, random");
        let hosts = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            whitelist(SetWhitelistRequest { hosts: Some(Hosts { names }) })
        };
        assert!(hosts(&[]).is_ok());
        check(hosts(&["a", ""]), "hosts: a name must not be empty");
    }

    #[test]
    fn only_dynamic_reservations_are_made() {
        let cpus = mesarch_proto::mesos::v1::Resource {
            name: "cpus".into(),
            scalar: Some(mesarch_proto::mesos::v1::value::Scalar { value: 1.0 }),
            ..Default::default()
        };
        let request = ConvertRequest { agent: "S1".into(), resources: vec![cpus] };
        check(convert(request, Conversion::Reserve), "resources: cpus:1 is not dynamically reserved");
        check(
            convert(ConvertRequest::default(), Conversion::Destroy),
            "resources: the operation names no resources",
        );
    }
}
