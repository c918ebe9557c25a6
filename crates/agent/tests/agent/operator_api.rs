//! The operator API of an agent over plain HTTP: what runs, what it uses, and its files.

use std::net::SocketAddr;

use bytes::Bytes;
use mesarch_proto::{
    link::from_agent,
    mesos::v1::{
        Label, Labels, Resource, TaskInfo,
        TaskState::*,
        agent::{Call, Response, call},
        resource::{ReservationInfo, reservation_info},
        value::{Scalar, Type},
    },
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    master::{AGENT, FRAMEWORK, Master, status},
    process::{Process, executor_of, shell, until},
};

const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";
const PROTOBUF: &str = "Content-Type: application/x-protobuf\r\nAccept: application/x-protobuf\r\n";

/// Status, head in lower case and body of an answer.
async fn ask(agent: SocketAddr, line: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(agent).await.unwrap();
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
    let head = String::from_utf8(answer[..end].to_ascii_lowercase()).unwrap();
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    (code, head, answer[end..].to_vec())
}

async fn get(agent: SocketAddr, path: &str) -> (u16, String) {
    let (code, _, body) = ask(agent, &format!("GET {path}"), "", b"").await;
    (code, String::from_utf8(body).unwrap())
}

async fn get_json(agent: SocketAddr, path: &str) -> Value {
    let (code, text) = get(agent, path).await;
    assert_eq!(code, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

async fn call(agent: SocketAddr, call: Value) -> (u16, String) {
    let (code, _, body) = ask(agent, "POST /api/v1", JSON, call.to_string().as_bytes()).await;
    (code, String::from_utf8(body).unwrap())
}

/// The part of an answer that belongs to its type.
async fn called(agent: SocketAddr, kind: &str) -> Value {
    let (code, text) = call(agent, json!({ "type": kind })).await;
    assert_eq!(code, 200, "{kind}: {text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["type"], kind);
    answer[kind.to_lowercase()].clone()
}

fn labelled(line: &str) -> TaskInfo {
    let label = Label { key: "k".into(), value: Some("v".into()) };
    TaskInfo { labels: Some(Labels { labels: vec![label] }), ..shell("t", line) }
}

/// An agent with a running task, and the process of its executor.
async fn running(master: &mut Master, work_dir: &std::path::Path, line: &str) -> (Process, u32) {
    let agent = Process::start(work_dir, &[master]).await;
    master.attach().await;
    master.run(&labelled(line), 1).await;
    let last = master.goes_through(&[TaskStarting, TaskRunning]).await;
    let pid = u32::try_from(executor_of(work_dir, &last).as_raw_nonzero().get()).unwrap();
    assert_eq!(last.container_status.unwrap().executor_pid, Some(pid));
    (agent, pid)
}

#[tokio::test]
async fn what_runs_is_told_in_every_form() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let (agent, pid) = running(&mut master, dir.path(), "exec sleep 1000").await;
    let state = called(agent.address, "GET_STATE").await;
    let task = &state["get_tasks"]["launched_tasks"][0];
    assert_eq!((&task["task_id"]["value"], &task["state"]), (&json!("t"), &json!("TASK_RUNNING")));
    assert_eq!(task["statuses"][1]["container_status"]["executor_pid"], pid);
    assert_eq!(state["get_tasks"]["queued_tasks"], json!([]));
    let executor = &state["get_executors"]["executors"][0]["executor_info"];
    assert_eq!(executor["labels"]["labels"][0], json!({ "key": "k", "value": "v" }));
    assert_eq!(executor["framework_id"]["value"], FRAMEWORK);
    let framework = &state["get_frameworks"]["frameworks"][0]["framework_info"];
    assert_eq!(framework["id"]["value"], FRAMEWORK);
    assert_eq!(called(agent.address, "GET_AGENT").await["agent_info"]["id"]["value"], AGENT);
    assert_eq!(called(agent.address, "GET_TASKS").await, state["get_tasks"]);
    assert_eq!(called(agent.address, "GET_OPERATIONS").await, json!({}));

    let container = called(agent.address, "GET_CONTAINERS").await["containers"][0].clone();
    assert_eq!(container["container_status"]["executor_pid"], pid);
    let statistics = &container["resource_statistics"];
    assert!(statistics["processes"].as_u64().unwrap() >= 2, "the executor and its task: {statistics}");
    assert!(statistics["mem_rss_bytes"].as_u64().unwrap() > 0);
    let view = get_json(agent.address, "/slave(1)/containers").await;
    assert_eq!(view[0]["container_id"], container["container_id"]["value"]);
    assert_eq!(get_json(agent.address, "/containers?container_id=none").await, json!([]));
    let monitored = get_json(agent.address, "/monitor/statistics").await;
    assert_eq!((&monitored[0]["executor_id"], &monitored[0]["source"]), (&json!("t"), &json!("t")));
    let metrics = get_json(agent.address, "/metrics/snapshot").await;
    assert_eq!((&metrics["slave/tasks_running"], &metrics["slave/registered"]), (&json!(1.0), &json!(1.0)));
    assert_eq!(get_json(agent.address, "/state").await["master_hostname"], "127.0.0.1");

    master.kill("t", 1, Bytes::new()).await;
    master.goes_through(&[TaskKilled]).await;
    until_empty(agent.address).await;
    let tasks = called(agent.address, "GET_TASKS").await;
    assert_eq!(tasks["completed_tasks"][0]["state"], "TASK_KILLED");
    let metrics = get_json(agent.address, "/metrics/snapshot").await;
    assert_eq!(metrics["slave/tasks_killed"], json!(1.0));
}

/// Waits until no executor is left.
async fn until_empty(agent: SocketAddr) {
    let deadline = tokio::time::Instant::now() + crate::master::DEADLINE;
    while called(agent, "GET_EXECUTORS").await["executors"] != json!([]) {
        assert!(tokio::time::Instant::now() < deadline, "the executor never ended");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn both_encodings_say_the_same() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let (agent, _) = running(&mut master, dir.path(), "exec sleep 1000").await;
    let call = Call { r#type: Some(call::Type::GetState as i32), ..Call::default() };
    let (code, head, body) = ask(agent.address, "POST /api/v1", PROTOBUF, &call.encode_to_vec()).await;
    assert_eq!(code, 200);
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let state = Response::decode(&body[..]).unwrap().get_state.unwrap();
    assert_eq!(state.get_tasks.unwrap().launched_tasks[0].task_id.value, "t");
    assert_eq!(state.get_executors.unwrap().executors.len(), 1);
}

#[tokio::test]
async fn files_of_a_sandbox_are_shown_and_nothing_else() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let line = "ln -s ../../../../../../../../secret away; echo hello > made; mv made whole; exec sleep 1000";
    let (agent, _) = running(&mut master, dir.path(), line).await;
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let state = get_json(agent.address, "/state").await;
    let real = state["frameworks"][0]["executors"][0]["directory"].as_str().unwrap().to_owned();
    until(|| std::fs::exists(format!("{real}/whole")).unwrap().then_some(())).await;
    for folder in [real.clone(), format!("/frameworks/{FRAMEWORK}/executors/t/runs/latest")] {
        let entries = get_json(agent.address, &format!("/files/browse?path={folder}")).await;
        let named: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["path"].clone()).collect();
        assert_eq!(
            named,
            ["away", "stderr", "stdout", "whole"].map(|name| json!(format!("{folder}/{name}")))
        );
        let read = |rest: &str| format!("/files/read?path={folder}/whole{rest}");
        let part = get_json(agent.address, &read("&offset=1&length=3")).await;
        assert_eq!(part, json!({ "offset": 1, "data": "ell" }));
        assert_eq!(get_json(agent.address, &read("")).await, json!({ "offset": 6, "data": "" }));
        assert_eq!(get_json(agent.address, &read("&offset=6")).await["data"], "");
        assert_eq!(get(agent.address, &read("&offset=-2")).await.0, 400);
        assert_eq!(get(agent.address, &format!("/files/read?path={folder}/away&offset=0")).await.0, 404);
        assert_eq!(get(agent.address, &format!("/files/read?path={folder}&offset=0")).await.0, 400);
    }
    let (code, head, body) =
        ask(agent.address, &format!("GET /files/download?path={real}/whole"), "", b"").await;
    assert_eq!((code, &body[..]), (200, &b"hello\n"[..]));
    assert!(head.contains("content-disposition: attachment; filename=\"whole\""), "{head}");
    let work_dir = dir.path().display();
    for outside in ["/etc/passwd", "/", &format!("{work_dir}/secret"), &format!("{real}/../c")] {
        assert_eq!(
            get(agent.address, &format!("/files/read?path={outside}&offset=0")).await.0,
            404,
            "{outside}"
        );
    }
    assert_eq!(get(agent.address, "/files/browse").await.0, 400);
    let names = get_json(agent.address, "/files/debug").await;
    assert_eq!(names[&real], real);

    let path = format!("{real}/whole");
    let read = json!({ "type": "READ_FILE", "read_file": { "path": path, "offset": 0, "length": 5 } });
    let (code, text) = call(agent.address, read).await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &answer["read_file"]), (200, &json!({ "size": 6, "data": "aGVsbG8=" })));
    let list = json!({ "type": "LIST_FILES", "list_files": { "path": real } });
    let answer: Value = serde_json::from_str(&call(agent.address, list).await.1).unwrap();
    assert_eq!(answer["list_files"]["file_infos"][3]["size"], 6);
}

#[tokio::test]
async fn a_long_file_is_downloaded_whole() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let line = "head -c 1000000 /dev/zero > made; mv made whole; exec sleep 1000";
    let (agent, _) = running(&mut master, dir.path(), line).await;
    let state = get_json(agent.address, "/state").await;
    let real = state["frameworks"][0]["executors"][0]["directory"].as_str().unwrap().to_owned();
    until(|| std::fs::exists(format!("{real}/whole")).unwrap().then_some(())).await;
    let (code, head, body) =
        ask(agent.address, &format!("GET /files/download?path={real}/whole"), "", b"").await;
    assert_eq!((code, body.len()), (200, 1_000_000));
    assert!(head.contains("content-length: 1000000"), "{head}");
}

#[tokio::test]
async fn what_is_not_there_and_what_is_wrong_is_said_plainly() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let check = async |body: Value, expect: u16, words: &str| {
        let (code, text) = call(agent.address, body).await;
        assert_eq!(code, expect, "{text}");
        assert!(text.contains(words), "{text}");
    };
    check(json!({}), 400, "Failed to validate agent::Call: Expecting 'type' to be present").await;
    check(json!({ "type": "READ_FILE" }), 400, "Expecting 'read_file' to be present").await;
    check(json!({ "type": "PRUNE_IMAGES", "prune_images": {} }), 200, "").await;
    check(json!({ "type": "PRUNE_IMAGES" }), 200, "").await;
    let wait = json!({ "container_id": { "value": "c" } });
    check(json!({ "type": "WAIT_CONTAINER", "wait_container": wait }), 501, "WAIT_CONTAINER").await;
    assert_eq!(get(agent.address, "/api/v1").await.0, 405);
    assert_eq!(get(agent.address, "/profiler/start").await.0, 501);
    assert_eq!(get_json(agent.address, "/containerizer/debug").await, json!({ "pending": [] }));
    let help = get_json(agent.address, "/help/slave(1)/files?format=json").await;
    let paths: Vec<_> = help["endpoints"].as_array().unwrap().iter().map(|one| &one["path"]).collect();
    assert_eq!(paths, ["/files/browse", "/files/read", "/files/download", "/files/debug"]);
    let (code, page) = get(agent.address, "/help").await;
    assert!(
        code == 200 && page.contains("<code>/api/v1/executor</code>") && !page.contains("profiler"),
        "{page}"
    );
    assert_eq!(get(agent.address, "/metrics/snapshot?timeout=x").await.0, 400);
    assert_eq!(get(agent.address, "/logging/toggle?level=1").await.0, 400);
    assert_eq!(get(agent.address, "/logging/toggle").await, (200, "0\n".to_owned()));
    assert_eq!(get_json(agent.address, "/flags").await["flags"]["work_dir"], json!(dir.path()));
    let (_, text) = get(agent.address, "/version?jsonp=f").await;
    assert!(text.starts_with("f({") && text.ends_with("});"), "{text}");
}

#[tokio::test]
async fn a_run_of_an_earlier_agent_keeps_its_process() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let (agent, pid) = running(&mut master, dir.path(), "exec sleep 1000").await;
    let agent = agent.restart().await;
    master.attach().await;
    master.kill("t", 1, Bytes::new()).await;
    let killed = master.update().await;
    assert_eq!(status(&killed).state(), TaskKilled);
    assert_eq!(status(&killed).container_status.unwrap().executor_pid, Some(pid));
    drop(agent);
}

#[tokio::test]
async fn a_drain_is_the_reason_of_the_end_that_it_brings() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let (agent, _) = running(&mut master, dir.path(), "exec sleep 1000").await;
    master.drain("t", 1).await;
    let told = status(&master.update().await);
    assert_eq!((told.state(), told.reason), (TaskKilled, None), "masters add the reason themselves");
    let tasks = called(agent.address, "GET_TASKS").await;
    let last = tasks["terminated_tasks"][0]["statuses"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["state"], &last["reason"]), (&json!("TASK_KILLED"), &json!("REASON_AGENT_DRAINING")));
}

#[tokio::test]
async fn what_operators_reserved_is_told_as_reserved() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    let before = get_json(agent.address, "/state").await;
    let cpus = Resource {
        name: "cpus".to_owned(),
        r#type: Type::Scalar as i32,
        scalar: Some(Scalar { value: 0.5 }),
        ..Resource::default()
    };
    let reservation = ReservationInfo {
        r#type: Some(reservation_info::Type::Dynamic as i32),
        role: Some("eng".to_owned()),
        ..ReservationInfo::default()
    };
    let reserved = Resource { reservations: vec![reservation], ..cpus.clone() };
    master.convert(&cpus, &reserved).await;
    let stored = master.next().await;
    assert!(matches!(stored, from_agent::Kind::ResourcesStored(_)), "{stored:?}");
    let after = get_json(agent.address, "/state").await;
    assert_eq!(after["reserved_resources"]["eng"]["cpus"], 0.5);
    let cpus_of = |state: &Value, field: &str| state[field]["cpus"].as_f64().unwrap();
    assert_eq!(cpus_of(&after, "resources"), cpus_of(&before, "resources"));
    assert_eq!(cpus_of(&after, "unreserved_resources"), cpus_of(&before, "unreserved_resources") - 0.5,);
}

/// All names that Mesos has, with parts in `<>` that differ, and by whom they are served.
const MESOS: &str = include_str!("../../../../tests/metrics_of_mesos.tsv");
/// Which are not served here, and why.
const NOT_HERE: &str = include_str!("../../../../ops/metrics-of-mesos.md");

#[tokio::test]
async fn every_metric_of_mesos_agents_is_served_or_documented() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let (agent, _) = running(&mut master, dir.path(), "exec sleep 1000").await;
    let snapshot = get_json(agent.address, "/metrics/snapshot").await;
    let served = snapshot.as_object().unwrap();
    let mut wrong = Vec::new();
    for row in MESOS.lines().skip(1) {
        let (name, whom) = row.split_once('\t').unwrap();
        let is_documented = NOT_HERE.contains(&format!("\n| `{name}` | {whom} | "));
        if matches!(whom, "agent" | "both") && served.contains_key(name) == is_documented {
            wrong.push(format!("{name}: documented {is_documented}"));
        }
    }
    let names: Vec<&str> = MESOS.lines().filter_map(|row| row.split('\t').next()).collect();
    let unknown =
        |name: &&String| !names.contains(&name.as_str()) && !NOT_HERE.contains(&format!("`{name}`"));
    wrong.extend(served.keys().filter(unknown).map(|name| format!("{name}: neither Mesos' nor documented")));
    assert!(wrong.is_empty(), "{wrong:#?}");
}
