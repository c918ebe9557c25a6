//! ACCEPT: the offers are used up, task by task. Groups of tasks are in `group.rs`, operations between them in
//! `operation.rs`.
//!
//! An ACCEPT never declares terminal a task that the framework has live: it may be the second try of one that was
//! committed, so the framework is told the state that is known, whatever else is wrong with the second try. Mesos does
//! so only by chance: while the offers are good it answers TASK_ERROR ("Task has duplicate ID"), which a framework must
//! take for the end of the task that runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesarch_types::{
    AgentId, FrameworkId, LaunchId, OfferId, Reason, Role, TaskId, TaskState, resource::Resources,
    time::LAUNCHES_PER_COMMAND_MAX,
};

use super::lifecycle::Conclusion;
use crate::{
    command::{AcceptOffers, ExecutorKey, ExecutorSpec, Judged, Launch, Operation, TaskSpec},
    effect::Effect,
    machine::{LEVEL_GROUPS, LEVEL_OPERATIONS, LEVEL_TRUE_LIVES},
    model::{Executor, Holder, Task, ledger::Side},
    outcome::{LaunchRefusal, LaunchResult, Outcome, Refusal},
    step::{Rescind, Step},
};

/// The offers of one ACCEPT while they are being used up.
pub(super) struct Basket {
    pub(super) framework: FrameworkId,
    pub(super) role: Role,
    pub(super) agent: AgentId,
    /// Not yet used; without allocation marks.
    pub(super) left: Resources,
}

/// Why a task is not launched, for the outcome and for the framework.
pub(super) struct Rejection {
    pub(super) refusal: LaunchRefusal,
    pub(super) message: String,
}

/// The executor that a task runs in, as the books see it.
pub(super) enum Runner {
    /// The agent's built-in one, outside the books.
    BuiltIn,
    /// One that is charged already.
    Known(ExecutorKey),
    /// One that the task brings.
    New(ExecutorSpec),
}

impl Rejection {
    pub(super) fn new(refusal: LaunchRefusal, message: impl Into<String>) -> Self {
        Self { refusal, message: message.into() }
    }
}

impl Step<'_> {
    pub(crate) fn accept_offers(&mut self, mut c: AcceptOffers) -> Result<Outcome, Refusal> {
        self.state.known_framework(&c.framework)?;
        if self.state.meta.level < LEVEL_OPERATIONS {
            // Older versions do not see them.
            c.operations.clear();
        }
        let refuse = c.refuse;
        let results = match self.check_offers(&c.framework, &c.offers) {
            Err(problem) => self.reject_accept(&c, &problem),
            Ok(()) => {
                let Some(mut basket) = self.use_up(&c) else {
                    return Ok(Outcome::Accepted(Vec::new()));
                };
                let results = self.carry_out(&mut basket, c.launches, c.operations);
                self.refuse(&basket.agent, (basket.framework, basket.role), basket.left, refuse);
                results
            }
        };
        Ok(Outcome::Accepted(results))
    }

    /// Launches and operations in the framework's order: each finds what those before it left and made.
    fn carry_out(
        &mut self,
        basket: &mut Basket,
        launches: Vec<Launch>,
        operations: Vec<Operation>,
    ) -> Vec<LaunchResult> {
        let mut operations = operations.into_iter().peekable();
        let mut results = Vec::with_capacity(launches.len());
        let mut launches = launches.into_iter().enumerate().peekable();
        while let Some((position, launch)) = launches.next() {
            while let Some(due) = operations.next_if(|operation| operation.before as usize <= position) {
                self.operate(basket, due);
            }
            // Older versions do not see groups.
            let group = launch.group.filter(|_| self.state.meta.level >= LEVEL_GROUPS);
            if group.is_none() {
                results.push(self.launch(basket, position, launch));
                continue;
            }
            let mut members = vec![launch];
            while let Some((_, next)) = launches.next_if(|(_, next)| next.group == group) {
                members.push(next);
            }
            results.extend(self.launch_group(basket, position, members));
        }
        operations.for_each(|operation| self.operate(basket, operation));
        results
    }

    /// The offers must be outstanding, different, this framework's, and of one agent and one role.
    fn check_offers(&self, framework: &FrameworkId, offers: &[OfferId]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        let mut origin = None;
        for id in offers {
            let offer = self.state.offers.get(id).filter(|offer| offer.framework == *framework);
            let offer = offer.ok_or_else(|| format!("Offer {id} is no longer valid"))?;
            if !seen.insert(id) {
                return Err(format!("Duplicate offer {id} in offer list"));
            }
            if *origin.get_or_insert((&offer.agent, &offer.role)) != (&offer.agent, &offer.role) {
                return Err("Offers are not of one agent and one role".into());
            }
        }
        if seen.is_empty() { Err("No offers specified".into()) } else { Ok(()) }
    }

    /// Discards what is still valid of the offers, and answers for each task.
    fn reject_accept(&mut self, c: &AcceptOffers, problem: &str) -> Vec<LaunchResult> {
        for id in &c.offers {
            if self.state.offers.get(id).is_some_and(|offer| offer.framework == c.framework) {
                self.withdraw_offer(id, Rescind::Silent);
            }
        }
        let told: Arc<str> = format!("Operation attempted with invalid offers: {problem}").into();
        for id in c.operations.iter().filter_map(|operation| operation.id.as_ref()) {
            self.reject_operation(&c.framework, id, &told);
        }
        let message: Arc<str> = format!("Task launched with invalid offers: {problem}").into();
        let answer = |launch: &Launch| {
            let task = launch.task_id();
            if self.tell_known_state(&c.framework, task) {
                return LaunchResult::AlreadyLive(task.clone());
            }
            let conclusion = Conclusion {
                state: TaskState::Dropped,
                reason: Reason::InvalidOffers,
                message: message.clone(),
                unreachable: None,
            };
            let agent = self.named_agent(launch);
            self.tell(&c.framework, task, agent.as_ref(), conclusion);
            LaunchResult::Refused(LaunchRefusal::InvalidOffers)
        };
        c.launches.iter().map(answer).collect()
    }

    /// Tells a framework what is known of its task, as a reconciliation would; `false` if it has no such task live.
    pub(super) fn tell_known_state(&mut self, framework: &FrameworkId, task: &TaskId) -> bool {
        let Some((state, agent, unreachable)) = self.state.known_state(framework, task) else {
            return false;
        };
        let message = match self.is_true_accept() {
            true => "The task id is in use by an earlier launch; nothing was launched",
            false => "The task is known from an earlier launch",
        };
        let conclusion =
            Conclusion { unreachable, ..Conclusion::new(state, Reason::Reconciliation, message) };
        self.tell(framework, task, Some(&agent), conclusion);
        true
    }

    fn is_true_accept(&self) -> bool {
        self.state.meta.level >= LEVEL_TRUE_LIVES
    }

    /// The agent that the framework named for the task.
    pub(super) fn named_agent(&self, launch: &Launch) -> Option<AgentId> {
        launch.agent.clone().filter(|_| self.is_true_accept())
    }

    fn use_up(&mut self, c: &AcceptOffers) -> Option<Basket> {
        let mut basket: Option<Basket> = None;
        for id in &c.offers {
            let offer = self.remove_offer(id)?;
            let resources = offer.resources.without_allocation();
            match &mut basket {
                Some(basket) => basket.left = basket.left.saturating_add(&resources),
                None => {
                    basket = Some(Basket {
                        framework: offer.framework.clone(),
                        role: offer.role.clone(),
                        agent: offer.agent.clone(),
                        left: resources,
                    });
                }
            }
        }
        basket
    }

    fn launch(&mut self, basket: &mut Basket, position: usize, launch: Launch) -> LaunchResult {
        let task = launch.task_id().clone();
        if self.is_true_accept() && self.tell_known_state(&basket.framework, &task) {
            return LaunchResult::AlreadyLive(task);
        }
        let named = self.named_agent(&launch).unwrap_or_else(|| basket.agent.clone());
        match self.try_launch(basket, position, launch) {
            Ok(launch) => LaunchResult::Launched(launch),
            Err(rejection) => {
                let (state, reason) = match rejection.refusal {
                    LaunchRefusal::ExecutorEnding => (TaskState::Dropped, Reason::ExecutorTerminated),
                    _ => (TaskState::Error, Reason::TaskInvalid),
                };
                let conclusion = Conclusion::new(state, reason, &rejection.message);
                self.tell(&basket.framework, &task, Some(&named), conclusion);
                LaunchResult::Refused(rejection.refusal)
            }
        }
    }

    fn try_launch(
        &mut self,
        basket: &mut Basket,
        position: usize,
        launch: Launch,
    ) -> Result<LaunchId, Rejection> {
        let spec = match launch.task {
            Judged::Valid(spec) => spec,
            Judged::Invalid { message, .. } => return Err(Rejection::new(LaunchRefusal::Invalid, &*message)),
        };
        let position = u32::try_from(position).ok().filter(|position| *position < LAUNCHES_PER_COMMAND_MAX);
        let Some(position) = position else {
            let message = format!("More than {LAUNCHES_PER_COMMAND_MAX} tasks in one ACCEPT");
            return Err(Rejection::new(LaunchRefusal::Invalid, message));
        };
        // Below the level that answers with the known state.
        if self.state.known_state(&basket.framework, &spec.id).is_some() {
            return Err(Rejection::new(
                LaunchRefusal::Invalid,
                format!("Task has duplicate ID: {}", spec.id),
            ));
        }
        let runner = self.runner(basket, spec.executor.as_ref())?;
        basket.left = rest(basket, [&spec], &runner)?;
        let launch = self.at.launch(position);
        let holder = (basket.framework.clone(), basket.role.clone());
        self.engage(&basket.agent, &holder, runner, launch);
        let task = spec.id.clone();
        self.start_task(&basket.agent, &holder, spec, launch);
        if self.is_attached(&basket.agent) {
            let (agent, framework) = (basket.agent.clone(), basket.framework.clone());
            self.effect(Effect::RunTask { agent, framework, task, launch });
        }
        Ok(launch)
    }

    /// The executor is counted on, from this launch on, or charged.
    pub(super) fn engage(&mut self, agent: &AgentId, holder: &Holder, runner: Runner, launch: LaunchId) {
        match runner {
            Runner::BuiltIn => {}
            Runner::Known(key) => self.count_on(&key, launch),
            Runner::New(executor) => self.start_executor(agent, holder, executor, launch),
        }
    }

    pub(super) fn runner(
        &self,
        basket: &Basket,
        executor: Option<&ExecutorSpec>,
    ) -> Result<Runner, Rejection> {
        let Some(spec) = executor else { return Ok(Runner::BuiltIn) };
        let key = ExecutorKey {
            framework: basket.framework.clone(),
            agent: basket.agent.clone(),
            executor: spec.id.clone(),
        };
        match self.state.executors.get(&key) {
            None => Ok(Runner::New(spec.clone())),
            Some(known) if known.shutdown_requested && self.is_true_accept() => Err(Rejection::new(
                LaunchRefusal::ExecutorEnding,
                format!("Executor '{}' is being shut down", spec.id),
            )),
            Some(known) if known.spec.info == spec.info => Ok(Runner::Known(key)),
            Some(_) => Err(Rejection::new(
                LaunchRefusal::ExecutorDiffers,
                format!(
                    "ExecutorInfo is not compatible with existing ExecutorInfo of executor '{}'",
                    spec.id
                ),
            )),
        }
    }

    /// The agent may not have heard of this launch when it tells the end of the executor's present run.
    fn count_on(&mut self, key: &ExecutorKey, launch: LaunchId) {
        if !self.is_true_accept() {
            return;
        }
        if let Some(executor) = self.executor_mut(key) {
            executor.launch = executor.launch.max(launch);
        }
    }

    fn start_executor(&mut self, agent: &AgentId, holder: &Holder, spec: ExecutorSpec, launch: LaunchId) {
        let key =
            ExecutorKey { framework: holder.0.clone(), agent: agent.clone(), executor: spec.id.clone() };
        let resources = spec.resources.without_allocation();
        let role = holder.1.clone();
        self.add_executor(Executor {
            key,
            spec,
            role,
            launch,
            shutdown_requested: false,
            tasks: BTreeSet::new(),
        });
        self.enter(Side::Used, agent, holder, &resources);
    }

    pub(super) fn start_task(&mut self, agent: &AgentId, holder: &Holder, spec: TaskSpec, launch: LaunchId) {
        let task = Task {
            framework: holder.0.clone(),
            spec,
            launch,
            agent: agent.clone(),
            role: holder.1.clone(),
            state: TaskState::Staging,
            statuses: Vec::new(),
            unacknowledged: false,
            reported: false,
            acknowledged: None,
            ack_owed: false,
            kill: None,
        };
        self.add_task(task, false);
    }
}

/// What is left of the offers after the tasks and the executor that they bring.
pub(super) fn rest<'a>(
    basket: &Basket,
    tasks: impl IntoIterator<Item = &'a TaskSpec>,
    runner: &Runner,
) -> Result<Resources, Rejection> {
    let tasks: Vec<Resources> = tasks.into_iter().map(|task| task.resources.without_allocation()).collect();
    let executor = match runner {
        Runner::New(executor) => executor.resources.without_allocation(),
        Runner::BuiltIn | Runner::Known(_) => Resources::default(),
    };
    let mut parts = tasks.iter().chain([&executor]);
    let rest = parts.try_fold(basket.left.clone(), |left, part| left.checked_sub(part));
    rest.ok_or_else(|| {
        let wanted = tasks.iter().fold(executor.clone(), |sum, task| sum.saturating_add(task));
        Rejection::new(
            LaunchRefusal::Resources,
            format!(
                "Total resources {wanted} required by task and its executor is more than available {}",
                basket.left
            ),
        )
    })
}
