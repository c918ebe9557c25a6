//! The executor API as plain HTTP/1.1, written by hand: what clients that nobody here wrote will see.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use mesarch_proto::{
    link::{ExecutorMessage, SchedulerMessage, ShutdownExecutor, from_agent, to_agent},
    mesos::v1::{CommandInfo, ExecutorId, ExecutorInfo, TaskInfo, TaskState::*},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::{
    master::{AGENT, DEADLINE, FRAMEWORK, Master, status},
    process::{Process, shell, until},
};

const PATH: &str = "/slave(1)/api/v1/executor";
const JSON: &str = "Content-Type: application/json\r\nAccept: application/json\r\n";

async fn open(
    agent: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, BufReader<TcpStream>) {
    let mut stream = BufReader::new(TcpStream::connect(agent).await.unwrap());
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    let mut chunked = false;
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
    }
    assert!(chunked || code != 200 || path != PATH, "streams are chunked");
    (code, stream)
}

/// The text is given to check what refusals say.
async fn post(agent: SocketAddr, body: &Value) -> (u16, String) {
    let (code, mut stream) = open(agent, "POST", PATH, JSON, &body.to_string()).await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    (code, text)
}

fn call(kind: &str, rest: Value) -> Value {
    let mut call = json!({
        "executor_id": { "value": "E" }, "framework_id": { "value": FRAMEWORK }, "type": kind
    });
    call.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    call
}

fn update(state: &str) -> Value {
    let status = json!({
        "task_id": { "value": "t" }, "state": state, "source": "SOURCE_EXECUTOR", "uuid": "AAECAwQFBgcICQoLDA0ODw=="
    });
    call("UPDATE", json!({ "update": { "status": status } }))
}

/// An open event stream.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn subscribe(agent: SocketAddr) -> Self {
        let body = call("SUBSCRIBE", json!({ "subscribe": {} })).to_string();
        let (code, stream) = open(agent, "POST", PATH, JSON, &body).await;
        assert_eq!(code, 200);
        Self(stream)
    }

    /// The next chunk must be exactly one record on one line.
    async fn next(&mut self) -> Value {
        let mut line = String::new();
        timeout(DEADLINE, self.0.read_line(&mut line)).await.expect("a chunk").unwrap();
        let length = usize::from_str_radix(line.trim(), 16).expect("a chunk length");
        let mut chunk = vec![0; length + 2];
        self.0.read_exact(&mut chunk).await.unwrap();
        let chunk = String::from_utf8(chunk[..length].to_vec()).unwrap();
        let (header, record) = chunk.split_once('\n').expect("a record length");
        assert_eq!(header.parse(), Ok(record.len()), "one record is one chunk");
        assert!(!record.contains('\n'));
        serde_json::from_str(record).unwrap()
    }

    async fn expect(&mut self, kind: &str) -> Value {
        let event = self.next().await;
        assert_eq!(event["type"], kind, "{event}");
        event
    }
}

/// A task whose executor is a process that does nothing; the test speaks for it.
fn custom() -> TaskInfo {
    let executor = ExecutorInfo {
        executor_id: ExecutorId { value: "E".into() },
        command: Some(CommandInfo { value: Some("env > env; exec sleep 1000".into()), ..Default::default() }),
        ..Default::default()
    };
    TaskInfo { command: None, executor: Some(executor), ..shell("t", "") }
}

/// Where that process writes its environment.
fn environment_file(work_dir: &Path) -> PathBuf {
    let sandbox = format!("slaves/{AGENT}/frameworks/{FRAMEWORK}/executors/E/runs/latest");
    work_dir.join(sandbox).join("env")
}

async fn until_known(agent: SocketAddr) {
    loop {
        let (code, text) = post(agent, &update("TASK_RUNNING")).await;
        if code == 403 {
            assert_eq!(text, "Executor is not subscribed");
            return;
        }
        assert_eq!(code, 400);
    }
}

#[tokio::test]
async fn an_own_executor_from_subscribe_to_shutdown() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&custom(), 1).await;
    timeout(DEADLINE, until_known(agent.address)).await.expect("the executor is known");
    until(|| environment_file(dir.path()).exists().then_some(())).await;
    let mut events = Events::subscribe(agent.address).await;
    let subscribed = events.expect("SUBSCRIBED").await["subscribed"].clone();
    assert_eq!(subscribed["executor_info"]["executor_id"], json!({ "value": "E" }));
    assert_eq!(subscribed["framework_info"]["id"], json!({ "value": FRAMEWORK }));
    assert_eq!(subscribed["agent_info"]["id"], json!({ "value": AGENT }));
    let launch = events.expect("LAUNCH").await;
    assert_eq!(launch["launch"]["task"]["task_id"], json!({ "value": "t" }));

    assert_eq!(post(agent.address, &update("TASK_RUNNING")).await, (202, String::new()));
    let acknowledged = events.expect("ACKNOWLEDGED").await["acknowledged"].clone();
    assert_eq!(acknowledged, json!({ "task_id": { "value": "t" }, "uuid": "AAECAwQFBgcICQoLDA0ODw==" }));
    let told = master.update().await;
    assert_eq!(
        (status(&told).state(), status(&told).executor_id.unwrap().value),
        (TaskRunning, "E".to_owned())
    );
    assert_eq!(post(agent.address, &update("TASK_RUNNING")).await.0, 202, "a repeat is taken");
    events.expect("ACKNOWLEDGED").await;

    let message = call("MESSAGE", json!({ "message": { "data": "aGk=" } }));
    assert_eq!(post(agent.address, &message).await.0, 202);
    let from_agent::Kind::Message(ExecutorMessage { data, .. }) = master.next().await else {
        panic!("passed on")
    };
    assert_eq!(&data[..], b"hi");
    let message = SchedulerMessage { framework: FRAMEWORK.into(), executor: "E".into(), data: "yo".into() };
    master.send(to_agent::Kind::Message(message)).await;
    assert_eq!(events.expect("MESSAGE").await["message"]["data"], "eW8=");

    master.kill("t", 1, Default::default()).await;
    assert_eq!(events.expect("KILL").await["kill"]["task_id"], json!({ "value": "t" }));
    let shutdown = ShutdownExecutor { framework: FRAMEWORK.into(), executor: "E".into() };
    master.send(to_agent::Kind::ShutdownExecutor(shutdown)).await;
    events.expect("SHUTDOWN").await;
    drop(events);
    drop(agent);
}

#[tokio::test]
async fn an_own_executor_sees_its_environment_in_its_own_session() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&custom(), 1).await;
    let read =
        || std::fs::read_to_string(environment_file(dir.path())).ok().filter(|text| text.contains("PWD="));
    let environment = until(read).await;
    let has = |line: String| assert!(environment.lines().any(|it| it == line), "{line} in {environment}");
    has(format!("MESOS_AGENT_ENDPOINT={}", agent.address));
    has(format!("MESOS_FRAMEWORK_ID={FRAMEWORK}"));
    has("MESOS_EXECUTOR_ID=E".to_owned());
    has("MESOS_CHECKPOINT=1".to_owned());
    has("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs".to_owned());
    assert!(!environment.contains("MESARCH_"), "{environment}");
    let note = std::fs::read_dir(dir.path().join("meta/runs")).unwrap().next().unwrap().unwrap();
    let pid = std::fs::read_to_string(note.path()).unwrap().split(' ').next().unwrap().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((fields[2], fields[3]), (pid.as_str(), pid.as_str()), "leads its group and its session");
    let shutdown = ShutdownExecutor { framework: FRAMEWORK.into(), executor: "E".into() };
    master.send(to_agent::Kind::ShutdownExecutor(shutdown)).await;
    let failed = master.update().await;
    assert_eq!(status(&failed).state(), TaskFailed);
    let from_agent::Kind::ExecutorExited(exited) = master.next().await else { panic!("is told") };
    assert_eq!((exited.executor.as_str(), exited.status), ("E", 9));
}

#[tokio::test]
async fn the_gates_answer_in_order() {
    let (dir, master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    let good = call("SUBSCRIBE", json!({ "subscribe": {} })).to_string();
    let table = [
        ("GET", JSON, good.as_str(), 405),
        ("POST", "", good.as_str(), 400),
        ("POST", "Content-Type: text/plain\r\n", good.as_str(), 415),
        ("POST", JSON, "{", 400),
        ("POST", JSON, "{}", 400),
        ("POST", "Content-Type: application/json\r\nAccept: text/html\r\n", good.as_str(), 406),
        ("POST", JSON, good.as_str(), 400),
    ];
    for (method, headers, body, expect) in table {
        let (code, _) = open(agent.address, method, PATH, headers, body).await;
        assert_eq!(code, expect, "{method} {headers:?} {body}");
    }
    assert_eq!(post(agent.address, &call("HEARTBEAT", json!({}))).await.0, 202);
    assert_eq!(post(agent.address, &call("UNKNOWN", json!({}))).await.0, 501);
    for (path, expect) in
        [("/health", 200), ("/version", 200), ("/state", 200), ("/metrics", 501), ("/x", 404)]
    {
        assert_eq!(open(agent.address, "GET", path, "", "").await.0, expect, "{path}");
    }
}

#[tokio::test]
async fn the_state_says_what_runs() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "exec sleep 1000"), 1).await;
    master.goes_through(&[TaskStarting, TaskRunning]).await;
    let state = state(agent.address).await;
    assert_eq!(state["id"], AGENT);
    assert_eq!(state["pid"], format!("slave(1)@{}", agent.address));
    let executor = &state["frameworks"][0]["executors"][0];
    assert_eq!((&executor["id"], &executor["tasks"][0]["state"]), (&json!("t"), &json!("TASK_RUNNING")));
    let container = executor["container"].as_str().unwrap();
    let runs = dir.path().join(format!("slaves/{AGENT}/frameworks/{FRAMEWORK}/executors/t/runs"));
    assert_eq!(executor["directory"], runs.join(container).display().to_string());
    let states: Vec<_> =
        executor["tasks"][0]["statuses"].as_array().unwrap().iter().map(|status| &status["state"]).collect();
    assert_eq!(states, ["TASK_STARTING", "TASK_RUNNING"]);
    assert_eq!((&executor["queued_tasks"], &executor["completed_tasks"]), (&json!([]), &json!([])));
    master.kill("t", 1, Default::default()).await;
    master.goes_through(&[TaskKilled]).await;
}

#[tokio::test]
async fn the_state_says_what_ran() {
    let (dir, mut master) = (tempfile::tempdir().unwrap(), Master::leading(1).await);
    let agent = Process::start(dir.path(), &[&master]).await;
    master.attach().await;
    master.run(&shell("t", "true"), 1).await;
    for expect in [TaskStarting, TaskRunning] {
        master.goes_through(&[expect]).await;
    }
    // Over, and its framework has not said yet that it knows.
    let last = master.update().await;
    // Both lists from one answer: the executor may end between two.
    let look = async |lists: &[&str]| {
        let state = state(agent.address).await;
        let tasks = |executor: &Value| executor["completed_tasks"][0]["state"].clone();
        let frameworks = [&state["frameworks"][0], &state["completed_frameworks"][0]];
        let lists = frameworks.iter().flat_map(|it| lists.iter().filter_map(|list| it[*list].as_array()));
        lists.flatten().map(tasks).collect::<Vec<_>>()
    };
    assert_eq!(look(&["executors", "completed_executors"]).await, ["TASK_FINISHED"]);
    master.acknowledge(&last).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while state(agent.address).await["frameworks"] != json!([]) {
        assert!(tokio::time::Instant::now() < deadline, "the framework has nothing here any more");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(look(&["completed_executors"]).await, ["TASK_FINISHED"]);
    let state = state(agent.address).await;
    let framework = &state["completed_frameworks"][0];
    assert_eq!((&framework["id"], &framework["name"]), (&json!(FRAMEWORK), &json!("test")));
    let directory = framework["completed_executors"][0]["directory"].as_str().unwrap();
    assert!(std::path::Path::new(directory).join("stdout").is_file(), "{directory}");
}

/// `/state`, read.
async fn state(agent: std::net::SocketAddr) -> Value {
    let (_, mut stream) = open(agent, "GET", "/state", "", "").await;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

/// A SUBSCRIBE that is never answered is no sign of life.
#[tokio::test]
async fn an_agent_that_hangs_ends_its_command_executor_in_time() {
    // Takes connections and answers nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut executor = tokio::process::Command::new(env!("CARGO_BIN_EXE_mesarch-test-executor"));
    executor.arg("command-executor").env("MESOS_AGENT_ENDPOINT", silent.local_addr().unwrap().to_string());
    executor.envs([("MESOS_FRAMEWORK_ID", "F"), ("MESOS_EXECUTOR_ID", "t"), ("MESOS_CHECKPOINT", "1")]);
    executor.env("MESOS_SANDBOX", dir.path()).env("MESOS_RECOVERY_TIMEOUT", "100ms").kill_on_drop(true);
    let mut running = executor.stderr(std::process::Stdio::null()).spawn().unwrap();
    let status = timeout(DEADLINE, running.wait()).await.expect("it gives up").unwrap();
    assert_eq!(status.code(), Some(1));
}
