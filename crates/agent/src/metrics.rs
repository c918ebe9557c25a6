//! Names of the agent's metrics.

/// Counter: launches taken.
pub const LAUNCHES: &str = "mesarch_agent_launches_total";
/// Counter: runs of executors that could not be started.
pub const LAUNCH_FAILURES: &str = "mesarch_agent_launch_failures_total";
/// Counter: status updates sent to the leader, repeats included.
pub const UPDATES_SENT: &str = "mesarch_agent_updates_sent_total";
/// Gauge: runs of executors.
pub const EXECUTORS: &str = "mesarch_agent_executors";
/// Gauge: tasks that are not both ended and acknowledged.
pub const TASKS: &str = "mesarch_agent_tasks";
/// Gauge: 1 while a leader listens.
pub const ATTACHED: &str = "mesarch_agent_attached";
/// Counter: links opened to a leader.
pub const LINKS: &str = "mesarch_agent_links_total";
/// Histogram: seconds from the loss of a leader, or the start, to the attachment at the next.
pub const ATTACH_SECONDS: &str = "mesarch_agent_attach_seconds";
/// Histogram: seconds to write and sync one batch of checkpoint records.
pub const CHECKPOINT_SECONDS: &str = "mesarch_agent_checkpoint_seconds";
/// Counter: bytes written to the checkpoint.
pub const CHECKPOINT_BYTES: &str = "mesarch_agent_checkpoint_written_bytes_total";
