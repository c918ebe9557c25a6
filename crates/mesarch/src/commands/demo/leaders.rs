//! Who leads, learned as an agent learns it: every master is watched, and says at once when it has begun a term.

use std::time::{Duration, Instant};

use anyhow::Context;
use mesarch_proto::link::{WatchLeaderRequest, agent_link_client::AgentLinkClient};
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::Endpoint;

/// A master that leads and has committed the first entry of its term.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Leader {
    pub(super) address: String,
    pub(super) term: u64,
    /// When the news arrived here.
    pub(super) at: Instant,
}

/// Watches over all masters of a cluster.
pub(super) struct Leaders {
    newest: watch::Receiver<Option<Leader>>,
    _watches: JoinSet<()>,
}

/// Pause before a master that could not be watched is asked again.
const AGAIN: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(10);

impl Leaders {
    /// Starts to watch.
    pub(super) fn watch(masters: &[String]) -> Self {
        let (news, newest) = watch::channel(None);
        let mut watches = JoinSet::new();
        for master in masters {
            let (master, news) = (master.clone(), news.clone());
            watches.spawn(async move {
                loop {
                    // An error is a master that is down: it is asked again until the watch is dropped.
                    let _ = watch_one(&master, &news).await;
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        Self { newest, _watches: watches }
    }

    /// The leader of a term above `term`; waits for it.
    pub(super) async fn after(&mut self, term: u64) -> anyhow::Result<Leader> {
        let newer = self.newest.wait_for(|leader| leader.as_ref().is_some_and(|leader| leader.term > term));
        let leader = tokio::time::timeout(DEADLINE, newer).await.context("no master leads")??.clone();
        leader.context("no master leads")
    }
}

async fn watch_one(master: &str, news: &watch::Sender<Option<Leader>>) -> anyhow::Result<()> {
    let channel = Endpoint::from_shared(format!("http://{master}"))?.tcp_nodelay(true).connect().await?;
    let mut changes = AgentLinkClient::new(channel).watch_leader(WatchLeaderRequest {}).await?.into_inner();
    while let Some(change) = changes.message().await? {
        if change.here {
            let leader = Leader { address: master.to_owned(), term: change.term, at: Instant::now() };
            news.send_if_modified(|newest| replace_older(newest, leader));
        }
    }
    Ok(())
}

fn replace_older(newest: &mut Option<Leader>, leader: Leader) -> bool {
    let newer = newest.as_ref().is_none_or(|known| leader.term > known.term);
    if newer {
        *newest = Some(leader);
    }
    newer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_an_older_term_comes_too_late() {
        let leader = |term| Leader { address: format!("m{term}"), term, at: Instant::now() };
        let mut newest = None;
        assert!(replace_older(&mut newest, leader(2)));
        assert!(!replace_older(&mut newest, leader(1)));
        assert!(!replace_older(&mut newest, leader(2)));
        assert!(replace_older(&mut newest, leader(3)));
        assert_eq!(newest.map(|leader| leader.term), Some(3));
    }
}
