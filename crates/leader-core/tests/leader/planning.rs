//! Plans: when they are made, in which pieces, and what ends them.

use mesarch_leader_core::{Config, Input, Output, PlanInFlight};
use mesarch_state::{
    Command, Effect, Outcome,
    command::{DeclineOffers, FrameworkRoles, IssueOffers, Refuse, Subscribe},
};
use mesarch_types::{Epoch, FrameworkId, Millis, OfferId};

use crate::cluster::{Cluster, subscription};

const SECOND: u64 = 1000;

fn plans(cluster: &Cluster) -> Vec<&IssueOffers> {
    fn plan(command: &Command) -> Option<&IssueOffers> {
        match command {
            Command::IssueOffers(plan) => Some(plan),
            _ => None,
        }
    }
    cluster.proposed.iter().filter_map(plan).collect()
}

fn in_flight(cluster: &Cluster) -> Option<PlanInFlight> {
    cluster.leader.as_ref().expect("leading").plan_in_flight()
}

fn offers(cluster: &Cluster, framework: &FrameworkId) -> Vec<OfferId> {
    cluster.state.framework(framework).expect("known").offers.iter().cloned().collect()
}

fn decline(cluster: &mut Cluster, framework: &FrameworkId, refuse: Millis) {
    let offers = offers(cluster, framework);
    let refuse = Refuse { duration: refuse };
    let framework = framework.clone();
    cluster.command(Command::DeclineOffers(DeclineOffers { framework, offers, refuse }));
}

#[test]
fn new_agents_are_offered_at_once_and_only_after_the_log_has_it() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.take_outputs();
    cluster.register(1);
    cluster.pass(5);
    let offer = offers(&cluster, &framework).pop().expect("offered");
    let sent = Output::Perform(Effect::SendOffer { framework, offer });
    assert!(cluster.outputs.contains(&sent));
}

#[test]
fn nothing_is_planned_while_a_plan_is_in_flight() {
    let mut cluster = Cluster::new(Config::default());
    cluster.subscribe(subscription("eng", 600));
    let link = cluster.link();
    let spec = crate::cluster::agent_spec("h1", "cpus:4");
    let hello = mesarch_leader_core::Hello::Register { nonce: [1; 16], spec };
    cluster.step(Input::LinkOpened { link, hello });
    cluster.apply_next();
    cluster.now = Millis(10);
    cluster.step(Input::Wake);
    assert_eq!((cluster.queue.len(), plans(&cluster).len()), (1, 1), "the plan is in flight");
    let flying = in_flight(&cluster).expect("the plan is in flight");
    assert_eq!(flying.offers, 1);
    // Another agent comes; neither it nor time makes another plan before the first one is applied.
    let waiting = cluster.queue.pop_front().expect("the plan");
    for secs in 1..60 {
        cluster.now = Millis(secs * SECOND);
        cluster.step(Input::Wake);
    }
    assert_eq!(plans(&cluster).len(), 1);
    cluster.register(2);
    assert_eq!((plans(&cluster).len(), in_flight(&cluster)), (1, Some(flying)));
    cluster.queue.push_back(waiting);
    cluster.settle();
    assert_ne!(in_flight(&cluster), Some(flying), "it has landed");
    cluster.pass(10);
    assert!(plans(&cluster).len() >= 2, "what gathered meanwhile is planned now");
    assert_eq!(cluster.state.offers().count(), 2);
}

#[test]
fn pieces_are_bounded() {
    let mut cluster = Cluster::new(Config::default());
    for number in 0..300_u32 {
        let link = cluster.link();
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&number.to_le_bytes());
        let spec = crate::cluster::agent_spec(&format!("h{number}"), "cpus:4;mem:4096");
        cluster
            .input(Input::LinkOpened { link, hello: mesarch_leader_core::Hello::Register { nonce, spec } });
    }
    cluster.subscribe(subscription("eng", 600));
    cluster.pass(10);
    let sizes: Vec<usize> = plans(&cluster).iter().map(|plan| plan.items.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 300);
    assert!(sizes.iter().all(|size| *size <= 256), "{sizes:?}");
    assert_eq!(cluster.state.offers().count(), 300);
}

#[test]
fn declined_resources_wait_for_the_interval() {
    let mut cluster = Cluster::new(Config::default());
    cluster.register(1);
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.pass(1500);
    let first = offers(&cluster, &framework);
    decline(&mut cluster, &framework, Millis::ZERO);
    cluster.pass(100);
    assert_eq!(offers(&cluster, &framework), []);
    cluster.pass(2 * SECOND);
    assert_ne!(offers(&cluster, &framework), first);
    assert_eq!(offers(&cluster, &framework).len(), 1);
}

#[test]
fn short_refusals_are_the_leaders_and_long_ones_survive_it() {
    for (refuse_secs, survives) in [(9, false), (60, true)] {
        let mut cluster = Cluster::new(Config::default());
        cluster.register(1);
        let (framework, _) = cluster.subscribe(subscription("eng", 600));
        cluster.pass(1500);
        decline(&mut cluster, &framework, Millis::from_secs(refuse_secs));
        cluster.pass(4 * SECOND);
        assert_eq!(offers(&cluster, &framework), [], "refused for {refuse_secs} s");
        cluster.fail_over();
        cluster.pass(3 * SECOND);
        assert_eq!(offers(&cluster, &framework).is_empty(), survives, "refused for {refuse_secs} s");
    }
}

#[test]
fn refusals_end_by_time_and_by_revive() {
    for revive in [false, true] {
        let mut cluster = Cluster::new(Config::default());
        cluster.register(1);
        let (framework, _) = cluster.subscribe(subscription("eng", 600));
        cluster.pass(1500);
        decline(&mut cluster, &framework, Millis::from_secs(8));
        cluster.pass(2 * SECOND);
        if revive {
            let roles = [].into();
            cluster.command(Command::Revive(FrameworkRoles { framework: framework.clone(), roles }));
        }
        cluster.pass(2 * SECOND);
        assert_eq!(offers(&cluster, &framework).len(), usize::from(revive));
        cluster.pass(6 * SECOND);
        assert_eq!(offers(&cluster, &framework).len(), 1);
    }
}

#[test]
fn a_refused_piece_is_planned_again_on_what_is_true_now() {
    let mut cluster = Cluster::new(Config::default());
    cluster.register(1);
    cluster.step(Input::Wake);
    let Outcome::Subscribed { framework, stream, .. } =
        cluster.command_unsettled(Command::Subscribe(subscription("eng", 600)))
    else {
        panic!("subscribed")
    };
    cluster.step(Input::StreamOpened { framework: framework.clone(), epoch: stream });
    cluster.now = Millis(10);
    cluster.step(Input::Wake);
    assert_eq!(cluster.queue.len(), 1, "a plan waits for its place in the log");
    // The framework subscribes again: the plan names an older version of it.
    let again = Subscribe { framework: Some(framework.clone()), ..subscription("eng", 600) };
    let Outcome::Subscribed { stream, .. } = cluster.command_unsettled(Command::Subscribe(again)) else {
        panic!("subscribed")
    };
    cluster.step(Input::StreamOpened { framework: framework.clone(), epoch: stream });
    cluster.settle();
    cluster.pass(3 * SECOND);
    let counters = cluster.leader.as_ref().expect("leading").counters();
    assert_eq!(counters.offers_refused, 1);
    assert_eq!(offers(&cluster, &framework).len(), 1);
}

#[test]
fn a_lost_piece_is_planned_again() {
    let mut cluster = Cluster::new(Config::default());
    cluster.register(1);
    cluster.lose = 3;
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.pass(3 * SECOND);
    assert_eq!(cluster.lose, 0);
    assert_eq!(offers(&cluster, &framework).len(), 1);
}

#[test]
fn an_idle_leader_sleeps() {
    let mut cluster = Cluster::new(Config::default());
    cluster.register(1);
    let (framework, epoch) = cluster.subscribe(subscription("eng", 600));
    cluster.pass(10 * SECOND);
    assert_eq!(offers(&cluster, &framework).len(), 1);
    let wake = cluster.leader.as_ref().expect("leading").next_wake().expect("pings go on");
    assert!(wake > cluster.now, "{wake:?} at {:?}", cluster.now);
    assert_ne!(epoch, Epoch::default());
}

#[test]
fn a_suppressed_framework_is_offered_nothing_by_the_next_leader_until_it_revives() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    let roles = FrameworkRoles { framework: framework.clone(), roles: [].into() };
    cluster.command(Command::Suppress(roles.clone()));
    cluster.register(1);
    cluster.fail_over();
    cluster.pass(2 * SECOND);
    assert_eq!(offers(&cluster, &framework), []);
    cluster.command(Command::Revive(roles));
    cluster.pass(2 * SECOND);
    assert_eq!(offers(&cluster, &framework).len(), 1);
}
