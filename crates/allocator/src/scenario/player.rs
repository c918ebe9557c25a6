//! Plays a scenario from its first step to its last, or to the first that does not hold.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    Scenario,
    cluster::{Cluster, InverseOffer, Offer, Refused},
    expect::{Mismatch, News},
    step::Entry,
};
use crate::Registry;

/// What one step made. Its [`fmt::Display`] is the line of output: one JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: usize,
    /// Virtual time at its end, in milliseconds.
    pub at_ms: u64,
    /// The offers, in the order in which they were made.
    pub offers: Vec<Offer>,
    /// The inverse offers.
    pub inverse_offers: Vec<InverseOffer>,
}

/// The step that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its number, from 1; 0 if the scenario could not begin.
    pub step: usize,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub got: String,
}

/// How a scenario ended. Its [`fmt::Display`] is `PASS name` or `FAIL name: step N: expected …, got …`, its JSON has the
/// same in fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The scenario's name.
    pub name: String,
    /// What did not hold, if something did not.
    pub failure: Option<Failure>,
}

impl Verdict {
    /// Whether everything held.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }
}

/// Plays a scenario with our own policies; `report` hears of every step that made offers or inverse offers.
pub fn play(scenario: &Scenario, report: &mut dyn FnMut(StepReport)) -> Verdict {
    play_with(&Registry::builtin(), scenario, report)
}

/// The same with the policies of a registry.
pub fn play_with(registry: &Registry, scenario: &Scenario, report: &mut dyn FnMut(StepReport)) -> Verdict {
    let name = scenario.name.clone();
    let policies = match registry.make(&scenario.policy) {
        Ok(policies) => policies,
        Err(error) => {
            let failure =
                Failure { step: 0, expected: "a policy that there is".to_owned(), got: error.to_string() };
            return Verdict { name, failure: Some(failure) };
        }
    };
    let (mut cluster, mut news) = (Cluster::new(scenario, policies), News::default());
    for (entry, step) in scenario.steps.iter().zip(1..) {
        let outcome = enter(entry, &mut cluster, &mut news);
        tell(step, &mut cluster, &mut news, report);
        if let Err(Mismatch { expected, got }) = outcome {
            return Verdict { name, failure: Some(Failure { step, expected, got }) };
        }
    }
    Verdict { name, failure: None }
}

fn enter(entry: &Entry, cluster: &mut Cluster, news: &mut News) -> Result<(), Mismatch> {
    match entry {
        Entry::Do(step) => cluster.step(step).map_err(|Refused(why)| Mismatch {
            expected: "the step to be possible".to_owned(),
            got: format!("a refusal: {why}"),
        }),
        Entry::Refuse(step) => match cluster.step(step) {
            Err(_) => Ok(()),
            Ok(()) => Err(Mismatch { expected: "a refusal".to_owned(), got: "the step was done".to_owned() }),
        },
        Entry::Refused => Ok(()),
        Entry::Expect(expectation) => expectation.check(news, cluster),
    }
}

fn tell(step: usize, cluster: &mut Cluster, news: &mut News, report: &mut dyn FnMut(StepReport)) {
    let offers = std::mem::take(&mut cluster.offers);
    let inverse_offers = std::mem::take(&mut cluster.inverse_offers);
    if offers.is_empty() && inverse_offers.is_empty() {
        return;
    }
    news.offers.extend_from_slice(&offers);
    news.inverse_offers.extend_from_slice(&inverse_offers);
    report(StepReport { step, at_ms: cluster.now.0, offers, inverse_offers });
}

impl Serialize for Offer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Offer", 4)?;
        object.serialize_field("framework", self.framework.as_str())?;
        object.serialize_field("role", self.role.as_str())?;
        object.serialize_field("agent", self.agent.as_str())?;
        object.serialize_field("resources", &self.resources.to_string())?;
        object.end()
    }
}

impl Serialize for InverseOffer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("InverseOffer", 2)?;
        object.serialize_field("framework", self.framework.as_str())?;
        object.serialize_field("agent", self.agent.as_str())?;
        object.end()
    }
}

impl Serialize for StepReport {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("StepReport", 4)?;
        object.serialize_field("step", &self.step)?;
        object.serialize_field("at_ms", &self.at_ms)?;
        object.serialize_field("offers", &self.offers)?;
        object.serialize_field("inverse_offers", &self.inverse_offers)?;
        object.end()
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Verdict", 3)?;
        object.serialize_field("name", &self.name)?;
        object.serialize_field("verdict", if self.passed() { "PASS" } else { "FAIL" })?;
        match &self.failure {
            Some(failure) => object.serialize_field("failure", failure)?,
            None => object.skip_field("failure")?,
        }
        object.end()
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "PASS {}", self.name),
            Some(Failure { step, expected, got }) => {
                write!(f, "FAIL {}: step {step}: expected {expected}, got {got}", self.name)
            }
        }
    }
}
