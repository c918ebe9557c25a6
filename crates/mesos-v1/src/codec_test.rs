use mesarch_proto::mesos::v1::scheduler::{Call, Event, call};
use mesarch_proto::mesos::v1::{self, FrameworkInfo, TaskState};
use prost::Message as _;

use super::*;

fn refusal(content_type: ContentType, bytes: &[u8]) -> String {
    decode::<Call>(content_type, bytes).expect_err("the call is broken").to_string()
}

#[test]
fn a_missing_required_field_is_named_with_its_path_in_both_encodings() {
    let json = br#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"name":"n"}}}"#;
    let text = refusal(ContentType::Json, json);
    assert!(text.starts_with("call.subscribe.framework_info.user: required field is missing"), "{text}");

    // subscribe { framework_info { name: "n" } }
    let protobuf = [0x1a, 5, 0x0a, 3, 0x12, 1, b'n'];
    let text = refusal(ContentType::Protobuf, &protobuf);
    assert_eq!(text, "call.subscribe.framework_info.user: required field is missing");
}

#[test]
fn broken_text_is_refused_with_the_place() {
    let check = |json: &str, expect: &str| {
        let text = refusal(ContentType::Json, json.as_bytes());
        assert!(text.starts_with(expect), "{json}: {text}");
    };
    check("", "call: EOF while parsing");
    check("[1,2]", "call: invalid type: sequence, expected an object");
    check("null", "call: invalid type: null, expected an object");
    check("{} {}", "call: trailing characters");
    check(
        r#"{"type":"REVIVE","framework_id":"x"}"#,
        "call.framework_id: invalid type: string \"x\", expected an object",
    );
    check(
        r#"{"accept":{"offer_ids":[{"value":"o"},{}]}}"#,
        "call.accept.offer_ids[1].value: required field is missing",
    );
    check(r#"{"framework_id":["f"]}"#, "call.framework_id: invalid type: sequence");
    check(r#"{"acknowledge":{"uuid":"?"}}"#, "call.acknowledge.uuid: invalid value");
}

/// prost leaves them out, and then the required field in them is missing.
#[test]
fn zeros_in_maps_are_written() {
    let scalar = |value| v1::value::Scalar { value };
    let zeros =
        || [("cpus".to_owned(), scalar(0.0)), (String::new(), scalar(0.0)), ("mem".to_owned(), scalar(1.0))];
    let config = v1::quota::QuotaConfig {
        role: "r".into(),
        guarantees: zeros().into(),
        limits: [("cpus".to_owned(), scalar(0.0))].into(),
    };
    let quota = v1::quota::QuotaStatus { configs: vec![config.clone(), config], ..Default::default() };
    let task = v1::TaskInfo { name: "t".into(), limits: zeros().into(), ..Default::default() };
    let launch = v1::executor::event::Launch { task };
    let event = v1::executor::Event { launch: Some(launch), ..Default::default() };
    whole(&quota);
    whole(&event);
    let none = v1::quota::QuotaStatus::default();
    assert_eq!(encode(ContentType::Protobuf, &none), none.encode_to_vec());
}

fn whole<T: ApiMessage + PartialEq + std::fmt::Debug>(message: &T) {
    let bytes = encode(ContentType::Protobuf, message);
    assert_ne!(bytes, message.encode_to_vec(), "else there is nothing to see here");
    assert_eq!(decode::<T>(ContentType::Protobuf, &bytes).as_ref(), Ok(message));
    let mut appended = b"before".to_vec();
    append(ContentType::Protobuf, message, &mut appended);
    assert_eq!(appended, [b"before", &*bytes].concat());
}

#[test]
fn both_encodings_carry_the_same_message() {
    let info = FrameworkInfo { user: "u".into(), name: "Größe 🚀".into(), ..Default::default() };
    let subscribe = call::Subscribe { framework_info: info, ..Default::default() };
    let call =
        Call { r#type: Some(call::Type::Subscribe as i32), subscribe: Some(subscribe), ..Default::default() };
    for content_type in [ContentType::Json, ContentType::Protobuf] {
        let bytes = encode(content_type, &call);
        let mut back: Call = decode(content_type, &bytes).expect("our own bytes");
        let info = &mut back.subscribe.as_mut().expect("it was there").framework_info;
        // JSON says defaults outright.
        info.failover_timeout = None;
        info.checkpoint = None;
        assert_eq!(back, call);
    }
    let line = encode(ContentType::Json, &call);
    assert!(line.is_ascii() && !line.contains(&b'\n'));
}

#[test]
fn unknown_numbers_in_required_enums_count_as_missing() {
    // update { status { task_id { value: "t" } state: 99 } }
    let event = [0x2a, 9, 0x0a, 7, 0x0a, 3, 0x0a, 1, b't', 0x10, 99];
    let text = decode::<Event>(ContentType::Protobuf, &event).expect_err("no such state").to_string();
    assert_eq!(text, "event.update.status.state: required field is missing");
    let mut known = event;
    known[10] = TaskState::TaskRunning as u8;
    decode::<Event>(ContentType::Protobuf, &known).expect("a known state");
}

#[test]
fn bytes_that_are_no_protobuf_are_refused() {
    for bytes in
        [&[0xff][..], &[0x1a, 5, 0x0a], &[0x07], &[0x0a, 0x80, 0x80, 0x80, 0x80, 0x80], &[0x00, 0x00]]
    {
        assert!(decode::<Call>(ContentType::Protobuf, bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn nesting_beyond_the_bound_is_refused_without_recursing() {
    let mut id = mesarch_proto::mesos::v1::ContainerId { value: "c".into(), parent: None };
    for _ in 0..200 {
        id = mesarch_proto::mesos::v1::ContainerId { value: "c".into(), parent: Some(Box::new(id)) };
    }
    let bytes = id.encode_to_vec();
    let error = required::check::<mesarch_proto::mesos::v1::ContainerId>(&bytes).expect_err("200 levels");
    assert_eq!(error, required::RequiredError::TooDeep);
    let json = json::encode(&id);
    assert!(json::decode::<mesarch_proto::mesos::v1::ContainerId>(&json).is_err());
}
