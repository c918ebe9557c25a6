//! How much a server bears, and what it keeps for itself.

use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// So many connections are served with any limit of open files.
const CONNECTIONS_MIN: usize = 16;
/// One place in so many is kept from frameworks.
const RESERVE_SHARE: usize = 8;
/// Most places that are kept.
const RESERVE_MAX: usize = 1024;

/// What a port bears.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections at a time.
    pub connections_max: usize,
    /// So many of them serve no framework: agents, executors, masters and operators get in when frameworks have taken the rest.
    pub reserve: usize,
    /// How long a new connection may take until its first request has come as far as its head.
    pub first_wait: Duration,
    /// The same on a place of the reserve.
    pub reserve_first_wait: Duration,
    /// How long a connection may be idle between two requests, the next one's head included.
    pub idle_wait: Duration,
    /// Longest request URI, in bytes.
    pub uri_bytes_max: usize,
    /// All headers of a request, names and values, in bytes.
    pub headers_bytes_max: usize,
    /// How long open connections may take to finish once the server stops.
    pub drain_wait: Duration,
}

impl Limits {
    /// The usual ones, with so many places.
    pub const fn of(connections_max: usize) -> Self {
        let share = connections_max / RESERVE_SHARE;
        Self {
            connections_max,
            reserve: if share < RESERVE_MAX { share } else { RESERVE_MAX },
            first_wait: Duration::from_secs(20),
            reserve_first_wait: Duration::from_secs(5),
            idle_wait: Duration::from_secs(75),
            uri_bytes_max: 16 * 1024,
            headers_bytes_max: 64 * 1024,
            drain_wait: Duration::from_secs(2),
        }
    }
}

/// Raises the process's limit of open files to the highest that it may have; how many connections leave `reserve` files
/// to others.
pub fn connection_places(reserve: u64) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    };
    let places = places(limit, reserve);
    tracing::debug!(?limit, places, "open files");
    places
}

/// No limit: as many files as one likes.
fn places(limit: Option<u64>, reserve: u64) -> usize {
    let free = limit.unwrap_or(u64::MAX).saturating_sub(reserve);
    usize::try_from(free).unwrap_or(usize::MAX).max(CONNECTIONS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agents may share connections, and what is left of the descriptors bounds how many connections there are.
    #[test]
    fn a_reserve_is_kept_of_any_limit_of_descriptors() {
        let table =
            [(Some(0), 16), (Some(128), 16), (Some(200), 72), (Some(1024), 896), (Some(1 << 20), 1_048_448)];
        for (limit, expect) in table {
            assert_eq!(places(limit, 128), expect, "{limit:?}");
        }
        assert_eq!(places(None, 128), usize::MAX - 128);
    }

    #[test]
    fn a_part_of_the_places_is_kept_from_frameworks() {
        for (places, reserve) in [(16, 2), (72, 9), (16_384, 1024)] {
            assert_eq!(Limits::of(places).reserve, reserve);
        }
    }
}
