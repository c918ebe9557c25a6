//! What is shown of tasks, borrowed from the encoded messages that the state keeps: a walk over their records, without a
//! copy of anything.
//!
//! All of them are our own encoding of what frameworks and agents said.

use mesarch_proto::wire::{Records, Value};
use mesarch_state::model::Report;

use crate::status::seconds;

/// What is shown of a `mesos.v1.TaskInfo`: texts as they are, messages in their encoded form.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskSaid<'a> {
    info: &'a [u8],
    pub(super) name: &'a [u8],
    /// `mesos.v1.ExecutorInfo`.
    executor: Option<&'a [u8]>,
    command: Option<&'a [u8]>,
    pub(super) health_check: Option<&'a [u8]>,
    pub(super) container: Option<&'a [u8]>,
    pub(super) labels: Option<&'a [u8]>,
    pub(super) discovery: Option<&'a [u8]>,
    pub(super) kill_policy: Option<&'a [u8]>,
    pub(super) has_limits: bool,
}

impl<'a> TaskSaid<'a> {
    pub(super) fn of(info: &'a [u8]) -> Self {
        let mut said = Self { info, ..Self::default() };
        for (number, value) in Records::of(info) {
            let Value::Bytes(bytes) = value else { continue };
            match number {
                1 => said.name = bytes,
                5 => said.executor = Some(bytes),
                7 => said.command = Some(bytes),
                8 => said.health_check = Some(bytes),
                9 => said.container = Some(bytes),
                10 => said.labels = Some(bytes),
                11 => said.discovery = Some(bytes),
                12 => said.kill_policy = Some(bytes),
                15 => said.has_limits = true,
                _ => {}
            }
        }
        said
    }

    /// The `mesos.v1.ExecutorID`; a command task has none: its executor is the agent's own.
    pub(super) fn executor_id(&self) -> Option<&'a [u8]> {
        inner(self.executor?, 1)
    }

    /// Who runs it: its command says so, or its executor's.
    pub(super) fn user(&self) -> Option<&'a [u8]> {
        let command = self.command.or_else(|| inner(self.executor?, 7));
        inner(command?, 5)
    }

    /// Entries of the map of limits.
    pub(super) fn limits(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        each(self.info, 15)
    }
}

/// What is shown of a `mesos.v1.TaskStatus` by tools' endpoints; messages in their encoded form.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StatusSaid<'a> {
    timestamp: Option<f64>,
    pub(super) healthy: Option<bool>,
    pub(super) labels: Option<&'a [u8]>,
    pub(super) container: Option<&'a [u8]>,
}

impl<'a> StatusSaid<'a> {
    /// An agent's update, as it came; empty for a report of the masters' own.
    pub(super) fn of(report: &'a Report) -> Self {
        let mut said = Self::default();
        for (number, value) in Records::of(report.uuid.map_or(&[], |_| &report.status)) {
            match (number, value) {
                (6, Value::Fixed64(bits)) => said.timestamp = Some(f64::from_bits(bits)),
                (8, Value::Varint(number)) => said.healthy = Some(number != 0),
                (12, Value::Bytes(bytes)) => said.labels = Some(bytes),
                (13, Value::Bytes(bytes)) => said.container = Some(bytes),
                _ => {}
            }
        }
        said
    }

    /// When it was made, in seconds; when it was recorded, if its agent did not say.
    pub(super) fn made(&self, report: &Report) -> f64 {
        self.timestamp.unwrap_or_else(|| seconds(report.at))
    }
}

/// A text or a message in a message.
pub(super) fn inner(message: &[u8], number: u32) -> Option<&[u8]> {
    each(message, number).next()
}

/// All that a repeated field holds.
pub(super) fn each(message: &[u8], number: u32) -> impl Iterator<Item = &[u8]> {
    Records::of(message).filter(move |(found, _)| *found == number).filter_map(|(_, value)| value.bytes())
}

/// A text of ours is UTF-8.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{CommandInfo, ExecutorId, ExecutorInfo, Labels, TaskInfo, value::Scalar};
    use prost::Message;

    use super::*;

    #[test]
    fn a_task_is_shown_as_it_was_said() {
        let user = |user: &str| CommandInfo { user: Some(user.into()), ..CommandInfo::default() };
        let executor = ExecutorInfo {
            executor_id: ExecutorId { value: "executor".into() },
            command: Some(user("theirs")),
            ..ExecutorInfo::default()
        };
        let info = TaskInfo {
            name: "näme".into(),
            executor: Some(executor.clone()),
            labels: Some(Labels::default()),
            limits: [("cpus".to_owned(), Scalar { value: 1.0 })].into(),
            ..TaskInfo::default()
        };
        let bytes = info.encode_to_vec();
        let said = TaskSaid::of(&bytes);
        assert_eq!(text(said.name), "näme");
        assert_eq!(said.executor_id(), Some(&executor.executor_id.encode_to_vec()[..]));
        assert_eq!(said.user(), Some(&b"theirs"[..]));
        assert_eq!((said.labels, said.container), (Some(&[][..]), None));
        assert!(said.has_limits && said.limits().count() == 1);

        let own = TaskInfo { command: Some(user("own")), ..info.clone() }.encode_to_vec();
        assert_eq!(TaskSaid::of(&own).user(), Some(&b"own"[..]));
        let nobody = TaskInfo { command: Some(CommandInfo::default()), ..info }.encode_to_vec();
        assert_eq!(TaskSaid::of(&nobody).user(), None);
        let nothing = TaskSaid::of(&[]);
        assert!(nothing.user().is_none() && nothing.executor_id().is_none() && !nothing.has_limits);
    }
}
