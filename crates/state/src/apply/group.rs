//! Groups of tasks: launched all or none, and sent to their agent as one.

use std::{collections::BTreeSet, sync::Arc};

use mesarch_types::{LaunchId, Reason, TaskState, time::LAUNCHES_PER_COMMAND_MAX};

use super::{
    accept::{Basket, Rejection, rest},
    lifecycle::Conclusion,
};
use crate::{
    command::{Judged, Launch, TaskSpec},
    model::{Holder, Task, TaskGroup},
    open_work::run_group,
    outcome::{LaunchRefusal, LaunchResult},
    step::Step,
};

impl Step<'_> {
    /// Launches tasks that follow one another in the ACCEPT from place `first` on. What is wrong with one of them is told
    /// for each; one that its framework has live already is answered with its known state, as everywhere.
    pub(super) fn launch_group(
        &mut self,
        basket: &mut Basket,
        first: usize,
        launches: Vec<Launch>,
    ) -> Vec<LaunchResult> {
        match self.try_launch_group(basket, first, &launches) {
            Ok(launched) => launched.into_iter().map(LaunchResult::Launched).collect(),
            Err(rejection) => {
                launches.iter().map(|launch| self.reject_member(basket, launch, &rejection)).collect()
            }
        }
    }

    fn reject_member(&mut self, basket: &Basket, launch: &Launch, rejection: &Rejection) -> LaunchResult {
        let task = launch.task_id();
        if self.tell_known_state(&basket.framework, task) {
            return LaunchResult::AlreadyLive(task.clone());
        }
        let (state, reason) = match rejection.refusal {
            LaunchRefusal::ExecutorEnding => (TaskState::Dropped, Reason::ExecutorTerminated),
            _ => (TaskState::Error, Reason::TaskGroupInvalid),
        };
        let named = self.named_agent(launch).unwrap_or_else(|| basket.agent.clone());
        let conclusion = Conclusion::new(state, reason, &rejection.message);
        self.tell(&basket.framework, task, Some(&named), conclusion);
        LaunchResult::Refused(rejection.refusal)
    }

    /// Changes nothing unless all of them are launched.
    fn try_launch_group(
        &mut self,
        basket: &mut Basket,
        first: usize,
        launches: &[Launch],
    ) -> Result<Vec<LaunchId>, Rejection> {
        let specs: Vec<TaskSpec> = launches.iter().map(described).collect::<Result<_, _>>()?;
        let first = places(first, specs.len())?;
        self.check_ids(basket, &specs)?;
        let executor = specs.first().and_then(|spec| spec.executor.as_ref());
        if executor.is_none() || specs.iter().any(|spec| spec.executor.as_ref() != executor) {
            let message = "The tasks of a group must have one executor in common";
            return Err(Rejection::new(LaunchRefusal::InvalidGroup, message));
        }
        let runner = self.runner(basket, executor)?;
        basket.left = rest(basket, &specs, &runner)?;
        let group = TaskGroup {
            framework: basket.framework.clone(),
            launch: self.at.launch(first),
            tasks: specs.iter().map(|spec| spec.id.clone()).collect(),
            unreported: u32::try_from(specs.len()).unwrap_or(u32::MAX),
        };
        let launched: Vec<LaunchId> = group.launches().map(|(_, launch)| launch).collect();
        let holder: Holder = (basket.framework.clone(), basket.role.clone());
        self.engage(&basket.agent, &holder, runner, launched.last().copied().unwrap_or(group.launch));
        for (spec, launch) in specs.into_iter().zip(&launched) {
            self.start_task(&basket.agent, &holder, spec, *launch);
        }
        if self.is_attached(&basket.agent) {
            self.effect(run_group(&basket.agent, &group));
        }
        self.state.groups.insert(group.launch, Arc::new(group));
        Ok(launched)
    }

    fn check_ids(&self, basket: &Basket, specs: &[TaskSpec]) -> Result<(), Rejection> {
        let mut seen = BTreeSet::new();
        let mut used = |id| !seen.insert(id) || self.state.known_state(&basket.framework, id).is_some();
        match specs.iter().find(|spec| used(&spec.id)) {
            None => Ok(()),
            Some(spec) => {
                let message =
                    format!("Task '{}' of the group is invalid: Task has duplicate ID: {0}", spec.id);
                Err(Rejection::new(LaunchRefusal::InvalidGroup, message))
            }
        }
    }

    /// The task's agent has spoken of it for the first time, or never will.
    pub(super) fn leave_group(&mut self, task: &Task) {
        let Some((launch, left)) = self.state.group_of(task).map(|group| (group.launch, group.unreported))
        else {
            return;
        };
        if left <= 1 {
            self.state.groups.remove(&launch);
        } else if let Some(group) = self.state.groups.get_mut(&launch) {
            Arc::make_mut(group).unreported = left - 1;
        }
    }
}

fn described(launch: &Launch) -> Result<TaskSpec, Rejection> {
    match &launch.task {
        Judged::Valid(spec) => Ok(spec.clone()),
        Judged::Invalid { message, .. } => Err(Rejection::new(LaunchRefusal::InvalidGroup, &**message)),
    }
}

/// The first place, if the last one is there, too.
fn places(first: usize, tasks: usize) -> Result<u32, Rejection> {
    let end = u32::try_from(first.saturating_add(tasks)).ok();
    match end.filter(|end| *end <= LAUNCHES_PER_COMMAND_MAX).and_then(|_| u32::try_from(first).ok()) {
        Some(first) => Ok(first),
        None => {
            let message = format!("More than {LAUNCHES_PER_COMMAND_MAX} tasks in one ACCEPT");
            Err(Rejection::new(LaunchRefusal::InvalidGroup, message))
        }
    }
}
