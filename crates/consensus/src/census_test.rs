use super::*;
use crate::status::Replication;

const LEADER: NodeId = NodeId(1);

fn info(node: u64) -> NodeInfo {
    NodeInfo { raft: format!("m{node}:5052"), client: format!("m{node}:5050") }
}

fn named(nodes: &[u64]) -> BTreeMap<NodeId, NodeInfo> {
    nodes.iter().map(|node| (NodeId(*node), info(*node))).collect()
}

fn members(voters: &[u64], learners: &[u64]) -> Members {
    Members { voters: named(voters), learners: named(learners) }
}

/// Node 1 leads and has entry 5,000; of the others: matched, silence.
fn status(members: Members, others: &[(u64, u64, u64)]) -> Status {
    let replication = others.iter().map(|(node, matched, silent_ms)| {
        (NodeId(*node), Replication { matched: Some(*matched), silent_ms: Some(*silent_ms) })
    });
    let replication = replication.collect();
    Status { role: Role::Leader, last_log: Some(5_000), members, replication, ..Status::blank(LEADER) }
}

fn census() -> Census {
    Census::new(Timing::default())
}

#[test]
fn a_voter_goes_only_while_a_majority_of_the_rest_is_healthy() {
    let quorum =
        |node, healthy, voters, needed| Err(Rule::Quorum { node: NodeId(node), healthy, voters, needed });
    /// Voters; who of the others is away; who is to go; what comes of it.
    type Case<'a> = (&'a [u64], &'a [u64], u64, Result<(), Rule>);
    let table: &[Case<'_>] = &[
        (&[1, 2, 3], &[], 2, Ok(())),
        (&[1, 2, 3], &[2], 2, Ok(())),
        (&[1, 2, 3], &[3], 2, quorum(2, 1, 2, 2)),
        (&[1, 2, 3], &[], 9, Err(Rule::NotAMember(NodeId(9)))),
        (&[1, 2, 3, 4, 5], &[4, 5], 4, Ok(())),
        (&[1, 2, 3, 4, 5], &[4, 5], 2, quorum(2, 2, 4, 3)),
        (&[1, 2], &[2], 2, Ok(())),
        (&[1, 2], &[], 1, Ok(())),
        (&[1, 2], &[2], 1, quorum(1, 0, 1, 1)),
        (&[1], &[], 1, Err(Rule::LastVoter(LEADER))),
        // A learner, number 7, is nobody's majority.
        (&[1, 2, 3], &[2, 3], 7, Ok(())),
    ];
    for (voters, away, node, expect) in table {
        let others = voters.iter().filter(|voter| **voter != 1);
        let others = others.map(|voter| (*voter, 5_000, if away.contains(voter) { 60_000 } else { 10 }));
        let status = status(members(voters, &[7]), &others.collect::<Vec<_>>());
        let found = may_remove(&status.members, &census().look(&status), NodeId(*node));
        assert_eq!(&found, expect, "{voters:?} without {node}, away: {away:?}");
    }
}

#[test]
fn a_learner_votes_once_it_answers_and_has_the_log() {
    let table = [
        (4_999, 10, Ok(())),
        (4_000, 10, Ok(())),
        (3_999, 10, Err(Rule::Lags { node: NodeId(4), lag: 1_001 })),
        (5_000, 60_000, Err(Rule::Silent(NodeId(4)))),
    ];
    for (matched, silent_ms, expect) in table {
        let status = status(members(&[1], &[4]), &[(4, matched, silent_ms)]);
        let found = may_promote(&status.members, &census().look(&status), NodeId(4));
        assert_eq!(found, expect, "{matched} {silent_ms}");
    }
    let unknown = status(members(&[1], &[4]), &[]);
    let health = census().look(&unknown);
    assert_eq!(may_promote(&unknown.members, &health, NodeId(4)), Err(Rule::Silent(NodeId(4))));
    assert_eq!(may_promote(&unknown.members, &health, NodeId(5)), Err(Rule::NotAMember(NodeId(5))));
    assert_eq!(may_promote(&unknown.members, &health, LEADER), Ok(()), "it votes already");
}

#[test]
fn a_new_member_brings_its_own_id_and_addresses() {
    let known = members(&[1, 2], &[3]);
    let taken =
        |address: &str, node| Err(Rule::AddressTaken { address: address.to_owned(), node: NodeId(node) });
    let half = NodeInfo { raft: "m9:5052".into(), client: "m2:5050".into() };
    for (node, info, expect) in [
        (4, info(4), Ok(false)),
        (3, info(3), Ok(true)),
        (3, info(4), Err(Rule::OtherAddress(NodeId(3)))),
        (4, info(3), taken("m3:5052", 3)),
        (4, half, taken("m2:5050", 2)),
    ] {
        assert_eq!(may_add(&known, NodeId(node), &info), expect, "{node} {info}");
    }
}

#[test]
fn health_is_told_with_how_long_it_lasts_and_only_by_a_leader() {
    let (census, began) = (census(), Instant::now());
    let at = |ms: u64| began + Duration::from_millis(ms);
    let look = |silent_ms: u64, now: u64| {
        let status = status(members(&[1, 2], &[]), &[(2, 5_000, silent_ms)]);
        let health = census.look_at(&status, at(now))[&NodeId(2)];
        (health.healthy, health.for_ms)
    };
    assert_eq!(look(10, 0), (true, 0));
    assert_eq!(look(10, 700), (true, 700));
    assert_eq!(look(3_000, 1_000), (false, 0));
    assert_eq!(look(9_000, 7_000), (false, 6_000));
    let mut follower = status(members(&[1, 2], &[]), &[]);
    follower.role = Role::Follower;
    assert!(census.look_at(&follower, at(7_000)).is_empty());
    assert_eq!(look(10, 8_000), (true, 0), "another reign begins anew");
}
