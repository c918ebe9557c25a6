//! Who holds what of one agent's resources.

use std::collections::BTreeMap;

use mesarch_faults::{Fault, on};
use mesarch_types::{FrameworkId, Role, resource::Resources};

/// A framework in one of its roles.
pub type Holder = (FrameworkId, Role);

/// The books of one agent. Stored resources carry no allocation mark: the holder says the role.
///
/// Available = total − used − offered, exactly, as long as that exists. An agent whose users hold more than it has
/// (it shrank, or returned with tasks that the masters had not known) is *overcommitted*: nothing is available, and
/// the books are drawn up anew whenever something is released.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    pub(crate) used: BTreeMap<Holder, Resources>,
    pub(crate) offered: BTreeMap<Holder, Resources>,
    pub(crate) available: Resources,
    pub(crate) overcommitted: bool,
}

/// Which book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// By tasks and executors.
    Used,
    /// By outstanding offers.
    Offered,
}

impl Ledger {
    /// Nothing is held of `total`.
    pub(crate) fn new(total: &Resources) -> Self {
        Self { available: total.clone(), ..Self::default() }
    }

    /// By tasks that have not ended and by executors.
    pub fn used(&self) -> &BTreeMap<Holder, Resources> {
        &self.used
    }

    /// By outstanding offers.
    pub fn offered(&self) -> &BTreeMap<Holder, Resources> {
        &self.offered
    }

    /// Neither used nor offered.
    pub fn available(&self) -> &Resources {
        &self.available
    }

    /// Whether users hold more than the agent has.
    pub fn is_overcommitted(&self) -> bool {
        self.overcommitted
    }

    /// Draws the books up from all holdings. Those that do not fit leave the agent overcommitted.
    pub(crate) fn draw_up(
        total: &Resources,
        holdings: impl IntoIterator<Item = (Side, Holder, Resources)>,
    ) -> Self {
        let mut ledger = Self::new(total);
        for (side, holder, resources) in holdings {
            match ledger.available.checked_sub(&resources) {
                Some(rest) => ledger.available = rest,
                None => ledger.overcommitted = true,
            }
            add(ledger.book(side), holder, &resources);
        }
        if ledger.overcommitted {
            ledger.available = Resources::default();
        }
        ledger
    }

    /// Enters a holding; `false` changes nothing and means that the books must be drawn up.
    #[must_use]
    pub(crate) fn hold(&mut self, side: Side, holder: Holder, resources: &Resources) -> bool {
        if self.overcommitted {
            // What did not fit fits no better with one more: an agent that returns with thousands of tasks would
            // otherwise have its books drawn up thousands of times.
            add(self.book(side), holder, resources);
            return true;
        }
        let Some(rest) = self.available.checked_sub(resources) else {
            return false;
        };
        // Broken: what is offered is not free.
        if !(on(Fault::OverOffer) && side == Side::Offered) {
            self.available = rest;
        }
        add(self.book(side), holder, resources);
        true
    }

    /// Takes a holding out; `false` changes nothing and means that the books must be drawn up.
    #[must_use]
    pub(crate) fn release(&mut self, side: Side, holder: &Holder, resources: &Resources) -> bool {
        if self.overcommitted {
            return false;
        }
        if resources.is_empty() {
            return true;
        }
        let Some(available) = self.available.checked_add(resources) else {
            return false;
        };
        let book = self.book(side);
        let Some(rest) = book.get(holder).and_then(|held| held.checked_sub(resources)) else {
            return false;
        };
        if rest.is_empty() {
            book.remove(holder);
        } else {
            book.insert(holder.clone(), rest);
        }
        if !(on(Fault::OverOffer) && side == Side::Offered) {
            self.available = available;
        }
        true
    }

    fn book(&mut self, side: Side) -> &mut BTreeMap<Holder, Resources> {
        match side {
            Side::Used => &mut self.used,
            Side::Offered => &mut self.offered,
        }
    }
}

fn add(book: &mut BTreeMap<Holder, Resources>, holder: Holder, resources: &Resources) {
    if resources.is_empty() {
        return;
    }
    let held = book.entry(holder).or_default();
    *held = held.saturating_add(resources);
}
