//! Writes `impl json::Message` and the serde impls for each message, `impl json::Enum` for each enum.

use std::fmt::Write;

use crate::names;
use crate::schema::{Field, Kind, Label, Message, Schema};

/// Answers of operator reads list these even when empty, as Mesos does: its hand-written readers do, and tools index
/// into the lists. Everywhere else an empty list is left out.
const LISTS_ALWAYS_WRITTEN: [&str; 4] = ["GetTasks", "GetExecutors", "GetFrameworks", "GetAgents"];

/// In this one place Mesos' readers let a v0 field through that v1 does not have, and tools may read it.
const AGENT_INFO_WITH_CHECKPOINT: (&str, &str) = ("mesos.v1.master.Response.GetAgents.Agent", "agent_info");

/// Source text of all impls.
pub(crate) fn generate(schema: &Schema) -> String {
    let mut out = String::new();
    for path in &schema.enums {
        writeln!(out, "json_enum!({path});").expect("a String takes everything");
    }
    for message in &schema.messages {
        message_impl(message, &mut out).expect("a String takes everything");
    }
    out
}

fn message_impl(message: &Message, out: &mut String) -> std::fmt::Result {
    let path = names::type_path(&message.name);
    writeln!(out, "impl Message for {path} {{")?;
    writeln!(out, "    const ROOT: &'static str = {:?};", names::root(message.short_name()))?;
    let field_names: Vec<&str> = message.fields.iter().map(|field| field.name.as_str()).collect();
    writeln!(out, "    const FIELDS: &'static [&'static str] = &{field_names:?};")?;
    writeln!(out, "    const REQUIRED: u64 = {:#x};", required_bits(message))?;
    index_fn(message, out)?;
    read_fn(message, out)?;
    write_fn(message, out)?;
    writeln!(out, "}}\njson_message!({path});")
}

/// Bit n is set if field n is required.
fn required_bits(message: &Message) -> u64 {
    assert!(message.fields.len() <= 64, "{}: too many fields for the set of those seen", message.name);
    let required =
        message.fields.iter().enumerate().filter(|(_, field)| matches!(field.label, Label::Required));
    required.fold(0, |bits, (index, _)| bits | 1 << index)
}

fn index_fn(message: &Message, out: &mut String) -> std::fmt::Result {
    writeln!(out, "    fn index(name: &str) -> Option<usize> {{\n        match name {{")?;
    for (index, field) in message.fields.iter().enumerate() {
        writeln!(out, "            {:?} => Some({index}),", field.name)?;
    }
    writeln!(out, "            _ => None,\n        }}\n    }}")
}

fn read_fn(message: &Message, out: &mut String) -> std::fmt::Result {
    let signature =
        "fn read<'de, A: MapAccess<'de>>(&mut self, field: usize, map: &mut A) -> Result<bool, A::Error>";
    writeln!(out, "    {signature} {{\n        match field {{")?;
    for (index, field) in message.fields.iter().enumerate() {
        writeln!(out, "            {index} => {},", read_field(message, field))?;
    }
    writeln!(out, "            _ => read::ignored(map),\n        }}\n    }}")
}

fn read_field(message: &Message, field: &Field) -> String {
    let (ident, kind) = (names::field(&field.name), kind(field));
    match &field.label {
        Label::Required => format!("read::required::<{kind}, _, _>(map, &mut self.{ident})"),
        Label::Optional => format!("read::optional::<{kind}, _, _>(map, &mut self.{ident})"),
        Label::Repeated => format!("read::repeated::<{kind}, _>(map, &mut self.{ident})"),
        Label::Map => format!("read::keyed::<{kind}, _>(map, &mut self.{ident})"),
        Label::Oneof(oneof) => {
            let variant = variant(message, oneof, field);
            format!("read::member::<{kind}, _, _>(map, &mut self.{}, {variant})", names::field(oneof))
        }
    }
}

fn write_fn(message: &Message, out: &mut String) -> std::fmt::Result {
    let signature = "fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>";
    writeln!(out, "    {signature} {{")?;
    for field in &message.fields {
        writeln!(out, "        {};", write_field(message, field))?;
    }
    writeln!(out, "        Ok(())\n    }}")
}

fn write_field(message: &Message, field: &Field) -> String {
    let (ident, kind, name) = (names::field(&field.name), kind(field), field.name.as_str());
    if has_checkpoint(message, field) {
        return format!("write::agent_info_with_checkpoint(map, &self.{ident})?");
    }
    match &field.label {
        Label::Required => format!("write::value::<{kind}, _>(map, {name:?}, &self.{ident})?"),
        Label::Optional if field.default.is_some() && !field.deprecated => {
            format!("write::value::<{kind}, _>(map, {name:?}, &{})?", or_default(field, &ident))
        }
        Label::Optional => format!("write::optional::<{kind}, _, _>(map, {name:?}, &self.{ident})?"),
        Label::Repeated if always_written(message, field) => {
            format!("write::list::<{kind}, _>(map, {name:?}, &self.{ident})?")
        }
        Label::Repeated => format!("write::repeated::<{kind}, _>(map, {name:?}, &self.{ident})?"),
        Label::Map => format!("write::keyed::<{kind}, _>(map, {name:?}, &self.{ident})?"),
        Label::Oneof(oneof) => format!(
            "if let Some({}(value)) = &self.{} {{ write::value::<{kind}, _>(map, {name:?}, value)? }}",
            variant(message, oneof, field),
            names::field(oneof),
        ),
    }
}

/// Whether what is in this field is written with the one foreign field.
pub(crate) fn has_checkpoint(message: &Message, field: &Field) -> bool {
    (message.name.as_str(), field.name.as_str()) == AGENT_INFO_WITH_CHECKPOINT
}

/// Whether this list is written even if it is empty.
pub(crate) fn always_written(message: &Message, field: &Field) -> bool {
    let response = message.name.contains(".Response.");
    response && !field.deprecated && LISTS_ALWAYS_WRITTEN.contains(&message.short_name())
}

/// prost's accessor knows the default; its type differs from the field's for text and enums.
fn or_default(field: &Field, ident: &str) -> String {
    match field.kind {
        Kind::Text => format!("self.{ident}().to_owned()"),
        Kind::Enum(_) => format!("(self.{ident}() as i32)"),
        _ => format!("self.{ident}()"),
    }
}

fn variant(message: &Message, oneof: &str, field: &Field) -> String {
    let module = names::module_path(&message.name);
    format!("{module}::{}::{}", names::camel(oneof), names::camel(&field.name))
}

/// The type in `json::kind` that reads and writes the values of a field.
fn kind(field: &Field) -> String {
    match &field.kind {
        Kind::Bool => "kind::Bool".into(),
        Kind::I32 => "kind::Int<i32>".into(),
        Kind::I64 => "kind::Int<i64>".into(),
        Kind::U32 => "kind::Int<u32>".into(),
        Kind::U64 => "kind::Int<u64>".into(),
        Kind::Double => "kind::Double".into(),
        Kind::Text => "kind::Text".into(),
        Kind::Bytes => "kind::Base64".into(),
        Kind::Enum(name) => format!("kind::Name<{}>", names::type_path(name)),
        Kind::Message(name) if name == "google.protobuf.Duration" => {
            "kind::Object<prost_types::Duration>".into()
        }
        Kind::Message(name) => format!("kind::Object<{}>", names::type_path(name)),
    }
}
