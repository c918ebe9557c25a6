//! Terms, feature levels, and what was delivered.

use std::sync::Arc;

use mesarch_types::{FrameworkId, LaunchId};

use crate::{
    change::Change,
    command::{BeginTerm, EventsDelivered, SetLevel},
    machine::{LEVEL_OPERATIONS, LEVEL_TRUE_LIVES},
    model::{Attachment, Connection, Executor},
    outcome::{Outcome, Refusal},
    step::Step,
};

impl Step<'_> {
    /// Every stream and link was the former leader's: those who had one are expected, and nobody is given up.
    pub(crate) fn begin_term(&mut self, c: BeginTerm) -> Result<Outcome, Refusal> {
        let at = self.at;
        let meta = &mut self.state.meta;
        match meta.cluster {
            Some(cluster) if cluster != c.cluster => return Err(Refusal::WrongCluster),
            Some(_) if c.incarnation < meta.incarnation => return Err(Refusal::StaleIncarnation),
            Some(_) => {}
            None => {
                meta.level = c.level;
                self.state.sharing.policy = c.policy;
            }
        }
        let meta = &mut self.state.meta;
        meta.cluster = Some(c.cluster);
        meta.incarnation = c.incarnation;
        meta.term = at.term;
        meta.term_index = at.index;
        meta.term_began = at.now;
        self.expect_frameworks();
        self.expect_agents();
        self.change(Change::TermBegan);
        Ok(Outcome::TermBegun)
    }

    /// A level is for ever: there is no way back. What states of the lower level kept otherwise is brought up to date.
    pub(crate) fn set_level(&mut self, c: SetLevel) -> Result<Outcome, Refusal> {
        let before = self.state.meta.level;
        if c.level <= before {
            return Err(Refusal::StaleLevel);
        }
        self.state.meta.level = c.level;
        if before < LEVEL_TRUE_LIVES && c.level >= LEVEL_TRUE_LIVES {
            self.count_launches_on_executors();
        }
        if before < LEVEL_OPERATIONS && c.level >= LEVEL_OPERATIONS {
            self.version_resources();
        }
        Ok(Outcome::Done)
    }

    /// An executor used to name the launch that brought it, and now names the newest that counts on it.
    fn count_launches_on_executors(&mut self) {
        let newest = |executor: &Executor| {
            let tasks = executor.tasks.iter();
            let tasks = tasks.filter_map(|task| self.state.task(&executor.key.framework, task));
            (executor.key.clone(), tasks.map(|task| task.launch).fold(executor.launch, LaunchId::max))
        };
        let launches: Vec<_> = self.state.executors.values().map(|executor| newest(executor)).collect();
        for (key, launch) in launches {
            if let Some(executor) = self.executor_mut(&key) {
                executor.launch = launch;
            }
        }
    }

    fn expect_frameworks(&mut self) {
        let connected: Vec<FrameworkId> = self
            .state
            .frameworks()
            .filter(|known| known.is_connected())
            .map(|known| known.id.clone())
            .collect();
        for id in connected {
            let Some(framework) = self.framework_mut(&id) else {
                continue;
            };
            if let Connection::Connected { stream, epoch } = framework.connection.clone() {
                framework.connection = Connection::Expected { stream, epoch };
            }
        }
    }

    fn expect_agents(&mut self) {
        let attached: Vec<_> =
            self.state.agents().filter(|known| known.is_attached()).map(|known| known.id.clone()).collect();
        for id in attached {
            if let Some(agent) = self.state.agents.get_mut(&id) {
                Arc::make_mut(agent).attachment = Attachment::Expected;
            }
        }
    }

    /// What has been written to the present stream is owed no more; of another stream nothing is known.
    pub(crate) fn events_delivered(&mut self, c: &EventsDelivered) -> Result<Outcome, Refusal> {
        let framework = self.state.frameworks.get(&c.framework).ok_or(Refusal::UnknownFramework)?;
        let current =
            matches!(framework.connection, Connection::Connected { epoch, .. } if epoch == c.stream);
        if !current {
            return Err(Refusal::StaleStream);
        }
        let delivered: Vec<_> = framework.outbox.range(..=c.up_to).map(|(position, _)| *position).collect();
        if let Some(framework) = self.framework_mut(&c.framework) {
            for position in delivered {
                framework.outbox.remove(&position);
                framework.outbox_minor.remove(&position);
            }
        }
        Ok(Outcome::Done)
    }
}
