use std::collections::BTreeSet;

use super::*;

fn with_turn<T>(use_it: impl FnOnce(&Turn<'_>) -> T) -> T {
    let (policies, kinds) = (Policies::default(), Kinds::new(BTreeSet::new()));
    use_it(&Turn { ranker: Ranker { policies: &policies, kinds: &kinds }, agent: None, draw: 0 })
}

/// A tree of frameworks `(role, framework)`, all wanting, numbered in this order.
fn tree(clients: &[(&str, &str)]) -> (Tree, Vec<NodeIx>) {
    let mut tree = Tree::new();
    let leaves = (clients.iter().zip(0..))
        .map(|((role, framework), number)| {
            let (role, framework) = (Role::from(*role), FrameworkId::from(*framework));
            tree.add_client(&role, &framework, ClientIx(number), Standing::default(), |_| Standing::default())
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
    tree.refresh(&Ranker { policies: &Policies::default(), kinds: &kinds });
}

fn order(tree: &Tree) -> Vec<u32> {
    let mut seen = Vec::new();
    let mut see = |client: ClientIx| {
        seen.push(client.0);
        None::<()>
    };
    with_turn(|turn| tree.first(tree.root(), turn, &mut see));
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
    tree.set_role_standing(&Role::from("a"), Standing { weight_thousandths: 2000, ..Standing::default() });
    refresh(&mut tree);
    assert_eq!(order(&tree), [1, 0, 2], "a: 30 % by weight two is less than c: 20 %");
    tree.set_role_standing(&Role::from("a"), Standing::default());
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
    with_turn(|turn| {
        sorted.sort_by(|left, right| tree.compare(leaves[*left as usize], leaves[*right as usize], turn));
    });
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
    assert!(tree.role_node("a/b").is_some());
    tree.remove_client(leaves[1]);
    assert!(tree.role_node("a/b").is_none() && tree.role_node("a").is_none());
    assert!(tree.role_node("c").is_some());
    refresh(&mut tree);
    assert_eq!(order(&tree), [2]);
}

#[test]
fn names_break_ties_in_whatever_order_they_come() {
    let mut tree = Tree::new();
    // Each new name falls between the last two: the room between two labels halves every time.
    let names: Vec<String> =
        (0..100).map(|n| if n % 2 == 0 { "a".repeat(n + 1) } else { "b".repeat(100 - n) }).collect();
    let leaves: Vec<NodeIx> = (names.iter().zip(0..))
        .map(|(name, number)| {
            let framework = FrameworkId::from(name.as_str());
            let leaf =
                tree.add_client(&Role::any(), &framework, ClientIx(number), Standing::default(), |_| {
                    Standing::default()
                });
            tree.set_wanting(leaf, true);
            leaf
        })
        .collect();
    refresh(&mut tree);
    let sorted = |kept: &dyn Fn(usize) -> bool| {
        let mut expect: Vec<usize> = (0..names.len()).filter(|place| kept(*place)).collect();
        expect.sort_by(|left, right| names[*left].cmp(&names[*right]));
        expect.into_iter().map(|place| place as u32).collect::<Vec<u32>>()
    };
    assert_eq!(order(&tree), sorted(&|_| true));
    for place in (0..names.len()).filter(|place| place % 3 == 0) {
        tree.set_wanting(leaves[place], false);
        tree.remove_client(leaves[place]);
    }
    assert_eq!(order(&tree), sorted(&|place| place % 3 != 0));
}
