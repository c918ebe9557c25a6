//! Commands of what operators ask for over both protocols, judged by form. Each error names the field and the bound.

use std::{collections::BTreeSet, fmt::Display};

use mesarch_mesos_v1::convert::resources_from_v1;
use mesarch_proto::mesos::v1;
use mesarch_state::{
    Command,
    command::{ConvertResources, SetQuota, SetWeights},
};
use mesarch_types::{AgentId, Conversion, Quota, Resource, Resources, Role, Weight, WeightError};

use super::Invalid;

/// Most roles or frameworks of one request.
pub(crate) const ENTRIES_MAX: usize = 10_000;

pub(crate) fn invalid(text: impl Display) -> Invalid {
    Invalid(text.to_string())
}

/// Fails unless there are between 1 and `max`.
pub(crate) fn check_count(field: &str, count: usize, max: usize) -> Result<(), Invalid> {
    match count {
        0 => Err(invalid(format!("{field}: must not be empty"))),
        _ if count > max => Err(invalid(format!("{field}: {count} are more than the bound of {max}"))),
        _ => Ok(()),
    }
}

pub(crate) fn role(text: &str) -> Result<Role, Invalid> {
    Role::parse(text).map_err(|error| invalid(format!("role: {error}")))
}

/// Names that come only once.
pub(crate) struct Once(&'static str, BTreeSet<String>);

impl Once {
    pub(crate) fn of(field: &'static str) -> Self {
        Self(field, BTreeSet::new())
    }

    pub(crate) fn add(&mut self, name: &str) -> Result<(), Invalid> {
        match self.1.insert(name.to_owned()) {
            true => Ok(()),
            false => Err(invalid(format!("{}: {name} is named twice", self.0))),
        }
    }
}

/// Weights of roles, each of which comes once.
pub(crate) fn weights<'a>(
    named: impl ExactSizeIterator<Item = (&'a str, Result<Weight, WeightError>)>,
) -> Result<Command, Invalid> {
    check_count("weights", named.len(), ENTRIES_MAX)?;
    let mut names = Once::of("weights");
    let weights = named.map(|(name, weight)| {
        names.add(name)?;
        Ok((role(name)?, weight.map_err(|error| invalid(format!("{name}: {error}")))?))
    });
    let weights = weights.collect::<Result<_, Invalid>>()?;
    Ok(Command::SetWeights(SetWeights { weights }))
}

/// Quotas of roles, each of which comes once.
pub(crate) fn quotas(
    quotas: impl ExactSizeIterator<Item = Result<Quota, Invalid>>,
    force: bool,
) -> Result<Command, Invalid> {
    check_count("quotas", quotas.len(), ENTRIES_MAX)?;
    let mut names = Once::of("quotas");
    let quotas = quotas.map(|quota| {
        let quota = quota?;
        names.add(quota.role().as_str())?;
        Ok(quota)
    });
    let quotas = quotas.collect::<Result<_, Invalid>>()?;
    Ok(Command::SetQuota(SetQuota { quotas, force, there: None }))
}

/// A conversion of an agent's resources.
pub(crate) fn convert(
    agent: AgentId,
    resources: &[v1::Resource],
    conversion: fn(Resources) -> Conversion,
) -> Result<Command, Invalid> {
    let conversion = conversion(resources_from_v1(resources)?.without_allocation());
    conversion.sides().map_err(|error| invalid(format!("resources: {error}")))?;
    Ok(Command::ConvertResources(ConvertResources { agent, conversion }))
}

/// Other reservations for resources of an agent.
pub(crate) fn rereserve(
    agent: AgentId,
    source: &[v1::Resource],
    target: &[v1::Resource],
) -> Result<Command, Invalid> {
    let read = |list| Ok::<_, Invalid>(resources_from_v1(list)?.without_allocation());
    let conversion = Conversion::Rereserve { source: read(source)?, target: read(target)? };
    conversion.sides().map_err(|error| invalid(format!("resources: {error}")))?;
    Ok(Command::ConvertResources(ConvertResources { agent, conversion }))
}

/// Another size for a volume of an agent.
pub(crate) fn resize(
    agent: AgentId,
    volume: &v1::Resource,
    conversion: impl FnOnce(Resource) -> Result<Conversion, Invalid>,
) -> Result<Command, Invalid> {
    let conversion = conversion(single("volume", volume)?)?;
    conversion.sides().map_err(|error| invalid(format!("volume: {error}")))?;
    Ok(Command::ConvertResources(ConvertResources { agent, conversion }))
}

/// One resource that belongs to nobody.
pub(crate) fn single(field: &str, resource: &v1::Resource) -> Result<Resource, Invalid> {
    if resource.allocation_info.is_some() {
        return Err(invalid(format!("{field}: must not be allocated to a role")));
    }
    let resources = resources_from_v1(std::slice::from_ref(resource))?;
    resources.iter().next().cloned().ok_or_else(|| invalid(format!("{field}: must not be empty")))
}
