//! Every endpoint without a version that a master of Mesos has: served, or refused in plain words.

use serde_json::{Value, json};

use crate::{
    agent::FakeAgent,
    client::{Scheduler, framework_info, get, request},
    cluster::Cluster,
};

/// Methods, path, whether it has a bare alias, and the expected status with a key (or the start) of the answer.
type Row = (&'static str, &'static str, bool, u16, &'static str);

/// The master's rows of the list of endpoints, and those that master and agent share.
const ROWS: &[Row] = &[
    ("POST", "/master/api/v1", true, 400, "Content-Type"),
    ("POST", "/master/api/v1/scheduler", true, 400, "Content-Type"),
    ("GET", "/master/health", true, 200, ""),
    ("GET", "/master/redirect", true, 307, ""),
    ("GET", "/master/state", true, 200, "slaves"),
    ("GET", "/master/state-summary", true, 200, "frameworks"),
    ("GET", "/master/frameworks", true, 200, "completed_frameworks"),
    ("GET", "/master/slaves", true, 200, "recovered_slaves"),
    ("GET", "/master/tasks", true, 200, "tasks"),
    ("GET", "/master/roles", true, 200, "roles"),
    ("GET", "/master/flags", true, 200, "flags"),
    ("GET", "/master/quota", true, 200, "infos"),
    ("POST", "/master/quota", true, 400, "parse"),
    ("DELETE", "/master/quota/nobody", true, 400, "no quota"),
    ("PUT", "/master/quota", true, 405, ""),
    ("GET", "/master/weights", true, 200, "[]"),
    ("PUT", "/master/weights", true, 400, "weights"),
    ("POST", "/master/weights", true, 405, ""),
    ("POST", "/master/reserve", true, 400, "slaveId"),
    ("GET", "/master/reserve", true, 405, ""),
    ("POST", "/master/unreserve", true, 400, "slaveId"),
    ("POST", "/master/create-volumes", true, 400, "slaveId"),
    ("POST", "/master/destroy-volumes", true, 400, "slaveId"),
    ("POST", "/master/teardown", true, 400, "frameworkId"),
    ("GET", "/master/teardown", true, 405, ""),
    ("GET", "/master/maintenance/schedule", true, 200, "{}"),
    ("POST", "/master/maintenance/schedule", true, 400, "parse"),
    ("GET", "/master/maintenance/status", true, 200, "{}"),
    ("POST", "/master/machine/down", true, 400, "machines"),
    ("GET", "/master/machine/down", true, 405, ""),
    ("POST", "/master/machine/up", true, 400, "machines"),
    ("GET", "/registrar(1)/registry", false, 200, "slaves"),
    ("GET", "/allocator/offer_constraints_debug", false, 501, "not implemented: "),
    ("GET", "/", false, 404, ""),
    ("GET", "/metrics/snapshot", false, 200, "master/elected"),
    ("GET", "/metrics/snapshot?timeout=1secs", false, 200, "master/elected"),
    ("GET", "/metrics/snapshot?timeout=x", false, 400, "timeout"),
    ("GET", "/files/browse?path=/", false, 404, "no such file"),
    ("GET", "/files/read?path=/master/log", false, 404, "no such file"),
    ("GET", "/files/download?path=/master/log", false, 404, "no such file"),
    ("GET", "/files/debug", false, 200, "{}"),
    ("GET", "/logging/toggle", false, 200, "0"),
    ("GET", "/logging/toggle?level=1", false, 400, "duration"),
    ("GET", "/logging/toggle?level=x&duration=1secs", false, 400, "level"),
    ("GET", "/version", false, 200, "version"),
    ("GET", "/system/stats.json", false, 200, "cpus_total"),
    ("GET", "/help", false, 200, "<!DOCTYPE html>"),
    ("GET", "/help/master/state?format=json", false, 200, "endpoints"),
    ("GET", "/profiler/start", false, 501, "not implemented: "),
    ("GET", "/profiler/stop", false, 501, "not implemented: "),
    ("GET", "/memory-profiler/state", false, 501, "not implemented: "),
    ("GET", "/__processes__", false, 501, "not implemented: "),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_is_served_or_refused_in_plain_words() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    for (method, path, has_alias, status, expect) in ROWS {
        let alias = path.strip_prefix("/master").filter(|_| *has_alias);
        for path in [Some(*path), alias].into_iter().flatten() {
            let reply = request(address, method, path, &[], b"").await;
            let text = reply.text();
            assert_eq!(reply.status, *status, "{method} {path}: {text}");
            let found = match serde_json::from_str(&text) {
                Ok(Value::Object(object)) if *expect != "{}" => object.contains_key(*expect),
                _ if *status == 200 => text.starts_with(expect),
                _ => text.contains(expect),
            };
            assert!(found, "{method} {path} does not show {expect}: {text}");
            assert_eq!(reply.header("allow").is_some(), *status == 405, "{method} {path}");
        }
    }
}

/// What the README says of masters' endpoints: those that are served, and those that are not.
fn told() -> (String, String) {
    let readme = include_str!("../../../../README.md");
    let about_masters =
        |row: &&str| row.starts_with("| endpoints of masters") || row.starts_with("| the others of a master");
    let cells = readme.lines().filter(about_masters).map(|row| row.split('|').collect::<Vec<_>>());
    cells.fold((String::new(), String::new()), |(here, not_yet), cells| (here + cells[2], not_yet + cells[3]))
}

/// Whether a path, or what it is below, stands between backquotes.
fn names(cell: &str, path: &str) -> bool {
    let covers = |word: &str| {
        path == word
            || path.strip_prefix(word).is_some_and(|rest| rest.starts_with('/'))
            || word.strip_suffix('*').is_some_and(|start| path.starts_with(start))
    };
    cell.split('`').skip(1).step_by(2).any(covers)
}

#[test]
fn the_readme_says_of_every_endpoint_whether_it_is_there() {
    let (here, not_yet) = told();
    for (method, path, _, status, _) in ROWS.iter().filter(|row| !row.1.starts_with("/master/api")) {
        let bare = path.split('?').next().unwrap_or(path);
        let bare = bare.strip_prefix("/master/").map_or(bare.to_owned(), |rest| format!("/{rest}"));
        let cell = if *status == 501 || bare == "/" { &not_yet } else { &here };
        assert!(names(cell, &bare), "{method} {path} answers {status}; the README says otherwise: {cell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_only_be_read_is_read_by_any_method_and_as_jsonp() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let reads =
        ["/state", "/state-summary", "/frameworks", "/slaves", "/tasks", "/roles", "/flags", "/version"];
    for path in reads {
        for method in ["GET", "POST", "OPTIONS"] {
            let reply = request(address, method, path, &[], b"").await;
            assert_eq!(
                (reply.status, reply.header("content-type")),
                (200, Some("application/json")),
                "{path}"
            );
        }
        let head = request(address, "HEAD", path, &[], b"").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
    }
    for path in reads.iter().chain(&["/quota", "/weights", "/maintenance/status", "/metrics/snapshot"]) {
        let jsonp = get(address, &format!("{path}?jsonp=cb")).await;
        assert_eq!((jsonp.status, jsonp.header("content-type")), (200, Some("text/javascript")), "{path}");
        assert!(jsonp.text().starts_with("cb(") && jsonp.text().ends_with(");"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deprecated_endpoints_change_what_the_operator_api_shows() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let agent = FakeAgent::register(address).await;
    let send = async |method: &str, path: &str, body: String, status: u16| {
        let reply = request(address, method, path, &[], body.as_bytes()).await;
        assert_eq!(reply.status, status, "{method} {path} {body}: {}", reply.text());
    };
    let scalar = json!({"name": "cpus", "type": "SCALAR", "scalar": {"value": 1}});
    send("PUT", "/weights", r#"[{"role":"eng","weight":3.0}]"#.into(), 200).await;
    assert_eq!(get(address, "/weights").await.json(), json!([{"role": "eng", "weight": 3.0}]));
    send("PUT", "/weights", r#"[{"role":"eng","weight":0}]"#.into(), 400).await;

    let quota = json!({"role": "eng", "force": true, "guarantee": [scalar]}).to_string();
    send("POST", "/quota", quota.clone(), 200).await;
    send("POST", "/quota", quota, 400).await;
    let infos = get(address, "/quota").await.json();
    assert_eq!(
        (&infos["infos"][0]["role"], &infos["infos"][0]["guarantee"][0]["scalar"]["value"]),
        (&json!("eng"), &json!(1.0))
    );
    send("DELETE", "/quota/eng", String::new(), 200).await;
    send("DELETE", "/quota/eng", String::new(), 400).await;
    assert_eq!(get(address, "/quota").await.json(), json!({"infos": []}));

    let mut reserved = scalar.clone();
    reserved["role"] = json!("eng");
    reserved["reservation"] = json!({});
    let form = |agent: &str| format!("slaveId={agent}&resources={}", json!([reserved]));
    send("POST", "/reserve", form("nobody"), 400).await;
    send("POST", "/reserve", form(&agent.id), 202).await;
    let slave = get(address, "/slaves").await.json()["slaves"][0].clone();
    assert_eq!(slave["reserved_resources"]["eng"]["cpus"], 1.0);
    send("POST", "/unreserve", form(&agent.id), 202).await;
    send("POST", "/unreserve", form(&agent.id), 409).await;
    send("POST", "/reserve", "slaveId=x&resources=[".into(), 400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_summary_counts_tasks_by_state_agent_and_framework() {
    let cluster = Cluster::start(1).await;
    let address = cluster.address(cluster.leader().await);
    let mut agent = FakeAgent::register(address).await;
    let mut scheduler = Scheduler::subscribe(address, framework_info("counted"), &[]).await;
    let offer = scheduler.offer().await;
    scheduler.launch(&offer, "t1").await;
    agent.run_task().await;
    let summary = get(address, "/state-summary").await.json();
    let (slave, framework) = (&summary["slaves"][0], &summary["frameworks"][0]);
    for counted in [slave, framework] {
        assert_eq!((&counted["TASK_STAGING"], &counted["TASK_LOST"]), (&json!(1), &json!(0)), "{counted}");
    }
    assert_eq!(slave["framework_ids"], json!([scheduler.framework]));
    assert_eq!(framework["slave_ids"], json!([agent.id]));
    assert_eq!(framework["used_resources"]["cpus"], 1.0);
    assert!(framework.get("tasks").is_none() && slave["resources"]["cpus"] == 4.0);
}
