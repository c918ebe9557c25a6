//! ACCEPT: which operations, judged task by task.

use mesarch_proto::mesos::v1::{offer, scheduler::call};
use mesarch_state::{
    Command,
    command::{AcceptOffers, Launch},
};
use mesarch_types::{OfferId, Role, time::LAUNCHES_PER_COMMAND_MAX};
use prost::Message;

use super::{CallError, Caller, offer_ids, refuse};
use crate::{
    large::LARGE_BYTES,
    leader::Encoded,
    task_validation::{Context, can_limit, invalid, judge},
};

/// Most tasks that one ACCEPT may launch.
const TASKS_MAX: usize = LAUNCHES_PER_COMMAND_MAX as usize;

impl Caller<'_> {
    pub(super) async fn accept(&self, accept: call::Accept) -> Result<(), CallError> {
        check_operations(&accept.operations)?;
        let offers = offer_ids(accept.offer_ids);
        let context = self.context(&offers);
        let is_large = accept.operations.iter().map(Message::encoded_len).sum::<usize>() > LARGE_BYTES;
        let (framework, operations, refuse) =
            (self.framework(), accept.operations, refuse(accept.filters.as_ref()));
        let write = move || {
            let launches =
                operations.into_iter().flat_map(|operation| launches(operation, &context)).collect();
            Encoded::from(&Command::AcceptOffers(AcceptOffers { framework, offers, launches, refuse }))
        };
        let encoded = if is_large { self.app.large.run(write).await? } else { write() };
        self.commit_encoded(encoded).await.map(drop)
    }

    /// What the tasks are judged against: an outstanding offer's agent and role do not change.
    fn context(&self, offers: &[OfferId]) -> Context {
        let published = self.app.newest();
        let state = &published.state;
        let framework = self.framework();
        let offer = offers.iter().find_map(|id| state.offer(id)).filter(|offer| offer.framework == framework);
        let own_role =
            || state.framework(&framework).and_then(|framework| framework.spec.roles.first().cloned());
        let role = offer.map(|offer| offer.role.clone()).or_else(own_role).unwrap_or_else(Role::any);
        let agent = offer.and_then(|offer| state.agent(&offer.agent));
        Context { framework, role, agent: agent.map(|agent| (agent.id.clone(), can_limit(agent))) }
    }
}

/// Only LAUNCH is there yet: with anything else in it, the whole call is refused.
fn check_operations(operations: &[offer::Operation]) -> Result<(), CallError> {
    use offer::operation::Type;
    let other = |operation: &offer::Operation| match operation.r#type.map(Type::try_from) {
        Some(Ok(Type::Launch)) => None,
        Some(Ok(other)) => Some(other.as_str_name()),
        Some(Err(_)) | None => Some(Type::Unknown.as_str_name()),
    };
    let others: Vec<&str> = operations.iter().filter_map(other).collect();
    if !others.is_empty() {
        return Err(CallError::NotImplemented(format!("operations of ACCEPT: {}", others.join(", "))));
    }
    let tasks = operations.iter().filter_map(|operation| operation.launch.as_ref());
    let tasks = tasks.map(|launch| launch.task_infos.len()).sum();
    match tasks > TASKS_MAX {
        true => Err(CallError::TooManyTasks { tasks, max: TASKS_MAX }),
        false => Ok(()),
    }
}

fn launches(operation: offer::Operation, context: &Context) -> Vec<Launch> {
    let tasks = operation.launch.unwrap_or_default().task_infos.into_iter();
    match operation.id {
        None => tasks.map(|task| judge(task, context)).collect(),
        Some(_) => tasks
            .map(|task| invalid(&task, "Operation feedback ('id') is not allowed on LAUNCH".to_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::TaskInfo;
    use mesarch_state::command::Judged;
    use offer::operation::{Launch as LaunchOperation, Type};

    use super::*;

    fn operation(kind: Type, tasks: usize) -> offer::Operation {
        let launch = LaunchOperation { task_infos: vec![TaskInfo::default(); tasks] };
        offer::Operation { r#type: Some(kind as i32), launch: Some(launch), ..Default::default() }
    }

    #[test]
    fn what_is_not_there_is_named_and_nothing_is_done() {
        assert_eq!(check_operations(&[]), Ok(()));
        assert_eq!(check_operations(&[operation(Type::Launch, 1000)]), Ok(()));
        let too_many = [operation(Type::Launch, 600), operation(Type::Launch, 401)];
        assert_eq!(check_operations(&too_many), Err(CallError::TooManyTasks { tasks: 1001, max: 1000 }));
        let mixed =
            [operation(Type::Launch, 1), operation(Type::Reserve, 0), operation(Type::LaunchGroup, 0)];
        let error = check_operations(&mixed).expect_err("not there").to_string();
        assert_eq!(error, "not implemented: operations of ACCEPT: RESERVE, LAUNCH_GROUP");
    }

    #[test]
    fn feedback_is_not_for_launches() {
        let id = Some(mesarch_proto::mesos::v1::OperationId { value: "x".into() });
        let context = Context { framework: "f".into(), role: Role::any(), agent: None };
        let launches = launches(offer::Operation { id, ..operation(Type::Launch, 2) }, &context);
        assert_eq!(launches.len(), 2);
        assert!(launches.iter().all(|launch| matches!(launch.task, Judged::Invalid { .. })));
    }
}
