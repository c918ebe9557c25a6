//! What operators change, behind their protocols: gRPC and HTTP read a request, call in here, and tell the answer.

pub(crate) mod maintenance;
pub(crate) mod request;

use mesarch_mesos_v1::convert::InvalidResource;
use mesarch_state::{
    Command, LEVEL_ADMIN, LEVEL_OPERATIONS, LEVEL_RERESERVE, LEVEL_SHARING, Outcome,
    command::ConvertResources,
    outcome::{Denial, Refusal},
};
use mesarch_types::Conversion;

use crate::{
    app::App,
    calls::{self, CallError},
    leader::Session,
};

/// Why a request is not one, judged by its form. Names the field and the bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(crate) String);

impl From<InvalidResource> for Invalid {
    fn from(error: InvalidResource) -> Self {
        Self(format!("resources: {error}"))
    }
}

/// Why a change was not made. Unless it is [`CallError::Unknown`], nothing was done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The request's form.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// Not every master knows such commands yet.
    #[error(
        "needs feature level {needed}; the cluster is at {level}: not every master knows such changes yet"
    )]
    Level {
        /// The cluster's.
        level: u32,
        /// The lowest that has it.
        needed: u32,
    },
    /// Something of the cluster stands against it.
    #[error("{0}")]
    Denied(Denial),
    /// The same, in general.
    #[error("{0}")]
    Refused(Refusal),
    /// The log did not take it.
    #[error("{0}")]
    Call(#[from] CallError),
}

/// Commits an operator's change; how many offers were withdrawn for it.
pub(crate) async fn commit(app: &App, session: &Session, command: Command) -> Result<u32, ChangeError> {
    let (level, needed) = (app.newest().state.level(), level_of(&command));
    if level < needed {
        return Err(ChangeError::Level { level, needed });
    }
    let placed = session.place(&command).await.map_err(CallError::from)?;
    match calls::decided(placed.resolved()).await?.outcome {
        Outcome::Changed { rescinded } => Ok(rescinded),
        Outcome::Denied(denial) => Err(ChangeError::Denied(denial)),
        Outcome::Refused(refusal) => Err(ChangeError::Refused(refusal)),
        _ => Ok(0),
    }
}

/// The lowest feature level at which an operator's command may be proposed.
fn level_of(command: &Command) -> u32 {
    match command {
        Command::SetWeights(_) | Command::Teardown(_) => 1,
        Command::DrainAgent(_)
        | Command::DeactivateAgent(_)
        | Command::ReactivateAgent(_)
        | Command::MarkAgentGone(_)
        | Command::SetSchedule(_)
        | Command::StartMaintenance(_)
        | Command::StopMaintenance(_) => LEVEL_ADMIN,
        Command::ConvertResources(ConvertResources {
            conversion: Conversion::Grow { .. } | Conversion::Shrink { .. },
            ..
        }) => LEVEL_OPERATIONS,
        Command::ConvertResources(ConvertResources { conversion: Conversion::Rereserve { .. }, .. }) => {
            LEVEL_RERESERVE
        }
        _ => LEVEL_SHARING,
    }
}
