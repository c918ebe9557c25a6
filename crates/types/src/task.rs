//! Task states, and who reports them for which reason (numbers as in the v1 API).

/// State of a task. The numbers are those of `mesos.v1.TaskState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are Mesos' and say it")]
pub enum TaskState {
    Staging = 6,
    Starting = 0,
    Running = 1,
    Killing = 8,
    Finished = 2,
    Failed = 3,
    Killed = 4,
    Error = 7,
    Lost = 5,
    Dropped = 9,
    Unreachable = 10,
    Gone = 11,
    GoneByOperator = 12,
    Unknown = 13,
}

impl TaskState {
    /// Every state, in the order of the API's numbers.
    pub const ALL: [Self; 14] = [
        Self::Starting,
        Self::Running,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
        Self::Staging,
        Self::Error,
        Self::Killing,
        Self::Dropped,
        Self::Unreachable,
        Self::Gone,
        Self::GoneByOperator,
        Self::Unknown,
    ];

    /// The state with this API number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == number)
    }

    /// Whether the task can do no more work and holds no resources (TASK_UNREACHABLE is not terminal: it may return).
    pub fn is_terminal(self) -> bool {
        use TaskState::*;
        matches!(self, Finished | Failed | Killed | Error | Lost | Dropped | Gone | GoneByOperator)
    }

    /// What a framework without PARTITION_AWARE is told instead.
    pub fn for_partition_unaware(self) -> Self {
        use TaskState::*;
        match self {
            Dropped | Unreachable | Gone | GoneByOperator | Unknown => Lost,
            other => other,
        }
    }

    /// The API's name, such as `TASK_RUNNING`.
    pub fn name(self) -> &'static str {
        use TaskState::*;
        match self {
            Staging => "TASK_STAGING",
            Starting => "TASK_STARTING",
            Running => "TASK_RUNNING",
            Killing => "TASK_KILLING",
            Finished => "TASK_FINISHED",
            Failed => "TASK_FAILED",
            Killed => "TASK_KILLED",
            Error => "TASK_ERROR",
            Lost => "TASK_LOST",
            Dropped => "TASK_DROPPED",
            Unreachable => "TASK_UNREACHABLE",
            Gone => "TASK_GONE",
            GoneByOperator => "TASK_GONE_BY_OPERATOR",
            Unknown => "TASK_UNKNOWN",
        }
    }
}

/// State of an operation on resources. The numbers are those of `mesos.v1.OperationState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are Mesos' and say it")]
pub enum OperationState {
    Pending = 1,
    Finished = 2,
    Failed = 3,
    Error = 4,
    Dropped = 5,
    Unreachable = 6,
    GoneByOperator = 7,
    Recovering = 8,
    Unknown = 9,
}

impl OperationState {
    /// Every state that is ever told, in the order of the API's numbers.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Finished,
        Self::Failed,
        Self::Error,
        Self::Dropped,
        Self::Unreachable,
        Self::GoneByOperator,
        Self::Recovering,
        Self::Unknown,
    ];

    /// The state with this API number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| *state as i32 == number)
    }

    /// Whether nothing comes after it.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Finished | Self::Failed | Self::Error | Self::Dropped | Self::GoneByOperator => true,
            Self::Pending | Self::Unreachable | Self::Recovering | Self::Unknown => false,
        }
    }
}

/// Who made a status. The numbers are those of `mesos.v1.TaskStatus.Source`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Source {
    Master = 0,
    Agent = 1,
    Executor = 2,
}

/// Why a task is in its state. The numbers are those of `mesos.v1.TaskStatus.Reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[expect(missing_docs, reason = "the names are Mesos' and say it")]
pub enum Reason {
    CommandExecutorFailed = 0,
    ContainerLaunchFailed = 21,
    ContainerLimitation = 19,
    ContainerLimitationDisk = 20,
    ContainerLimitationMemory = 8,
    ContainerPreempted = 17,
    ContainerUpdateFailed = 22,
    MaxCompletionTimeReached = 33,
    ExecutorRegistrationTimeout = 23,
    ExecutorReregistrationTimeout = 24,
    ExecutorTerminated = 1,
    ExecutorUnregistered = 2,
    FrameworkRemoved = 3,
    GcError = 4,
    InvalidFrameworkid = 5,
    InvalidOffers = 6,
    IoSwitchboardExited = 27,
    MasterDisconnected = 7,
    Reconciliation = 9,
    ResourcesUnknown = 18,
    AgentDisconnected = 10,
    AgentDraining = 34,
    AgentRemoved = 11,
    AgentRemovedByOperator = 31,
    AgentReregistered = 32,
    AgentRestarted = 12,
    AgentUnknown = 13,
    TaskKilledDuringLaunch = 30,
    TaskCheckStatusUpdated = 28,
    TaskHealthCheckStatusUpdated = 29,
    TaskGroupInvalid = 25,
    TaskGroupUnauthorized = 26,
    TaskInvalid = 14,
    TaskUnauthorized = 15,
    TaskUnknown = 16,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 35] = [
        Self::CommandExecutorFailed,
        Self::ContainerLaunchFailed,
        Self::ContainerLimitation,
        Self::ContainerLimitationDisk,
        Self::ContainerLimitationMemory,
        Self::ContainerPreempted,
        Self::ContainerUpdateFailed,
        Self::MaxCompletionTimeReached,
        Self::ExecutorRegistrationTimeout,
        Self::ExecutorReregistrationTimeout,
        Self::ExecutorTerminated,
        Self::ExecutorUnregistered,
        Self::FrameworkRemoved,
        Self::GcError,
        Self::InvalidFrameworkid,
        Self::InvalidOffers,
        Self::IoSwitchboardExited,
        Self::MasterDisconnected,
        Self::Reconciliation,
        Self::ResourcesUnknown,
        Self::AgentDisconnected,
        Self::AgentDraining,
        Self::AgentRemoved,
        Self::AgentRemovedByOperator,
        Self::AgentReregistered,
        Self::AgentRestarted,
        Self::AgentUnknown,
        Self::TaskKilledDuringLaunch,
        Self::TaskCheckStatusUpdated,
        Self::TaskHealthCheckStatusUpdated,
        Self::TaskGroupInvalid,
        Self::TaskGroupUnauthorized,
        Self::TaskInvalid,
        Self::TaskUnauthorized,
        Self::TaskUnknown,
    ];

    /// The reason with this API number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as i32 == number)
    }
}

impl Source {
    /// The source with this API number.
    pub fn from_number(number: i32) -> Option<Self> {
        [Self::Master, Self::Agent, Self::Executor].into_iter().find(|source| *source as i32 == number)
    }
}
