//! The leader: one input at a time to the part that it concerns, then whatever is due.

use mesarch_allocator::{Stats, Why};
use mesarch_state::{Change, Effect, Outcome, State, command::ExecutorKey, open_work_of_framework};
use mesarch_types::{AgentId, FrameworkId, Millis};

use crate::{
    batch::Batch,
    config::Config,
    counters::Counters,
    desk::{Desk, Purpose},
    frameworks::{Frameworks, OfferAges},
    index::{Index, IndexError},
    inverse::InversePlanner,
    links::Links,
    message::{Input, Loss, Output, Ticket, ToAgent},
    planner::Planner,
    removals::Removals,
    timers::{Timer, Timers},
    turn::Turn,
};

/// The end of an operation that its framework does not acknowledge is told again this often.
const OPERATIONS_REPEAT: Millis = Millis::from_secs(10);

/// The leader's mind for one term. Dropped when the term ends; nothing in it is needed afterwards.
pub struct Leader {
    base: Base,
    parts: Parts,
}

/// What every part uses.
struct Base {
    config: Config,
    now: Millis,
    desk: Desk,
    timers: Timers,
    counters: Counters,
}

pub(crate) struct Parts {
    /// Index of the state that this began with: changes up to it are in the index.
    begun: u64,
    pub(crate) links: Links,
    removals: Removals,
    frameworks: Frameworks,
    offers: OfferAges,
    pub(crate) batch: Batch,
    index: Index,
    planner: Planner,
    inverse: InversePlanner,
    /// Whether the time is set at which ends of operations are told again.
    repeats_operations: bool,
}

impl Leader {
    /// Begins the term that `state` is in: call it once this leader's BeginTerm is applied, and give it every later
    /// entry as [`Input::Applied`]. `index` is the log index that `state` stands at, `now` the cluster time.
    ///
    /// Nobody has a link or stream in this term yet, so open work is listed per agent and framework as each comes back.
    pub fn begin(config: Config, state: &State, index: u64, now: Millis) -> (Self, Vec<Output>) {
        let base = Base {
            now: now.max(state.now()),
            desk: Desk::default(),
            timers: Timers::default(),
            counters: Counters::default(),
            config,
        };
        let parts = Parts {
            begun: index,
            links: Links::default(),
            removals: Removals::new(&base.config, base.now),
            frameworks: Frameworks::default(),
            offers: OfferAges::default(),
            batch: Batch::default(),
            index: Index::rebuild(&base.config, state),
            planner: Planner::new(index),
            inverse: InversePlanner::new(index),
            repeats_operations: false,
        };
        let mut leader = Self { base, parts };
        let mut turn = leader.base.turn(state);
        leader.parts.begin(&mut turn);
        leader.parts.run_due(&mut turn);
        let outputs = leader.base.desk.take();
        (leader, outputs)
    }

    /// Takes one input. `state` is the newest published state, at least as new as the input; `now` is the cluster
    /// time. The outputs are to be carried out in order.
    pub fn step(&mut self, state: &State, now: Millis, input: Input) -> Vec<Output> {
        self.base.now = now.max(self.base.now);
        let mut turn = self.base.turn(state);
        self.parts.take(&mut turn, input);
        self.parts.run_due(&mut turn);
        self.base.desk.take()
    }

    /// The cluster time at which to step with [`Input::Wake`] if nothing else happens before; it may be past.
    pub fn next_wake(&self) -> Option<Millis> {
        let planner = self.parts.planner.next(&self.parts.index, self.base.now);
        let others = [self.base.timers.next(), self.base.desk.next_retry(), self.parts.batch.next()];
        let inverse = self.parts.inverse.next(&self.parts.index, self.base.now);
        others.into_iter().chain([planner, inverse]).flatten().min()
    }

    /// Whether the planner's index is what `state`, of which every entry was given, leads to. For tests, simulation and
    /// debug builds: costs as much as a beginning.
    pub fn check_index(&self, state: &State) -> Result<(), IndexError> {
        self.parts.index.check(&self.base.config, state)
    }

    /// What the allocator knows and waits for, for the metrics.
    pub fn allocator_stats(&self) -> Stats {
        self.parts.index.allocator.stats()
    }

    /// Why `framework` holds no offer of `agent` now, or of any agent if none is named. Costs in proportion to the agents
    /// that are asked about.
    pub fn explain(&mut self, framework: &FrameworkId, agent: Option<&AgentId>, now: Millis) -> Vec<Why> {
        self.base.now = now.max(self.base.now);
        self.parts.index.allocator.explain(framework, agent, self.base.now)
    }

    /// The name of the policy in force, if this leader does not know it: it plans by the default meanwhile.
    pub fn unknown_policy(&self) -> Option<&str> {
        self.parts.index.unknown_policy()
    }

    /// What was done in this term so far.
    pub fn counters(&self) -> &Counters {
        &self.base.counters
    }
}

impl Base {
    fn turn<'a>(&'a mut self, state: &'a State) -> Turn<'a> {
        Turn {
            state,
            now: self.now,
            config: &self.config,
            desk: &mut self.desk,
            timers: &mut self.timers,
            counters: &mut self.counters,
        }
    }
}

impl Parts {
    fn begin(&mut self, turn: &mut Turn<'_>) {
        let state = turn.state;
        turn.timers.at(turn.after_term_began(turn.config.agents_expected), Timer::ExpectedAgents);
        turn.timers.at(turn.after_term_began(turn.config.resume_grace), Timer::ExpectedFrameworks);
        for agent in state.agents() {
            self.agent_changed(turn, &agent.id);
        }
        for framework in state.frameworks() {
            self.frameworks.changed(turn, framework);
            let connected = framework.is_connected();
            let open = connected.then(|| open_work_of_framework(state, &framework.id));
            open.into_iter().flatten().for_each(|effect| turn.desk.perform(effect));
        }
        for offer in state.offers() {
            self.offers.added(turn, offer.id.clone());
        }
    }

    fn take(&mut self, turn: &mut Turn<'_>, input: Input) {
        match input {
            Input::Applied { index, changes, effects } => self.applied(turn, index, &changes, effects),
            Input::Answered { ticket, outcome, index } => self.answered(turn, ticket, &outcome, index),
            Input::Lost { ticket, why } => self.lost(turn, ticket, why),
            Input::LinkOpened { link, hello } => self.links.opened(turn, link, hello),
            Input::LinkInventory { link, inventory } => self.links.inventory(turn, link, inventory),
            Input::LinkClosed { link } => self.links.closed(turn, link),
            Input::FromAgent { link, message } => self.reported(turn, link, message),
            Input::Pong { link, number } => self.links.pong(&mut self.removals, link, number),
            Input::StreamOpened { framework, epoch } => self.frameworks.stream_opened(framework, epoch),
            Input::StreamClosed { framework, epoch } => self.frameworks.stream_closed(turn, framework, epoch),
            Input::Delivered { framework, epoch, up_to } => {
                self.batch.delivered(turn.now, framework, epoch, up_to);
            }
            Input::Wake => {}
        }
    }

    fn run_due(&mut self, turn: &mut Turn<'_>) {
        while let Some(timer) = turn.timers.pop_due(turn.now) {
            self.look(turn, timer);
        }
        let links = &self.links;
        let wanted = |purpose: &Purpose| !matches!(purpose, Purpose::Attach(link) if !links.is_open(*link));
        turn.desk.retry(turn.now, wanted);
        for command in self.batch.flush(turn.now) {
            turn.surely(command);
        }
        self.removals.run(turn);
        self.planner.run(turn, &mut self.index);
        self.inverse.run(turn, &mut self.index);
    }

    fn look(&mut self, turn: &mut Turn<'_>, timer: Timer) {
        match timer {
            Timer::AgentAway(agent) => self.links.away(turn, &agent),
            Timer::ExpectedAgents => self.links.expected_due(turn),
            Timer::Reregister(agent, since) => self.removals.reregister_due(turn, &agent, since),
            Timer::Ping(link) => self.links.ping_due(turn, &mut self.removals, link),
            Timer::Inventory(link) => self.links.inventory_due(turn, link),
            Timer::Removals => self.removals.disarm(),
            Timer::FailoverEnd(framework, epoch) => self.frameworks.failover_due(turn, &framework, epoch),
            Timer::StreamMissing(framework, epoch) => self.frameworks.stream_due(turn, &framework, epoch),
            Timer::ExpectedFrameworks => self.frameworks.expected_due(turn),
            Timer::Offers => self.offers.due(turn),
            Timer::Operations => self.operations_due(turn),
        }
    }

    // The log.

    fn applied(&mut self, turn: &mut Turn<'_>, index: u64, changes: &[Change], effects: Vec<Effect>) {
        for change in changes {
            if index > self.begun {
                self.index.fold(change, turn.state, turn.now);
            }
            self.changed(turn, change);
        }
        for effect in launches_in_order(effects) {
            self.effect(turn, effect);
        }
        self.planner.applied(index, turn.now);
        self.inverse.applied(index);
    }

    fn changed(&mut self, turn: &mut Turn<'_>, change: &Change) {
        let state = turn.state;
        match change {
            Change::Agent(id) => self.agent_changed(turn, id),
            Change::AgentRemoved(id) => {
                self.removals.forget(id);
                self.links.agent_removed(turn, id);
            }
            Change::Framework(id) => {
                if let Some(framework) = state.framework(id) {
                    self.frameworks.changed(turn, framework);
                }
            }
            Change::FrameworkRemoved(id) => self.frameworks.removed(id),
            Change::OfferAdded(offer) => self.offers.added(turn, offer.clone()),
            Change::OfferRemoved { offer, .. } => self.offers.removed(offer),
            Change::TermBegan
            | Change::InverseOfferAdded { .. }
            | Change::InverseOfferRemoved { .. }
            | Change::Revived { .. }
            | Change::Taken(_)
            | Change::Released { .. }
            | Change::Converted { .. }
            | Change::TaskAdded(..)
            | Change::TaskUpdated { .. }
            | Change::TaskRemoved(..)
            | Change::ExecutorAdded(_)
            | Change::ExecutorRemoved(_)
            | Change::Policy => {}
        }
    }

    fn agent_changed(&mut self, turn: &mut Turn<'_>, id: &AgentId) {
        let state = turn.state;
        self.links.agent_changed(turn, id);
        if let Some(agent) = state.agent(id) {
            self.removals.agent_changed(turn, agent);
        }
    }

    fn answered(&mut self, turn: &mut Turn<'_>, ticket: Ticket, outcome: &Outcome, index: u64) {
        match turn.desk.answered(ticket) {
            Some(Purpose::Attach(link)) => self.links.answered(turn, link, outcome),
            Some(Purpose::Plan) => self.planner.answered(turn, &mut self.index, ticket, outcome, index),
            Some(Purpose::Inverse) => self.inverse.answered(turn, &mut self.index, outcome, index),
            Some(Purpose::Exit(executor, newest)) => self.exit_noted(turn, executor, newest),
            Some(Purpose::Once | Purpose::Surely) | None => {}
        }
    }

    fn lost(&mut self, turn: &mut Turn<'_>, ticket: Ticket, why: Loss) {
        turn.counters.too_large += u64::from(why == Loss::TooLarge);
        match turn.desk.lost(ticket, why, turn.now) {
            Some(Purpose::Plan) => self.planner.lost(turn, &mut self.index, ticket),
            Some(Purpose::Inverse) => self.inverse.lost(turn, &mut self.index),
            Some(Purpose::Attach(link)) if why == Loss::TooLarge => self.links.too_large(turn, link),
            _ => {}
        }
    }

    // Effects.

    /// Hands an effect to whom it concerns, if there is a way to him now. Otherwise it is open work, and listed again
    /// when he comes back.
    pub(crate) fn effect(&mut self, turn: &mut Turn<'_>, effect: Effect) {
        match effect {
            Effect::CloseStream { .. } => turn.desk.perform(effect),
            Effect::SendOperation { ref framework, .. } => {
                if is_connected(turn.state, framework) {
                    turn.desk.perform(effect);
                    self.repeat_operations(turn);
                }
            }
            Effect::SendOffer { ref framework, .. }
            | Effect::SendInverseOffer { ref framework, .. }
            | Effect::SendUpdate { ref framework, .. }
            | Effect::SendOutbox { ref framework, .. } => {
                if is_connected(turn.state, framework) {
                    turn.desk.perform(effect);
                }
            }
            Effect::SendResources { agent } => {
                self.send(turn, &agent.clone(), ToAgent::Resources { agent });
            }
            Effect::ApplyOperation { agent, framework, operation } => {
                self.send(turn, &agent, ToAgent::ApplyOperation { framework, operation });
            }
            Effect::AcknowledgeOperation { agent, provider, operation, status } => {
                self.send(turn, &agent, ToAgent::OperationAcknowledged { provider, operation, status });
            }
            Effect::RunTask { agent, framework, task, launch } => {
                self.send(turn, &agent, ToAgent::RunTask { framework, task, launch });
            }
            Effect::KillTask { agent, framework, task, launch } => {
                self.send(turn, &agent, ToAgent::KillTask { framework, task, launch });
            }
            Effect::SendAcknowledgement { agent, framework, task, launch, uuid } => {
                self.send(turn, &agent, ToAgent::Acknowledged { framework, task, launch, uuid });
            }
            Effect::ShutdownExecutor(ExecutorKey { framework, agent, executor }) => {
                self.send(turn, &agent, ToAgent::ShutdownExecutor { framework, executor });
            }
            Effect::ShutdownFramework { agent, framework } => {
                self.send(turn, &agent, ToAgent::ShutdownFramework { framework });
            }
        }
    }

    /// What a framework has not acknowledged it is told again from time to time: no agent asks for it.
    fn repeat_operations(&mut self, turn: &mut Turn<'_>) {
        if !std::mem::replace(&mut self.repeats_operations, true) {
            turn.timers.at(turn.after(OPERATIONS_REPEAT), Timer::Operations);
        }
    }

    fn operations_due(&mut self, turn: &mut Turn<'_>) {
        self.repeats_operations = false;
        let state = turn.state;
        for operation in state.operations().filter(|operation| operation.finished) {
            let (framework, uuid) = (operation.framework.clone(), operation.uuid);
            self.effect(turn, Effect::SendOperation { framework, operation: operation.id.clone(), uuid });
        }
    }

    fn send(&self, turn: &mut Turn<'_>, agent: &AgentId, message: ToAgent) {
        if let Some(link) = self.links.attached(agent) {
            turn.desk.send(link, message);
        }
    }
}

/// Launches oldest first, in the places that launches have: an agent that keeps a watermark of launch ids must see them
/// grow. Everything else stays where it is, for what follows a SHUTDOWN is not meant by it.
fn launches_in_order(mut effects: Vec<Effect>) -> Vec<Effect> {
    let launch = |effect: &Effect| match effect {
        Effect::RunTask { launch, .. } => Some(*launch),
        _ => None,
    };
    if effects.iter().filter_map(launch).is_sorted() {
        return effects;
    }
    let (places, mut launches): (Vec<usize>, Vec<Effect>) = effects
        .iter()
        .enumerate()
        .filter(|(_, effect)| launch(effect).is_some())
        .map(|(place, effect)| (place, effect.clone()))
        .unzip();
    launches.sort_by_key(|effect| launch(effect));
    for (place, effect) in places.into_iter().zip(launches) {
        effects[place] = effect;
    }
    effects
}

fn is_connected(state: &State, framework: &FrameworkId) -> bool {
    state.framework(framework).is_some_and(|framework| framework.is_connected())
}

#[cfg(test)]
mod tests {
    use mesarch_types::LaunchId;

    use super::*;

    #[test]
    fn launches_are_put_in_order_among_themselves_only() {
        let run = |index| Effect::RunTask {
            agent: "a".into(),
            framework: "f".into(),
            task: "t".into(),
            launch: LaunchId { index, position: 0 },
        };
        let end = Effect::ShutdownExecutor(ExecutorKey {
            framework: "f".into(),
            agent: "a".into(),
            executor: "e".into(),
        });
        let mixed = vec![run(7), end.clone(), run(5), run(9)];
        assert_eq!(launches_in_order(mixed), [run(5), end.clone(), run(7), run(9)]);
        let sorted = vec![run(1), end.clone(), run(2)];
        assert_eq!(launches_in_order(sorted.clone()), sorted);
    }
}
