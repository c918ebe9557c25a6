//! Notices that a pipeline of appends is stuck: tonic's streams have no deadline of their own.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::APPEND_RATE;

/// The appends that were sent and are not answered yet.
pub(crate) struct Unanswered {
    deadline: Duration,
    /// Oldest first.
    sent: Mutex<VecDeque<Sent>>,
}

#[derive(Clone, Copy, PartialEq)]
struct Sent {
    /// Of entries.
    bytes: u64,
    /// When the answer should be here.
    due: Instant,
}

impl Unanswered {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, sent: Mutex::new(VecDeque::new()) }
    }

    /// Takes note of an append with `bytes` bytes of entries. It waits behind those that were sent before it.
    pub(crate) fn sent(&self, bytes: u64) {
        let mut sent = self.queue();
        let ahead: u64 = sent.iter().map(|sent| sent.bytes).sum();
        let transfer = Duration::from_millis((ahead + bytes) * 1000 / APPEND_RATE);
        sent.push_back(Sent { bytes, due: Instant::now() + self.deadline + transfer });
    }

    pub(crate) fn answered(&self) {
        self.queue().pop_front();
    }

    /// Returns once an append has waited longer than it may. An idle stream never does.
    pub(crate) async fn overdue(&self) {
        loop {
            let oldest = self.queue().front().copied();
            match oldest {
                None => sleep(self.deadline).await,
                Some(sent) => {
                    sleep_until(sent.due).await;
                    if self.queue().front() == Some(&sent) {
                        return;
                    }
                }
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Sent>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
