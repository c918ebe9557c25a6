//! Requests and answers recorded from Mesos 1.11.0: our types read them, and write them back as they were.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mesarch_mesos_v1::recordio::Decoder;
use mesarch_mesos_v1::{ApiMessage, ContentType, decode, encode, json, scheduler};
use mesarch_proto::mesos::v1::{self, agent, master};
use serde_json::Value;

/// Bodies of one recorded exchange, as they were on the wire.
struct Recording {
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Recording {
    fn load(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name).with_extension("http");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, exchange) = text.split_once(">>>>>>>> REQUEST\n").expect("a request");
        let (request, response) = exchange.split_once("<<<<<<<< RESPONSE\n").expect("a response");
        Self { request: body(request), response: body(response) }
    }
}

fn body(message: &str) -> Vec<u8> {
    let (_, body) = message.split_once("\r\n\r\n").expect("an empty line after the headers");
    let body = body.strip_suffix('\n').unwrap_or(body);
    match body.strip_prefix("<<BINARY base64>>") {
        Some(binary) => STANDARD.decode(binary.trim()).expect("base64"),
        None => body.as_bytes().to_vec(),
    }
}

/// The chunks of a chunked body; the stream may have been cut anywhere.
fn chunks(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some(end) = body.iter().position(|&byte| byte == b'\n') {
        let size = std::str::from_utf8(&body[..end]).expect("a size").trim();
        let size = usize::from_str_radix(size, 16).expect("a hexadecimal size");
        let rest = &body[end + 1..];
        if size == 0 || rest.len() < size {
            break;
        }
        chunks.push(rest[..size].to_vec());
        let line_end =
            rest[size..].iter().position(|&byte| byte == b'\n').map_or(rest.len(), |at| size + at + 1);
        body = &rest[line_end..];
    }
    chunks
}

fn records(body: &[u8]) -> Vec<Vec<u8>> {
    let mut decoder = Decoder::default();
    let mut records = Vec::new();
    for chunk in chunks(body) {
        decoder.push(&chunk);
        let record = decoder.next_record().expect("a good stream").expect("one record in each chunk");
        assert_eq!(decoder.next_record(), Ok(None), "one record in each chunk");
        records.push(record.to_vec());
    }
    decoder.finish().expect("whole records");
    records
}

/// Reads, writes, and finds every key and value again; also through protobuf.
#[track_caller]
fn comes_back<T: ApiMessage + PartialEq>(text: &[u8]) -> T {
    let message: T = json::decode(text).expect("recorded from Mesos");
    let recorded: Value = serde_json::from_slice(text).expect("JSON");
    let written: Value = serde_json::from_slice(&json::encode(&message)).expect("JSON");
    assert_eq!(written, recorded);
    let bytes = encode(ContentType::Protobuf, &message);
    assert!(decode::<T>(ContentType::Protobuf, &bytes).expect("our own bytes") == message);
    message
}

#[test]
fn answers_of_the_master_come_back_as_they_were() {
    for name in [
        "op-07-get_agents",
        "op-11-get_tasks",
        "op-12-get_roles",
        "op-24d-get_operations-after",
        "op-27b-get_maintenance_schedule",
        "op-28b-get_maintenance_status",
        "x-09-get_state",
    ] {
        let recording = Recording::load(name);
        let answer: master::Response = comes_back(&recording.response);
        let call: master::Call = json::decode(&recording.request).expect("recorded from a client");
        let names = (answer.r#type().as_str_name(), call.r#type().as_str_name());
        assert_eq!(names.0, names.1, "{name}");
    }
}

#[test]
fn answers_of_the_agent_come_back_as_they_were() {
    for name in ["agent-get_agent", "agent-get_containers", "agent-get_state"] {
        comes_back::<agent::Response>(&Recording::load(name).response);
    }
}

#[test]
fn calls_of_operators_are_read() {
    for name in ["op-23-reserve", "op-30-update_quota"] {
        let call: master::Call =
            json::decode(&Recording::load(name).request).expect("recorded from a client");
        assert_ne!(call.r#type(), master::call::Type::Unknown);
    }
}

#[test]
fn calls_of_schedulers_are_read_and_valid() {
    for name in [
        "sched-12-acknowledge",
        "sched-19-update-framework",
        "sched-err-05e-unknown-field",
        "x-03-accept-launch-group",
    ] {
        let call: v1::scheduler::Call =
            json::decode(&Recording::load(name).request).expect("recorded from a client");
        scheduler::validate(&call, None).expect("Mesos took it");
    }
}

#[test]
fn an_event_stream_comes_back_as_it_was() {
    let recording = Recording::load("sched-01-subscribe-stream");
    let events: Vec<v1::scheduler::Event> =
        records(&recording.response).iter().map(|it| comes_back(it)).collect();
    assert!(events.len() > 10, "{}", events.len());
    assert_eq!(events[0].r#type(), v1::scheduler::event::Type::Subscribed);
}

#[test]
fn an_event_stream_in_protobuf_is_read_and_written_byte_for_byte() {
    let recording = Recording::load("sched-04-subscribe-protobuf");
    let call: v1::scheduler::Call =
        decode(ContentType::Protobuf, &recording.request).expect("recorded from a client");
    assert_eq!(scheduler::validate(&call, None), Ok(v1::scheduler::call::Type::Subscribe));
    let records = records(&recording.response);
    assert_eq!(records.len(), 3);
    for record in records {
        let event: v1::scheduler::Event =
            decode(ContentType::Protobuf, &record).expect("recorded from Mesos");
        assert_eq!(encode(ContentType::Protobuf, &event), record);
    }
}
