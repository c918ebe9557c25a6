//! Notices that a pipeline of appends is stuck: tonic's streams have no deadline of their own.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// When each append was sent that is not answered yet.
pub(crate) struct Unanswered {
    deadline: Duration,
    sent: Mutex<VecDeque<Instant>>,
}

impl Unanswered {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { deadline, sent: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn sent(&self) {
        self.times().push_back(Instant::now());
    }

    pub(crate) fn answered(&self) {
        self.times().pop_front();
    }

    /// Returns once an append has waited longer than the deadline. An idle stream never does.
    pub(crate) async fn overdue(&self) {
        loop {
            let oldest = self.times().front().copied();
            match oldest {
                None => sleep(self.deadline).await,
                Some(sent) => {
                    sleep_until(sent + self.deadline).await;
                    if self.times().front() == Some(&sent) {
                        return;
                    }
                }
            }
        }
    }

    fn times(&self) -> MutexGuard<'_, VecDeque<Instant>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
