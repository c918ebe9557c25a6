//! Who stops when replicas that applied the same log came to different states.
//!
//! Some entries of the log are *checkpoints* ([`is_checkpoint`]): which ones follows from the log alone, so all replicas
//! take the digest of their state after the same entries. They tell each other, and each judges *itself* only:
//!
//! - A majority of those who voted at that entry has one digest, and this replica has another: it must stop.
//! - No majority has the same: nobody can say who is right, and nobody stops. It is told, and the next checkpoint, with
//!   those that were away now, may decide.
//!
//! Why that is right whatever the network does: the state after an entry, and who votes at it, are facts that never
//! change, and two majorities of the same voters share one, so at most one digest can ever win an entry. Lost messages
//! only delay the verdict, late and repeated ones say the same again, and nobody counts for others, so it does not matter
//! who leads, nor whether it is the leader that differs. A replica without a digest for an entry (it was away, began from
//! a later snapshot, was too busy, or is of a version that takes none) has no voice and is not judged. Nothing of this is
//! in the log, so it needs no feature level.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_types::{Millis, NodeId};

/// Checkpoints that a replica remembers, its own and each of the others'. More than one, for those that lag.
pub const CHECKPOINTS_KEPT: usize = 8;
/// Most other replicas that are listened to.
const REPLICAS_MAX: usize = 64;

/// Whether an entry that moved cluster time from `before` to `after` is a checkpoint: the first one in each period of
/// `every`. Cluster time and not a number of entries, because what a digest costs is bounded in time: most on a large
/// state, and just as much on one that is busy. Never, if `every` is zero.
pub fn is_checkpoint(before: Millis, after: Millis, every: Millis) -> bool {
    every > Millis::ZERO && before.0 / every.0 != after.0 / every.0
}

/// The digest of one replica's state after one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Log index of the entry.
    pub index: u64,
    /// [`State::digest`](crate::State::digest) after it.
    pub digest: u128,
}

/// Who votes at an entry: one set, or two while the members change; a majority has to be one of each.
pub type Voters = Vec<BTreeSet<NodeId>>;

/// What is known about one checkpoint of this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A majority came to the same state. Final.
    Agrees,
    /// A majority came to another state: this replica must stop.
    Differs {
        /// This replica's digest.
        ours: u128,
        /// The majority's.
        theirs: u128,
    },
    /// All voters have told, and no majority of them came to one state.
    Split,
    /// It was forgotten before enough others had told.
    Undecided,
    /// This replica agrees with a majority, and another one does not: that one stops itself as soon as it hears.
    OtherDiffers {
        /// Which one.
        node: NodeId,
        /// Its digest.
        theirs: u128,
    },
}

/// The digests of this replica and what the others told.
#[derive(Clone, Debug)]
pub struct Comparison {
    me: NodeId,
    own: BTreeMap<u64, Own>,
    others: BTreeMap<NodeId, BTreeMap<u64, u128>>,
}

#[derive(Clone, Debug)]
struct Own {
    digest: u128,
    voters: Voters,
    /// The last verdict that was given.
    verdict: Option<Verdict>,
    /// Those that were told to differ from a majority.
    differing: BTreeSet<NodeId>,
}

impl Comparison {
    /// Of the replica `me`, which has no digest yet.
    pub fn new(me: NodeId) -> Self {
        Self { me, own: BTreeMap::new(), others: BTreeMap::new() }
    }

    /// Takes this replica's digest in; `voters` are those at that entry. What follows, by log index, each once.
    pub fn computed(&mut self, checkpoint: Checkpoint, voters: Voters) -> Vec<(u64, Verdict)> {
        let own = Own { digest: checkpoint.digest, voters, verdict: None, differing: BTreeSet::new() };
        self.own.insert(checkpoint.index, own);
        let mut verdicts = self.judge();
        while self.own.len() > CHECKPOINTS_KEPT
            && let Some((index, forgotten)) = self.own.pop_first()
        {
            verdicts.extend(forgotten.verdict.is_none().then_some((index, Verdict::Undecided)));
        }
        verdicts
    }

    /// Takes in what `from` told; the newest word on an entry counts. What follows, by log index, each once.
    pub fn told(&mut self, from: NodeId, checkpoints: &[Checkpoint]) -> Vec<(u64, Verdict)> {
        if from == self.me || (self.others.len() >= REPLICAS_MAX && !self.others.contains_key(&from)) {
            return Vec::new();
        }
        let known = self.others.entry(from).or_default();
        for checkpoint in checkpoints {
            known.insert(checkpoint.index, checkpoint.digest);
            if known.len() > CHECKPOINTS_KEPT {
                known.pop_first();
            }
        }
        self.judge()
    }

    /// What this replica has to tell.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        self.own.iter().map(|(index, own)| Checkpoint { index: *index, digest: own.digest }).collect()
    }

    /// Whether there is a checkpoint on which there is no verdict, so that asking the others makes sense.
    pub fn is_open(&self) -> bool {
        self.own.values().any(|own| own.verdict.is_none())
    }

    fn judge(&mut self) -> Vec<(u64, Verdict)> {
        let mut news = Vec::new();
        let Self { me, own, others } = self;
        for (index, own) in own.iter_mut() {
            let mut said: BTreeMap<NodeId, u128> =
                others.iter().filter_map(|(node, told)| Some((*node, *told.get(index)?))).collect();
            said.insert(*me, own.digest);
            news.extend(own.judge(&said).into_iter().map(|verdict| (*index, verdict)));
        }
        news
    }
}

impl Own {
    /// What is new, now that this was `said`.
    fn judge(&mut self, said: &BTreeMap<NodeId, u128>) -> Vec<Verdict> {
        let mut news = Vec::new();
        if self.verdict != Some(Verdict::Agrees) {
            let verdict = verdict(self.digest, &self.voters, said);
            if verdict.is_some() && verdict != self.verdict {
                self.verdict = verdict;
                news.extend(verdict);
            }
        }
        if self.verdict == Some(Verdict::Agrees) {
            let differ = said.iter().filter(|(_, digest)| **digest != self.digest);
            let new = differ.filter(|(node, _)| self.differing.insert(**node));
            news.extend(new.map(|(node, theirs)| Verdict::OtherDiffers { node: *node, theirs: *theirs }));
        }
        news
    }
}

/// None: not enough have told.
fn verdict(ours: u128, voters: &Voters, said: &BTreeMap<NodeId, u128>) -> Option<Verdict> {
    let digests: BTreeSet<u128> = said.values().copied().collect();
    let winner = digests.into_iter().find(|digest| {
        let agrees = |node: &&NodeId| said.get(*node) == Some(digest);
        !voters.is_empty() && voters.iter().all(|set| set.iter().filter(agrees).count() * 2 > set.len())
    });
    let all_told = voters.iter().flatten().all(|node| said.contains_key(node));
    match winner {
        Some(theirs) if theirs == ours => Some(Verdict::Agrees),
        Some(theirs) => Some(Verdict::Differs { ours, theirs }),
        None => (all_told && !voters.is_empty()).then_some(Verdict::Split),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<NodeId> {
        nodes.iter().copied().map(NodeId).collect()
    }

    fn at(index: u64, digest: u128) -> Checkpoint {
        Checkpoint { index, digest }
    }

    fn other_differs(node: u64, theirs: u128) -> (u64, Verdict) {
        (5, Verdict::OtherDiffers { node: NodeId(node), theirs })
    }

    /// What replica 1 with digest 7 makes of what `others` (by node) say about the same entry: about itself, and after it
    /// agreed, about those with 8.
    fn check(voters: &[&[u64]], others: &[(u64, u128)], expect: Option<Verdict>) {
        let voters: Voters = voters.iter().map(|nodes| set(nodes)).collect();
        let mut early = Comparison::new(NodeId(1));
        let mut late = Comparison::new(NodeId(1));
        let mut verdicts = early.computed(at(5, 7), voters.clone());
        for (node, digest) in others {
            verdicts.extend(early.told(NodeId(*node), &[at(5, *digest)]));
            assert_eq!(late.told(NodeId(*node), &[at(5, *digest)]), []);
        }
        let mut expect: Vec<_> = expect.map(|verdict| (5, verdict)).into_iter().collect();
        if expect.contains(&(5, Verdict::Agrees)) {
            let differ = others.iter().filter(|(_, digest)| *digest == 8);
            expect.extend(differ.map(|(node, theirs)| other_differs(*node, *theirs)));
        }
        assert_eq!(verdicts, expect, "{voters:?} {others:?}");
        assert_eq!(late.computed(at(5, 7), voters), expect, "its own digest comes last");
    }

    #[test]
    fn a_replica_stops_only_when_a_majority_of_the_voters_has_another_digest() {
        const DIFFERS: Verdict = Verdict::Differs { ours: 7, theirs: 8 };
        let three: &[&[u64]] = &[&[1, 2, 3]];
        check(three, &[], None);
        check(three, &[(2, 7)], Some(Verdict::Agrees));
        check(three, &[(2, 8)], None);
        check(three, &[(2, 8), (3, 8)], Some(DIFFERS));
        check(three, &[(2, 8), (3, 9)], Some(Verdict::Split));
        check(three, &[(2, 8), (3, 7)], Some(Verdict::Agrees));
        check(three, &[(4, 8), (5, 8)], None);
        check(&[&[1, 2, 3, 4, 5]], &[(2, 8), (3, 8)], None);
        check(&[&[1, 2, 3, 4, 5]], &[(2, 8), (3, 8), (5, 8)], Some(DIFFERS));
        check(&[&[1, 2]], &[(2, 8)], Some(Verdict::Split));
        check(&[&[1]], &[], Some(Verdict::Agrees));
        check(&[&[2, 3, 4]], &[(2, 8), (4, 8)], Some(DIFFERS));
        check(&[&[1, 2, 3], &[3, 4, 5]], &[(2, 8), (3, 8)], None);
        check(&[&[1, 2, 3], &[3, 4, 5]], &[(2, 8), (3, 8), (5, 8)], Some(DIFFERS));
        check(&[], &[(2, 8), (3, 8)], None);
    }

    #[test]
    fn a_verdict_is_given_once_and_a_split_may_still_be_decided() {
        let mut replica = Comparison::new(NodeId(1));
        assert_eq!(replica.computed(at(5, 7), vec![set(&[1, 2, 3])]), []);
        assert!(replica.is_open());
        assert_eq!(replica.told(NodeId(2), &[at(5, 8)]), []);
        assert_eq!(replica.told(NodeId(3), &[at(5, 9)]), [(5, Verdict::Split)]);
        assert_eq!(replica.told(NodeId(3), &[at(5, 9)]), []);
        // It had a fault, started again, and now comes to what replica 1 has.
        assert_eq!(replica.told(NodeId(3), &[at(5, 7)]), [(5, Verdict::Agrees), other_differs(2, 8)]);
        assert_eq!(replica.told(NodeId(2), &[at(5, 8)]), [], "each is told once");
        assert_eq!(replica.told(NodeId(2), &[at(5, 7)]), []);
        assert!(!replica.is_open());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_lapses_is_told() {
        let mut replica = Comparison::new(NodeId(1));
        for index in 0..CHECKPOINTS_KEPT as u64 {
            assert_eq!(replica.computed(at(index, 7), vec![set(&[1, 2, 3])]), []);
        }
        assert_eq!(replica.computed(at(100, 7), vec![set(&[1, 2, 3])]), [(0, Verdict::Undecided)]);
        assert_eq!(replica.checkpoints().len(), CHECKPOINTS_KEPT);
        let many: Vec<_> = (0..1000).map(|index| at(index, 1)).collect();
        for node in 2..1000 {
            replica.told(NodeId(node), &many);
        }
        assert!(replica.others.len() <= REPLICAS_MAX);
        assert!(replica.others.values().all(|told| told.len() <= CHECKPOINTS_KEPT));
    }

    #[test]
    fn the_first_entry_of_each_period_is_a_checkpoint() {
        let every = Millis(100);
        for (before, after, expect) in
            [(0, 0, false), (0, 99, false), (99, 100, true), (100, 199, false), (150, 900, true)]
        {
            assert_eq!(is_checkpoint(Millis(before), Millis(after), every), expect, "{before} {after}");
        }
        assert!(!is_checkpoint(Millis(0), Millis(1 << 40), Millis::ZERO));
    }
}
