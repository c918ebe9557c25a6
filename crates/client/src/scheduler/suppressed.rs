//! Which roles want no offers: every SUBSCRIBE replaces the master's list, so the SDK must remember it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::Options;

/// Shared by the calls that change it and the session that repeats it.
#[derive(Clone, Debug)]
pub(super) struct Suppressed {
    /// What "all roles" means.
    all: Arc<[String]>,
    now: Arc<Mutex<BTreeSet<String>>>,
}

impl Suppressed {
    pub(super) fn new(options: &Options) -> Self {
        let mut all = options.framework.roles.clone();
        if all.is_empty() {
            all.push(options.framework.role.clone().unwrap_or_else(|| "*".to_owned()));
        }
        let now = options.suppressed_roles.iter().cloned().collect();
        Self { all: all.into(), now: Arc::new(Mutex::new(now)) }
    }

    /// A SUPPRESS of these roles was accepted; none named means all.
    pub(super) fn add(&self, roles: &[String]) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.extend(self.or_all(roles).iter().cloned());
    }

    /// A REVIVE of these roles was accepted; none named means all.
    pub(super) fn remove(&self, roles: &[String]) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        for role in self.or_all(roles) {
            now.remove(role);
        }
    }

    /// The roles to name in SUBSCRIBE.
    pub(super) fn roles(&self) -> Vec<String> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn or_all<'a>(&'a self, roles: &'a [String]) -> &'a [String] {
        if roles.is_empty() { &self.all } else { roles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::framework;

    #[test]
    fn what_was_suppressed_and_not_revived_is_repeated() {
        let mut info = framework("f");
        info.roles = vec!["a".to_owned(), "b".to_owned()];
        let suppressed = Suppressed::new(&Options::new(Vec::new(), info));
        suppressed.add(&[]);
        assert_eq!(suppressed.roles(), ["a", "b"]);
        suppressed.remove(&["a".to_owned()]);
        assert_eq!(suppressed.roles(), ["b"]);
        suppressed.remove(&[]);
        assert!(suppressed.roles().is_empty());
    }
}
