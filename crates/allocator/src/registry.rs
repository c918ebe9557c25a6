//! Policies by name, ours and those of others.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{Drf, Policies, StrictPriority, WeightedRandom};

/// Makes a policy.
type Constructor = Arc<dyn Fn() -> Policies + Send + Sync>;

/// From the name that operators choose to the policy. A binary with policies of its own registers them here and hands the
/// registry to the master.
#[derive(Clone)]
pub struct Registry(BTreeMap<Arc<str>, Constructor>);

/// No policy of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy: there is no {name:?}, only {known}")]
pub struct UnknownPolicy {
    /// What was asked for.
    pub name: String,
    /// The names there are, in order, with commas.
    pub known: String,
}

/// A policy of this name is there already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy: the name {name:?} is taken")]
pub struct NameTaken {
    /// The name.
    pub name: String,
}

impl Registry {
    /// Our own: `drf` (the default), `priority` and `random`.
    pub fn builtin() -> Self {
        let mut registry = Self(BTreeMap::new());
        registry.put("drf", || Policies::both(Drf));
        registry.put("priority", || Policies::both(StrictPriority));
        registry.put("random", || Policies::both(WeightedRandom));
        registry
    }

    /// Adds a policy under a new name.
    pub fn register(
        &mut self,
        name: &str,
        constructor: impl Fn() -> Policies + Send + Sync + 'static,
    ) -> Result<(), NameTaken> {
        if self.0.contains_key(name) {
            return Err(NameTaken { name: name.to_owned() });
        }
        self.put(name, constructor);
        Ok(())
    }

    fn put(&mut self, name: &str, constructor: impl Fn() -> Policies + Send + Sync + 'static) {
        self.0.insert(name.into(), Arc::new(constructor));
    }

    /// The policy of this name.
    pub fn make(&self, name: &str) -> Result<Policies, UnknownPolicy> {
        let unknown =
            || UnknownPolicy { name: name.to_owned(), known: self.names().collect::<Vec<_>>().join(", ") };
        self.0.get(name).map(|constructor| constructor()).ok_or_else(unknown)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }
}

/// Two registries are equal if they know the same names.
impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        self.names().eq(other.names())
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::builtin()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_added_once_and_listed() {
        let mut registry = Registry::builtin();
        assert!(registry.make("drf").is_ok());
        assert_eq!(registry.register("mine", Policies::default), Ok(()));
        assert!(registry.register("drf", Policies::default).is_err());
        assert_eq!(registry.names().collect::<Vec<_>>(), ["drf", "mine", "priority", "random"]);
        let error = registry.make("fifo").expect_err("unknown").to_string();
        assert_eq!(error, "policy: there is no \"fifo\", only drf, mine, priority, random");
    }
}
