//! What happened, in the order in which the test learnt it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mesarch_client::v1::{TaskState, TaskStatus, task_status::Reason};

/// What is known of an operation; see the README for what a checker may conclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It was begun.
    Invoke,
    /// It was done.
    Ok,
    /// It was not done and never will be.
    Fail,
    /// It may have been done, or may be yet.
    Unknown,
    /// Not an operation: something that the test was told or did to the cluster.
    Info,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    /// ACCEPT with these tasks.
    Accept { tasks: Vec<String> },
    /// ACKNOWLEDGE of an update.
    Acknowledge { task: String, uuid: String },
    /// RECONCILE of these tasks by name.
    Reconcile { tasks: Vec<String> },
    /// UPDATE reached the framework.
    Told(Told),
    /// An agent's account in `/state`: `given` is used and offered.
    Account { agent: String, resource: &'static str, total: f64, given: f64 },
    /// An agent's account in `/state` that lacks something.
    Unreadable { agent: String, resource: &'static str },
    /// A fault begins or ends.
    Fault { what: String },
    /// A master's process is about to end; it may come back as another one.
    Ends { node: String },
    /// An agent's process is about to be killed; it comes back.
    AgentEnds { node: String },
    /// This framework's scheduler is gone, with all that it was told and did not write down; another one takes over.
    FrameworkEnds,
    /// Agents are about to be out of reach of those masters that serve, for longer than an election takes.
    AgentsAway,
    /// Every agent is attached again.
    AgentsBack,
    /// The cluster did an operation again, so long after the fault was over.
    Serves { after: Duration },
    /// An operation on a role's weight or quota, as a register; `by` is the master that did it, empty until then.
    Register { key: String, op: Op, by: String },
    /// A read of all weights from one master's own copy; `shown` is none until it is answered.
    StaleRead { master: String, shown: Option<Shown> },
}

/// What is done to a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Reads it.
    Read(Seen),
    /// Writes this value, which is never written twice.
    Write(u64),
    /// Writes this value if the register holds nothing; else it fails.
    Create(u64),
    /// Empties it if it holds something; else it fails.
    Remove,
}

/// What a read saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nobody knows: it was not answered, or is open.
    Unread,
    /// The register holds nothing.
    Absent,
    /// The register holds this.
    Holds(u64),
}

/// What a stale answer shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Log index of the last entry in it.
    pub(crate) index: u64,
    /// All registers that hold something.
    pub(crate) values: BTreeMap<String, u64>,
}

/// The part of a TaskStatus that matters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) task: String,
    pub(crate) state: TaskState,
    pub(crate) reason: Option<Reason>,
    /// In hexadecimal; only with it the update wants an acknowledgement.
    pub(crate) uuid: Option<String>,
}

impl Told {
    pub(crate) fn of(status: &TaskStatus) -> Self {
        let hex = |uuid: &[u8]| uuid.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        Self {
            task: status.task_id.value.clone(),
            state: status.state(),
            reason: status.reason.map(|_| status.reason()),
            uuid: status.uuid.as_deref().map(hex),
        }
    }

    /// Whether it says that an ACCEPT did nothing because its offer was gone.
    pub(crate) fn is_refusal(&self) -> bool {
        self.uuid.is_none()
            && self.reason == Some(Reason::InvalidOffers)
            && matches!(self.state, TaskState::TaskDropped | TaskState::TaskLost)
    }

    /// Whether it says that the task was lost between an agent that ended and the executor, as Mesos has it.
    pub(crate) fn is_lost_on_the_way(&self) -> bool {
        self.state == TaskState::TaskDropped && self.reason == Some(Reason::AgentRestarted)
    }

    /// Whether it says that the task never left the masters: its agent had not come back to a new leader in time.
    pub(crate) fn is_unsent(&self) -> bool {
        self.state == TaskState::TaskDropped && self.reason == Some(Reason::AgentDisconnected)
    }

    /// Whether it tells what is known: the answer to RECONCILE, and to an ACCEPT of a task that is there already. (Mesos
    /// answers the latter with TASK_ERROR if the offers are good. Here that is an anomaly: the task runs on.)
    pub(crate) fn is_answer(&self) -> bool {
        self.uuid.is_none() && self.reason == Some(Reason::Reconciliation)
    }
}

/// An [`Event`] with when and to whom it happened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    /// The framework's number; 0 is the test itself.
    pub(crate) process: u32,
    pub(crate) kind: Kind,
    pub(crate) event: Event,
}

/// Takes down what happens; clones write into the same history.
#[derive(Clone)]
pub(crate) struct Recorder {
    entries: Arc<Mutex<Vec<Entry>>>,
    begun: Instant,
    begun_ms: u64,
    process: u32,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let begun_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Self { entries: Arc::default(), begun: Instant::now(), begun_ms, process: 0 }
    }

    /// Wall time at its beginning, in ms.
    pub(crate) fn begun_ms(&self) -> u64 {
        self.begun_ms
    }

    /// A recorder of the same history for another process.
    pub(crate) fn of_process(&self, process: u32) -> Self {
        Self { process, ..self.clone() }
    }

    pub(crate) fn record(&self, kind: Kind, event: Event) {
        let entry = Entry { at: self.begun.elapsed(), process: self.process, kind, event };
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How often each task wrote that it began, and that it came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) starts: BTreeMap<String, usize>,
    pub(crate) ends: BTreeMap<String, usize>,
}

impl Marks {
    /// From lines `start TASK` and `end TASK`; no file is no marks.
    pub(crate) fn read(file: &Path) -> Self {
        let mut marks = Self::default();
        for line in std::fs::read_to_string(file).unwrap_or_default().lines() {
            match line.split_once(' ') {
                Some(("start", task)) => *marks.starts.entry(task.to_owned()).or_default() += 1,
                Some(("end", task)) => *marks.ends.entry(task.to_owned()).or_default() += 1,
                _ => {}
            }
        }
        marks
    }
}

/// Added to a process' number once it does not know an outcome: Jepsen takes that process for crashed.
const NEXT_LIFE: u32 = 1000;

/// The whole history, one EDN map a line, in the form that Jepsen's checkers read: an unknown outcome is `:info`, and its
/// process goes on under another number.
pub(crate) fn to_edn(entries: &[Entry]) -> String {
    let mut text = String::new();
    let mut lives: BTreeMap<u32, u32> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let kind = match entry.kind {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Unknown | Kind::Info => "info",
        };
        let life = lives.entry(entry.process).or_default();
        let process = match (entry.process, entry.kind) {
            (0, _) => ":nemesis".to_owned(),
            // What a framework is told is no operation of its process.
            (_, Kind::Info) => ":told".to_owned(),
            (process, _) => (process + *life * NEXT_LIFE).to_string(),
        };
        if entry.kind == Kind::Unknown {
            *life += 1;
        }
        let (name, value) = describe(&entry.event);
        let nanos = entry.at.as_nanos();
        writeln!(
            text,
            "{{:index {index}, :time {nanos}, :process {process}, :type :{kind}, :f :{name}, :value {value}}}"
        )
        .expect("a String takes everything");
    }
    text
}

fn describe(event: &Event) -> (&'static str, String) {
    match event {
        Event::Accept { tasks } => ("accept", format!("{tasks:?}")),
        Event::Reconcile { tasks } => ("reconcile", format!("{tasks:?}")),
        Event::Acknowledge { task, uuid } => ("acknowledge", format!("[{task:?} {uuid:?}]")),
        Event::Told(told) => {
            let reason = told.reason.map_or("nil", |reason| reason.as_str_name());
            let uuid = told.uuid.as_ref().map_or("nil".to_owned(), |uuid| format!("{uuid:?}"));
            ("told", format!("[{:?} {} {reason} {uuid}]", told.task, told.state.as_str_name()))
        }
        Event::Account { agent, resource, total, given } => {
            ("account", format!("[{agent:?} {resource:?} {total} {given}]"))
        }
        Event::Unreadable { agent, resource } => ("unreadable", format!("[{agent:?} {resource:?}]")),
        Event::Fault { what } => ("fault", format!("{what:?}")),
        Event::AgentEnds { node } => ("agent-ends", format!("{node:?}")),
        Event::FrameworkEnds => ("framework-ends", "nil".to_owned()),
        Event::AgentsAway => ("agents-away", "nil".to_owned()),
        Event::AgentsBack => ("agents-back", "nil".to_owned()),
        Event::Ends { node } => ("ends", format!("{node:?}")),
        Event::Serves { after } => ("serves", after.as_millis().to_string()),
        Event::Register { key, op, .. } => describe_op(key, *op),
        Event::StaleRead { master, shown: None } => ("stale-read", format!("[{master:?} nil]")),
        Event::StaleRead { master, shown: Some(Shown { index, values }) } => {
            let values =
                values.iter().fold(String::new(), |text, (key, value)| text + &format!("{key:?} {value} "));
            ("stale-read", format!("[{master:?} {index} {{{}}}]", values.trim_end()))
        }
    }
}

fn describe_op(key: &str, op: Op) -> (&'static str, String) {
    match op {
        Op::Read(Seen::Holds(value)) => ("read", format!("[{key:?} {value}]")),
        Op::Read(Seen::Unread | Seen::Absent) => ("read", format!("[{key:?} nil]")),
        Op::Write(value) => ("write", format!("[{key:?} {value}]")),
        Op::Create(value) => ("cas", format!("[{key:?} [nil {value}]]")),
        Op::Remove => ("remove", format!("[{key:?} nil]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_not_know_goes_on_as_another_one() {
        let entry = |kind, op| Entry {
            at: Duration::from_micros(3),
            process: 2,
            kind,
            event: Event::Register { key: "w".to_owned(), op, by: String::new() },
        };
        let history = [
            entry(Kind::Invoke, Op::Write(5)),
            entry(Kind::Unknown, Op::Write(5)),
            entry(Kind::Invoke, Op::Read(Seen::Unread)),
            entry(Kind::Ok, Op::Read(Seen::Holds(5))),
        ];
        let expect = r#"{:index 0, :time 3000, :process 2, :type :invoke, :f :write, :value ["w" 5]}
{:index 1, :time 3000, :process 2, :type :info, :f :write, :value ["w" 5]}
{:index 2, :time 3000, :process 1002, :type :invoke, :f :read, :value ["w" nil]}
{:index 3, :time 3000, :process 1002, :type :ok, :f :read, :value ["w" 5]}
"#;
        assert_eq!(to_edn(&history), expect);
    }
}
