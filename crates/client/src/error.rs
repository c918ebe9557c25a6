//! What can go wrong, and what to do about it.

use std::path::PathBuf;
use std::time::Duration;

/// Whether repeating a failed request can help, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// The same node may accept it in a moment.
    SameNode,
    /// Another node leads, or none does at the moment.
    FindLeader,
}

/// Why a scheduler's or executor's call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CallError {
    /// The master answered that it will not do it. Nothing was done.
    #[error("the call was refused with status {status}: {reason}")]
    Refused {
        /// HTTP status of the answer.
        status: u16,
        /// Its text, one sentence about the request.
        reason: String,
    },
    /// No leader took the call before its deadline, in no try. Nothing was done.
    #[error("no leading master took the call in time; the last try ended with: {last}")]
    Unavailable {
        /// What the last try ended with.
        last: String,
    },
    /// The leader has run out of something that it needs for more work, until the call's deadline. Nothing was done.
    #[error("the leader is out of {what} and took no call until the deadline: {reason}")]
    Full {
        /// What runs out, as the leader calls it: `disk space`, `memory` or `descriptors`.
        what: String,
        /// The leader's own words.
        reason: String,
        /// How long the leader asks to be left alone.
        retry_after: Duration,
    },
    /// The call was sent, and no answer came that says whether it happened: it may have. Reconcile to find out.
    #[error("no answer says whether the call happened, so it may have: {cause}")]
    OutcomeUnknown {
        /// How the connection broke, or what the leader said instead.
        cause: String,
    },
    /// The subscription is over; no call can be made any more.
    #[error(transparent)]
    Ended(#[from] Ended),
}

impl CallError {
    /// Whether repeating the call can help. An unknown outcome is never repeated blindly.
    pub fn retry(&self) -> Retry {
        match self {
            CallError::Refused { .. } | CallError::OutcomeUnknown { .. } | CallError::Ended(_) => {
                Retry::Never
            }
            CallError::Unavailable { .. } => Retry::FindLeader,
            CallError::Full { .. } => Retry::SameNode,
        }
    }

    /// How long to wait before repeating the call, if the leader said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            CallError::Full { retry_after, .. } => Some(*retry_after),
            CallError::Refused { .. }
            | CallError::Unavailable { .. }
            | CallError::OutcomeUnknown { .. }
            | CallError::Ended(_) => None,
        }
    }
}

/// Why a subscription is over for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The master sent ERROR, or refused SUBSCRIBE: invalid, removed, or replaced by another instance.
    #[error("the subscription was refused: {0}")]
    Refused(String),
    /// Nobody took the first subscription in time.
    #[error("no leading master among {masters}: {last}")]
    NoLeader {
        /// The addresses that were tried.
        masters: String,
        /// What the last try ended with.
        last: String,
    },
    /// The framework was torn down, or the [`Scheduler`](crate::scheduler::Scheduler) was dropped.
    #[error("the subscription was closed by its owner")]
    Closed,
}

/// Why reading from a master failed.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Not one address answered as, or named, a leader.
    #[error("no leading master among {masters}: {last}")]
    NoLeader {
        /// The addresses that were tried.
        masters: String,
        /// What the last try ended with.
        last: String,
    },
    /// A node answered, but not with success.
    #[error("{address} answered {path} with status {status}: {reason}")]
    Status {
        /// Who answered.
        address: String,
        /// What was asked for.
        path: String,
        /// HTTP status.
        status: u16,
        /// First part of the body.
        reason: String,
    },
    /// The node could not be reached or broke off.
    #[error("{address} could not be read")]
    Transport {
        /// Whom we asked.
        address: String,
        /// How it failed.
        #[source]
        source: crate::http::TransportError,
    },
    /// The answer is not in the promised form.
    #[error("{address} answered {path} with something that is not JSON")]
    Malformed {
        /// Who answered.
        address: String,
        /// What was asked for.
        path: String,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl OperatorError {
    /// Whether and where asking again can help.
    pub fn retry(&self) -> Retry {
        match self {
            OperatorError::NoLeader { .. } | OperatorError::Transport { .. } => Retry::FindLeader,
            OperatorError::Status { status, .. } if *status == 503 => Retry::SameNode,
            OperatorError::Status { .. } | OperatorError::Malformed { .. } => Retry::Never,
        }
    }
}

/// Why the addresses of a cluster could not be told.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// An address is not `host:port` (a missing port means 5050).
    #[error("{text:?} in {origin} is not an address; write host:port, several separated by commas")]
    Address {
        /// The offending piece.
        text: String,
        /// The flag or variable that it came from.
        origin: &'static str,
    },
    /// The folder of live clusters could not be read.
    #[error("cannot look for running dev clusters in {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
