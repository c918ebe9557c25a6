//! The watch on every master: who leads, and a warm connection to it.
//!
//! The connection over which a master is watched is the one on which a link is opened when that master comes to lead.

use std::time::Duration;

use mesarch_client::backoff::Backoff;
use mesarch_proto::link::{LeaderChange, WatchLeaderRequest, agent_link_client::AgentLinkClient};
use tokio::{sync::watch, time::sleep};
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A master that is connected and says nothing at all is not there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What one master says of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// Present while this master leads, in this term: a link may be opened on it.
    pub(crate) leads: Option<(u64, Channel)>,
}

/// Watches one master for ever.
pub(crate) async fn follow(master: String, standing: watch::Sender<Standing>) {
    let mut backoff = Backoff::new();
    loop {
        if let Err(error) = watch_once(&master, &standing, &mut backoff).await {
            tracing::debug!(%master, error = %error, "the watch on a master ended");
        }
        standing.send_replace(Standing::default());
        sleep(backoff.next()).await;
    }
}

async fn watch_once(
    master: &str,
    standing: &watch::Sender<Standing>,
    backoff: &mut Backoff,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let channel = endpoint(master)?.connect().await?;
    let mut client = AgentLinkClient::new(channel.clone());
    let asked = tokio::time::timeout(CONNECT_TIMEOUT, client.watch_leader(WatchLeaderRequest {}));
    let mut changes = asked.await??.into_inner();
    while let Some(LeaderChange { term, leader, here }) = changes.message().await? {
        backoff.reset();
        tracing::debug!(%master, term, %leader, here, "told who leads");
        standing.send_replace(Standing { leads: here.then(|| (term, channel.clone())) });
    }
    Ok(())
}

fn endpoint(master: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{master}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}
