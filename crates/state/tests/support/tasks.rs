//! What becomes of tasks and executors.

use super::*;

impl Driver {
    pub(super) fn record(&self, a: u8, b: u8, c: u8) -> Command {
        let Some(task) = pick(self.state.tasks(), a) else {
            return Command::RecordUpdates(RecordUpdates { agent: self.agent(a), updates: Vec::new() });
        };
        let state = STATES[usize::from(b % 8)];
        let again = task.pending().and_then(|pending| pending.uuid).or(task.acknowledged);
        let uuid = again.filter(|_| c.is_multiple_of(4)).unwrap_or(UpdateUuid([b ^ c; 16]));
        let update = StatusUpdate {
            framework: task.framework.clone(),
            task: task.spec.id.clone(),
            launch: if b > 250 { LaunchId::default() } else { task.launch },
            status: Bytes::copy_from_slice(&[a, b, c]),
            state,
            latest: if c % 8 == 1 { TaskState::Failed } else { state },
            uuid,
            source: Source::Executor,
            reason: None,
        };
        Command::RecordUpdates(RecordUpdates { agent: task.agent.clone(), updates: vec![update] })
    }

    pub(super) fn acknowledge(&self, a: u8, b: u8) -> Command {
        let waiting = self.state.tasks().filter_map(|task| Some((task, task.pending()?.uuid?)));
        let items = pick(waiting, a).map(|(task, uuid)| Acknowledgement {
            framework: task.framework.clone(),
            agent: task.agent.clone(),
            task: task.spec.id.clone(),
            uuid: if b < 16 { UpdateUuid([0; 16]) } else { uuid },
        });
        Command::AcknowledgeUpdates(AcknowledgeUpdates { items: items.into_iter().collect() })
    }

    pub(super) fn forgot(&self, a: u8, b: u8) -> Command {
        let agent = self.agent(a);
        let known = self.state.agent(&agent);
        let ended = known.into_iter().flat_map(|known| known.forgetting.iter());
        let mut acknowledged: Vec<_> = ended
            .map(|((framework, task, launch), uuid)| (framework.clone(), task.clone(), *launch, *uuid))
            .collect();
        let live = self.state.tasks().filter(|task| task.agent == agent && task.ack_owed);
        acknowledged.extend(live.filter_map(|task| {
            Some((task.framework.clone(), task.spec.id.clone(), task.launch, task.acknowledged?))
        }));
        let frameworks = known.into_iter().flat_map(|known| known.pending_shutdowns.iter().cloned());
        let frameworks = frameworks.filter(|_| b.is_multiple_of(2)).collect();
        Command::AgentForgot(AgentForgot { agent, acknowledged, frameworks })
    }

    pub(super) fn delivered(&self, a: u8, b: u8) -> Command {
        let framework = self.framework(a);
        let stream = self.stream_epoch(&framework);
        Command::EventsDelivered(EventsDelivered { framework, stream, up_to: OutboxPosition(u64::from(b)) })
    }

    pub(super) fn kill(&self, a: u8, b: u8) -> Command {
        let task = pick(self.state.tasks(), a);
        Command::RequestKill(RequestKill {
            framework: task.map_or_else(|| self.framework(a), |task| task.framework.clone()),
            task: task.map_or_else(|| "unknown".into(), |task| task.spec.id.clone()),
            agent: (b < 16).then(|| self.agent(b)),
            policy: None,
        })
    }

    pub(super) fn executor(&self, a: u8, b: u8) -> Command {
        let key = pick(self.state.executors(), a).map(|executor| executor.key.clone());
        match key {
            Some(key) if !b.is_multiple_of(4) => Command::RequestShutdown(key),
            Some(executor) => {
                let taken = self.at.index.saturating_sub(u64::from(b) % 32);
                let newest = (!b.is_multiple_of(16)).then_some(LaunchId { index: taken, position: 0 });
                Command::ExecutorExited(ExecutorExited { executor, newest, status: i32::from(b) })
            }
            None => self.share(a, b, b),
        }
    }
}
