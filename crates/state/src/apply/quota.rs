//! Quota: what operators may set, what gives way to it, and what it lets be offered.

use std::{cmp::Reverse, collections::BTreeSet};

use mesarch_types::{OfferId, Quantities, Quota, Role, Scalar, resource::Resources};

use crate::{
    command::SetQuota,
    outcome::{Denial, OfferRefusal, Outcome, Refusal},
    sharing::{Books, ENTRIES_MAX, counted},
    step::{Rescind, Step},
};

impl Step<'_> {
    /// Takes all of the quotas or none. Offers above the new limits are withdrawn, then enough of others to make room
    /// for the new guarantees, newest first.
    pub(crate) fn set_quota(&mut self, c: SetQuota) -> Result<Outcome, Refusal> {
        if let Some(denial) = c.there.and_then(|there| self.unlike(&c.quotas, there)) {
            return Ok(Outcome::Denied(denial));
        }
        let before = self.state.sharing.quotas.clone();
        for quota in &c.quotas {
            match quota.is_none() {
                true => self.state.sharing.quotas.remove(quota.role()),
                false => self.state.sharing.quotas.insert(quota.role().clone(), quota.clone()),
            };
        }
        let refused = match () {
            () if self.state.sharing.quotas.len() > ENTRIES_MAX => Some(Err(Refusal::Full)),
            () if c.force => None,
            () => self.check_quotas(&c.quotas).err().map(|denial| Ok(Outcome::Denied(denial))),
        };
        if let Some(refused) = refused {
            self.state.sharing.quotas = before;
            return refused;
        }
        self.state.recount();
        let rescinded = self.enforce_limits(&c.quotas) + self.free_guarantees(&c.quotas);
        self.policy_changed();
        Ok(Outcome::Changed { rescinded })
    }

    /// The first role that has a quota though none should be `there`, or has none though it should.
    fn unlike(&self, quotas: &[Quota], there: bool) -> Option<Denial> {
        let has = |role: &Role| self.state.sharing.quotas.contains_key(role);
        let role = quotas.iter().map(Quota::role).find(|role| has(role) != there)?.clone();
        Some(if there { Denial::HasNoQuota(role) } else { Denial::HasQuota(role) })
    }

    /// Limits cover what is in use, and all guarantees together are covered by the cluster.
    fn check_quotas(&self, new: &[Quota]) -> Result<(), Denial> {
        let in_use = self.state.consumption(Books::Used);
        for quota in new {
            let consumed = in_use.get(quota.role()).cloned().unwrap_or_default();
            let denied = |error| Denial::Quota { role: quota.role().clone(), error };
            quota.check_consumption(&consumed).map_err(denied)?;
        }
        let Some(guaranteed) = new.iter().find(|quota| !quota.guarantees().is_empty()) else {
            return Ok(());
        };
        Quota::check_capacity(self.state.sharing.quotas.values(), &self.state.capacity())
            .map_err(|error| Denial::Quota { role: guaranteed.role().clone(), error })
    }

    /// Withdraws offers until the roles are within their limits, as far as offers alone exceed them.
    fn enforce_limits(&mut self, new: &[Quota]) -> u32 {
        let roles: BTreeSet<&Role> = new.iter().map(Quota::role).collect();
        let own = |role: &Role| roles.contains(&Role::from(role.top_level()));
        let mut rescinded = 0;
        for offer in self.offers_of(own) {
            let Some(known) = self.state.offers.get(&offer) else { continue };
            let amounts = counted(&known.resources.without_allocation());
            if self.is_over(known.role.top_level(), &amounts) {
                self.withdraw_offer(&offer, Rescind::Told);
                rescinded += 1;
            }
        }
        rescinded
    }

    /// Whether the role is over a limit on one of these kinds.
    fn is_over(&self, top: &str, amounts: &Quantities) -> bool {
        let sharing = &self.state.sharing;
        let (Some(quota), Some(consumed)) = (sharing.quotas.get(top), sharing.consumed.get(top)) else {
            return false;
        };
        let over = |(kind, limit): (_, Scalar)| !amounts.get(kind).is_zero() && consumed.get(kind) > limit;
        quota.limits().iter().any(|(kind, limit)| over((kind, limit)))
    }

    /// Withdraws offers of roles that are not guaranteed the same kinds, until what is free covers what all guarantees
    /// lack.
    fn free_guarantees(&mut self, new: &[Quota]) -> u32 {
        let kinds = new.iter().flat_map(|quota| quota.guarantees().iter().map(|(kind, _)| kind.clone()));
        let kinds: BTreeSet<_> = kinds.collect();
        if kinds.is_empty() {
            return 0;
        }
        let all = self.lacking();
        let mut lacking: Quantities = all
            .iter()
            .filter(|(kind, _)| kinds.contains(*kind))
            .map(|(kind, more)| (kind.clone(), more))
            .collect();
        let mut rescinded = 0;
        for offer in self.offers_of(|_| true) {
            if lacking.is_empty() {
                break;
            }
            let Some(known) = self.state.offers.get(&offer) else { continue };
            let amounts = counted(&known.resources.without_allocation());
            let helps = amounts.iter().any(|(kind, _)| !lacking.get(kind).is_zero());
            let guaranteed = self.state.sharing.quotas.get(known.role.top_level()).is_some_and(|quota| {
                amounts.iter().any(|(kind, _)| quota.guarantees().get_exact(kind).is_some())
            });
            if helps && !guaranteed {
                self.withdraw_offer(&offer, Rescind::Told);
                lacking = lacking.saturating_sub(&amounts);
                rescinded += 1;
            }
        }
        rescinded
    }

    /// What all guarantees together lack beyond what is free on active agents.
    fn lacking(&self) -> Quantities {
        let sharing = &self.state.sharing;
        let lacks = sharing.quotas.iter().map(|(role, quota)| match sharing.consumed.get(role) {
            Some(consumed) => quota.guarantees().saturating_sub(consumed),
            None => quota.guarantees().clone(),
        });
        let lacking = lacks.fold(Quantities::default(), |sum, lack| sum.saturating_add(&lack));
        let free = self.state.agents().filter(|agent| agent.is_active());
        let free = free.map(|agent| counted(agent.available()));
        lacking.saturating_sub(&free.fold(Quantities::default(), |sum, free| sum.saturating_add(&free)))
    }

    /// Offers of roles, newest first.
    fn offers_of(&self, role: impl Fn(&Role) -> bool) -> Vec<OfferId> {
        let mut offers: Vec<_> = self
            .state
            .offers()
            .filter(|offer| role(&offer.role))
            .map(|offer| (Reverse(offer.issued), offer.id.clone()))
            .collect();
        offers.sort();
        offers.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether the limit of the role's top-level role leaves room for an offer.
    pub(crate) fn check_limit(&self, role: &Role, wanted: &Resources) -> Result<(), OfferRefusal> {
        let sharing = &self.state.sharing;
        let Some(quota) = sharing.quotas.get(role.top_level()) else {
            return Ok(());
        };
        let amounts = counted(wanted);
        let consumed = sharing.consumed.get(role.top_level());
        let exceeds = quota.limits().iter().any(|(kind, limit)| {
            let more = amounts.get(kind);
            let present = consumed.map_or(Scalar::ZERO, |consumed| consumed.get(kind));
            !more.is_zero() && present.saturating_add(more) > limit
        });
        if exceeds { Err(OfferRefusal::Quota) } else { Ok(()) }
    }
}
