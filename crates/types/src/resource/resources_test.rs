use std::sync::Arc;

use super::*;

fn r(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

fn volume(id: &str, mb: i64, shared: bool) -> Resource {
    let disk = Disk { persistence_id: Some(Arc::from(id)), ..Disk::default() };
    Resource { disk: Some(Arc::new(disk)), shared, ..Resource::new("disk", Scalar::from_units(mb)) }
}

fn with(text: &str, extra: impl IntoIterator<Item = Resource>) -> Resources {
    Resources::new(r(text).iter().cloned().chain(extra)).expect("well-formed")
}

#[test]
fn contains_compares_condition_by_condition() {
    let table = [
        ("cpus:4", "cpus:4", true),
        ("cpus:4", "cpus:4.001", false),
        ("cpus:4", "", true),
        ("", "cpus:1", false),
        ("cpus:4;mem:1", "mem:1", true),
        ("cpus(eng):4", "cpus:1", false),
        ("cpus:4", "cpus(eng):1", false),
        ("cpus(eng):4", "cpus(eng,ops):1", false),
        ("cpus:4", "cpus{REV}:1", false),
        ("ports:[1-9]", "ports:[2-3,9-9]", true),
        ("ports:[1-9]", "ports:[9-10]", false),
        ("set:{a,b}", "set:{b}", true),
    ];
    for (whole, part, expect) in table {
        assert_eq!(r(whole).contains(&r(part)), expect, "{whole} ⊇ {part}");
        assert_eq!(r(whole).checked_sub(&r(part)).is_some(), expect, "{whole} - {part}");
    }
}

#[test]
fn sums_and_differences() {
    assert_eq!(
        r("cpus:1;ports:[1-2]").checked_add(&r("cpus:2;mem:1;ports:[3-4]")),
        Some(r("cpus:3;mem:1;ports:[1-4]"))
    );
    assert_eq!(
        r("cpus:3;mem:1;ports:[1-4]").checked_sub(&r("mem:1;ports:[2-2]")),
        Some(r("cpus:3;ports:[1-1,3-4]"))
    );
    assert_eq!(r("cpus:1;mem:2").saturating_sub(&r("cpus:2;disk:1")), r("mem:2"));
    let mut sum = r("cpus:1");
    sum += &r("cpus:1");
    assert_eq!(sum, r("cpus:2"));
}

#[test]
fn an_overflow_is_refused_or_stops_at_the_limit() {
    let most = Resources::new([Resource::new("cpus", Scalar::MAX)]).expect("fits");
    assert_eq!(most.checked_add(&r("cpus:1")), None);
    assert_eq!(most.saturating_add(&r("cpus:1")), most);
    assert_eq!(r("x:1").checked_add(&r("x:[1-2]")), None, "kinds conflict");
}

#[test]
fn volumes_are_counted_not_summed() {
    let one = with("", [volume("v", 5, false)]);
    let half = with("", [volume("v", 2, false)]);
    let other = with("", [volume("w", 5, false)]);
    assert!(!one.contains(&half), "a volume cannot be cut");
    assert!(!one.contains(&other));
    let both = one.checked_add(&other).expect("small");
    assert_eq!(both.checked_sub(&one), Some(other));
    assert_eq!(both.quantities().to_string(), "disk:10");
}

#[test]
fn copies_of_a_shared_volume_count_once_in_quantities() {
    let one = with("disk:1", [volume("v", 5, true)]);
    let copy = with("", [volume("v", 5, true)]);
    let two = one.checked_add(&copy).expect("small");
    assert_eq!(two.iter().count(), 3);
    assert_eq!(two.iter_counted().len(), 2);
    assert_eq!(two.quantities().to_string(), "disk:6");
    assert!(two.contains(&one) && !one.contains(&two));
    assert_eq!(two.checked_sub(&copy), Some(one));
    assert_eq!(two.shared().iter().count(), 2);
    assert_eq!(two.non_shared(), r("disk:1"));
}

#[test]
fn disks_that_come_whole() {
    let disk = |source, id: Option<&str>| Disk { source, source_id: id.map(Arc::from), ..Disk::default() };
    for (disk, expect) in [
        (disk(DiskSource::Root, None), false),
        (disk(DiskSource::Path, Some("p")), false),
        (disk(DiskSource::Mount, None), true),
        (disk(DiskSource::Block, None), true),
        (disk(DiskSource::Raw, None), false),
        (disk(DiskSource::Raw, Some("r")), true),
    ] {
        assert_eq!(disk.is_indivisible(), expect, "{disk:?}");
    }
}

#[test]
fn selections() {
    let all = r("cpus:1;cpus(eng):2;cpus(eng)(eng/web,p):3;cpus(ops):4;cpus{REV}:5;ports:[1-2]");
    let web = Role::from("eng/web");
    let table = [
        (all.unreserved(), "cpus:1;cpus{REV}:5;ports:[1-2]"),
        (all.reserved_to(&Role::from("eng")), "cpus(eng):2"),
        (all.reserved_to(&web), "cpus(eng)(eng/web,p):3"),
        (all.allocatable_to(&web), "cpus:1;cpus(eng):2;cpus(eng)(eng/web,p):3;cpus{REV}:5;ports:[1-2]"),
        (all.allocatable_to(&Role::from("eng")), "cpus:1;cpus(eng):2;cpus{REV}:5;ports:[1-2]"),
        (all.allocatable_to(&Role::any()), "cpus:1;cpus{REV}:5;ports:[1-2]"),
        (all.revocable(), "cpus{REV}:5"),
        (all.non_revocable().scalars_only().unreserved(), "cpus:1"),
        (all.non_scalars(), "ports:[1-2]"),
    ];
    for (selected, expect) in table {
        assert_eq!(selected, r(expect));
    }
    assert_eq!(all.quantities().to_string(), "cpus:15");
}

#[test]
fn a_stamp_of_the_role_is_part_of_the_condition() {
    let plain = r("cpus:1;cpus{REV}:1");
    let stamped = plain.allocated_to(&Role::from("eng"));
    assert!(!plain.contains(&stamped));
    assert_eq!(stamped.without_allocation(), plain);
    let mixed = plain.saturating_add(&stamped);
    assert_eq!(mixed.without_allocation(), r("cpus:2;cpus{REV}:2"), "merged again");
    assert!(plain.without_allocation().ptr_eq(&plain), "nothing to do costs nothing");
}

#[test]
fn shrinking_cuts_scalars_and_keeps_volumes_whole() {
    let q = |text: &str| text.parse::<Quantities>().expect("well-formed");
    let all = with("cpus:4;cpus(eng):4;mem:100;ports:[1-2]", [volume("v", 5, false)]);
    let table = [
        ("cpus:5", "cpus:4;cpus(eng):1"),
        ("cpus:4;mem:200", "cpus:4;mem:100"),
        ("disk:4", ""),
        ("gpus:4", ""),
    ];
    for (target, expect) in table {
        assert_eq!(all.shrink_to(&q(target)), r(expect), "{target}");
    }
    assert_eq!(all.shrink_to(&q("disk:5")), with("", [volume("v", 5, false)]));
    assert_eq!(
        all.shrink_to_limits(&q("cpus:1")),
        with("cpus:1;mem:100;ports:[1-2]", [volume("v", 5, false)])
    );
}

#[test]
fn what_is_no_resource_is_refused() {
    assert_eq!(Resources::new([Resource::new("", Scalar(1))]), Err(ResourceError::NoName));
    assert_eq!(
        Resources::new([Resource::new("x", Scalar(-1))]),
        Err(ResourceError::Negative { name: "x".into() })
    );
}
