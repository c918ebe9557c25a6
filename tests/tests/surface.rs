//! The whole HTTP surface, asked with curl: `surface/endpoints.tsv` has a row for everything that Mesos has without a
//! version, and `surface/calls.tsv` one for every call of the v1 APIs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use mesarch_proto::mesos::v1::{agent, executor, master, resource_provider, scheduler};
use mesarch_testkit::{Cluster, Settings};
use tokio::process::Command;

use crate::clients::script::Script;
use crate::support::steady::Steady;

/// Above every number of a call.
const NUMBERS_END: i32 = 1000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("surface")
}

/// The names of an enum's values.
fn names<T: TryFrom<i32>>(name: fn(&T) -> &'static str) -> BTreeSet<String> {
    (0..NUMBERS_END)
        .filter_map(|number| T::try_from(number).ok())
        .map(|value| name(&value).to_owned())
        .collect()
}

/// Every call of the schema, by API.
fn calls() -> BTreeMap<String, BTreeSet<String>> {
    let apis = [
        ("master", names::<master::call::Type>(master::call::Type::as_str_name)),
        ("agent", names::<agent::call::Type>(agent::call::Type::as_str_name)),
        ("scheduler", names::<scheduler::call::Type>(scheduler::call::Type::as_str_name)),
        ("executor", names::<executor::call::Type>(executor::call::Type::as_str_name)),
        (
            "resource_provider",
            names::<resource_provider::call::Type>(resource_provider::call::Type::as_str_name),
        ),
    ];
    apis.into_iter().map(|(api, calls)| (api.to_owned(), calls)).collect()
}

/// The rows of a table, by column.
fn rows(table: &str) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(folder().join(table)).expect("the tables lie beside the tests");
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let columns: Vec<String> = lines.next().into_iter().flatten().collect();
    lines.map(|cells| columns.iter().cloned().zip(cells).collect()).collect()
}

#[test]
fn every_call_of_the_schema_has_its_row_and_every_row_its_call() {
    let mut listed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows("calls.tsv") {
        listed.entry(row["api"].clone()).or_default().insert(row["call"].clone());
    }
    let calls = calls();
    assert!(calls.values().map(BTreeSet::len).sum::<usize>() > 100, "{calls:?}");
    assert_eq!(listed, calls);
}

/// What README says to be there is asked above; here, that it says so of everything.
#[test]
fn the_readme_names_every_call_of_frameworks_and_operators_and_every_endpoint() {
    let readme = std::fs::read_to_string(folder().join("../../README.md")).unwrap();
    let names: BTreeSet<&str> =
        readme.split(|c: char| !(c.is_ascii_alphanumeric() || "/_-().".contains(c))).collect();
    let calls =
        rows("calls.tsv").into_iter().filter(|row| ["master", "scheduler"].contains(&row["api"].as_str()));
    let calls = calls.map(|row| row["call"].clone()).filter(|call| call != "UNKNOWN");
    let paths = rows("endpoints.tsv").into_iter().map(|row| row["path"].clone());
    let paths = paths.map(|path| {
        ["/master", "/slave(1)"].iter().find_map(|name| path.strip_prefix(name)).unwrap_or(&path).to_owned()
    });
    // A path with a role behind, and profilers, which the README names as a family.
    let named = |name: &str| {
        let family = name.rsplit_once('/').map_or("", |(family, _)| family);
        let by_family = |written: &str| !family.is_empty() && names.contains(written);
        names.contains(name) || by_family(family) || by_family(&format!("{family}/"))
    };
    let missing: BTreeSet<_> = calls.chain(paths).filter(|name| name != "/nothing" && !named(name)).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}");
}

async fn everything_is_answered_as_listed() -> Result<()> {
    let cluster = Cluster::start(3, 2, Settings::default()).await?;
    let steady = Steady::start(cluster.addresses(), "surface", 60.0, cluster.dir()).await?;
    let agents: Vec<_> = cluster.agents.iter().map(|agent| agent.address.to_string()).collect();
    let mut command = Command::new("python3");
    command.arg(folder().join("surface.py")).args([
        cluster.addresses().join(","),
        agents.join(","),
        steady.id.clone(),
    ]);
    Script::start(&mut command)?.finish(&["COMPLETE", "CALLS", "ENDPOINTS"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_and_every_call_is_answered_as_the_tables_say_and_redirected_by_followers() {
    everything_is_answered_as_listed().await.unwrap();
}
