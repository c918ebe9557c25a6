//! Guarantees and limits: what the roles with quota consume, and how much has to be kept free for them.
//!
//! Quota belongs to top-level roles and holds for all below them. What a role consumes is everything reserved to it or
//! below, held or not, and what it holds of unreserved, non-revocable amounts. While no role has quota nothing is
//! counted here.

use mesarch_types::{Quantities, Quota, Resource, Resources, Role, Scalar};
use smallvec::SmallVec;

use crate::{
    allocator::Allocator,
    bits::Bits,
    index::{ClientIx, Index, QuotaIx, Slab},
    kinds::{Amount, Kinds},
};

/// One role's quota and its books; amounts by number of kind.
#[derive(Debug)]
pub(crate) struct RoleQuota {
    pub(crate) quota: Quota,
    guarantees: Vec<Amount>,
    limits: Vec<Amount>,
    consumed: Vec<i64>,
    /// The framework-roles of the role and below it.
    clients: Bits,
}

/// All quotas.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    by_role: Index<Role, QuotaIx>,
    slots: Slab<QuotaIx, RoleQuota>,
    /// Unreserved and non-revocable, minus what is held of it.
    free: Vec<i64>,
    /// What all guarantees lack.
    required: Vec<i64>,
    /// The roles whose guarantees are not fulfilled.
    hungry: Bits,
    /// Something may be given now that had to be kept before.
    pub(crate) loosened: bool,
}

/// A few amounts, without memory of their own.
pub(crate) type Amounts = SmallVec<[Amount; 4]>;

/// How far an offer of unreserved, non-revocable amounts may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// The most of the kinds that the role's limits name.
    pub(crate) limit: Amounts,
    /// The most of the kinds that guarantees still need.
    pub(crate) headroom: Amounts,
}

/// What a resource must be to count against a limit or a guarantee when it is given.
pub(crate) fn counts(resource: &Resource) -> bool {
    resource.counts_in_quota()
}

fn at(amounts: &[i64], kind: usize) -> i64 {
    amounts.get(kind).copied().unwrap_or(0)
}

fn add(amounts: &mut Vec<i64>, kind: usize, change: i64) {
    if kind >= amounts.len() {
        amounts.resize(kind + 1, 0);
    }
    amounts[kind] = amounts[kind].wrapping_add(change);
}

impl RoleQuota {
    /// What is still to be given of what is guaranteed.
    fn lack(&self, kind: usize) -> i64 {
        let guarantee = self.guarantees.iter().find(|(named, _)| *named == kind);
        guarantee.map_or(0, |(_, amount)| amount.saturating_sub(at(&self.consumed, kind)).max(0))
    }

    /// Whether anything is still to be given of what is guaranteed.
    fn lacks(&self) -> bool {
        self.guarantees.iter().any(|(kind, _)| self.lack(*kind) > 0)
    }
}

impl Quotas {
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.count() == 0
    }

    pub(crate) fn of_role(&self, role: &Role) -> Option<QuotaIx> {
        self.by_role.get(role.top_level())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = QuotaIx> {
        self.slots.iter().map(|(quota, _)| quota)
    }

    pub(crate) fn get(&self, quota: QuotaIx) -> &RoleQuota {
        &self.slots[quota]
    }

    pub(crate) fn add_client(&mut self, quota: QuotaIx, client: ClientIx) {
        self.slots[quota].clients.set(client.0);
    }

    pub(crate) fn remove_client(&mut self, quota: QuotaIx, client: ClientIx) {
        self.slots[quota].clients.clear(client.0);
    }

    pub(crate) fn clients(&self, quota: QuotaIx) -> &Bits {
        &self.slots[quota].clients
    }

    /// Whether a guarantee is not fulfilled.
    pub(crate) fn is_hungry(&self) -> bool {
        self.required.iter().any(|amount| *amount > 0)
    }

    /// The roles whose guarantees are not fulfilled.
    pub(crate) fn hungry(&self) -> impl Iterator<Item = (QuotaIx, &Role)> {
        let hungry = self.hungry.ones().map(QuotaIx);
        hungry.map(|quota| (quota, self.slots[quota].quota.role()))
    }

    /// Whether a role's guarantees are not fulfilled.
    pub(crate) fn is_hungry_for(&self, quota: QuotaIx) -> bool {
        self.hungry.has(quota.0)
    }

    /// What a role's guarantees lack.
    pub(crate) fn lacking(&self, quota: QuotaIx) -> Amounts {
        let quota = &self.slots[quota];
        let lacking = quota.guarantees.iter().map(|(kind, _)| (*kind, quota.lack(*kind)));
        lacking.filter(|(_, amount)| *amount > 0).collect()
    }

    /// How far an offer to a client of a role with this quota, or of one without, may go.
    pub(crate) fn room(&self, quota: Option<QuotaIx>) -> Room {
        let left = |quota: &RoleQuota| -> Amounts {
            let left =
                |(kind, limit): &Amount| (*kind, limit.saturating_sub(at(&quota.consumed, *kind)).max(0));
            quota.limits.iter().map(left).collect()
        };
        let required = self.required.iter().enumerate().filter(|(_, amount)| **amount > 0);
        Room {
            limit: quota.map(|quota| left(&self.slots[quota])).unwrap_or_default(),
            headroom: required
                .map(|(kind, need)| (kind, at(&self.free, kind).saturating_sub(*need).max(0)))
                .collect(),
        }
    }

    fn consume(&mut self, quota: QuotaIx, kind: usize, change: i64) {
        let entry = &mut self.slots[quota];
        let before = entry.lack(kind);
        add(&mut entry.consumed, kind, change);
        let more = entry.lack(kind) - before;
        if more != 0 {
            self.hungry.put(quota.0, entry.lacks());
            add(&mut self.required, kind, more);
        }
    }

    /// Unreserved, non-revocable amounts are given to a client (or taken back, if negative).
    pub(crate) fn give(&mut self, quota: Option<QuotaIx>, kind: usize, change: i64) {
        add(&mut self.free, kind, change.wrapping_neg());
        if let Some(quota) = quota {
            self.consume(quota, kind, change);
        }
    }

    /// Books what a client takes (`sign` 1) or gives back (−1), of all kinds of resources.
    pub(crate) fn book(
        &mut self,
        kinds: &mut Kinds,
        quota: Option<QuotaIx>,
        resources: &Resources,
        sign: i64,
    ) {
        if self.is_empty() {
            return;
        }
        for (kind, amount) in kinds.amounts_of(resources, counts) {
            self.give(quota, kind, sign.wrapping_mul(amount));
        }
        self.loosened |= sign < 0;
    }

    /// Books what an agent brings (`sign` 1) or takes with it (−1).
    pub(crate) fn book_total(&mut self, kinds: &mut Kinds, total: &Resources, sign: i64) {
        if self.is_empty() {
            return;
        }
        for (kind, amount) in kinds.amounts_of(total, counts) {
            add(&mut self.free, kind, sign.wrapping_mul(amount));
        }
        for (resource, copies) in total.iter_counted() {
            let quota = resource.reserved_role().and_then(|role| self.of_role(role));
            if let (Some(quota), Some(amount)) = (quota, resource.value.as_scalar()) {
                let copies = if resource.shared { 1 } else { i64::from(copies) };
                self.consume(
                    quota,
                    kinds.number(&resource.name),
                    sign.wrapping_mul(amount.0.wrapping_mul(copies)),
                );
            }
        }
        self.loosened = true;
    }

    /// What a role with quota consumes, and what all guarantees lack.
    pub(crate) fn consumed(&self, role: &Role, kinds: &Kinds) -> Option<Quantities> {
        let quota = &self.slots[self.by_role.get(role.as_str())?];
        Some(kinds.quantities(&quota.consumed))
    }
}

impl Room {
    /// As quantities to shrink to; none if nothing is bounded. Kinds that are not named are free.
    pub(crate) fn target(&self, kinds: &Kinds) -> Option<Quantities> {
        let mut target = Quantities::default();
        for (kind, amount) in self.limit.iter().chain(&self.headroom) {
            let name = kinds.name(*kind);
            let least = target.get_exact(name).map_or(*amount, |other| other.thousandths().min(*amount));
            target.set(name.clone(), Scalar(least));
        }
        if target.iter().len() > 0 { Some(target) } else { None }
    }

    /// Whether no amounts of these kinds can make one of the smallest offers.
    pub(crate) fn is_short_of(&self, kinds: &Kinds, least: &[Quantities]) -> bool {
        let room = |name: &str| {
            let named =
                self.limit.iter().chain(&self.headroom).filter(|(kind, _)| &**kinds.name(*kind) == name);
            named.map(|(_, amount)| *amount).min()
        };
        let is_short = |least: &Quantities| {
            least.iter().any(|(name, amount)| room(name).is_some_and(|room| room < amount.0))
        };
        !least.is_empty() && least.iter().all(is_short)
    }
}

impl Allocator {
    /// Puts a role's quota in the place of its old one; one that says nothing removes it.
    pub(crate) fn replace_quota(&mut self, quota: Quota) {
        let role = quota.role().clone();
        let old = self.quotas.by_role.get(&role);
        if old.is_some_and(|old| self.quotas.get(old).quota == quota) || (old.is_none() && quota.is_none()) {
            return;
        }
        if let Some(old) = old {
            self.quotas.slots.remove(old);
            self.quotas.hungry.clear(old.0);
            self.quotas.by_role.remove(&role);
        }
        if !quota.is_none() {
            let number = |(name, amount): (&std::sync::Arc<str>, Scalar)| (self.kinds.number(name), amount.0);
            let guarantees = quota.guarantees().iter().map(number).collect();
            let number = |(name, amount): (&std::sync::Arc<str>, Scalar)| (self.kinds.number(name), amount.0);
            let limits = quota.limits().iter().map(number).collect();
            let entry =
                RoleQuota { quota, guarantees, limits, consumed: Vec::new(), clients: Bits::default() };
            let slot = self.quotas.slots.insert(entry);
            self.quotas.by_role.insert(role.clone(), slot);
        }
        self.assign_quota(&role);
        self.recount_quotas();
    }

    /// Tells the clients below `role` whose quota is theirs.
    fn assign_quota(&mut self, role: &Role) {
        let quota = self.quotas.by_role.get(role);
        let below = |client: &ClientIx| self.clients.get(*client).role.top_level() == role.as_str();
        let clients: Vec<ClientIx> = self.clients.all().filter(below).collect();
        for client in clients {
            self.clients.get_mut(client).quota = quota;
            if let Some(quota) = quota {
                self.quotas.add_client(quota, client);
            }
        }
    }

    /// Counts everything anew: rare, so the books need no shadow for roles without quota.
    fn recount_quotas(&mut self) {
        let (quotas, kinds) = (&mut self.quotas, &mut self.kinds);
        quotas.free.clear();
        quotas.required.clear();
        for (slot, quota) in quotas.slots.iter_mut() {
            quota.consumed.clear();
            quotas.hungry.put(slot.0, quota.lacks());
        }
        let lacks: Vec<Amount> =
            quotas.slots.iter().flat_map(|(_, quota)| quota.guarantees.clone()).collect();
        lacks.into_iter().for_each(|(kind, amount)| add(&mut quotas.required, kind, amount));
        for (_, agent) in self.agents.slots.iter() {
            if let Some(view) = &agent.view {
                quotas.book_total(kinds, &view.total, 1);
            }
            for holder in &agent.holders {
                quotas.book(kinds, self.clients.get(holder.client).quota, &holder.held, 1);
            }
        }
        quotas.loosened = true;
    }
}
