//! A raw HTTP/1.1 client that shows what is on the wire: status, headers, chunks.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::cluster::{soon, wait_for};

pub(crate) const SCHEDULER: &str = "/api/v1/scheduler";
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    async fn send(
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes()).await?;
        stream.write_all(body).await?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn head(&mut self) -> std::io::Result<Reply> {
        let status = self.line().await?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        Ok(Reply { status, headers, body: Vec::new() })
    }

    /// One chunk as it is on the wire; none at the last one.
    async fn chunk(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let size = usize::from_str_radix(&self.line().await?, 16).expect("the size of a chunk");
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).await?;
        chunk.truncate(size);
        Ok((size > 0).then_some(chunk))
    }
}

pub(crate) async fn try_request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> std::io::Result<Reply> {
    let mut connection = Connection::send(address, method, path, headers, body).await?;
    let mut reply = connection.head().await?;
    if reply.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = connection.chunk().await? {
            reply.body.extend(chunk);
        }
    } else if method != "HEAD" {
        let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        reply.body.resize(length, 0);
        connection.stream.read_exact(&mut reply.body).await?;
    }
    Ok(reply)
}

pub(crate) async fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let reply = soon(path, try_request(address, method, path, headers, body)).await;
    reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Reply {
    request(address, "GET", path, &[], b"").await
}

/// A subscribed scheduler.
pub(crate) struct Scheduler {
    pub(crate) address: SocketAddr,
    pub(crate) framework: String,
    pub(crate) stream_id: String,
    connection: Connection,
    /// Events that came while another type was waited for.
    passed: VecDeque<Value>,
}

pub(crate) fn framework_info(name: &str) -> Value {
    json!({"user": "root", "name": name, "roles": ["eng"], "checkpoint": true, "failover_timeout": 3600.0,
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}]})
}

/// Opens a stream; the status and the first event are the caller's to look at.
pub(crate) async fn open(
    address: SocketAddr,
    headers: &[(&str, &str)],
    info: &Value,
) -> (Reply, EventStream) {
    let mut call = json!({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}});
    if !info["id"].is_null() {
        call["framework_id"] = info["id"].clone();
    }
    let headers: Vec<_> = [JSON].into_iter().chain(headers.iter().copied()).collect();
    let body = call.to_string();
    let sent = Connection::send(address, "POST", SCHEDULER, &headers, body.as_bytes());
    let mut connection = soon("a connection", sent).await.expect("a connection");
    let reply = soon("an answer to SUBSCRIBE", connection.head()).await.expect("an answer");
    (reply, EventStream { connection })
}

/// Opens a stream of an operator, who follows the state; the answer's head must say 200.
pub(crate) async fn follow(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
) -> (Reply, EventStream) {
    let headers: Vec<_> = [JSON].into_iter().chain(headers.iter().copied()).collect();
    let sent = Connection::send(address, "POST", path, &headers, br#"{"type":"SUBSCRIBE"}"#);
    let mut connection = soon("a connection", sent).await.expect("a connection");
    let reply = soon("an answer to SUBSCRIBE", connection.head()).await.expect("an answer");
    assert_eq!(reply.status, 200);
    (reply, EventStream { connection })
}

/// Events as they come.
pub(crate) struct EventStream {
    connection: Connection,
}

impl EventStream {
    /// One chunk, which must be one record; none at the stream's end.
    pub(crate) async fn record(&mut self) -> Option<Vec<u8>> {
        let chunk = match soon("an event", self.connection.chunk()).await {
            Ok(chunk) => chunk?,
            Err(_) => return None,
        };
        let newline = chunk.iter().position(|byte| *byte == b'\n').expect("a length line");
        let length: usize = std::str::from_utf8(&chunk[..newline]).expect("text").parse().expect("a length");
        let record = chunk[newline + 1..].to_vec();
        assert_eq!(record.len(), length, "one chunk is not one record");
        Some(record)
    }

    /// Whether what is left of the stream has an end, and does not just break off.
    pub(crate) async fn ends_in_order(&mut self) -> bool {
        loop {
            match soon("a chunk or the end", self.connection.chunk()).await {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    pub(crate) async fn event(&mut self) -> Option<Value> {
        let record = self.record().await?;
        assert!(record.is_ascii() && !record.contains(&b'\n'));
        Some(serde_json::from_slice(&record).expect("JSON"))
    }
}

impl Scheduler {
    pub(crate) async fn subscribe(address: SocketAddr, info: Value, headers: &[(&str, &str)]) -> Self {
        let (reply, mut events) = open(address, headers, &info).await;
        assert_eq!(reply.status, 200);
        let subscribed = events.event().await.expect("SUBSCRIBED");
        assert_eq!(subscribed["type"], "SUBSCRIBED", "{subscribed}");
        let framework = subscribed["subscribed"]["framework_id"]["value"].as_str().expect("an id").to_owned();
        let stream_id = reply.header("mesos-stream-id").expect("a stream id").to_owned();
        Self { address, framework, stream_id, connection: events.connection, passed: VecDeque::new() }
    }

    /// Waits for a leader at `address` that lets it subscribe; `resume` names the old stream.
    pub(crate) async fn subscribe_again(address: SocketAddr, info: Value, resume: Option<&str>) -> Self {
        wait_for("the new leader", || async {
            let reply = try_request(address, "GET", "/metrics/snapshot", &[], b"").await.ok()?;
            (reply.json()["master/elected"] == 1.0).then_some(())
        })
        .await;
        let headers: Vec<_> = resume.map(|id| ("Mesarch-Resume", id)).into_iter().collect();
        Self::subscribe(address, info, &headers).await
    }

    pub(crate) async fn event(&mut self) -> Option<Value> {
        let connection = &mut self.connection;
        let chunk = soon("an event", connection.chunk()).await.ok()??;
        let newline = chunk.iter().position(|byte| *byte == b'\n').expect("a length line");
        Some(serde_json::from_slice(&chunk[newline + 1..]).expect("JSON"))
    }

    /// The oldest event of this type that was not taken yet; others are kept for later.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let kept = self.passed.iter().position(|event| event["type"] == kind);
        let event = match kept.and_then(|place| self.passed.remove(place)) {
            Some(event) => event,
            None => soon(kind, self.read_until(kind)).await,
        };
        event[kind.to_lowercase()].clone()
    }

    async fn read_until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.event().await.unwrap_or_else(|| panic!("the stream ended before {kind}"));
            if event["type"] == kind {
                return event;
            }
            self.passed.push_back(event);
        }
    }

    /// The first offer of the next OFFERS.
    pub(crate) async fn offer(&mut self) -> Value {
        self.next("OFFERS").await["offers"][0].clone()
    }

    /// The status of the next UPDATE.
    pub(crate) async fn update(&mut self) -> Value {
        self.next("UPDATE").await["status"].clone()
    }

    pub(crate) async fn call(&self, kind: &str, message: Value) -> Reply {
        let mut call = json!({"type": kind, "framework_id": {"value": self.framework}});
        if !message.is_null() {
            call[kind.to_lowercase()] = message;
        }
        let headers = [JSON, ("Mesos-Stream-Id", self.stream_id.as_str())];
        request(self.address, "POST", SCHEDULER, &headers, call.to_string().as_bytes()).await
    }

    /// A call that must be accepted.
    pub(crate) async fn accepted(&self, kind: &str, message: Value) {
        let reply = self.call(kind, message).await;
        assert_eq!((reply.status, reply.text().as_str()), (202, ""), "{kind}");
    }

    /// ACCEPT of one offer with one command task.
    pub(crate) async fn launch(&self, offer: &Value, task: &str) {
        self.accepted("ACCEPT", accept(offer, task)).await;
    }

    pub(crate) async fn acknowledge(&self, status: &Value) {
        let acknowledge =
            json!({"agent_id": status["agent_id"], "task_id": status["task_id"], "uuid": status["uuid"]});
        self.accepted("ACKNOWLEDGE", acknowledge).await;
    }

    /// With the id that it was given, for another SUBSCRIBE.
    pub(crate) fn info_again(&self, mut info: Value) -> Value {
        info["id"] = json!({"value": self.framework});
        info
    }
}

pub(crate) fn accept(offer: &Value, task: &str) -> Value {
    let cpus = json!([{"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.0}}]);
    let info = json!({"name": task, "task_id": {"value": task}, "agent_id": offer["agent_id"], "resources": cpus,
        "command": {"value": "true"}});
    json!({"offer_ids": [offer["id"]], "filters": {"refuse_seconds": 0.0},
        "operations": [{"type": "LAUNCH", "launch": {"task_infos": [info]}}]})
}
