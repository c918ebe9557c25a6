//! Tables over the rules and both forms.

use mesarch_proto::mesos::v1::{self, resource::reservation_info::Type, value};
use mesarch_types::{
    Role,
    resource::{Resources, parse_resources},
};

use super::*;
use crate::encoder::Encoder;

fn scalar(name: &str, amount: f64) -> v1::Resource {
    v1::Resource {
        name: name.into(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        ..Default::default()
    }
}

fn ranges(pairs: &[(u64, u64)]) -> v1::Resource {
    let range = pairs.iter().map(|(begin, end)| value::Range { begin: *begin, end: *end });
    v1::Resource {
        name: "ports".into(),
        r#type: value::Type::Ranges as i32,
        ranges: Some(value::Ranges { range: range.collect() }),
        ..Default::default()
    }
}

fn reserved(kind: Option<Type>, role: Option<&str>) -> v1::resource::ReservationInfo {
    v1::resource::ReservationInfo {
        r#type: kind.map(|kind| kind as i32),
        role: role.map(Into::into),
        ..Default::default()
    }
}

fn with(mut resource: v1::Resource, change: impl FnOnce(&mut v1::Resource)) -> v1::Resource {
    change(&mut resource);
    resource
}

fn texts(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("a good text")
}

#[test]
fn every_rule_has_its_refusal() {
    let set = v1::Resource {
        name: "s".into(),
        r#type: value::Type::Set as i32,
        set: Some(value::Set { item: vec!["a".into(), "a".into()] }),
        ..Default::default()
    };
    let (fixed, dynamic) = (Some(Type::Static), Some(Type::Dynamic));
    let new =
        |list: &[v1::resource::ReservationInfo]| with(scalar("cpus", 1.0), |r| r.reservations = list.into());
    let table = [
        (scalar("", 1.0), "no name"),
        (scalar("cpus", -1.0), "negative"),
        (scalar("cpus", f64::NAN), "negative"),
        (scalar("cpus", f64::INFINITY), "negative"),
        (scalar("cpus", 0.0001), "too small"),
        (scalar("gpus", 0.5), "whole number"),
        (with(scalar("cpus", 1.0), |r| r.r#type = 3), "SCALAR, RANGES or SET"),
        (with(scalar("cpus", 1.0), |r| r.ranges = Some(Default::default())), "SCALAR, RANGES or SET"),
        (ranges(&[(2, 1)]), "begin <= end"),
        (ranges(&[(1, 5), (3, 9)]), "overlap"),
        (set, "duplicates"),
        (with(scalar("cpus", 1.0), |r| r.disk = Some(Default::default())), "only 'disk'"),
        (with(scalar("disk", 1.0), |r| r.shared = Some(Default::default())), "persistent volume"),
        (with(scalar("cpus", 1.0), |r| r.role = Some("a b".into())), "role"),
        (with(scalar("cpus", 1.0), |r| r.reservation = Some(Default::default())), "dynamically reserved"),
        (new(&[reserved(None, Some("a"))]), "needs a type"),
        (new(&[reserved(dynamic, None)]), "needs a role"),
        (new(&[reserved(dynamic, Some("*"))]), "cannot be reserved"),
        (new(&[reserved(fixed, Some("a")), reserved(fixed, Some("a/b"))]), "must be DYNAMIC"),
        (new(&[reserved(fixed, Some("a")), reserved(dynamic, Some("b"))]), "below the one"),
        (with(new(&[reserved(fixed, Some("a"))]), |r| r.role = Some("b".into())), "contradict"),
    ];
    for (resource, expect) in table {
        let error = resources_from_v1(std::slice::from_ref(&resource)).expect_err(expect).to_string();
        assert!(error.contains(expect), "{resource:?}: {error:?} does not say {expect:?}");
    }
    let old = with(scalar("cpus", 1.0), |r| r.role = Some("a".into()));
    let mixed = [old, new(&[reserved(fixed, Some("a"))])];
    assert_eq!(resources_from_v1(&mixed), Err(InvalidResource::MixedFormats));
}

#[test]
fn old_and_new_form_mean_the_same() {
    let old = with(scalar("cpus", 1.0), |r| {
        r.role = Some("eng".into());
        r.reservation =
            Some(v1::resource::ReservationInfo { principal: Some("p".into()), ..Default::default() });
    });
    let new = with(scalar("cpus", 1.0), |r| {
        let info = reserved(Some(Type::Dynamic), Some("eng"));
        r.reservations = vec![v1::resource::ReservationInfo { principal: Some("p".into()), ..info }];
    });
    let from_old = resources_from_v1(std::slice::from_ref(&old)).expect("good");
    assert_eq!(from_old, resources_from_v1(std::slice::from_ref(&new)).expect("good"));
    assert_eq!(resources_to_v1(&from_old, ResourceForm::Old), std::slice::from_ref(&old));
    assert_eq!(resources_to_v1(&from_old, ResourceForm::New), std::slice::from_ref(&new));
    let both = with(old, |r| r.reservations = new.reservations);
    assert_eq!(resources_to_v1(&from_old, ResourceForm::Both), std::slice::from_ref(&both));
    assert_eq!(resources_from_v1(&[both]).expect("good"), from_old);
}

#[test]
fn the_old_form_leaves_refined_reservations_out() {
    let list = vec![reserved(Some(Type::Static), Some("a")), reserved(Some(Type::Dynamic), Some("a/b"))];
    let refined = with(scalar("cpus", 1.0), |r| r.reservations = list);
    let ours = resources_from_v1(std::slice::from_ref(&refined)).expect("good");
    assert_eq!(resources_to_v1(&ours, ResourceForm::Old), []);
    assert_eq!(resources_to_v1(&ours, ResourceForm::New), std::slice::from_ref(&refined));
    assert_eq!(resources_to_v1(&ours, ResourceForm::Both), [refined]);
}

#[test]
fn values_survive_a_round_trip() {
    let ours = texts("cpus:1.5;mem(eng):1024;ports:[31000-32000, 40000-40001];names:{a,b}");
    for form in [ResourceForm::New, ResourceForm::Old, ResourceForm::Both] {
        let there = resources_to_v1(&ours, form);
        assert_eq!(resources_from_v1(&there).expect("good"), ours, "{form:?}");
    }
}

#[test]
fn zero_is_allowed_and_vanishes() {
    assert!(resources_from_v1(&[scalar("cpus", 0.0)]).expect("good").is_empty());
}

#[test]
fn disk_information_and_allocation_survive() {
    let volume = with(scalar("disk", 64.0), |r| {
        r.reservations = vec![reserved(Some(Type::Dynamic), Some("eng"))];
        r.allocation_info = Some(v1::resource::AllocationInfo { role: Some("eng".into()) });
        r.disk = Some(v1::resource::DiskInfo {
            persistence: Some(v1::resource::disk_info::Persistence { id: "v1".into(), principal: None }),
            ..Default::default()
        });
    });
    let ours = resources_from_v1(std::slice::from_ref(&volume)).expect("good");
    assert_eq!(ours.iter().next().and_then(|one| one.allocated_to.clone()), Some(Role::from("eng")));
    assert_eq!(resources_to_v1(&ours, ResourceForm::New), [volume]);
}

#[test]
fn an_encoded_resource_is_the_message() {
    let role = Role::from("eng");
    let texts = ["cpus:1.5", "cpus(eng):2;mem:7", "ports:[1-2]", "names:{a,b}", "gpus:0.001"];
    for text in texts {
        let all = parse_resources(text, &Role::any()).unwrap();
        for resource in all.iter().chain(all.allocated_to(&role).iter()) {
            for form in [ResourceForm::New, ResourceForm::Old, ResourceForm::Both] {
                let (mut expect, mut got) = (Vec::new(), Vec::new());
                Encoder::new(&mut expect).whole(7, &resource_to_v1(resource, form).unwrap());
                encode_resource(7, resource, form, &mut Encoder::new(&mut got));
                assert_eq!(got, expect, "{text} {form:?}");
            }
        }
    }
}
