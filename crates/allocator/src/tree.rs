//! The tree of roles, down to the frameworks in them, each level in the order in which it is to be served.
//!
//! A role competes with its sibling roles by what its whole subtree holds. Inside a role its own frameworks stand
//! together as one more sibling of its child roles, named `role/.`; inside that, framework competes with framework.
//! Only those who want offers are listed. Orders are brought up to date lazily, by [`Tree::refresh`]; those of a policy
//! that ranks per agent are made when they are walked.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    sync::Arc,
};

use mesarch_types::{AgentView, FrameworkId, Role};

use crate::{
    Contender, Policies, Policy, Rank, Ranking,
    draw::{mix, salt},
    index::{ClientIx, Index, NodeIx, Slab},
    kinds::{Amount, Kinds},
    order::Order,
    share::WEIGHT_ONE,
};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A role with all below it, or the root above all roles.
    Role,
    /// A role's own frameworks.
    Own,
    /// One framework in one role.
    Client(ClientIx),
}

/// What operators set for a role or a framework.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) weight_thousandths: u64,
    pub(crate) priority: i32,
}

impl Default for Standing {
    fn default() -> Self {
        Self { weight_thousandths: WEIGHT_ONE, priority: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Node {
    kind: Kind,
    /// Path of the role, `path/.`, or id of the framework: what breaks ties.
    name: Arc<str>,
    salt: u64,
    /// None: the root.
    parent: Option<NodeIx>,
    depth: u32,
    /// Of a role: its own frameworks.
    own: Option<NodeIx>,
    /// All that have this one as their parent, by name.
    by_name: Vec<NodeIx>,
    /// Grows with the name among siblings, so that ties are broken without looking at names.
    label: u64,
    /// How many clients at or below it want offers.
    wanting: u32,
    /// The children with `wanting > 0`, in order.
    order: Order<Place>,
    standing: Standing,
    /// Amount by number of kind, with all below.
    pub(crate) held: Vec<i64>,
    allocations: u64,
    /// The rank under which the parent lists it.
    rank: Rank,
    stale: bool,
}

/// A child in its parent's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    rank: Rank,
    label: u64,
    node: NodeIx,
}

/// Who ranks whom, over which totals.
pub(crate) struct Ranker<'a> {
    pub(crate) policies: &'a Policies,
    pub(crate) kinds: &'a Kinds,
}

/// The ranks for one agent of one plan.
pub(crate) struct Turn<'a> {
    pub(crate) ranker: Ranker<'a>,
    pub(crate) agent: Option<&'a AgentView>,
    pub(crate) draw: u64,
}

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Slab<NodeIx, Node>,
    by_role: Index<Role, NodeIx>,
    root: NodeIx,
    stale: Vec<NodeIx>,
    /// The cluster's total or the policy changed: every rank did.
    all_stale: bool,
}

impl Node {
    fn new(kind: Kind, name: Arc<str>, parent: Option<NodeIx>, depth: u32, standing: Standing) -> Self {
        Self {
            kind,
            salt: salt(&name),
            name,
            parent,
            depth,
            own: None,
            by_name: Vec::new(),
            label: 0,
            wanting: 0,
            order: Order::default(),
            standing,
            held: Vec::new(),
            allocations: 0,
            rank: Rank::default(),
            stale: false,
        }
    }

    fn place(&self, node: NodeIx) -> Place {
        Place { rank: self.rank, label: self.label, node }
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut nodes = Slab::default();
        let root = nodes.insert(Node::new(Kind::Role, Arc::from(""), None, 0, Standing::default()));
        Self { nodes, by_role: Index::default(), root, stale: Vec::new(), all_stale: false }
    }

    pub(crate) fn root(&self) -> NodeIx {
        self.root
    }

    pub(crate) fn node(&self, node: NodeIx) -> &Node {
        &self.nodes[node]
    }

    pub(crate) fn role_node(&self, role: &str) -> Option<NodeIx> {
        self.by_role.get(role)
    }

    /// How many clients at or below the node want offers.
    pub(crate) fn wanting(&self, node: NodeIx) -> u32 {
        self.nodes[node].wanting
    }

    /// Adds a framework to a role, with what is missing above it. `standing_of` knows the roles'.
    pub(crate) fn add_client(
        &mut self,
        role: &Role,
        framework: &FrameworkId,
        client: ClientIx,
        standing: Standing,
        standing_of: impl Fn(&str) -> Standing,
    ) -> NodeIx {
        let mut node = self.root;
        for path in role.ancestors().chain([role.as_str()]) {
            node = self.by_role.get(path).unwrap_or_else(|| {
                let made = self.add_child(node, Kind::Role, path.into(), standing_of(path));
                self.by_role.insert(Role::from(path), made);
                made
            });
        }
        let own = self.nodes[node].own.unwrap_or_else(|| {
            let made = self.add_child(node, Kind::Own, format!("{role}/.").into(), Standing::default());
            self.nodes[node].own = Some(made);
            made
        });
        self.add_child(own, Kind::Client(client), framework.as_str().into(), standing)
    }

    fn add_child(&mut self, parent: NodeIx, kind: Kind, name: Arc<str>, standing: Standing) -> NodeIx {
        let depth = self.nodes[parent].depth + 1;
        let position = self.position(parent, &name);
        let node = self.nodes.insert(Node::new(kind, name, Some(parent), depth, standing));
        self.nodes[parent].by_name.insert(position, node);
        self.label(parent, position);
        self.mark_stale(node);
        node
    }

    /// Where a name stands, or would stand, among the children.
    fn position(&self, parent: NodeIx, name: &str) -> usize {
        self.nodes[parent].by_name.partition_point(|child| *self.nodes[*child].name < *name)
    }

    /// Labels a new child between its neighbours; spreads all labels when there is no room.
    fn label(&mut self, parent: NodeIx, position: usize) {
        const STEP: u64 = 1 << 32;
        let children = &self.nodes[parent].by_name;
        let label = |at: usize| children.get(at).map(|node| self.nodes[*node].label);
        let before = position.checked_sub(1).and_then(label);
        let between = match (before, label(position + 1)) {
            (None, None) => Some(1 << 63),
            (Some(before), None) => before.checked_add(STEP),
            (None, Some(after)) => after.checked_sub(STEP),
            (Some(before), Some(after)) => {
                Some(before + (after - before) / 2).filter(|middle| *middle > before)
            }
        };
        match between {
            Some(label) => {
                let node = children[position];
                self.nodes[node].label = label;
            }
            None => self.spread_labels(parent),
        }
    }

    fn spread_labels(&mut self, parent: NodeIx) {
        let children = self.nodes[parent].by_name.clone();
        let middle = children.len() as u64 / 2;
        for (node, place) in children.iter().zip(0u64..) {
            // Around the middle of the range: less than 2^31 children on either side.
            self.nodes[*node].label = (1u64 << 63).wrapping_add(place.wrapping_sub(middle) << 32);
        }
        let listed = children.into_iter().filter(|node| self.nodes[*node].wanting > 0);
        let order = listed.map(|node| self.nodes[node].place(node)).collect();
        self.nodes[parent].order = order;
    }

    /// Removes a leaf that holds and wants nothing, with what is empty above it.
    pub(crate) fn remove_client(&mut self, leaf: NodeIx) {
        let mut node = leaf;
        while self.nodes[node].by_name.is_empty() {
            let Some(parent) = self.nodes[node].parent else {
                return;
            };
            let position = self.position(parent, &self.nodes[node].name);
            self.nodes[parent].by_name.remove(position);
            let Some(gone) = self.nodes.remove(node) else {
                return;
            };
            match gone.kind {
                Kind::Role => self.by_role.remove(&*gone.name),
                Kind::Own => self.nodes[parent].own = None,
                Kind::Client(_) => {}
            }
            node = parent;
        }
    }

    /// Says whether a client wants offers; it must not be told the same twice.
    pub(crate) fn set_wanting(&mut self, leaf: NodeIx, wanting: bool) {
        let mut node = leaf;
        loop {
            let before = self.nodes[node].wanting;
            self.nodes[node].wanting = if wanting { before + 1 } else { before - 1 };
            let Some(parent) = self.nodes[node].parent else {
                return;
            };
            let place = self.nodes[node].place(node);
            if wanting && before == 0 {
                self.nodes[parent].order.insert(place);
            } else if !wanting && before == 1 {
                self.nodes[parent].order.remove(&place);
            }
            node = parent;
        }
    }

    /// Sets what operators say of a role; nothing if no framework is in it.
    pub(crate) fn set_role_standing(&mut self, role: &Role, standing: Standing) {
        if let Some(node) = self.by_role.get(role) {
            self.set_standing(node, standing);
        }
    }

    pub(crate) fn set_standing(&mut self, node: NodeIx, standing: Standing) {
        self.nodes[node].standing = standing;
        self.mark_stale(node);
    }

    /// From a leaf up to the roots' children.
    pub(crate) fn line(&self, leaf: NodeIx) -> impl Iterator<Item = NodeIx> {
        let up = |node: &NodeIx| self.nodes[*node].parent.filter(|parent| *parent != self.root);
        std::iter::successors(Some(leaf), up)
    }

    /// Whether `leaf` is at or below `node`.
    pub(crate) fn is_within(&self, leaf: NodeIx, node: NodeIx) -> bool {
        self.line(leaf).any(|step| step == node)
    }

    /// Adds what a client was given to its books and to those above it.
    pub(crate) fn add_held(&mut self, leaf: NodeIx, amounts: &[Amount]) {
        self.change_line(leaf, |node| {
            node.allocations += 1;
            amounts.iter().for_each(|amount| node.add(amount));
        });
    }

    /// The same for what replaces something that it gave back: it is no new turn.
    pub(crate) fn replace_held(&mut self, leaf: NodeIx, amounts: &[Amount]) {
        self.change_line(leaf, |node| amounts.iter().for_each(|amount| node.add(amount)));
    }

    /// Takes what a client gave back out of its books and of those above it.
    pub(crate) fn subtract_held(&mut self, leaf: NodeIx, amounts: &[Amount]) {
        self.change_line(leaf, |node| {
            amounts.iter().for_each(|(kind, amount)| node.add(&(*kind, amount.wrapping_neg())))
        });
    }

    /// Undoes [`Tree::add_held`], as if it had not been.
    pub(crate) fn undo_held(&mut self, leaf: NodeIx, amounts: &[Amount]) {
        self.change_line(leaf, |node| {
            node.allocations -= 1;
            amounts.iter().for_each(|(kind, amount)| node.add(&(*kind, amount.wrapping_neg())));
        });
    }

    /// Adds to the books of one node only.
    pub(crate) fn add_at(&mut self, node: NodeIx, amount: &Amount) {
        self.nodes[node].add(amount);
        self.mark_stale(node);
    }

    fn change_line(&mut self, leaf: NodeIx, mut change: impl FnMut(&mut Node)) {
        let mut node = leaf;
        loop {
            let entry = &mut self.nodes[node];
            let Some(parent) = entry.parent else { return };
            change(entry);
            if !std::mem::replace(&mut entry.stale, true) {
                self.stale.push(node);
            }
            node = parent;
        }
    }

    fn mark_stale(&mut self, node: NodeIx) {
        let entry = &mut self.nodes[node];
        if !entry.stale {
            entry.stale = true;
            self.stale.push(node);
        }
    }

    /// Every rank changed.
    pub(crate) fn mark_all_stale(&mut self) {
        self.all_stale = true;
    }

    /// Brings every standing order up to date.
    pub(crate) fn refresh(&mut self, ranker: &Ranker<'_>) {
        let mut stale = std::mem::take(&mut self.stale);
        if std::mem::take(&mut self.all_stale) {
            stale.clear();
            stale.extend(self.nodes.iter().map(|(node, _)| node));
        }
        stale.drain(..).for_each(|node| self.rerank(node, ranker));
        self.stale = stale;
    }

    fn rerank(&mut self, node: NodeIx, ranker: &Ranker<'_>) {
        // A node can be removed, and its number be used again, while it is on the list.
        let Some(entry) = self.nodes.get_mut(node) else { return };
        let Some(parent) = entry.parent else { return };
        entry.stale = false;
        let policy = entry.policy(ranker.policies);
        if policy.ranking() == Ranking::PerAgent {
            return;
        }
        let rank = policy.rank(&entry.contender(ranker.kinds, None, 0));
        let (old, listed) = (entry.place(node), entry.wanting > 0 && rank != entry.rank);
        entry.rank = rank;
        if listed {
            let order = &mut self.nodes[parent].order;
            order.remove(&old);
            order.insert(Place { rank, ..old });
        }
    }

    /// The first client below `node`, in order, for whom `serve` has something.
    pub(crate) fn first<T>(
        &self,
        node: NodeIx,
        turn: &Turn<'_>,
        serve: &mut impl FnMut(ClientIx) -> Option<T>,
    ) -> Option<T> {
        let entry = &self.nodes[node];
        if let Kind::Client(client) = entry.kind {
            return serve(client);
        }
        if turn.ranking_below(entry.kind) == Ranking::Standing {
            return entry.order.iter().find_map(|place| self.first(place.node, turn, serve));
        }
        let places = entry.order.iter().map(|place| Reverse(self.place_in(place.node, turn)));
        let mut heap: BinaryHeap<Reverse<Place>> = places.collect();
        while let Some(Reverse(place)) = heap.pop() {
            let found = self.first(place.node, turn, serve);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Where a node stands among its siblings.
    pub(crate) fn place_in(&self, node: NodeIx, turn: &Turn<'_>) -> Place {
        let entry = &self.nodes[node];
        Place { rank: turn.rank(entry), ..entry.place(node) }
    }

    /// The order of two nodes of which neither is above the other.
    pub(crate) fn compare(&self, left: NodeIx, right: NodeIx, turn: &Turn<'_>) -> Ordering {
        let (mut left, mut right) = (left, right);
        loop {
            let (a, b) = (&self.nodes[left], &self.nodes[right]);
            let deeper = a.depth.cmp(&b.depth);
            if deeper.is_eq() && a.parent == b.parent {
                return turn.rank(a).cmp(&turn.rank(b)).then_with(|| a.label.cmp(&b.label));
            }
            left = a.parent.filter(|_| deeper.is_ge()).unwrap_or(left);
            right = b.parent.filter(|_| deeper.is_le()).unwrap_or(right);
        }
    }
}

impl Turn<'_> {
    fn rank(&self, node: &Node) -> Rank {
        let policy = node.policy(self.ranker.policies);
        match policy.ranking() {
            Ranking::Standing => node.rank,
            Ranking::PerAgent => {
                policy.rank(&node.contender(self.ranker.kinds, self.agent, mix(self.draw ^ node.salt)))
            }
        }
    }

    fn ranking_below(&self, kind: Kind) -> Ranking {
        match kind {
            Kind::Own => self.ranker.policies.frameworks.ranking(),
            Kind::Role | Kind::Client(_) => self.ranker.policies.roles.ranking(),
        }
    }
}

impl Node {
    fn add(&mut self, (kind, amount): &Amount) {
        if *kind >= self.held.len() {
            self.held.resize(kind + 1, 0);
        }
        self.held[*kind] = self.held[*kind].wrapping_add(*amount);
    }

    fn policy<'a>(&self, policies: &'a Policies) -> &'a dyn Policy {
        match self.kind {
            Kind::Role | Kind::Own => &*policies.roles,
            Kind::Client(_) => &*policies.frameworks,
        }
    }

    fn contender<'a>(&'a self, kinds: &'a Kinds, agent: Option<&'a AgentView>, draw: u64) -> Contender<'a> {
        Contender {
            name: &self.name,
            weight_thousandths: self.standing.weight_thousandths,
            priority: self.standing.priority,
            usage: kinds.usage(&self.held),
            allocations: self.allocations,
            agent,
            draw,
        }
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
