//! The kinds of scalars, numbered, and how much of each the cluster has.

use std::{collections::BTreeSet, sync::Arc};

use mesarch_types::{Quantities, Resource, Resources, Scalar};

use crate::{eligible::is_enough, share::Usage};

/// An amount of one kind: its number and thousandths.
pub(crate) type Amount = (usize, i64);

/// Resources with what a run wants to know about them, found out once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stock {
    pub(crate) resources: Resources,
    pub(crate) facts: Arc<Facts>,
}

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Unreserved, neither revocable nor shared: anyone can be offered all of it.
    pub(crate) plain: bool,
    pub(crate) all_revocable: bool,
    /// Something of it is shared.
    pub(crate) shares: bool,
    /// Holds one of the cluster's smallest offers.
    pub(crate) enough: bool,
    /// Without shared resources.
    pub(crate) amounts: Vec<Amount>,
}

impl Stock {
    fn new(resources: Resources, least: &[Quantities], amounts: Vec<Amount>) -> Self {
        let is_plain =
            |resource: &Resource| resource.reservations.is_empty() && !resource.revocable && !resource.shared;
        let facts = Facts {
            plain: resources.iter_counted().all(|(resource, _)| is_plain(resource)),
            all_revocable: resources.iter_counted().all(|(resource, _)| resource.revocable),
            shares: resources.iter_counted().any(|(resource, _)| resource.shared),
            enough: is_enough(&resources, least),
            amounts,
        };
        Self { resources, facts: Arc::new(facts) }
    }
}

/// Numbers for the kinds of scalars ever seen, with the cluster's totals. Sums wrap: what was added can always be
/// taken away exactly, whatever an agent claims to have.
#[derive(Debug)]
pub(crate) struct Kinds {
    names: Vec<Arc<str>>,
    excluded: Vec<bool>,
    totals: Vec<i64>,
    excluded_names: BTreeSet<Arc<str>>,
    /// The last different stocks that agents had.
    recent: Vec<Stock>,
}

/// How many different kinds of machines are recognised.
const RECENT_MAX: usize = 16;

impl Kinds {
    pub(crate) fn new(excluded_names: BTreeSet<Arc<str>>) -> Self {
        Self {
            names: Vec::new(),
            excluded: Vec::new(),
            totals: Vec::new(),
            excluded_names,
            recent: Vec::new(),
        }
    }

    /// The number of a kind, a new one if need be. There are few kinds: looking through them beats a map.
    pub(crate) fn number(&mut self, name: &Arc<str>) -> usize {
        if let Some(number) = self.names.iter().position(|known| known == name) {
            return number;
        }
        self.names.push(name.clone());
        self.excluded.push(self.excluded_names.contains(name));
        self.totals.push(0);
        self.names.len() - 1
    }

    /// The scalar amounts of those resources that satisfy `keep`, a shared one once.
    pub(crate) fn amounts(
        &mut self,
        resources: &Resources,
        out: &mut Vec<Amount>,
        keep: impl Fn(&Resource) -> bool,
    ) {
        for (resource, copies) in resources.iter_counted().filter(|(resource, _)| keep(resource)) {
            if let Some(amount) = resource.value.as_scalar() {
                let copies = if resource.shared { 1 } else { i64::from(copies) };
                out.push((self.number(&resource.name), amount.0.wrapping_mul(copies)));
            }
        }
    }

    /// The same as a list of their own.
    pub(crate) fn amounts_of(
        &mut self,
        resources: &Resources,
        keep: impl Fn(&Resource) -> bool,
    ) -> Vec<Amount> {
        let mut amounts = Vec::new();
        self.amounts(resources, &mut amounts, keep);
        amounts
    }

    /// The name of a kind that was given a number.
    pub(crate) fn name(&self, number: usize) -> &Arc<str> {
        &self.names[number]
    }

    /// Amounts by number of kind as amounts by name, without zeros.
    pub(crate) fn quantities(&self, amounts: &[i64]) -> Quantities {
        let named = self.names.iter().zip(amounts).filter(|(_, amount)| **amount != 0);
        named.map(|(name, amount)| (name.clone(), Scalar(*amount))).collect()
    }

    /// The same for what is likely to be found again, such as all of an agent: equal ones are one.
    pub(crate) fn shared_stock(&mut self, resources: Resources, least: &[Quantities]) -> Stock {
        if let Some(place) = self.recent.iter().position(|recent| recent.resources == resources) {
            self.recent.swap(0, place);
            return self.recent[0].clone();
        }
        let stock = self.stock(resources, least);
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.insert(0, stock.clone());
        stock
    }

    /// Finds out about `resources`, with the cluster's smallest offers as `least`.
    pub(crate) fn stock(&mut self, resources: Resources, least: &[Quantities]) -> Stock {
        let mut amounts = Vec::with_capacity(resources.iter_counted().len());
        self.amounts(&resources, &mut amounts, |resource| !resource.shared);
        Stock::new(resources, least, amounts)
    }

    pub(crate) fn add_total(&mut self, amounts: &[Amount]) {
        amounts
            .iter()
            .for_each(|(kind, amount)| self.totals[*kind] = self.totals[*kind].wrapping_add(*amount));
    }

    pub(crate) fn subtract_total(&mut self, amounts: &[Amount]) {
        amounts
            .iter()
            .for_each(|(kind, amount)| self.totals[*kind] = self.totals[*kind].wrapping_sub(*amount));
    }

    pub(crate) fn usage<'a>(&'a self, held: &'a [i64]) -> Usage<'a> {
        Usage { held, totals: &self.totals, excluded: &self.excluded }
    }
}
