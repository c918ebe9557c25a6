//! ACCEPT: which operations, judged one by one, and launches task by task.

use mesarch_proto::mesos::v1::{
    offer::{self, operation::Type},
    scheduler::call,
};
use mesarch_state::{
    Command, LEVEL_GROUPS, LEVEL_OPERATIONS, LEVEL_PROVIDERS,
    command::{AcceptOffers, ExecutorKey, Launch, Operation},
};
use mesarch_types::{ExecutorId, OfferId, Role, time::LAUNCHES_PER_COMMAND_MAX};
use prost::Message;

use super::{CallError, Caller, check_level, offer_ids, refuse};
use crate::{
    large::LARGE_BYTES,
    leader::Encoded,
    operation_validation::{self, Claims},
    task_validation::{Context, can_limit, group, invalid, judge},
};

/// Most tasks that one ACCEPT may launch.
const TASKS_MAX: usize = LAUNCHES_PER_COMMAND_MAX as usize;
/// Most operations of one ACCEPT; launches, however many tasks they have, count as one each.
const OPERATIONS_MAX: usize = 1000;

impl Caller<'_> {
    pub(super) async fn accept(&self, accept: call::Accept) -> Result<(), CallError> {
        check_operations(&accept.operations)?;
        if accept.operations.iter().any(|operation| kind(operation) != Type::Launch) {
            check_level(self.app, LEVEL_OPERATIONS, "operations of ACCEPT other than LAUNCH")?;
        }
        if accept.operations.iter().any(|operation| kind(operation) == Type::LaunchGroup) {
            check_level(self.app, LEVEL_GROUPS, "LAUNCH_GROUP in ACCEPT")?;
        }
        let for_provider = |operation| matches!(kind(operation), Type::CreateDisk | Type::DestroyDisk);
        if accept.operations.iter().any(for_provider) {
            check_level(self.app, LEVEL_PROVIDERS, "CREATE_DISK and DESTROY_DISK in ACCEPT")?;
        }
        let offers = offer_ids(accept.offer_ids);
        let context = self.context(&offers, &accept.operations);
        let claims = self.claims(&context.role);
        let is_large = accept.operations.iter().map(Message::encoded_len).sum::<usize>() > LARGE_BYTES;
        let (framework, list, refuse) =
            (self.framework(), accept.operations, refuse(accept.filters.as_ref()));
        let write = move || {
            let (launches, operations) = judge_all(list, &context, &claims);
            let command = AcceptOffers { framework, offers, launches, operations, refuse };
            Encoded::from(&Command::AcceptOffers(command))
        };
        let encoded = if is_large { self.app.large.run(write).await? } else { write() };
        self.commit_encoded(encoded).await.map(drop)
    }

    /// What the tasks are judged against: an outstanding offer's agent and role do not change.
    fn context(&self, offers: &[OfferId], operations: &[offer::Operation]) -> Context {
        let published = self.app.newest();
        let state = &published.state;
        let framework = self.framework();
        let offer = offers.iter().find_map(|id| state.offer(id)).filter(|offer| offer.framework == framework);
        let own_role =
            || state.framework(&framework).and_then(|framework| framework.spec.roles.first().cloned());
        let role = offer.map(|offer| offer.role.clone()).or_else(own_role).unwrap_or_else(Role::any);
        let agent = offer.and_then(|offer| state.agent(&offer.agent));
        let groups = operations.iter().filter_map(|operation| operation.launch_group.as_ref());
        let executors = groups.map(|group| ExecutorId::from(group.executor.executor_id.value.as_str()));
        let shares = |executor: ExecutorId| {
            let key = ExecutorKey { framework: framework.clone(), agent: agent?.id.clone(), executor };
            let shares = group::shares_of_executor(state, &key)?;
            Some((key.executor, shares))
        };
        let shares_cgroups = executors.filter_map(shares).collect();
        let agent = agent.map(|agent| (agent.id.clone(), can_limit(agent)));
        Context { framework: self.framework(), role, agent, shares_cgroups }
    }

    /// What other operations are judged against.
    fn claims(&self, role: &Role) -> Claims {
        let published = self.app.newest();
        let spec = published.state.framework(&self.framework()).map(|framework| framework.spec.clone());
        Claims {
            role: role.clone(),
            principal: spec.as_ref().and_then(|spec| spec.principal.clone()),
            capabilities: spec.map(|spec| spec.capabilities).unwrap_or_default(),
        }
    }
}

fn kind(operation: &offer::Operation) -> Type {
    operation.r#type.and_then(|number| Type::try_from(number).ok()).unwrap_or(Type::Unknown)
}

/// With anything in it that is not there yet, the whole call is refused.
fn check_operations(operations: &[offer::Operation]) -> Result<(), CallError> {
    let missing = |kind: &Type| match kind {
        Type::Unknown => true,
        Type::Launch
        | Type::LaunchGroup
        | Type::CreateDisk
        | Type::DestroyDisk
        | Type::Reserve
        | Type::Unreserve
        | Type::Create
        | Type::Destroy
        | Type::GrowVolume
        | Type::ShrinkVolume => false,
    };
    let others: Vec<&str> =
        operations.iter().map(kind).filter(missing).map(|other| other.as_str_name()).collect();
    if !others.is_empty() {
        return Err(CallError::NotImplemented(format!("operations of ACCEPT: {}", others.join(", "))));
    }
    if operations.len() > OPERATIONS_MAX {
        return Err(CallError::TooManyOperations { operations: operations.len(), max: OPERATIONS_MAX });
    }
    let alone = operations.iter().filter_map(|operation| operation.launch.as_ref());
    let grouped = operations.iter().filter_map(|operation| operation.launch_group.as_ref());
    let alone: usize = alone.map(|launch| launch.task_infos.len()).sum();
    let tasks = alone + grouped.map(|launch| launch.task_group.tasks.len()).sum::<usize>();
    match tasks > TASKS_MAX {
        true => Err(CallError::TooManyTasks { tasks, max: TASKS_MAX }),
        false => Ok(()),
    }
}

/// Launches, and the other operations with their places between these.
fn judge_all(
    list: Vec<offer::Operation>,
    context: &Context,
    claims: &Claims,
) -> (Vec<Launch>, Vec<Operation>) {
    let (mut all, mut operations) = (Vec::new(), Vec::new());
    for operation in list {
        match kind(&operation) {
            Type::Launch => all.extend(launches(operation, context)),
            Type::LaunchGroup => all.extend(group::judge(operation, all.len(), context)),
            _ => operations.push(operation_validation::judge(&operation, all.len(), claims)),
        }
    }
    (all, operations)
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
    use offer::operation::Launch as LaunchOperation;

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
        let mixed = [operation(Type::Launch, 1), operation(Type::CreateDisk, 0), operation(Type::Unknown, 0)];
        let error = check_operations(&mixed).expect_err("not there").to_string();
        assert_eq!(error, "not implemented: operations of ACCEPT: UNKNOWN");
        assert_eq!(check_operations(&[operation(Type::Reserve, 0), operation(Type::Launch, 1)]), Ok(()));
    }

    #[test]
    fn operations_keep_their_places_between_the_launches() {
        let list = vec![
            operation(Type::Reserve, 0),
            operation(Type::Launch, 2),
            operation(Type::Create, 0),
            operation(Type::Launch, 1),
            operation(Type::Destroy, 0),
        ];
        let context = Context::of("f", "*");
        let claims = Claims { role: Role::any(), principal: None, capabilities: Default::default() };
        let (launches, operations) = judge_all(list, &context, &claims);
        let places: Vec<u32> = operations.iter().map(|operation| operation.before).collect();
        assert_eq!((launches.len(), places), (3, vec![0, 2, 3]));
    }

    #[test]
    fn feedback_is_not_for_launches() {
        let id = Some(mesarch_proto::mesos::v1::OperationId { value: "x".into() });
        let context = Context::of("f", "*");
        let launches = launches(offer::Operation { id, ..operation(Type::Launch, 2) }, &context);
        assert_eq!(launches.len(), 2);
        assert!(launches.iter().all(|launch| matches!(launch.task, Judged::Invalid { .. })));
    }
}
