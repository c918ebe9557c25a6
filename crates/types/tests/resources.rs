//! Laws of resource arithmetic, for resources of all kinds and conditions.

use std::{collections::BTreeSet, sync::Arc};

use mesarch_types::{
    Disk, Quantities, Range, Ranges, Reservation, ReservationKind, Resource, Resources, Role, Scalar, Set,
    Value, parse_resources,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

fn reservation() -> impl Strategy<Value = Reservation> {
    (any::<bool>(), select(vec!["a", "a/b", "c"]), option::of(select(vec!["p", "q"]))).prop_map(
        |(dynamic, role, principal)| Reservation {
            kind: if dynamic { ReservationKind::Dynamic } else { ReservationKind::Static },
            role: Role::from(role),
            principal: principal.filter(|_| dynamic).map(Arc::from),
            labels: Default::default(),
        },
    )
}

/// What the flag text can say: at most one reservation, no disk.
fn textual() -> impl Strategy<Value = Resource> {
    let value = prop_oneof![
        (0..50_000i64).prop_map(|amount| ("cpus", Value::Scalar(Scalar(amount)))),
        (0..50_000i64).prop_map(|amount| ("mem", Value::Scalar(Scalar(amount)))),
        ranges().prop_map(|(ranges, _)| ("ports", Value::Ranges(ranges))),
        vec(select(vec!["x", "y", "z"]), 0..3)
            .prop_map(|names| ("set", Value::Set(names.into_iter().collect()))),
    ];
    (value, option::of(reservation()), any::<bool>()).prop_map(|((name, value), reservation, revocable)| {
        Resource { reservations: reservation.into_iter().collect(), revocable, ..Resource::new(name, value) }
    })
}

fn volume() -> impl Strategy<Value = Resource> {
    (select(vec!["v", "w"]), 1..3i64, any::<bool>()).prop_map(|(id, units, shared)| {
        let disk = Disk { persistence_id: Some(id.into()), ..Disk::default() };
        Resource { disk: Some(Arc::new(disk)), shared, ..Resource::new("disk", Scalar::from_units(units)) }
    })
}

fn textual_resources() -> impl Strategy<Value = Resources> {
    vec(textual(), 0..8).prop_map(|list| Resources::new(list).expect("small"))
}

fn resources() -> impl Strategy<Value = Resources> {
    vec(prop_oneof![3 => textual(), 1 => volume()], 0..8)
        .prop_map(|list| Resources::new(list).expect("small"))
}

/// Ranges and the same numbers one by one.
fn ranges() -> impl Strategy<Value = (Ranges, BTreeSet<u64>)> {
    vec((0..60u64, 0..8u64), 0..6).prop_map(|pairs| {
        let pairs: Vec<(u64, u64)> =
            pairs.into_iter().map(|(begin, length)| (begin, begin + length)).collect();
        let numbers = pairs.iter().flat_map(|(begin, end)| *begin..=*end).collect();
        (Ranges::new(pairs).expect("begin <= end"), numbers)
    })
}

fn numbers(ranges: &Ranges) -> BTreeSet<u64> {
    ranges.iter().flat_map(|Range { begin, end }| begin..=end).collect()
}

/// `part` without the numbers and names that `whole` has already: adding it takes nothing twice.
fn disjoint(whole: &Resources, part: &Resources) -> Resources {
    part.saturating_sub(&whole.non_scalars().saturating_add(&Resources::default()))
}

fn model(quantities: &Quantities) -> Vec<(String, i64)> {
    quantities
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(name, amount)| (name.to_string(), amount.0))
        .collect()
}

proptest! {
    #[test]
    fn ranges_behave_like_sets_of_numbers((left, lefts) in ranges(), (right, rights) in ranges(), number in 0..70u64) {
        prop_assert_eq!(numbers(&left), lefts.clone());
        prop_assert_eq!(numbers(&left.union(&right)), &lefts | &rights);
        prop_assert_eq!(numbers(&left.difference(&right)), &lefts - &rights);
        prop_assert_eq!(left.contains(&right), lefts.is_superset(&rights));
        prop_assert_eq!(left.contains_number(number), lefts.contains(&number));
        prop_assert_eq!(left.count(), lefts.len() as u64);
        prop_assert_eq!(left.is_empty(), lefts.is_empty());
        let coalesced = left.union(&right);
        let gaps: Vec<Range> = coalesced.iter().collect();
        prop_assert!(gaps.windows(2).all(|pair| pair[0].end + 1 < pair[1].begin));
    }

    #[test]
    fn what_is_added_can_be_taken_away(a in resources(), b in resources()) {
        let b = disjoint(&a, &b);
        let sum = a.checked_add(&b).expect("small");
        prop_assert_eq!(sum.checked_sub(&b), Some(a.clone()));
        prop_assert_eq!(sum.checked_sub(&a), Some(b));
    }

    #[test]
    fn what_is_taken_away_can_be_put_back(a in resources(), b in resources()) {
        if let Some(rest) = a.checked_sub(&b) {
            prop_assert_eq!(rest.checked_add(&b), Some(a));
        }
    }

    #[test]
    fn contains_holds_exactly_when_a_difference_exists(a in resources(), b in resources()) {
        prop_assert_eq!(a.contains(&b), a.checked_sub(&b).is_some());
        let common = a.saturating_sub(&a.saturating_sub(&b));
        prop_assert!(a.contains(&common) && b.contains(&common));
        prop_assert_eq!(a.contains(&b), common == b);
    }

    #[test]
    fn sums_do_not_depend_on_order_or_grouping(a in resources(), b in resources(), c in resources()) {
        prop_assert_eq!(a.checked_add(&b), b.checked_add(&a));
        prop_assert_eq!(&(&(&a + &b) + &c), &(&a + &(&b + &c)));
        let at_once = Resources::new(a.iter().chain(b.iter()).cloned()).expect("small");
        prop_assert_eq!(a.checked_add(&b), Some(at_once));
    }

    #[test]
    fn selections_part_the_whole(a in resources()) {
        for (left, right) in [
            (a.revocable(), a.non_revocable()),
            (a.scalars_only(), a.non_scalars()),
            (a.shared(), a.non_shared()),
        ] {
            prop_assert_eq!(left.checked_add(&right), Some(a.clone()));
        }
        prop_assert_eq!(a.allocated_to(&Role::from("a")).without_allocation(), a);
    }

    #[test]
    fn quantities_are_conserved(a in resources(), b in resources()) {
        let (a, b) = (a.non_shared(), b.non_shared());
        let sum = a.saturating_add(&b);
        let by_parts = a.quantities().checked_add(&b.quantities()).expect("small");
        prop_assert_eq!(model(&sum.quantities()), model(&by_parts));
    }

    #[test]
    fn a_shrunk_part_fits_in_both(a in resources(), cpus in 0..60_000i64, disk in 0..8_000i64) {
        let a = a.non_shared();
        let target: Quantities =
            [(Arc::from("cpus"), Scalar(cpus)), (Arc::from("disk"), Scalar(disk))].into_iter().collect();
        let part = a.shrink_to(&target);
        prop_assert!(a.contains(&part));
        prop_assert!(target.contains(&part.quantities()));
        prop_assert_eq!(part.quantities().get("cpus"), a.quantities().get("cpus").min(Scalar(cpus)));
        prop_assert_eq!(a.shrink_to_limits(&Quantities::default()), a.clone());
    }

    #[test]
    fn the_text_reads_back(a in textual_resources()) {
        prop_assert_eq!(parse_resources(&a.to_string(), &Role::any()), Ok(a));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[a-c;:(){}\\[\\], 0-9.*/-]{0,24}") {
        if let Ok(resources) = parse_resources(&text, &Role::any()) {
            prop_assert_eq!(parse_resources(&resources.to_string(), &Role::any()), Ok(resources));
        }
    }

    #[test]
    fn scalars_survive_text_and_double(thousandths in -1_000_000_000_000i64..1_000_000_000_000) {
        let scalar = Scalar(thousandths);
        prop_assert_eq!(scalar.to_string().parse::<Scalar>(), Ok(scalar));
        prop_assert_eq!(Scalar::from_f64(scalar.to_f64()), Some(scalar));
    }

    #[test]
    fn sets_behave_like_sets(left in vec("[a-d]", 0..4), right in vec("[a-d]", 0..4)) {
        let set = |names: &[String]| names.iter().map(String::as_str).collect::<Set>();
        let model = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
        let listed = |set: &Set| set.iter().map(|name| name.to_string()).collect::<BTreeSet<String>>();
        let (a, b) = (set(&left), set(&right));
        prop_assert_eq!(listed(&a.union(&b)), &model(&left) | &model(&right));
        prop_assert_eq!(listed(&a.difference(&b)), &model(&left) - &model(&right));
        prop_assert_eq!(a.contains(&b), model(&left).is_superset(&model(&right)));
    }
}
