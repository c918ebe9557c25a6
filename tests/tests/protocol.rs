//! The plain rules of the HTTP interface, to the byte: gates and their order, redirects, framing, limits.

use anyhow::{Context, Result, ensure};
use mesarch_testkit::raw_http::Head;
use mesarch_testkit::{Cluster, RawHttp, Settings, wait_for};
use serde_json::{Value, json};

const SCHEDULER: &str = "/api/v1/scheduler";
const JSON: &str = "Content-Type: application/json";
/// The largest body of a call.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An answer that has an end.
struct Answer {
    head: Head,
    body: String,
}

async fn exchange(address: &str, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Result<Answer> {
    let mut connection = RawHttp::connect(address).await?;
    let head = connection.request(method, path, headers, body).await?;
    let body = match head.header("content-length") {
        Some(_) => connection.read_body(&head).await?,
        None => {
            let mut body = Vec::new();
            while let Some(chunk) = connection.read_chunk().await? {
                body.extend(chunk);
            }
            body
        }
    };
    Ok(Answer { head, body: String::from_utf8(body)? })
}

async fn get(address: &str, path: &str) -> Result<Answer> {
    exchange(address, "GET", path, &[], b"").await
}

/// An open subscription on a bare socket.
struct Stream {
    connection: RawHttp,
    stream_id: String,
    framework: Value,
}

impl Stream {
    async fn open(master: &str, info: &Value) -> Result<Self> {
        let mut connection = RawHttp::connect(master).await?;
        let call = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info } }).to_string();
        let head = connection.request("POST", SCHEDULER, &[JSON], call.as_bytes()).await?;
        ensure!(head.status == 200, "SUBSCRIBE was answered with {head:?}");
        ensure!(head.header("transfer-encoding") == Some("chunked"), "{head:?}");
        ensure!(head.header("content-type") == Some("application/json"), "{head:?}");
        let stream_id = head.header("mesos-stream-id").context("no stream id")?.to_owned();
        let mut stream = Self { connection, stream_id, framework: Value::Null };
        let first = stream.record().await?.context("the stream ended at once")?;
        stream.framework = first["subscribed"]["framework_id"].clone();
        ensure!(first["type"] == "SUBSCRIBED" || first["type"] == "ERROR", "{first}");
        Ok(stream)
    }

    /// The next chunk, which must be one record: one line of ASCII.
    async fn record(&mut self) -> Result<Option<Value>> {
        let Some(chunk) = self.connection.read_chunk().await? else {
            return Ok(None);
        };
        ensure!(chunk.is_ascii(), "not escaped: {}", String::from_utf8_lossy(&chunk));
        let text = String::from_utf8(chunk)?;
        let (length, record) = text.split_once('\n').context("no record length in the chunk")?;
        ensure!(
            length.parse() == Ok(record.len()),
            "a chunk with {} bytes after length {length}",
            record.len()
        );
        ensure!(!record.contains('\n'), "more than one line: {record}");
        Ok(Some(serde_json::from_str(record)?))
    }

    async fn next_of(&mut self, kind: &str) -> Result<Value> {
        loop {
            let event = self.record().await?.with_context(|| format!("the stream ended before {kind}"))?;
            if event["type"] == kind {
                return Ok(event);
            }
        }
    }

    /// A call's body, with this framework's id.
    fn call(&self, mut call: Value) -> String {
        call["framework_id"] = self.framework.clone();
        call.to_string()
    }
}

fn info(name: &str) -> Value {
    json!({ "user": "root", "name": name, "roles": ["*"], "failover_timeout": 3600.0, "checkpoint": true,
            "capabilities": [{ "type": "MULTI_ROLE" }, { "type": "PARTITION_AWARE" }] })
}

async fn lone_master() -> Result<(Cluster, String)> {
    let cluster = Cluster::start(1, 0, Settings::default()).await?;
    let address = cluster.masters[0].address.to_string();
    Ok((cluster, address))
}

/// A request that ends at one gate: method, further headers, body; the status and a part of the text.
struct Case {
    method: &'static str,
    headers: Vec<String>,
    body: String,
    status: u16,
    text: String,
}

fn case(headers: &[&str], body: impl Into<String>, status: u16, text: &str) -> Case {
    let headers = headers.iter().map(|header| (*header).to_owned()).collect();
    Case { method: "POST", headers, body: body.into(), status, text: text.to_owned() }
}

async fn check(master: &str, cases: &[Case]) -> Result<()> {
    for Case { method, headers, body, status, text } in cases {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let answer = exchange(master, method, SCHEDULER, &headers, body.as_bytes()).await?;
        let what = format!("{method} {headers:?} {body}: {:?} {}", answer.head, answer.body);
        ensure!(answer.head.status == *status, "{status} expected: {what}");
        ensure!(answer.body.contains(text.as_str()), "{text:?} expected: {what}");
        ensure!(*status != 202 || answer.body.is_empty(), "202 has no body: {what}");
        ensure!(*status != 405 || answer.head.header("allow") == Some("POST"), "405 names POST: {what}");
    }
    Ok(())
}

/// In the order of the gates; where a request breaks two rules, the earlier one answers.
fn outer_gates() -> Vec<Case> {
    let plain = "Content-Type: text/plain";
    let stream = "Mesos-Stream-Id: 00000000-0000-4000-8000-000000000000";
    let invalid = |text: &str| format!("Failed to validate scheduler::Call: {text}");
    let missing = |field: &str| invalid(&format!("Expecting '{field}' to be present"));
    let subscribe =
        json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info("gates") } }).to_string();
    let mut other_id = json!({ "type": "SUBSCRIBE", "subscribe": { "framework_info": info("gates") } });
    other_id["framework_id"] = json!({ "value": "one" });
    let mut cases = vec![
        Case { method: "GET", ..case(&[], "", 405, "") },
        Case { method: "PUT", ..case(&[plain], "{", 405, "") },
        case(&[], "{", 400, "Content-Type"),
        case(&[plain], "{", 415, ""),
        case(&[JSON], "{", 400, ""),
        case(&[JSON], "[]", 400, ""),
        case(&["Content-Type: application/x-protobuf"], "\u{7f}\u{7f}\u{7f}\u{7f}", 400, ""),
        case(&[JSON], r#"{"type":"REVIVE","framework_id":"text"}"#, 400, ""),
        case(&[JSON], "{}", 400, &missing("type")),
        case(&[JSON], r#"{"type":"FROBNICATE"}"#, 400, &missing("type")),
        case(&[JSON, stream], r#"{"type":"SUBSCRIBE"}"#, 400, &missing("subscribe")),
        case(&[JSON], r#"{"type":"REVIVE"}"#, 400, &missing("framework_id")),
        case(&[JSON], other_id.to_string(), 400, &invalid("")),
        case(&[JSON, stream, "Accept: text/html"], &subscribe, 406, ""),
        case(&[JSON, stream], &subscribe, 400, "Mesos-Stream-Id"),
        case(
            &[JSON],
            r#"{"type":"REVIVE","framework_id":{"value":"none"}}"#,
            400,
            "Framework cannot be found",
        ),
    ];
    let fields = ["accept", "decline", "kill", "shutdown", "acknowledge", "reconcile", "message", "request"];
    cases.extend(fields.map(|field| {
        let call = json!({ "type": field.to_uppercase(), "framework_id": { "value": "none" } });
        case(&[JSON], call.to_string(), 400, &missing(field))
    }));
    cases
}

async fn gates() -> Result<()> {
    let (_cluster, master) = lone_master().await?;
    check(&master, &outer_gates()).await?;

    let gone = Stream::open(&master, &info("gone")).await?;
    let (revive_gone, old) =
        (gone.call(json!({ "type": "REVIVE" })), format!("Mesos-Stream-Id: {}", gone.stream_id));
    drop(gone);
    wait_for("the framework that left to be disconnected", async || {
        let answer =
            exchange(&master, "POST", SCHEDULER, &[JSON, &old], revive_gone.as_bytes()).await.ok()?;
        (answer.head.status == 403).then_some(())
    })
    .await?;

    let here = Stream::open(&master, &info("here")).await?;
    let stream = format!("Mesos-Stream-Id: {}", here.stream_id);
    let call = |kind: &str| here.call(json!({ "type": kind }));
    let bad_uuid = here.call(json!({ "type": "ACKNOWLEDGE",
        "acknowledge": { "agent_id": { "value": "a" }, "task_id": { "value": "t" }, "uuid": "AAAA" } }));
    let unknown_keys = here.call(json!({ "type": "REVIVE", "bogus": 1, "revive": null }));
    let suppress = here.call(json!({ "type": "SUPPRESS", "suppress": { "roles": null } }));
    check(
        &master,
        &[
            case(&[JSON], revive_gone, 403, "Framework is not subscribed"),
            case(&[JSON], call("REVIVE"), 400, "Mesos-Stream-Id"),
            case(&[JSON, &old], call("REVIVE"), 400, ""),
            case(&[JSON, &stream], bad_uuid, 400, "Failed to validate scheduler::Call: "),
            case(&[JSON, &stream], unknown_keys, 202, ""),
            case(&[JSON, &stream], suppress, 202, ""),
            case(&["content-type: application/json", &stream.to_lowercase()], call("REVIVE"), 202, ""),
        ],
    )
    .await
}

async fn not_there_yet() -> Result<()> {
    let (_cluster, master) = lone_master().await?;
    let here = Stream::open(&master, &info("here")).await?;
    let stream = format!("Mesos-Stream-Id: {}", here.stream_id);
    let accept = json!({ "offer_ids": [{ "value": "o" }], "operations": [{ "type": "UNKNOWN" }] });
    let call = here.call(json!({ "type": "ACCEPT", "accept": accept }));
    check(&master, &[case(&[JSON, &stream], call, 501, "operations of ACCEPT: UNKNOWN")]).await
}

async fn routes() -> Result<()> {
    let (_cluster, master) = lone_master().await?;
    let statuses = [
        ("/state", 200),
        ("/state/", 200),
        ("/master/state", 200),
        ("/master/frameworks/", 200),
        ("/tasks/?limit=1&_ts=17", 200),
        ("/master/slaves", 200),
        ("/slaves/some-id", 200),
        ("/health", 200),
        ("/master/health", 200),
        ("/metrics/snapshot", 200),
        ("/api/v1/scheduler/", 405),
        ("/api/v1/scheduler/deeper/still", 405),
        ("/master/api/v1/scheduler", 405),
        ("/state.json", 404),
        ("/nowhere/at/all", 404),
        ("/master/../state", 404),
        ("/redirect/again", 404),
    ];
    for (path, status) in statuses {
        let answer = get(&master, path).await?;
        ensure!(answer.head.status == status, "{path}: {status} expected: {:?} {}", answer.head, answer.body);
    }
    let posted = exchange(&master, "POST", "/state", &[], b"").await?;
    ensure!(posted.head.status == 200, "reads answer POST, too: {:?}", posted.head);
    ensure!(get(&master, "/health").await?.body.is_empty(), "/health has no body");
    let redirect = get(&master, "/redirect").await?.head;
    ensure!(redirect.header("location") == Some(&format!("//{master}")), "{redirect:?}");

    let version: Value = serde_json::from_str(&get(&master, "/version").await?.body)?;
    let api = version["version"].as_str().context("no version")?;
    ensure!(api == "1.11.0", "the level of the Mesos API, not {api}");
    ensure!(version["build_time"].is_f64() && version["build_date"].is_string(), "{version}");
    Ok(())
}

async fn followers_redirect() -> Result<()> {
    let cluster = Cluster::start(3, 0, Settings::default()).await?;
    let leading = cluster.wait_for_leader().await?;
    let (leader, follower) = (&cluster.masters[leading], &cluster.masters[(leading + 1) % 3]);
    cluster.wait_until_joined((leading + 1) % 3).await?;
    let (leader, follower) = (leader.address.to_string(), follower.address.to_string());
    let table = [
        ("POST", "/api/v1/scheduler", "/master/api/v1/scheduler"),
        ("GET", "/api/v1/scheduler", "/master/api/v1/scheduler"),
        ("POST", "/master/api/v1/scheduler?a=b", "/master/api/v1/scheduler?a=b"),
        ("GET", "/state", "/master/state"),
        ("GET", "/master/state?_ts=17", "/master/state?_ts=17"),
        ("GET", "/slaves?slave_id=x%20y", "/master/slaves?slave_id=x%20y"),
        ("GET", "/redirect", ""),
        ("GET", "/master/redirect", ""),
    ];
    for (method, path, target) in table {
        // Before anything else: the body is no JSON, and no content type is given.
        let answer = exchange(&follower, method, path, &["Mesos-Stream-Id: x"], b"{").await?;
        let location = format!("//{leader}{target}");
        ensure!(answer.head.status == 307, "{method} {path}: {:?}", answer.head);
        ensure!(answer.head.header("location") == Some(&location), "{location} expected: {:?}", answer.head);
        ensure!(answer.body.is_empty(), "{method} {path}: {}", answer.body);
    }
    for path in ["/health", "/version", "/metrics", "/metrics/snapshot"] {
        let answer = get(&follower, path).await?;
        ensure!(answer.head.status == 200, "{path} is answered by every master: {:?}", answer.head);
    }
    Ok(())
}

async fn framing() -> Result<()> {
    let cluster = Cluster::start(1, 1, Settings::default()).await?;
    let master = cluster.masters[0].address.to_string();
    let mut stream = Stream::open(&master, &info("Überbau ☃")).await?;
    let second = stream.record().await?.context("the stream ended")?;
    ensure!(second["type"] == "HEARTBEAT", "the first heartbeat follows SUBSCRIBED at once, not {second}");
    let offers = stream.next_of("OFFERS").await?;
    ensure!(offers["offers"]["offers"][0]["agent_id"]["value"].is_string(), "{offers}");

    let mut wrong = info("wrong");
    wrong["roles"] = json!(["-ü"]);
    let mut refused = Stream::open(&master, &wrong).await?;
    ensure!(refused.framework.is_null(), "a bad role is no subscription");
    ensure!(refused.record().await?.is_none(), "ERROR is the last event");

    let taken_over = json!({ "type": "SUBSCRIBE", "framework_id": stream.framework, "subscribe": {
        "framework_info": { "id": stream.framework, "user": "root", "name": "again", "roles": ["*"],
            "failover_timeout": 3600.0, "checkpoint": true,
            "capabilities": [{ "type": "MULTI_ROLE" }, { "type": "PARTITION_AWARE" }] } } });
    let mut second = RawHttp::connect(&master).await?;
    let head = second.request("POST", SCHEDULER, &[JSON], taken_over.to_string().as_bytes()).await?;
    ensure!(head.status == 200, "{head:?}");
    let error = stream.next_of("ERROR").await?;
    ensure!(error["error"]["message"] == "Framework failed over", "{error}");
    ensure!(stream.record().await?.is_none(), "the old stream is closed");
    Ok(())
}

async fn limits() -> Result<()> {
    let (cluster, master) = lone_master().await?;
    let here = Stream::open(&master, &info("large")).await?;
    let message = |bytes: usize| {
        let call = json!({ "type": "MESSAGE", "message": { "agent_id": { "value": "a" },
            "executor_id": { "value": "e" }, "data": "" } });
        let room = here.call(call.clone()).len();
        let mut call = call;
        call["message"]["data"] = "AAAA".repeat((bytes - room).div_ceil(4)).into();
        here.call(call)
    };
    let file = cluster.dir().join("body");
    for (bytes, status) in [(BODY_BYTES_MAX - 8, "202"), (BODY_BYTES_MAX + 1, "413")] {
        std::fs::write(&file, message(bytes))?;
        let mut curl = tokio::process::Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "30"]);
        curl.args(["--header", JSON, "--header", &format!("Mesos-Stream-Id: {}", here.stream_id)]);
        curl.arg("--data-binary")
            .arg(format!("@{}", file.display()))
            .arg(format!("http://{master}{SCHEDULER}"));
        let output = curl.output().await.context("cannot run curl; it is needed for this test")?;
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(found == status, "{bytes} bytes: {status} expected, not {found}");
    }
    Ok(())
}

async fn odd_requests() -> Result<()> {
    let (_cluster, master) = lone_master().await?;
    let here = Stream::open(&master, &info("odd")).await?;
    let body = here.call(json!({ "type": "REVIVE" }));
    // No Content-Length, header names in capitals, two requests on one connection.
    let head = format!("POST {SCHEDULER} HTTP/1.1\r\nHOST: x\r\nCONTENT-TYPE: application/json\r\n");
    let head = head + &format!("MESOS-STREAM-ID: {}\r\nTRANSFER-ENCODING: chunked\r\n\r\n", here.stream_id);
    let (first, rest) = body.split_at(7);
    let request = format!("{head}{:x}\r\n{first}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", first.len(), rest.len());
    let mut connection = RawHttp::connect(&master).await?;
    for _ in 0..2 {
        connection.write(request.as_bytes()).await?;
        let head = connection.read_head().await?;
        ensure!(head.status == 202, "{head:?}");
    }
    let mut old = RawHttp::connect(&master).await?;
    old.write(b"GET /version HTTP/1.0\r\n\r\n").await?;
    ensure!(old.read_head().await?.status == 200, "HTTP/1.0 is answered");
    Ok(())
}

#[tokio::test]
async fn the_gates_of_the_scheduler_api_answer_in_their_order() {
    gates().await.unwrap();
}

#[tokio::test]
async fn what_is_not_there_is_refused_by_name() {
    not_there_yet().await.unwrap();
}

#[tokio::test]
async fn paths_have_aliases_and_unknown_ones_fall_back_to_the_longest_known() {
    routes().await.unwrap();
}

#[tokio::test]
async fn a_follower_names_the_leader_before_it_looks_at_anything() {
    followers_redirect().await.unwrap();
}

#[tokio::test]
async fn a_chunk_is_a_record_and_an_error_is_the_last_one() {
    framing().await.unwrap();
}

#[tokio::test]
async fn a_body_of_more_than_eight_mebibytes_is_refused() {
    limits().await.unwrap();
}

#[tokio::test]
async fn chunked_bodies_shouted_headers_and_old_http_are_served() {
    odd_requests().await.unwrap();
}
