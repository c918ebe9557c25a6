//! Agents come, for the first time or again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::{OrdMap, OrdSet};
use mesarch_types::{AgentId, ResourceVersion, digest::SetHash, resource::Resources};

use crate::{
    change::Change,
    command::{AgentSpec, AttachAgent, Inventory, Link, RegisterAgent},
    effect::Effect,
    machine::LEVEL_OPERATIONS,
    model::{Administration, Agent, Attachment, Heard, Ledger, Task, TaskKey},
    open_work::open_work_of_agent,
    outcome::{Outcome, Refusal},
    sharing::Count,
    step::Step,
};

/// Tasks that an agent had when it was given up.
pub(crate) type Returned = OrdMap<TaskKey, Arc<Task>>;

impl Step<'_> {
    /// A new agent gets an id; one that asks again, because it did not hear the answer, gets the same one. An agent
    /// without an id runs nothing, so its inventory is empty.
    pub(crate) fn register_agent(&mut self, c: RegisterAgent) -> Outcome {
        if self.state.is_down(&c.spec.hostname) {
            return Outcome::Refused(Refusal::MachineDown);
        }
        let known = self.state.nonces.get(&c.nonce).cloned();
        let agent = known.unwrap_or_else(|| self.next_agent_id());
        if !self.state.agents.contains_key(&agent) && !self.state.unreachable.contains_key(&agent) {
            self.add_agent(agent.clone(), Some(c.nonce), c.spec.clone(), c.link);
        }
        let inventory = Some(Inventory::default());
        let stored = ResourceVersion::default();
        let attach = AttachAgent { agent, link: c.link, spec: Some(c.spec), inventory, stored };
        self.attach_agent(attach).unwrap_or_else(Outcome::Refused)
    }

    pub(crate) fn attach_agent(&mut self, c: AttachAgent) -> Result<Outcome, Refusal> {
        let returned = self.admit(&c)?;
        self.link_up(&c);
        let told = c.inventory.as_ref().and_then(|inventory| inventory.resources.as_ref());
        self.settle_resources(&c.agent, c.stored, told);
        if let Some(inventory) = c.inventory {
            self.take_inventory(&c.agent, inventory, returned);
        }
        // What an agent that is to be empty brings back is told to end, too.
        self.kill_all(&c.agent, |kill| kill.is_none());
        self.emptied.push(c.agent.clone());
        let owed = open_work_of_agent(self.state, &c.agent);
        // An agent may be owed as much as it runs, which is tens of thousands.
        let listed: BTreeSet<&Effect> = owed.iter().collect();
        self.effects.retain(|effect| !listed.contains(effect));
        self.effects.extend(owed);
        Ok(Outcome::AgentAttached { agent: c.agent })
    }

    /// Judges the attachment, and makes sure that the agent is in the table. Changes nothing if it is refused.
    fn admit(&mut self, c: &AttachAgent) -> Result<Returned, Refusal> {
        if self.state.gone.contains_key(&c.agent) {
            return Err(Refusal::AgentGone);
        }
        if self.hostname_of(c).is_some_and(|hostname| self.state.is_down(hostname)) {
            return Err(Refusal::MachineDown);
        }
        if self.has_shrunk(c) {
            return Err(Refusal::Shrunk);
        }
        if let Some(known) = self.state.agents.get(&c.agent) {
            check_link(known, c.link)?;
            // What the agent ran under an older incarnation (before a restore) is not known here; and what was ended
            // here with its last link may run on, whatever its digest was compared with.
            let current = known.incarnation == self.state.meta.incarnation && !known.owes_inventory;
            let known_well = current || c.inventory.is_some();
            return known_well.then(Returned::new).ok_or(Refusal::InventoryNeeded);
        }
        if let Some(away) = self.state.unreachable.get(&c.agent) {
            check_link(&away.agent, c.link)?;
            return match c.inventory {
                Some(_) => Ok(self.bring_back(&c.agent)),
                None => Err(Refusal::InventoryNeeded),
            };
        }
        let (Some(spec), Some(_)) = (&c.spec, &c.inventory) else {
            return Err(Refusal::UnknownAgent);
        };
        self.add_agent(c.agent.clone(), None, spec.clone(), c.link);
        Ok(Returned::new())
    }

    /// Volumes and reservations that the agent stores would be given up without anybody's will, if it were taken as it is.
    fn has_shrunk(&self, c: &AttachAgent) -> bool {
        if self.state.meta.level < LEVEL_OPERATIONS {
            return false;
        }
        let away = || self.state.unreachable.get(&c.agent).map(|away| &*away.agent);
        let known = self.state.agents.get(&c.agent).map(|known| &**known).or_else(away);
        known
            .zip(c.spec.as_ref())
            .is_some_and(|(known, spec)| known.stores_resources() && !known.can_bring(spec))
    }

    fn hostname_of<'b>(&'b self, c: &'b AttachAgent) -> Option<&'b str> {
        let known = || self.state.agents.get(&c.agent).map(|known| &*known.spec);
        let away = || self.state.unreachable.get(&c.agent).map(|away| &*away.agent.spec);
        c.spec.as_ref().or_else(known).or_else(away).map(|spec| &*spec.hostname)
    }

    fn add_agent(&mut self, id: AgentId, nonce: Option<[u8; 16]>, spec: AgentSpec, link: Link) {
        let epoch = self.epoch();
        let agent = Agent {
            id: id.clone(),
            nonce,
            ledger: Ledger::new(&spec.total),
            converted: None,
            administration: Administration::default(),
            unavailability: self.state.unavailability_of(&spec.hostname),
            converted_at: ResourceVersion::default(),
            stored: ResourceVersion::default(),
            leaving: Resources::default(),
            providers: BTreeMap::new(),
            heard: Heard::default(),
            spec: Arc::new(spec),
            version: epoch,
            link,
            attachment: Attachment::Attached { since: epoch },
            incarnation: self.state.meta.incarnation,
            registered: self.at.wall,
            reregistered: None,
            set_hash: SetHash::default(),
            unsettled: 0,
            offers: BTreeSet::new(),
            tasks: OrdSet::new(),
            operations: BTreeSet::new(),
            executors: BTreeSet::new(),
            forgetting: OrdMap::new(),
            pending_shutdowns: OrdSet::new(),
            owes_inventory: false,
        };
        self.state.agents.insert(id.clone(), Arc::new(agent));
        self.count_agent(&id, Count::In);
        nonce.into_iter().for_each(|nonce| drop(self.state.nonces.insert(nonce, id.clone())));
    }

    /// The agent is there, on its new link, with its new spec if that changed.
    fn link_up(&mut self, c: &AttachAgent) {
        let (since, wall, incarnation) = (self.epoch(), self.at.wall, self.state.meta.incarnation);
        let Some(known) = self.state.agents.get(&c.agent).cloned() else {
            return;
        };
        let spec = c.spec.clone().filter(|spec| *spec != *known.spec);
        let moved = spec.as_ref().filter(|spec| spec.hostname != known.spec.hostname);
        let moved = moved.map(|spec| self.state.unavailability_of(&spec.hostname));
        if spec.is_some() {
            self.withdraw_offers_of_agent(&c.agent);
            self.count_agent(&c.agent, Count::Out);
        }
        if known.incarnation != incarnation && !known.providers.is_empty() {
            self.doubt_providers(&c.agent);
        }
        let redraw = spec.is_some();
        if moved.is_some() {
            self.forget_inverse_offers_of_agent(&c.agent);
        }
        let Some(agent) = self.agent_mut(&c.agent) else {
            return;
        };
        if spec.is_some() || !agent.is_present() {
            agent.version = since;
        }
        let just_added = agent.attachment == Attachment::Attached { since };
        agent.reregistered = if just_added { None } else { Some(wall) };
        if let Some(spec) = spec {
            agent.spec = Arc::new(spec);
        }
        agent.unavailability = moved.unwrap_or(agent.unavailability);
        agent.link = c.link;
        agent.incarnation = incarnation;
        agent.attachment = Attachment::Attached { since };
        if redraw {
            self.draw_up_uncounted_books(&c.agent);
        }
        self.change(Change::Agent(c.agent.clone()));
    }
}

/// A link that ended, or an older one, does not come back.
fn check_link(known: &Agent, link: Link) -> Result<(), Refusal> {
    let ended = link == known.link && !known.is_present();
    if link < known.link || ended { Err(Refusal::StaleLink) } else { Ok(()) }
}
