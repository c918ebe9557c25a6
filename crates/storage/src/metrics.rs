//! Names of the metrics that this crate writes, and the handles to them.

use metrics::{Counter, Gauge, Histogram};

/// Histogram: seconds that one sync of the log took.
pub const SYNC_SECONDS: &str = "mesarch_raft_log_sync_seconds";
/// Histogram: entries made durable by one sync.
pub const SYNC_ENTRIES: &str = "mesarch_raft_log_sync_entries";
/// Counter: bytes of entries appended to the log.
pub const APPENDED_BYTES: &str = "mesarch_raft_log_appended_bytes_total";
/// Gauge: bytes of the entries that the log holds.
pub const LOG_BYTES: &str = "mesarch_raft_log_bytes";
/// Gauge: number of entries that the log holds.
pub const LOG_ENTRIES: &str = "mesarch_raft_log_entries";
/// Histogram: seconds that writing one snapshot file took.
pub const SNAPSHOT_SECONDS: &str = "mesarch_raft_snapshot_write_seconds";
/// Gauge: bytes of the newest snapshot file.
pub const SNAPSHOT_BYTES: &str = "mesarch_raft_snapshot_bytes";

/// Handles, looked up once.
pub(crate) struct LogMetrics {
    pub(crate) sync_seconds: Histogram,
    pub(crate) sync_entries: Histogram,
    pub(crate) appended_bytes: Counter,
}

impl LogMetrics {
    pub(crate) fn new() -> Self {
        Self {
            sync_seconds: metrics::histogram!(SYNC_SECONDS),
            sync_entries: metrics::histogram!(SYNC_ENTRIES),
            appended_bytes: metrics::counter!(APPENDED_BYTES),
        }
    }
}

/// Handles of the gauges that follow the in-memory log.
pub(crate) struct LogGauges {
    pub(crate) bytes: Gauge,
    pub(crate) entries: Gauge,
}

impl LogGauges {
    pub(crate) fn new() -> Self {
        Self { bytes: metrics::gauge!(LOG_BYTES), entries: metrics::gauge!(LOG_ENTRIES) }
    }
}
