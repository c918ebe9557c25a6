//! Resources, attributes and times as numbers and texts.

use mesarch_types::WallMillis;

pub(super) use mesarch_mesos_v1::v0::{Amounts, Attributes};

/// Wall time as double seconds.
pub(super) fn seconds(at: WallMillis) -> f64 {
    crate::status::seconds(at)
}
