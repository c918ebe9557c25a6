//! What others ask of the runner. One bounded channel, so that everything has one order.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_agent_core::{Input, Run};
use mesarch_mesos_v1::ContentType;
use mesarch_proto::{link::FromAgent, mesos::v1::executor::Call};
use tokio::sync::{mpsc, oneshot};

use crate::http::state::Look;

/// Most requests that wait for the runner; whoever asks for more waits himself.
pub(crate) const REQUESTS_MAX: usize = 1024;

/// One request.
#[derive(Debug)]
pub(crate) enum Request {
    /// Something happened.
    Input(Input),
    /// A stream to a master is open; the runner speaks first.
    LinkOpened {
        /// Numbered by the link.
        link: u64,
        /// Its address, host:port.
        master: Arc<str>,
        /// To the leader.
        sender: mpsc::Sender<FromAgent>,
        /// To be dropped to give the link up.
        open: oneshot::Sender<()>,
    },
    /// An executor opens its event stream.
    Subscribe {
        /// A valid SUBSCRIBE.
        call: Box<Call>,
        /// How events are written.
        content_type: ContentType,
        /// Frames, ready to be written.
        reply: oneshot::Sender<Result<EventStream, CallRefusal>>,
    },
    /// Another call of an executor, valid in itself.
    Call {
        /// UPDATE or MESSAGE.
        call: Box<Call>,
        /// Accepted or not.
        reply: oneshot::Sender<Result<(), CallRefusal>>,
    },
    /// An event stream broke.
    StreamClosed {
        /// Whose.
        run: Run,
        /// Which.
        stream: u64,
    },
    /// A stream has been quiet for long enough.
    Heartbeat {
        /// Whose.
        run: Run,
        /// Which.
        stream: u64,
    },
    /// Somebody wants to look.
    State {
        /// What there is to see now, to be rendered elsewhere.
        reply: oneshot::Sender<Box<Look>>,
    },
}

/// What is written to an executor.
#[derive(Debug)]
pub(crate) struct EventStream {
    /// RecordIO frames, each to be one chunk.
    pub(crate) frames: mpsc::Receiver<Bytes>,
    /// Its end tells the runner that the reader is gone.
    pub(crate) _open: oneshot::Sender<()>,
}

/// Why a call of an executor is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallRefusal {
    /// 400
    #[error("Framework cannot be found")]
    UnknownFramework,
    /// 400
    #[error("Executor cannot be found")]
    UnknownExecutor,
    /// 403
    #[error("Executor is not subscribed")]
    NotSubscribed,
}
