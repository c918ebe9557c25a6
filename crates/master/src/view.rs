//! Who leads, as the handlers of this master consult it.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use crate::leader::Session;

/// What a request meets.
#[derive(Clone, Debug)]
pub(crate) enum LeaderView {
    /// Nobody leads, or this node was elected and has not begun its term.
    Electing {
        /// The newest term known.
        term: u64,
    },
    /// Another master leads.
    Following {
        /// In which term.
        term: u64,
        /// Its client address, host:port.
        leader: Arc<str>,
    },
    /// This node leads, and its BeginTerm is applied.
    Leading(Arc<Session>),
}

impl LeaderView {
    /// The newest term known.
    pub(crate) fn term(&self) -> u64 {
        match self {
            Self::Electing { term } | Self::Following { term, .. } => *term,
            Self::Leading(session) => session.term,
        }
    }
}

/// Waits at most `patience` for a leader; what is known then.
pub(crate) async fn settled(view: &watch::Receiver<LeaderView>, patience: Duration) -> LeaderView {
    let mut view = view.clone();
    let known = |view: &LeaderView| !matches!(view, LeaderView::Electing { .. });
    // Without a sender the master is going away, which is no leader either.
    if let Ok(Ok(found)) = tokio::time::timeout(patience, view.wait_for(known)).await {
        return found.clone();
    }
    view.borrow().clone()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_request_is_held_until_somebody_leads_and_no_longer() {
        let (send, view) = watch::channel(LeaderView::Electing { term: 1 });
        let long = Duration::from_secs(60);
        let held = tokio::spawn(async move { settled(&view, long).await });
        send.send_replace(LeaderView::Electing { term: 2 });
        send.send_replace(LeaderView::Following { term: 2, leader: "h:1".into() });
        let found = tokio::time::timeout(long / 2, held).await.expect("released").expect("no panic");
        assert!(matches!(found, LeaderView::Following { term: 2, .. }));
    }

    #[tokio::test]
    async fn patience_ends_and_so_does_the_master() {
        let (send, view) = watch::channel(LeaderView::Electing { term: 1 });
        let (began, patience) = (Instant::now(), Duration::from_millis(20));
        assert!(matches!(settled(&view, patience).await, LeaderView::Electing { .. }));
        assert!(began.elapsed() >= patience);
        drop(send);
        assert!(matches!(settled(&view, Duration::from_secs(60)).await, LeaderView::Electing { .. }));
    }
}
