//! JSON of answers that grow with the cluster: written to a buffer and passed on as it grows, so that nothing of it is ever
//! there as a whole, and no task is made into anything but text.

use std::io;

use mesarch_proto::json::{Json, text};
use serde::Serialize;

use crate::http::render::Sink;

/// From so many bytes on they are passed on.
const PASSED_BYTES_MIN: usize = 32 * 1024;

/// Takes what there is of an answer, and says whether anybody wants the rest.
type Pass<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> bool;

/// Where an answer is written.
pub(super) struct Out<'a> {
    text: Vec<u8>,
    pass: Pass<'a>,
}

impl<'a> Out<'a> {
    /// Writes an answer into `sink`.
    ///
    /// # Errors
    /// Nobody waits for it any more.
    pub(super) fn pieces(
        sink: &mut Sink,
        write: impl FnOnce(&mut Out<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut out =
            Out { text: Vec::with_capacity(2 * PASSED_BYTES_MIN), pass: &mut |text| sink.take(text) };
        write(&mut out)?;
        out.pass(0)
    }

    /// An answer as a whole, for one who wants no other.
    ///
    /// # Errors
    /// As `write` says.
    pub(super) fn whole(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>) -> io::Result<Vec<u8>> {
        let mut out = Out { text: Vec::new(), pass: &mut |_| true };
        write(&mut out)?;
        Ok(out.text)
    }

    /// The buffer, to append to.
    pub(super) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Any value.
    ///
    /// # Errors
    /// It has no form in JSON.
    pub(super) fn value(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.text, value).map_err(io::Error::from)
    }

    /// An object with the fields of `head`, then `lists`, then the fields of `tail`.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub(super) fn object(
        &mut self,
        head: &impl Serialize,
        lists: impl FnOnce(&mut Self) -> io::Result<()>,
        tail: &impl Serialize,
    ) -> io::Result<()> {
        self.value(head)?;
        self.text.pop();
        lists(self)?;
        let end = self.text.len();
        self.value(tail)?;
        match self.text.len() - end {
            // Without any field.
            2 => self.text.truncate(end),
            _ => {
                self.text[end] = b',';
                self.text.pop();
            }
        }
        self.text.push(b'}');
        Ok(())
    }

    /// A field that is a list. Each item is written and passed on.
    ///
    /// # Errors
    /// Nobody waits for the answer any more, or `write` fails.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(T, &mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        key(&mut self.text, name);
        self.text.push(b'[');
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.text.push(b',');
            }
            write(item, self)?;
            self.pass(PASSED_BYTES_MIN)?;
        }
        self.text.push(b']');
        Ok(())
    }

    /// Passes on what there is, if it is so long.
    fn pass(&mut self, bytes_min: usize) -> io::Result<()> {
        match self.text.len() < bytes_min || (self.pass)(&mut self.text) {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody waits for the answer any more")),
        }
    }
}

/// The name of a field, behind a comma unless it is the first one of its object.
#[inline]
pub(super) fn key(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A field that is a text.
#[inline]
pub(super) fn text(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    text::utf8(out, value);
}

/// A field that is a message, of which the encoded form is at hand; left out if it does not decode.
pub(super) fn message<M: Json>(out: &mut Vec<u8>, name: &str, encoded: &[u8]) {
    let before = out.len();
    key(out, name);
    if M::write_json_of(encoded, out).is_err() {
        out.truncate(before);
    }
}

/// A field that is a list of such messages.
pub(super) fn messages<'m, M: Json>(out: &mut Vec<u8>, name: &str, encoded: impl Iterator<Item = &'m [u8]>) {
    key(out, name);
    out.push(b'[');
    for one in encoded {
        let before = out.len();
        if out.last() != Some(&b'[') {
            out.push(b',');
        }
        if M::write_json_of(one, out).is_err() {
            out.truncate(before);
        }
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{Label, TaskId};
    use prost::Message;
    use serde_json::json;

    use super::*;

    fn check(write: impl FnOnce(&mut Out<'_>) -> io::Result<()>, expect: &str) {
        assert_eq!(String::from_utf8(Out::whole(write).unwrap()).unwrap(), expect);
    }

    #[test]
    fn objects_are_their_heads_lists_and_tails() {
        let numbers = |out: &mut Out<'_>| out.list("n", 1..=2, |number, out| out.value(&number));
        check(|out| out.object(&json!({"a": 1}), numbers, &json!({"b": []})), r#"{"a":1,"n":[1,2],"b":[]}"#);
        check(|out| out.object(&json!({}), numbers, &json!({})), r#"{"n":[1,2]}"#);
        check(|out| out.object(&json!({}), |_| Ok(()), &json!({})), "{}");
        let nested = |out: &mut Out<'_>| {
            out.list("all", [0, 1], |_, out| out.object(&json!({}), numbers, &json!({"z": null})))
        };
        check(
            |out| out.object(&json!({}), nested, &json!({})),
            r#"{"all":[{"n":[1,2],"z":null},{"n":[1,2],"z":null}]}"#,
        );
    }

    #[test]
    fn messages_are_written_from_their_bytes_and_left_out_if_they_are_none() {
        let id = TaskId { value: "a".into() }.encode_to_vec();
        let label = Label { key: "k".into(), value: None }.encode_to_vec();
        let mut out = b"{".to_vec();
        text(&mut out, "t", "ä");
        message::<TaskId>(&mut out, "id", &id);
        message::<TaskId>(&mut out, "broken", &[9]);
        messages::<Label>(&mut out, "labels", [&label[..], &[9], &label].into_iter());
        let expect = r#"{"t":"ä","id":{"value":"a"},"labels":[{"key":"k"},{"key":"k"}]"#;
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn nothing_is_written_for_nobody() {
        let mut pass = |_: &mut Vec<u8>| false;
        let (mut out, mut made) = (Out { text: Vec::new(), pass: &mut pass }, 0);
        let written = out.list("n", std::iter::repeat_n("item", 100_000), |item, out| {
            made += 1;
            out.value(&item)
        });
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(made < 10_000, "{made}");
    }
}
