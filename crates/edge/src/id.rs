//! Names of requests: a client's own, if it is one that a log can bear, or one made here.

use std::{
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that brings the id and takes it back.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is taken over, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Differs from process to process, so that ids of several masters are told apart.
static PREFIX: LazyLock<String> = LazyLock::new(|| {
    let drawn = uuid::Uuid::new_v4().simple().to_string();
    drawn[..8].to_owned()
});
static COUNT: AtomicU64 = AtomicU64::new(1);

/// The id of one request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The one that the client gave, if it is sane: 1 to [`REQUEST_ID_BYTES_MAX`] letters, digits and `-_.:/+=@`. A new one
    /// otherwise.
    pub fn of(headers: &HeaderMap) -> Self {
        match headers.get(&REQUEST_ID).filter(|given| is_sane(given.as_bytes())) {
            Some(given) => Self(given.clone()),
            None => Self::new(),
        }
    }

    fn new() -> Self {
        let text = format!("{}-{}", *PREFIX, COUNT.fetch_add(1, Ordering::Relaxed));
        // Hexadecimal digits, a dash and a number.
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("none")))
    }

    /// For the answer.
    pub fn into_header(self) -> HeaderValue {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

fn is_sane(id: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_over_if_a_log_can_bear_them() {
        let longest = "x".repeat(REQUEST_ID_BYTES_MAX);
        let table = [
            ("a", true),
            ("0af7651916cd43dd8448eb211c80319c/7:1+a=@_.", true),
            (longest.as_str(), true),
            ("", false),
            ("a b", false),
            ("a\tb", false),
            ("a\"b", false),
            ("\u{e4}", false),
        ];
        for (given, expect) in table {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
            assert_eq!(RequestId::of(&headers).to_string() == given, expect, "{given:?}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::try_from(longest + "x").unwrap());
        assert!(RequestId::of(&headers).to_string().len() < REQUEST_ID_BYTES_MAX);
    }

    #[test]
    fn ids_that_are_made_differ() {
        let none = HeaderMap::new();
        assert_ne!(RequestId::of(&none), RequestId::of(&none));
    }
}
