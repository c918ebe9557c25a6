//! The links of agents to this master: bounded queues between the effects task and the gRPC streams.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mesarch_leader_core::CloseReason;
use mesarch_proto::link::ToAgent;
use mesarch_state::command::Link;
use tokio::sync::mpsc;
use tonic::Status;

use crate::metrics;

/// Most messages that wait for one agent; beyond, its link is closed, and attaching anew repairs what was lost.
pub(crate) const LINK_MESSAGES_MAX: usize = 16_384;

/// What goes into an agent's stream.
pub(crate) type Outgoing = Result<ToAgent, Status>;

/// All open links of this master.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: Mutex<HashMap<Link, mpsc::Sender<Outgoing>>>,
}

impl Links {
    /// A new link's queue. One place is kept for the status that ends it.
    pub(crate) fn open(&self, link: Link) -> mpsc::Receiver<Outgoing> {
        let (sender, queue) = mpsc::channel(LINK_MESSAGES_MAX + 1);
        let mut open = self.lock();
        open.insert(link, sender);
        metrics::links_open(open.len());
        queue
    }

    /// Queues a message; a link that overflows is closed.
    pub(crate) fn send(&self, link: Link, message: ToAgent) {
        let mut open = self.lock();
        let Some(sender) = open.get(&link) else { return };
        if sender.capacity() > 1 {
            // Fails only if the stream is gone, which is noticed by its reader.
            let _ = sender.try_send(Ok(message));
            return;
        }
        tracing::warn!(?link, "the agent reads too slowly: its link is closed");
        metrics::link_overflowed();
        end(open.remove(&link), Status::unavailable("messages were not read in time"));
        metrics::links_open(open.len());
    }

    /// Ends a link after what is queued.
    pub(crate) fn close(&self, link: Link, reason: &str) {
        self.end(link, Status::unavailable(reason));
    }

    /// [`Links::close`] by decision of the leader: an agent that must not come back as it is can tell by the code.
    pub(crate) fn dismiss(&self, link: Link, reason: CloseReason) {
        let text = reason.to_string();
        self.end(
            link,
            match reason {
                CloseReason::ForeignCluster => Status::permission_denied(text),
                _ => Status::unavailable(text),
            },
        );
    }

    fn end(&self, link: Link, status: Status) {
        let mut open = self.lock();
        end(open.remove(&link), status);
        metrics::links_open(open.len());
    }

    /// Ends all links.
    pub(crate) fn close_all(&self, reason: &str) {
        let all = std::mem::take(&mut *self.lock());
        all.into_values().for_each(|sender| end(Some(sender), Status::unavailable(reason)));
        metrics::links_open(0);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Link, mpsc::Sender<Outgoing>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end(sender: Option<mpsc::Sender<Outgoing>>, status: Status) {
    if let Some(sender) = sender {
        // The last place was kept for this; a stream that is gone needs no reason.
        let _ = sender.try_send(Err(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_that_overflows_ends_with_a_reason() {
        let (links, link) = (Links::default(), Link { term: 1, serial: 1 });
        let mut queue = links.open(link);
        for _ in 0..=LINK_MESSAGES_MAX {
            links.send(link, ToAgent::default());
        }
        for _ in 0..LINK_MESSAGES_MAX {
            assert!(queue.recv().await.expect("a message").is_ok());
        }
        let last = queue.recv().await.expect("a reason").expect_err("a status");
        assert!(last.message().contains("not read in time"));
        assert!(queue.recv().await.is_none());
    }

    #[tokio::test]
    async fn an_agent_of_another_cluster_is_told_so_by_the_code() {
        let (links, link) = (Links::default(), Link { term: 1, serial: 1 });
        for (reason, code) in [
            (CloseReason::ForeignCluster, tonic::Code::PermissionDenied),
            (CloseReason::Replaced, tonic::Code::Unavailable),
        ] {
            let mut queue = links.open(link);
            links.dismiss(link, reason);
            let status = queue.recv().await.expect("a reason").expect_err("a status");
            assert_eq!((status.code(), status.message()), (code, reason.to_string().as_str()));
        }
    }

    #[tokio::test]
    async fn closing_comes_after_what_is_queued() {
        let (links, link) = (Links::default(), Link { term: 1, serial: 1 });
        let mut queue = links.open(link);
        links.send(link, ToAgent::default());
        links.close(link, "why");
        links.send(link, ToAgent::default());
        assert!(queue.recv().await.expect("a message").is_ok());
        assert_eq!(queue.recv().await.expect("a reason").expect_err("a status").message(), "why");
        assert!(queue.recv().await.is_none());
    }
}
