//! Agents that are given up, and when they are not.

use mesarch_leader_core::{CloseReason, Config, Input, Output, REMOVAL_GUARD_FLOOR, ToAgent};
use mesarch_state::command::Link;
use mesarch_types::{AgentId, Millis};

use crate::cluster::Cluster;

const SECOND: u64 = 1000;

fn agents(cluster: &Cluster) -> usize {
    cluster.state.agents().count()
}

/// Lets time pass while `answering` links answer their pings.
fn pass(cluster: &mut Cluster, secs: u64, answering: &[Link]) {
    for _ in 0..secs {
        cluster.pass(SECOND);
        for output in cluster.take_outputs() {
            if let Output::Send { link, message: ToAgent::Ping { number } } = output
                && answering.contains(&link)
            {
                cluster.input(Input::Pong { link, number });
            }
        }
    }
}

fn crowd(config: Config, count: u8) -> (Cluster, Vec<(AgentId, Link)>) {
    let mut cluster = Cluster::new(config);
    let crowd = (0..count).map(|nonce| cluster.register(nonce)).collect();
    (cluster, crowd)
}

#[test]
fn an_agent_that_answers_no_ping_for_75_seconds_is_unreachable() {
    let (mut cluster, crowd) = crowd(Config::default(), 2);
    let (silent, alive) = (&crowd[0], &crowd[1]);
    pass(&mut cluster, 70, &[alive.1]);
    assert_eq!(agents(&cluster), 2);
    pass(&mut cluster, 22, &[alive.1]);
    assert!(cluster.state.agent(&silent.0).is_none());
    assert!(cluster.state.agent(&alive.0).is_some());
}

#[test]
fn one_answer_is_enough_to_stay() {
    let (mut cluster, crowd) = crowd(Config::default(), 1);
    for _ in 0..5 {
        pass(&mut cluster, 60, &[]);
        pass(&mut cluster, 16, &[crowd[0].1]);
    }
    assert_eq!(agents(&cluster), 1);
}

#[test]
fn the_link_of_an_unreachable_agent_is_closed() {
    let (mut cluster, crowd) = crowd(Config::default(), 1);
    cluster.pass(95 * SECOND);
    let closed = Output::CloseLink { link: crowd[0].1, reason: CloseReason::Unreachable };
    assert!(cluster.outputs.contains(&closed));
}

#[test]
fn a_detached_agent_has_ten_minutes_and_a_new_term_gives_them_again() {
    for failover in [false, true] {
        let (mut cluster, crowd) = crowd(Config::default(), 1);
        cluster.input(Input::LinkClosed { link: crowd[0].1 });
        pass(&mut cluster, 300, &[]);
        if failover {
            cluster.fail_over();
        }
        pass(&mut cluster, 299, &[]);
        assert_eq!(agents(&cluster), 1);
        pass(&mut cluster, 3, &[]);
        assert_eq!(agents(&cluster), usize::from(failover));
        pass(&mut cluster, 300, &[]);
        assert_eq!(agents(&cluster), 0);
    }
}

#[test]
fn removals_keep_to_their_rate() {
    let config = Config { agent_removals_per_second_max: 5, removal_guard_percent: 100, ..Config::default() };
    let (mut cluster, crowd) = crowd(config, 20);
    for (_, link) in &crowd {
        cluster.input(Input::LinkClosed { link: *link });
    }
    cluster.pass(601 * SECOND);
    assert_eq!(agents(&cluster), 15);
    cluster.pass(2 * SECOND);
    assert_eq!(agents(&cluster), 5);
    cluster.pass(SECOND);
    assert_eq!(agents(&cluster), 0);
}

#[test]
fn a_mass_absence_is_suspected_to_be_our_own_fault() {
    let (mut cluster, crowd) = crowd(Config::default(), 20);
    let (away, rest) = crowd.split_at(REMOVAL_GUARD_FLOOR + 1);
    let alive: Vec<Link> = rest.iter().map(|(_, link)| *link).collect();
    for (_, link) in away {
        cluster.input(Input::LinkClosed { link: *link });
    }
    pass(&mut cluster, 700, &alive);
    assert_eq!(agents(&cluster), 20);
    assert_eq!(cluster.leader.as_ref().expect("leading").counters().removals_held, away.len() as u64);
}

#[test]
fn a_few_absences_are_not() {
    let (mut cluster, crowd) = crowd(Config::default(), 3);
    for (_, link) in &crowd {
        cluster.input(Input::LinkClosed { link: *link });
    }
    pass(&mut cluster, 602, &[]);
    assert_eq!(agents(&cluster), 0);
}

#[test]
fn pings_are_numbered_and_spread() {
    let (mut cluster, _) = crowd(Config::default(), 8);
    cluster.take_outputs();
    let mut first = Vec::new();
    for millis in (0..15 * SECOND).step_by(500) {
        cluster.pass(500);
        let pings = cluster.take_outputs().into_iter();
        first.extend(
            pings
                .filter(|output| matches!(output, Output::Send { message: ToAgent::Ping { number: 1 }, .. }))
                .map(|_| millis),
        );
    }
    assert_eq!(first.len(), 8, "each link has had its first ping after one interval");
    first.dedup();
    assert!(first.len() >= 5, "not all at once: {first:?}");
    assert_eq!(cluster.now, Millis(15 * SECOND));
}
