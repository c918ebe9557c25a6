//! Resources as numbers and texts.

use std::collections::{BTreeMap, BTreeSet};

use mesarch_types::{Resources, Value as Amount};
use serde_json::{Map, Value, json};

/// Kinds that are always there.
const ALWAYS: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

/// By kind, reserved and unreserved together: scalars as numbers, ranges and sets as texts. Revocable ones have kinds of
/// their own.
pub(super) fn amounts(resources: &Resources) -> Value {
    let mut sums: BTreeMap<String, Amount> = BTreeMap::new();
    for resource in resources.iter() {
        let suffix = if resource.revocable { "_revocable" } else { "" };
        let sum = sums.entry(format!("{}{suffix}", resource.name));
        // Amounts of one kind in one agent add up; if they did not, the first would stand.
        sum.and_modify(|sum| {
            if let Some(more) = sum.checked_add(&resource.value) {
                *sum = more;
            }
        })
        .or_insert_with(|| resource.value.clone());
    }
    let mut shown: Map<String, Value> = ALWAYS.iter().map(|name| ((*name).to_owned(), json!(0.0))).collect();
    shown.extend(sums.into_iter().map(|(name, amount)| (name, show(&amount))));
    Value::Object(shown)
}

fn show(amount: &Amount) -> Value {
    match amount {
        Amount::Scalar(scalar) => json!(scalar.to_f64()),
        Amount::Ranges(ranges) => json!(ranges.to_string()),
        Amount::Set(set) => {
            let items: Vec<&str> = set.iter().map(|item| &**item).collect();
            json!(format!("{{{}}}", items.join(", ")))
        }
    }
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
