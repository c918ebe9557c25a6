//! What an operator may change of a port's bounds.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{BodyLimits, Limits};

/// Bounds of a port, as an operator sets them. Times are in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PortOptions {
    /// Most connections at a time, 16 to 1,000,000; fewer if fewer files may be open.
    pub connections_max: u64,
    /// How long a new connection may take until its first request has come as far as its head, 1 s to 1 h.
    pub first_request_timeout_ms: u64,
    /// How long a connection may be idle between two requests, 1 s to 1 day.
    pub idle_timeout_ms: u64,
    /// All headers of a request together, 4 KiB to 1 MiB.
    pub headers_bytes_max: u64,
    /// The body of a request, 64 KiB to 8 MiB.
    pub body_bytes_max: u64,
    /// Memory for the bodies of all requests together, 8 MiB to 64 GiB; small ones are not counted.
    pub bodies_bytes_max: u64,
}

/// A setting is out of its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{setting} must be from {min} to {max}")]
pub struct InvalidPort {
    /// Which.
    pub setting: &'static str,
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            first_request_timeout_ms: 20_000,
            idle_timeout_ms: 75_000,
            headers_bytes_max: 64 << 10,
            body_bytes_max: 8 << 20,
            bodies_bytes_max: 256 << 20,
        }
    }
}

impl PortOptions {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first one that is out of its bounds.
    pub fn validate(&self) -> Result<(), InvalidPort> {
        let table: [(&'static str, u64, RangeInclusive<u64>); 6] = [
            ("connections_max", self.connections_max, 16..=1_000_000),
            ("first_request_timeout_ms", self.first_request_timeout_ms, 1000..=3_600_000),
            ("idle_timeout_ms", self.idle_timeout_ms, 1000..=86_400_000),
            ("headers_bytes_max", self.headers_bytes_max, 4 << 10..=1 << 20),
            ("body_bytes_max", self.body_bytes_max, 64 << 10..=8 << 20),
            ("bodies_bytes_max", self.bodies_bytes_max, 8 << 20..=64 << 30),
        ];
        let wrong = table.into_iter().find(|(_, value, bounds)| !bounds.contains(value));
        wrong.map_or(Ok(()), |(setting, _, bounds)| {
            Err(InvalidPort { setting, min: *bounds.start(), max: *bounds.end() })
        })
    }

    /// Of connections and heads; `places` is how many connections there may be at all. A place of the reserve is not
    /// given longer than any other.
    pub fn limits(&self, places: usize) -> Limits {
        let usual = Limits::of(places.min(size(self.connections_max)));
        let first_wait = Duration::from_millis(self.first_request_timeout_ms);
        Limits {
            first_wait,
            reserve_first_wait: usual.reserve_first_wait.min(first_wait),
            idle_wait: Duration::from_millis(self.idle_timeout_ms),
            headers_bytes_max: size(self.headers_bytes_max),
            ..usual
        }
    }

    /// Of bodies.
    pub fn body_limits(&self) -> BodyLimits {
        let usual = BodyLimits::of(size(self.body_bytes_max));
        BodyLimits { in_flight_max: size(self.bodies_bytes_max), ..usual }
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_within_their_bounds_or_named() {
        assert_eq!(PortOptions::default().validate(), Ok(()));
        let check = |change: fn(&mut PortOptions), expect: &str| {
            let mut options = PortOptions::default();
            change(&mut options);
            assert_eq!(options.validate().unwrap_err().to_string(), expect);
        };
        check(|it| it.connections_max = 15, "connections_max must be from 16 to 1000000");
        check(|it| it.first_request_timeout_ms = 0, "first_request_timeout_ms must be from 1000 to 3600000");
        check(|it| it.idle_timeout_ms = 86_400_001, "idle_timeout_ms must be from 1000 to 86400000");
        check(|it| it.headers_bytes_max = 1, "headers_bytes_max must be from 4096 to 1048576");
        check(|it| it.body_bytes_max = 9 << 20, "body_bytes_max must be from 65536 to 8388608");
        check(|it| it.bodies_bytes_max = 0, "bodies_bytes_max must be from 8388608 to 68719476736");
    }

    #[test]
    fn what_is_set_bounds_the_port_and_the_rest_is_usual() {
        let options = PortOptions {
            connections_max: 80,
            first_request_timeout_ms: 2000,
            idle_timeout_ms: 3000,
            headers_bytes_max: 5000,
            body_bytes_max: 70_000,
            bodies_bytes_max: 9 << 20,
        };
        let limits = options.limits(1000);
        assert_eq!((limits.connections_max, limits.reserve), (80, 10));
        assert_eq!(options.limits(20).connections_max, 20, "files are fewer");
        assert_eq!(limits.first_wait, Duration::from_secs(2));
        assert_eq!(limits.reserve_first_wait, Duration::from_secs(2));
        assert_eq!(limits.idle_wait, Duration::from_secs(3));
        assert_eq!((limits.headers_bytes_max, limits.uri_bytes_max), (5000, 16 * 1024));
        let bodies = options.body_limits();
        assert_eq!((bodies.bytes_max, bodies.in_flight_max), (70_000, 9 << 20));
        assert_eq!(bodies.grace, BodyLimits::of(1).grace);
    }
}
