//! The tree of roles, down to the frameworks in them, each level in the order in which it is to be served.
//!
//! A role competes with its sibling roles by what its whole subtree holds. Inside a role its own frameworks stand
//! together as one more sibling of its child roles, named `role/.`; inside that, framework competes with framework.
//! Only those who want offers are listed. Orders are brought up to date lazily, by [`Tree::refresh`].

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use mesarch_types::{FrameworkId, Role};

use crate::{
    Contender, Policy, Rank,
    index::{ClientIx, Index, NodeIx, Slab},
    kinds::{Amount, Kinds},
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

#[derive(Debug)]
pub(crate) struct Node {
    kind: Kind,
    /// Path of the role, `path/.`, or id of the framework: what breaks ties.
    name: Arc<str>,
    /// None: the root.
    parent: Option<NodeIx>,
    depth: u32,
    /// Of a role: its own frameworks.
    own: Option<NodeIx>,
    /// How many nodes have this one as their parent.
    children: u32,
    /// How many clients at or below it want offers.
    wanting: u32,
    /// The children with `wanting > 0`, in order.
    order: BTreeSet<Place>,
    weight_thousandths: u64,
    /// Amount by number of kind, with all below.
    pub(crate) held: Vec<i64>,
    allocations: u64,
    /// The rank under which the parent lists it.
    rank: Rank,
    stale: bool,
}

/// A child in its parent's order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rank: Rank,
    name: Arc<str>,
    node: NodeIx,
}

/// Who ranks whom, over which totals.
pub(crate) struct Ranker<'a> {
    pub(crate) roles: &'a dyn Policy,
    pub(crate) frameworks: &'a dyn Policy,
    pub(crate) kinds: &'a Kinds,
}

#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Slab<NodeIx, Node>,
    by_role: Index<Role, NodeIx>,
    root: NodeIx,
    stale: Vec<NodeIx>,
    /// The cluster's total changed: every share did.
    all_stale: bool,
}

impl Node {
    fn new(kind: Kind, name: Arc<str>, parent: Option<NodeIx>, depth: u32, weight_thousandths: u64) -> Self {
        Self {
            kind,
            name,
            parent,
            depth,
            own: None,
            children: 0,
            wanting: 0,
            order: BTreeSet::new(),
            weight_thousandths,
            held: Vec::new(),
            allocations: 0,
            rank: Rank::default(),
            stale: false,
        }
    }

    fn place(&self, node: NodeIx) -> Place {
        Place { rank: self.rank, name: self.name.clone(), node }
    }
}

impl Tree {
    pub(crate) fn new() -> Self {
        let mut nodes = Slab::default();
        let root = nodes.insert(Node::new(Kind::Role, Arc::from(""), None, 0, WEIGHT_ONE));
        Self { nodes, by_role: Index::default(), root, stale: Vec::new(), all_stale: false }
    }

    pub(crate) fn root(&self) -> NodeIx {
        self.root
    }

    pub(crate) fn node(&self, node: NodeIx) -> &Node {
        &self.nodes[node]
    }

    pub(crate) fn role_node(&self, role: &Role) -> Option<NodeIx> {
        self.by_role.get(role)
    }

    /// Adds a framework to a role, with what is missing above it. `weight_of` knows the roles' weights.
    pub(crate) fn add_client(
        &mut self,
        role: &Role,
        framework: &FrameworkId,
        client: ClientIx,
        weight_of: impl Fn(&str) -> u64,
    ) -> NodeIx {
        let mut node = self.root;
        for path in role.ancestors().chain([role.as_str()]) {
            node = self.by_role.get(path).unwrap_or_else(|| {
                let made = self.add_child(node, Kind::Role, path.into(), weight_of(path));
                self.by_role.insert(Role::from(path), made);
                made
            });
        }
        let own = self.nodes[node].own.unwrap_or_else(|| {
            let made = self.add_child(node, Kind::Own, format!("{role}/.").into(), WEIGHT_ONE);
            self.nodes[node].own = Some(made);
            made
        });
        self.add_child(own, Kind::Client(client), framework.as_str().into(), WEIGHT_ONE)
    }

    fn add_child(&mut self, parent: NodeIx, kind: Kind, name: Arc<str>, weight_thousandths: u64) -> NodeIx {
        let depth = self.nodes[parent].depth + 1;
        self.nodes[parent].children += 1;
        let node = self.nodes.insert(Node::new(kind, name, Some(parent), depth, weight_thousandths));
        self.mark_stale(node);
        node
    }

    /// Removes a leaf that holds and wants nothing, with what is empty above it.
    pub(crate) fn remove_client(&mut self, leaf: NodeIx) {
        let mut node = leaf;
        while self.nodes[node].children == 0 {
            let Some(parent) = self.nodes[node].parent else {
                return;
            };
            let Some(gone) = self.nodes.remove(node) else {
                return;
            };
            match gone.kind {
                Kind::Role => self.by_role.remove(&*gone.name),
                Kind::Own => self.nodes[parent].own = None,
                Kind::Client(_) => {}
            }
            self.nodes[parent].children -= 1;
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

    pub(crate) fn set_weight(&mut self, role: &Role, weight_thousandths: u64) {
        if let Some(node) = self.by_role.get(role) {
            self.nodes[node].weight_thousandths = weight_thousandths;
            self.mark_stale(node);
        }
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

    /// Takes what a client gave back out of its books and of those above it.
    pub(crate) fn subtract_held(&mut self, leaf: NodeIx, amounts: &[Amount]) {
        self.change_line(leaf, |node| amounts.iter().for_each(|(kind, amount)| node.add(&(*kind, -amount))));
    }

    /// Undoes [`Tree::add_held`], as if it had not been.
    pub(crate) fn undo_held(&mut self, leaf: NodeIx, amounts: &[Amount]) {
        self.change_line(leaf, |node| {
            node.allocations -= 1;
            amounts.iter().for_each(|(kind, amount)| node.add(&(*kind, -amount)));
        });
    }

    /// Adds to the books of one node only.
    pub(crate) fn add_at(&mut self, node: NodeIx, amount: &Amount) {
        self.nodes[node].add(amount);
        self.mark_stale(node);
    }

    fn change_line(&mut self, leaf: NodeIx, mut change: impl FnMut(&mut Node)) {
        let mut node = leaf;
        while let Some(parent) = self.nodes[node].parent {
            change(&mut self.nodes[node]);
            self.mark_stale(node);
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

    /// Every share changed.
    pub(crate) fn mark_all_stale(&mut self) {
        self.all_stale = true;
    }

    /// Brings every order up to date.
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
        let Some(entry) = self.nodes.get(node) else { return };
        let Some(parent) = entry.parent else { return };
        let rank = entry.rank_by(ranker);
        let listed = entry.wanting > 0 && rank != entry.rank;
        if listed {
            let place = entry.place(node);
            self.nodes[parent].order.remove(&place);
        }
        let entry = &mut self.nodes[node];
        entry.stale = false;
        entry.rank = rank;
        if listed {
            let place = entry.place(node);
            self.nodes[parent].order.insert(place);
        }
    }

    /// The first client below `node`, in order, for whom `serve` has something.
    pub(crate) fn first<T>(&self, node: NodeIx, serve: &mut impl FnMut(ClientIx) -> Option<T>) -> Option<T> {
        match self.nodes[node].kind {
            Kind::Client(client) => serve(client),
            Kind::Role | Kind::Own => {
                self.nodes[node].order.iter().find_map(|place| self.first(place.node, serve))
            }
        }
    }

    /// The order of two leaves.
    pub(crate) fn compare(&self, left: NodeIx, right: NodeIx) -> Ordering {
        let (mut left, mut right) = (left, right);
        loop {
            let (a, b) = (&self.nodes[left], &self.nodes[right]);
            let deeper = a.depth.cmp(&b.depth);
            if deeper.is_eq() && a.parent == b.parent {
                return a.rank.cmp(&b.rank).then_with(|| a.name.cmp(&b.name));
            }
            left = a.parent.filter(|_| deeper.is_ge()).unwrap_or(left);
            right = b.parent.filter(|_| deeper.is_le()).unwrap_or(right);
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

    fn rank_by(&self, ranker: &Ranker<'_>) -> Rank {
        let policy = match self.kind {
            Kind::Role | Kind::Own => ranker.roles,
            Kind::Client(_) => ranker.frameworks,
        };
        policy.rank(&Contender {
            name: &self.name,
            weight_thousandths: self.weight_thousandths,
            usage: ranker.kinds.usage(&self.held),
            allocations: self.allocations,
        })
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
