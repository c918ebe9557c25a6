//! Resources as numbers and texts.

use std::collections::BTreeSet;

use mesarch_mesos_v1::v0::Amounts;
use mesarch_types::Resources;
use serde_json::{Value, json};

/// By kind, reserved and unreserved together.
pub(super) fn amounts(resources: &Resources) -> Value {
    json!(Amounts::of([resources]))
}

/// What nobody reserved.
pub(super) fn unreserved(resources: &Resources) -> Resources {
    resources.unreserved()
}

/// What is reserved, by role.
pub(super) fn by_role(resources: &Resources, show: impl Fn(&Resources) -> Value) -> Value {
    let roles: BTreeSet<_> =
        resources.iter().filter_map(|resource| resource.reserved_role().cloned()).collect();
    let entries = roles.into_iter().map(|role| (role.to_string(), show(&resources.reserved_to(&role))));
    Value::Object(entries.collect())
}

#[cfg(test)]
mod tests {
    use mesarch_types::{Role, parse_resources};

    use super::*;

    #[test]
    fn kinds_are_summed_over_reservations_and_the_usual_ones_are_always_there() {
        let text = "cpus:1;cpus(eng):2;ports:[1-2];ports(eng):[3-4];zones:{b,a}";
        let all = parse_resources(text, &Role::from("*")).unwrap();
        let found = amounts(&all);
        assert_eq!(found["cpus"], 3.0);
        assert_eq!((&found["mem"], &found["gpus"], &found["disk"]), (&json!(0.0), &json!(0.0), &json!(0.0)));
        assert_eq!((&found["ports"], &found["zones"]), (&json!("[1-4]"), &json!("{a, b}")));
        assert_eq!(amounts(&unreserved(&all))["cpus"], 1.0);
        assert_eq!(by_role(&all, amounts)["eng"]["cpus"], 2.0);
    }
}
