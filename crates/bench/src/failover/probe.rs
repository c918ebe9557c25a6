//! A client that sends a command every millisecond, to each master in turn, and notes which succeeded and when.
//!
//! The command sets the weight of a role that nobody has, to a new value each time: it is answered after its commit.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::bail;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::http1::{Connection, post};

/// Between two commands.
const EVERY: Duration = Duration::from_millis(1);
/// A master that does not answer in this time is asked anew on another connection; what it was asked may still succeed.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
/// Commands in flight; beyond, none is sent.
const IN_FLIGHT_MAX: usize = 512;

/// Sends until it is dropped.
pub(super) struct Probes {
    task: JoinHandle<()>,
    done: watch::Receiver<Vec<Success>>,
}

/// A command that succeeded.
#[derive(Clone, Copy, Debug)]
struct Success {
    sent: Instant,
    done: Instant,
}

/// Begins to send to these masters.
pub(super) fn start(masters: Vec<String>) -> Probes {
    let (sender, done) = watch::channel(Vec::new());
    Probes { task: tokio::spawn(send_all(masters, Arc::new(sender))), done }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probes {
    /// How long after `at` the first command succeeded that was sent after it. If the loss was planned, the longest time
    /// without any success around it instead.
    ///
    /// # Errors
    /// If none does within `within`.
    pub(super) async fn success_after(
        mut self,
        at: Instant,
        planned: bool,
        within: Duration,
    ) -> anyhow::Result<Duration> {
        let succeeded = self.done.wait_for(|done| done.iter().any(|success| success.sent > at));
        let Ok(Ok(done)) = timeout(within, succeeded).await else {
            bail!("no command succeeded within {} s", within.as_secs())
        };
        let done: Vec<Success> = done.clone();
        if planned {
            return Ok(longest_gap(&done));
        }
        let first = done.iter().filter(|success| success.sent > at).map(|success| success.done).min();
        Ok(first.map_or(within, |first| first.saturating_duration_since(at)))
    }
}

/// The longest time between two successes that follow each other.
fn longest_gap(done: &[Success]) -> Duration {
    let mut times: Vec<Instant> = done.iter().map(|success| success.done).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// Kept connections to one master.
struct Target {
    address: String,
    idle: Mutex<Vec<Connection>>,
}

async fn send_all(masters: Vec<String>, done: Arc<watch::Sender<Vec<Success>>>) {
    let target = |address| Arc::new(Target { address, idle: Mutex::default() });
    let targets: Vec<Arc<Target>> = masters.into_iter().map(target).collect();
    let free = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for target in targets.iter().cycle() {
        ticks.tick().await;
        let Ok(permit) = free.clone().try_acquire_owned() else { continue };
        let (target, done) = (target.clone(), done.clone());
        tokio::spawn(async move {
            let sent = Instant::now();
            if timeout(ANSWER_WITHIN, target.try_once()).await.is_ok_and(|status| matches!(status, Ok(200))) {
                done.send_modify(|done| done.push(Success { sent, done: Instant::now() }));
            }
            drop(permit);
        });
    }
}

/// Of all probes of this process: no two commands in a row are the same.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Target {
    async fn try_once(&self) -> anyhow::Result<u16> {
        let kept = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let mut connection = match kept {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        let weight = 1 + NEXT.fetch_add(1, Ordering::Relaxed) % 1000;
        let body = format!(
            r#"{{"type":"UPDATE_WEIGHTS","update_weights":{{"weight_infos":[{{"role":"bench-probe","weight":{weight}}}]}}}}"#
        );
        let headers = "Content-Type: application/json\r\n";
        let answer = connection.ask(&post(&self.address, "/api/v1", headers, body.as_bytes())).await?;
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(connection);
        }
        Ok(answer.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_gap_is_between_neighbours_in_time() {
        let now = Instant::now();
        let at = |ms: u64| Success { sent: now, done: now + Duration::from_millis(ms) };
        assert_eq!(longest_gap(&[at(40), at(0), at(10)]), Duration::from_millis(30));
        assert_eq!(longest_gap(&[at(3)]), Duration::ZERO);
    }

    #[tokio::test]
    async fn a_success_from_before_the_loss_does_not_count() {
        let now = Instant::now();
        let at = |sent: u64, done: u64| Success {
            sent: now + Duration::from_millis(sent),
            done: now + Duration::from_millis(done),
        };
        let (_sender, done) = watch::channel(vec![at(1, 12), at(20, 33), at(21, 30)]);
        let probes = |done| Probes { task: tokio::spawn(async {}), done };
        let loss = now + Duration::from_millis(10);
        let took = probes(done.clone()).success_after(loss, false, Duration::ZERO).await.unwrap();
        assert_eq!(took, Duration::from_millis(20));
        let late = now + Duration::from_millis(25);
        assert!(probes(done).success_after(late, false, Duration::ZERO).await.is_err());
    }
}
