//! The one place where a node learns that it must stop.

use std::sync::Arc;

use tokio::sync::watch;

/// Why the node cannot go on. The first report wins; every clone sees it.
#[derive(Clone, Debug)]
pub struct Fatal {
    reason: Arc<watch::Sender<Option<Arc<str>>>>,
}

impl Default for Fatal {
    fn default() -> Self {
        Self { reason: Arc::new(watch::Sender::new(None)) }
    }
}

impl Fatal {
    /// Reports that the node must stop, and logs it.
    pub fn report(&self, reason: impl std::fmt::Display) {
        let reason: Arc<str> = reason.to_string().into();
        self.reason.send_if_modified(|current| {
            if current.is_some() {
                return false;
            }
            tracing::error!(%reason, "this node cannot go on");
            *current = Some(reason);
            true
        });
    }

    /// The reason, if it was reported.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.borrow().clone()
    }

    /// Waits until a reason is reported.
    pub async fn reported(&self) -> Arc<str> {
        let mut watch = self.reason.subscribe();
        loop {
            if let Some(reason) = watch.borrow_and_update().clone() {
                return reason;
            }
            if watch.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays() {
        let fatal = Fatal::default();
        let seen = fatal.clone();
        fatal.report("disk");
        fatal.report("later");
        assert_eq!(&*seen.reported().await, "disk");
    }
}
