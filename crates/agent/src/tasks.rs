//! The tasks that an agent consists of: each has a name, and all of them end with the agent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::timeout,
};

/// How long tasks may take to notice that they are over; they end at their next pause.
const END_WITHIN: Duration = Duration::from_secs(2);

/// All tasks of one agent. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    running: JoinSet<()>,
    names: BTreeMap<Id, &'static str>,
    /// No further ones are started.
    over: bool,
}

impl Tasks {
    /// Starts a task, unless all of them were ended. It may be ended at any of its pauses.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let mut inner = self.lock();
        if inner.over {
            return;
        }
        while let Some(ended) = inner.running.try_join_next_with_id() {
            inner.note(ended);
        }
        let id = inner.running.spawn(task).id();
        inner.names.insert(id, name);
    }

    /// Ends all of them and waits for that.
    pub(crate) async fn end(&self) {
        let mut inner = std::mem::replace(&mut *self.lock(), Inner { over: true, ..Inner::default() });
        inner.running.abort_all();
        let all = async {
            while let Some(ended) = inner.running.join_next_with_id().await {
                inner.note(ended);
            }
        };
        if timeout(END_WITHIN, all).await.is_err() {
            let names: Vec<&str> = inner.names.values().copied().collect();
            tracing::warn!(?names, "tasks did not end in time");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        if let Some(error) = error.filter(|error| !error.is_cancelled()) {
            tracing::error!(name, %error, "a task failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn ending_leaves_nothing_running() {
        let (tasks, (held, dropped)) = (Tasks::default(), oneshot::channel::<()>());
        tasks.spawn("waits for ever", async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        tasks.end().await;
        assert!(dropped.await.is_err(), "what the task held is gone");
        assert!(tasks.lock().names.is_empty());
        tasks.spawn("too late", async { unreachable!("it is not started") });
        tasks.end().await;
    }

    #[tokio::test]
    async fn ended_tasks_are_forgotten_when_the_next_one_starts() {
        let tasks = Tasks::default();
        for _ in 0..100 {
            let (done, wait) = oneshot::channel();
            tasks.spawn("short", async move { done.send(()).unwrap() });
            wait.await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(tasks.lock().names.len() < 3);
        tasks.end().await;
    }
}
