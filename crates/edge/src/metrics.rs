//! What an operator can watch of a port.

use metrics::{Unit, describe_counter, describe_gauge};

/// Gauge: open connections.
pub const CONNECTIONS: &str = "mesarch_http_connections";
/// Counter: connections that were refused because there was no place or no descriptor for them.
pub const CONNECTIONS_REFUSED: &str = "mesarch_http_connections_refused_total";
/// Counter, by `why`: requests that were refused before anybody looked at what they ask.
pub const REQUESTS_REFUSED: &str = "mesarch_http_requests_refused_total";
/// Gauge, bytes: memory of large request bodies that are being read or decoded.
pub const BODY_BYTES: &str = "mesarch_http_body_bytes";

/// Why a request is refused here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Uri,
    Headers,
    Reserve,
    BodyTooLarge,
    BodyTooSlow,
    BodyBroken,
    Memory,
}

impl Why {
    const ALL: [Self; 7] = [
        Self::Uri,
        Self::Headers,
        Self::Reserve,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::BodyBroken,
        Self::Memory,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Uri => "uri",
            Self::Headers => "headers",
            Self::Reserve => "reserve",
            Self::BodyTooLarge => "body too large",
            Self::BodyTooSlow => "body too slow",
            Self::BodyBroken => "body broken",
            Self::Memory => "memory",
        }
    }
}

/// All of them are there from the start: an alert on one that is not there yet would never fire.
pub(crate) fn begin() {
    describe_gauge!(CONNECTIONS, Unit::Count, "Open connections.");
    describe_gauge!(BODY_BYTES, Unit::Bytes, "Memory of large request bodies that are read or decoded.");
    describe_counter!(CONNECTIONS_REFUSED, Unit::Count, "Connections that found no place or no descriptor.");
    describe_counter!(
        REQUESTS_REFUSED,
        Unit::Count,
        "Requests refused before anybody looked at what they ask."
    );
    metrics::gauge!(CONNECTIONS).set(0.0);
    metrics::gauge!(BODY_BYTES).set(0.0);
    metrics::counter!(CONNECTIONS_REFUSED).increment(0);
    for why in Why::ALL {
        metrics::counter!(REQUESTS_REFUSED, "why" => why.label()).increment(0);
    }
}

pub(crate) fn refused(why: Why) {
    metrics::counter!(REQUESTS_REFUSED, "why" => why.label()).increment(1);
}

pub(crate) fn connection_opened() {
    metrics::gauge!(CONNECTIONS).increment(1.0);
}

pub(crate) fn connection_closed() {
    metrics::gauge!(CONNECTIONS).decrement(1.0);
}

pub(crate) fn connection_refused() {
    metrics::counter!(CONNECTIONS_REFUSED).increment(1);
}

pub(crate) fn body_bytes(bytes: usize) {
    metrics::gauge!(BODY_BYTES).set(bytes as f64);
}
