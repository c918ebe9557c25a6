//! What happened, in the order in which the test learnt it.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
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
    process: u32,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { entries: Arc::default(), begun: Instant::now(), process: 0 }
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

/// The whole history, one EDN map a line.
pub(crate) fn to_edn(entries: &[Entry]) -> String {
    let mut text = String::new();
    for (index, entry) in entries.iter().enumerate() {
        let kind = match entry.kind {
            Kind::Invoke => "invoke",
            Kind::Ok => "ok",
            Kind::Fail => "fail",
            Kind::Unknown => "unknown",
            Kind::Info => "info",
        };
        let process = if entry.process == 0 { ":test".to_owned() } else { entry.process.to_string() };
        let (name, value) = describe(&entry.event);
        let micros = entry.at.as_micros();
        writeln!(text, "{{:index {index}, :time-us {micros}, :process {process}, :type :{kind}, :f :{name}, :value {value}}}")
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
    }
}
