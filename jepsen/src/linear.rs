//! Whether the operations on one register can have happened one at a time, each between its begin and its end.
//!
//! The history is walked from front to back with the set of all configurations that are still possible: what the
//! register holds, and which of the open operations have had their effect. An operation that ends must have had its
//! effect by then, so each configuration is carried on, by the effects of open operations, until it had; what cannot get
//! there is dropped, and equal ones are one. (Wing and Gong's search, in Lowe's order: just in time, memoised.) An
//! operation of unknown outcome stays open to the end: it may have its effect at any time, or never.

use std::collections::BTreeSet;

use crate::history::{Op, Seen};

/// Configurations that are looked at for one history, before it counts as undecided.
pub(crate) const CONFIGURATIONS_MAX: usize = 2_000_000;

/// An operation on one register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) op: Op,
    /// When it was begun, in any unit that orders.
    pub(crate) begun: u128,
    /// When it was known to be done; none if nobody knows.
    pub(crate) ended: Option<u128>,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// There is an order that explains everything.
    Linearizable,
    /// Nothing explains the end of the operation of this index.
    Not(usize),
    /// The search would take too long.
    Undecided,
}

/// What a register holds, and which open operations have had their effect.
type Configuration = (Option<u64>, BTreeSet<usize>);

/// Judges the operations on one register, which at first holds nothing.
pub(crate) fn judge(operations: &[Operation], configurations_max: usize) -> Judgement {
    let mut possible = BTreeSet::from([(None, BTreeSet::new())]);
    let mut open = BTreeSet::new();
    let mut looked_at = 0;
    for (_, ends, index) in moments(operations) {
        if !ends {
            open.insert(index);
            continue;
        }
        match step(operations, &open, index, possible, configurations_max.saturating_sub(looked_at)) {
            None => return Judgement::Undecided,
            Some((next, looked)) => {
                looked_at += looked;
                possible = next;
            }
        }
        if possible.is_empty() {
            return Judgement::Not(index);
        }
        open.remove(&index);
    }
    Judgement::Linearizable
}

/// Begins (false) and ends (true) in order of time. At the same time begins come first: they may overlap.
fn moments(operations: &[Operation]) -> BTreeSet<(u128, bool, usize)> {
    let prunable = !operations.iter().any(|operation| operation.op == Op::Remove);
    let read: BTreeSet<u64> = operations
        .iter()
        .filter_map(|operation| match operation.op {
            Op::Read(Seen::Holds(value)) => Some(value),
            _ => None,
        })
        .collect();
    let mut moments = BTreeSet::new();
    for (index, operation) in operations.iter().enumerate() {
        // Nobody needs an effect that nobody saw, unless a removal rests on it.
        let idle = prunable && matches!(operation.op, Op::Write(value) if !read.contains(&value));
        match operation.ended {
            None if idle => continue,
            None => {}
            Some(ended) => {
                moments.insert((ended, true, index));
            }
        }
        moments.insert((operation.begun, false, index));
    }
    moments
}

/// All configurations in which `ending` has had its effect, and how many were looked at; none if that is too many.
fn step(
    operations: &[Operation],
    open: &BTreeSet<usize>,
    ending: usize,
    possible: BTreeSet<Configuration>,
    configurations_max: usize,
) -> Option<(BTreeSet<Configuration>, usize)> {
    let mut known = possible.clone();
    let mut waiting: Vec<Configuration> = possible.into_iter().collect();
    let mut next = BTreeSet::new();
    while let Some((holds, mut done)) = waiting.pop() {
        if done.remove(&ending) {
            next.insert((holds, done));
            continue;
        }
        for index in open.iter().filter(|index| !done.contains(index)) {
            let Some(after) = effect(operations[*index].op, holds) else { continue };
            let mut done = done.clone();
            done.insert(*index);
            if known.insert((after, done.clone())) {
                waiting.push((after, done));
            }
        }
        if known.len() > configurations_max {
            return None;
        }
    }
    Some((next, known.len()))
}

/// What the register holds after an operation that was done; none if it could not be done.
fn effect(op: Op, holds: Option<u64>) -> Option<Option<u64>> {
    match (op, holds) {
        (Op::Read(Seen::Unread), _) => Some(holds),
        (Op::Read(Seen::Absent), None) => Some(None),
        (Op::Read(Seen::Holds(value)), Some(held)) if value == held => Some(holds),
        (Op::Write(value), _) | (Op::Create(value), None) => Some(Some(value)),
        (Op::Remove, Some(_)) => Some(None),
        (Op::Read(_) | Op::Create(_) | Op::Remove, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(op: Op, begun: u128, ended: u128) -> Operation {
        Operation { op, begun, ended: Some(ended) }
    }

    fn unknown(op: Op, begun: u128) -> Operation {
        Operation { op, begun, ended: None }
    }

    fn read(value: u64, begun: u128, ended: u128) -> Operation {
        op(Op::Read(Seen::Holds(value)), begun, ended)
    }

    fn absent(begun: u128, ended: u128) -> Operation {
        op(Op::Read(Seen::Absent), begun, ended)
    }

    fn write(value: u64, begun: u128, ended: u128) -> Operation {
        op(Op::Write(value), begun, ended)
    }

    fn check(name: &str, operations: &[Operation], expect: bool) {
        let judged = judge(operations, CONFIGURATIONS_MAX);
        assert_eq!(judged == Judgement::Linearizable, expect, "{name}: {judged:?}");
        assert_ne!(judged, Judgement::Undecided, "{name}");
    }

    #[test]
    fn good_histories_pass() {
        check("nothing", &[], true);
        check("one after the other", &[absent(0, 1), write(1, 2, 3), read(1, 4, 5)], true);
        check("a read beside a write sees either", &[write(1, 0, 9), absent(1, 2), read(1, 3, 4)], true);
        check(
            "two writes at once, in either order",
            &[write(1, 0, 9), write(2, 1, 8), read(1, 10, 11)],
            true,
        );
        check(
            "an unknown write is seen late",
            &[unknown(Op::Write(1), 0), absent(1, 2), read(1, 90, 91)],
            true,
        );
        check(
            "an unknown write is never seen",
            &[unknown(Op::Write(1), 0), write(2, 1, 2), read(2, 3, 4)],
            true,
        );
        let late = [unknown(Op::Write(1), 0), write(2, 1, 2), read(2, 3, 4), read(1, 5, 6)];
        check("an unknown write comes after a later one", &late, true);
        let created = [op(Op::Create(1), 0, 1), op(Op::Remove, 2, 3), op(Op::Create(2), 4, 5), read(2, 6, 7)];
        check("created, removed, created", &created, true);
        let unseen = [unknown(Op::Write(1), 0), op(Op::Remove, 2, 3), absent(4, 5)];
        check("an unknown write that only a removal saw", &unseen, true);
    }

    #[test]
    fn bad_histories_do_not() {
        check("a value from nowhere", &[read(1, 0, 1)], false);
        check("a stale read", &[write(1, 0, 1), write(2, 2, 3), read(1, 4, 5)], false);
        check("a lost write", &[write(1, 0, 1), absent(2, 3)], false);
        check("two readers disagree", &[write(1, 0, 9), read(1, 1, 2), absent(3, 4)], false);
        let flip = [write(1, 0, 1), write(2, 2, 20), read(2, 3, 4), read(1, 5, 6)];
        check("a value comes back", &flip, false);
        check("read before it was written", &[read(1, 0, 1), unknown(Op::Write(1), 2)], false);
        let twice = [unknown(Op::Write(1), 0), read(1, 1, 2), write(2, 3, 4), read(2, 5, 6), read(1, 7, 8)];
        check("an unknown write happens twice", &twice, false);
        check("created twice", &[op(Op::Create(1), 0, 1), op(Op::Create(2), 2, 3)], false);
        check("both create at once", &[op(Op::Create(1), 0, 9), op(Op::Create(2), 1, 8)], false);
        check("nothing to remove", &[op(Op::Remove, 0, 1)], false);
    }

    #[test]
    fn a_search_that_takes_too_long_says_so() {
        let mut many: Vec<Operation> = (0..20).map(|value| unknown(Op::Write(value), 0)).collect();
        many.extend((0..20).map(|value| read(value, 1, 2)));
        assert_eq!(judge(&many, 1000), Judgement::Undecided);
    }

    /// Tries every order of every choice of the unknown ones: slow, and plainly right.
    fn brute(left: &[Operation], holds: Option<u64>) -> bool {
        if left.iter().all(|operation| operation.ended.is_none()) {
            return true;
        }
        let first_end = left.iter().filter_map(|operation| operation.ended).min();
        left.iter().enumerate().any(|(index, operation)| {
            let may_be_first = first_end.is_none_or(|end| operation.begun <= end);
            let rest: Vec<Operation> = left
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, other)| *other)
                .collect();
            may_be_first && effect(operation.op, holds).is_some_and(|holds| brute(&rest, holds))
        })
    }

    #[test]
    fn it_agrees_with_trying_every_order() {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let mut random = StdRng::seed_from_u64(11);
        let mut good = 0;
        for round in 0..3000 {
            let operations: Vec<Operation> = (0..random.random_range(1..7))
                .map(|_| {
                    let value = random.random_range(1..4);
                    let kind = match random.random_range(0..6) {
                        0 | 1 => Op::Write(value),
                        2 => Op::Create(value),
                        3 => Op::Remove,
                        4 => Op::Read(Seen::Absent),
                        _ => Op::Read(Seen::Holds(value)),
                    };
                    let begun = random.random_range(0..20);
                    let ended = random.random_bool(0.8).then(|| begun + random.random_range(1..8));
                    Operation { op: kind, begun, ended }
                })
                .collect();
            let expect = brute(&operations, None);
            good += usize::from(expect);
            check(&format!("round {round}: {operations:?}"), &operations, expect);
        }
        assert!((300..2700).contains(&good), "{good} of 3000 are good: one side is hardly tried");
    }
}
