//! Raw bytes in, bytes out, over real sockets.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::{
    convert::Infallible,
    io::Write,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use futures::{future::BoxFuture, stream};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::{Audience, Bodies, BodyLimits, Limits, Patience, Port, grpc::Services, refusal, serve};

/// Long enough for anything that is to happen.
const DEADLINE: Duration = Duration::from_secs(20);

const LIMITS: Limits = Limits {
    connections_max: 100,
    reserve: 10,
    first_wait: DEADLINE,
    reserve_first_wait: DEADLINE,
    idle_wait: DEADLINE,
    uri_bytes_max: 100,
    headers_bytes_max: 8192,
    drain_wait: DEADLINE,
};

const BODIES: BodyLimits = BodyLimits {
    bytes_max: 1000,
    grace: Duration::from_millis(200),
    rate_min: 1000,
    wait_max: Duration::from_secs(2),
    small_bytes: 100,
    in_flight_max: 500,
    linger: Duration::from_millis(200),
};

#[derive(Clone)]
struct Echo {
    bodies: Bodies,
    services: Services,
    /// Lets `/wait` answer.
    go: Arc<Notify>,
}

impl Port for Echo {
    fn audience(&self, path: &str) -> Audience {
        if path == "/framework" { Audience::Frameworks } else { Audience::Others }
    }

    fn bodies(&self) -> &Bodies {
        &self.bodies
    }

    fn services(&self) -> &Services {
        &self.services
    }

    async fn answer(&self, request: Request<Incoming>, _: Arc<Patience>) -> Response<Body> {
        tracing::info!("asked");
        let (parts, body) = request.into_parts();
        let whole = match self.bodies.read(&parts.headers, body).await {
            Ok(whole) => whole,
            Err(error) => return refusal(error.status(), &error.to_string()),
        };
        match parts.uri.path() {
            // Keeps its place in the budget.
            "/wait" => {
                self.go.notified().await;
                Response::new(Body::from("waited"))
            }
            "/stream" => Response::new(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())),
            path => Response::new(Body::from(format!("{path} {}", whole.bytes.len()))),
        }
    }

    fn spawn(&self, stream: BoxFuture<'static, ()>) {
        tokio::spawn(stream);
    }
}

struct Server {
    address: SocketAddr,
    go: Arc<Notify>,
    stop: watch::Sender<bool>,
    ended: JoinHandle<()>,
}

impl Server {
    async fn start(limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let go = Arc::new(Notify::new());
        let echo = Echo { bodies: Bodies::new(BODIES), services: Services::default(), go: go.clone() };
        let (stop, stopping) = watch::channel(false);
        let ended = tokio::spawn(serve(listener, echo, limits, stopping));
        Self { address, go, stop, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// All that is answered to these bytes, once the connection has ended.
    async fn answers(&self, bytes: &[u8]) -> String {
        all(self.send(bytes).await).await
    }
}

/// Until the connection has ended, whether in order or not.
async fn all(mut stream: TcpStream) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    let read = async {
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            heard.extend_from_slice(&buffer[..count]);
        }
    };
    timeout(DEADLINE, read).await.expect("the connection ends");
    String::from_utf8(heard).unwrap()
}

/// Until this much was heard.
async fn until(stream: &mut TcpStream, text: &str) -> String {
    let mut heard = String::new();
    let mut buffer = [0; 4096];
    while !heard.contains(text) {
        let count = timeout(DEADLINE, stream.read(&mut buffer)).await.expect("in time").unwrap();
        assert!(count > 0, "the connection ended: {heard:?}");
        heard += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    heard
}

/// The statuses in what was heard, in order.
fn statuses(heard: &str) -> Vec<u16> {
    let after = heard.split("HTTP/1.").skip(1);
    after.filter_map(|rest| rest.split(' ').nth(1)?.parse().ok()).collect()
}

fn head(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: a\r\n{headers}\r\n")
}

const CLOSE: &str = "Connection: close\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

#[tokio::test]
async fn what_is_sent_decides_what_is_answered() {
    let server = Server::start(LIMITS).await;
    let long = |count: usize| "x".repeat(count);
    let length = |count: usize| format!("Content-Length: {count}\r\n");
    let get = head("GET /a", CLOSE);
    let table: Vec<(&str, String, Vec<u16>, &str)> = vec![
        ("a request", get.clone(), vec![200], "/a 0"),
        ("pipelined ones", head("GET /b", "") + &head("GET /c", "") + &get, vec![200, 200, 200], "/c 0"),
        (
            "chunks",
            head("POST /d", CHUNKED) + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n" + &get,
            vec![200, 200],
            "/d 5",
        ),
        ("trailers", head("POST /t", CHUNKED) + "1\r\na\r\n0\r\nX: y\r\n\r\n" + &get, vec![200, 200], "/t 1"),
        ("a length", head("POST /e", &length(4)) + "abcd" + &get, vec![200, 200], "/e 4"),
        ("a head alone", head("HEAD /f", "") + &get, vec![200, 200], "Content-Length: 4"),
        ("HTTP/1.0", "GET /g HTTP/1.0\r\n\r\n".into(), vec![200], "/g 0"),
        ("a long URI", head(&format!("GET /{}", long(100)), ""), vec![414], "longer than 100 bytes"),
        ("a long query", head(&format!("GET /?{}", long(99)), ""), vec![414], "longer than 100 bytes"),
        ("a URI of just that length", head(&format!("GET /{}", long(99)), CLOSE), vec![200], ""),
        (
            "long headers",
            head("GET /", &format!("X: {}\r\n", long(8192))),
            vec![431],
            "longer than 8192 bytes",
        ),
        ("a head without an end", head("GET /", &format!("X: {}\r\n", long(8192 * 5))), vec![431], ""),
        ("many headers", head("GET /", &"X: y\r\n".repeat(200)), vec![431], ""),
        ("nonsense", "nonsense\r\n\r\n".into(), vec![400], ""),
        ("bytes", "\u{0}\u{1}\u{2}\r\n\r\n".into(), vec![400], ""),
        ("two lengths", head("POST /", &(length(1) + &length(2))) + "ab", vec![400], ""),
        ("a bad length", head("POST /", "Content-Length: -1\r\n"), vec![400], ""),
        ("a bad chunk", head("POST /", CHUNKED) + "z\r\n", vec![400], ""),
        (
            "an announced body",
            head("POST /", &length(1001)) + &long(1001),
            vec![413],
            "larger than 1000 bytes",
        ),
        (
            "a body that grows",
            head("POST /", CHUNKED) + &format!("1f4\r\n{0}\r\n1f5\r\n{0}x\r\n0\r\n\r\n", long(500)),
            vec![413],
            "larger than 1000 bytes",
        ),
        (
            "a body that takes all memory",
            head("POST /", CHUNKED) + &format!("1f4\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", long(500)),
            vec![503],
            "500 bytes of memory",
        ),
        (
            "a body that is not to be sent",
            head("POST /", &(length(1001) + "Expect: 100-continue\r\n")),
            vec![413],
            "larger than 1000 bytes",
        ),
        (
            "a body that waits for our word",
            head("POST /h", &(length(2) + "Expect: 100-continue\r\n" + CLOSE)) + "ab",
            vec![100, 200],
            "/h 2",
        ),
        ("a body that is cut off", head("POST /", &length(10)) + "abc", vec![400], "could not be read"),
    ];
    for (what, sent, expect, text) in table {
        let mut stream = server.connect().await;
        // A server that has refused a head may not take the rest of it.
        let _ = stream.write_all(sent.as_bytes()).await;
        // What is kept alive ends with us.
        let _ = stream.shutdown().await;
        let heard = all(stream).await;
        assert_eq!(statuses(&heard), expect, "{what}: {heard}");
        assert!(heard.contains(text), "{what}: {heard}");
    }
}

#[tokio::test]
async fn connections_that_ask_nothing_or_too_slowly_end() {
    let short = Duration::from_millis(100);
    let server = Server::start(Limits { first_wait: short, idle_wait: 3 * short, ..LIMITS }).await;
    let whole = head("GET /a", "");
    for (sent, expect, wait) in
        [("", 0, short), ("GET / HTTP/1.1\r\nHo", 0, short), (whole.as_str(), 1, 3 * short)]
    {
        let began = Instant::now();
        let heard = server.answers(sent.as_bytes()).await;
        assert_eq!(statuses(&heard).len(), expect, "{sent:?}: {heard}");
        assert!(began.elapsed() >= wait, "{sent:?}");
    }
    let late = head("POST /", "Content-Length: 10\r\n") + "abc";
    let heard = server.answers(late.as_bytes()).await;
    assert_eq!(statuses(&heard), [408], "{heard}");
    assert!(heard.contains("1000 bytes per second"), "{heard}");
    let mut streaming = server.send(head("GET /stream", "").as_bytes()).await;
    until(&mut streaming, "\r\n\r\n").await;
    let quiet = timeout(10 * short, streaming.read_u8()).await;
    assert!(quiet.is_err(), "a stream is open as long as it is read");
}

#[tokio::test]
async fn frameworks_leave_places_to_others() {
    let server = Server::start(Limits { connections_max: 3, reserve: 1, ..LIMITS }).await;
    let framework = head("GET /framework", "");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.send(framework.as_bytes()).await;
        until(&mut stream, "/framework 0").await;
        held.push(stream);
    }
    let heard = server.answers(framework.as_bytes()).await;
    assert_eq!(statuses(&heard), [503], "{heard}");
    assert!(heard.contains("Connection: close") && heard.contains("Retry-After: 1"), "{heard}");
    let mut operator = loop {
        let mut stream = server.send(head("GET /operator", "").as_bytes()).await;
        let mut status = [0; 12];
        // The place of the connection before may not be free yet.
        match stream.read_exact(&mut status).await {
            Ok(_) if &status == b"HTTP/1.1 200" => break stream,
            _ => tokio::task::yield_now().await,
        }
    };
    until(&mut operator, "/operator 0").await;
    // Nothing is sent: what is unread when a connection is refused would take the answer with it.
    let heard = all(server.connect().await).await;
    assert_eq!(statuses(&heard), [503], "{heard}");
    assert!(heard.ends_with("all places for connections are taken, wait"), "{heard}");
}

#[tokio::test]
async fn large_bodies_wait_for_memory_of_others() {
    let server = Server::start(LIMITS).await;
    let body = |path: &str, count: usize| {
        head(&format!("POST {path}"), &format!("Content-Length: {count}\r\n{CLOSE}")) + &"x".repeat(count)
    };
    // Read, and kept by whoever works on it.
    let first = server.send(body("/wait", 450).as_bytes()).await;
    let full = loop {
        let heard = server.answers(body("/", 101).as_bytes()).await;
        if statuses(&heard) == [503] {
            break heard;
        }
    };
    assert!(full.contains("Retry-After: 1"), "{full}");
    assert_eq!(statuses(&server.answers(body("/", 100).as_bytes()).await), [200], "small ones pass");
    server.go.notify_one();
    assert_eq!(statuses(&all(first).await), [200]);
    assert_eq!(statuses(&server.answers(body("/", 101).as_bytes()).await), [200]);
}

#[tokio::test]
async fn told_to_stop_it_answers_what_it_was_asked_and_takes_nothing_new() {
    let server = Server::start(LIMITS).await;
    let mut idle = server.send(head("GET /a", "").as_bytes()).await;
    until(&mut idle, "/a 0").await;
    let waiting = server.send(head("GET /wait", "").as_bytes()).await;
    // Answered, and so the one before it is asked as well.
    server.answers(head("GET /b", CLOSE).as_bytes()).await;
    server.stop.send_replace(true);
    assert_eq!(all(idle).await, "", "an idle connection ends at once");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens");
    server.go.notify_one();
    let heard = all(waiting).await;
    assert_eq!(statuses(&heard), [200], "{heard}");
    assert!(heard.to_lowercase().contains("connection: close"), "{heard}");
    timeout(DEADLINE, server.ended).await.expect("in time").unwrap();
}

#[tokio::test]
async fn what_does_not_end_is_cut_in_bounded_time() {
    let server = Server::start(Limits { drain_wait: Duration::from_millis(100), ..LIMITS }).await;
    let mut stream = server.send(head("GET /stream", "").as_bytes()).await;
    until(&mut stream, "\r\n\r\n").await;
    server.stop.send_replace(true);
    timeout(DEADLINE, server.ended).await.expect("in time").unwrap();
    all(stream).await;
}

/// What a test's log has.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_request_has_an_id_in_its_answer_and_in_the_log() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    // Of this thread, which is all that this runtime has.
    let _default = tracing::subscriber::set_default(subscriber);
    let server = Server::start(LIMITS).await;
    let heard =
        server.answers(head("GET /a", "X-Request-Id: abc-1\r\nConnection: close\r\n").as_bytes()).await;
    assert!(heard.contains("X-Request-Id: abc-1\r\n"), "{heard}");
    let heard = server.answers(head("GET /a", "X-Request-Id: a b\r\nConnection: close\r\n").as_bytes()).await;
    assert!(heard.contains("X-Request-Id: ") && !heard.contains("a b"), "{heard}");
    let long = head(&format!("GET /{}", "x".repeat(100)), "X-Request-Id: abc-2\r\n");
    let heard = server.answers(long.as_bytes()).await;
    assert_eq!(statuses(&heard), [StatusCode::URI_TOO_LONG.as_u16()]);
    assert!(heard.contains("X-Request-Id: abc-2\r\n"), "refusals have it as well: {heard}");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line = text.lines().find(|line| line.contains("id=abc-1")).expect("a line of that request");
    assert!(line.contains("asked"), "{line}");
}
