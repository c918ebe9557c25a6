//! Frameworks, and each of them in each of its roles: a *client*.

use std::collections::VecDeque;

use mesarch_types::{FrameworkCapability, FrameworkId, FrameworkView, Role};

use crate::{
    allocator::Allocator,
    bits::Bits,
    index::{ClientIx, FrameworkIx, Index, NodeIx, QuotaIx, Slab},
    tree::Standing,
};

#[derive(Debug)]
pub(crate) struct Framework {
    pub(crate) id: FrameworkId,
    /// None: it is not known (yet, or any more), but something of it is.
    pub(crate) view: Option<FrameworkView>,
    pub(crate) clients: Vec<ClientIx>,
}

/// One framework in one role.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) framework: FrameworkIx,
    pub(crate) role: Role,
    pub(crate) leaf: NodeIx,
    /// Changes when its refusals are to be forgotten: a refusal is of the life in which it was made.
    pub(crate) life: u32,
    /// Whether it is among those that want offers.
    pub(crate) wanting: bool,
    /// On how many agents it holds something.
    pub(crate) holds_on: u32,
    /// The quota of its top-level role, if that has one.
    pub(crate) quota: Option<QuotaIx>,
    /// The tick since which it got nothing although it wanted offers.
    pub(crate) unserved_since: u64,
}

/// All frameworks and clients, and sets of clients.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) frameworks: Slab<FrameworkIx, Framework>,
    by_id: Index<FrameworkId, FrameworkIx>,
    slots: Slab<ClientIx, Client>,
    lives: u32,
    /// Want offers now.
    pub(crate) wanting: Bits,
    /// Can handle revocable resources.
    pub(crate) take_revocable: Bits,
    /// Have a smallest offer of their own.
    pub(crate) own_least: Bits,
    /// Changed so that each agent has to be looked at again for them.
    pub(crate) renewed: Bits,
    /// The last of those of whom every agent was told, or will be when it is next looked at.
    renewals: VecDeque<ClientIx>,
    /// How many there were before these.
    renewals_before: u64,
}

/// An agent that missed more renewals than these forgets all that it had learnt.
const RENEWALS_MAX: usize = 1024;

impl Clients {
    pub(crate) fn framework(&self, id: &FrameworkId) -> Option<FrameworkIx> {
        self.by_id.get(id)
    }

    pub(crate) fn find(&self, framework: FrameworkIx, role: &Role) -> Option<ClientIx> {
        let clients = &self.frameworks[framework].clients;
        clients.iter().copied().find(|client| self.slots[*client].role == *role)
    }

    pub(crate) fn by_names(&self, framework: &FrameworkId, role: &Role) -> Option<ClientIx> {
        self.find(self.framework(framework)?, role)
    }

    pub(crate) fn get(&self, client: ClientIx) -> &Client {
        &self.slots[client]
    }

    pub(crate) fn get_mut(&mut self, client: ClientIx) -> &mut Client {
        &mut self.slots[client]
    }

    pub(crate) fn view_of(&self, client: ClientIx) -> Option<&FrameworkView> {
        self.frameworks[self.slots[client].framework].view.as_ref()
    }

    /// All clients.
    pub(crate) fn all(&self) -> impl Iterator<Item = ClientIx> {
        self.slots.iter().map(|(client, _)| client)
    }

    /// Forgets all that the client refused.
    pub(crate) fn begin_life(&mut self, client: ClientIx) {
        self.lives = self.lives.wrapping_add(1);
        self.slots[client].life = self.lives;
        self.renewed.set(client.0);
    }

    /// Takes those that were renewed, and writes them down for the agents.
    pub(crate) fn take_renewed(&mut self) -> Bits {
        let renewed = std::mem::take(&mut self.renewed);
        self.renewals.extend(renewed.ones().map(ClientIx));
        let over = self.renewals.len().saturating_sub(RENEWALS_MAX);
        self.renewals.drain(..over);
        self.renewals_before += over as u64;
        renewed
    }

    /// How many renewals there were in all.
    pub(crate) fn renewals(&self) -> u64 {
        self.renewals_before + self.renewals.len() as u64
    }

    /// The renewals after the first `seen`; none if they are no longer known.
    pub(crate) fn renewals_after(&self, seen: u64) -> Option<impl Iterator<Item = ClientIx>> {
        let position = usize::try_from(seen.checked_sub(self.renewals_before)?).ok()?;
        Some(self.renewals.range(position.min(self.renewals.len())..).copied())
    }

    fn framework_or_new(&mut self, id: &FrameworkId) -> FrameworkIx {
        self.by_id.get(id).unwrap_or_else(|| {
            let framework = Framework { id: id.clone(), view: None, clients: Vec::new() };
            let slot = self.frameworks.insert(framework);
            self.by_id.insert(id.clone(), slot);
            slot
        })
    }
}

impl Allocator {
    /// The client, made if it is not known: books may speak of it before its framework does.
    pub(crate) fn client_or_new(&mut self, framework: &FrameworkId, role: &Role) -> ClientIx {
        let slot = self.clients.framework_or_new(framework);
        if let Some(client) = self.clients.find(slot, role) {
            return client;
        }
        self.clients.lives = self.clients.lives.wrapping_add(1);
        let quota = self.quotas.of_role(role);
        let client = self.clients.slots.insert(Client {
            framework: slot,
            role: role.clone(),
            leaf: self.tree.root(),
            life: self.clients.lives,
            wanting: false,
            holds_on: 0,
            quota,
            unserved_since: self.round,
        });
        if let Some(quota) = quota {
            self.quotas.add_client(quota, client);
        }
        let own = self.framework_standing(framework);
        let (standings, default) = (&self.standings, Standing::default());
        let standing_of = |path: &str| standings.get(path).copied().unwrap_or(default);
        self.clients.slots[client].leaf = self.tree.add_client(role, framework, client, own, standing_of);
        self.clients.frameworks[slot].clients.push(client);
        self.clients.renewed.set(client.0);
        client
    }

    /// Puts a new or changed framework in the place of the old one.
    pub(crate) fn replace_framework(&mut self, view: FrameworkView) {
        let slot = self.clients.framework_or_new(&view.id);
        let old = self.clients.frameworks[slot].view.replace(view.clone());
        if old.as_ref().is_some_and(|old| only_version_differs(old, &view)) {
            return;
        }
        for role in &view.roles {
            self.client_or_new(&view.id, role);
        }
        let looks_alike = old.as_ref().is_some_and(|old| {
            (old.capabilities, &old.min_allocatable, &old.constraints)
                == (view.capabilities, &view.min_allocatable, &view.constraints)
        });
        if view.active && old.as_ref().is_none_or(|old| !old.active) {
            self.inverse.note_all();
        }
        for client in self.clients.frameworks[slot].clients.clone() {
            self.update_client(client, old.as_ref(), Some(&view));
            if !looks_alike {
                self.clients.renewed.set(client.0);
            }
            self.release_if_idle(client);
        }
    }

    /// The framework is gone; what it holds stays held until it is given back.
    pub(crate) fn drop_framework(&mut self, id: &FrameworkId) {
        let Some(slot) = self.clients.framework(id) else {
            return;
        };
        let old = self.clients.frameworks[slot].view.take();
        for client in self.clients.frameworks[slot].clients.clone() {
            self.update_client(client, old.as_ref(), None);
            self.release_if_idle(client);
        }
        self.release_framework(slot);
    }

    fn update_client(&mut self, client: ClientIx, old: Option<&FrameworkView>, new: Option<&FrameworkView>) {
        let role = self.clients.slots[client].role.clone();
        let could =
            |view: Option<&FrameworkView>| view.is_some_and(|view| view.active && view.roles.contains(&role));
        let wants = |view: Option<&FrameworkView>| view.is_some_and(|view| view.wants(&role));
        let disconnected_or_left = could(old) && !could(new);
        let unsuppressed = could(old) && !wants(old) && wants(new);
        if disconnected_or_left || unsuppressed {
            self.clients.begin_life(client);
        }
        let capable = |one| new.is_some_and(|view| view.capabilities.has(one));
        self.clients.take_revocable.put(client.0, capable(FrameworkCapability::RevocableResources));
        let own_least = new.is_some_and(|view| view.min_allocatable.contains_key(&role));
        self.clients.own_least.put(client.0, own_least);
        self.set_wanting(client, wants(new));
    }

    fn set_wanting(&mut self, client: ClientIx, wanting: bool) {
        let entry = &mut self.clients.slots[client];
        if entry.wanting != wanting {
            entry.wanting = wanting;
            entry.unserved_since = self.round;
            self.tree.set_wanting(entry.leaf, wanting);
            self.clients.wanting.put(client.0, wanting);
            if wanting {
                self.clients.renewed.set(client.0);
            }
        }
    }

    /// Forgets a client that its framework left and that holds nothing.
    pub(crate) fn release_if_idle(&mut self, client: ClientIx) {
        let entry = &self.clients.slots[client];
        if entry.holds_on > 0 {
            return;
        }
        let (slot, role) = (entry.framework, &entry.role);
        let view = self.clients.frameworks[slot].view.as_ref();
        if view.is_some_and(|view| view.roles.contains(role)) {
            return;
        }
        self.tree.remove_client(entry.leaf);
        if let Some(quota) = entry.quota {
            self.quotas.remove_client(quota, client);
        }
        self.clients.slots.remove(client);
        self.clients.renewed.clear(client.0);
        self.clients.frameworks[slot].clients.retain(|kept| *kept != client);
        self.release_framework(slot);
    }

    fn release_framework(&mut self, slot: FrameworkIx) {
        let Some(entry) = self.clients.frameworks.get(slot) else {
            return;
        };
        if entry.view.is_none() && entry.clients.is_empty() {
            self.clients.by_id.remove(&entry.id);
            self.clients.frameworks.remove(slot);
            self.forget_asked(slot);
        }
    }
}

fn only_version_differs(old: &FrameworkView, new: &FrameworkView) -> bool {
    FrameworkView { version: new.version, ..old.clone() } == *new
}
