//! Replicas of one log that compare the digests of their states: one of them may be damaged, and messages are late,
//! doubled or lost while replicas die and begin again from a snapshot.
//!
//! The unchanged `mesarch_state::comparison` decides. The damaged one must stop, and none of the others ever may.

use std::collections::BTreeSet;

use mesarch_state::{
    Command, State,
    command::SetWeights,
    comparison::{Checkpoint, Comparison, Verdict, is_checkpoint},
    snapshot,
};
use mesarch_types::{At, Millis, NodeId, Role, Weight};

use crate::{invariants::Violation, rng::Rng};

const INVARIANT: &str = "only a replica that differs stops";
/// Most messages under way; more push out the oldest.
const UNDER_WAY_MAX: usize = 64;

/// One master: its state, how far it is, and what it knows of the others' digests.
struct Replica {
    state: State,
    /// Of the log.
    next: usize,
    comparison: Comparison,
    /// From where it begins again.
    saved: (State, usize),
    stopped: bool,
}

struct Play<'a> {
    log: &'a [(At, Command)],
    rng: Rng,
    every: Millis,
    replicas: Vec<Replica>,
    /// Which replica is damaged, and before which command.
    damage: Option<(usize, usize)>,
    under_way: Vec<(usize, usize, Vec<Checkpoint>)>,
}

/// Plays what may happen to the replicas of a log.
pub(crate) fn play(log: &[(At, Command)], seed: u64, damaged: bool) -> Result<(), Violation> {
    let mut play = Play::new(log, Rng::new(seed), damaged);
    play.chaos()?;
    play.heal()?;
    play.judge()
}

impl<'a> Play<'a> {
    fn new(log: &'a [(At, Command)], mut rng: Rng, damaged: bool) -> Self {
        let count = if rng.chance(25) { 5 } else { 3 };
        let every = Millis(rng.between(500, 40_000));
        // Before the first command there is no cluster to damage.
        let damage = damaged.then(|| (rng.index(count), 1 + rng.index(log.len() - 1)));
        let replicas = (0..count).map(|me| Replica::new(node(me))).collect();
        Self { log, rng, every, replicas, damage, under_way: Vec::new() }
    }

    /// Until the slowest is halfway through the log.
    fn chaos(&mut self) -> Result<(), Violation> {
        let half = self.log.len() / 2;
        while self.replicas.iter().any(|replica| !replica.stopped && replica.next < half) {
            let who = self.rng.index(self.replicas.len());
            if self.replicas[who].stopped {
                continue;
            }
            match self.rng.between(0, 400) {
                0 => self.begin_again(who),
                1..=8 => self.save(who),
                9..=48 => self.send(who),
                49..=100 => self.deliver()?,
                _ => self.advance(who, true)?,
            }
        }
        Ok(())
    }

    /// All of them come to the log's end, and hear of each other.
    fn heal(&mut self) -> Result<(), Violation> {
        for who in 0..self.replicas.len() {
            while self.replicas[who].next < self.log.len() && !self.replicas[who].stopped {
                self.advance(who, false)?;
            }
        }
        for _ in 0..2 {
            for from in 0..self.replicas.len() {
                let told = self.replicas[from].comparison.checkpoints();
                for to in 0..self.replicas.len() {
                    self.tell(from, to, &told)?;
                }
            }
        }
        Ok(())
    }

    /// If the damaged one took a digest after the damage, and a majority did so after the same entry, it has stopped.
    fn judge(&self) -> Result<(), Violation> {
        let Some((who, position)) = self.damage else {
            return Ok(());
        };
        let took =
            |replica: &Replica, index| replica.comparison.checkpoints().iter().any(|it| it.index == index);
        let newest = self.replicas[who].comparison.checkpoints().last().map(|checkpoint| checkpoint.index);
        let newest = newest.filter(|index| *index >= self.log[position].0.index);
        let sound = newest.map_or(0, |index| {
            let others = self.replicas.iter().enumerate().filter(|(other, _)| *other != who);
            others.filter(|(_, replica)| took(replica, index)).count()
        });
        match sound * 2 <= self.replicas.len() || self.replicas[who].stopped {
            true => Ok(()),
            false => {
                Err(self.violation(format!("replica {who}, damaged before command {position}, goes on")))
            }
        }
    }

    /// Applies the next entry, all of its commands.
    fn advance(&mut self, who: usize, may_skip: bool) -> Result<(), Violation> {
        let busy = may_skip && self.rng.chance(10);
        let voters = vec![(0..self.replicas.len()).map(node).collect::<BTreeSet<_>>()];
        let replica = &mut self.replicas[who];
        let before = replica.state.now();
        let Some(index) = self.log.get(replica.next).map(|(at, _)| at.index) else {
            return Ok(());
        };
        while let Some((at, command)) = self.log.get(replica.next).filter(|(at, _)| at.index == index) {
            if self.damage == Some((who, replica.next)) {
                damage(&mut replica.state, *at);
            }
            replica.state.apply(*at, command.clone());
            replica.next += 1;
        }
        if busy || !is_checkpoint(before, replica.state.now(), self.every) {
            return Ok(());
        }
        let digest = replica.state.digest();
        let verdicts = replica.comparison.computed(Checkpoint { index, digest }, voters);
        self.settle(who, &verdicts)
    }

    fn settle(&mut self, who: usize, verdicts: &[(u64, Verdict)]) -> Result<(), Violation> {
        for (index, verdict) in verdicts {
            let differs = matches!(verdict, Verdict::Differs { .. });
            self.replicas[who].stopped |= differs;
            if differs && self.damage.is_none_or(|(damaged, _)| damaged != who) {
                return Err(self.violation(format!("replica {who} stops at entry {index}: {verdict:?}")));
            }
        }
        Ok(())
    }

    fn send(&mut self, from: usize) {
        let told = self.replicas[from].comparison.checkpoints();
        for to in 0..self.replicas.len() {
            if !self.rng.chance(30) {
                self.under_way.push((from, to, told.clone()));
            }
        }
        let late = self.under_way.len().saturating_sub(UNDER_WAY_MAX);
        self.under_way.drain(..late);
    }

    /// Any of those under way; at times it stays there and comes again.
    fn deliver(&mut self) -> Result<(), Violation> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let which = self.rng.index(self.under_way.len());
        let (from, to, told) = match self.rng.chance(20) {
            true => self.under_way[which].clone(),
            false => self.under_way.swap_remove(which),
        };
        self.tell(from, to, &told)
    }

    fn tell(&mut self, from: usize, to: usize, told: &[Checkpoint]) -> Result<(), Violation> {
        if self.replicas[to].stopped {
            return Ok(());
        }
        let verdicts = self.replicas[to].comparison.told(node(from), told);
        self.settle(to, &verdicts)
    }

    /// A snapshot of its own, damaged or not.
    fn save(&mut self, who: usize) {
        let replica = &mut self.replicas[who];
        replica.saved = (copy(&replica.state), replica.next);
    }

    /// Its process dies: what was in memory only is gone. At times it gets the snapshot of another that is sound.
    fn begin_again(&mut self, who: usize) {
        let sound = |from: &usize| self.damage.is_none_or(|(damaged, _)| damaged != *from);
        let from = Some(self.rng.index(self.replicas.len())).filter(sound).unwrap_or(who);
        // The damage is to be there once it has happened: else there would be nothing to find.
        let keeps = self.damage.is_some_and(|(damaged, at)| damaged == who && self.replicas[who].next > at);
        let saved = if keeps {
            (self.replicas[who].state.clone(), self.replicas[who].next)
        } else {
            self.replicas[from].saved.clone()
        };
        // A snapshot that reaches over the place of the damage would undo it.
        let undoes = self.damage.is_some_and(|(damaged, at)| damaged == who && from != who && saved.1 > at);
        if undoes {
            return;
        }
        self.replicas[who] =
            Replica { state: saved.0.clone(), next: saved.1, saved, ..Replica::new(node(who)) };
    }

    fn violation(&self, what: String) -> Violation {
        Violation::new(INVARIANT, format!("{what} (of {}, every {} ms)", self.replicas.len(), self.every.0))
    }
}

impl Replica {
    fn new(me: NodeId) -> Self {
        let comparison = Comparison::new(me);
        Self { state: State::new(), next: 0, comparison, saved: (State::new(), 0), stopped: false }
    }
}

fn node(replica: usize) -> NodeId {
    NodeId(replica as u64 + 1)
}

/// A weight that nobody set.
fn damage(state: &mut State, at: At) {
    let weights =
        Weight::from_thousandths(7).map(|weight| (Role::from("damaged"), weight)).into_iter().collect();
    state.apply(at, Command::SetWeights(SetWeights { weights }));
}

/// Through a snapshot, as a restart would.
fn copy(state: &State) -> State {
    let mut bytes = Vec::new();
    let written = snapshot::encode(state, &mut bytes);
    written.ok().and_then(|()| snapshot::decode(&mut bytes.as_slice()).ok()).unwrap_or_else(|| state.clone())
}

#[cfg(test)]
mod tests {
    use mesarch_types::WallMillis;

    use super::*;

    /// A log that is worth comparing: every entry makes another state.
    fn log() -> Vec<(At, Command)> {
        let begin = mesarch_state::command::BeginTerm {
            cluster: mesarch_types::ClusterId([1; 16]),
            incarnation: 1,
            level: 2,
            policy: None,
        };
        let weight = |index: u64| {
            let weights = vec![(Role::from("eng"), Weight::from_thousandths(index).expect("above zero"))];
            Command::SetWeights(SetWeights { weights })
        };
        let at =
            |index| At { index, position: 0, term: 1, now: Millis(index * 500), wall: WallMillis(index) };
        let rest = (2..400).map(|index| (at(index), weight(index)));
        std::iter::once((at(1), Command::BeginTerm(begin))).chain(rest).collect()
    }

    #[test]
    fn a_damaged_replica_stops_and_agreement_stops_nobody_in_thousands_of_plays() {
        let log = log();
        for seed in 0..2_000 {
            for damaged in [false, true] {
                play(&log, seed, damaged).unwrap_or_else(|violation| panic!("seed {seed}: {violation}"));
            }
        }
    }

    #[test]
    fn damage_is_found_nearly_always_that_is_not_at_the_logs_very_end() {
        let log = log();
        let found = (0..200).filter(|seed| {
            let mut play = Play::new(&log, Rng::new(*seed), true);
            play.chaos().and_then(|()| play.heal()).expect("nobody else stops");
            play.damage.is_some_and(|(who, _)| play.replicas[who].stopped)
        });
        let found = found.count();
        assert!(found > 150, "{found} of 200");
    }
}
