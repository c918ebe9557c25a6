//! Slots that are found by name, and numbers for them.

use std::{borrow::Borrow, fmt, hash::Hash, marker::PhantomData, ops};

use foldhash::fast::FixedState;

/// The number of a slot; a type for each kind of slot.
pub(crate) trait Slot: Copy {
    fn new(number: u32) -> Self;
    fn number(self) -> u32;
}

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(pub(crate) u32);

        impl Slot for $name {
            fn new(number: u32) -> Self {
                Self(number)
            }

            fn number(self) -> u32 {
                self.0
            }
        }
    };
}

slot!(
    /// An agent's slot.
    AgentIx
);
slot!(
    /// A framework's slot.
    FrameworkIx
);
slot!(
    /// The slot of a framework in one of its roles.
    ClientIx
);
slot!(
    /// The slot of a role's quota.
    QuotaIx
);
slot!(
    /// A node of the tree of roles.
    NodeIx
);

/// From names to slots. An unordered map behind a type without iteration, so that its order cannot leak.
#[expect(clippy::disallowed_types, reason = "never iterated, fixed hash keys")]
pub(crate) struct Index<K, S>(std::collections::HashMap<K, S, FixedState>);

impl<K: Eq + Hash, S: Slot> Index<K, S> {
    pub(crate) fn get<Q: Eq + Hash + ?Sized>(&self, name: &Q) -> Option<S>
    where
        K: Borrow<Q>,
    {
        self.0.get(name).copied()
    }

    pub(crate) fn insert(&mut self, name: K, slot: S) {
        self.0.insert(name, slot);
    }

    pub(crate) fn remove<Q: Eq + Hash + ?Sized>(&mut self, name: &Q)
    where
        K: Borrow<Q>,
    {
        self.0.remove(name);
    }
}

impl<K, S> Default for Index<K, S> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<K, S> fmt::Debug for Index<K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({})", self.0.len())
    }
}

/// Slots, numbered densely; numbers are used again after a removal.
#[derive(Debug)]
pub(crate) struct Slab<S, T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    numbers: PhantomData<S>,
}

impl<S: Slot, T> Slab<S, T> {
    pub(crate) fn insert(&mut self, value: T) -> S {
        if let Some(number) = self.free.pop() {
            self.slots[number as usize] = Some(value);
            return S::new(number);
        }
        self.slots.push(Some(value));
        S::new((self.slots.len() - 1) as u32)
    }

    pub(crate) fn remove(&mut self, slot: S) -> Option<T> {
        let value = self.slots.get_mut(slot.number() as usize)?.take();
        if value.is_some() {
            self.free.push(slot.number());
        }
        value
    }

    pub(crate) fn get(&self, slot: S) -> Option<&T> {
        self.slots.get(slot.number() as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: S) -> Option<&mut T> {
        self.slots.get_mut(slot.number() as usize)?.as_mut()
    }

    pub(crate) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (S, &mut T)> {
        self.slots.iter_mut().zip(0u32..).filter_map(|(slot, number)| Some((S::new(number), slot.as_mut()?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (S, &T)> {
        self.slots.iter().zip(0u32..).filter_map(|(slot, number)| Some((S::new(number), slot.as_ref()?)))
    }
}

impl<S, T> Default for Slab<S, T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), numbers: PhantomData }
    }
}

impl<S: Slot, T> ops::Index<S> for Slab<S, T> {
    type Output = T;

    fn index(&self, slot: S) -> &T {
        self.slots[slot.number() as usize].as_ref().expect("numbers are dropped together with their slot")
    }
}

impl<S: Slot, T> ops::IndexMut<S> for Slab<S, T> {
    fn index_mut(&mut self, slot: S) -> &mut T {
        self.slots[slot.number() as usize].as_mut().expect("numbers are dropped together with their slot")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let mut slab: Slab<AgentIx, &str> = Slab::default();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!((slab.remove(a), slab.get(a), slab.count()), (None, None, 1));
        assert_eq!(slab.insert("c"), a);
        assert_eq!((slab[a], slab[b]), ("c", "b"));
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), ["c", "b"]);
    }

    #[test]
    fn names_are_found_by_their_text() {
        let mut index: Index<mesarch_types::Role, NodeIx> = Index::default();
        index.insert(mesarch_types::Role::from("eng"), NodeIx(7));
        assert_eq!(index.get("eng"), Some(NodeIx(7)));
        index.remove("eng");
        assert_eq!(index.get("eng"), None);
    }
}
