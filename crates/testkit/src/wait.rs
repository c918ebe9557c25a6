//! Waiting for a condition, with a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Long enough for anything that should happen at all, on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The first `Some` of `condition`, within [`DEADLINE`]. An error says what was waited for.
pub async fn wait_for<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    wait_for_within(DEADLINE, what, condition).await
}

/// As [`wait_for`], with another deadline.
pub async fn wait_for_within<T>(
    within: Duration,
    what: &str,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            anyhow::bail!("waited {} s in vain for: {what}", within.as_secs());
        }
        sleep(LOOK_EVERY).await;
    }
}
