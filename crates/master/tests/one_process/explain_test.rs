//! What frameworks and agents say of themselves, and what operators decide, reaches the allocator; and it says so.

use std::{net::SocketAddr, time::Duration};

use mesarch_master::Domain;
use mesarch_proto::{
    admin::{
        Hosts, RolePriority, SetPolicyRequest, SetPrioritiesRequest, SetWhitelistRequest, StatusRequest,
        admin_client::AdminClient,
    },
    mesos::v1,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::{
    agent::{FakeAgent, info},
    client::{Scheduler, framework_info},
    cluster::{Cluster, wait_for},
    sharing_test::{admin, why},
};

/// The first reason, once it is the expected one.
async fn comes_to(
    operator: &AdminClient<Channel>,
    framework: &str,
    agent: Option<&str>,
    expect: &str,
) -> Value {
    wait_for(expect, || {
        let mut operator = operator.clone();
        async move {
            let reasons = why(&mut operator, framework, agent).await;
            let (text, reason) = reasons.into_iter().find(|(_, why)| why["reason"] == expect)?;
            assert!(!text.is_empty());
            Some(reason)
        }
    })
    .await
}

fn with_gpus() -> v1::AgentInfo {
    let mut agent = info();
    let scalar = Some(v1::value::Scalar { value: 1.0 });
    agent.resources.push(v1::Resource { name: "gpus".into(), scalar, ..Default::default() });
    agent
}

fn in_region(region: &str) -> v1::AgentInfo {
    use v1::domain_info::{FaultDomain, fault_domain};
    let region = fault_domain::RegionInfo { name: region.into() };
    let zone = fault_domain::ZoneInfo { name: "a".into() };
    v1::AgentInfo {
        domain: Some(v1::DomainInfo { fault_domain: Some(FaultDomain { region, zone }) }),
        ..info()
    }
}

fn in_role(role: &str, capability: Option<&str>) -> Value {
    let mut info = framework_info(role);
    info["roles"] = json!([role]);
    let capabilities = info["capabilities"].as_array_mut().expect("a list");
    capabilities.extend(capability.map(|name| json!({"type": name})));
    info
}

#[tokio::test(flavor = "multi_thread")]
async fn capabilities_and_places_decide_who_is_offered_an_agent() {
    let here = Domain { region: "eu".into(), zone: "a".into() };
    let cluster = Cluster::start_with(1, |options| options.domain = Some(here.clone())).await;
    let address = cluster.address(cluster.leader().await);
    let mut operator = admin(address).await;
    let plain = Scheduler::subscribe(address, in_role("eng", None), &[]).await;
    let table = [
        (with_gpus(), "needs_gpu_capability", "GPU_RESOURCES"),
        (in_region("us"), "other_region", "REGION_AWARE"),
    ];
    for (agent, reason, capability) in table {
        let agent = FakeAgent::register_as(address, agent).await;
        let reasons = why(&mut operator, &plain.framework, Some(&agent.id)).await;
        assert_eq!((reasons.len(), &reasons[0].1["reason"]), (1, &json!(reason)), "{reasons:?}");
        assert!(reasons[0].0.contains(capability), "{reasons:?}");
        let mut able = Scheduler::subscribe(address, in_role("ops/night", Some(capability)), &[]).await;
        let offer = able.offer().await;
        assert_eq!(offer["agent_id"]["value"], agent.id.as_str(), "{offer}");
    }
    let near = FakeAgent::register_as(address, in_region("eu")).await;
    comes_to(&operator, &plain.framework, Some(&near.id), "holds").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_framework_said_and_an_operator_decided_is_told_as_the_reason() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let operator = admin(address).await;
    let mut greedy = framework_info("greedy");
    greedy["offer_filters"] = json!({"eng": {"min_allocatable_resources": {"quantities": [{"quantities": {"cpus": {"value": 100}}}]}}});
    let greedy = Scheduler::subscribe(address, greedy, &[]).await;
    comes_to(&operator, &greedy.framework, None, "no_agents").await;
    comes_to(&operator, &greedy.framework, Some("x"), "agent_unknown").await;
    let agent = FakeAgent::register(address).await;
    let id = Some(agent.id.as_str());
    comes_to(&operator, &greedy.framework, id, "too_small").await;

    let mut refusing = Scheduler::subscribe(address, in_role("ops", None), &[]).await;
    let offer = refusing.offer().await;
    comes_to(&operator, &greedy.framework, id, "nothing_free").await;
    let decline = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 3600.0}});
    refusing.accepted("DECLINE", decline).await;
    let refused = comes_to(&operator, &refusing.framework, id, "refused").await;
    assert!(refused["until_ms"].as_u64().is_some_and(|until| until > 3_000_000), "{refused}");

    let hosts = Some(Hosts { names: vec!["elsewhere".into()] });
    operator.clone().set_whitelist(SetWhitelistRequest { hosts }).await.expect("set");
    comes_to(&operator, &refusing.framework, id, "not_whitelisted").await;
    drop(agent);
    let gone = cluster.address(cluster.leader().await);
    comes_to(&admin(gone).await, &refusing.framework, None, "agent_inactive").await;
}

async fn subscribed(address: SocketAddr, role: &str) -> Scheduler {
    Scheduler::subscribe(address, in_role(role, None), &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_was_switched_on_a_live_cluster_decides_after_a_failover() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let mut operator = admin(cluster.address(old)).await;
    let before = subscribed(cluster.address(old), "a").await;
    let agent = FakeAgent::register(cluster.address(old)).await;
    comes_to(&operator, &before.framework, Some(&agent.id), "holds").await;
    operator.set_policy(SetPolicyRequest { name: "priority".into() }).await.expect("set");
    let roles = vec![RolePriority { role: "z".into(), priority: 7 }];
    operator.set_priorities(SetPrioritiesRequest { roles, frameworks: Vec::new() }).await.expect("set");

    cluster.kill(old).await;
    let address = cluster.address(cluster.leader().await);
    // Equals by their shares: without the policy the names would decide, and the first one would be served.
    let first = subscribed(address, "b").await;
    let mut urgent = subscribed(address, "z").await;
    let new = FakeAgent::register(address).await;
    let offer = tokio::time::timeout(Duration::from_secs(20), urgent.offer()).await.expect("in time");
    assert_eq!(offer["agent_id"]["value"], new.id.as_str(), "{offer}");
    comes_to(&admin(address).await, &first.framework, Some(&new.id), "nothing_free").await;
}

async fn applied(operator: &mut AdminClient<Channel>) -> u64 {
    operator.status(StatusRequest {}).await.expect("told").into_inner().applied
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suppression_that_is_said_again_is_no_entry_and_one_that_changes_something_is() {
    const REPEATS: u64 = 200;
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut operator = admin(address).await;
    let mut scheduler = Scheduler::subscribe(address, in_role("eng", None), &[]).await;
    scheduler.accepted("SUPPRESS", json!({})).await;
    let agent = FakeAgent::register(address).await;
    let id = Some(agent.id.as_str());
    comes_to(&operator, &scheduler.framework, id, "suppressed").await;

    let before = applied(&mut operator).await;
    for _ in 0..REPEATS {
        scheduler.accepted("SUPPRESS", json!({})).await;
    }
    // Behind all of them, and committed when it is answered.
    scheduler.accepted("SHUTDOWN", json!({"executor_id": {"value": "x"}, "agent_id": {"value": "x"}})).await;
    let entries = applied(&mut operator).await - before;
    assert!(entries < REPEATS / 4, "{entries} entries for {REPEATS} repeats");

    for _ in 0..3 {
        scheduler.accepted("REVIVE", json!({})).await;
        let offer = scheduler.offer().await;
        scheduler.accepted("SUPPRESS", json!({})).await;
        let decline = json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0}});
        scheduler.accepted("DECLINE", decline).await;
        comes_to(&operator, &scheduler.framework, id, "suppressed").await;
        scheduler.accepted("SUPPRESS", json!({})).await;
    }
}
