//! Reads what masters and agents publish.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::backoff::Backoff;
use crate::error::OperatorError;
use crate::http::{Connection, REASON_BYTES_MAX, TransportError, read_body, redirect_target, request};

/// The longest answer that is read: `/state` of a very large cluster.
const ANSWER_BYTES_MAX: usize = 1 << 30;
/// How long one node may take to begin its answer, and then to finish it.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Where a redirect (307) points, `host:port`.
    pub redirect: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// Reads from a cluster; cheap to make, keeps no connection.
#[derive(Clone, Debug)]
pub struct Operator {
    masters: Vec<String>,
    patience: Duration,
}

impl Operator {
    /// For the cluster with these masters (`host:port`). Asks once around; see [`Operator::patient`].
    pub fn new(masters: Vec<String>) -> Self {
        Self { masters, patience: Duration::ZERO }
    }

    /// Keeps asking for this long while no master leads.
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The leader's address, as the first master that knows it tells.
    pub async fn leader(&self) -> Result<String, OperatorError> {
        self.around("/redirect", |_, reply| reply.redirect).await
    }

    /// The leader's answer to GET `path`, which must be 200.
    pub async fn get(&self, path: &str) -> Result<Bytes, OperatorError> {
        let leader = self.leader().await?;
        let reply = get(&leader, path).await?;
        if reply.status == 200 {
            return Ok(reply.body);
        }
        let reason =
            String::from_utf8_lossy(&reply.body[..reply.body.len().min(REASON_BYTES_MAX)]).trim().to_owned();
        Err(OperatorError::Status { address: leader, path: path.to_owned(), status: reply.status, reason })
    }

    /// As [`Operator::get`], as JSON.
    pub async fn get_json(&self, path: &str) -> Result<Value, OperatorError> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|source| OperatorError::Malformed {
            address: "the leader".to_owned(),
            path: path.to_owned(),
            source,
        })
    }

    /// The leader's `/state`: agents, frameworks, tasks, in the form of Mesos' v0 API.
    pub async fn state(&self) -> Result<Value, OperatorError> {
        self.get_json("/state").await
    }

    /// Each master's address and whether it answers `/health` with 200.
    pub async fn health(&self) -> Vec<(String, bool)> {
        let checks = self.masters.iter().map(async |master| {
            let good = get(master, "/health").await.is_ok_and(|reply| reply.status == 200);
            (master.clone(), good)
        });
        futures::future::join_all(checks).await
    }

    /// Asks the masters in turn until one answer satisfies `take`.
    async fn around<T>(
        &self,
        path: &str,
        take: impl Fn(&str, Reply) -> Option<T>,
    ) -> Result<T, OperatorError> {
        let give_up = Instant::now() + self.patience;
        let mut backoff = Backoff::new();
        loop {
            let mut last = "no address was given".to_owned();
            for master in &self.masters {
                last = match get(master, path).await {
                    Err(error) => describe(&error),
                    Ok(reply) => {
                        let status = reply.status;
                        match take(master, reply) {
                            Some(found) => return Ok(found),
                            None => format!("{master} knows no leader (status {status})"),
                        }
                    }
                };
            }
            if Instant::now() >= give_up {
                return Err(OperatorError::NoLeader { masters: self.masters.join(", "), last });
            }
            sleep(backoff.next()).await;
        }
    }
}

fn describe(error: &OperatorError) -> String {
    match error {
        OperatorError::Transport { address, source } => format!("{address}: {source}"),
        other => other.to_string(),
    }
}

/// One GET to one node, redirects not followed.
pub async fn get(address: &str, path: &str) -> Result<Reply, OperatorError> {
    try_get(address, path)
        .await
        .map_err(|source| OperatorError::Transport { address: address.to_owned(), source })
}

async fn try_get(address: &str, path: &str) -> Result<Reply, TransportError> {
    let mut connection = Connection::open(address).await?;
    let headers = [("accept", "application/json"), ("connection", "close")];
    let response =
        connection.send(request(Method::GET, address, path, &headers, Bytes::new())?, ANSWER_WITHIN).await?;
    let status = response.status();
    let redirect = redirect_target(&response);
    let body = match status {
        StatusCode::NO_CONTENT => Bytes::new(),
        _ => read_body(response, ANSWER_BYTES_MAX, ANSWER_WITHIN).await?,
    };
    Ok(Reply { status: status.as_u16(), redirect, body })
}
