//! What others ask of the runner. One bounded channel, so that everything has one order.

use std::sync::Arc;

use bytes::Bytes;
use mesarch_agent_core::{Input, Run, TaskKey};
use mesarch_mesos_v1::ContentType;
use mesarch_proto::{
    link::FromAgent,
    mesos::v1::{executor::Call, resource_provider::Call as ProviderCall},
};
use mesarch_types::{ProviderId, UpdateUuid};
use tokio::sync::{mpsc, oneshot};

use crate::{http::state::Look, providers::ProviderRefusal};

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
    /// A resource provider opens its event stream.
    ProviderSubscribe {
        /// A valid SUBSCRIBE.
        call: Box<ProviderCall>,
        /// How events are written.
        content_type: ContentType,
        /// The stream's id, and frames, ready to be written.
        reply: oneshot::Sender<Result<(String, EventStream), ProviderRefusal>>,
    },
    /// Another call of a resource provider, valid in itself.
    ProviderCall {
        /// UPDATE_…
        call: Box<ProviderCall>,
        /// The stream that it names.
        stream: String,
        /// Accepted or not.
        reply: oneshot::Sender<Result<(), ProviderRefusal>>,
    },
    /// An event stream of a resource provider broke.
    ProviderStreamClosed {
        /// Whose.
        provider: ProviderId,
        /// Which.
        stream: u64,
    },
    /// An operator gives a resource provider up.
    MarkProviderGone {
        /// Which.
        provider: ProviderId,
        /// Whether it is.
        reply: oneshot::Sender<Result<(), GoneRefusal>>,
    },
    /// It is time to tell of resource providers again.
    ProvidersTick,
    /// Resources should be usable by now.
    PublishDue {
        /// Under which name that was asked for.
        uuid: UpdateUuid,
    },
    /// A task is about to be ended because its agent is drained.
    Drained {
        /// Which.
        key: TaskKey,
    },
    /// The leader on this link knows of resource providers.
    LeaderKnowsProviders {
        /// Which.
        link: u64,
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

/// Why a resource provider is not given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GoneRefusal {
    /// 404
    #[error("Resource provider cannot be found")]
    Unknown,
    /// 500, as Mesos has it
    #[error("Resource provider cannot be marked gone while tasks use its resources")]
    InUse,
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
