//! Frameworks come, go, and say what they want.

use std::{collections::BTreeSet, sync::Arc};

use imbl::{OrdMap, OrdSet, Vector};
use mesarch_types::{FrameworkId, Role};

use super::adopt::with_fixed_fields;
use crate::{
    change::Change,
    command::{Disconnect, FrameworkRoles, FrameworkSpec, OutboxPosition, Subscribe, UpdateFramework},
    effect::{Effect, FAILED_OVER},
    machine::LEVEL_OPERATIONS,
    model::{Connection, Framework, OutboxItem},
    open_work::open_work_of_framework,
    outcome::{Outcome, Refusal},
    step::{Rescind, Step},
};

impl Step<'_> {
    pub(crate) fn subscribe(&mut self, c: Subscribe) -> Result<Outcome, Refusal> {
        let id = match &c.framework {
            Some(id) if self.state.removed.contains_key(id) => return Err(Refusal::FrameworkRemoved),
            Some(id) => id.clone(),
            None => self.next_framework_id(),
        };
        let resumed = match self.state.frameworks.get(&id).cloned() {
            Some(known) => self.subscribe_again(&known, c)?,
            None => {
                let connection = Connection::Connected { stream: c.stream, epoch: self.epoch() };
                self.add_framework(id.clone(), c.spec, c.suppressed, connection);
                false
            }
        };
        self.change(Change::Framework(id.clone()));
        let owed = open_work_of_framework(self.state, &id);
        // What this very command put into the outbox is among it.
        self.effects.retain(|effect| !owed.contains(effect));
        self.effects.extend(owed);
        Ok(Outcome::Subscribed { framework: id, stream: self.epoch(), resumed })
    }

    pub(crate) fn add_framework(
        &mut self,
        id: FrameworkId,
        spec: FrameworkSpec,
        suppressed: BTreeSet<Role>,
        connection: Connection,
    ) {
        let framework = Framework {
            id: id.clone(),
            spec: Arc::new(spec),
            suppressed,
            version: self.epoch(),
            connection,
            offers: OrdSet::new(),
            tasks: OrdSet::new(),
            unreachable: OrdMap::new(),
            outbox: OrdMap::new(),
            outbox_minor: OrdSet::new(),
            outbox_next: OutboxPosition::default(),
            outbox_dropped: 0,
            completed: Vector::new(),
            registered: self.at.wall,
            reregistered: None,
        };
        self.state.frameworks.insert(id, Arc::new(framework));
    }

    /// The newest subscription wins. Unless it goes on with the current stream, it starts without offers and filters.
    fn subscribe_again(&mut self, known: &Framework, c: Subscribe) -> Result<bool, Refusal> {
        if known.spec.principal != c.spec.principal {
            return Err(Refusal::PrincipalChanged);
        }
        let resumed = c.resume.is_some() && known.stream().map(|(stream, _)| stream) == c.resume.as_ref();
        if let Connection::Connected { stream, epoch } = &known.connection {
            let error = (!resumed).then_some(FAILED_OVER);
            let (framework, stream, epoch) = (known.id.clone(), stream.clone(), *epoch);
            self.effect(Effect::CloseStream { framework, stream, epoch, error });
        }
        if !resumed {
            self.start_afresh(&known.id);
        }
        let (epoch, wall) = (self.epoch(), self.at.wall);
        let stream = c.resume.filter(|_| resumed).unwrap_or(c.stream);
        let spec = with_fixed_fields(c.spec, &known.spec);
        if let Some(framework) = self.framework_mut(&known.id) {
            framework.spec = Arc::new(spec);
            framework.suppressed = c.suppressed;
            framework.connection = Connection::Connected { stream, epoch };
            framework.version = epoch;
            framework.reregistered = Some(wall);
        }
        self.withdraw_offers_of_lost_roles(&known.id);
        Ok(resumed)
    }

    /// Offers, their rescissions and refusals were the former instance's.
    fn start_afresh(&mut self, id: &FrameworkId) {
        self.withdraw_offers_of_framework(id);
        self.drop_refusals(id);
        let Some(framework) = self.framework_mut(id) else {
            return;
        };
        let minor: Vec<_> = framework.outbox_minor.iter().copied().collect();
        for position in minor {
            let item = framework.outbox.get(&position).map(|item| &**item);
            if matches!(item, Some(OutboxItem::Rescind(_) | OutboxItem::RescindInverse(_))) {
                framework.outbox.remove(&position);
                framework.outbox_minor.remove(&position);
            }
        }
    }

    /// Takes over what the framework says of itself now; offers of roles that it left are withdrawn.
    pub(crate) fn update_framework(&mut self, c: UpdateFramework) -> Result<Outcome, Refusal> {
        if self.state.meta.level < LEVEL_OPERATIONS {
            return Err(Refusal::LevelTooLow);
        }
        let known = self.state.known_framework(&c.framework)?.clone();
        check_fixed_fields(&c.spec, &known.spec)?;
        let left: Vec<Role> = known.spec.roles.difference(&c.spec.roles).cloned().collect();
        if !left.is_empty() {
            left.iter().for_each(|role| self.state.filters.clear(&c.framework, Some(role)));
            self.change(Change::Revived { framework: c.framework.clone(), roles: left });
        }
        let version = self.epoch();
        if let Some(framework) = self.framework_mut(&c.framework) {
            framework.spec = Arc::new(c.spec);
            framework.suppressed = c.suppressed;
            framework.version = version;
        }
        self.withdraw_offers_of_lost_roles(&c.framework);
        self.change(Change::Framework(c.framework));
        Ok(Outcome::Done)
    }

    fn withdraw_offers_of_lost_roles(&mut self, id: &FrameworkId) {
        let Some(framework) = self.state.frameworks.get(id) else {
            return;
        };
        let lost = |offer: &&mesarch_types::OfferId| {
            self.state.offers.get(*offer).is_some_and(|offer| !framework.spec.roles.contains(&offer.role))
        };
        let lost: Vec<_> = framework.offers.iter().filter(lost).cloned().collect();
        for offer in lost {
            self.withdraw_offer(&offer, Rescind::Told);
        }
    }

    /// Refusals do not outlive the stream on which they were said.
    fn drop_refusals(&mut self, id: &FrameworkId) {
        self.state.filters.clear(id, None);
        self.change(Change::Revived { framework: id.clone(), roles: Vec::new() });
    }

    pub(crate) fn disconnect(&mut self, c: &Disconnect) -> Result<Outcome, Refusal> {
        let known = self.state.known_framework(&c.framework)?;
        if known.stream().map(|(_, epoch)| epoch) != Some(c.stream) {
            return Err(Refusal::StaleStream);
        }
        self.withdraw_offers_of_framework(&c.framework);
        self.drop_refusals(&c.framework);
        let (epoch, at) = (self.epoch(), self.at.now);
        if let Some(framework) = self.framework_mut(&c.framework) {
            framework.connection = Connection::Disconnected { epoch, at };
            framework.version = epoch;
        }
        self.change(Change::Framework(c.framework.clone()));
        Ok(Outcome::Done)
    }

    pub(crate) fn suppress(&mut self, c: FrameworkRoles) -> Result<Outcome, Refusal> {
        let roles = self.named_roles(&c)?;
        self.set_suppressed(&c.framework, |suppressed| suppressed.extend(roles));
        Ok(Outcome::Done)
    }

    pub(crate) fn revive(&mut self, c: FrameworkRoles) -> Result<Outcome, Refusal> {
        let roles = self.named_roles(&c)?;
        for role in &roles {
            self.state.filters.clear(&c.framework, Some(role));
        }
        self.set_suppressed(&c.framework, |suppressed| suppressed.retain(|role| !roles.contains(role)));
        self.change(Change::Revived { framework: c.framework, roles: c.roles.into_iter().collect() });
        Ok(Outcome::Done)
    }

    fn named_roles(&self, c: &FrameworkRoles) -> Result<BTreeSet<Role>, Refusal> {
        let framework = self.state.known_framework(&c.framework)?;
        match c.roles.is_subset(&framework.spec.roles) {
            true if c.roles.is_empty() => Ok(framework.spec.roles.clone()),
            true => Ok(c.roles.clone()),
            false => Err(Refusal::UnknownRole),
        }
    }

    fn set_suppressed(&mut self, id: &FrameworkId, edit: impl FnOnce(&mut BTreeSet<Role>)) {
        let epoch = self.epoch();
        let Some(known) = self.state.frameworks.get(id) else {
            return;
        };
        let mut suppressed = known.suppressed.clone();
        edit(&mut suppressed);
        if suppressed == known.suppressed {
            return;
        }
        if let Some(framework) = self.framework_mut(id) {
            framework.suppressed = suppressed;
            framework.version = epoch;
        }
        self.change(Change::Framework(id.clone()));
    }
}

/// What only a new framework may choose.
fn check_fixed_fields(new: &FrameworkSpec, old: &FrameworkSpec) -> Result<(), Refusal> {
    match () {
        () if new.principal != old.principal => Err(Refusal::PrincipalChanged),
        () if new.user != old.user => Err(Refusal::UserChanged),
        () if new.checkpoint != old.checkpoint => Err(Refusal::CheckpointChanged),
        () => Ok(()),
    }
}
