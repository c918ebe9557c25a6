//! Which packets a cut drops, and what goes on meanwhile. Pure.

use std::time::Duration;

use rand::{
    Rng,
    rngs::StdRng,
    seq::{IteratorRandom, SliceRandom},
};

use crate::{nemesis::Nemesis, network::Rule};

/// How long a cut lasts, in ms: an election takes some hundred, a connection is given up after some thousand.
const LASTS_MS: std::ops::Range<u64> = 1000..6000;
/// Of a hundred packets so many get lost.
const LOSS_PERCENT: u8 = 20;

/// One cut of the network.
#[derive(Debug)]
pub(crate) struct Cut {
    /// For people.
    pub(crate) name: String,
    pub(crate) drops: Vec<Rule>,
    pub(crate) lasts: Duration,
    /// Masters that the others must do without.
    pub(crate) apart: Vec<usize>,
    /// Nobody has to serve before it ends.
    pub(crate) may_fail: bool,
    /// Some agents may not reach those masters that serve.
    pub(crate) agents_away: bool,
}

impl Cut {
    /// A cut of this kind among so many masters and agents. Nodes are numbered: the masters, then the agents.
    pub(crate) fn choose(
        kind: Nemesis,
        (masters, agents): (usize, usize),
        leader: usize,
        random: &mut StdRng,
    ) -> Self {
        let lasts = Duration::from_millis(random.random_range(LASTS_MS));
        let others: Vec<usize> = (0..masters + agents).filter(|node| *node != leader).collect();
        let whole = |name: String, drops| {
            let apart = Vec::new();
            Self { name, drops, lasts, apart, may_fail: false, agents_away: false }
        };
        match kind {
            Nemesis::Halves => Self { lasts, ..halves((masters, agents), random) },
            Nemesis::Bridge => {
                // Two followers have nothing to say to each other, and would not notice.
                let other = (0..masters).filter(|master| *master != leader).choose(random).unwrap_or(leader);
                let name = format!("masters {} and {} cannot hear each other", leader + 1, other + 1);
                whole(name, Rule::between(&[leader], &[other]))
            }
            Nemesis::OneWay => {
                let sends = random.random_bool(0.5);
                let way = |other: &usize| match sends {
                    true => Rule::OneWay(leader, *other),
                    false => Rule::OneWay(*other, leader),
                };
                let name = format!("nobody hears {}", leader + 1);
                let name = if sends { name } else { format!("{} hears nobody", leader + 1) };
                Self { apart: vec![leader], ..whole(name, others.iter().map(way).collect()) }
            }
            Nemesis::AgentsOnly => {
                let (these, those): (Vec<usize>, Vec<usize>) =
                    ((0..masters).collect(), (masters..masters + agents).collect());
                let alone = whole("no agent reaches a master".to_owned(), Rule::between(&these, &those));
                Self { agents_away: true, ..alone }
            }
            Nemesis::Loss => {
                let lossy = whole(format!("{LOSS_PERCENT} % loss"), vec![Rule::Some(LOSS_PERCENT)]);
                Self { may_fail: true, agents_away: true, ..lossy }
            }
            _ => {
                let drops = Rule::between(&[leader], &others);
                Self { apart: vec![leader], ..whole(format!("{} is alone", leader + 1), drops) }
            }
        }
    }
}

fn halves((masters, agents): (usize, usize), random: &mut StdRng) -> Cut {
    let mut mixed: Vec<usize> = (0..masters).collect();
    mixed.shuffle(random);
    let (few, most) = mixed.split_at((masters - 1) / 2);
    let mut sides = [few.to_vec(), most.to_vec()];
    for agent in masters..masters + agents {
        sides[usize::from(random.random_bool(0.5))].push(agent);
    }
    let [these, those] = &sides;
    let (apart, agents_away) = (few.to_vec(), these.len() > few.len());
    let name = format!("{:?} and {:?} cannot hear each other", one_up(these), one_up(those));
    let drops = Rule::between(these, those);
    Cut { name, drops, lasts: Duration::ZERO, apart, may_fail: false, agents_away }
}

/// Nodes as people count.
fn one_up(nodes: &[usize]) -> Vec<usize> {
    nodes.iter().map(|node| node + 1).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_majority_of_masters_is_never_cut_apart() {
        let mut random = StdRng::seed_from_u64(5);
        for masters in [3, 4, 5] {
            for kind in [Nemesis::IsolateLeader, Nemesis::Halves, Nemesis::OneWay, Nemesis::Bridge] {
                for _ in 0..50 {
                    let cut = Cut::choose(kind, (masters, 2), 1, &mut random);
                    let whole: Vec<usize> = (0..masters).filter(|it| !cut.apart.contains(it)).collect();
                    assert!(whole.len() * 2 > masters, "{cut:?}");
                    let torn = |drop: &Rule| match drop {
                        Rule::OneWay(from, to) => whole.contains(from) && whole.contains(to),
                        Rule::Some(_) => true,
                    };
                    let torn = cut.drops.iter().any(torn);
                    assert_eq!(torn, kind == Nemesis::Bridge, "{cut:?}");
                    assert!(!cut.drops.is_empty());
                }
            }
        }
    }

    #[test]
    fn agents_are_cut_off_from_masters_and_nobody_else_is() {
        let cut = Cut::choose(Nemesis::AgentsOnly, (3, 2), 0, &mut StdRng::seed_from_u64(1));
        assert_eq!(cut.drops.len(), 12);
        assert!(cut.drops.iter().all(|drop| matches!(drop, Rule::OneWay(a, b) if (*a < 3) != (*b < 3))));
    }
}
