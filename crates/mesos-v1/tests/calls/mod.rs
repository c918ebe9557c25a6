//! What has to hold of any request, for the tests and for `cargo xtask fuzz`.
#![allow(unreachable_pub, reason = "a test crate and a program share it")]

use mesarch_mesos_v1::{
    ApiMessage, ContentType, Query, agent, decode, duration, encode, executor, media, operator, query,
    recordio::{self, Decoder},
    scheduler,
};
use mesarch_proto::mesos::v1;

/// What requests are made of, so that chance comes across what is nearly right. Bytes are characters below 256.
pub const PIECES: [&str; 44] = [
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "{}",
    "[]",
    "\\u0000",
    "\\ud800",
    "\"type\":",
    "\"SUBSCRIBE\"",
    "\"ACCEPT\"",
    "\"UNKNOWN\"",
    "\"value\":",
    "\"framework_id\":",
    "\"resources\":",
    "\"uuid\":",
    "\"Infinity\"",
    "AAECAwQFBgcICQoLDA0ODw==",
    "1",
    "-1",
    "1e999",
    "0.0004",
    "18446744073709551616",
    "\u{0}",
    "\u{8}",
    "\u{a}",
    "\u{a}\u{0}",
    "\u{12}\u{ff}\u{ff}\u{ff}\u{ff}\u{f}",
    "\u{80}",
    "\u{ff}",
    "&",
    "=",
    "%2",
    "%00",
    ";q=0",
    "application/json",
    "5secs",
    "\n",
    "ü",
];

/// Reads the text as every part of a request. What is read keeps its meaning when it is written and read again.
pub fn read_all(text: &str) {
    let bytes: Vec<u8> = text.chars().map(|one| one as u32 as u8).collect();
    for input in [bytes.as_slice(), text.as_bytes()] {
        for content_type in [ContentType::Json, ContentType::Protobuf] {
            call::<v1::scheduler::Call>(content_type, input, |call| {
                scheduler::validate(call, Some("p")).is_ok()
            });
            call::<v1::executor::Call>(content_type, input, |call| executor::validate(call).is_ok());
            call::<v1::master::Call>(content_type, input, |call| operator::validate(call).is_ok());
            call::<v1::agent::Call>(content_type, input, |call| agent::validate(call).is_ok());
        }
        records(input);
    }
    let asked = Query::parse(Some(text));
    let _ = (asked.get("path"), asked.jsonp(), asked.toggle(), asked.wrap(b"{}".to_vec()));
    let _ = (query::percent_decoded(text), duration::parse(text));
    let _ = (ContentType::parse(text), ContentType::negotiate(Some(text)));
    let _ = media::accepts(Some(text), "application/json");
}

fn call<M: ApiMessage>(content_type: ContentType, input: &[u8], validate: fn(&M) -> bool) {
    let Ok(call) = decode::<M>(content_type, input) else { return };
    let _ = validate(&call);
    let _ = encode(ContentType::Json, &call);
    let once = encode(ContentType::Protobuf, &call);
    let again = decode::<M>(ContentType::Protobuf, &once).expect("what we wrote is read");
    assert_eq!(encode(ContentType::Protobuf, &again), once, "what we wrote is read as it was");
}

/// A stream that is cut in two says what it says as a whole.
fn records(stream: &[u8]) {
    let whole = in_pieces(&[stream]);
    let (front, back) = stream.split_at(stream.len() / 2);
    assert_eq!(in_pieces(&[front, back]), whole);
    let framed = recordio::encode(stream);
    assert_eq!(in_pieces(&[&framed]), (vec![stream.to_vec()], true));
}

/// The records, and whether the stream was one to its end.
fn in_pieces(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_record() {
                Ok(Some(record)) => records.push(record.to_vec()),
                Ok(None) => break,
                Err(_) => return (records, false),
            }
        }
    }
    (records, decoder.finish().is_ok())
}
