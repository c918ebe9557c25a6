//! What operators decide about sharing: in the log, at every leader, and explained.

use std::net::SocketAddr;

use mesarch_proto::{
    admin::{
        ConvertRequest, ExplainRequest, GetPolicyRequest, GetPrioritiesRequest, GetQuotaRequest,
        GetWeightsRequest, Quantity, RolePriority, RoleQuota, RoleWeight, SetPolicyRequest,
        SetPrioritiesRequest, SetQuotaRequest, SetWeightsRequest, TransferLeaderRequest,
        admin_client::AdminClient,
    },
    mesos::v1,
};
use serde_json::{Value, json};
use tonic::{Code, transport::Channel};

use crate::{
    agent::FakeAgent,
    client::{JSON, SCHEDULER, Scheduler, framework_info, get, request},
    cluster::{Cluster, soon, wait_for},
};

pub(crate) async fn admin(address: SocketAddr) -> AdminClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address");
    AdminClient::new(soon("a channel", endpoint.connect()).await.expect("a channel"))
}

fn limit(role: &str, cpus: i64) -> SetQuotaRequest {
    let limits = vec![Quantity { name: "cpus".into(), thousandths: cpus }];
    let quota = RoleQuota { role: role.into(), limits, ..RoleQuota::default() };
    SetQuotaRequest { quotas: vec![quota], force: false }
}

/// `cpus` dynamically reserved to a role.
fn reservation(agent: &str, role: &str, cpus: f64) -> ConvertRequest {
    let reserved = v1::resource::ReservationInfo {
        r#type: Some(v1::resource::reservation_info::Type::Dynamic as i32),
        role: Some(role.into()),
        principal: Some("op".into()),
        ..Default::default()
    };
    let resource = v1::Resource {
        name: "cpus".into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value: cpus }),
        reservations: vec![reserved],
        ..Default::default()
    };
    ConvertRequest { agent: agent.into(), resources: vec![resource] }
}

/// How much of a kind an offer holds.
fn amount(offer: &Value, kind: &str) -> f64 {
    let resources = offer["resources"].as_array().expect("a list").iter();
    resources.filter(|one| one["name"] == kind).filter_map(|one| one["scalar"]["value"].as_f64()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_survive_a_failover_and_hold_the_offers_to_the_limits() {
    let mut cluster = Cluster::start(3).await;
    let old = cluster.leader().await;
    let agent = FakeAgent::register(cluster.address(old)).await;
    let mut operator = admin(cluster.address(old)).await;
    operator.set_quota(limit("eng", 1000)).await.expect("set");
    let weights = vec![RoleWeight { role: "eng".into(), thousandths: 2500 }];
    operator.set_weights(SetWeightsRequest { weights: weights.clone() }).await.expect("set");
    let roles = vec![RolePriority { role: "ops".into(), priority: 7 }];
    let priorities = SetPrioritiesRequest { roles: roles.clone(), frameworks: Vec::new() };
    operator.set_priorities(priorities).await.expect("set");
    operator.set_policy(SetPolicyRequest { name: "priority".into() }).await.expect("set");
    operator.reserve(reservation(&agent.id, "ops", 0.5)).await.expect("reserved");
    let mut scheduler = Scheduler::subscribe(cluster.address(old), framework_info("eng"), &[]).await;
    let offer = scheduler.offer().await;
    assert_eq!(amount(&offer, "cpus"), 1.0, "{offer}");

    cluster.kill(old).await;
    let address = cluster.address(cluster.leader().await);
    let mut operator = admin(address).await;
    let quota = operator.get_quota(GetQuotaRequest {}).await.expect("told").into_inner().quotas;
    assert_eq!((quota.len(), &quota[0].limits), (1, &limit("eng", 1000).quotas[0].limits));
    assert_eq!(operator.get_weights(GetWeightsRequest {}).await.expect("told").into_inner().weights, weights);
    let told = operator.get_priorities(GetPrioritiesRequest {}).await.expect("told").into_inner();
    assert_eq!(told.roles, roles);
    let policy = operator.get_policy(GetPolicyRequest {}).await.expect("told").into_inner();
    assert_eq!(
        (policy.name.as_str(), policy.known),
        ("priority", vec!["drf".into(), "priority".into(), "random".into()])
    );

    let agent = agent.attach(address, &[]).await;
    let mut again =
        Scheduler::subscribe_again(address, scheduler.info_again(framework_info("eng")), None).await;
    let offer = again.offer().await;
    assert_eq!(amount(&offer, "cpus"), 1.0, "{offer}");
    let mut ops = framework_info("ops");
    ops["roles"] = json!(["ops"]);
    let mut ops = Scheduler::subscribe(address, ops, &[]).await;
    let mut offered = 0.0;
    while offered < 0.5 {
        offered += amount(&ops.offer().await, "cpus");
    }
    let state = get(address, "/state").await.json();
    assert_eq!(state["slaves"][0]["reserved_resources"]["ops"]["cpus"], 0.5, "{state}");
    let roles = get(address, "/roles").await.json();
    let eng = roles["roles"].as_array().expect("a list").iter().find(|role| role["name"] == "eng");
    assert_eq!(eng.expect("listed")["quota"]["limit"]["cpus"], 1.0);
    operator.unreserve(reservation(&agent.id, "ops", 0.5)).await.expect("its offer is taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_switched_on_a_live_cluster_and_stays_switched() {
    let cluster = Cluster::start_with(3, |options| options.allocator = "random".into()).await;
    let old = cluster.leader().await;
    let mut operator = admin(cluster.address(old)).await;
    let policy = operator.get_policy(GetPolicyRequest {}).await.expect("told").into_inner().name;
    assert_eq!(policy, "random", "a new cluster begins as its masters were told");
    let unknown = operator.set_policy(SetPolicyRequest { name: "fifo".into() }).await.expect_err("unknown");
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::InvalidArgument, "policy: there is no \"fifo\", only drf, priority, random")
    );
    operator.set_policy(SetPolicyRequest { name: "drf".into() }).await.expect("set");
    operator.transfer_leader(TransferLeaderRequest { to: 0 }).await.expect("moved");
    let new = wait_for("another leader", || async {
        let leader = cluster.leader().await;
        (leader != old).then_some(leader)
    });
    let mut operator = admin(cluster.address(new.await)).await;
    let policy = operator.get_policy(GetPolicyRequest {}).await.expect("told").into_inner().name;
    assert_eq!(policy, "drf", "the log is stronger than the flag");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_field_and_change_nothing() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let mut operator = admin(address).await;
    let mut guarantee = limit("eng", 0);
    guarantee.quotas[0].guarantees = vec![Quantity { name: "cpus".into(), thousandths: 9_000_000 }];
    guarantee.quotas[0].limits.clear();
    let denied = operator.set_quota(guarantee.clone()).await.expect_err("too much");
    assert_eq!(denied.code(), Code::FailedPrecondition);
    assert!(
        denied.message().starts_with("quota of eng: guarantees.cpus: 9000 are guaranteed in all"),
        "{denied}"
    );
    assert!(denied.metadata().get("mesarch-leader").is_none());
    let denied = operator.reserve(reservation(&agent.id, "eng", 1000.0)).await.expect_err("too much");
    assert!(denied.message().starts_with("resources: cpus:1000 is not among"), "{denied}");
    let denied = operator.reserve(reservation("x", "eng", 1.0)).await.expect_err("unknown");
    assert_eq!(denied.message(), "agent: there is no x");
    let none = operator.get_quota(GetQuotaRequest {}).await.expect("told").into_inner().quotas;
    assert_eq!(none, []);
    guarantee.force = true;
    operator.set_quota(guarantee).await.expect("forced");
}

/// The words for why a framework is offered nothing.
pub(crate) async fn why(
    operator: &mut AdminClient<Channel>,
    framework: &str,
    agent: Option<&str>,
) -> Vec<(String, Value)> {
    let request = ExplainRequest { framework: framework.into(), agent: agent.map(Into::into) };
    let reply = operator.explain(request).await.expect("explained").into_inner();
    let one = |why: mesarch_proto::admin::Why| (why.text, serde_json::from_str(&why.json).expect("JSON"));
    reply.why.into_iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_cluster_explains_why_a_framework_is_offered_nothing() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let mut operator = admin(address).await;
    let unknown = ExplainRequest { framework: "x".into(), agent: None };
    let unknown = operator.explain(unknown).await.expect_err("there is none");
    assert_eq!((unknown.code(), unknown.message()), (Code::NotFound, "framework: there is no x"));

    let mut constrained = framework_info("constrained");
    constrained["roles"] = json!(["picky"]);
    let call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": constrained, "offer_constraints":
        {"role_constraints": {"picky": {"groups": [{"attribute_constraints": [
            {"selector": {"attribute_name": "gpu-model"}, "predicate": {"exists": {}}}]}]}}}}});
    let constrained = soon("SUBSCRIBED", stream(address, &call)).await;
    let state = get(address, "/state").await.json();
    let told = &state["frameworks"][0]["offer_constraints"];
    assert_eq!(told, &call["subscribe"]["offer_constraints"], "{state}");
    let reasons = why(&mut operator, &constrained, Some(&agent.id)).await;
    assert_eq!(reasons[0].1["reason"], "constraint", "{reasons:?}");
    assert!(reasons[0].0.contains("offer constraints exclude the agent"), "{reasons:?}");

    operator.set_quota(limit("eng", 0)).await.expect("set");
    let mut limited = framework_info("limited");
    limited["offer_filters"] = json!({"eng": {"min_allocatable_resources": {"quantities": [{"quantities": {"cpus": {"value": 0.1}}}]}}});
    let limited = Scheduler::subscribe(address, limited, &[]).await;
    let reasons = why(&mut operator, &limited.framework, Some(&agent.id)).await;
    assert_eq!(reasons[0].1["reason"], "over_limit", "{reasons:?}");

    limited.accepted("SUPPRESS", json!({})).await;
    let reasons = wait_for("the suppression", || {
        let mut operator = operator.clone();
        let framework = limited.framework.clone();
        async move {
            let reasons = why(&mut operator, &framework, None).await;
            (reasons[0].1["reason"] == "suppressed").then_some(reasons)
        }
    });
    assert_eq!(reasons.await[0].1["role"], "eng");

    let mut other = framework_info("other");
    other["roles"] = json!(["ops"]);
    let mut other = Scheduler::subscribe(address, other, &[]).await;
    other.offer().await;
    let reasons = why(&mut operator, &other.framework, Some(&agent.id)).await;
    assert!(reasons.iter().any(|(_, why)| why["reason"] == "holds" && why["role"] == "ops"), "{reasons:?}");
}

/// Subscribes with a whole call; the stream stays open in a task of its own. Returns the framework's id.
async fn stream(address: SocketAddr, call: &Value) -> String {
    let body = call.to_string();
    tokio::spawn(async move { drop(request(address, "POST", SCHEDULER, &[JSON], body.as_bytes()).await) });
    wait_for("the framework", || async {
        let state = get(address, "/state").await.json();
        let known = state["frameworks"].as_array()?.iter().find(|one| one["name"] == "constrained")?;
        Some(known["id"].as_str()?.to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_known_is_named_in_place_of_an_explanation() {
    let cluster = Cluster::start(1).await;
    let mut operator = admin(cluster.address(cluster.leader().await)).await;
    let asked = ExplainRequest { framework: "nobody".into(), agent: None };
    let refused = operator.explain(asked).await.expect_err("there is none");
    assert_eq!((refused.code(), refused.message()), (Code::NotFound, "framework: there is no nobody"));
}

/// The deprecated SET_QUOTA is for a role without a quota. If it is taken, it came before the other change; if not, behind
/// it: in both cases the other one is what holds.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_of_quota_comes_between_the_look_and_the_word_of_another() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    FakeAgent::register(address).await;
    let operator = admin(address).await;
    let scalar = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}});
    for round in 0..40 {
        let role = format!("role-{round}");
        let once = json!({"type": "SET_QUOTA", "set_quota": {"quota_request": {"role": role, "force": true, "guarantee": [scalar]}}});
        let (once, mut other) = (once.to_string(), operator.clone());
        let over = limit(&role, 2000);
        let (once, over) =
            tokio::join!(request(address, "POST", "/api/v1", &[JSON], once.as_bytes()), async move {
                other.set_quota(over).await
            });
        over.expect("set");
        assert!([200, 400].contains(&once.status), "{}", once.status);
        let quotas = operator.clone().get_quota(GetQuotaRequest {}).await.expect("told").into_inner().quotas;
        let now = quotas.into_iter().find(|quota| quota.role == role).expect("there");
        assert_eq!(now.limits, limit(&role, 2000).quotas[0].limits, "round {round}: {}", once.status);
    }
}
