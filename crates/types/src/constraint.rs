//! Offer constraints: which agents a framework wants to be offered in a role.
//!
//! Built once at the edge, where the patterns are compiled and bounded; equal if their texts are equal.

mod pattern;

use std::sync::Arc;

use crate::{AttributeValue, view::AgentView};

pub use pattern::{PATTERN_BYTES_MAX, PATTERN_STEPS_MAX, PatternError, TextPattern};

/// Most constraints of one framework in one role, in all groups together.
pub const CONSTRAINTS_PER_ROLE_MAX: usize = 1000;

/// What a constraint looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Selector {
    /// The first attribute of this name.
    Attribute(Arc<str>),
    /// The agent's host name.
    Hostname,
    /// The agent's region; missing where the agent names none.
    Region,
    /// The agent's zone; missing where the agent names none.
    Zone,
}

/// What must hold of it. Texts are compared with texts only: an attribute that is a number or ranges passes every
/// predicate about text. Of a missing one `NotExists` and the `Not…` forms hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is this text.
    TextEquals(Arc<str>),
    /// It is not this text.
    TextNotEquals(Arc<str>),
    /// The pattern matches all of it.
    TextMatches(TextPattern),
    /// The pattern does not match all of it.
    TextNotMatches(TextPattern),
}

/// One condition on agents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraint {
    /// What it looks at.
    pub selector: Selector,
    /// What must hold of it.
    pub predicate: Predicate,
}

/// Why a list of groups constrains nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the positions and bounds that the text names")]
pub enum ConstraintsError {
    /// No group: nothing could ever be offered.
    #[error("groups: must not be empty")]
    NoGroup,
    /// A group without a constraint.
    #[error("groups[{group}]: must not be empty")]
    EmptyGroup { group: usize },
    /// More than [`CONSTRAINTS_PER_ROLE_MAX`].
    #[error("groups: {count} constraints are more than the bound of {CONSTRAINTS_PER_ROLE_MAX}")]
    TooMany { count: usize },
}

/// The constraints of a framework in one role: an agent satisfies them if it satisfies all of any one group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Constraints(Arc<[Box<[Constraint]>]>);

impl Constraints {
    /// Constraints of these groups: at least one, none of them empty, [`CONSTRAINTS_PER_ROLE_MAX`] constraints in all.
    pub fn new(groups: Vec<Vec<Constraint>>) -> Result<Self, ConstraintsError> {
        if groups.is_empty() {
            return Err(ConstraintsError::NoGroup);
        }
        if let Some(group) = groups.iter().position(Vec::is_empty) {
            return Err(ConstraintsError::EmptyGroup { group });
        }
        let count = groups.iter().map(Vec::len).sum();
        if count > CONSTRAINTS_PER_ROLE_MAX {
            return Err(ConstraintsError::TooMany { count });
        }
        Ok(Self(groups.into_iter().map(Vec::into_boxed_slice).collect()))
    }

    /// The groups, in their order.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = &[Constraint]> {
        self.0.iter().map(|group| &**group)
    }

    /// Whether the agent may be offered.
    pub fn admit(&self, agent: &AgentView) -> bool {
        self.0.iter().any(|group| group.iter().all(|constraint| constraint.holds(agent)))
    }
}

/// What a selector finds.
enum Found<'a> {
    Nothing,
    Text(&'a str),
    NoText,
}

impl Selector {
    fn find<'a>(&self, agent: &'a AgentView) -> Found<'a> {
        let text = |text: Option<&'a Arc<str>>| text.map_or(Found::Nothing, |text| Found::Text(text));
        match self {
            Self::Hostname => Found::Text(&agent.hostname),
            Self::Region => text(agent.region.as_ref()),
            Self::Zone => text(agent.zone.as_ref()),
            Self::Attribute(name) => {
                match agent.attributes.iter().find(|attribute| attribute.name == *name) {
                    None => Found::Nothing,
                    Some(first) => match &first.value {
                        AttributeValue::Text(text) => Found::Text(text),
                        AttributeValue::Scalar(_) | AttributeValue::Ranges(_) => Found::NoText,
                    },
                }
            }
        }
    }
}

impl Constraint {
    /// Whether it holds of the agent.
    pub fn holds(&self, agent: &AgentView) -> bool {
        match (&self.predicate, self.selector.find(agent)) {
            (Predicate::Exists, found) => !matches!(found, Found::Nothing),
            (Predicate::NotExists, found) => matches!(found, Found::Nothing),
            (_, Found::NoText) => true,
            (Predicate::TextEquals(_) | Predicate::TextMatches(_), Found::Nothing) => false,
            (Predicate::TextNotEquals(_) | Predicate::TextNotMatches(_), Found::Nothing) => true,
            (Predicate::TextEquals(text), Found::Text(found)) => **text == *found,
            (Predicate::TextNotEquals(text), Found::Text(found)) => **text != *found,
            (Predicate::TextMatches(pattern), Found::Text(found)) => pattern.matches(found),
            (Predicate::TextNotMatches(pattern), Found::Text(found)) => !pattern.matches(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AgentCapabilities, AgentId, Resources, parse_attributes};

    fn agent(attributes: &str, region: Option<&str>) -> AgentView {
        AgentView {
            id: AgentId::from("n1"),
            hostname: "host-1".into(),
            attributes: parse_attributes(attributes).expect("good").into(),
            total: Resources::default(),
            capabilities: AgentCapabilities::all(),
            active: true,
            region: region.map(Arc::from),
            zone: None,
            unavailability: None,
            version: 1,
        }
    }

    #[test]
    fn every_predicate_on_missing_text_and_other_values() {
        let pattern = |text| TextPattern::new(text).expect("good");
        let drive = Selector::Attribute("drive".into());
        let table = [
            (Predicate::Exists, [false, true, true, true]),
            (Predicate::NotExists, [true, false, false, false]),
            (Predicate::TextEquals("ssd".into()), [false, true, false, true]),
            (Predicate::TextNotEquals("ssd".into()), [true, false, true, true]),
            (Predicate::TextMatches(pattern("[s]+d")), [false, true, false, true]),
            (Predicate::TextNotMatches(pattern("[s]+d")), [true, false, true, true]),
        ];
        let agents =
            ["rack:r1", "drive:ssd;drive:hdd", "drive:hdd", "drive:17"].map(|text| agent(text, None));
        for (predicate, expect) in table {
            let constraint = Constraint { selector: drive.clone(), predicate };
            assert_eq!(agents.each_ref().map(|agent| constraint.holds(agent)), expect, "{constraint:?}");
        }
    }

    #[test]
    fn host_region_and_zone_can_be_selected() {
        let here = agent("", Some("eu"));
        let table = [
            (Selector::Hostname, Predicate::TextEquals("host-1".into()), true),
            (Selector::Region, Predicate::TextEquals("eu".into()), true),
            (Selector::Region, Predicate::TextEquals("us".into()), false),
            (Selector::Zone, Predicate::Exists, false),
        ];
        for (selector, predicate, expect) in table {
            assert_eq!(Constraint { selector, predicate }.holds(&here), expect);
        }
    }

    #[test]
    fn all_of_one_group_suffices_and_empty_groups_are_refused() {
        let has = |name: &str| Constraint {
            selector: Selector::Attribute(name.into()),
            predicate: Predicate::Exists,
        };
        let either = Constraints::new(vec![vec![has("a"), has("b")], vec![has("c")]]).expect("good");
        for (attributes, expect) in [("a:1", false), ("a:1;b:1", true), ("c:1", true), ("", false)] {
            assert_eq!(either.admit(&agent(attributes, None)), expect, "{attributes}");
        }
        assert_eq!(Constraints::new(vec![]), Err(ConstraintsError::NoGroup));
        assert_eq!(
            Constraints::new(vec![vec![has("a")], vec![]]),
            Err(ConstraintsError::EmptyGroup { group: 1 })
        );
        let many = vec![vec![has("a"); CONSTRAINTS_PER_ROLE_MAX + 1]];
        assert_eq!(Constraints::new(many), Err(ConstraintsError::TooMany { count: 1001 }));
    }
}
