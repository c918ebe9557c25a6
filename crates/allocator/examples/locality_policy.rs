//! A policy of a third party: within a role, an agent goes to the framework whose input lies on it.
//!
//! This is all that such a crate needs: a type with the trait, a name in a registry, and a binary that hands the registry
//! to the master. Here the binary plays a scenario instead.
#![expect(clippy::print_stdout, reason = "its result")]

use std::collections::{BTreeMap, BTreeSet};

use mesarch_allocator::{Contender, Drf, Policies, Policy, Rank, Ranking, Registry, scenario};
use mesarch_types::AgentView;

/// Who reads what: host names by framework id.
#[derive(Clone, Debug, Default)]
struct Inputs(BTreeMap<String, BTreeSet<String>>);

impl Inputs {
    fn of(list: &[(&str, &[&str])]) -> Self {
        let hosts = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect();
        Self(list.iter().map(|(framework, on)| ((*framework).to_owned(), hosts(on))).collect())
    }
}

/// Frameworks with input on the agent come first, then those with input on its rack, then the others; equally close ones
/// share by dominant share.
#[derive(Clone, Debug)]
struct Locality {
    inputs: Inputs,
    /// Host name to rack, for all hosts that hold input.
    racks: BTreeMap<String, String>,
}

const ON_AGENT: i64 = 0;
const ON_RACK: i64 = 1;
const ELSEWHERE: i64 = 2;

impl Locality {
    fn distance(&self, framework: &str, agent: &AgentView) -> i64 {
        let Some(hosts) = self.inputs.0.get(framework) else {
            return ELSEWHERE;
        };
        if hosts.contains(&*agent.hostname) {
            return ON_AGENT;
        }
        let rack = self.racks.get(&*agent.hostname);
        let is_near = |host: &String| rack.is_some() && self.racks.get(host) == rack;
        if hosts.iter().any(is_near) { ON_RACK } else { ELSEWHERE }
    }
}

impl Policy for Locality {
    fn rank(&self, contender: &Contender<'_>) -> Rank {
        let tier = contender.agent.map_or(ELSEWHERE, |agent| self.distance(contender.name, agent));
        Rank { tier, ..Drf.rank(contender) }
    }

    fn ranking(&self) -> Ranking {
        Ranking::PerAgent
    }
}

fn registry() -> Registry {
    let inputs = Inputs::of(&[("logs", &["n1", "n3"]), ("etl", &["n2"])]);
    let racks = [("n1", "r1"), ("n2", "r2"), ("n3", "r3"), ("n4", "r2")];
    let racks = racks.map(|(host, rack)| (host.to_owned(), rack.to_owned())).into();
    let locality = Locality { inputs, racks };
    let mut registry = Registry::builtin();
    registry
        .register("locality", move || Policies {
            frameworks: std::sync::Arc::new(locality.clone()),
            ..Policies::default()
        })
        .expect("a name that ours do not have");
    registry
}

const SCENARIO: &str = r#"{
  "name": "each agent goes to the framework whose input lies on it, or else near it",
  "policy": "locality",
  "steps": [
    {"add_framework": {"id": "etl", "roles": ["data"]}},
    {"add_framework": {"id": "logs", "roles": ["data"]}},
    {"add_agent": {"id": "n", "count": 4, "resources": "cpus:4;mem:4096"}},
    {"expect": [
      {"framework": "logs", "role": "data", "agent": "n1", "resources": "cpus:4;mem:4096"},
      {"framework": "etl", "role": "data", "agent": "n2", "resources": "cpus:4;mem:4096"},
      {"framework": "logs", "role": "data", "agent": "n3", "resources": "cpus:4;mem:4096"},
      {"framework": "etl", "role": "data", "agent": "n4", "resources": "cpus:4;mem:4096"}]},
    {"add_agent": {"id": "n9", "resources": "cpus:1;mem:1024"}},
    {"expect": [{"framework": "etl", "role": "data", "agent": "n9", "resources": "cpus:1;mem:1024"}]}
  ]
}"#;

fn play() -> scenario::Verdict {
    let scenario = scenario::read(SCENARIO).expect("a constant that is a scenario");
    scenario::play_with(&registry(), &scenario, &mut |report| println!("{report}"))
}

fn main() {
    println!("{}", play());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_go_where_their_data_is_read_and_the_rest_by_share() {
        assert_eq!(play().failure, None);
    }

    #[test]
    fn distance_is_agent_then_rack_then_elsewhere() {
        let scenario = scenario::read(&SCENARIO.replace("locality", "drf")).expect("a scenario");
        let by_share = scenario::play(&scenario, &mut |_| {});
        assert!(!by_share.passed(), "dominant shares alone do not look at the agent");
    }
}
