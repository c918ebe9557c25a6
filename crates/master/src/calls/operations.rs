//! What becomes of operations: acknowledged, and told on request.

use std::vec::IntoIter;

use mesarch_mesos_v1::scheduler::InvalidCall;
use mesarch_proto::mesos::v1::{self, scheduler::call};
use mesarch_state::{Command, LEVEL_OPERATIONS, State, command::AcknowledgeOperation};
use mesarch_types::{AgentId, FrameworkId, OperationId, OperationState, UpdateUuid};

use super::{CallError, Caller, decided};
use crate::{events, status};

/// So many answers are read from one state and queued in one turn of the stream.
const PIECE_OPERATIONS: usize = 64;

/// An operation that is asked for, and whose resources the framework believes it to be about.
type Asked = (OperationId, Option<AgentId>);

impl Caller<'_> {
    /// Below the level that has operations there is nothing to acknowledge.
    pub(super) async fn acknowledge_operation(
        &self,
        acknowledge: call::AcknowledgeOperationStatus,
    ) -> Result<(), CallError> {
        let uuid = UpdateUuid::try_from(acknowledge.uuid.as_ref())
            .map_err(|_| CallError::Invalid(InvalidCall::BadUuid(acknowledge.uuid.len())))?;
        if self.app.newest().state.level() < LEVEL_OPERATIONS {
            return Ok(());
        }
        let operation = acknowledge.operation_id.value.into();
        let command = AcknowledgeOperation { framework: self.framework(), operation, uuid };
        self.place(Command::AcknowledgeOperation(command)).await
    }

    /// Answers from a state that holds all earlier calls of the framework.
    pub(super) async fn reconcile_operations(
        &self,
        reconcile: call::ReconcileOperations,
    ) -> Result<(), CallError> {
        let last = self.stream.calls.lock().await.last.watch();
        if let Some(last) = last {
            self.session.hurry();
            decided(last.resolved()).await?;
        }
        let asked = reconcile.operations.into_iter();
        let asked: Vec<Asked> = asked
            .map(|one| (one.operation_id.value.into(), one.agent_id.map(|id| id.value.into())))
            .collect();
        let (outlets, stream) = (self.app.outlets.clone(), self.stream.clone());
        let answer = move || {
            let mut rest = named(&outlets.newest().state, &stream.framework, asked);
            stream.push_answers(|| {
                let told = next_piece(&outlets.newest().state, &stream.framework, &mut rest)?;
                Some(told.into_iter().map(events::update_operation).collect())
            });
        };
        self.app.large.run(answer).await
    }
}

/// Those asked for, or all that the framework has if none is named.
fn named(state: &State, framework: &FrameworkId, asked: Vec<Asked>) -> IntoIter<Asked> {
    match asked.is_empty() {
        true => {
            let told = state.operations_of(framework).filter(|operation| operation.is_told());
            let all = told.map(|operation| (operation.id.clone(), None));
            all.collect::<Vec<Asked>>().into_iter()
        }
        false => asked.into_iter(),
    }
}

fn next_piece(
    state: &State,
    framework: &FrameworkId,
    rest: &mut IntoIter<Asked>,
) -> Option<Vec<v1::OperationStatus>> {
    if rest.len() == 0 || state.framework(framework).is_none() {
        return None;
    }
    let piece = rest.take(PIECE_OPERATIONS);
    Some(piece.map(|(operation, agent)| answer(state, framework, &operation, agent.as_ref())).collect())
}

/// Without uuid: nobody acknowledges it.
fn answer(
    state: &State,
    framework: &FrameworkId,
    operation: &OperationId,
    agent: Option<&AgentId>,
) -> v1::OperationStatus {
    let told = |agent, state, message: &str| status::of_operation(operation, agent, state, message);
    if let Some(known) = state.operation(framework, operation).filter(|known| known.is_told()) {
        let away = state.agent(&known.agent).is_none() && !known.finished;
        let latest = if away { OperationState::Unreachable } else { known.state() };
        return told(Some(&known.agent), latest, "Reconciliation: Latest operation state");
    }
    let (latest, message) = match agent.map(|id| (state.agent(id), state.unreachable_agent(id))) {
        Some((Some(agent), _)) if agent.incarnation != state.incarnation() => {
            (OperationState::Recovering, "Reconciliation: Agent is recovering")
        }
        Some((None, Some(_))) => (OperationState::Unreachable, "Reconciliation: Agent is unreachable"),
        Some((None, None)) if agent.is_some_and(|id| state.gone_agent(id).is_some()) => {
            (OperationState::GoneByOperator, "Reconciliation: Agent has been marked gone")
        }
        Some(_) | None => (OperationState::Unknown, "Reconciliation: Operation is unknown"),
    };
    told(agent, latest, message)
}
