//! `/state`, `/frameworks` and `/slaves`: agents, frameworks and offers.

use std::collections::BTreeMap;

use bytes::Bytes;
use mesarch_mesos_v1::convert::{ResourceForm, constraints_to_v1, resources_to_v1};
use mesarch_proto::{json::Json, mesos::v1};
use mesarch_state::{
    State,
    command::AgentSpec,
    model::{Agent, Executor, Framework, Offer, Task, UnreachableAgent},
};
use mesarch_types::{FrameworkCapability, FrameworkId, Millis, WallMillis, resource::Resources};
use prost::Message;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    each::Each,
    numbers::{Amounts, Attributes, seconds},
    tasks::Told,
};
use crate::{app::App, http::operator, leader::Session, master_info::API_VERSION, view};

/// A protobuf message in its JSON form.
pub(super) type Raw = Box<RawValue>;

/// Writes a message; none if it cannot be JSON, which the writer excludes.
pub(super) fn raw<M: Json>(message: &M) -> Option<Raw> {
    let mut bytes = Vec::new();
    message.write_json(&mut bytes);
    RawValue::from_string(String::from_utf8(bytes).ok()?).ok()
}

#[derive(Serialize)]
struct StateView<'a, S: Serialize, F: Serialize, C: Serialize> {
    version: &'static str,
    mesarch_version: &'static str,
    build_date: &'static str,
    build_time: f64,
    build_user: &'static str,
    start_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    elected_time: Option<f64>,
    id: String,
    pid: String,
    hostname: String,
    capabilities: [&'static str; 3],
    activated_slaves: f64,
    deactivated_slaves: f64,
    unreachable_slaves: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_info: Option<LeaderView>,
    #[serde(skip_serializing_if = "str::is_empty")]
    cluster: &'a str,
    flags: BTreeMap<&'static str, String>,
    slaves: S,
    recovered_slaves: [(); 0],
    frameworks: F,
    completed_frameworks: C,
    orphan_tasks: [(); 0],
    unregistered_frameworks: [(); 0],
}

#[derive(Serialize)]
struct LeaderView {
    id: String,
    pid: String,
    port: u16,
    hostname: String,
}

/// Without a session it is that of a master that may not lead, and says who does as far as it knows.
pub(super) fn state<'a>(
    app: &'a App,
    session: Option<&Session>,
    state: &'a State,
) -> impl Serialize + use<'a> {
    let facts = app.facts();
    let active = state.agents().filter(|agent| agent.is_active()).count();
    let counts = state.counts();
    StateView {
        version: API_VERSION,
        mesarch_version: env!("CARGO_PKG_VERSION"),
        build_date: "",
        build_time: 0.0,
        build_user: "",
        start_time: seconds(app.started),
        elected_time: session.map(|session| seconds(session.since)),
        id: facts.id(),
        pid: facts.pid(),
        hostname: facts.host().to_owned(),
        capabilities: ["AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"],
        activated_slaves: active as f64,
        deactivated_slaves: (counts.agents - active) as f64,
        unreachable_slaves: counts.unreachable_agents as f64,
        leader: leader_pid(app, session),
        leader_info: session.map(|_| LeaderView {
            id: facts.id(),
            pid: facts.pid(),
            port: facts.port(),
            hostname: facts.host().to_owned(),
        }),
        cluster: &app.options.cluster,
        flags: super::flags(app),
        slaves: Each(|| state.agents().map(|agent| slave(agent, false))),
        recovered_slaves: [],
        frameworks: Each(|| state.frameworks().map(|framework| registered(state, framework))),
        completed_frameworks: Each(|| completed(state, None)),
        orphan_tasks: [],
        unregistered_frameworks: [],
    }
}

fn leader_pid(app: &App, session: Option<&Session>) -> Option<String> {
    if session.is_some() {
        return Some(app.facts().pid());
    }
    match &*app.view.borrow() {
        view::LeaderView::Leading(_) => Some(app.facts().pid()),
        view::LeaderView::Following { leader, .. } => Some(format!("master@{leader}")),
        view::LeaderView::Electing { .. } => None,
    }
}

#[derive(Serialize)]
struct FrameworksView<F: Serialize, C: Serialize> {
    frameworks: F,
    completed_frameworks: C,
    unregistered_frameworks: [(); 0],
}

pub(super) fn frameworks<'a>(state: &'a State, only: Option<&'a str>) -> impl Serialize + use<'a> {
    let wanted = move |framework: &&Framework| only.is_none_or(|only| framework.id.as_str() == only);
    FrameworksView {
        frameworks: Each(move || {
            state.frameworks().filter(wanted).map(|framework| registered(state, framework))
        }),
        completed_frameworks: Each(move || completed(state, only)),
        unregistered_frameworks: [],
    }
}

#[derive(Serialize)]
struct SlavesView<S: Serialize> {
    slaves: S,
    recovered_slaves: [(); 0],
}

pub(super) fn slaves<'a>(state: &'a State, only: Option<&'a str>) -> impl Serialize + use<'a> {
    let wanted = move |agent: &&Agent| only.is_none_or(|only| agent.id.as_str() == only);
    let slaves = Each(move || state.agents().filter(wanted).map(|agent| slave(agent, true)));
    SlavesView { slaves, recovered_slaves: [] }
}

#[derive(Serialize)]
pub(super) struct SlaveView<'a> {
    id: &'a str,
    hostname: &'a str,
    port: u16,
    attributes: Attributes<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<Raw>,
    pid: String,
    registered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    resources: Amounts,
    used_resources: Amounts,
    offered_resources: Amounts,
    reserved_resources: BTreeMap<String, Amounts>,
    unreserved_resources: Amounts,
    active: bool,
    deactivated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_info: Option<Raw>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_drain_start_time_seconds: Option<f64>,
    version: &'a str,
    capabilities: Vec<&'static str>,
    #[serde(flatten)]
    full: Option<FullResources>,
}

/// What `/slaves` says beside `/state`.
#[derive(Serialize)]
struct FullResources {
    reserved_resources_full: BTreeMap<String, Vec<Raw>>,
    unreserved_resources_full: Vec<Raw>,
    used_resources_full: Vec<Raw>,
    offered_resources_full: Vec<Raw>,
}

/// What is shown of `mesos.v1.AgentInfo`, by the numbers of its fields; a message in it as its bytes.
#[derive(Clone, PartialEq, Message)]
struct AgentSaid {
    #[prost(bytes = "bytes", optional, tag = "10")]
    domain: Option<Bytes>,
}

pub(super) fn slave(agent: &Agent, full: bool) -> SlaveView<'_> {
    let AgentSpec { hostname, port, total: _, attributes, capabilities, version, info } = &*agent.spec;
    let total = &agent.total();
    // Our own encoding of what the agent said.
    let info = AgentSaid::decode(info.clone()).unwrap_or_default();
    let domain = info.domain.and_then(|domain| v1::DomainInfo::decode(domain).ok());
    SlaveView {
        id: agent.id.as_str(),
        hostname,
        port: *port,
        attributes: Attributes(attributes),
        domain: domain.as_ref().and_then(raw),
        pid: format!("slave(1)@{hostname}:{port}"),
        registered_time: seconds(agent.registered),
        reregistered_time: agent.reregistered.map(seconds),
        resources: Amounts::of([total]),
        used_resources: Amounts::of(agent.ledger.used().values()),
        offered_resources: Amounts::of(agent.ledger.offered().values()),
        reserved_resources: reserved(total)
            .into_iter()
            .map(|(role, it)| (role, Amounts::of([&it])))
            .collect(),
        unreserved_resources: Amounts::of([&total.unreserved()]),
        active: agent.is_active(),
        deactivated: agent.administration.deactivated,
        drain_info: agent.administration.drain.and_then(|drain| raw(&operator::drain_info(&drain))),
        estimated_drain_start_time_seconds: agent.administration.drain.map(|drain| seconds(drain.since)),
        version,
        capabilities: capabilities.iter().map(|capability| capability.name()).collect(),
        full: full.then(|| full_resources(agent)),
    }
}

fn reserved(total: &Resources) -> BTreeMap<String, Resources> {
    let roles = total.iter().filter_map(|resource| resource.reserved_role().cloned());
    let roles: std::collections::BTreeSet<_> = roles.collect();
    roles.into_iter().map(|role| (role.to_string(), total.reserved_to(&role))).collect()
}

fn full_resources(agent: &Agent) -> FullResources {
    let total = &agent.total();
    let held = |book: &BTreeMap<mesarch_state::model::Holder, Resources>| {
        book.iter().flat_map(|((_, role), held)| raws(&held.allocated_to(role))).collect()
    };
    FullResources {
        reserved_resources_full: reserved(total).into_iter().map(|(role, it)| (role, raws(&it))).collect(),
        unreserved_resources_full: raws(&total.unreserved()),
        used_resources_full: held(agent.ledger.used()),
        offered_resources_full: held(agent.ledger.offered()),
    }
}

fn raws(resources: &Resources) -> Vec<Raw> {
    resources_to_v1(resources, ResourceForm::Both).iter().filter_map(raw).collect()
}

/// What `/state-summary` says of a framework beside its counts.
#[derive(Serialize)]
pub(super) struct ShortFramework<'a> {
    id: &'a str,
    name: &'a str,
    used_resources: Amounts,
    offered_resources: Amounts,
    capabilities: Vec<&'static str>,
    hostname: String,
    webui_url: String,
    active: bool,
    connected: bool,
    recovered: bool,
}

/// A registered framework, in short.
pub(super) fn short<'a>(state: &'a State, framework: &'a Framework) -> ShortFramework<'a> {
    let info = v1::FrameworkInfo::decode(framework.spec.info.clone()).unwrap_or_default();
    let offers = framework.offers.iter().filter_map(|id| state.offer(id));
    let tasks: Vec<&Task> = state.tasks_of(&framework.id).collect();
    ShortFramework {
        used_resources: used(state, framework, &tasks),
        offered_resources: Amounts::of(offers.map(|offer| &offer.resources)),
        ..bare_short(framework, &info)
    }
}

fn bare_short<'a>(framework: &'a Framework, info: &v1::FrameworkInfo) -> ShortFramework<'a> {
    let spec = &framework.spec;
    ShortFramework {
        id: framework.id.as_str(),
        name: &spec.name,
        used_resources: Amounts::default(),
        offered_resources: Amounts::default(),
        capabilities: spec.capabilities.iter().map(|capability| capability.name()).collect(),
        hostname: info.hostname.clone().unwrap_or_default(),
        webui_url: info.webui_url.clone().unwrap_or_default(),
        active: framework.is_connected(),
        connected: framework.is_connected(),
        // Had a stream at an earlier leader and has not come back to this one yet.
        recovered: framework.is_active() && !framework.is_connected(),
    }
}

#[derive(Serialize)]
pub(super) struct FrameworkView<'a> {
    #[serde(flatten)]
    short: ShortFramework<'a>,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    unregistered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    resources: Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
    tasks: Vec<Told<'a>>,
    unreachable_tasks: Vec<Told<'a>>,
    completed_tasks: Vec<Told<'a>>,
    offers: Vec<OfferView<'a>>,
    executors: Vec<ExecutorView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Raw>>,
    offer_constraints: Option<Raw>,
}

fn registered<'a>(state: &'a State, framework: &'a Framework) -> FrameworkView<'a> {
    let offers: Vec<&Offer> = framework.offers.iter().filter_map(|id| state.offer(id)).collect();
    let tasks: Vec<&Task> = state.tasks_of(&framework.id).collect();
    let used = used(state, framework, &tasks);
    let mut both = used.clone();
    offers.iter().for_each(|offer| both.add(&offer.resources));
    let bare = bare(framework);
    FrameworkView {
        short: ShortFramework {
            used_resources: used,
            offered_resources: Amounts::of(offers.iter().map(|offer| &offer.resources)),
            ..bare.short
        },
        resources: both,
        tasks: tasks.into_iter().map(Told::of).collect(),
        unreachable_tasks: unreachable_tasks(state, framework).collect(),
        offers: offers.into_iter().map(offer).collect(),
        executors: state.executors_of(&framework.id).map(executor).collect(),
        ..bare
    }
}

/// What the framework uses, over all agents where it has anything. `tasks` are its own.
fn used(state: &State, framework: &Framework, tasks: &[&Task]) -> Amounts {
    let live = tasks.iter().filter(|task| !task.state.is_terminal()).map(|task| &task.spec.resources);
    let executors = state.executors_of(&framework.id).map(|executor| &executor.spec.resources);
    Amounts::of(live.chain(executors))
}

pub(super) fn unreachable_tasks<'a>(
    state: &'a State,
    framework: &'a Framework,
) -> impl Iterator<Item = Told<'a>> {
    let partition_aware = framework.is_partition_aware();
    framework.unreachable.iter().filter_map(move |(task, agent)| {
        let away: &UnreachableAgent = state.unreachable_agent(agent)?;
        let task = away.tasks.get(&(framework.id.clone(), task.clone()))?;
        let told = mesarch_types::TaskState::Unreachable;
        let told = if partition_aware { told } else { told.for_partition_unaware() };
        Some(Told { task, state: told })
    })
}

/// A framework by itself: as it is listed once it is gone.
fn bare(framework: &Framework) -> FrameworkView<'_> {
    let spec = &framework.spec;
    let info = v1::FrameworkInfo::decode(spec.info.clone()).unwrap_or_default();
    let multi_role = spec.capabilities.has(FrameworkCapability::MultiRole);
    let roles: Vec<&str> = spec.roles.iter().map(|role| role.as_str()).collect();
    FrameworkView {
        short: bare_short(framework, &info),
        user: &spec.user,
        failover_timeout: failover_seconds(spec.failover_timeout, info.failover_timeout),
        checkpoint: spec.checkpoint,
        registered_time: seconds(framework.registered),
        unregistered_time: 0.0,
        principal: spec.principal.as_deref(),
        resources: Amounts::default(),
        reregistered_time: framework.reregistered.map(seconds),
        role: if multi_role { None } else { roles.first().copied() },
        roles: multi_role.then_some(roles),
        tasks: Vec::new(),
        unreachable_tasks: Vec::new(),
        completed_tasks: framework.completed.iter().map(|task| Told::of(task)).collect(),
        offers: Vec::new(),
        executors: Vec::new(),
        labels: info.labels.map(|labels| labels.labels.iter().filter_map(raw).collect()),
        offer_constraints: raw(&constraints_to_v1(&spec.rules.constraints)),
    }
}

/// As the framework said it, exactly; what decisions read is rounded to ms.
fn failover_seconds(decided: Millis, said: Option<f64>) -> f64 {
    said.unwrap_or(decided.0 as f64 / 1000.0)
}

fn completed<'a>(state: &'a State, only: Option<&'a str>) -> impl Iterator<Item = FrameworkView<'a>> {
    let wanted = move |id: &FrameworkId| only.is_none_or(|only| id.as_str() == only);
    let gone = state.removed_frameworks().filter(move |(id, _)| wanted(id));
    gone.filter_map(|(_, removed)| Some((removed.record.as_deref()?, removed.wall)))
        .map(|(framework, wall)| ended(bare(framework), wall))
}

fn ended(view: FrameworkView<'_>, at: WallMillis) -> FrameworkView<'_> {
    let short = ShortFramework { active: false, connected: false, recovered: false, ..view.short };
    FrameworkView { short, unregistered_time: seconds(at), ..view }
}

#[derive(Serialize)]
struct OfferView<'a> {
    id: &'a str,
    framework_id: &'a str,
    allocation_info: RoleView<'a>,
    slave_id: &'a str,
    resources: Amounts,
}

#[derive(Serialize)]
struct RoleView<'a> {
    role: &'a str,
}

fn offer(offer: &Offer) -> OfferView<'_> {
    OfferView {
        id: offer.id.as_str(),
        framework_id: offer.framework.as_str(),
        allocation_info: RoleView { role: offer.role.as_str() },
        slave_id: offer.agent.as_str(),
        resources: Amounts::of([&offer.resources]),
    }
}

#[derive(Serialize)]
struct ExecutorView<'a> {
    executor_id: &'a str,
    name: String,
    framework_id: &'a str,
    command: CommandView,
    resources: Amounts,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Raw>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    slave_id: &'a str,
}

#[derive(Serialize)]
struct CommandView {
    shell: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    argv: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Raw>,
    uris: Vec<UriView>,
}

#[derive(Serialize)]
struct UriView {
    value: String,
    executable: bool,
}

fn executor(executor: &Executor) -> ExecutorView<'_> {
    let info = v1::ExecutorInfo::decode(executor.spec.info.clone()).unwrap_or_default();
    let kind = info.r#type.and_then(|number| v1::executor_info::Type::try_from(number).ok());
    let command = info.command.unwrap_or_default();
    ExecutorView {
        executor_id: executor.key.executor.as_str(),
        name: info.name.unwrap_or_default(),
        framework_id: executor.key.framework.as_str(),
        resources: Amounts::of([&executor.spec.resources]),
        role: executor.role.as_str(),
        labels: info.labels.map(|labels| labels.labels.iter().filter_map(raw).collect()),
        kind: kind.map(|kind| kind.as_str_name()),
        slave_id: executor.key.agent.as_str(),
        command: CommandView {
            shell: command.shell(),
            environment: command.environment.as_ref().and_then(raw),
            uris: command
                .uris
                .iter()
                .map(|uri| UriView { value: uri.value.clone(), executable: uri.executable() })
                .collect(),
            value: command.value,
            argv: command.arguments,
        },
    }
}
