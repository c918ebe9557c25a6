//! GET_AGENTS.

use std::collections::BTreeMap;

use mesarch_mesos_v1::{
    convert::{ResourceForm, resources_to_v1},
    writer::{Field, Fields},
};
use mesarch_proto::mesos::v1::{
    self, AgentInfo, DrainConfig, DrainInfo, DurationInfo, ResourceProviderInfo,
    agent_info::Capability,
    master::response::get_agents::{Agent as Shown, agent::ResourceProvider},
};
use mesarch_state::{
    State,
    model::{Agent, Drain, DrainState, Holder, Provider},
};
use mesarch_types::resource::Resources;
use prost::Message;

use crate::{events, status::time};

/// Agents that are expected back after a change of leader are registered: the log knows all of them.
pub(super) fn write(state: &State, out: &mut Fields<'_>) {
    out.list(Field("agents", 1), state.agents().map(shown));
    out.list(Field("recovered_agents", 2), [] as [AgentInfo; 0]);
}

pub(super) fn shown(agent: &Agent) -> Shown {
    let spec = &agent.spec;
    // Our own encoding of what the agent said.
    let info = AgentInfo::decode(spec.info.clone()).unwrap_or_default();
    Shown {
        agent_info: AgentInfo { id: Some(events::agent_id(&agent.id)), ..info },
        active: agent.is_active(),
        deactivated: Some(agent.administration.deactivated),
        drain_info: agent.administration.drain.map(|drain| drain_info(&drain)),
        estimated_drain_start_time: agent.administration.drain.map(|drain| time(drain.since)),
        version: spec.version.to_string(),
        pid: Some(format!("slave(1)@{}:{}", spec.hostname, spec.port)),
        registered_time: Some(time(agent.registered)),
        reregistered_time: agent.reregistered.map(time),
        total_resources: resources_to_v1(&agent.total(), ResourceForm::Both),
        allocated_resources: held(agent.ledger.used()),
        offered_resources: held(agent.ledger.offered()),
        resource_providers: agent
            .providers
            .values()
            .filter_map(|provider| shown_provider(provider))
            .collect(),
        capabilities: spec.capabilities.numbers().map(|number| Capability { r#type: Some(number) }).collect(),
    }
}

/// One that is away is listed with nothing.
fn shown_provider(provider: &Provider) -> Option<ResourceProvider> {
    let total = if provider.connected { provider.total.clone() } else { Resources::default() };
    Some(ResourceProvider {
        // Our own encoding of what the agent said.
        resource_provider_info: ResourceProviderInfo::decode(provider.info.clone()).ok()?,
        total_resources: resources_to_v1(&total, ResourceForm::Both),
    })
}

/// A drain as both APIs show it.
pub(in crate::http) fn drain_info(drain: &Drain) -> DrainInfo {
    let state = match drain.state {
        DrainState::Draining => v1::DrainState::Draining,
        DrainState::Drained => v1::DrainState::Drained,
    };
    let longest = drain.max_grace_ns.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
    let config = DrainConfig {
        max_grace_period: longest.map(|nanoseconds| DurationInfo { nanoseconds }),
        mark_gone: Some(drain.mark_gone),
    };
    DrainInfo { state: state as i32, config }
}

/// All that is in a book, marked with the roles that hold it.
fn held(book: &BTreeMap<Holder, Resources>) -> Vec<v1::Resource> {
    let all: Vec<Resources> = book.iter().map(|((_, role), held)| held.allocated_to(role)).collect();
    resources_to_v1(&Resources::sum(&all), ResourceForm::Both)
}
