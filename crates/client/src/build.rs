//! Short ways to write the messages that every framework needs. The messages themselves are in [`crate::v1`].

use crate::v1::{
    AgentId, CommandInfo, Environment, ExecutorInfo, FrameworkInfo, Resource, TaskId, TaskInfo, TaskState,
    environment, framework_info, resource, value,
};

/// A framework in role `*` with the capabilities that the SDK understands. Its tasks outlive a restart of the agent.
pub fn framework(name: &str) -> FrameworkInfo {
    use framework_info::capability::Type;
    let capability = |kind: Type| framework_info::Capability { r#type: Some(kind as i32) };
    FrameworkInfo {
        user: std::env::var("USER").unwrap_or_else(|_| "nobody".to_owned()),
        name: name.to_owned(),
        checkpoint: Some(true),
        roles: vec!["*".to_owned()],
        capabilities: [
            Type::MultiRole,
            Type::PartitionAware,
            Type::ReservationRefinement,
            Type::TaskKillingState,
        ]
        .map(capability)
        .into(),
        ..FrameworkInfo::default()
    }
}

/// An unreserved scalar resource such as `cpus` (cores) or `mem` (MB).
pub fn scalar(name: &str, amount: f64) -> Resource {
    Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        ..Resource::default()
    }
}

/// The total of a scalar resource in a list, whoever it is reserved for.
pub fn total(resources: &[Resource], name: &str) -> f64 {
    let amounts = resources.iter().filter(|resource| resource.name == name);
    amounts.filter_map(|resource| resource.scalar.as_ref()).map(|scalar| scalar.value).sum()
}

/// The part of `offered` that has `cpus` and `mem_mb`, as the master wants it named: with the reservations and the
/// allocation role that it was offered with. `None` if there is not enough.
pub fn carve(offered: &[Resource], cpus: f64, mem_mb: f64) -> Option<Vec<Resource>> {
    let mut taken = take_scalar(offered, "cpus", cpus)?;
    taken.extend(take_scalar(offered, "mem", mem_mb)?);
    Some(taken)
}

fn take_scalar(offered: &[Resource], name: &str, amount: f64) -> Option<Vec<Resource>> {
    let mut missing = thousandths(amount);
    let mut taken = Vec::new();
    for resource in offered.iter().filter(|resource| resource.name == name && resource.disk.is_none()) {
        let here = resource.scalar.as_ref().map_or(0, |scalar| thousandths(scalar.value)).min(missing);
        if here > 0 {
            let scalar = Some(value::Scalar { value: here as f64 / 1000.0 });
            taken.push(Resource { scalar, ..resource.clone() });
            missing -= here;
        }
    }
    (missing == 0).then_some(taken)
}

fn thousandths(amount: f64) -> i64 {
    (amount * 1000.0).round() as i64
}

/// The role that a resource was offered to, if the framework is told (MULTI_ROLE).
pub fn allocation_role(resource: &Resource) -> Option<&str> {
    resource.allocation_info.as_ref().and_then(|info: &resource::AllocationInfo| info.role.as_deref())
}

/// Whether no further step can follow.
pub fn is_terminal(state: TaskState) -> bool {
    match state {
        TaskState::TaskFinished
        | TaskState::TaskFailed
        | TaskState::TaskKilled
        | TaskState::TaskError
        | TaskState::TaskLost
        | TaskState::TaskDropped
        | TaskState::TaskGone
        | TaskState::TaskGoneByOperator => true,
        TaskState::TaskStaging
        | TaskState::TaskStarting
        | TaskState::TaskRunning
        | TaskState::TaskKilling
        | TaskState::TaskUnreachable
        | TaskState::TaskUnknown => false,
    }
}

/// A task that is still to be put on an agent.
#[derive(Clone, Debug)]
pub struct TaskBuilder {
    task: TaskInfo,
}

impl TaskBuilder {
    /// A task with this id that runs `command` in a shell.
    pub fn command(id: &str, command: &str) -> Self {
        let info =
            CommandInfo { shell: Some(true), value: Some(command.to_owned()), ..CommandInfo::default() };
        Self::with_command(id, info)
    }

    /// A task that starts a program with arguments, without a shell. `arguments[0]` is the program's own name.
    pub fn program(id: &str, program: &str, arguments: &[String]) -> Self {
        let info = CommandInfo {
            shell: Some(false),
            value: Some(program.to_owned()),
            arguments: arguments.to_vec(),
            ..CommandInfo::default()
        };
        Self::with_command(id, info)
    }

    /// A task that an executor of the framework's own runs.
    pub fn executor(id: &str, executor: ExecutorInfo) -> Self {
        let mut builder = Self::named(id);
        builder.task.executor = Some(executor);
        builder
    }

    fn with_command(id: &str, command: CommandInfo) -> Self {
        let mut builder = Self::named(id);
        builder.task.command = Some(command);
        builder
    }

    fn named(id: &str) -> Self {
        let task_id = TaskId { value: id.to_owned() };
        Self { task: TaskInfo { name: id.to_owned(), task_id, ..TaskInfo::default() } }
    }

    /// A name for people; the id if not given.
    pub fn name(mut self, name: &str) -> Self {
        self.task.name = name.to_owned();
        self
    }

    /// Cores.
    pub fn cpus(self, cpus: f64) -> Self {
        self.resource(scalar("cpus", cpus))
    }

    /// Memory in MB.
    pub fn mem_mb(self, mem_mb: f64) -> Self {
        self.resource(scalar("mem", mem_mb))
    }

    /// Any further resource.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.task.resources.push(resource);
        self
    }

    /// All resources at once, for example from [`carve`].
    pub fn resources(mut self, resources: Vec<Resource>) -> Self {
        self.task.resources = resources;
        self
    }

    /// Sets a variable of the command's environment. Without effect on a task that has no command.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        if let Some(command) = &mut self.task.command {
            let environment = command.environment.get_or_insert_with(Environment::default);
            environment.variables.push(environment::Variable {
                name: name.to_owned(),
                value: Some(value.to_owned()),
                ..environment::Variable::default()
            });
        }
        self
    }

    /// The finished message, for the agent of an offer.
    pub fn on(mut self, agent: &AgentId) -> TaskInfo {
        self.task.agent_id = agent.clone();
        self.task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(name: &str, amount: f64, role: &str) -> Resource {
        let reservation = resource::ReservationInfo { role: Some(role.to_owned()), ..Default::default() };
        Resource { reservations: vec![reservation], ..scalar(name, amount) }
    }

    #[test]
    fn carving_keeps_reservations_and_never_takes_more_than_is_there() {
        let offered = [scalar("mem", 512.0), scalar("cpus", 0.3), reserved("cpus", 1.0, "web")];
        let taken = carve(&offered, 0.5, 100.0).unwrap();
        assert_eq!(total(&taken, "cpus"), 0.5);
        assert_eq!(total(&taken, "mem"), 100.0);
        assert_eq!(taken[1].reservations, offered[2].reservations);
        assert!(carve(&offered, 1.31, 1.0).is_none());
        assert!(carve(&offered, 0.1, 513.0).is_none());
        assert_eq!(carve(&offered, 0.0, 0.0).unwrap(), []);
    }

    #[test]
    fn a_task_has_what_its_builder_was_told() {
        let agent = AgentId { value: "S1".to_owned() };
        let task = TaskBuilder::command("t", "true").cpus(0.1).mem_mb(32.0).variable("A", "b").on(&agent);
        assert_eq!((task.name.as_str(), task.agent_id), ("t", agent));
        assert_eq!(total(&task.resources, "cpus"), 0.1);
        let command = task.command.unwrap();
        assert_eq!(command.value.as_deref(), Some("true"));
        assert_eq!(command.environment.unwrap().variables[0].name, "A");
    }
}
