//! Offer constraints and smallest offers, judged here: what is stored is in order.

use std::{collections::BTreeMap, sync::Arc};

use mesarch_proto::mesos::v1::{
    OfferFilters,
    scheduler::{
        AttributeConstraint, OfferConstraints,
        attribute_constraint::{
            self, predicate::Predicate as V1Predicate, selector::PseudoattributeType,
            selector::Selector as V1Selector,
        },
        offer_constraints::{RoleConstraints, role_constraints},
    },
};
use mesarch_types::{
    Constraint, Constraints, ConstraintsError, InvalidRole, PatternError, Predicate, Quantities, Role,
    Scalar, Selector, TextPattern,
};

/// Most roles that one framework may have rules for.
const ROLES_MAX: usize = 1000;
/// Most alternatives of smallest offers in one role.
const ALTERNATIVES_MAX: usize = 100;

/// Why a framework's rules about its offers cannot be used. Names the field and the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the role, the position and the bound that the text names")]
pub enum InvalidRules {
    #[error("{field}: {count} roles are more than the bound of {ROLES_MAX}")]
    Roles { field: &'static str, count: usize },
    #[error("{field}[{role:?}]: {error}")]
    Role { field: &'static str, role: String, error: InvalidRole },
    #[error("offer_constraints[{role}].{error}")]
    Constraints { role: Role, error: ConstraintsError },
    #[error("offer_constraints[{role}].groups[{group}][{constraint}].{problem}")]
    Constraint { role: Role, group: usize, constraint: usize, problem: ConstraintProblem },
    #[error(
        "offer_filters[{role}].min_allocatable_resources: {count} alternatives are more than the bound of {ALTERNATIVES_MAX}"
    )]
    Alternatives { role: Role, count: usize },
    #[error("offer_filters[{role}].min_allocatable_resources[{position}]: must name at least one quantity")]
    NoQuantity { role: Role, position: usize },
    #[error(
        "offer_filters[{role}].min_allocatable_resources[{position}].{kind}: must be a finite number of at least zero"
    )]
    Quantity { role: Role, position: usize, kind: String },
}

/// What is wrong with one constraint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the text says it")]
pub enum ConstraintProblem {
    #[error("selector: must be an attribute name or a known pseudo attribute")]
    Selector,
    #[error("predicate: must be one that is known")]
    Predicate,
    #[error("predicate.{0}")]
    Pattern(PatternError),
}

/// A framework's offer constraints, by role; patterns are compiled and bounded here.
pub fn constraints_from_v1(message: &OfferConstraints) -> Result<BTreeMap<Role, Constraints>, InvalidRules> {
    let field = "offer_constraints";
    let roles = &message.role_constraints;
    check_count(field, roles.len())?;
    let one = |(role, constraints): (&String, &_)| {
        let role = parse_role(field, role)?;
        let constraints = of_role(&role, constraints)?;
        Ok((role, constraints))
    };
    roles.iter().map(one).collect()
}

fn of_role(role: &Role, message: &RoleConstraints) -> Result<Constraints, InvalidRules> {
    let mut groups = Vec::with_capacity(message.groups.len());
    for (group, members) in message.groups.iter().enumerate() {
        let constraint = |(constraint, one): (usize, &AttributeConstraint)| {
            let wrong = |problem| InvalidRules::Constraint { role: role.clone(), group, constraint, problem };
            let selector = selector(&one.selector).ok_or(wrong(ConstraintProblem::Selector))?;
            Ok(Constraint { selector, predicate: predicate(&one.predicate).map_err(wrong)? })
        };
        let members = members.attribute_constraints.iter().enumerate().map(constraint);
        groups.push(members.collect::<Result<Vec<_>, InvalidRules>>()?);
    }
    Constraints::new(groups).map_err(|error| InvalidRules::Constraints { role: role.clone(), error })
}

fn selector(message: &attribute_constraint::Selector) -> Option<Selector> {
    match message.selector.as_ref()? {
        V1Selector::AttributeName(name) => Some(Selector::Attribute(name.as_str().into())),
        V1Selector::PseudoattributeType(number) => match PseudoattributeType::try_from(*number).ok()? {
            PseudoattributeType::Hostname => Some(Selector::Hostname),
            PseudoattributeType::Region => Some(Selector::Region),
            PseudoattributeType::Zone => Some(Selector::Zone),
            PseudoattributeType::Unknown => None,
        },
    }
}

fn predicate(message: &attribute_constraint::Predicate) -> Result<Predicate, ConstraintProblem> {
    let pattern = |regex: &str| TextPattern::new(regex).map_err(ConstraintProblem::Pattern);
    Ok(match message.predicate.as_ref().ok_or(ConstraintProblem::Predicate)? {
        V1Predicate::Exists(_) => Predicate::Exists,
        V1Predicate::NotExists(_) => Predicate::NotExists,
        V1Predicate::TextEquals(text) => Predicate::TextEquals(text.value.as_str().into()),
        V1Predicate::TextNotEquals(text) => Predicate::TextNotEquals(text.value.as_str().into()),
        V1Predicate::TextMatches(text) => Predicate::TextMatches(pattern(&text.regex)?),
        V1Predicate::TextNotMatches(text) => Predicate::TextNotMatches(pattern(&text.regex)?),
    })
}

/// The same the other way, for those who read what a framework asked for.
pub fn constraints_to_v1(rules: &BTreeMap<Role, Constraints>) -> OfferConstraints {
    let role = |(role, constraints): (&Role, &Constraints)| {
        let groups = constraints.groups().map(|group| role_constraints::Group {
            attribute_constraints: group.iter().map(constraint_to_v1).collect(),
        });
        (role.to_string(), RoleConstraints { groups: groups.collect() })
    };
    OfferConstraints { role_constraints: rules.iter().map(role).collect() }
}

fn constraint_to_v1(constraint: &Constraint) -> AttributeConstraint {
    use attribute_constraint::predicate as v1;
    let pseudo = |pseudo: PseudoattributeType| V1Selector::PseudoattributeType(pseudo as i32);
    let selector = match &constraint.selector {
        Selector::Attribute(name) => V1Selector::AttributeName(name.to_string()),
        Selector::Hostname => pseudo(PseudoattributeType::Hostname),
        Selector::Region => pseudo(PseudoattributeType::Region),
        Selector::Zone => pseudo(PseudoattributeType::Zone),
    };
    let predicate = match &constraint.predicate {
        Predicate::Exists => V1Predicate::Exists(v1::Exists {}),
        Predicate::NotExists => V1Predicate::NotExists(v1::NotExists {}),
        Predicate::TextEquals(text) => V1Predicate::TextEquals(v1::TextEquals { value: text.to_string() }),
        Predicate::TextNotEquals(text) => {
            V1Predicate::TextNotEquals(v1::TextNotEquals { value: text.to_string() })
        }
        Predicate::TextMatches(pattern) => {
            V1Predicate::TextMatches(v1::TextMatches { regex: pattern.as_str().to_owned() })
        }
        Predicate::TextNotMatches(pattern) => {
            V1Predicate::TextNotMatches(v1::TextNotMatches { regex: pattern.as_str().to_owned() })
        }
    };
    AttributeConstraint {
        selector: attribute_constraint::Selector { selector: Some(selector) },
        predicate: attribute_constraint::Predicate { predicate: Some(predicate) },
    }
}

/// A framework's own smallest offers, by role. A role whose filters do not speak of them is left out.
pub fn min_allocatable_from_v1(
    filters: &BTreeMap<String, OfferFilters>,
) -> Result<BTreeMap<Role, Vec<Quantities>>, InvalidRules> {
    let field = "offer_filters";
    check_count(field, filters.len())?;
    let mut all = BTreeMap::new();
    for (role, filters) in filters {
        let role = parse_role(field, role)?;
        let Some(least) = &filters.min_allocatable_resources else { continue };
        let count = least.quantities.len();
        if count > ALTERNATIVES_MAX {
            return Err(InvalidRules::Alternatives { role, count });
        }
        let alternatives = least.quantities.iter().enumerate();
        let alternatives = alternatives.map(|(position, one)| {
            let amounts = one.quantities.iter().map(|(kind, scalar)| (kind.as_str(), scalar.value));
            quantities(&role, position, amounts)
        });
        let alternatives = alternatives.collect::<Result<_, _>>()?;
        all.insert(role, alternatives);
    }
    Ok(all)
}

fn quantities<'a>(
    role: &Role,
    position: usize,
    amounts: impl Iterator<Item = (&'a str, f64)>,
) -> Result<Quantities, InvalidRules> {
    let amount = |(kind, value): (&str, f64)| match Scalar::from_f64(value).filter(|amount| amount.0 >= 0) {
        Some(amount) => Ok((Arc::from(kind), amount)),
        None => Err(InvalidRules::Quantity { role: role.clone(), position, kind: kind.to_owned() }),
    };
    let amounts = amounts.map(amount).collect::<Result<Vec<_>, _>>()?;
    match amounts.is_empty() {
        true => Err(InvalidRules::NoQuantity { role: role.clone(), position }),
        false => Ok(amounts.into_iter().collect()),
    }
}

fn check_count(field: &'static str, count: usize) -> Result<(), InvalidRules> {
    if count > ROLES_MAX { Err(InvalidRules::Roles { field, count }) } else { Ok(()) }
}

fn parse_role(field: &'static str, role: &str) -> Result<Role, InvalidRules> {
    Role::parse(role).map_err(|error| InvalidRules::Role { field, role: role.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraints(json: &str) -> Result<BTreeMap<Role, Constraints>, InvalidRules> {
        let message: OfferConstraints = serde_json::from_str(json).expect("a message");
        constraints_from_v1(&message)
    }

    fn of_eng(constraint: &str) -> String {
        format!(
            r#"{{"role_constraints":{{"eng":{{"groups":[{{"attribute_constraints":[{constraint}]}}]}}}}}}"#
        )
    }

    #[test]
    fn every_selector_and_predicate_is_read() {
        let rack = Selector::Attribute("rack".into());
        let pattern = TextPattern::new("r[0-9]+").expect("good");
        let table = [
            (
                r#"{"selector":{"attribute_name":"rack"},"predicate":{"exists":{}}}"#,
                rack.clone(),
                Predicate::Exists,
            ),
            (
                r#"{"selector":{"pseudoattribute_type":"HOSTNAME"},"predicate":{"not_exists":{}}}"#,
                Selector::Hostname,
                Predicate::NotExists,
            ),
            (
                r#"{"selector":{"pseudoattribute_type":"REGION"},"predicate":{"text_equals":{"value":"eu"}}}"#,
                Selector::Region,
                Predicate::TextEquals("eu".into()),
            ),
            (
                r#"{"selector":{"pseudoattribute_type":"ZONE"},"predicate":{"text_not_equals":{"value":"a"}}}"#,
                Selector::Zone,
                Predicate::TextNotEquals("a".into()),
            ),
            (
                r#"{"selector":{"attribute_name":"rack"},"predicate":{"text_matches":{"regex":"r[0-9]+"}}}"#,
                rack.clone(),
                Predicate::TextMatches(pattern.clone()),
            ),
            (
                r#"{"selector":{"attribute_name":"rack"},"predicate":{"text_not_matches":{"regex":"r[0-9]+"}}}"#,
                rack,
                Predicate::TextNotMatches(pattern),
            ),
        ];
        for (json, selector, predicate) in table {
            let read = constraints(&of_eng(json)).expect(json);
            let expect = Constraints::new(vec![vec![Constraint { selector, predicate }]]).expect("one");
            assert_eq!(read, [(Role::from("eng"), expect)].into());
            assert_eq!(constraints_from_v1(&constraints_to_v1(&read)), Ok(read));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        let table = [
            (
                r#"{"role_constraints":{"eng":{}}}"#.to_owned(),
                "offer_constraints[eng].groups: must not be empty",
            ),
            (of_eng(""), "offer_constraints[eng].groups[0]: must not be empty"),
            (r#"{"role_constraints":{"a b":{}}}"#.to_owned(), "offer_constraints[\"a b\"]: "),
            (
                of_eng(r#"{"selector":{"pseudoattribute_type":"UNKNOWN"},"predicate":{"exists":{}}}"#),
                "offer_constraints[eng].groups[0][0].selector",
            ),
            (
                of_eng(r#"{"selector":{"attribute_name":"a"},"predicate":{}}"#),
                "offer_constraints[eng].groups[0][0].predicate",
            ),
            (
                of_eng(
                    r#"{"selector":{"attribute_name":"a"},"predicate":{"text_matches":{"regex":"a{101}"}}}"#,
                ),
                "groups[0][0].predicate.regex: \"a{101}\" compiles to",
            ),
        ];
        for (json, expect) in table {
            let error = constraints(&json).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        }
    }

    fn least(json: &str) -> Result<BTreeMap<Role, Vec<Quantities>>, InvalidRules> {
        let filters: OfferFilters = serde_json::from_str(json).expect("a message");
        min_allocatable_from_v1(&[("eng".to_owned(), filters)].into())
    }

    #[test]
    fn smallest_offers_are_alternatives_and_an_empty_list_takes_anything() {
        let one = r#"{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":0.5}}},
            {"quantities":{"mem":{"value":32},"gpus":{"value":0}}}]}}"#;
        let expect: Vec<Quantities> =
            vec!["cpus:0.5".parse().expect("good"), "mem:32;gpus:0".parse().expect("good")];
        assert_eq!(least(one), Ok([(Role::from("eng"), expect)].into()));
        let anything = least(r#"{"min_allocatable_resources":{}}"#);
        assert_eq!(anything, Ok([(Role::from("eng"), Vec::new())].into()));
        assert_eq!(least("{}"), Ok(BTreeMap::new()));
        for (json, expect) in [
            (r#"{"min_allocatable_resources":{"quantities":[{}]}}"#, "[0]: must name at least one quantity"),
            (
                r#"{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":-1}}}]}}"#,
                "[0].cpus: ",
            ),
            (
                r#"{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":1e300}}}]}}"#,
                "[0].cpus: ",
            ),
        ] {
            let error = least(json).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
