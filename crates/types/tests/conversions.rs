//! Laws of operations on resources: whatever they do, nothing comes out of nothing, and each has its opposite.

use std::sync::Arc;

use mesarch_types::{
    Conversion, Disk, Quantities, Resource, Resources, Role, Scalar, Value, parse_resources,
};
use proptest::prelude::*;

fn r(text: &str) -> Resources {
    parse_resources(text, &Role::any()).expect("well-formed")
}

fn one(resources: &Resources) -> Option<Resource> {
    resources.iter().next().cloned()
}

fn volume(id: u8, units: i64) -> Resource {
    let disk = Disk { persistence_id: Some(format!("v{}", id % 3).into()), ..Disk::default() };
    let reserved = one(&r("disk(eng,op):1")).expect("one");
    Resource { disk: Some(Arc::new(disk)), value: Value::Scalar(Scalar::from_units(units)), ..reserved }
}

/// An operation that may or may not be possible.
fn conversion() -> impl Strategy<Value = Conversion> {
    (0..7u8, any::<u8>(), 1..40i64, 1..40i64).prop_map(|(kind, id, some, more)| {
        let reserved = r(&format!("cpus(eng,op):{};disk(eng,op):{more}", some % 5));
        let volumes = Resources::new([volume(id, some)]).expect("one");
        match kind {
            0 => Conversion::Reserve(reserved),
            1 => Conversion::Unreserve(reserved),
            2 => Conversion::Create(volumes),
            3 => Conversion::Destroy(volumes),
            4 => {
                let addition = one(&r(&format!("disk(eng,op):{more}"))).expect("one");
                Conversion::Grow { volume: volume(id, some), addition }
            }
            5 => {
                let roles = ["eng", "ops"];
                let cpus = |role: usize| r(&format!("cpus({},op):{}", roles[role % 2], some % 5));
                Conversion::Rereserve { source: cpus(id.into()), target: cpus(usize::from(id) + 1) }
            }
            _ => Conversion::Shrink { volume: volume(id, some), subtract: Scalar::from_units(more) },
        }
    })
}

/// What undoes it.
fn opposite(conversion: &Conversion) -> Conversion {
    match conversion.clone() {
        Conversion::Reserve(named) => Conversion::Unreserve(named),
        Conversion::Unreserve(named) => Conversion::Reserve(named),
        Conversion::Create(named) => Conversion::Destroy(named),
        Conversion::Destroy(named) => Conversion::Create(named),
        Conversion::Grow { volume, addition } => {
            let subtract = addition.value.as_scalar().expect("disk");
            let size = volume.value.as_scalar().and_then(|size| size.checked_add(subtract)).expect("small");
            Conversion::Shrink { volume: Resource { value: Value::Scalar(size), ..volume }, subtract }
        }
        Conversion::Rereserve { source, target } => Conversion::Rereserve { source: target, target: source },
        Conversion::ChangeDisk(_) => unreachable!("none is drawn: only a provider can undo it"),
        Conversion::Shrink { volume, subtract } => {
            let size = volume.value.as_scalar().and_then(|size| size.checked_sub(subtract)).expect("fits");
            let addition = one(&r("disk(eng,op):1")).expect("one");
            let addition = Resource { value: Value::Scalar(subtract), ..addition };
            Conversion::Grow { volume: Resource { value: Value::Scalar(size), ..volume }, addition }
        }
    }
}

proptest! {
    #[test]
    fn amounts_stay_and_every_operation_can_be_undone(list in prop::collection::vec(conversion(), 1..30)) {
        let mut now = r("cpus:8;mem:512;disk:200;ports:[1-9]");
        let amounts: Quantities = now.quantities();
        for conversion in list {
            let Ok(then) = now.apply(&conversion) else { continue };
            prop_assert_eq!(then.quantities(), amounts.clone());
            prop_assert_ne!(&then, &now);
            prop_assert_eq!(then.apply(&opposite(&conversion)), Ok(now));
            now = then;
        }
    }

    #[test]
    fn what_an_operation_does_to_a_part_it_does_to_the_whole(list in prop::collection::vec(conversion(), 1..30)) {
        let others = r("cpus:3;disk:50;cpus(ops):1");
        let mut part = r("cpus:8;disk:200");
        for conversion in list {
            let whole = part.checked_add(&others).expect("small");
            let Ok(then) = part.apply(&conversion) else { continue };
            prop_assert_eq!(whole.apply(&conversion), Ok(then.checked_add(&others).expect("small")));
            part = then;
        }
    }
}
