//! A server whose every answer the test writes itself, byte for byte.

use std::time::Duration;

use bytes::Bytes;
use mesarch_mesos_v1::{ContentType, recordio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::v1;
use crate::v1::scheduler::{Call, Event, call, event};

const WITHIN: Duration = Duration::from_secs(10);

pub(crate) struct FakeMaster {
    pub(crate) address: String,
    requests: mpsc::Receiver<FakeRequest>,
}

/// A request that waits for its answer. Dropping it closes the connection.
pub(crate) struct FakeRequest {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    reply: mpsc::Sender<Reply>,
}

enum Reply {
    Bytes(Bytes),
    /// The connection can take the next request.
    Done,
}

impl FakeMaster {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, requests) = mpsc::channel(64);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.clone()));
            }
        });
        Self { address, requests }
    }

    pub(crate) async fn request(&mut self) -> FakeRequest {
        timeout(WITHIN, self.requests.recv())
            .await
            .expect("a request comes in time")
            .expect("the server runs")
    }
}

async fn serve(mut stream: TcpStream, requests: mpsc::Sender<FakeRequest>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut buffer).await {
        let (reply, mut replies) = mpsc::channel(64);
        if requests.send(FakeRequest { head, body, reply }).await.is_err() {
            return;
        }
        loop {
            match replies.recv().await {
                Some(Reply::Bytes(bytes)) => drop(stream.write_all(&bytes).await),
                Some(Reply::Done) => break,
                None => return,
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).ok()?.to_lowercase();
            // The SDK's watch on the leader speaks HTTP/2, which this master does not.
            if head.starts_with("pri * http/2.0") {
                return None;
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let total = end + 4 + length.map_or(0, |length| length.trim().parse().unwrap());
            if buffer.len() >= total {
                let body = buffer[end + 4..total].to_vec();
                buffer.drain(..total);
                return Some((head, body));
            }
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

impl FakeRequest {
    pub(crate) fn call(&self) -> Call {
        mesarch_mesos_v1::decode(ContentType::Protobuf, &self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) async fn raw(&self, text: &str) {
        self.reply.send(Reply::Bytes(Bytes::copy_from_slice(text.as_bytes()))).await.unwrap();
    }

    /// Answers and keeps the connection.
    pub(crate) async fn answer(self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.raw(&format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}")).await;
        self.reply.send(Reply::Done).await.unwrap();
    }

    /// Begins an event stream.
    pub(crate) async fn stream(&self, headers: &str) {
        self.raw(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{headers}\r\n")).await;
    }

    /// One message of the stream as one chunk.
    pub(crate) async fn record<T: mesarch_mesos_v1::ApiMessage>(&self, message: &T) {
        let payload = mesarch_mesos_v1::encode(ContentType::Protobuf, message);
        let record = recordio::encode(&payload);
        let mut chunk = format!("{:x}\r\n", record.len()).into_bytes();
        chunk.extend_from_slice(&record);
        chunk.extend_from_slice(b"\r\n");
        self.reply.send(Reply::Bytes(chunk.into())).await.unwrap();
    }

    /// Takes a SUBSCRIBE under this stream id.
    pub(crate) async fn subscribed(&self, stream_id: &str, framework: &str) {
        assert_eq!(self.call().r#type(), call::Type::Subscribe);
        self.stream(&format!("mesos-stream-id: {stream_id}\r\n")).await;
        let subscribed = event::Subscribed {
            framework_id: v1::FrameworkId { value: framework.to_owned() },
            heartbeat_interval_seconds: Some(15.0),
            master_info: None,
        };
        self.record(&Event { subscribed: Some(subscribed), ..of_type(event::Type::Subscribed) }).await;
    }
}

pub(crate) fn of_type(kind: event::Type) -> Event {
    Event { r#type: Some(kind as i32), ..Event::default() }
}
