//! The watch on every master: who leads, and a warm connection to it.
//!
//! The connection over which a master is watched is the one on which a link is opened when that master comes to lead.
//! Public for simulated agents, which find their leader as real ones do.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use mesarch_client::backoff::Backoff;
use mesarch_proto::link::{LeaderChange, WatchLeaderRequest, agent_link_client::AgentLinkClient};
use tokio::{sync::watch, time::sleep};
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A master that is connected and says nothing at all is not there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// What one master says of itself.
#[derive(Clone, Debug)]
pub struct Standing {
    master: Arc<str>,
    /// Present while this master leads, in this term: a link may be opened on it.
    pub leads: Option<(u64, Channel)>,
    /// The newest term that it knows, and the addresses of the members as it knows them then.
    pub told: (u64, Arc<[String]>),
    /// Why it cannot be watched at the moment; none if it answers.
    trouble: Option<Arc<str>>,
}

impl Standing {
    /// Which master.
    pub fn master(&self) -> &Arc<str> {
        &self.master
    }

    /// Whether it can be watched.
    pub fn answers(&self) -> bool {
        self.trouble.is_none()
    }

    /// Of a master that was not asked yet.
    pub fn unknown(master: &str) -> Self {
        Self {
            master: master.into(),
            leads: None,
            told: (0, Arc::default()),
            trouble: Some("not asked yet".into()),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does_not_lead = if self.leads.is_some() { "leads" } else { "does not lead" };
        write!(f, "{}: {}", self.master, self.trouble.as_deref().unwrap_or(does_not_lead))
    }
}

/// Watches one master until nobody wants to know any more.
pub async fn follow(master: String, standing: watch::Sender<Standing>) {
    tokio::select! {
        () = follow_for_ever(&master, &standing) => {}
        () = standing.closed() => {}
    }
}

async fn follow_for_ever(master: &str, standing: &watch::Sender<Standing>) {
    let mut backoff = Backoff::new();
    loop {
        let trouble = match watch_once(master, standing, &mut backoff).await {
            Ok(()) => "it ended the watch".to_owned(),
            Err(error) => with_causes(&*error),
        };
        tracing::debug!(%master, %trouble, "the watch on a master ended");
        let trouble = Some(trouble.into());
        standing.send_replace(Standing { trouble, ..Standing::unknown(master) });
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
    // It says at once what it knows, and then whatever changes, which may take for ever: signs of life bound that.
    let mut next = tokio::time::timeout(CONNECT_TIMEOUT, changes.message()).await??;
    while let Some(LeaderChange { term, leader, here, masters }) = next {
        backoff.reset();
        tracing::debug!(%master, term, %leader, here, "told who leads");
        let leads = here.then(|| (term, channel.clone()));
        let told = (term, masters.into());
        standing.send_replace(Standing { leads, told, trouble: None, ..Standing::unknown(master) });
        next = changes.message().await?;
    }
    Ok(())
}

/// An error and what led to it; the outermost one alone says next to nothing.
fn with_causes(error: &dyn Error) -> String {
    let (mut texts, mut next) = (Vec::new(), Some(error));
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.dedup();
    texts.join(": ")
}

fn endpoint(master: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{master}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_master_that_cannot_be_watched_is_told_with_its_reason() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let master = closed.local_addr().unwrap().to_string();
        drop(closed);
        let (sender, mut standing) = watch::channel(Standing::unknown(&master));
        assert_eq!(standing.borrow().to_string(), format!("{master}: not asked yet"));
        let watching = tokio::spawn(follow(master.clone(), sender));
        standing.changed().await.unwrap();
        watching.abort();
        let told = standing.borrow().to_string();
        assert!(told.starts_with(&master) && told.contains("refused"), "{told}");
    }
}
