//! Scenarios: what-if plays of the allocator in virtual time, and its conformance tests.
//!
//! A scenario is a JSON text that says step by step what happens to a cluster and what must be offered then. [`read`]
//! makes typed steps of it, [`play`] drives a real [`Allocator`](crate::Allocator) through them and tells the offers as
//! they are made. Nothing here knows files, clocks or terminals.
//!
//! A refusal of a step (too little offered, a quota below its guarantee …) is an outcome that a scenario can expect. A text
//! that is no scenario is a [`ReadError`], with the line and the field.

mod cluster;
mod expect;
mod json;
mod operations;
mod player;
mod resource_json;
mod step;

use std::{collections::BTreeSet, sync::Arc};

use mesarch_types::{Millis, Quantities};

pub use cluster::{InverseOffer, Offer};
pub use json::ReadError;
pub use player::{Failure, StepReport, Verdict, play, play_with};

use json::{Fields, Place};
use step::Entry;

/// Most steps of one scenario.
pub const STEPS_MAX: usize = 100_000;
/// Most bytes of a scenario's text.
pub const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A scenario that was read.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What holds, in a short sentence.
    pub name: String,
    /// The name of the policy; `drf` unless it says otherwise.
    pub policy: String,
    /// The time between two ticks; a second unless it says otherwise.
    pub allocation_interval: Millis,
    options: Options,
    steps: Vec<Entry>,
}

impl Scenario {
    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }
}

/// What may be chosen beside policy and interval; the defaults are those of [`Config`](crate::Config).
#[derive(Clone, Debug, Default)]
struct Options {
    min_allocatable: Option<Vec<Quantities>>,
    excluded: BTreeSet<Arc<str>>,
    filter_gpus: Option<bool>,
    region: Option<Arc<str>>,
    seed: u64,
}

/// Reads a scenario of at most [`TEXT_BYTES_MAX`] bytes and [`STEPS_MAX`] steps.
pub fn read(text: &str) -> Result<Scenario, ReadError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ReadError::of_whole(format!("more than {TEXT_BYTES_MAX} bytes")));
    }
    let mut fields = Fields::of_text(text)?;
    let name = fields.required("name", Place::string)?;
    let policy = fields.optional("policy", Place::string)?.unwrap_or_else(|| "drf".to_owned());
    let interval = fields.optional("allocation_interval_ms", Place::above_zero)?.unwrap_or(1000);
    let options = fields.optional("options", read_options)?.unwrap_or_default();
    let steps = fields.required("steps", |place| {
        let list = place.list()?;
        if list.len() > STEPS_MAX {
            return Err(place.wrong(format!("more than {STEPS_MAX} steps")));
        }
        list.iter().map(Entry::read).collect::<Result<Vec<Entry>, ReadError>>()
    })?;
    fields.finish()?;
    Ok(Scenario { name, policy, allocation_interval: Millis(interval), options, steps })
}

fn read_options(place: &Place<'_>) -> Result<Options, ReadError> {
    let mut fields = place.fields()?;
    let options = Options {
        min_allocatable: fields.optional("min_allocatable_resources", |place| {
            let texts = place.string()?;
            let alternatives = texts.split('|').filter(|text| !text.trim().is_empty());
            alternatives.map(|text| text.parse().map_err(|error| place.wrong_by(&error))).collect()
        })?,
        excluded: fields.optional("fair_sharing_excluded_resource_names", Place::names)?.unwrap_or_default(),
        filter_gpus: fields.optional("filter_gpu_resources", Place::boolean)?,
        region: fields.optional("region", Place::name)?,
        seed: fields.optional("seed", Place::whole)?.unwrap_or(0),
    };
    fields.finish()?;
    Ok(options)
}
