//! The start of an agent that was here before.

use std::collections::BTreeSet;

use mesarch_types::{FrameworkId, Reason};

use crate::{
    Agent, Config, ExecutorKey, Now, Output, Record, Run, RunPhase, TaskFacts, TaskKey,
    agent::{Delivery, Out, Stage},
};

const NOT_MEANT_TO_SURVIVE: (Reason, &str) =
    (Reason::AgentRestarted, "The agent restarted and the framework does not checkpoint");

impl Agent {
    /// Goes on from stored records: runs are given time to come back, launches that had no run yet get one.
    ///
    /// A run whose process is known to be dead is reported to the agent right afterwards as
    /// [`Input::ExecutorExited`](crate::Input::ExecutorExited).
    pub fn recover(
        config: Config,
        now: Now,
        records: impl IntoIterator<Item = Record>,
    ) -> (Self, Vec<Output>) {
        let mut agent = Self::new(config);
        for record in records {
            agent.durable.apply(&record);
        }
        agent.owes_inventory = true;
        let mut out = Out { now, outputs: Vec::new() };
        agent.align_volumes(&mut out);
        agent.restore_deliveries();
        agent.restore_runs(&mut out);
        agent.start_all_waiting(&mut out);
        (agent, out.outputs)
    }

    fn restore_deliveries(&mut self) {
        for (key, task) in &self.durable.tasks {
            // Whether LAUNCH went out is not stored: a task of a run counts as sent, and the executor corrects that.
            // A container without a run was never started: the run is stored first.
            let run = self.durable.runs.get(&ExecutorKey::new(&key.framework, &task.executor.id));
            let begun = run.is_some_and(|run| task.container.as_ref() == Some(&run.container));
            let stage = if begun { Stage::Sent } else { Stage::Waiting };
            self.deliveries.insert(key.clone(), Delivery { stage, kill: None, repeat: None });
        }
    }

    fn restore_runs(&mut self, out: &mut Out) {
        let runs: Vec<Run> = self.durable.runs.iter().map(|(key, facts)| key.run(&facts.container)).collect();
        for run in runs {
            self.put_run(&run, RunPhase::Recovering);
            if let Some(state) = self.present(&run) {
                state.used = true;
            }
            if self.survives(&run) {
                let deadline = out.now.mono.saturating_add(self.config.reregistration_timeout);
                self.set_deadline(&run.key(), Some(deadline));
            } else {
                if let Some(state) = self.present(&run) {
                    state.why = Some(NOT_MEANT_TO_SURVIVE);
                }
                self.end_run(out, &run);
            }
        }
    }

    /// Whether the run was meant to outlive the agent, and is still wanted.
    fn survives(&self, run: &Run) -> bool {
        let framework = self.durable.frameworks.get(&run.framework);
        framework.is_some_and(|facts| facts.spec.checkpoint && !facts.ending)
    }

    /// A crash between the end of one run and the start of the next, or between a launch and the start of its run.
    fn start_all_waiting(&mut self, out: &mut Out) {
        let executor =
            |(key, task): (&TaskKey, &TaskFacts)| ExecutorKey::new(&key.framework, &task.executor.id);
        let executors: BTreeSet<ExecutorKey> = self.durable.tasks.iter().map(executor).collect();
        for executor in executors {
            if !self.durable.runs.contains_key(&executor) {
                self.start_waiting(out, &executor);
            }
        }
        let endings = self.durable.frameworks.iter().filter(|(_, facts)| facts.ending);
        let endings: Vec<FrameworkId> = endings.map(|(id, _)| id.clone()).collect();
        for framework in endings {
            self.end_framework_if_empty(out, &framework);
        }
    }
}
