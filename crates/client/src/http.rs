//! One HTTP/1.1 connection, and what one can know about a request that failed on it.
//!
//! hyper's pooled client is not used: it repeats requests by its own rules, and the SDK must know whether a request
//! can have reached the master.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a TCP connection may take. A dead host must not hold up the search for the leader.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(1);
/// The longest error text that is read from an answer.
pub(crate) const REASON_BYTES_MAX: usize = 4096;

/// How the way to a node failed.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address is not one that a request can be made for.
    #[error("{0:?} is not an address")]
    Address(String),
    /// No connection within a second.
    #[error("no connection within {} ms", CONNECT_MAX.as_millis())]
    ConnectTimeout,
    /// The connection was refused or could not be made.
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    /// The request never left this process.
    #[error("the connection closed before the request was sent")]
    NotSent,
    /// It broke after the request was sent.
    #[error("the connection broke: {0}")]
    Broken(#[source] hyper::Error),
    /// No answer in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Silent(Duration),
    /// The answer is longer than allowed, or broke off.
    #[error("the answer could not be read: {0}")]
    Body(String),
}

impl TransportError {
    /// Whether the node can have seen the request.
    pub(crate) fn may_have_arrived(&self) -> bool {
        match self {
            Self::Address(_) | Self::ConnectTimeout | Self::Connect(_) | Self::NotSent => false,
            Self::Broken(_) | Self::Silent(_) | Self::Body(_) => true,
        }
    }
}

/// A connection to one node. Dropping it closes the socket, also under a response that is still being read elsewhere.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(address: &str) -> Result<Self, TransportError> {
        let stream = timeout(CONNECT_MAX, TcpStream::connect(address))
            .await
            .map_err(|_| TransportError::ConnectTimeout)?
            .map_err(TransportError::Connect)?;
        stream.set_nodelay(true).map_err(TransportError::Connect)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|_| TransportError::NotSent)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(Self { sender, driver })
    }

    /// Whether another request can be sent on it now.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Sends one request; returns when the head of its answer is there.
    pub(crate) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Response<Incoming>, TransportError> {
        timeout(within, async {
            self.sender.ready().await.map_err(|_| TransportError::NotSent)?;
            self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
                Some(_) => TransportError::NotSent,
                None => TransportError::Broken(error.into_error()),
            })
        })
        .await
        .map_err(|_| TransportError::Silent(within))?
    }
}

/// A request with the headers that every request of ours has.
pub(crate) fn request(
    method: Method,
    address: &str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, TransportError> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address)
        .header(header::USER_AGENT, concat!("mesarch-client/", env!("CARGO_PKG_VERSION")));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body)).map_err(|_| TransportError::Address(address.to_owned()))
}

/// Reads a whole body of at most `bytes_max`.
pub(crate) async fn read_body(
    response: Response<Incoming>,
    bytes_max: usize,
    within: Duration,
) -> Result<Bytes, TransportError> {
    let body = Limited::new(response.into_body(), bytes_max).collect();
    let collected = timeout(within, body).await.map_err(|_| TransportError::Silent(within))?;
    collected.map(|all| all.to_bytes()).map_err(|error| TransportError::Body(error.to_string()))
}

/// The text of an error answer, cut to [`REASON_BYTES_MAX`], or the status' own name if it cannot be read.
pub(crate) async fn read_reason(response: Response<Incoming>) -> String {
    let status = response.status();
    match read_body(response, REASON_BYTES_MAX, CONNECT_MAX).await {
        Ok(body) if !body.is_empty() => String::from_utf8_lossy(&body).trim().to_owned(),
        _ => status.canonical_reason().unwrap_or("no reason given").to_owned(),
    }
}

/// `host:port` in a redirect's `Location`, which may be `//host:port/path` or a whole URL.
pub(crate) fn redirect_target(response: &Response<Incoming>) -> Option<String> {
    if response.status() != StatusCode::TEMPORARY_REDIRECT {
        return None;
    }
    authority_of(response.headers().get(header::LOCATION)?.to_str().ok()?)
}

fn authority_of(location: &str) -> Option<String> {
    let (_, rest) = location.split_once("//")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    (!authority.is_empty()).then(|| authority.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_read_from_any_form_of_location() {
        let table = [
            ("//10.0.0.1:5050", Some("10.0.0.1:5050")),
            ("//10.0.0.1:5050/master/api/v1/scheduler?x=1", Some("10.0.0.1:5050")),
            ("http://leader:5050/state", Some("leader:5050")),
            ("//[::1]:5050/", Some("[::1]:5050")),
            ("/elsewhere", None),
            ("///", None),
        ];
        for (location, expect) in table {
            assert_eq!(authority_of(location).as_deref(), expect, "{location}");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_has_not_sent_anything() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Connection::open(&address).await.unwrap_err();
        assert!(!error.may_have_arrived(), "{error}");
    }
}
