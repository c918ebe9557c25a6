//! What operators set, as it is read: `/quota`, `/weights`, and the registry.

use std::collections::BTreeMap;

use mesarch_proto::mesos::v1::AgentInfo;
use mesarch_state::{State, model::Agent};
use prost::Message;
use serde::Serialize;

use super::model::{Raw, raw};
use crate::{app::App, events, http::operator};

#[derive(Serialize)]
pub(super) struct QuotaView {
    infos: Vec<Raw>,
}

/// Guarantees, in the deprecated form.
pub(super) fn quota(state: &State) -> QuotaView {
    let guaranteed = state.quotas().filter(|quota| !quota.guarantees().is_empty());
    QuotaView { infos: guaranteed.filter_map(|quota| raw(&operator::quota_info(quota))).collect() }
}

#[derive(Serialize)]
pub(super) struct WeightView<'a> {
    role: &'a str,
    weight: f64,
}

/// Those that were set.
pub(super) fn weights(state: &State) -> Vec<WeightView<'_>> {
    let weights = state.weights();
    weights
        .map(|(role, weight)| WeightView {
            role: role.as_str(),
            weight: weight.thousandths() as f64 / 1000.0,
        })
        .collect()
}

#[derive(Serialize)]
pub(super) struct RegistryView<'a> {
    master: MasterView,
    slaves: SlavesView,
    unreachable: BTreeMap<&'static str, Vec<GoneView<'a>>>,
    machines: Nothing,
    schedules: [Nothing; 0],
    quota_configs: Vec<Raw>,
    weights: Vec<RegisteredWeight<'a>>,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct MasterView {
    info: Option<Raw>,
}

#[derive(Serialize)]
struct SlavesView {
    slaves: Vec<AdmittedView>,
}

#[derive(Serialize)]
struct AdmittedView {
    info: Option<Raw>,
    deactivated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_info: Option<Raw>,
}

#[derive(Serialize)]
struct GoneView<'a> {
    id: IdView<'a>,
    timestamp: Option<Raw>,
}

#[derive(Serialize)]
struct IdView<'a> {
    value: &'a str,
}

#[derive(Serialize)]
struct RegisteredWeight<'a> {
    info: WeightView<'a>,
}

/// What Mesos would keep in its registry, read from the replicated state.
pub(super) fn registry<'a>(app: &App, state: &'a State) -> RegistryView<'a> {
    let gone = state.unreachable_agents().map(|away| GoneView {
        id: IdView { value: away.agent.id.as_str() },
        timestamp: raw(&crate::status::time(away.wall)),
    });
    RegistryView {
        master: MasterView { info: raw(&app.facts().info()) },
        slaves: SlavesView { slaves: state.agents().map(admitted).collect() },
        unreachable: BTreeMap::from([("slaves", gone.collect())]),
        machines: Nothing {},
        schedules: [],
        quota_configs: state.quotas().filter_map(|quota| raw(&operator::quota_config(quota))).collect(),
        weights: weights(state).into_iter().map(|info| RegisteredWeight { info }).collect(),
    }
}

fn admitted(agent: &Agent) -> AdmittedView {
    let info = AgentInfo::decode(agent.spec.info.clone()).unwrap_or_default();
    let info = AgentInfo { id: Some(events::agent_id(&agent.id)), ..info };
    let deactivated = agent.administration.deactivated;
    let drain_info = agent.administration.drain.and_then(|drain| raw(&operator::drain_info(&drain)));
    AdmittedView { info: raw(&info), deactivated, drain_info }
}
