//! One request to a cluster, and what is known of its outcome.

use std::time::Duration;

use mesarch_testkit::RawHttp;
use serde_json::Value;
use tokio::time::timeout;

/// How long a request may take, redirects included; then nobody knows.
const WITHIN: Duration = Duration::from_secs(3);
/// A master that is told to be the leader twice over is no leader.
const REDIRECTS_MAX: usize = 3;

/// What became of a request; the README says what each outcome means.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It was done.
    Done(Done),
    /// It was not done and never will be.
    Not,
    /// It may have been done, or may be yet.
    Unknown,
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Done {
    /// The body; null if there is none.
    pub(crate) value: Value,
    /// Up to which entry of the log a stale answer shows.
    pub(crate) index: Option<u64>,
    /// The master that answered, `host:port`.
    pub(crate) by: String,
}

/// POSTs a call of the operator API to one master and goes where it sends.
pub(crate) async fn post(master: &str, query: &str, call: &Value) -> Answer {
    let body = call.to_string();
    let mut sent = false;
    let asked = timeout(WITHIN, ask(master, query, body.as_bytes(), &mut sent)).await;
    match asked {
        Ok(Ok(answer)) => answer,
        _ if sent => Answer::Unknown,
        _ => Answer::Not,
    }
}

/// `sent` is kept true to the moment: whether a master may have the request and has not answered it.
async fn ask(master: &str, query: &str, body: &[u8], sent: &mut bool) -> anyhow::Result<Answer> {
    let mut address = master.to_owned();
    for _ in 0..=REDIRECTS_MAX {
        let mut connection = RawHttp::connect(&address).await?;
        *sent = true;
        let headers = ["Content-Type: application/json", "Accept: application/json", "Connection: close"];
        let head = connection.request("POST", &format!("/api/v1{query}"), &headers, body).await?;
        match head.status {
            200 | 202 => {
                let length = head.header("content-length").is_some_and(|length| length != "0");
                let read = if length { connection.read_body(&head).await? } else { Vec::new() };
                let value = serde_json::from_slice(&read).unwrap_or(Value::Null);
                let index = head.header("mesarch-applied-index").and_then(|index| index.parse().ok());
                return Ok(Answer::Done(Done { value, index, by: address }));
            }
            307 => {
                *sent = false;
                let Some(next) = head.header("location").and_then(authority) else {
                    return Ok(Answer::Not);
                };
                address = next.to_owned();
            }
            400..=499 => return Ok(Answer::Not),
            // Only with it the master says that nothing was done.
            503 if head.header("retry-after").is_some() => return Ok(Answer::Not),
            _ => return Ok(Answer::Unknown),
        }
    }
    Ok(Answer::Not)
}

/// `host:port` of a Location.
fn authority(location: &str) -> Option<&str> {
    let (_, rest) = location.split_once("//")?;
    rest.split(['/', '?']).next().filter(|authority| !authority.is_empty())
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Answers one request with these bytes, then closes; the address.
    async fn server(answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn an_outcome_is_what_the_answer_proves() {
        let done = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nMesarch-Applied-Index: 7\r\n\r\n{}";
        for (answer, expect) in [
            (done, "Done(Done"),
            ("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", "Done(Done"),
            ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "Not"),
            ("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", "Not"),
            ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "Unknown"),
            ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "Unknown"),
            ("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n", "Unknown"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}", "Unknown"),
            ("", "Unknown"),
        ] {
            let address = server(answer.to_owned()).await;
            let outcome = format!("{:?}", post(&address, "", &Value::Null).await);
            assert!(outcome.starts_with(expect), "{answer:?}: {outcome}");
        }
        let leader = server(done.to_owned()).await;
        let moved = format!("HTTP/1.1 307 Moved\r\nLocation: //{leader}/api/v1\r\nContent-Length: 0\r\n\r\n");
        match post(&server(moved).await, "", &Value::Null).await {
            Answer::Done(done) => assert_eq!((done.index, done.by), (Some(7), leader)),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_request_that_nobody_took_was_not_done() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert!(matches!(post(&address, "", &Value::Null).await, Answer::Not));
        let moved = format!("HTTP/1.1 307 Moved\r\nLocation: //{address}/\r\nContent-Length: 0\r\n\r\n");
        assert!(matches!(post(&server(moved).await, "", &Value::Null).await, Answer::Not));
    }
}
