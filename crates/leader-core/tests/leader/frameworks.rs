//! Streams, absences and their ends.

use mesarch_leader_core::{Config, Input, Output};
use mesarch_state::{
    Command, Effect,
    command::{EventsDelivered, RescindOffers, Subscribe},
    model::Connection,
};
use mesarch_types::{Epoch, FrameworkId, Millis, StreamId};

use crate::cluster::{Cluster, subscription};

const SECOND: u64 = 1000;
const REREGISTER: u64 = 600 * SECOND;

fn is_known(cluster: &Cluster, framework: &FrameworkId) -> bool {
    cluster.state.framework(framework).is_some()
}

fn return_of(framework: &FrameworkId, name: &str, resume: bool) -> Subscribe {
    let stream = StreamId::from(format!("stream-of-{name}"));
    Subscribe {
        framework: Some(framework.clone()),
        resume: resume.then_some(stream),
        stream: StreamId::from("another"),
        ..subscription(name, 0)
    }
}

#[test]
fn a_framework_expires_after_its_own_timeout_and_not_before() {
    for (failover_secs, passes_ms, remains) in
        [(0, 10, false), (30, 29 * SECOND, true), (30, 31 * SECOND, false)]
    {
        let mut cluster = Cluster::new(Config::default());
        let (framework, epoch) = cluster.subscribe(subscription("eng", failover_secs));
        cluster.input(Input::StreamClosed { framework: framework.clone(), epoch });
        cluster.pass(passes_ms);
        assert_eq!(is_known(&cluster, &framework), remains, "{failover_secs} s, after {passes_ms} ms");
    }
}

#[test]
fn time_without_a_leader_never_counts_against_a_framework() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, _) = cluster.subscribe(subscription("eng", 0));
    for _ in 0..10 {
        cluster.fail_over();
        cluster.pass(REREGISTER - SECOND);
        assert!(is_known(&cluster, &framework));
    }
    cluster.subscribe(return_of(&framework, "eng", false));
    cluster.pass(2 * REREGISTER);
    assert!(is_known(&cluster, &framework));
    cluster.fail_over();
    cluster.pass(REREGISTER + SECOND);
    assert!(!is_known(&cluster, &framework));
}

#[test]
fn one_that_had_left_long_before_still_expires() {
    let mut cluster = Cluster::new(Config::default());
    let (short, epoch) = cluster.subscribe(subscription("short", 1000));
    cluster.input(Input::StreamClosed { framework: short.clone(), epoch });
    cluster.pass(900 * SECOND);
    cluster.fail_over();
    cluster.pass(REREGISTER - SECOND);
    assert!(is_known(&cluster, &short), "the term has its own grace");
    cluster.pass(2 * SECOND);
    assert!(!is_known(&cluster, &short));
}

#[test]
fn a_framework_that_is_back_in_the_term_has_its_own_timeout_again() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, _) = cluster.subscribe(subscription("eng", 0));
    cluster.fail_over();
    let (_, epoch) = cluster.subscribe(return_of(&framework, "eng", false));
    cluster.input(Input::StreamClosed { framework: framework.clone(), epoch });
    cluster.pass(10);
    assert!(!is_known(&cluster, &framework));
}

#[test]
fn a_late_end_of_a_stream_does_not_undo_a_newer_one() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, first) = cluster.subscribe(subscription("eng", 0));
    cluster.subscribe(return_of(&framework, "eng", false));
    cluster.input(Input::StreamClosed { framework: framework.clone(), epoch: first });
    cluster.pass(10 * SECOND);
    assert!(cluster.state.framework(&framework).expect("known").is_connected());
}

#[test]
fn a_subscription_that_nobody_serves_ends() {
    let mut cluster = Cluster::new(Config::default());
    let mesarch_state::Outcome::Subscribed { framework, .. } =
        cluster.command(Command::Subscribe(subscription("eng", 600)))
    else {
        panic!("subscribed")
    };
    cluster.pass(4 * SECOND);
    assert!(cluster.state.framework(&framework).expect("known").is_connected());
    cluster.pass(2 * SECOND);
    assert!(!cluster.state.framework(&framework).expect("known").is_connected());
}

#[test]
fn offers_survive_the_leader_for_those_who_resume_in_time() {
    for (back_after_ms, resume, kept) in
        [(SECOND, true, true), (SECOND, false, false), (6 * SECOND, true, false)]
    {
        let mut cluster = Cluster::new(Config::default());
        cluster.register(1);
        let (framework, _) = cluster.subscribe(subscription("eng", 600));
        cluster.pass(2 * SECOND);
        let offers = cluster.state.framework(&framework).expect("known").offers.clone();
        assert_eq!(offers.len(), 1);
        cluster.fail_over();
        cluster.pass(back_after_ms);
        cluster.take_outputs();
        cluster.subscribe(return_of(&framework, "eng", resume));
        let now = cluster.state.framework(&framework).expect("known").offers.clone();
        assert_eq!(now == offers, kept, "back after {back_after_ms} ms, resuming: {resume}");
        let offer = offers.iter().next().expect("one").clone();
        let again = Output::Perform(Effect::SendOffer { framework, offer });
        assert_eq!(cluster.outputs.contains(&again), kept);
    }
}

#[test]
fn absent_frameworks_get_no_offers_after_the_grace() {
    let mut cluster = Cluster::new(Config::default());
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.fail_over();
    cluster.pass(6 * SECOND);
    cluster.register(1);
    cluster.pass(2 * SECOND);
    let known = cluster.state.framework(&framework).expect("known");
    assert!(known.offers.is_empty());
    assert!(matches!(known.connection, Connection::Disconnected { .. }));
}

#[test]
fn deliveries_are_recorded_together() {
    let mut cluster = Cluster::new(Config::default());
    cluster.register(1);
    let (framework, epoch) = cluster.subscribe(subscription("eng", 600));
    cluster.pass(2 * SECOND);
    let offers: Vec<_> = cluster.state.offers().map(|offer| offer.id.clone()).collect();
    cluster.command(Command::RescindOffers(RescindOffers { offers }));
    let proposed = cluster.proposed.len();
    let outbox: Vec<_> = cluster.state.framework(&framework).expect("known").outbox.keys().copied().collect();
    assert_eq!(outbox.len(), 1);
    for up_to in &outbox {
        cluster.input(Input::Delivered { framework: framework.clone(), epoch, up_to: *up_to });
    }
    assert_eq!(cluster.state.framework(&framework).expect("known").outbox.len(), 1, "not at once");
    cluster.pass(60);
    assert!(cluster.state.framework(&framework).expect("known").outbox.is_empty());
    let delivered = |command: &&Command| matches!(command, Command::EventsDelivered(EventsDelivered { .. }));
    assert_eq!(cluster.proposed[proposed..].iter().filter(delivered).count(), 1);
}

#[test]
fn offers_may_not_be_outstanding_for_longer_than_allowed() {
    let timeout = Some(Millis(5 * SECOND));
    let mut cluster = Cluster::new(Config { offer_timeout: timeout, ..Config::default() });
    cluster.register(1);
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.pass(10);
    let offer = cluster.state.offers().next().expect("offered at once").id.clone();
    cluster.pass(4 * SECOND);
    assert!(cluster.state.offer(&offer).is_some());
    cluster.take_outputs();
    cluster.pass(SECOND);
    assert!(cluster.state.offer(&offer).is_none());
    let told = |output: &Output| matches!(output, Output::Perform(Effect::SendOutbox { framework: to, .. }) if *to == framework);
    assert!(cluster.outputs.iter().any(told), "a RESCIND follows");
}

#[test]
fn effects_for_frameworks_that_are_away_are_left_to_their_return() {
    let mut cluster = Cluster::new(Config::default());
    cluster.register(1);
    let (framework, _) = cluster.subscribe(subscription("eng", 600));
    cluster.fail_over();
    cluster.pass(2 * SECOND);
    assert!(!cluster.outputs.iter().any(|output| matches!(output, Output::Perform(_))));
    let (_, epoch) = cluster.subscribe(return_of(&framework, "eng", true));
    assert!(cluster.outputs.iter().any(|output| matches!(output, Output::Perform(Effect::SendOffer { .. }))));
    assert_ne!(epoch, Epoch::default());
}

/// What is left of an agent that is away, a framework that has left and one that stays after a story with two leaders.
fn story(jump: impl Fn(&mut Cluster)) -> Vec<(bool, bool, bool)> {
    let mut cluster = Cluster::new(Config::default());
    let (agent, link) = cluster.register(1);
    let (stays, _) = cluster.subscribe(subscription("stays", 0));
    let (leaves, epoch) = cluster.subscribe(subscription("leaves", 300));
    cluster.input(Input::StreamClosed { framework: leaves.clone(), epoch });
    cluster.input(Input::LinkClosed { link });
    jump(&mut cluster);
    let mut seen = Vec::new();
    for step in 0..16 {
        cluster.pass(100 * SECOND);
        seen.push((
            cluster.state.agent(&agent).is_some(),
            is_known(&cluster, &stays),
            is_known(&cluster, &leaves),
        ));
        if step == 1 {
            cluster.fail_over();
            jump(&mut cluster);
        }
    }
    seen
}

#[test]
fn wall_clocks_that_jump_by_an_hour_end_nobody_sooner_or_later() {
    const HOUR: u64 = 3_600_000;
    let steady = story(|_| {});
    assert_eq!((steady[2], steady[15]), ((true, true, true), (false, false, false)));
    assert_eq!(story(|cluster| cluster.wall.0 += HOUR), steady, "forward");
    assert_eq!(story(|cluster| cluster.wall.0 = cluster.wall.0.saturating_sub(HOUR)), steady, "back");
}
