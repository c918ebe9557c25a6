//! A crate depends on crates in lower layers only. This table is the law; `ARCHITECTURE.md` draws it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every crate of ours and the ones that it may use, without the prefix `mesarch-`. `*` allows all.
///
/// Test-only dependencies are free for tools and tests, but a crate below them may not reach up even in its tests,
/// except to `testkit`.
const TABLE: &[(&str, &[&str])] = &[
    ("faults", &[]),
    ("types", &[]),
    ("proto", &[]),
    ("allocator", &["types"]),
    ("state", &["faults", "types", "proto"]),
    ("leader-core", &["faults", "types", "allocator", "state"]),
    ("agent-core", &["faults", "types"]),
    ("telemetry", &[]),
    ("edge", &[]),
    ("mesos-v1", &["types", "proto"]),
    ("storage", &["faults", "types", "telemetry"]),
    ("consensus", &["faults", "storage", "state", "proto", "types", "telemetry"]),
    ("client", &["types", "proto", "mesos-v1"]),
    (
        "master",
        &[
            "faults",
            "types",
            "proto",
            "allocator",
            "state",
            "leader-core",
            "mesos-v1",
            "storage",
            "consensus",
            "client",
            "telemetry",
            "edge",
        ],
    ),
    ("agent", &["faults", "agent-core", "client", "mesos-v1", "telemetry", "edge", "types", "proto"]),
    ("mesarch", &["*"]),
    (
        "testkit",
        &[
            "types",
            "proto",
            "allocator",
            "state",
            "leader-core",
            "agent-core",
            "mesos-v1",
            "storage",
            "consensus",
            "client",
            "telemetry",
        ],
    ),
    ("sim", &["types", "proto", "allocator", "state", "leader-core", "agent-core", "mesos-v1"]),
    ("bench", &["*"]),
    ("jepsen", &["*"]),
    ("tests", &["*"]),
    ("xtask", &[]),
];

fn short(name: &str) -> &str {
    name.strip_prefix("mesarch-").unwrap_or(name)
}

#[test]
fn every_edge_goes_down_as_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let metadata = MetadataCommand::new().no_deps().exec().expect("cargo metadata answers");
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let from = short(&package.name);
        let Some(allowed) = table.get(from) else {
            wrong.push(format!("{from} has no line in the table"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| ours.contains(d.name.as_str())) {
            let to = short(&dependency.name);
            let in_tests = dependency.kind == DependencyKind::Development;
            let free = allowed.contains(&"*") || allowed.contains(&to) || (in_tests && to == "testkit");
            if !free {
                wrong.push(format!("{from} may not use {to}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_itself_only_points_down() {
    let order: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    for (position, (name, allowed)) in TABLE.iter().enumerate() {
        for lower in allowed.iter().filter(|lower| **lower != "*") {
            let of_lower = order.iter().position(|other| other == lower).expect("every name has a line");
            assert!(of_lower < position, "{name} is listed before {lower}");
        }
    }
}
