//! The compiled descriptors against the tables of Mesos 1.11's messages and enums, both ways.

use std::collections::BTreeSet;

use mesarch_proto::FILE_DESCRIPTOR_SET;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

const FIELDS: &str = include_str!("data/v1-fields.tsv");
const ENUMS: &str = include_str!("data/v1-enums.tsv");

fn lines(table: &str) -> BTreeSet<String> {
    table.lines().skip(1).map(|line| line.trim_end_matches('\t').to_owned()).collect()
}

fn same(ours: &BTreeSet<String>, theirs: &BTreeSet<String>) {
    let (extra, missing): (Vec<_>, Vec<_>) =
        (ours.difference(theirs).collect(), theirs.difference(ours).collect());
    assert!(extra.is_empty() && missing.is_empty(), "only ours: {extra:#?}\nonly theirs: {missing:#?}");
}

#[derive(Default)]
struct Rows {
    fields: BTreeSet<String>,
    enums: BTreeSet<String>,
}

impl Rows {
    fn compiled() -> Self {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors").file;
        let mut rows = Self::default();
        for file in files.iter().filter(|file| file.package().starts_with("mesos.v1")) {
            file.message_type
                .iter()
                .for_each(|message| rows.message(file.package(), message.name(), message));
            file.enum_type.iter().for_each(|it| rows.enumeration(file.package(), it.name(), it));
        }
        rows
    }

    fn message(&mut self, package: &str, name: &str, message: &DescriptorProto) {
        let is_map =
            |nested: &&DescriptorProto| nested.options.as_ref().is_some_and(|options| options.map_entry());
        let (maps, nested): (Vec<_>, Vec<_>) = message.nested_type.iter().partition(is_map);
        for field in &message.field {
            self.fields.insert(row(package, name, message, &maps, field));
        }
        if message.field.is_empty() {
            self.fields.insert(format!("{package}\t{name}\t\t\t(no fields)"));
        }
        nested.iter().for_each(|it| self.message(package, &format!("{name}.{}", it.name()), it));
        message
            .enum_type
            .iter()
            .for_each(|it| self.enumeration(package, &format!("{name}.{}", it.name()), it));
    }

    fn enumeration(&mut self, package: &str, name: &str, it: &EnumDescriptorProto) {
        for value in &it.value {
            self.enums.insert(format!("{package}\t{name}\t{}\t{}", value.name(), value.number()));
        }
    }
}

fn row(
    package: &str,
    name: &str,
    message: &DescriptorProto,
    maps: &[&DescriptorProto],
    field: &FieldDescriptorProto,
) -> String {
    let entry_of = |map: &&&DescriptorProto| field.type_name() == format!(".{package}.{name}.{}", map.name());
    let map = maps.iter().find(entry_of);
    let label = match (map, field.oneof_index, field.label()) {
        (Some(_), _, _) => "map".to_owned(),
        (None, Some(index), _) => format!("oneof:{}", message.oneof_decl[index as usize].name()),
        (None, None, Label::Required) => "required".to_owned(),
        (None, None, Label::Optional) => "optional".to_owned(),
        (None, None, Label::Repeated) => "repeated".to_owned(),
    };
    let kind =
        map.map_or_else(|| type_name(field), |map| format!("map<string,{}>", type_name(&map.field[1])));
    let deprecated = field.options.as_ref().is_some_and(|options| options.deprecated());
    let cells = [
        package.to_owned(),
        name.to_owned(),
        field.name().to_owned(),
        field.number().to_string(),
        label,
        kind,
        default(field),
        if deprecated { "yes".to_owned() } else { String::new() },
    ];
    cells.join("\t").trim_end_matches('\t').to_owned()
}

fn default(field: &FieldDescriptorProto) -> String {
    match (&field.default_value, field.r#type()) {
        (Some(text), Type::String) => format!("{text:?}"),
        (text, _) => text.clone().unwrap_or_default(),
    }
}

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
        other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    }
}

#[test]
fn every_field_is_as_in_mesos() {
    same(&Rows::compiled().fields, &lines(FIELDS));
}

#[test]
fn every_enum_value_is_as_in_mesos() {
    same(&Rows::compiled().enums, &lines(ENUMS));
}
