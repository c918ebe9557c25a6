//! Our JSON and our check for required fields against prost-reflect, which does both by reflection, on random messages.

mod random;

use std::sync::LazyLock;

use mesarch_proto::FILE_DESCRIPTOR_SET;
use mesarch_proto::json::Json;
use mesarch_proto::mesos::v1;
use mesarch_proto::required::{Required, check};
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, ReflectMessage, SerializeOptions, Value};
use serde_json::Value as JsonValue;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors"));

/// Sets every field that has an explicit default and is not deprecated, as JSON output does.
fn with_defaults(message: &DynamicMessage) -> DynamicMessage {
    let mut filled = message.clone();
    for field in message.descriptor().fields() {
        let proto = field.field_descriptor_proto();
        let deprecated = proto.options.as_ref().is_some_and(|options| options.deprecated());
        if message.has_field(&field) {
            filled.set_field(&field, value_with_defaults(message.get_field(&field).as_ref()));
        } else if proto.default_value.is_some() && !deprecated {
            filled.set_field(&field, field.default_value());
        }
    }
    filled
}

fn value_with_defaults(value: &Value) -> Value {
    match value {
        Value::Message(message) => Value::Message(with_defaults(message)),
        Value::List(list) => Value::List(list.iter().map(value_with_defaults).collect()),
        Value::Map(map) => {
            Value::Map(map.iter().map(|(key, it)| (key.clone(), value_with_defaults(it))).collect())
        }
        other => other.clone(),
    }
}

/// Takes out what only answers of operators have: lists that are there although empty, and one foreign field.
fn without_quirks(value: &mut JsonValue) {
    match value {
        JsonValue::Array(list) => list.iter_mut().for_each(without_quirks),
        JsonValue::Object(map) => {
            map.retain(|_, value| *value != JsonValue::Array(Vec::new()));
            if let Some(JsonValue::Object(info)) = map.get_mut("agent_info") {
                info.remove("checkpoint");
            }
            map.values_mut().for_each(without_quirks);
        }
        _ => {}
    }
}

fn same_json<T>(name: &str, bytes: &[u8])
where
    T: Message + Default + Json + PartialEq,
{
    let descriptor = POOL.get_message_by_name(name).expect("a known message");
    let dynamic = random::message(&descriptor, &mut random::Entropy(bytes), true);
    let ours = T::decode(dynamic.encode_to_vec().as_slice()).expect("a complete message");
    let mut text = Vec::new();
    ours.write_json(&mut text);
    assert!(text.is_ascii());
    let mut straight = Vec::new();
    T::write_json_of(&ours.encode_to_vec(), &mut straight).expect("our own bytes");
    assert!(straight == text, "{}\nis not\n{}", straight.escape_ascii(), text.escape_ascii());

    let filled = with_defaults(&dynamic);
    let options = SerializeOptions::new().stringify_64_bit_integers(false).use_proto_field_name(true);
    let expect =
        filled.serialize_with_options(serde_json::value::Serializer, &options).expect("representable");
    let mut got: JsonValue = serde_json::from_slice(&text).expect("our own text");
    without_quirks(&mut got);
    assert_eq!(got, expect);

    let back = T::from_json(&text).expect("our own text");
    let full = T::decode(filled.encode_to_vec().as_slice()).expect("a complete message");
    assert_eq!(back.encode_to_vec(), full.encode_to_vec());
}

fn is_complete(message: &DynamicMessage) -> bool {
    let descriptor = message.descriptor();
    let mut required = descriptor.fields().filter(|field| field.cardinality() == Cardinality::Required);
    required.all(|field| message.has_field(&field))
        && message.fields().all(|(_, value)| value_is_complete(value))
}

fn value_is_complete(value: &Value) -> bool {
    match value {
        Value::Message(message) => is_complete(message),
        Value::List(list) => list.iter().all(value_is_complete),
        Value::Map(map) => map.values().all(value_is_complete),
        _ => true,
    }
}

fn same_verdict<T: Required>(name: &str, bytes: &[u8]) {
    let descriptor = POOL.get_message_by_name(name).expect("a known message");
    let message = random::message(&descriptor, &mut random::Entropy(bytes), false);
    let verdict = check::<T>(&message.encode_to_vec());
    assert_eq!(verdict.is_ok(), is_complete(&message), "{verdict:?}");
}

macro_rules! against_the_oracle {
    ($($test:ident: $message:ty = $name:literal;)*) => {
        mod json {
            use super::*;
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(300))]
                $(
                    #[test]
                    fn $test(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
                        same_json::<$message>($name, &bytes);
                    }
                )*
            }
        }
        mod required {
            use super::*;
            proptest! {
                #![proptest_config(ProptestConfig::with_cases(300))]
                $(
                    #[test]
                    fn $test(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
                        same_verdict::<$message>($name, &bytes);
                    }
                )*
            }
        }
    };
}

against_the_oracle! {
    offer: v1::Offer = "mesos.v1.Offer";
    task_info: v1::TaskInfo = "mesos.v1.TaskInfo";
    framework_info: v1::FrameworkInfo = "mesos.v1.FrameworkInfo";
    scheduler_call: v1::scheduler::Call = "mesos.v1.scheduler.Call";
    scheduler_event: v1::scheduler::Event = "mesos.v1.scheduler.Event";
    executor_call: v1::executor::Call = "mesos.v1.executor.Call";
    executor_event: v1::executor::Event = "mesos.v1.executor.Event";
    master_response: v1::master::Response = "mesos.v1.master.Response";
    master_event: v1::master::Event = "mesos.v1.master.Event";
    agent_response: v1::agent::Response = "mesos.v1.agent.Response";
    resource_provider_call: v1::resource_provider::Call = "mesos.v1.resource_provider.Call";
}

/// The bytes of an event that chance made, with some of them changed.
fn damaged_event(seed: &[u8], damage: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let descriptor = POOL.get_message_by_name("mesos.v1.scheduler.Event").expect("a known message");
    let mut bytes = random::message(&descriptor, &mut random::Entropy(seed), true).encode_to_vec();
    for (at, byte) in damage.iter().filter(|_| !seed.is_empty()) {
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
    }
    bytes
}

proptest! {
    #[test]
    fn garbage_is_refused_or_read_but_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = check::<v1::scheduler::Call>(&bytes);
        let _ = v1::scheduler::Call::from_json(&bytes);
    }

    /// Whatever the bytes are: what can be decoded is written alike on both ways, and nothing else is written at all.
    #[test]
    fn bytes_of_others_are_written_as_the_message_that_they_are(
        seed in proptest::collection::vec(any::<u8>(), 0..400),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let bytes = damaged_event(&seed, &damage);
        let mut straight = Vec::new();
        let written = v1::scheduler::Event::write_json_of(&bytes, &mut straight);
        match v1::scheduler::Event::decode(bytes.as_slice()) {
            Ok(event) => {
                let mut text = Vec::new();
                event.write_json(&mut text);
                prop_assert!(written.is_ok());
                prop_assert_eq!(straight.escape_ascii().to_string(), text.escape_ascii().to_string());
            }
            Err(_) => prop_assert!(straight.is_empty() || written.is_ok()),
        }
    }

    /// A good message with some bytes changed goes deeper than noise does.
    #[test]
    fn damaged_messages_never_panic(
        seed in proptest::collection::vec(any::<u8>(), 0..400),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let bytes = damaged_event(&seed, &damage);
        if check::<v1::scheduler::Event>(&bytes).is_ok() {
            let _ = v1::scheduler::Event::decode(bytes.as_slice());
        }
    }
}
