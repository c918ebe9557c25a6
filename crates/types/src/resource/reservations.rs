//! The reservations of a resource, one refining the other.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use super::Reservation;

/// A stack of reservations, outermost first. Cheap to clone, for resources are cut and put together all the time; none
/// costs nothing.
#[derive(Clone, Default, Eq)]
pub struct Reservations(Option<Arc<[Reservation]>>);

impl Reservations {
    /// Those without the innermost, and that one; `None` if there is none.
    pub fn split_innermost(&self) -> Option<(Self, &Reservation)> {
        let (innermost, outer) = self.split_last()?;
        Some((outer.iter().cloned().collect(), innermost))
    }
}

impl Deref for Reservations {
    type Target = [Reservation];

    fn deref(&self) -> &[Reservation] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl From<Vec<Reservation>> for Reservations {
    fn from(stack: Vec<Reservation>) -> Self {
        // Never an empty list: equality is that of what is there.
        Self((!stack.is_empty()).then(|| stack.into()))
    }
}

impl FromIterator<Reservation> for Reservations {
    fn from_iter<I: IntoIterator<Item = Reservation>>(stack: I) -> Self {
        stack.into_iter().collect::<Vec<Reservation>>().into()
    }
}

impl PartialEq for Reservations {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Hash for Reservations {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self[..].hash(state);
    }
}

impl Ord for Reservations {
    /// As lists are ordered. They are mostly shared, so the same allocation is tried first.
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (None, None) => Ordering::Equal,
            (Some(mine), Some(theirs)) if Arc::ptr_eq(mine, theirs) => Ordering::Equal,
            _ => self[..].cmp(&other[..]),
        }
    }
}

impl PartialOrd for Reservations {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Reservations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReservationKind, Role};

    fn stack(roles: &[&str]) -> Reservations {
        let reservation = |role: &&str| Reservation {
            kind: ReservationKind::Dynamic,
            role: Role::from(*role),
            principal: None,
            labels: Default::default(),
        };
        roles.iter().map(reservation).collect()
    }

    #[test]
    fn stacks_compare_as_the_lists_that_they_are() {
        let stacks = [stack(&[]), stack(&["a"]), stack(&["a", "a/b"]), stack(&["b"])];
        for (at, left) in stacks.iter().enumerate() {
            for (other, right) in stacks.iter().enumerate() {
                assert_eq!(left.cmp(right), at.cmp(&other), "{left:?} {right:?}");
                assert_eq!(left == right, at == other);
            }
        }
        assert_eq!(stack(&["a"]).cmp(&stack(&["a"])), Ordering::Equal, "also where nothing is shared");
        assert_eq!(Reservations::from(Vec::new()), Reservations::default());
    }

    #[test]
    fn the_innermost_comes_off_first() {
        let refined = stack(&["a", "a/b"]);
        let (outer, innermost) = refined.split_innermost().expect("two");
        assert_eq!((outer, innermost), (stack(&["a"]), &refined[1]));
        assert_eq!(stack(&["a"]).split_innermost().map(|(rest, _)| rest), Some(Reservations::default()));
        assert_eq!(stack(&[]).split_innermost(), None);
    }
}
