use super::*;

fn q(text: &str) -> Quantities {
    text.parse().expect("well-formed")
}

fn amounts(list: &[(&str, i64)]) -> Quantities {
    list.iter().map(|(kind, thousandths)| (Arc::from(*kind), Scalar(*thousandths))).collect()
}

#[test]
fn every_bad_quota_is_refused_with_field_and_bound() {
    let none = Quantities::default;
    let table = [
        ("eng/web", q("cpus:1"), none(), "role: quota of eng/web is not possible"),
        ("a//b", none(), none(), "role: \"a//b\" cannot have a quota"),
        ("eng", amounts(&[("cpus", -1)]), none(), "guarantees.cpus: -0.001 is negative"),
        ("eng", none(), amounts(&[("mem", -5000)]), "limits.mem: -5 is negative"),
        ("eng", amounts(&[("cpus", i64::MAX)]), none(), "guarantees.cpus: 9223372036854775.807 is more than"),
        ("eng", none(), q("mem:1099511627777"), "limits.mem: 1099511627777 is more than the bound"),
        ("eng", q("cpus:2;mem:1"), q("cpus:1"), "limits.cpus: 1 is below the guarantee of 2"),
        ("eng", q("cpus:1"), amounts(&[("cpus", 0)]), "limits.cpus: 0 is below the guarantee of 1"),
    ];
    for (role, guarantees, limits, expect) in table {
        let error = Quota::new(Role::from(role), guarantees, limits).expect_err(expect).to_string();
        assert!(error.starts_with(expect), "{error}");
    }
}

#[test]
fn a_limit_of_zero_is_a_limit_and_a_guarantee_of_zero_is_none() {
    let zero = amounts(&[("cpus", 0)]);
    let quota = Quota::new(Role::from("eng"), zero.clone(), zero).expect("good");
    assert_eq!((quota.guarantees().iter().len(), quota.limits().get_exact("cpus")), (0, Some(Scalar::ZERO)));
    assert!(!quota.is_none());
    assert!(
        Quota::new(Role::from("*"), Quantities::default(), Quantities::default()).expect("good").is_none()
    );
}

#[test]
fn doubles_that_are_no_amounts_are_refused() {
    for bad in [f64::NAN, f64::INFINITY, 1e300, 0.0001] {
        let error = Quota::from_doubles(Role::from("eng"), [], [("cpus", bad)]).expect_err("no amount");
        assert!(error.to_string().starts_with("limits.cpus: not a finite number"), "{error}");
    }
    let negative = Quota::from_doubles(Role::from("eng"), [("cpus", -1.0)], []);
    assert!(matches!(negative, Err(QuotaError::Negative { field: QuotaField::Guarantees, .. })));
    let good = Quota::from_doubles(Role::from("eng"), [("cpus", 0.5)], [("cpus", 2.0), ("gpus", 0.0)]);
    assert_eq!(good.expect("good").limits().get("cpus"), Scalar(2000));
}

#[test]
fn consumption_and_capacity_are_checked_by_kind() {
    let quota = |role: &str, guarantees: &str, limits: &str| {
        Quota::new(Role::from(role), q(guarantees), q(limits)).expect("good")
    };
    let eng = quota("eng", "cpus:2", "cpus:3;mem:10");
    assert_eq!(eng.check_consumption(&q("cpus:3;mem:10;disk:99")), Ok(()));
    let error = eng.check_consumption(&q("mem:11")).expect_err("too little").to_string();
    assert_eq!(error, "limits.mem: 10 is below the present consumption of 11");
    let both = [eng, quota("ops", "cpus:2", "")];
    assert_eq!(Quota::check_capacity(&both, &q("cpus:4")), Ok(()));
    let error = Quota::check_capacity(&both, &q("cpus:3.5")).expect_err("too much").to_string();
    assert_eq!(error, "guarantees.cpus: 4 are guaranteed in all, the cluster has 3.5");
}

#[test]
fn weights_are_above_zero_and_bounded() {
    for bad in [0.0, -1.0, f64::NAN, 0.0001] {
        assert_eq!(Weight::from_f64(bad), Err(WeightError::TooSmall), "{bad}");
    }
    for bad in [1e7, f64::INFINITY, 1e300] {
        assert_eq!(Weight::from_f64(bad), Err(WeightError::TooLarge { max: 1_000_000 }), "{bad}");
    }
    assert_eq!(Weight::from_f64(2.5).map(Weight::thousandths), Ok(2500));
    assert_eq!(Weight::from_thousandths(0), Err(WeightError::TooSmall));
    assert_eq!(Weight::from_thousandths(1000), Ok(Weight::default()));
}

#[test]
fn priorities_are_bounded_on_both_sides() {
    for (value, good) in
        [(0, true), (1_000_000, true), (-1_000_000, true), (1_000_001, false), (i64::MIN, false)]
    {
        assert_eq!(Priority::new(value).is_ok(), good, "{value}");
    }
    assert!(Priority::new(i64::MAX).expect_err("large").to_string().contains("between -1000000 and 1000000"));
}
