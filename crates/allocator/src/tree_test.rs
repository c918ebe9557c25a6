use std::collections::BTreeSet;

use super::*;
use crate::Drf;

/// A tree of frameworks `(role, framework)`, all wanting, numbered in this order.
fn tree(clients: &[(&str, &str)]) -> (Tree, Vec<NodeIx>) {
    let mut tree = Tree::new();
    let leaves = (clients.iter().zip(0..))
        .map(|((role, framework), number)| {
            tree.add_client(&Role::from(*role), &FrameworkId::from(*framework), ClientIx(number), |_| {
                WEIGHT_ONE
            })
        })
        .collect::<Vec<_>>();
    leaves.iter().for_each(|leaf| tree.set_wanting(*leaf, true));
    (tree, leaves)
}

/// One kind, of which the cluster has 100.
fn refresh(tree: &mut Tree) {
    let mut kinds = Kinds::new(BTreeSet::new());
    let cpus = kinds.number(&Arc::from("cpus"));
    kinds.add_total(&[(cpus, 100)]);
    tree.refresh(&Ranker { roles: &Drf, frameworks: &Drf, kinds: &kinds });
}

fn order(tree: &Tree) -> Vec<u32> {
    let mut seen = Vec::new();
    tree.first(tree.root(), &mut |client: ClientIx| {
        seen.push(client.0);
        None::<()>
    });
    seen
}

#[test]
fn siblings_are_ordered_at_each_level_and_listed_depth_first() {
    let (mut tree, leaves) = tree(&[("a", "f"), ("a/b", "g"), ("c", "h"), ("a", "e")]);
    refresh(&mut tree);
    assert_eq!(order(&tree), [3, 0, 1, 2], "all alike: by name");
    tree.add_held(leaves[1], &[(0, 10)]);
    refresh(&mut tree);
    assert_eq!(order(&tree), [2, 3, 0, 1], "what `a/b` holds counts for `a`, and behind it within `a`");
    tree.add_held(leaves[0], &[(0, 20)]);
    tree.add_held(leaves[2], &[(0, 40)]);
    refresh(&mut tree);
    assert_eq!(order(&tree), [1, 3, 0, 2], "the role's own frameworks stand together");
}

#[test]
fn equal_shares_go_by_allocations_and_a_release_does_not_give_the_turn_back() {
    let (mut tree, leaves) = tree(&[("*", "a"), ("*", "b")]);
    tree.add_held(leaves[0], &[(0, 5)]);
    tree.subtract_held(leaves[0], &[(0, 5)]);
    refresh(&mut tree);
    assert_eq!(order(&tree), [1, 0]);
    tree.add_held(leaves[1], &[(0, 5)]);
    tree.undo_held(leaves[1], &[(0, 5)]);
    refresh(&mut tree);
    assert_eq!(order(&tree), [1, 0], "undone as if it had not been");
}

#[test]
fn weights_belong_to_the_role_and_not_to_its_own_frameworks() {
    let (mut tree, leaves) = tree(&[("a", "f"), ("a/b", "g"), ("c", "h")]);
    for (leaf, amount) in leaves.iter().zip([20, 10, 20]) {
        tree.add_held(*leaf, &[(0, amount)]);
    }
    tree.set_weight(&Role::from("a"), 2000);
    refresh(&mut tree);
    assert_eq!(order(&tree), [1, 0, 2], "a: 30 % by weight two is less than c: 20 %");
    tree.set_weight(&Role::from("a"), 1000);
    refresh(&mut tree);
    assert_eq!(order(&tree), [2, 1, 0]);
}

#[test]
fn two_leaves_compare_as_they_are_listed() {
    let clients = [
        ("a", "f"),
        ("a/b", "g"),
        ("a/b/c", "g"),
        ("a/d", "f"),
        ("e", "x"),
        ("e", "y"),
        ("e/f", "x"),
        ("*", "z"),
    ];
    let (mut tree, leaves) = tree(&clients);
    for (leaf, amount) in leaves.iter().zip([3, 1, 4, 1, 5, 9, 2, 6]) {
        tree.add_held(*leaf, &[(0, amount)]);
    }
    refresh(&mut tree);
    let listed = order(&tree);
    let mut sorted: Vec<u32> = (0..clients.len() as u32).collect();
    sorted.sort_by(|left, right| tree.compare(leaves[*left as usize], leaves[*right as usize]));
    assert_eq!(sorted, listed);
}

#[test]
fn who_wants_nothing_is_not_listed_and_empty_roles_vanish() {
    let (mut tree, leaves) = tree(&[("a/b", "f"), ("a/b", "g"), ("c", "h")]);
    refresh(&mut tree);
    tree.set_wanting(leaves[0], false);
    assert_eq!(order(&tree), [1, 2]);
    tree.set_wanting(leaves[1], false);
    assert_eq!(order(&tree), [2]);
    tree.remove_client(leaves[0]);
    assert!(tree.role_node(&Role::from("a/b")).is_some());
    tree.remove_client(leaves[1]);
    assert!(tree.role_node(&Role::from("a/b")).is_none() && tree.role_node(&Role::from("a")).is_none());
    assert!(tree.role_node(&Role::from("c")).is_some());
    refresh(&mut tree);
    assert_eq!(order(&tree), [2]);
}
