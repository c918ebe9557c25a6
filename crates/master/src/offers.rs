//! Offers as frameworks are told them.

use mesarch_mesos_v1::convert::{ResourceForm, attributes_to_v1, resource_to_v1};
use mesarch_proto::mesos::v1;
use mesarch_state::{
    State,
    model::{Agent, Framework, Offer},
};
use mesarch_types::{AgentId, FrameworkCapability, FrameworkId, Unavailability, resource::Resource};
use prost::Message;

/// Kept from frameworks: the agent's network isolation hands it out itself.
const EPHEMERAL_PORTS: &str = "ephemeral_ports";

/// An `AgentInfo` of which nothing but the domain is read: offers are built by the thousand.
#[derive(Clone, PartialEq, Message)]
struct Domain {
    #[prost(message, optional, tag = "10")]
    domain: Option<v1::DomainInfo>,
}

/// An outstanding offer as its framework understands it; none if the offer or its agent is gone.
pub(crate) fn of_state(state: &State, offer: &Offer) -> Option<v1::Offer> {
    let (agent, framework) = (state.agent(&offer.agent)?, state.framework(&offer.framework)?);
    Some(build(offer, agent, framework))
}

/// An outstanding request to leave an agent as its framework understands it; none if it is gone. It asks for all that the
/// framework has there, so it names no resources.
pub(crate) fn inverse_of_state(
    state: &State,
    framework: &FrameworkId,
    agent: &AgentId,
) -> Option<v1::InverseOffer> {
    let (offer, agent) = (state.inverse_offer(framework, agent)?, state.agent(agent)?);
    Some(v1::InverseOffer {
        id: v1::OfferId { value: offer.id.to_string() },
        url: Some(url(agent)),
        framework_id: crate::events::framework_id(framework),
        agent_id: Some(crate::events::agent_id(&agent.id)),
        unavailability: unavailability_to_v1(agent.unavailability?),
        resources: Vec::new(),
    })
}

/// A planned outage as the API tells it.
pub(crate) fn unavailability_to_v1(it: Unavailability) -> v1::Unavailability {
    v1::Unavailability {
        start: v1::TimeInfo { nanoseconds: it.start_ns },
        duration: it.duration_ns.map(|nanoseconds| v1::DurationInfo { nanoseconds }),
    }
}

fn build(offer: &Offer, agent: &Agent, framework: &Framework) -> v1::Offer {
    let executors = agent.executors.iter().filter(|(owner, _)| *owner == offer.framework);
    let multi_role = framework.spec.capabilities.has(FrameworkCapability::MultiRole);
    v1::Offer {
        id: v1::OfferId { value: offer.id.to_string() },
        framework_id: crate::events::framework_id(&offer.framework),
        agent_id: crate::events::agent_id(&offer.agent),
        hostname: agent.spec.hostname.to_string(),
        url: Some(url(agent)),
        // Our own encoding of what the agent said.
        domain: Domain::decode(&*agent.spec.info).ok().and_then(|info| info.domain),
        resources: resources(offer, framework),
        attributes: attributes_to_v1(&agent.spec.attributes),
        executor_ids: executors.map(|(_, id)| crate::events::executor_id(id)).collect(),
        unavailability: agent.unavailability.map(unavailability_to_v1),
        allocation_info: multi_role
            .then(|| v1::resource::AllocationInfo { role: Some(offer.role.to_string()) }),
    }
}

fn resources(offer: &Offer, framework: &Framework) -> Vec<v1::Resource> {
    let form = form(framework);
    let multi_role = framework.spec.capabilities.has(FrameworkCapability::MultiRole);
    let visible = |resource: &&Resource| &*resource.name != EPHEMERAL_PORTS;
    let written =
        offer.resources.iter().filter(visible).filter_map(|resource| resource_to_v1(resource, form));
    written
        .map(|resource| match multi_role {
            true => resource,
            false => v1::Resource { allocation_info: None, ..resource },
        })
        .collect()
}

/// How the framework reads reservations.
pub(crate) fn form(framework: &Framework) -> ResourceForm {
    match framework.spec.capabilities.has(FrameworkCapability::ReservationRefinement) {
        true => ResourceForm::New,
        false => ResourceForm::Old,
    }
}

/// Where the agent's own API is.
pub(crate) fn url(agent: &Agent) -> v1::Url {
    let host = &*agent.spec.hostname;
    v1::Url {
        scheme: "http".to_owned(),
        address: v1::Address {
            hostname: Some(host.to_owned()),
            ip: host.parse::<std::net::IpAddr>().ok().map(|ip| ip.to_string()),
            port: i32::from(agent.spec.port),
        },
        path: Some("/slave(1)".to_owned()),
        query: Vec::new(),
        fragment: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_is_read_out_of_the_whole_info() {
        let region = v1::domain_info::fault_domain::RegionInfo { name: "r".to_owned() };
        let zone = v1::domain_info::fault_domain::ZoneInfo { name: "z".to_owned() };
        let domain = v1::DomainInfo { fault_domain: Some(v1::domain_info::FaultDomain { region, zone }) };
        for domain in [None, Some(domain)] {
            let info =
                v1::AgentInfo { hostname: "h".to_owned(), port: Some(5051), domain, ..Default::default() };
            let read = Domain::decode(&*info.encode_to_vec()).expect("our own bytes");
            assert_eq!(read.domain, info.domain);
        }
    }
}
