//! Typed steps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use mesarch_types::{
    AgentCapabilities, AgentCapability, AgentId, Attribute, Constraint, Constraints, Conversion,
    FrameworkCapabilities, FrameworkCapability, FrameworkId, Predicate, Quantities, Resources, Role,
    Selector, TextPattern, parse_attributes,
};

use super::json::{Fields, Place, ReadError};

/// Most agents that one step adds.
const COUNT_MAX: u64 = 1_000_000;

/// A framework's resources by agent, or an agent's by framework: `{name: {role: resources}}`.
pub(super) type Used = BTreeMap<String, BTreeMap<Role, Resources>>;
/// Who was offered what: framework, role and agent.
pub(super) type Expected = Vec<(FrameworkId, Role, AgentId, Resources)>;

/// A step of the scenario.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// It happens.
    Do(Box<Step>),
    /// It must be refused.
    Refuse(Box<Step>),
    /// It must be refused, and is already: its values make no sense.
    Refused,
    /// It must be so.
    Expect(Expectation),
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    AddAgent(AddAgent),
    UpdateAgent(UpdateAgent),
    RemoveAgent(AgentId),
    DeactivateAgent(AgentId),
    ActivateAgent(AgentId),
    AddFramework(AddFramework),
    UpdateFramework(UpdateFramework),
    RemoveFramework(FrameworkId),
    DeactivateFramework(FrameworkId),
    ActivateFramework(FrameworkId),
    Suppress(FrameworkId, BTreeSet<Role>),
    Revive(FrameworkId, BTreeSet<Role>),
    Decline(Decline),
    Launch(FrameworkId, Role, AgentId, Resources),
    Free(FrameworkId, Role, AgentId, Resources),
    Convert(Option<FrameworkId>, AgentId, Conversion),
    AnswerInverse(FrameworkId, AgentId, Option<f64>),
    SetQuota(Role, Quantities, Quantities),
    SetWeight(Role, f64),
    SetPriority(Role, i64),
    SetWhitelist(Option<BTreeSet<Arc<str>>>),
    Advance(u64),
    Allocate,
    Settle,
}

#[derive(Clone, Debug)]
pub(super) enum Expectation {
    Offers(Expected),
    OneOf(Vec<Expected>),
    Total(BTreeMap<FrameworkId, Resources>),
    Fraction(String, BTreeMap<FrameworkId, f64>, f64),
    Inverse(BTreeSet<(FrameworkId, AgentId)>),
    Shares(BTreeMap<String, f64>),
}

#[derive(Clone, Debug)]
pub(super) struct AddAgent {
    pub(super) id: AgentId,
    pub(super) count: Option<u64>,
    pub(super) resources: Resources,
    pub(super) hostname: Option<Arc<str>>,
    pub(super) attributes: Arc<[Attribute]>,
    pub(super) capabilities: AgentCapabilities,
    pub(super) region: Option<Arc<str>>,
    pub(super) zone: Option<Arc<str>>,
    pub(super) used: Used,
    pub(super) unavailable_from_ms: Option<u64>,
}

#[derive(Clone, Debug)]
pub(super) struct UpdateAgent {
    pub(super) id: AgentId,
    pub(super) resources: Option<Resources>,
    pub(super) oversubscribed: Option<Resources>,
    pub(super) attributes: Option<Arc<[Attribute]>>,
    pub(super) capabilities: Option<AgentCapabilities>,
    /// Absent: stays; none: none any more.
    pub(super) unavailable_from_ms: Option<Option<u64>>,
}

#[derive(Clone, Debug)]
pub(super) struct AddFramework {
    pub(super) id: FrameworkId,
    pub(super) roles: BTreeSet<Role>,
    pub(super) wishes: Wishes,
    pub(super) used: Used,
    pub(super) active: bool,
}

#[derive(Clone, Debug)]
pub(super) struct UpdateFramework {
    pub(super) id: FrameworkId,
    pub(super) roles: Option<BTreeSet<Role>>,
    pub(super) wishes: Wishes,
}

/// What a framework says beside its roles; what is absent takes its default or stays.
#[derive(Clone, Debug)]
pub(super) struct Wishes {
    pub(super) capabilities: Option<FrameworkCapabilities>,
    pub(super) suppressed: Option<BTreeSet<Role>>,
    pub(super) min_allocatable: Option<BTreeMap<Role, Vec<Quantities>>>,
    pub(super) constraints: Option<BTreeMap<Role, Constraints>>,
}

#[derive(Clone, Debug)]
pub(super) struct Decline {
    pub(super) framework: FrameworkId,
    pub(super) role: Option<Role>,
    pub(super) agent: AgentId,
    pub(super) resources: Option<Resources>,
    pub(super) refuse_seconds: Option<f64>,
}

type Read<T> = Result<T, ReadError>;

impl Entry {
    pub(super) fn read(place: &Place<'_>) -> Read<Self> {
        let mut entries = place.entries()?;
        let (Some((name, body)), true) = (entries.pop(), entries.is_empty()) else {
            return Err(place.misshapen("a step is an object with one key"));
        };
        if let Some(expectation) = read_expectation(&name, &body)? {
            return Ok(Self::Expect(expectation));
        }
        if name != "expect_error" {
            return Ok(Self::Do(Box::new(read_step(&name, &body)?)));
        }
        let mut fields = body.fields()?;
        let inner = fields.required("step", |step| match Self::read(step) {
            Ok(Self::Do(step)) => Ok(Self::Refuse(step)),
            Ok(_) => Err(step.misshapen("an expectation cannot be refused")),
            Err(error) if error.is_value => Ok(Self::Refused),
            Err(error) => Err(error),
        })?;
        fields.finish()?;
        Ok(inner)
    }
}

fn read_expectation(name: &str, body: &Place<'_>) -> Read<Option<Expectation>> {
    Ok(Some(match name {
        "expect" => Expectation::Offers(expected(body)?),
        "expect_one_of" => Expectation::OneOf(body.list()?.iter().map(expected).collect::<Read<_>>()?),
        "expect_total" => {
            let totals = body.entries()?.into_iter();
            let total =
                |(name, place): (String, Place<'_>)| Ok((FrameworkId::from(name), place.resources()?));
            Expectation::Total(totals.map(total).collect::<Read<_>>()?)
        }
        "expect_fraction" => {
            let mut fields = body.fields()?;
            let kind = fields.required("resource", Place::string)?;
            let fraction =
                |(name, place): (String, Place<'_>)| Ok((FrameworkId::from(name), place.number()?));
            let fractions = fields.required("frameworks", |place| {
                place.entries()?.into_iter().map(fraction).collect::<Read<BTreeMap<_, _>>>()
            })?;
            let tolerance = fields.required("tolerance", Place::number)?;
            fields.finish()?;
            Expectation::Fraction(kind, fractions, tolerance)
        }
        "expect_inverse" => {
            let pair = |place: &Place<'_>| {
                let mut fields = place.fields()?;
                let pair = (framework(&mut fields, "framework")?, agent(&mut fields, "agent")?);
                fields.finish()?;
                Ok(pair)
            };
            Expectation::Inverse(body.list()?.iter().map(pair).collect::<Read<_>>()?)
        }
        "expect_share" => {
            let shares = body.entries()?.into_iter().map(|(name, place)| Ok((name, place.number()?)));
            Expectation::Shares(shares.collect::<Read<_>>()?)
        }
        _ => return Ok(None),
    }))
}

fn expected(place: &Place<'_>) -> Read<Expected> {
    let one = |place: &Place<'_>| {
        let mut fields = place.fields()?;
        let holding = holding(&mut fields)?;
        fields.finish()?;
        Ok(holding)
    };
    place.list()?.iter().map(one).collect()
}

fn framework(fields: &mut Fields<'_>, name: &str) -> Read<FrameworkId> {
    fields.required(name, |place| Ok(FrameworkId::from(&*place.name()?)))
}

fn agent(fields: &mut Fields<'_>, name: &str) -> Read<AgentId> {
    fields.required(name, |place| Ok(AgentId::from(&*place.name()?)))
}

fn holding(fields: &mut Fields<'_>) -> Read<(FrameworkId, Role, AgentId, Resources)> {
    Ok((
        framework(fields, "framework")?,
        fields.required("role", Place::role)?,
        agent(fields, "agent")?,
        fields.required("resources", Place::resources)?,
    ))
}

fn read_step(name: &str, body: &Place<'_>) -> Read<Step> {
    if name == "advance_ms" {
        return Ok(Step::Advance(body.whole()?));
    }
    let mut fields = body.fields()?;
    let step = read_fields(name, body, &mut fields)?;
    fields.finish()?;
    Ok(step)
}

fn read_fields(name: &str, body: &Place<'_>, fields: &mut Fields<'_>) -> Read<Step> {
    let families = [read_agent_step, read_framework_step, read_resource_step, read_operator_step];
    for read in families {
        if let Some(step) = read(name, fields)? {
            return Ok(step);
        }
    }
    Err(body.misshapen("there is no such step"))
}

/// Steps about agents.
fn read_agent_step(name: &str, fields: &mut Fields<'_>) -> Read<Option<Step>> {
    Ok(Some(match name {
        "add_agent" => Step::AddAgent(add_agent(fields)?),
        "update_agent" => Step::UpdateAgent(update_agent(fields)?),
        "remove_agent" => Step::RemoveAgent(agent(fields, "id")?),
        "deactivate_agent" => Step::DeactivateAgent(agent(fields, "id")?),
        "activate_agent" => Step::ActivateAgent(agent(fields, "id")?),
        _ => return Ok(None),
    }))
}

/// Steps about frameworks and their wishes.
fn read_framework_step(name: &str, fields: &mut Fields<'_>) -> Read<Option<Step>> {
    Ok(Some(match name {
        "add_framework" => Step::AddFramework(add_framework(fields)?),
        "update_framework" => Step::UpdateFramework(UpdateFramework {
            id: framework(fields, "id")?,
            roles: fields.optional("roles", Place::roles)?,
            wishes: wishes(fields)?,
        }),
        "remove_framework" => Step::RemoveFramework(framework(fields, "id")?),
        "deactivate_framework" => Step::DeactivateFramework(framework(fields, "id")?),
        "activate_framework" => Step::ActivateFramework(framework(fields, "id")?),
        "suppress" => Step::Suppress(
            framework(fields, "framework")?,
            fields.optional("roles", Place::roles)?.unwrap_or_default(),
        ),
        "revive" => Step::Revive(
            framework(fields, "framework")?,
            fields.optional("roles", Place::roles)?.unwrap_or_default(),
        ),
        _ => return Ok(None),
    }))
}

/// Steps about what is offered and used.
fn read_resource_step(name: &str, fields: &mut Fields<'_>) -> Read<Option<Step>> {
    Ok(Some(match name {
        "decline" => Step::Decline(Decline {
            framework: framework(fields, "framework")?,
            role: fields.optional("role", Place::role)?,
            agent: agent(fields, "agent")?,
            resources: fields.optional("resources", Place::resources)?,
            refuse_seconds: fields.optional("refuse_seconds", Place::number)?,
        }),
        "launch" => {
            let (framework, role, agent, resources) = holding(fields)?;
            Step::Launch(framework, role, agent, resources)
        }
        "free" => {
            let (framework, role, agent, resources) = holding(fields)?;
            Step::Free(framework, role, agent, resources)
        }
        "reserve" => convert(fields, "resources", Conversion::Reserve)?,
        "unreserve" => convert(fields, "resources", Conversion::Unreserve)?,
        "create" => convert(fields, "volumes", Conversion::Create)?,
        "destroy" => convert(fields, "volumes", Conversion::Destroy)?,
        "answer_inverse" => {
            let answer = Step::AnswerInverse(
                framework(fields, "framework")?,
                agent(fields, "agent")?,
                fields.optional("refuse_seconds", Place::number)?,
            );
            fields.required("answer", |place| match place.string()?.as_str() {
                "accept" | "decline" => Ok(()),
                _ => Err(place.wrong("must be \"accept\" or \"decline\"")),
            })?;
            answer
        }
        _ => return Ok(None),
    }))
}

/// Steps of operators, and of time.
fn read_operator_step(name: &str, fields: &mut Fields<'_>) -> Read<Option<Step>> {
    Ok(Some(match name {
        "set_quota" => Step::SetQuota(
            fields.required("role", Place::role)?,
            fields.optional("guarantees", Place::quantities)?.unwrap_or_default(),
            fields.optional("limits", Place::quantities)?.unwrap_or_default(),
        ),
        "set_weight" => {
            Step::SetWeight(fields.required("role", Place::role)?, fields.required("weight", Place::number)?)
        }
        "set_priority" => Step::SetPriority(
            fields.required("role", Place::role)?,
            fields.required("priority", Place::integer)?,
        ),
        "set_whitelist" => {
            Step::SetWhitelist(fields.required("hosts", |place| {
                if place.is_null() { Ok(None) } else { place.names().map(Some) }
            })?)
        }
        "allocate" => Step::Allocate,
        "settle" => Step::Settle,
        _ => return Ok(None),
    }))
}

fn convert(fields: &mut Fields<'_>, name: &str, make: fn(Resources) -> Conversion) -> Read<Step> {
    let who = fields.optional("framework", |place| Ok(FrameworkId::from(&*place.name()?)))?;
    Ok(Step::Convert(who, agent(fields, "agent")?, make(fields.required(name, Place::resources)?)))
}

fn add_agent(fields: &mut Fields<'_>) -> Read<AddAgent> {
    Ok(AddAgent {
        id: agent(fields, "id")?,
        count: fields.optional("count", |place| match place.above_zero()? {
            count if count > COUNT_MAX => Err(place.wrong(format!("more than {COUNT_MAX}"))),
            count => Ok(count),
        })?,
        resources: fields.required("resources", Place::resources)?,
        hostname: fields.optional("hostname", Place::name)?,
        attributes: fields.optional("attributes", attributes)?.unwrap_or_default(),
        capabilities: fields
            .optional("capabilities", agent_capabilities)?
            .unwrap_or_else(AgentCapabilities::all),
        region: fields.optional("region", Place::name)?,
        zone: fields.optional("zone", Place::name)?,
        used: fields.optional("used", used)?.unwrap_or_default(),
        unavailable_from_ms: fields.optional("unavailable_from_ms", Place::whole)?,
    })
}

fn update_agent(fields: &mut Fields<'_>) -> Read<UpdateAgent> {
    Ok(UpdateAgent {
        id: agent(fields, "id")?,
        resources: fields.optional("resources", Place::resources)?,
        oversubscribed: fields.optional("oversubscribed", Place::resources)?,
        attributes: fields.optional("attributes", attributes)?,
        capabilities: fields.optional("capabilities", agent_capabilities)?,
        unavailable_from_ms: match fields.take("unavailable_from_ms") {
            None => None,
            Some(place) if place.is_null() => Some(None),
            Some(place) => Some(Some(place.whole()?)),
        },
    })
}

fn add_framework(fields: &mut Fields<'_>) -> Read<AddFramework> {
    Ok(AddFramework {
        id: framework(fields, "id")?,
        roles: fields.required("roles", Place::roles)?,
        wishes: wishes(fields)?,
        used: fields.optional("used", used)?.unwrap_or_default(),
        active: fields.optional("active", Place::boolean)?.unwrap_or(true),
    })
}

fn wishes(fields: &mut Fields<'_>) -> Read<Wishes> {
    Ok(Wishes {
        capabilities: fields.optional("capabilities", framework_capabilities)?,
        suppressed: fields.optional("suppressed_roles", Place::roles)?,
        min_allocatable: fields.optional("min_allocatable", |place| {
            by_role(place, |place| place.list()?.iter().map(Place::quantities).collect())
        })?,
        constraints: fields.optional("constraints", |place| by_role(place, constraints))?,
    })
}

fn by_role<'a, T>(place: &Place<'a>, read: impl Fn(&Place<'a>) -> Read<T>) -> Read<BTreeMap<Role, T>> {
    let one = |(name, place): (String, Place<'a>)| {
        let role = Role::parse(&name).map_err(|error| place.wrong_by(&error))?;
        Ok((role, read(&place)?))
    };
    place.entries()?.into_iter().map(one).collect()
}

fn used(place: &Place<'_>) -> Read<Used> {
    let one = |(name, place): (String, Place<'_>)| Ok((name, by_role(&place, Place::resources)?));
    place.entries()?.into_iter().map(one).collect()
}

fn attributes(place: &Place<'_>) -> Read<Arc<[Attribute]>> {
    let attributes = parse_attributes(&place.string()?).map_err(|error| place.wrong_by(&error))?;
    Ok(attributes.into())
}

fn agent_capabilities(place: &Place<'_>) -> Read<AgentCapabilities> {
    let one = |place: &Place<'_>| {
        let name = place.string()?;
        AgentCapability::from_name(&name)
            .ok_or_else(|| place.wrong(format!("no capability {name:?} of agents")))
    };
    place.list()?.iter().map(one).collect()
}

fn framework_capabilities(place: &Place<'_>) -> Read<FrameworkCapabilities> {
    let one = |place: &Place<'_>| {
        let name = place.string()?;
        let known = FrameworkCapability::from_name(&name);
        known.ok_or_else(|| place.wrong(format!("no capability {name:?} of frameworks")))
    };
    place.list()?.iter().map(one).collect()
}

/// `[[constraint]]`: a list of groups.
fn constraints(place: &Place<'_>) -> Read<Constraints> {
    let group = |place: &Place<'_>| place.list()?.iter().map(constraint).collect::<Read<Vec<Constraint>>>();
    let groups = place.list()?.iter().map(group).collect::<Read<Vec<_>>>()?;
    Constraints::new(groups).map_err(|error| place.wrong_by(&error))
}

fn constraint(place: &Place<'_>) -> Read<Constraint> {
    let mut fields = place.fields()?;
    let constraint = Constraint {
        selector: fields.required("selector", selector)?,
        predicate: fields.required("predicate", predicate)?,
    };
    fields.finish()?;
    Ok(constraint)
}

fn only_entry<'a>(place: &Place<'a>) -> Read<(String, Place<'a>)> {
    let mut entries = place.entries()?;
    match (entries.pop(), entries.is_empty()) {
        (Some(entry), true) => Ok(entry),
        _ => Err(place.wrong("must have exactly one field")),
    }
}

fn selector(place: &Place<'_>) -> Read<Selector> {
    let (name, value) = only_entry(place)?;
    match (name.as_str(), value.string()?.as_str()) {
        ("attribute_name", name) => Ok(Selector::Attribute(name.into())),
        ("pseudoattribute_type", "HOSTNAME") => Ok(Selector::Hostname),
        ("pseudoattribute_type", "REGION") => Ok(Selector::Region),
        ("pseudoattribute_type", "ZONE") => Ok(Selector::Zone),
        _ => Err(value.wrong("no attribute_name, and no pseudoattribute_type HOSTNAME, REGION or ZONE")),
    }
}

fn predicate(place: &Place<'_>) -> Read<Predicate> {
    let (name, body) = only_entry(place)?;
    let mut fields = body.fields()?;
    let text = |place: &Place<'_>| Ok(Arc::from(place.string()?));
    let pattern =
        |place: &Place<'_>| TextPattern::new(&place.string()?).map_err(|error| place.wrong_by(&error));
    let predicate = match name.as_str() {
        "exists" => Predicate::Exists,
        "not_exists" => Predicate::NotExists,
        "text_equals" => Predicate::TextEquals(fields.required("value", text)?),
        "text_not_equals" => Predicate::TextNotEquals(fields.required("value", text)?),
        "text_matches" => Predicate::TextMatches(fields.required("regex", pattern)?),
        "text_not_matches" => Predicate::TextNotMatches(fields.required("regex", pattern)?),
        _ => return Err(body.wrong("there is no such predicate")),
    };
    fields.finish()?;
    Ok(predicate)
}
