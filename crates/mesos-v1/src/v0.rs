//! The v0 JSON that tools read: resources and attributes as numbers and texts, alike at masters and at agents.

use std::collections::BTreeMap;

use mesarch_types::{
    Attribute, AttributeValue,
    resource::{Ranges, Resources, Scalar, Set, Value},
};
use serde::{
    Serialize,
    ser::{SerializeMap, Serializer},
};

/// Resources by kind, reserved and unreserved together: scalars as numbers, ranges and sets as texts. Revocable ones
/// have kinds of their own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Of the kinds that are always there, in that order.
    always: [Scalar; Self::ALWAYS.len()],
    scalars: BTreeMap<String, Scalar>,
    ranges: BTreeMap<String, Ranges>,
    sets: BTreeMap<String, Set>,
}

impl Amounts {
    /// Kinds that are always there, in the order in which they are written.
    pub const ALWAYS: [&str; 4] = ["disk", "mem", "gpus", "cpus"];

    /// All of these together.
    pub fn of<'a>(all: impl IntoIterator<Item = &'a Resources>) -> Self {
        let mut sum = Self::default();
        all.into_iter().for_each(|resources| sum.add(resources));
        sum
    }

    /// These as well.
    pub fn add(&mut self, resources: &Resources) {
        for resource in resources.iter() {
            if let Value::Scalar(amount) = &resource.value
                && !resource.revocable
                && let Some(place) = Self::ALWAYS.iter().position(|name| **name == *resource.name)
            {
                self.always[place] = self.always[place].saturating_add(*amount);
                continue;
            }
            let suffix = if resource.revocable { "_revocable" } else { "" };
            let name = format!("{}{suffix}", resource.name);
            match &resource.value {
                Value::Scalar(amount) => {
                    let sum = self.scalars.entry(name).or_default();
                    *sum = sum.saturating_add(*amount);
                }
                Value::Ranges(ranges) => {
                    let sum = self.ranges.entry(name).or_insert_with(|| Ranges::new([]).unwrap_or_default());
                    *sum = sum.union(ranges);
                }
                Value::Set(set) => {
                    let sum = self.sets.entry(name).or_insert_with(|| [""; 0].into_iter().collect());
                    *sum = sum.union(set);
                }
            }
        }
    }
}

impl Serialize for Amounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, amount) in Self::ALWAYS.iter().zip(&self.always) {
            map.serialize_entry(name, &amount.to_f64())?;
        }
        for (name, amount) in &self.scalars {
            map.serialize_entry(name, &amount.to_f64())?;
        }
        for (name, ranges) in &self.ranges {
            map.serialize_entry(name, &ranges.to_string())?;
        }
        for (name, set) in &self.sets {
            let items: Vec<&str> = set.iter().map(|item| &**item).collect();
            map.serialize_entry(name, &format!("{{{}}}", items.join(", ")))?;
        }
        map.end()
    }
}

/// Attributes by name; the first of a name comes first.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [Attribute]);

impl Serialize for Attributes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for attribute in self.0 {
            match &attribute.value {
                AttributeValue::Scalar(number) => map.serialize_entry(&*attribute.name, &number.to_f64())?,
                AttributeValue::Ranges(ranges) => {
                    map.serialize_entry(&*attribute.name, &ranges.to_string())?
                }
                AttributeValue::Text(text) => map.serialize_entry(&*attribute.name, &**text)?,
            }
        }
        map.end()
    }
}

/// `/help`: endpoints, for programs as they are and for people as a page.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HelpView {
    endpoints: Vec<EndpointView>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
struct EndpointView {
    path: &'static str,
    text: &'static str,
}

impl HelpView {
    /// Of these paths, each with what is there. Neither may have characters that HTML gives a meaning.
    pub fn of(endpoints: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        Self { endpoints: endpoints.map(|(path, text)| EndpointView { path, text }).collect() }
    }

    /// The page, in HTML.
    pub fn page(&self) -> String {
        let row = |one: &EndpointView| format!("<dt><code>{}</code></dt><dd>{}</dd>\n", one.path, one.text);
        let rows: String = self.endpoints.iter().map(row).collect();
        format!("<!DOCTYPE html>\n<title>Help</title>\n<h1>Endpoints</h1>\n<dl>\n{rows}</dl>\n")
    }
}

/// `/system/stats.json`: the machine, as tools read it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SystemView {
    /// Processes that wanted to run, on average over a minute.
    pub avg_load_1min: f64,
    /// The same over five.
    pub avg_load_5min: f64,
    /// The same over fifteen.
    pub avg_load_15min: f64,
    /// Logical processors.
    pub cpus_total: usize,
    /// Of memory.
    pub mem_total_bytes: u64,
    /// Of memory, not used by anything.
    pub mem_free_bytes: u64,
}
