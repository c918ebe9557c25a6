//! The part of a URL behind the question mark, read as leniently as Mesos reads it.

use std::{collections::BTreeMap, time::Duration};

use crate::duration;

/// Query parameters, or the fields of a form; the last of a name counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Query(BTreeMap<String, String>);

/// What `/logging/toggle` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toggle {
    /// How much is logged.
    Show,
    /// To log so much for so long.
    Set {
        /// From 0, as configured, up.
        level: u32,
        /// After which it is as configured again.
        duration: Duration,
    },
}

impl Query {
    /// Never fails: what is not `name=value` is a name without a value.
    pub fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        Self(pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(decoded).collect())
    }

    /// The value of this name; empty for a name without a value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The function that JSONP wants; only a plain JavaScript path, so that nothing else can be smuggled in.
    pub fn jsonp(&self) -> Option<&str> {
        let plain = |name: &&str| {
            !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.'))
        };
        self.get("jsonp").filter(plain)
    }

    /// Only those of these names: whoever asks the same for as far as these go asks the same.
    pub fn only(mut self, names: &[&str]) -> Self {
        self.0.retain(|name, _| names.contains(&name.as_str()));
        self
    }

    /// The media type of JSON as it is asked for.
    pub fn media(&self) -> &'static str {
        if self.jsonp().is_some() { "text/javascript" } else { "application/json" }
    }

    /// A body of JSON as it is asked for, and its media type: a call of the function that JSONP wants, if any.
    pub fn wrap(&self, json: Vec<u8>) -> (Vec<u8>, &'static str) {
        let Some(function) = self.jsonp() else {
            return (json, self.media());
        };
        let mut wrapped = Vec::with_capacity(json.len() + function.len() + 3);
        wrapped.extend_from_slice(function.as_bytes());
        wrapped.push(b'(');
        wrapped.extend_from_slice(&json);
        wrapped.extend_from_slice(b");");
        (wrapped, self.media())
    }

    /// `level` with `duration`, or neither.
    ///
    /// # Errors
    /// The words for the client (400) if only one of them is there, or one is not in its form.
    pub fn toggle(&self) -> Result<Toggle, String> {
        match (self.get("level"), self.get("duration")) {
            (None, None) => Ok(Toggle::Show),
            (Some(level), Some(text)) => {
                let level =
                    level.parse().map_err(|_| format!("level: {level:?} is not a number from 0 up"))?;
                let duration =
                    duration::parse(text).ok_or_else(|| format!("duration: {text:?} is not like 5mins"))?;
                Ok(Toggle::Set { level, duration })
            }
            (None, Some(_)) => Err("Expecting 'level=value' in query".to_owned()),
            (Some(_), None) => Err("Expecting 'duration=value' in query".to_owned()),
        }
    }
}

fn decoded((key, value): (&str, &str)) -> (String, String) {
    (percent_decoded(key), percent_decoded(value))
}

/// What `%41` and `+` stand for; what is not in that form stays as it is.
pub fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, hex.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_leniently() {
        let query = Query::parse(Some("_ts=1&limit=5&limit=6&x&task_id=a%2Fb+c%&jsonp=cb.f"));
        let got = ["limit", "x", "task_id", "jsonp", "none"].map(|name| query.get(name));
        assert_eq!(got, [Some("6"), Some(""), Some("a/b c%"), Some("cb.f"), None]);
        assert_eq!(query.wrap(b"1".to_vec()), (b"cb.f(1);".to_vec(), "text/javascript"));
        let query = Query::parse(Some("jsonp=alert(1)//"));
        assert_eq!(query.wrap(b"1".to_vec()), (b"1".to_vec(), "application/json"));
        assert_eq!(Query::parse(None).get("limit"), None);
        let polled = |text: &str| Query::parse(Some(text)).only(&["limit"]);
        assert_eq!(polled("limit=1&_ts=1"), polled("_ts=2&limit=1"));
        assert_ne!(polled("limit=1"), polled("limit=2"));
    }

    #[test]
    fn a_toggle_has_both_parameters_or_none() {
        let set = Toggle::Set { level: 2, duration: Duration::from_secs(300) };
        let table = [
            ("", Ok(Toggle::Show)),
            ("level=2&duration=5mins", Ok(set)),
            ("level=2", Err("Expecting 'duration=value' in query")),
            ("duration=5mins", Err("Expecting 'level=value' in query")),
            ("level=x&duration=5mins", Err("level: \"x\" is not a number from 0 up")),
            ("level=2&duration=5", Err("duration: \"5\" is not like 5mins")),
        ];
        for (text, expect) in table {
            assert_eq!(Query::parse(Some(text)).toggle(), expect.map_err(str::to_owned), "{text}");
        }
    }
}
