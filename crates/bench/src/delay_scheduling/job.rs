//! One job: a map-only scan of a file, and how patiently it waits for nodes that hold what it still has to read.

use mesarch_types::Millis;
use rand::{Rng, seq::index};

/// Where the blocks of a file lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    /// The nodes of each block, all different.
    replicas: Vec<Vec<usize>>,
}

impl File {
    /// Blocks on nodes drawn at random, evenly.
    pub(super) fn draw(blocks: usize, replication: usize, nodes: usize, random: &mut impl Rng) -> Self {
        let block = |_| index::sample(random, nodes, replication).into_vec();
        Self { replicas: (0..blocks).map(block).collect() }
    }
}

/// How a job that may wait so long takes a node that holds nothing for it.
///
/// As in delay scheduling: the wait begins with the first such node that is turned down; once it is over, any node will do,
/// until a node with input comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Only nodes with input; waiting since the moment, if one was turned down.
    Picky(Option<Millis>),
    /// Any node.
    Any,
}

/// What a job does with a free slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// A task whose block is on the node.
    Local,
    /// A task that reads its block from elsewhere.
    Remote,
    /// Nothing.
    Decline,
}

/// A job and what is left of it.
#[derive(Debug)]
pub(super) struct Job {
    wait: Millis,
    patience: Patience,
    /// Blocks by the node that they are on, some of them started already.
    on_node: Vec<Vec<usize>>,
    started: Vec<bool>,
    /// All blocks before this one are started.
    first_pending: usize,
    pending: usize,
    running: usize,
    local: usize,
    finished_at: Option<Millis>,
}

impl Job {
    /// A job that reads all of `file`, on a cluster of so many nodes.
    pub(super) fn new(file: &File, nodes: usize, wait: Millis) -> Self {
        let mut on_node = vec![Vec::new(); nodes];
        for (block, replicas) in file.replicas.iter().enumerate() {
            replicas.iter().for_each(|node| on_node[*node].push(block));
        }
        let pending = file.replicas.len();
        Self {
            wait,
            patience: Patience::Picky(None),
            on_node,
            started: vec![false; pending],
            first_pending: 0,
            pending,
            running: 0,
            local: 0,
            finished_at: None,
        }
    }

    /// Decides on one free slot of a node, and starts a task if that is the decision.
    pub(super) fn offered(&mut self, node: usize, now: Millis) -> Choice {
        if self.pending == 0 {
            return Choice::Decline;
        }
        if let Some(block) = self.block_on(node) {
            self.patience = Patience::Picky(None);
            self.local += 1;
            self.start(block);
            return Choice::Local;
        }
        if !self.takes_any(now) {
            return Choice::Decline;
        }
        let left = self.started[self.first_pending..].iter().position(|started| !started);
        self.first_pending += left.expect("a block is pending");
        self.start(self.first_pending);
        Choice::Remote
    }

    fn takes_any(&mut self, now: Millis) -> bool {
        if let Patience::Picky(since) = &mut self.patience {
            let since = *since.get_or_insert(now);
            if now.saturating_sub(since) < self.wait {
                return false;
            }
            self.patience = Patience::Any;
        }
        true
    }

    fn block_on(&mut self, node: usize) -> Option<usize> {
        let started = &self.started;
        let blocks = &mut self.on_node[node];
        while blocks.last().is_some_and(|block| started[*block]) {
            blocks.pop();
        }
        blocks.last().copied()
    }

    fn start(&mut self, block: usize) {
        self.started[block] = true;
        self.pending -= 1;
        self.running += 1;
    }

    /// One of its tasks ended.
    pub(super) fn ended(&mut self, now: Millis) {
        self.running -= 1;
        if self.pending == 0 && self.running == 0 {
            self.finished_at = Some(now);
        }
    }

    /// Whether it has tasks that are not started.
    pub(super) fn wants_more(&self) -> bool {
        self.pending > 0
    }

    /// How many of its tasks read from their own node.
    pub(super) fn local(&self) -> usize {
        self.local
    }

    /// When its last task ended.
    pub(super) fn finished_at(&self) -> Option<Millis> {
        self.finished_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(replicas: &[&[usize]]) -> File {
        File { replicas: replicas.iter().map(|nodes| nodes.to_vec()).collect() }
    }

    #[test]
    fn a_job_waits_from_the_first_refusal_and_a_local_task_makes_it_picky_again() {
        use Choice::{Decline, Local, Remote};
        let mut job = Job::new(&file(&[&[0], &[0], &[1], &[1], &[1], &[0]]), 3, Millis(1000));
        let offers = [
            (0, 0, Local),
            (100, 2, Decline),
            (1099, 2, Decline),
            (1100, 2, Remote),
            (1101, 2, Remote),
            (1102, 1, Local),
            (1103, 2, Decline),
            (2103, 2, Remote),
            (2104, 1, Local),
            (2105, 1, Decline),
        ];
        for (at, node, expected) in offers {
            assert_eq!(job.offered(node, Millis(at)), expected, "node {node} at {at} ms");
        }
        assert_eq!((job.local(), job.wants_more()), (3, false));
        (0..6).for_each(|number| job.ended(Millis(3000 + number)));
        assert_eq!(job.finished_at(), Some(Millis(3005)));
    }

    #[test]
    fn without_a_wait_nothing_is_turned_down() {
        let mut job = Job::new(&file(&[&[0], &[0]]), 2, Millis(0));
        assert_eq!(job.offered(1, Millis(0)), Choice::Remote);
        assert_eq!(job.offered(0, Millis(0)), Choice::Local);
    }
}
