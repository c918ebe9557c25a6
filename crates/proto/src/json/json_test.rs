use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::mesos::v1::master::call::DrainAgent;
use crate::mesos::v1::master::{Response, response};
use crate::mesos::v1::scheduler::attribute_constraint::{Selector, selector};
use crate::mesos::v1::scheduler::{Call, call};
use crate::mesos::v1::{
    CommandInfo, FileInfo, Filters, FrameworkInfo, HealthCheck, Resource, ResourceStatistics, TaskInfo,
    TaskState, TaskStatus, TimeInfo, Value, network_info,
};

fn text<M: Json>(message: &M) -> String {
    let mut out = Vec::new();
    message.write_json(&mut out);
    String::from_utf8(out).expect("ASCII")
}

fn read<M: Json>(value: &serde_json::Value) -> Result<M, String> {
    M::from_json(value.to_string().as_bytes()).map_err(|error| error.to_string())
}

#[track_caller]
fn refused<M: Json>(value: &serde_json::Value, expect: &str) {
    let error = read::<M>(value).err().unwrap_or_else(|| panic!("{value} was accepted"));
    assert!(error.starts_with(expect), "{error}");
}

#[test]
fn defaults_are_written_unless_deprecated() {
    let info = FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    // `role` has a default, and is deprecated.
    assert_eq!(text(&info), r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#);
    assert_eq!(text(&Filters::default()), r#"{"refuse_seconds":5.0}"#);
    assert_eq!(text(&CommandInfo::default()), r#"{"shell":true}"#);
    assert!(text(&HealthCheck::default()).contains(r#""consecutive_failures":3"#));
    let ip = network_info::IpAddress::default();
    assert_eq!(text(&ip), r#"{"protocol":"IPv4"}"#);
}

#[test]
fn deprecated_fields_are_written_when_set() {
    let cpus = Resource { name: "cpus".into(), role: Some("*".into()), ..Default::default() };
    assert_eq!(text(&cpus), r#"{"name":"cpus","type":"SCALAR","role":"*"}"#);
}

#[test]
fn numbers_are_numbers() {
    assert_eq!(text(&TimeInfo { nanoseconds: i64::MIN }), r#"{"nanoseconds":-9223372036854775808}"#);
    let file = FileInfo { path: "/".into(), size: Some(u64::MAX), ..Default::default() };
    assert_eq!(text(&file), r#"{"path":"/","size":18446744073709551615}"#);
    let check = |value: f64, expect: &str| {
        let filters = Filters { refuse_seconds: Some(value) };
        assert_eq!(text(&filters), format!(r#"{{"refuse_seconds":{expect}}}"#));
    };
    check(15.0, "15.0");
    check(0.1, "0.1");
    check(-0.0, "-0.0");
    check(1_795_410_287.005_861, "1795410287.005861");
    check(f64::INFINITY, r#""Infinity""#);
    check(f64::NEG_INFINITY, r#""-Infinity""#);
    check(f64::NAN, r#""NaN""#);
}

#[test]
fn other_characters_are_escaped() {
    let info = FrameworkInfo { user: "é\u{1F680}\u{7f}".into(), name: "\"\n".into(), ..Default::default() };
    assert!(text(&info).starts_with("{\"user\":\"\\u00e9\\ud83d\\ude80\u{7f}\",\"name\":\"\\\"\\n\""));
    assert_eq!(read::<FrameworkInfo>(&serde_json::from_str(&text(&info)).expect("JSON")), read(&json!(info)));
}

#[test]
fn bytes_are_base64_with_padding() {
    let status = TaskStatus { uuid: Some(Bytes::from_static(&[0xfb, 0xff])), ..Default::default() };
    assert!(text(&status).contains(r#""uuid":"+/8=""#));
    let read = |text: &str| {
        read::<TaskStatus>(&json!({"task_id": {"value": "t"}, "state": "TASK_LOST", "data": text}))
    };
    assert_eq!(read("+/8=").expect("padded").data.expect("set"), [0xfb, 0xff][..]);
    assert_eq!(read("+/8").expect("unpadded").data.expect("set"), [0xfb, 0xff][..]);
    assert_eq!(read("").expect("empty").data.expect("set"), [][..]);
    assert!(read("-_8=").is_err());
}

#[test]
fn enums_are_names_and_numbers_without_a_name_are_left_out() {
    let status = TaskStatus { state: TaskState::TaskGone as i32, reason: Some(999), ..Default::default() };
    assert_eq!(text(&status), r#"{"task_id":{"value":""},"state":"TASK_GONE"}"#);
}

#[test]
fn lists_of_operator_reads_are_always_there() {
    let tasks = Response { get_tasks: Some(response::GetTasks::default()), ..Default::default() };
    assert_eq!(text(&tasks), r#"{"get_tasks":{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]}}"#);
    let operations =
        Response { get_operations: Some(response::GetOperations::default()), ..Default::default() };
    assert_eq!(text(&operations), r#"{"get_operations":{}}"#);
}

#[test]
fn null_is_unset() {
    let call: Call = read(&json!({
        "type": null, "framework_id": null, "kill": null,
        "revive": {"roles": null}, "suppress": {"roles": ["a", null, "b"]},
    }))
    .expect("all of it is optional");
    assert_eq!((call.r#type, call.framework_id, call.kill), (None, None, None));
    assert!(call.revive.expect("set").roles.is_empty());
    assert_eq!(call.suppress.expect("set").roles, ["a", "b"]);
    refused::<FrameworkInfo>(&json!({"user": null, "name": "n"}), ".user: required field is missing");
}

#[test]
fn unknown_keys_and_names_are_ignored() {
    let call: Call =
        read(&json!({"type": "DANCE", "bogus": {"a": [1, {}]}, "": null})).expect("nothing required");
    assert_eq!(call, Call::default());
    refused::<TaskStatus>(
        &json!({"task_id": {"value": "t"}, "state": "TASK_DANCING"}),
        ".state: required field",
    );
    refused::<Call>(&json!({"type": 1}), ".type: invalid type");
}

#[test]
fn scalars_may_be_texts_and_texts_may_not_be_scalars() {
    let filters = |value| read::<Filters>(&json!({"refuse_seconds": value})).map(|it| it.refuse_seconds);
    assert_eq!(filters(json!(5)), Ok(Some(5.0)));
    assert_eq!(filters(json!(-5)), Ok(Some(-5.0)));
    assert_eq!(filters(json!("1.5")), Ok(Some(1.5)));
    assert_eq!(filters(json!("Infinity")), Ok(Some(f64::INFINITY)));
    assert_eq!(filters(json!("-Infinity")), Ok(Some(f64::NEG_INFINITY)));
    for bad in [json!("NaN"), json!("inf"), json!("x"), json!(true), json!({}), json!([1.0])] {
        assert!(filters(bad.clone()).is_err(), "{bad}");
    }
    let command: CommandInfo = read(&json!({"shell": "false"})).expect("a text");
    assert_eq!(command.shell, Some(false));
    refused::<CommandInfo>(&json!({"shell": 0}), ".shell: invalid type");
    refused::<CommandInfo>(&json!({"value": 5}), ".value: invalid type");
    refused::<CommandInfo>(&json!({"value": true}), ".value: invalid type");
}

#[test]
fn integers_keep_their_width() {
    let time = |value| read::<TimeInfo>(&json!({"nanoseconds": value})).map(|it| it.nanoseconds);
    assert_eq!(time(json!("-9223372036854775808")), Ok(i64::MIN));
    assert_eq!(time(json!(i64::MAX)), Ok(i64::MAX));
    assert_eq!(time(json!(2.0)), Ok(2));
    assert!(time(json!(2.5)).is_err());
    assert!(time(json!(u64::MAX)).is_err());
    let statistics = |value| read::<ResourceStatistics>(&json!({"timestamp": 1, "processes": value}));
    assert_eq!(statistics(json!(4_294_967_295_u64)).expect("fits").processes, Some(u32::MAX));
    assert!(statistics(json!(4_294_967_296_u64)).is_err());
    assert!(statistics(json!(-1)).is_err());
    assert!(statistics(json!("-1")).is_err());
}

#[test]
fn one_value_is_a_list_of_one_and_a_list_is_no_value() {
    let call: Call = read(&json!({
        "revive": {"roles": "a"}, "decline": {"offer_ids": {"value": "o"}},
    }))
    .expect("lists of one");
    assert_eq!(call.revive.expect("set").roles, ["a"]);
    assert_eq!(call.decline.expect("set").offer_ids[0].value, "o");
    refused::<Call>(&json!({"framework_id": ["f"]}), ".framework_id: invalid type: sequence");
    refused::<Call>(
        &json!({"framework_id": {"value": ["f"]}}),
        ".framework_id.value: invalid type: sequence",
    );
    refused::<Call>(&json!({"revive": {"roles": [["a"]]}}), ".revive.roles[0]: invalid type: sequence");
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let read = |text: &str| Call::from_json(text.as_bytes()).map_err(|error| error.to_string());
    let call =
        read(r#"{"type":"KILL","type":"REVIVE","revive":{"roles":["a"],"roles":["b"]}}"#).expect("read");
    assert_eq!(call.r#type, Some(call::Type::Revive as i32));
    assert_eq!(call.revive.expect("set").roles, ["b"]);
    assert_eq!(read(r#"{"type":"KILL","type":null}"#).expect("read").r#type, None);
    assert!(read(r#"{"framework_id":{"value":"f","value":null}}"#).is_err());
}

#[test]
fn maps_are_objects() {
    let task = json!({
        "name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"},
        "limits": {"mem": {"value": 1}, "cpus": {"value": "Infinity"}, "none": null},
    });
    let task: TaskInfo = read(&task).expect("a task");
    assert_eq!(task.limits["cpus"].value, f64::INFINITY);
    assert_eq!(task.limits.len(), 2);
    assert!(text(&task).ends_with(r#""limits":{"cpus":{"value":"Infinity"},"mem":{"value":1.0}}}"#));
    let wrong =
        json!({"name": "n", "task_id": {"value": "t"}, "agent_id": {"value": "a"}, "limits": {"mem": {}}});
    refused::<TaskInfo>(&wrong, ".limits.mem.value: required field is missing");
}

#[test]
fn members_of_a_oneof_are_plain_fields() {
    let host = Selector {
        selector: Some(selector::Selector::PseudoattributeType(
            selector::PseudoattributeType::Hostname as i32,
        )),
    };
    assert_eq!(text(&host), r#"{"pseudoattribute_type":"HOSTNAME"}"#);
    let named: Selector =
        read(&json!({"attribute_name": "rack", "pseudoattribute_type": null})).expect("one member");
    assert_eq!(named.selector, Some(selector::Selector::AttributeName("rack".into())));
}

#[test]
fn durations_of_protobuf_are_objects() {
    let drain: DrainAgent =
        read(&json!({"agent_id": {"value": "a"}, "max_grace_period": {"seconds": 1}})).expect("ok");
    assert_eq!(drain.max_grace_period, Some(prost_types::Duration { seconds: 1, nanos: 0 }));
    let expect = r#"{"agent_id":{"value":"a"},"max_grace_period":{"seconds":1,"nanos":0},"mark_gone":false}"#;
    assert_eq!(text(&drain), expect);
}

#[test]
fn serde_reads_and_writes_messages_inside_other_values() {
    let value = json!({"name": "mem", "type": "SCALAR", "scalar": {"value": 1.5}});
    let resource: Resource = serde_json::from_value(value.clone()).expect("a resource");
    assert_eq!(serde_json::to_value(&resource).expect("JSON"), value);
    assert!(serde_json::from_value::<Option<Value>>(serde_json::Value::Null).expect("unset").is_none());
}
