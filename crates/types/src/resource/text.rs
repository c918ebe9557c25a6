//! The flag text of resources: `cpus(eng):4;mem:1024;ports:[31000-32000];gpus{REV}:1`.

use std::sync::Arc;

use super::{
    Ranges, Reservation, ReservationKind, Resource, ResourceError, Resources, ScalarTextError, Set, Value,
};
use crate::{InvalidRole, Role};

/// Why a text names no resources. Each error holds the piece that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceTextError {
    /// A piece that is not `name:value`.
    #[error("{piece:?} is not of the form name:value")]
    Syntax {
        /// The piece between two semicolons.
        piece: String,
    },
    /// A value that is no amount.
    #[error("the value in {piece:?} is wrong")]
    Scalar {
        /// The piece between two semicolons.
        piece: String,
        /// What is wrong with it.
        #[source]
        source: ScalarTextError,
    },
    /// An amount that is not zero but less than 0.0005.
    #[error("the value in {piece:?} rounds to zero")]
    TooSmall {
        /// The piece between two semicolons.
        piece: String,
    },
    /// Not `[begin-end, …]` with `begin <= end`.
    #[error("{piece:?} holds no valid ranges")]
    Ranges {
        /// The piece between two semicolons.
        piece: String,
    },
    /// Not `{name, …}` with different, non-empty names.
    #[error("{piece:?} holds no valid set")]
    Set {
        /// The piece between two semicolons.
        piece: String,
    },
    /// A role that cannot be.
    #[error("the role in {piece:?} is invalid")]
    Role {
        /// The piece between two semicolons.
        piece: String,
        /// What is wrong with it.
        #[source]
        source: InvalidRole,
    },
    /// A reservation that does not refine the one before it.
    #[error(
        "in {piece:?} a reservation does not refine the one before it by principal and a descendant role"
    )]
    Refinement {
        /// The piece between two semicolons.
        piece: String,
    },
    /// A plain amount was asked for.
    #[error("{piece:?} is not a plain amount")]
    NotAQuantity {
        /// The resource.
        piece: String,
    },
    /// The pieces do not go together.
    #[error(transparent)]
    Resources(#[from] ResourceError),
}

/// Reads resources in Mesos' flag text. What names no role is reserved, statically, to `default_role` (`*`: to nobody).
///
/// `name(role)` is a static and `name(role,principal)` a dynamic reservation (an empty principal is none); further
/// groups refine; `{REV}` marks revocable. Spaces do not matter; line breaks separate like semicolons.
pub fn parse_resources(text: &str, default_role: &Role) -> Result<Resources, ResourceTextError> {
    Ok(Resources::new(parse_list(text, default_role)?)?)
}

/// The pieces as they stand, zeros included.
pub(super) fn parse_list(text: &str, default_role: &Role) -> Result<Vec<Resource>, ResourceTextError> {
    let pieces = text.split([';', '\n']).map(without_spaces).filter(|piece| !piece.is_empty());
    pieces.map(|piece| parse_resource(&piece, default_role)).collect()
}

pub(crate) fn without_spaces(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

fn parse_resource(piece: &str, default_role: &Role) -> Result<Resource, ResourceTextError> {
    let syntax = || ResourceTextError::Syntax { piece: piece.to_owned() };
    let name_end = piece.find(['(', '{', '[', ':']).filter(|end| *end > 0).ok_or_else(syntax)?;
    let (name, mut rest) = piece.split_at(name_end);
    let mut reservations = Vec::new();
    while let Some(group) = rest.strip_prefix('(') {
        let (inside, after) = group.split_once(')').ok_or_else(syntax)?;
        reservations.extend(parse_reservation(inside, piece)?);
        rest = after;
    }
    let revocable = rest.starts_with("{REV}");
    rest = rest.strip_prefix("{REV}").unwrap_or(rest);
    let value = parse_value(rest.strip_prefix(':').ok_or_else(syntax)?, piece)?;
    if piece[name_end..].starts_with([':', '{']) && default_role.as_str() != "*" {
        reservations.push(static_to(default_role.clone()));
    }
    check_refinement(&reservations, piece)?;
    Ok(Resource { reservations: reservations.into(), revocable, ..Resource::new(name, value) })
}

fn static_to(role: Role) -> Reservation {
    Reservation { kind: ReservationKind::Static, role, principal: None, labels: Default::default() }
}

/// `role` or `role,principal`; `None` for `*`, which reserves nothing.
fn parse_reservation(inside: &str, piece: &str) -> Result<Option<Reservation>, ResourceTextError> {
    let (role, principal) = match inside.split_once(',') {
        Some((role, principal)) => (role, Some(principal)),
        None => (inside, None),
    };
    let role =
        Role::parse(role).map_err(|source| ResourceTextError::Role { piece: piece.to_owned(), source })?;
    match (role.as_str(), principal) {
        ("*", None) => Ok(None),
        ("*", Some(_)) => Err(ResourceTextError::Syntax { piece: piece.to_owned() }),
        (_, None) => Ok(Some(static_to(role))),
        (_, Some(principal)) => Ok(Some(Reservation {
            kind: ReservationKind::Dynamic,
            principal: (!principal.is_empty()).then(|| Arc::from(principal)),
            ..static_to(role)
        })),
    }
}

fn check_refinement(reservations: &[Reservation], piece: &str) -> Result<(), ResourceTextError> {
    let refines = |pair: &[Reservation]| {
        pair[1].kind == ReservationKind::Dynamic && pair[0].role.is_ancestor_of(&pair[1].role)
    };
    match reservations.windows(2).all(refines) {
        true => Ok(()),
        false => Err(ResourceTextError::Refinement { piece: piece.to_owned() }),
    }
}

fn parse_value(text: &str, piece: &str) -> Result<Value, ResourceTextError> {
    let piece = || piece.to_owned();
    match text.bytes().next() {
        Some(b'[') => {
            parse_ranges(text).map(Value::Ranges).ok_or_else(|| ResourceTextError::Ranges { piece: piece() })
        }
        Some(b'{') => {
            parse_set(text).map(Value::Set).ok_or_else(|| ResourceTextError::Set { piece: piece() })
        }
        _ => {
            let amount: super::Scalar =
                text.parse().map_err(|source| ResourceTextError::Scalar { piece: piece(), source })?;
            let rounded_away = amount.is_zero() && text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
            match rounded_away {
                true => Err(ResourceTextError::TooSmall { piece: piece() }),
                false => Ok(Value::Scalar(amount)),
            }
        }
    }
}

/// `[1-2,5-9]` without spaces.
pub(crate) fn parse_ranges(text: &str) -> Option<Ranges> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    let pairs: Option<Vec<(u64, u64)>> = inside
        .split(',')
        .filter(|_| !inside.is_empty())
        .map(|range| {
            let (begin, end) = range.split_once('-')?;
            Some((begin.parse().ok()?, end.parse().ok()?))
        })
        .collect();
    Ranges::new(pairs?)
}

/// `{a,b}` without spaces.
fn parse_set(text: &str) -> Option<Set> {
    let inside = text.strip_prefix('{')?.strip_suffix('}')?;
    let names: Vec<&str> = inside.split(',').filter(|_| !inside.is_empty()).collect();
    let set: Set = names.iter().copied().collect();
    (set.count() == names.len() && !names.contains(&"")).then_some(set)
}

#[cfg(test)]
#[path = "text_test.rs"]
mod tests;
