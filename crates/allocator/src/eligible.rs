//! Whether something free on an agent can be offered to a client, and what: everything but the order.

use mesarch_types::{
    Constraints, FrameworkCapability, FrameworkView, Millis, Quantities, Resource, Resources, Role, Scalar,
    Value, can_handle,
};

use crate::{
    Config,
    agent::Agent,
    client::Clients,
    filter::{blocked_until, just_declined},
    index::{ClientIx, QuotaIx},
    kinds::{Amount, Kinds, Stock},
    quota::{Quotas, Room, counts},
};

/// Why nothing can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    FrameworkUnknown,
    NeedsGpuCapability,
    OtherRegion,
    AgentTooOld,
    Constraint,
    NothingForRole,
    TooSmall,
    OverLimit,
    Headroom,
    Refused { until: Millis },
    JustDeclined,
}

/// Nothing, and whether quota had a part in it: then it may change although nothing here changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub(crate) refusal: Refusal,
    pub(crate) withheld: bool,
}

/// What quota cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Limit,
    Headroom,
}

/// What may be offered, and whether it would have been more without quota.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) resources: Resources,
    pub(crate) withheld: bool,
}

/// All that the decision looks at.
pub(crate) struct Case<'a> {
    pub(crate) config: &'a Config,
    pub(crate) clients: &'a Clients,
    pub(crate) kinds: &'a Kinds,
    pub(crate) quotas: &'a Quotas,
    pub(crate) agent: &'a Agent,
    pub(crate) now: Millis,
}

impl Case<'_> {
    /// What of the stock can be offered to `client` when all roles take their share.
    pub(crate) fn chunk(&self, client: ClientIx, stock: &Stock) -> Result<Chunk, No> {
        let (view, role) = self.admit(client).map_err(No::lasting)?;
        let fitting = fitting(view, role, stock);
        let quota = self.clients.get(client).quota;
        let (resources, cut) = match self.quotas.is_empty() {
            true => (fitting, None),
            false => self.within_room(fitting, quota, stock),
        };
        self.judge(client, (view, role), resources, cut, stock)
    }

    /// What of the stock can be offered to `client` while the guarantees of its role are not fulfilled: what they lack,
    /// what is reserved, what cannot be counted, and more as far as limits and the other guarantees allow. If nothing
    /// here helps them, what is reserved.
    pub(crate) fn guaranteed_chunk(
        &self,
        client: ClientIx,
        quota: QuotaIx,
        stock: &Stock,
    ) -> Result<Chunk, No> {
        let (view, role) = self.admit(client).map_err(No::lasting)?;
        let fitting = fitting(view, role, stock);
        let (lacking, room) = (self.quotas.lacking(quota), self.quotas.room(Some(quota)));
        if stock.facts.plain && owes_all(&lacking, &room, &stock.facts.amounts) {
            return self.judge(client, (view, role), fitting, None, stock);
        }
        let countable = fitting.filter(counts);
        let named = lacking.iter().map(|(kind, amount)| (self.kinds.name(*kind).clone(), Scalar(*amount)));
        let owed = countable.shrink_to(&named.collect());
        if owed.is_empty() {
            let reserved = fitting.filter(|resource| !resource.reservations.is_empty());
            return self.judge(client, (view, role), reserved, Some(Cut::Limit), stock);
        }
        let mut room = room;
        for (kind, left) in &mut room.limit {
            let given = owed.quantities().get(self.kinds.name(*kind)).0;
            *left = left.saturating_sub(given).max(0);
        }
        let rest = countable.saturating_sub(&owed);
        let more =
            room.target(self.kinds).map_or_else(|| rest.clone(), |target| rest.shrink_to_limits(&target));
        let cut = (more != rest).then_some(Cut::Limit);
        let resources = &(&fitting.saturating_sub(&countable) + &owed) + &more;
        self.judge(client, (view, role), resources, cut, stock)
    }

    fn within_room(
        &self,
        fitting: Resources,
        quota: Option<QuotaIx>,
        stock: &Stock,
    ) -> (Resources, Option<Cut>) {
        let room = self.quotas.room(quota);
        if fitting.ptr_eq(&stock.resources) && stock.facts.plain && holds(&room, &stock.facts.amounts) {
            return (fitting, None);
        }
        let Some(target) = room.target(self.kinds) else {
            return (fitting, None);
        };
        let countable = fitting.filter(counts);
        let kept = countable.shrink_to_limits(&target);
        if kept == countable {
            return (fitting, None);
        }
        let limit = Room { headroom: Default::default(), ..room }.target(self.kinds);
        let by_limit = limit.is_some_and(|limit| countable.shrink_to_limits(&limit) != countable);
        let resources = &fitting.saturating_sub(&countable) + &kept;
        (resources, Some(if by_limit { Cut::Limit } else { Cut::Headroom }))
    }

    /// The view and role of a client to whom something on the agent may be offered, whatever it is.
    fn admit(&self, client: ClientIx) -> Result<(&FrameworkView, &Role), Refusal> {
        let view = self.clients.view_of(client).ok_or(Refusal::FrameworkUnknown)?;
        let role = &self.clients.get(client).role;
        self.check_agent(view, role)?;
        Ok((view, role))
    }

    fn check_agent(&self, framework: &FrameworkView, role: &Role) -> Result<(), Refusal> {
        let knows = |one| framework.capabilities.has(one);
        let agent = self.agent.traits;
        if self.config.filter_gpus && agent.gpus && !knows(FrameworkCapability::GpuResources) {
            return Err(Refusal::NeedsGpuCapability);
        }
        if agent.away && !knows(FrameworkCapability::RegionAware) {
            return Err(Refusal::OtherRegion);
        }
        let too_old = !agent.multi_role && knows(FrameworkCapability::MultiRole)
            || !agent.hierarchical_role && role.parent().is_some();
        if too_old {
            return Err(Refusal::AgentTooOld);
        }
        let excludes =
            |constraints: &Constraints| self.agent.view.as_ref().is_some_and(|view| !constraints.admit(view));
        match framework.constraints.get(role).is_some_and(excludes) {
            true => Err(Refusal::Constraint),
            false => Ok(()),
        }
    }

    /// Whether the resources make an offer that the client did not refuse.
    fn judge(
        &self,
        client: ClientIx,
        (view, role): (&FrameworkView, &Role),
        resources: Resources,
        cut: Option<Cut>,
        stock: &Stock,
    ) -> Result<Chunk, No> {
        let withheld = cut.is_some();
        let no = |refusal| Err(No { refusal, withheld });
        let or_cut = |refusal| match cut {
            Some(Cut::Limit) => Refusal::OverLimit,
            Some(Cut::Headroom) => Refusal::Headroom,
            None => refusal,
        };
        if resources.is_empty() {
            return no(or_cut(Refusal::NothingForRole));
        }
        let enough = match view.min_allocatable.get(role) {
            Some(own) => is_enough(&resources, own),
            None if resources.ptr_eq(&stock.resources) => stock.facts.enough,
            None => is_enough(&resources, &self.config.min_allocatable),
        };
        if !enough {
            return no(or_cut(Refusal::TooSmall));
        }
        if let Some(until) = blocked_until(self.agent, self.clients, client, &resources, self.now) {
            return no(Refusal::Refused { until });
        }
        match just_declined(self.agent, self.clients, client, &resources) {
            true => no(Refusal::JustDeclined),
            false => Ok(Chunk { resources, withheld }),
        }
    }
}

impl No {
    fn lasting(refusal: Refusal) -> Self {
        Self { refusal, withheld: false }
    }
}

/// What of the stock is unreserved or reserved for the role, and of a kind that the framework can handle.
fn fitting(view: &FrameworkView, role: &Role, stock: &Stock) -> Resources {
    let fits =
        |resource: &Resource| resource.is_allocatable_to(role) && can_handle(view.capabilities, resource);
    if stock.facts.plain { stock.resources.clone() } else { stock.resources.filter(fits) }
}

/// Whether something of it is lacking, and all the rest is lacking too or not bounded.
fn owes_all(lacking: &[Amount], room: &Room, amounts: &[Amount]) -> bool {
    let is_bounded = |kind: usize| room.limit.iter().chain(&room.headroom).any(|(named, _)| *named == kind);
    let fits = |kind: usize| match lacking.iter().find(|(named, _)| *named == kind) {
        Some((_, lack)) => sum_of(amounts, kind) <= *lack,
        None => !is_bounded(kind),
    };
    lacking.iter().any(|(kind, _)| sum_of(amounts, *kind) > 0) && amounts.iter().all(|(kind, _)| fits(*kind))
}

fn sum_of(amounts: &[Amount], kind: usize) -> i64 {
    let named = amounts.iter().filter(|(named, _)| *named == kind);
    named.fold(0, |sum: i64, (_, amount)| sum.saturating_add(*amount))
}

/// Whether there is room for all of it.
fn holds(room: &Room, amounts: &[Amount]) -> bool {
    room.limit.iter().chain(&room.headroom).all(|(kind, room)| sum_of(amounts, *kind) <= *room)
}

/// `is_allocatable` of the shared predicates, without building quantities: this is the planner's inner loop.
pub(crate) fn is_enough(chunk: &Resources, alternatives: &[Quantities]) -> bool {
    let amount_of = |name: &str| -> i64 {
        let named = chunk.iter_counted().filter(|(resource, _)| &*resource.name == name);
        named.fold(0, |sum, (resource, copies)| match &resource.value {
            Value::Scalar(amount) if resource.shared => sum.saturating_add(amount.0),
            Value::Scalar(amount) => sum.saturating_add(amount.0.saturating_mul(i64::from(copies))),
            Value::Ranges(_) | Value::Set(_) => sum,
        })
    };
    alternatives.is_empty()
        || alternatives.iter().any(|least| least.iter().all(|(name, amount)| amount_of(name) >= amount.0))
}
