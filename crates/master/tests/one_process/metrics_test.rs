//! Mesos' names of metrics: each is served, or told why not.

use mesarch_proto::admin::{Quantity, RoleQuota, SetQuotaRequest};

use crate::{
    agent::FakeAgent,
    client::{Scheduler, framework_info, get},
    cluster::Cluster,
};

/// All names that Mesos has, with parts in `<>` that differ, and by whom they are served.
const MESOS: &str = include_str!("../../../../tests/metrics_of_mesos.tsv");
/// Which are not served here, and why; and which are here alone.
const NOT_HERE: &str = include_str!("../../../../ops/metrics-of-mesos.md");

/// Whether a name is of this form: `<…>` stands for any text.
fn is_of(name: &str, form: &str) -> bool {
    let Some((before, rest)) = form.split_once('<') else { return name == form };
    let after = rest.split_once('>').map_or("", |(_, after)| after);
    let Some(mut rest) = name.strip_prefix(before) else { return false };
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        if is_of(rest, after) {
            return true;
        }
    }
    false
}

/// Names in the document, and by whom they would be served.
fn documented() -> Vec<(&'static str, &'static str)> {
    let rows = NOT_HERE.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").expect("a row");
        (name, rest.split(" | ").next().expect("of whom"))
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_mesos_masters_is_served_or_documented_and_no_other_is_served() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("measured"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    agent.run_task().await;
    let mut operator = crate::sharing_test::admin(address).await;
    let amounts = vec![Quantity { name: "cpus".into(), thousandths: 1000 }];
    let quota = RoleQuota {
        role: "eng".into(),
        guarantees: amounts.clone(),
        limits: amounts,
        ..RoleQuota::default()
    };
    operator.set_quota(SetQuotaRequest { quotas: vec![quota], force: true }).await.expect("set");

    let snapshot = get(address, "/metrics/snapshot").await.json();
    let served: Vec<&String> = snapshot.as_object().expect("an object").keys().collect();
    let documented = documented();
    let of_master = |whom: &&str| matches!(*whom, "master" | "both");
    let mut wrong = Vec::new();
    for row in MESOS.lines().skip(1) {
        let (form, whom) = row.split_once('\t').expect("two columns");
        let is_served = served.iter().any(|name| is_of(name, form));
        let is_documented = documented.contains(&(form, whom));
        if of_master(&whom) && is_served == is_documented {
            wrong.push(format!("{form}: served {is_served}, documented {is_documented}"));
        }
    }
    let of_mesos: Vec<&str> = MESOS.lines().skip(1).filter_map(|row| row.split('\t').next()).collect();
    for name in served {
        let is_documented = documented.iter().any(|(form, _)| name == form);
        if !is_documented && !of_mesos.iter().any(|form| is_of(name, form)) {
            wrong.push(format!("{name}: neither Mesos' nor documented"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_name_is_of_a_form_whose_parts_it_fills() {
    for (name, form, expect) in [
        ("a/b", "a/b", true),
        ("a/b/c", "a/<x>/c", true),
        ("a/b/d/c", "a/<x>/c", true),
        ("a//c", "a/<x>/c", false),
        ("a/b", "a/<x>/c", false),
        ("f/n/id/tasks/active/task_running", "f/<n>/<i>/tasks/active/<s>", true),
    ] {
        assert_eq!(is_of(name, form), expect, "{name} {form}");
    }
}
