//! Long refusals: those that outlive a leader.

use mesarch_types::{
    AgentId, FrameworkId, Millis, Role,
    filter::{FILTERS_MAX, RefuseFilter},
    resource::Resources,
};

use imbl::{OrdMap, OrdSet};

/// Refusals up to this long live in the leader only and may be forgotten with it.
pub(crate) const SHORT_REFUSAL_MAX: Millis = Millis::from_secs(10);
/// Ended refusals that one insertion clears away: more than one, so that they never pile up.
const PRUNED_PER_INSERT: usize = 8;

/// A refusal that is replicated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongFilter {
    /// Who refused.
    pub framework: FrameworkId,
    /// For which of its roles.
    pub role: Role,
    /// Whose resources.
    pub agent: AgentId,
    /// What, and until when.
    pub filter: RefuseFilter,
}

/// The serial tells refusals of the same framework, role and agent apart.
pub(crate) type FilterKey = (FrameworkId, Role, AgentId, u64);

/// All long refusals, at most [`FILTERS_MAX`]; the soonest to end gives way. They end by cluster time, without an
/// entry of the log: readers skip those that have ended, and insertions clear them away little by little.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters {
    pub(crate) entries: OrdMap<FilterKey, RefuseFilter>,
    pub(crate) ends: OrdSet<(Millis, FilterKey)>,
    pub(crate) next_serial: u64,
    /// How many gave way. For metrics.
    pub(crate) evicted: u64,
}

impl Filters {
    /// Adds a refusal, or prolongs the same one.
    pub(crate) fn insert(&mut self, key: (FrameworkId, Role, AgentId), filter: RefuseFilter, now: Millis) {
        self.insert_bounded(key, filter, now, FILTERS_MAX);
    }

    fn insert_bounded(
        &mut self,
        (framework, role, agent): (FrameworkId, Role, AgentId),
        filter: RefuseFilter,
        now: Millis,
        filters_max: usize,
    ) {
        self.prune(now);
        let first = (framework, role, agent, 0);
        let key = self.same(&first, &filter.refused).unwrap_or_else(|| {
            let serial = self.next_serial;
            self.next_serial += 1;
            (first.0, first.1, first.2, serial)
        });
        let until = self.entries.get(&key).map_or(filter.until, |old| old.until.max(filter.until));
        self.remove(&key);
        if self.entries.len() >= filters_max
            && let Some((_, soonest)) = self.ends.get_min().cloned()
        {
            self.remove(&soonest);
            self.evicted += 1;
        }
        self.ends.insert((until, key.clone()));
        self.entries.insert(key, RefuseFilter { refused: filter.refused, until });
    }

    fn same(&self, first: &FilterKey, refused: &Resources) -> Option<FilterKey> {
        self.entries
            .range(first.clone()..)
            .take_while(|(key, _)| (&key.0, &key.1, &key.2) == (&first.0, &first.1, &first.2))
            .find(|(_, filter)| filter.refused == *refused)
            .map(|(key, _)| key.clone())
    }

    fn prune(&mut self, now: Millis) {
        for _ in 0..PRUNED_PER_INSERT {
            match self.ends.get_min() {
                Some((until, key)) if *until <= now => {
                    let key = key.clone();
                    self.remove(&key);
                }
                _ => return,
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &FilterKey) {
        if let Some(filter) = self.entries.remove(key) {
            self.ends.remove(&(filter.until, key.clone()));
        }
    }

    /// Drops a framework's refusals: those for `role`, or all.
    pub(crate) fn clear(&mut self, framework: &FrameworkId, role: Option<&Role>) {
        let from = role.cloned().unwrap_or_else(|| Role::from(""));
        let first = (framework.clone(), from, AgentId::from(""), 0);
        let keys: Vec<FilterKey> = self
            .entries
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.0 == *framework && role.is_none_or(|role| key.1 == *role))
            .cloned()
            .collect();
        for key in &keys {
            self.remove(key);
        }
    }

    /// Those that have not ended at `now`, ordered by framework, role and agent.
    pub(crate) fn live(&self, now: Millis) -> impl Iterator<Item = LongFilter> + '_ {
        self.entries.iter().filter(move |(_, filter)| now < filter.until).map(|(key, filter)| LongFilter {
            framework: key.0.clone(),
            role: key.1.clone(),
            agent: key.2.clone(),
            filter: filter.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use mesarch_types::resource::parse_resources;

    use super::*;

    fn key(agent: &str) -> (FrameworkId, Role, AgentId) {
        (FrameworkId::from("f"), Role::from("r"), AgentId::from(agent))
    }

    fn filter(text: &str, until: u64) -> RefuseFilter {
        RefuseFilter { refused: parse_resources(text, &Role::any()).expect("good"), until: Millis(until) }
    }

    fn ends(filters: &Filters, now: u64) -> Vec<(String, u64)> {
        filters.live(Millis(now)).map(|live| (live.agent.to_string(), live.filter.until.0)).collect()
    }

    #[test]
    fn the_soonest_to_end_gives_way() {
        let mut filters = Filters::default();
        for (agent, until) in [("a", 300), ("b", 100), ("c", 200)] {
            filters.insert_bounded(key(agent), filter("cpus:1", until), Millis(0), 2);
        }
        assert_eq!(ends(&filters, 0), [("a".into(), 300), ("c".into(), 200)]);
        assert_eq!(filters.evicted, 1);
    }

    #[test]
    fn the_same_refusal_is_prolonged_and_another_stands_beside_it() {
        let mut filters = Filters::default();
        for (resources, until) in [("cpus:1", 300), ("cpus:1", 200), ("cpus:2", 100)] {
            filters.insert(key("a"), filter(resources, until), Millis(0));
        }
        assert_eq!(ends(&filters, 0), [("a".into(), 300), ("a".into(), 100)]);
        assert_eq!(filters.ends.len(), 2);
    }

    #[test]
    fn ended_ones_are_not_seen_and_then_cleared_away() {
        let mut filters = Filters::default();
        filters.insert(key("a"), filter("cpus:1", 100), Millis(0));
        assert!(ends(&filters, 100).is_empty());
        filters.insert(key("b"), filter("cpus:1", 200), Millis(100));
        assert_eq!(filters.entries.len(), 1);
    }

    #[test]
    fn clearing_is_by_framework_and_role() {
        let mut filters = Filters::default();
        for (framework, role) in [("f", "r"), ("f", "r/s"), ("f", "s"), ("g", "r")] {
            let key = (FrameworkId::from(framework), Role::from(role), AgentId::from("a"));
            filters.insert(key, filter("cpus:1", 100), Millis(0));
        }
        filters.clear(&FrameworkId::from("f"), Some(&Role::from("r")));
        assert_eq!(filters.entries.len(), 3);
        filters.clear(&FrameworkId::from("f"), None);
        assert_eq!(filters.entries.len(), 1);
        assert_eq!(filters.ends.len(), 1);
    }
}
