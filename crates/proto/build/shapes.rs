//! Writes one `Shape` per message: what turns its protobuf bytes into JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::json;
use crate::names;
use crate::schema::{Field, Kind, Label, Message, Schema};

/// The shape of the one message from elsewhere.
const DURATION: &str = "S_DURATION";

/// Source text of all shapes and, for each message, of the function that names its own.
pub(crate) fn generate(schema: &Schema) -> String {
    let ids: BTreeMap<&str, usize> =
        schema.messages.iter().enumerate().map(|(id, message)| (message.name.as_str(), id)).collect();
    let mut out = String::new();
    write!(
        out,
        "static {DURATION}: Shape = Shape(&[\n    \
            Field {{ number: 1, key: \"\\\"seconds\\\":\", label: Label::Required, kind: Kind::I64 }},\n    \
            Field {{ number: 2, key: \"\\\"nanos\\\":\", label: Label::Required, kind: Kind::I32 }},\n]);\n"
    )
    .expect("a String takes everything");
    for (id, message) in schema.messages.iter().enumerate() {
        shape(id, message, &ids, &mut out).expect("a String takes everything");
    }
    out
}

fn shape(id: usize, message: &Message, ids: &BTreeMap<&str, usize>, out: &mut String) -> std::fmt::Result {
    writeln!(out, "static S{id}: Shape = Shape(&[")?;
    for field in &message.fields {
        let (number, key) = (field.number, format!("{:?}:", field.name));
        let (label, kind) = (label(message, field), kind(message, field, ids));
        writeln!(out, "    Field {{ number: {number}, key: {key:?}, label: {label}, kind: {kind} }},")?;
    }
    let path = names::type_path(&message.name);
    writeln!(out, "]);\nimpl Shaped for {path} {{ fn shape() -> &'static Shape {{ &S{id} }} }}")
}

fn label(message: &Message, field: &Field) -> String {
    match &field.label {
        Label::Required => "Label::Required".into(),
        Label::Optional => match field.default.as_deref().filter(|_| !field.deprecated) {
            Some(default) => format!("Label::Default({:?})", default_json(field, default)),
            None => "Label::Optional".into(),
        },
        Label::Oneof(_) => "Label::Member".into(),
        Label::Repeated if json::always_written(message, field) => "Label::Always".into(),
        Label::Repeated => "Label::Repeated".into(),
        Label::Map => "Label::Map".into(),
    }
}

/// What the `.proto` file says, as JSON.
fn default_json(field: &Field, default: &str) -> String {
    match field.kind {
        Kind::Text | Kind::Enum(_) => format!("{default:?}"),
        Kind::Double => format!("{:?}", default.parse::<f64>().expect("protox has read it as a number")),
        Kind::Bytes | Kind::Message(_) => panic!("{}: a default of this kind is not defined", field.name),
        Kind::Bool | Kind::I32 | Kind::I64 | Kind::U32 | Kind::U64 => default.to_owned(),
    }
}

fn kind(message: &Message, field: &Field, ids: &BTreeMap<&str, usize>) -> String {
    match &field.kind {
        Kind::Bool => "Kind::Bool".into(),
        Kind::I32 => "Kind::I32".into(),
        Kind::I64 => "Kind::I64".into(),
        Kind::U32 => "Kind::U32".into(),
        Kind::U64 => "Kind::U64".into(),
        Kind::Double => "Kind::Double".into(),
        Kind::Text => "Kind::Text".into(),
        Kind::Bytes => "Kind::Bytes".into(),
        Kind::Enum(name) => format!("Kind::Name(<{} as Enum>::name)", names::type_path(name)),
        Kind::Message(name) if name == "google.protobuf.Duration" => format!("Kind::Object(&{DURATION})"),
        Kind::Message(name) if json::has_checkpoint(message, field) => {
            format!("Kind::WithCheckpoint(&S{})", ids[name.as_str()])
        }
        Kind::Message(name) => format!("Kind::Object(&S{})", ids[name.as_str()]),
    }
}
