//! What the generators need to know about the messages of one package and those below it.

use std::collections::BTreeMap;

use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use crate::names;

/// All messages and enums, in the order of the files.
pub(crate) struct Schema {
    pub(crate) messages: Vec<Message>,
    /// Rust paths.
    pub(crate) enums: Vec<String>,
}

pub(crate) struct Message {
    /// Full proto name without leading dot.
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) number: i32,
    pub(crate) label: Label,
    pub(crate) kind: Kind,
    /// As the `.proto` file says it, if it does.
    pub(crate) default: Option<String>,
    pub(crate) deprecated: bool,
}

pub(crate) enum Label {
    Required,
    Optional,
    Repeated,
    /// With string keys; the kind is that of the values.
    Map,
    /// A member of the oneof of this name.
    Oneof(String),
}

pub(crate) enum Kind {
    Bool,
    I32,
    I64,
    U32,
    U64,
    Double,
    Text,
    Bytes,
    /// Full proto name.
    Enum(String),
    /// Full proto name.
    Message(String),
}

impl Schema {
    /// Collects `package` and the packages below it.
    pub(crate) fn of(descriptors: &FileDescriptorSet, package: &str) -> Self {
        let mut schema = Self { messages: Vec::new(), enums: Vec::new() };
        let below = format!("{package}.");
        for file in &descriptors.file {
            if file.package() == package || file.package().starts_with(&below) {
                file.message_type.iter().for_each(|message| schema.add(file.package(), message));
                file.enum_type.iter().for_each(|it| schema.add_enum(file.package(), it.name()));
            }
        }
        schema
    }

    fn add(&mut self, outer: &str, message: &DescriptorProto) {
        let name = format!("{outer}.{}", message.name());
        let maps = map_entries(&name, message);
        let fields = message.field.iter().map(|field| Field::of(field, message, &maps)).collect();
        for nested in message.nested_type.iter().filter(|nested| !is_map_entry(nested)) {
            self.add(&name, nested);
        }
        message.enum_type.iter().for_each(|it| self.add_enum(&name, it.name()));
        self.messages.push(Message { name, fields });
    }

    fn add_enum(&mut self, outer: &str, name: &str) {
        self.enums.push(names::type_path(&format!("{outer}.{name}")));
    }
}

impl Message {
    /// Name without package and enclosing messages.
    pub(crate) fn short_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

impl Field {
    fn of(field: &FieldDescriptorProto, message: &DescriptorProto, maps: &BTreeMap<String, Kind>) -> Self {
        let options = field.options.clone().unwrap_or_default();
        let map_value = maps.get(field.type_name());
        let label = match (map_value, field.oneof_index) {
            (Some(_), _) => Label::Map,
            (None, Some(index)) => Label::Oneof(message.oneof_decl[index as usize].name().to_owned()),
            (None, None) => Label::of(field.label()),
        };
        Self {
            name: field.name().to_owned(),
            number: field.number(),
            label,
            kind: map_value.map_or_else(|| Kind::of(field), Kind::copy),
            default: field.default_value.clone(),
            deprecated: options.deprecated(),
        }
    }
}

impl Label {
    fn of(label: ProtoLabel) -> Self {
        match label {
            ProtoLabel::Required => Self::Required,
            ProtoLabel::Optional => Self::Optional,
            ProtoLabel::Repeated => Self::Repeated,
        }
    }
}

impl Kind {
    fn of(field: &FieldDescriptorProto) -> Self {
        let type_name = || field.type_name().trim_start_matches('.').to_owned();
        match field.r#type() {
            Type::Bool => Self::Bool,
            Type::Int32 => Self::I32,
            Type::Int64 => Self::I64,
            Type::Uint32 => Self::U32,
            Type::Uint64 => Self::U64,
            Type::Double => Self::Double,
            Type::String => Self::Text,
            Type::Bytes => Self::Bytes,
            Type::Enum => Self::Enum(type_name()),
            Type::Message => Self::Message(type_name()),
            other => panic!("{}: the JSON form of {other:?} is not defined", field.name()),
        }
    }

    fn copy(&self) -> Self {
        match self {
            Self::Text => Self::Text,
            Self::Message(name) => Self::Message(name.clone()),
            _ => panic!("maps of numbers are not used by Mesos"),
        }
    }
}

/// Full name, with leading dot, of each map entry type of a message → kind of its values.
fn map_entries(name: &str, message: &DescriptorProto) -> BTreeMap<String, Kind> {
    let entries = message.nested_type.iter().filter(|nested| is_map_entry(nested));
    entries.map(|entry| (format!(".{name}.{}", entry.name()), Kind::of(&entry.field[1]))).collect()
}

fn is_map_entry(message: &DescriptorProto) -> bool {
    message.options.as_ref().is_some_and(|options| options.map_entry())
}
