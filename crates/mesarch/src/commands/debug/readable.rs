//! Commands of the log as people and programs read them: found in the messages themselves, by reflection, so that a new
//! command is shown without a line here.

use anyhow::{Context, Result};
use mesarch_proto::FILE_DESCRIPTOR_SET;
use mesarch_types::TaskState;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use serde_json::json;

/// Most values of one kind in a line for people.
const VALUES_SHOWN_MAX: usize = 8;

/// Fields that name something, and the word for it in a line; of these messages only, or of any.
const LABELS: &[(Option<&str>, &str, &str)] = &[
    (None, "framework", "framework"),
    (None, "agent", "agent"),
    (None, "offers", "offers"),
    (None, "task", "tasks"),
    (Some("TaskSpec"), "id", "tasks"),
    (Some("ExecutorKey"), "executor", "executors"),
    (Some("ExecutorSpec"), "id", "executors"),
    (Some("Operation"), "id", "operations"),
    (None, "operation", "operations"),
    (Some("StatusUpdate"), "state", "states"),
    (None, "role", "roles"),
    (None, "roles", "roles"),
    (Some("FrameworkSpec"), "name", "name"),
    (Some("SetPolicy"), "name", "policy"),
    (None, "hostname", "hosts"),
    (Some("Names"), "names", "hosts"),
    (None, "level", "level"),
];

/// Messages about places in the log and amounts: nothing in them names anybody.
const OPAQUE: &[&str] = &["Resource", "ResourceVersion", "Conversion", "LaunchId", "Link", "Attribute"];

/// Bytes that are a message of Mesos.
const MESSAGES: &[(&str, &str, &str)] = &[
    ("TaskSpec", "info", "mesos.v1.TaskInfo"),
    ("ExecutorSpec", "info", "mesos.v1.ExecutorInfo"),
    ("AgentSpec", "info", "mesos.v1.AgentInfo"),
    ("FrameworkSpec", "info", "mesos.v1.FrameworkInfo"),
    ("InventoryFramework", "info", "mesos.v1.FrameworkInfo"),
    ("Operation", "info", "mesos.v1.Offer.Operation"),
    ("StatusUpdate", "status", "mesos.v1.TaskStatus"),
    ("RequestKill", "policy", "mesos.v1.KillPolicy"),
];

/// What the log's messages look like.
pub(super) struct Vocabulary {
    pool: DescriptorPool,
    command: MessageDescriptor,
}

/// One command, in the form of the log.
pub(super) struct Readable {
    /// As the vocabulary calls it, such as `AcceptOffers`.
    pub(super) name: String,
    body: DynamicMessage,
}

impl Vocabulary {
    /// Reads the descriptors that were compiled in.
    pub(super) fn new() -> Result<Self> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).context("the built-in descriptors")?;
        let command = pool.get_message_by_name("mesarch.log.Command");
        Ok(Self { command: command.context("the built-in descriptors have no command")?, pool })
    }

    /// The command in `bytes`.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Readable> {
        let message =
            DynamicMessage::decode(self.command.clone(), bytes).context("not a command of the log")?;
        let set = message.fields().next();
        let (field, body) = set.context("the command is of a kind unknown to this version")?;
        let body = body.as_message().cloned().context("a command is a message")?;
        Ok(Readable { name: camel(field.name()), body })
    }

    /// All of the command.
    pub(super) fn json(&self, command: &Readable) -> serde_json::Value {
        self.json_of(&command.body)
    }

    fn json_of(&self, message: &DynamicMessage) -> serde_json::Value {
        let descriptor = message.descriptor();
        let fields = message.fields();
        fields
            .map(|(field, value)| (field.name().to_owned(), self.value(&descriptor, &field, value)))
            .collect()
    }

    fn value(&self, of: &MessageDescriptor, field: &FieldDescriptor, value: &Value) -> serde_json::Value {
        match value {
            Value::Bool(value) => json!(value),
            Value::I32(number) => match state_name(of, field, *number) {
                Some(name) => json!(name),
                None => json!(number),
            },
            Value::I64(number) => json!(number),
            Value::U32(number) => json!(number),
            Value::U64(number) => json!(number),
            Value::F32(number) => json!(number),
            Value::F64(number) => json!(number),
            Value::String(text) => json!(text),
            Value::Bytes(bytes) => self.bytes(of, field, bytes),
            Value::EnumNumber(number) => json!(enum_name(field, *number)),
            Value::Message(message) => self.json_of(message),
            Value::List(values) => values.iter().map(|one| self.value(of, field, one)).collect(),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|(key, one)| (format!("{key:?}"), self.value(of, field, one)));
                pairs.collect()
            }
        }
    }

    /// A message of Mesos where it is one, else hexadecimal digits.
    fn bytes(&self, of: &MessageDescriptor, field: &FieldDescriptor, bytes: &[u8]) -> serde_json::Value {
        let known = MESSAGES.iter().find(|(message, name, _)| of.name() == *message && field.name() == *name);
        let kind = known.and_then(|(_, _, kind)| self.pool.get_message_by_name(kind));
        match kind.and_then(|kind| DynamicMessage::decode(kind, bytes).ok()) {
            Some(message) => self.json_of(&message),
            None => json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        }
    }
}

impl Readable {
    /// Whom it is about: `framework=… tasks=…`; empty if it names nobody.
    pub(super) fn subjects(&self) -> String {
        let mut found = Vec::new();
        gather(&self.body, &mut found);
        let pieces = found.into_iter().map(|(label, values)| {
            let hidden = values.len().saturating_sub(VALUES_SHOWN_MAX);
            let shown = values[..values.len() - hidden].join(",");
            if hidden == 0 { format!("{label}={shown}") } else { format!("{label}={shown},…(+{hidden})") }
        });
        pieces.collect::<Vec<_>>().join(" ")
    }
}

/// Adds the names in `message` to those `found`, by label, each once.
fn gather(message: &DynamicMessage, found: &mut Vec<(&'static str, Vec<String>)>) {
    let descriptor = message.descriptor();
    if OPAQUE.contains(&descriptor.name()) {
        return;
    }
    for (field, value) in message.fields() {
        let label = LABELS
            .iter()
            .find(|(of, name, _)| field.name() == *name && of.is_none_or(|of| of == descriptor.name()));
        for one in each(value) {
            match (one, label) {
                (Value::Message(inner), _) => gather(inner, found),
                (one, Some((_, _, label))) => note(found, label, &text(&descriptor, &field, one)),
                (_, None) => {}
            }
        }
    }
}

fn note(found: &mut Vec<(&'static str, Vec<String>)>, label: &'static str, text: &str) {
    match found.iter_mut().find(|(known, _)| *known == label) {
        Some((_, values)) if values.iter().any(|value| value == text) => {}
        Some((_, values)) => values.push(text.to_owned()),
        None => found.push((label, vec![text.to_owned()])),
    }
}

fn each(value: &Value) -> &[Value] {
    match value {
        Value::List(values) => values,
        one => std::slice::from_ref(one),
    }
}

fn text(of: &MessageDescriptor, field: &FieldDescriptor, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::U32(number) => number.to_string(),
        Value::I32(number) => {
            state_name(of, field, *number).map_or_else(|| number.to_string(), str::to_owned)
        }
        other => format!("{other:?}"),
    }
}

/// The log holds states of tasks by number.
fn state_name(of: &MessageDescriptor, field: &FieldDescriptor, number: i32) -> Option<&'static str> {
    let is_state = matches!(
        (of.name(), field.name()),
        ("StatusUpdate", "state" | "latest") | ("InventoryTask", "state")
    );
    is_state.then(|| TaskState::from_number(number)).flatten().map(TaskState::name)
}

fn enum_name(field: &FieldDescriptor, number: i32) -> String {
    match field.kind() {
        Kind::Enum(kind) => kind.get_value(number).map(|value| value.name().to_owned()),
        _ => None,
    }
    .unwrap_or_else(|| number.to_string())
}

/// `accept_offers` becomes `AcceptOffers`.
fn camel(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use mesarch_state::Command;
    use mesarch_state::command::{AcknowledgeUpdates, Acknowledgement, RequestKill, RescindOffers, SetLevel};
    use mesarch_types::{AgentId, FrameworkId, OfferId, TaskId, UpdateUuid};

    use super::*;

    fn check(command: &Command, name: &str, subjects: &str) -> serde_json::Value {
        let vocabulary = Vocabulary::new().unwrap();
        let readable = vocabulary.read(&command.encode()).unwrap();
        assert_eq!((readable.name.as_str(), readable.subjects().as_str()), (name, subjects));
        vocabulary.json(&readable)
    }

    #[test]
    fn a_command_tells_its_name_and_whom_it_is_about() {
        let framework = FrameworkId::from("F");
        let offers: Vec<OfferId> = (0..10).map(|number| OfferId::from(format!("O{number}"))).collect();
        check(&Command::SetLevel(SetLevel { level: 3 }), "SetLevel", "level=3");
        check(
            &Command::RescindOffers(RescindOffers { offers: offers.clone() }),
            "RescindOffers",
            "offers=O0,O1,O2,O3,O4,O5,O6,O7,…(+2)",
        );
        check(
            &Command::RequestKill(RequestKill {
                framework: framework.clone(),
                task: TaskId::from("t"),
                agent: None,
                policy: None,
            }),
            "RequestKill",
            "framework=F tasks=t",
        );
        let item = |task: &str| Acknowledgement {
            framework: framework.clone(),
            agent: AgentId::from("S"),
            task: TaskId::from(task),
            uuid: UpdateUuid([10; 16]),
        };
        let json = check(
            &Command::AcknowledgeUpdates(AcknowledgeUpdates { items: vec![item("a"), item("b"), item("a")] }),
            "AcknowledgeUpdates",
            "framework=F agent=S tasks=a,b",
        );
        assert_eq!(json["items"][1]["task"], "b");
        assert_eq!(json["items"][0]["uuid"], "0a".repeat(16));
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let vocabulary = Vocabulary::new().unwrap();
        for bytes in [&b""[..], &[0xff], b"text"] {
            assert!(vocabulary.read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn every_message_of_mesos_that_is_named_here_exists() {
        let vocabulary = Vocabulary::new().unwrap();
        for (message, field, kind) in MESSAGES {
            assert!(vocabulary.pool.get_message_by_name(kind).is_some(), "{kind}");
            let of = vocabulary.pool.get_message_by_name(&format!("mesarch.log.{message}")).unwrap();
            assert!(of.get_field_by_name(field).is_some(), "{message}.{field}");
        }
    }
}
