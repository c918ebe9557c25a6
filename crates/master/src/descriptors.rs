//! Open files: as many as the process may have, and some of them kept from clients.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Most connections of clients at a time, however many files may be open.
pub(crate) const CONNECTIONS_MAX: usize = 16_384;
/// Kept from clients' connections: what the log refuses proposals below (64), and as many again for the log itself, the
/// connections of masters with each other, the listeners and whoever looks after the machine.
const RESERVE: u64 = 128;
/// So many connections are served with any limit.
const CONNECTIONS_MIN: usize = 16;

/// Raises the process's limit of open files to the highest that it may have; how many connections of clients leave the
/// reserve free.
pub(crate) fn connection_places() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    };
    let places = places(limit);
    tracing::debug!(?limit, places, "open files");
    places
}

/// None: as many files as one likes.
fn places(limit: Option<u64>) -> usize {
    let free = limit.unwrap_or(u64::MAX).saturating_sub(RESERVE);
    usize::try_from(free).unwrap_or(usize::MAX).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents may share connections, and what is left of the descriptors bounds how many connections there are.
    #[test]
    fn trap_13_a_reserve_is_kept_of_any_limit_of_descriptors() {
        let table =
            [(Some(0), 16), (Some(128), 16), (Some(200), 72), (Some(1024), 896), (Some(1 << 20), 16_384)];
        for (limit, expect) in table {
            assert_eq!(places(limit), expect, "{limit:?}");
        }
        assert_eq!(places(None), CONNECTIONS_MAX);
    }
}
