//! JSON with places: every value knows its line and the field that it stands in.

use std::{collections::BTreeSet, error::Error, fmt, sync::Arc};

use mesarch_types::{Quantities, Resources, Role};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::resource_json::resources_from_json;

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// The line, from 1.
    pub line: usize,
    /// The field, such as `steps[3].add_agent.resources`; empty for the whole text.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
    /// The JSON and the names are good, only the value is not: where a refusal is expected, this is one.
    pub(super) is_value: bool,
}

impl ReadError {
    pub(super) fn of_whole(message: String) -> Self {
        Self { line: 1, field: String::new(), message, is_value: false }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field.as_str() {
            "" => write!(f, "line {}: {}", self.line, self.message),
            field => write!(f, "line {}: {field}: {}", self.line, self.message),
        }
    }
}

impl Error for ReadError {}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    whole: &'a str,
    raw: &'a RawValue,
    field: String,
}

/// The entries of an object, in their order, with those that repeat.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(entries)
            }
        }
        deserializer.deserialize_map(Collect).map(Self)
    }
}

/// The message without the position that the parser adds: it counts from the value, not from the text.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(before, _)| before.to_owned())
}

impl<'a> Place<'a> {
    fn line(&self) -> usize {
        let offset = (self.raw.get().as_ptr() as usize).saturating_sub(self.whole.as_ptr() as usize);
        self.whole.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }

    /// The value is wrong.
    pub(super) fn wrong(&self, message: impl Into<String>) -> ReadError {
        ReadError { line: self.line(), field: self.field.clone(), message: message.into(), is_value: true }
    }

    /// The same with all that the error says, its causes included.
    pub(super) fn wrong_by(&self, error: &dyn Error) -> ReadError {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            text = format!("{text}: {inner}");
            cause = inner.source();
        }
        self.wrong(text)
    }

    /// The shape is wrong: no scenario, whatever is expected.
    pub(super) fn misshapen(&self, message: impl Into<String>) -> ReadError {
        ReadError { is_value: false, ..self.wrong(message) }
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        serde_json::from_str(self.raw.get()).map_err(|error| self.wrong(message(&error)))
    }

    pub(super) fn value(&self) -> Result<serde_json::Value, ReadError> {
        self.parse()
    }

    pub(super) fn string(&self) -> Result<String, ReadError> {
        self.parse()
    }

    /// A text that is not empty.
    pub(super) fn name(&self) -> Result<Arc<str>, ReadError> {
        let text = self.string()?;
        if text.is_empty() { Err(self.wrong("must not be empty")) } else { Ok(text.into()) }
    }

    pub(super) fn names(&self) -> Result<BTreeSet<Arc<str>>, ReadError> {
        self.list()?.iter().map(Place::name).collect()
    }

    pub(super) fn boolean(&self) -> Result<bool, ReadError> {
        self.parse()
    }

    pub(super) fn number(&self) -> Result<f64, ReadError> {
        self.parse()
    }

    pub(super) fn whole(&self) -> Result<u64, ReadError> {
        self.parse()
    }

    pub(super) fn integer(&self) -> Result<i64, ReadError> {
        self.parse()
    }

    pub(super) fn above_zero(&self) -> Result<u64, ReadError> {
        match self.whole()? {
            0 => Err(self.wrong("must be above zero")),
            more => Ok(more),
        }
    }

    pub(super) fn role(&self) -> Result<Role, ReadError> {
        Role::parse(&self.string()?).map_err(|error| self.wrong_by(&error))
    }

    pub(super) fn roles(&self) -> Result<BTreeSet<Role>, ReadError> {
        self.list()?.iter().map(Place::role).collect()
    }

    pub(super) fn quantities(&self) -> Result<Quantities, ReadError> {
        self.string()?.parse().map_err(|error| self.wrong_by(&error))
    }

    /// A text, an object, or a list of both.
    pub(super) fn resources(&self) -> Result<Resources, ReadError> {
        resources_from_json(&self.value()?).map_err(|message| self.wrong(message))
    }

    pub(super) fn is_null(&self) -> bool {
        self.raw.get() == "null"
    }

    fn inside(&self, raw: &'a RawValue, field: String) -> Self {
        Self { whole: self.whole, raw, field }
    }

    pub(super) fn list(&self) -> Result<Vec<Place<'a>>, ReadError> {
        let list: Vec<&'a RawValue> =
            serde_json::from_str(self.raw.get()).map_err(|error| self.misshapen(message(&error)))?;
        let inside = |(position, raw)| self.inside(raw, format!("{}[{position}]", self.field));
        Ok(list.into_iter().enumerate().map(inside).collect())
    }

    /// The entries of an object whose names are not fixed.
    pub(super) fn entries(&self) -> Result<Vec<(String, Place<'a>)>, ReadError> {
        let Entries(entries) =
            serde_json::from_str(self.raw.get()).map_err(|error| self.misshapen(message(&error)))?;
        let mut seen = BTreeSet::new();
        let mut out = Vec::with_capacity(entries.len());
        for (name, raw) in entries {
            let dot = if self.field.is_empty() { "" } else { "." };
            let place = self.inside(raw, format!("{}{dot}{name}", self.field));
            if !seen.insert(name.clone()) {
                return Err(place.misshapen("is there twice"));
            }
            out.push((name, place));
        }
        Ok(out)
    }

    pub(super) fn fields(&self) -> Result<Fields<'a>, ReadError> {
        Ok(Fields { place: self.clone(), left: self.entries()? })
    }
}

/// The fields of an object with fixed names, each to be asked for once.
pub(super) struct Fields<'a> {
    place: Place<'a>,
    left: Vec<(String, Place<'a>)>,
}

impl<'a> Fields<'a> {
    pub(super) fn of_text(text: &'a str) -> Result<Self, ReadError> {
        let raw: &'a RawValue = serde_json::from_str(text).map_err(|error| ReadError {
            line: error.line().max(1),
            field: String::new(),
            message: message(&error),
            is_value: false,
        })?;
        Place { whole: text, raw, field: String::new() }.fields()
    }

    /// The field, if it is there; `null` counts as there.
    pub(super) fn take(&mut self, name: &str) -> Option<Place<'a>> {
        let position = self.left.iter().position(|(field, _)| field == name)?;
        Some(self.left.remove(position).1)
    }

    /// The field, if it is there and not `null`.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Place<'a>) -> Result<T, ReadError>,
    ) -> Result<Option<T>, ReadError> {
        self.take(name).filter(|place| !place.is_null()).map(|place| read(&place)).transpose()
    }

    pub(super) fn required<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Place<'a>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        match self.take(name) {
            Some(place) => read(&place),
            None => Err(self.place.misshapen(format!("the field {name:?} is missing"))),
        }
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) -> Result<(), ReadError> {
        match self.left.first() {
            Some((_, place)) => Err(place.misshapen("there is no such field")),
            None => Ok(()),
        }
    }
}
