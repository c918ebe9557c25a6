//! How long a client's connection is borne with: one that asks nothing, and one that does not take what it was sent.
//!
//! The protocol's own timers do not cover all of it: none runs before the first bytes have told the protocol, nor while
//! a client reads nothing.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// What is known of one connection beside its bytes.
#[derive(Debug)]
pub struct Patience {
    first_wait: Duration,
    idle_wait: Duration,
    /// Requests whose answers are not taken yet.
    open: AtomicUsize,
    has_asked: AtomicBool,
    /// Since when there is no such request.
    idle_since: Mutex<Instant>,
    /// When the connection is cut whatever it is at.
    cut: watch::Sender<Option<Instant>>,
}

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WornOut {
    /// Nothing was asked for too long.
    Idle,
    /// Its answer has ended, and it has not taken what was left of it.
    Cut,
}

/// A request on its way; ends when it is dropped.
#[derive(Debug)]
pub struct Busy(Arc<Patience>);

impl Patience {
    /// Of a connection that begins now: how long it may take until its first request has come as far as its head, and how
    /// long it may be idle between two requests, the next one's head included.
    pub fn new(first_wait: Duration, idle_wait: Duration) -> Arc<Self> {
        Arc::new(Self {
            first_wait,
            idle_wait,
            open: AtomicUsize::new(0),
            has_asked: AtomicBool::new(false),
            idle_since: Mutex::new(Instant::now()),
            cut: watch::Sender::new(None),
        })
    }

    /// A request has come.
    pub fn busy(self: &Arc<Self>) -> Busy {
        self.has_asked.store(true, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Cuts the connection unless [`spare`](Patience::spare) comes within this time.
    pub fn cut_within(&self, wait: Duration) {
        let at = Instant::now() + wait;
        self.cut.send_modify(|cut| *cut = Some(cut.map_or(at, |earlier| earlier.min(at))));
    }

    /// What was to be taken is taken.
    pub fn spare(&self) {
        self.cut.send_replace(None);
    }

    /// Until the connection is to be ended.
    pub(crate) async fn worn_out(&self) -> WornOut {
        let mut cut = self.cut.subscribe();
        loop {
            let cut_at = *cut.borrow_and_update();
            tokio::select! {
                () = at(cut_at) => return WornOut::Cut,
                () = sleep_until(self.idle_until().unwrap_or_else(|| Instant::now() + self.idle_wait)) => {
                    if self.idle_until().is_some_and(|until| until <= Instant::now()) {
                        return WornOut::Idle;
                    }
                }
                Ok(()) = cut.changed() => {}
            }
        }
    }

    /// None while a request is on its way.
    fn idle_until(&self) -> Option<Instant> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return None;
        }
        let wait = if self.has_asked.load(Ordering::Relaxed) { self.idle_wait } else { self.first_wait };
        Some(*self.idle_since() + wait)
    }

    fn idle_since(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.idle_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Told before the count falls: whoever finds no request open finds the right time.
        *self.0.idle_since() = Instant::now();
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    async fn after(patience: &Patience, wait: Duration) -> Option<WornOut> {
        timeout(wait, patience.worn_out()).await.ok()
    }

    #[tokio::test]
    async fn a_connection_must_ask_something_and_then_now_and_then() {
        let began = Instant::now();
        assert_eq!(after(&Patience::new(SHORT, LONG), LONG).await, Some(WornOut::Idle));
        assert!(began.elapsed() >= SHORT);
        let patience = Patience::new(LONG, SHORT);
        let busy = patience.busy();
        assert_eq!(after(&patience, 3 * SHORT).await, None, "a request is on its way");
        let idle = Instant::now();
        drop(busy);
        assert_eq!(after(&patience, LONG).await, Some(WornOut::Idle));
        assert!(idle.elapsed() >= SHORT);
    }

    #[tokio::test]
    async fn a_cut_comes_in_its_time_unless_it_is_taken_back() {
        let patience = Patience::new(LONG, LONG);
        let _busy = patience.busy();
        patience.cut_within(SHORT);
        patience.spare();
        assert_eq!(after(&patience, 3 * SHORT).await, None);
        patience.cut_within(LONG);
        patience.cut_within(SHORT);
        patience.cut_within(LONG);
        assert_eq!(after(&patience, LONG).await, Some(WornOut::Cut), "the earliest counts");
    }

    #[tokio::test]
    async fn a_cut_is_noticed_by_who_waits_already() {
        let patience = Patience::new(LONG, LONG);
        let (worn_out, ()) = tokio::join!(after(&patience, LONG), async { patience.cut_within(SHORT) });
        assert_eq!(worn_out, Some(WornOut::Cut));
    }
}
