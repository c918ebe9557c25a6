//! What operators decide about sharing holds for the next plan, and for the next leader.

use mesarch_leader_core::{Config, Leader};
use mesarch_state::{
    Command, Outcome,
    command::{ConvertResources, OfferRules, SetPolicy, SetPriorities, SetQuota, SetWhitelist, Subscribe},
};
use mesarch_types::{
    Constraint, Constraints, Conversion, FrameworkId, Predicate, Priority, Quota, Role, Selector,
};

use crate::cluster::{Cluster, resources, subscription};

const SECOND: u64 = 1000;

fn offered(cluster: &Cluster, framework: &FrameworkId) -> String {
    let offers = cluster.state.offers().filter(|offer| offer.framework == *framework);
    let all: Vec<String> = offers.map(|offer| offer.resources.without_allocation().to_string()).collect();
    all.join(" + ")
}

fn set_quota(cluster: &mut Cluster, role: &str, guarantees: &str, limits: &str) -> Outcome {
    let amounts = |text: &str| text.parse().expect("good");
    let quota = Quota::new(role.into(), amounts(guarantees), amounts(limits)).expect("good");
    cluster.command(Command::SetQuota(SetQuota { quotas: vec![quota], force: false, there: None }))
}

fn check(cluster: &Cluster) -> &Leader {
    let leader = cluster.leader.as_ref().expect("leading");
    leader.check_index(&cluster.state).expect("the index is the state's");
    leader
}

#[test]
fn a_limit_holds_at_once_and_at_the_next_leader() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.register(1);
    cluster.pass(5);
    assert_eq!(offered(&cluster, &framework), "cpus:4;mem:4096");
    assert_eq!(set_quota(&mut cluster, "eng", "", "cpus:1.5"), Outcome::Changed { rescinded: 1 });
    cluster.pass(2 * SECOND);
    assert_eq!(offered(&cluster, &framework), "cpus:1.5;mem:4096");
    check(&cluster);
    cluster.fail_over();
    let resume = Some("stream-of-eng".into());
    cluster.subscribe(Subscribe { framework: Some(framework.clone()), resume, ..subscription("eng", 600) });
    cluster.register(2);
    cluster.pass(2 * SECOND);
    assert_eq!(offered(&cluster, &framework), "cpus:1.5;mem:4096 + mem:4096");
    set_quota(&mut cluster, "eng", "", "");
    cluster.pass(2 * SECOND);
    check(&cluster);
    let all: usize = cluster.state.offers().count();
    assert!(all > 2, "what the limit kept back is offered once it is gone");
}

#[test]
fn a_reservation_is_for_its_role_and_outlives_the_leader() {
    let mut cluster = Cluster::new(Config::default());
    let (agent, _) = cluster.register(1);
    let conversion = Conversion::Reserve(resources("cpus(ops,op):3"));
    let convert = ConvertResources { agent, conversion };
    assert_eq!(cluster.command(Command::ConvertResources(convert)), Outcome::Changed { rescinded: 0 });
    check(&cluster);
    cluster.fail_over();
    let (eng, _) = cluster.subscribe(subscription("eng", 600));
    cluster.pass(SECOND);
    assert_eq!(offered(&cluster, &eng), "cpus:1;mem:4096");
    let (ops, _) = cluster.subscribe(subscription("ops", 600));
    cluster.pass(SECOND);
    assert_eq!(offered(&cluster, &ops), "cpus(ops,op):3");
    check(&cluster);
}

#[test]
fn policy_and_priorities_decide_who_is_first_also_after_a_failover() {
    let mut cluster = Cluster::new(Config::default());
    let policy = SetPolicy { name: "priority".into() };
    cluster.command(Command::SetPolicy(policy));
    let priority = Priority::new(9).expect("in range");
    let priorities = SetPriorities { roles: vec![(Role::from("b"), priority)], frameworks: Vec::new() };
    cluster.command(Command::SetPriorities(priorities));
    cluster.fail_over();
    let (first, _) = cluster.subscribe(subscription("a", 600));
    let (second, _) = cluster.subscribe(subscription("b", 600));
    cluster.register(1);
    cluster.pass(5);
    assert_eq!(
        (offered(&cluster, &first), offered(&cluster, &second)),
        ("".into(), "cpus:4;mem:4096".into())
    );
    let why = cluster.leader.as_mut().expect("leading").explain(&first, None, cluster.now);
    assert_eq!(why.len(), 1, "{why:?}");
    assert_eq!(check(&cluster).unknown_policy(), None);
}

#[test]
fn a_leader_that_does_not_know_the_policy_says_so_and_goes_by_the_default() {
    let mut cluster = Cluster::new(Config::default());
    cluster.command(Command::SetPolicy(SetPolicy { name: "theirs".into() }));
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.register(1);
    cluster.pass(5);
    assert_eq!(offered(&cluster, &framework), "cpus:4;mem:4096");
    assert_eq!(check(&cluster).unknown_policy(), Some("theirs"));
}

#[test]
fn the_whitelist_and_a_frameworks_own_rules_keep_agents_from_it() {
    let mut cluster = Cluster::new(Config::default());
    let hosts = Some(["h1".into(), "h2".into()].into());
    cluster.command(Command::SetWhitelist(SetWhitelist { hosts }));
    let wanted = Constraint { selector: Selector::Hostname, predicate: Predicate::TextEquals("h2".into()) };
    let rules = OfferRules {
        constraints: [(Role::from("eng"), Constraints::new(vec![vec![wanted]]).expect("one"))].into(),
        min_allocatable: [(Role::from("eng"), vec!["cpus:4".parse().expect("good")])].into(),
    };
    let mut subscribe = subscription("eng", 600);
    subscribe.spec.rules = rules.into();
    let (framework, _) = cluster.subscribe(subscribe);
    let agents: Vec<_> = (1..=3).map(|nonce| cluster.register(nonce).0).collect();
    cluster.pass(5);
    assert_eq!(cluster.state.offers().map(|offer| &offer.agent).collect::<Vec<_>>(), [&agents[1]]);
    cluster.command(Command::SetWhitelist(SetWhitelist { hosts: None }));
    cluster.pass(2 * SECOND);
    assert_eq!(cluster.state.offers().count(), 1);
    let now = cluster.now;
    let why = cluster.leader.as_mut().expect("leading").explain(&framework, Some(&agents[2]), now);
    let expect =
        format!("role eng, agent {}: the framework's offer constraints exclude the agent", agents[2]);
    assert_eq!(why[0].to_string(), expect);
    check(&cluster);
}
