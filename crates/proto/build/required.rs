//! Writes one `Table` per message: which fields must be there, and which lead to messages with such fields.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::names;
use crate::schema::{Field, Kind, Label, Message, Schema};

/// Source text of all tables and of `impl Required` for each message.
pub(crate) fn generate(schema: &Schema) -> String {
    let demanding = demanding(schema);
    let leading = leading_to_maps(schema, &demanding);
    let ids: BTreeMap<&str, usize> =
        schema.messages.iter().enumerate().map(|(id, message)| (message.name.as_str(), id)).collect();
    let mut out = String::new();
    for (id, message) in schema.messages.iter().enumerate() {
        let leads = leading.contains(message.name.as_str());
        table(id, message, leads, &demanding, &ids, &mut out).expect("a String takes everything");
    }
    out
}

/// Names of the messages that have a required field themselves or somewhere below.
fn demanding(schema: &Schema) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for message in &schema.messages {
            let demands = |field: &Field| {
                matches!(field.label, Label::Required)
                    || matches!(&field.kind, Kind::Message(name) if found.contains(name.as_str()))
            };
            if message.fields.iter().any(demands) {
                found.insert(message.name.as_str());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

/// Names of the messages that have, themselves or somewhere below, a map whose values have required fields.
fn leading_to_maps<'a>(schema: &'a Schema, demanding: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    loop {
        let before = found.len();
        for message in &schema.messages {
            let leads = |field: &Field| match &field.kind {
                Kind::Message(name) if matches!(field.label, Label::Map) => demanding.contains(name.as_str()),
                Kind::Message(name) => found.contains(name.as_str()),
                _ => false,
            };
            if message.fields.iter().any(leads) {
                found.insert(message.name.as_str());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn table(
    id: usize,
    message: &Message,
    leads_to_maps: bool,
    demanding: &BTreeSet<&str>,
    ids: &BTreeMap<&str, usize>,
    out: &mut String,
) -> std::fmt::Result {
    writeln!(
        out,
        "static T{id}: Table = Table {{ root: {:?}, leads_to_maps: {leads_to_maps}, fields: &[",
        names::root(message.short_name())
    )?;
    for field in &message.fields {
        let required = matches!(field.label, Label::Required);
        let check = check(field, demanding, ids);
        if required || check != "Check::Nothing" {
            let (name, number) = (&field.name, field.number);
            writeln!(
                out,
                "    Field {{ number: {number}, name: {name:?}, required: {required}, check: {check} }},"
            )?;
        }
    }
    writeln!(out, "] }};")?;
    let path = names::type_path(&message.name);
    writeln!(out, "impl Required for {path} {{ fn table() -> &'static Table {{ &T{id} }} }}")
}

/// What has to be looked at inside the field's value.
fn check(field: &Field, demanding: &BTreeSet<&str>, ids: &BTreeMap<&str, usize>) -> String {
    match (&field.kind, &field.label) {
        (Kind::Enum(name), Label::Required) => format!("Check::Enum({}::is_valid)", names::type_path(name)),
        (Kind::Message(name), label) if demanding.contains(name.as_str()) => {
            let (id, path) = (ids[name.as_str()], names::type_path(name));
            match label {
                Label::Map => {
                    let empty = format!("|| prost::Message::encode_to_vec(&{path}::default())");
                    format!("Check::MapValue(&T{id}, {empty})")
                }
                _ => format!("Check::Message(&T{id})"),
            }
        }
        _ => "Check::Nothing".into(),
    }
}
