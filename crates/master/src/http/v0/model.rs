//! `/state` and `/slaves`: the master, and agents.

use std::{collections::BTreeMap, io};

use bytes::Bytes;
use mesarch_mesos_v1::convert::{ResourceForm, resources_to_v1};
use mesarch_proto::{json::Json, mesos::v1};
use mesarch_state::{State, command::AgentSpec, model::Agent};
use mesarch_types::resource::Resources;
use prost::Message;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    frameworks,
    numbers::{Amounts, Attributes, seconds},
    out::Out,
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
struct StateHead<'a> {
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
}

/// Lists that are always empty here.
#[derive(Serialize)]
struct StateTail {
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
pub(super) fn state(
    app: &App,
    session: Option<&Session>,
    state: &State,
    out: &mut Out<'_>,
) -> io::Result<()> {
    let lists = |out: &mut Out<'_>| {
        out.list("slaves", state.agents(), |agent, out| out.value(&slave(agent, false)))?;
        out.list("recovered_slaves", [(); 0], |(), _| Ok(()))?;
        frameworks::lists(state, None, out)
    };
    out.object(
        &head(app, session, state),
        lists,
        &StateTail { orphan_tasks: [], unregistered_frameworks: [] },
    )
}

fn head<'a>(app: &'a App, session: Option<&Session>, state: &State) -> StateHead<'a> {
    let facts = app.facts();
    let active = state.agents().filter(|agent| agent.is_active()).count();
    let counts = state.counts();
    StateHead {
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

pub(super) fn slaves(state: &State, only: Option<&str>, out: &mut Out<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Empty {}
    let wanted = state.agents().filter(|agent| only.is_none_or(|only| agent.id.as_str() == only));
    let lists = |out: &mut Out<'_>| {
        out.list("slaves", wanted, |agent, out| out.value(&slave(agent, true)))?;
        out.list("recovered_slaves", [(); 0], |(), _| Ok(()))
    };
    out.object(&Empty {}, lists, &Empty {})
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
