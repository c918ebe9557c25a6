//! UPDATE_FRAMEWORK: what a framework says of itself changes while it stays subscribed.

use mesarch_proto::mesos::v1::scheduler::call;
use mesarch_state::{Command, LEVEL_OPERATIONS, Outcome, command};

use super::{CallError, Caller, check_level};
use crate::{framework_validation::validate, specs};

impl Caller<'_> {
    /// Answered once it is committed; what must not change is judged with the framework as it is then.
    pub(super) async fn update_framework(&self, update: call::UpdateFramework) -> Result<(), CallError> {
        check_level(self.app, LEVEL_OPERATIONS, "UPDATE_FRAMEWORK")?;
        let constraints = update.offer_constraints.as_ref();
        let wishes = validate(&update.framework_info, &update.suppressed_roles, constraints)
            .map_err(|error| CallError::Framework(format!("Supplied FrameworkInfo is not valid: {error}")))?;
        let command = command::UpdateFramework {
            framework: self.framework(),
            spec: specs::framework_spec(update.framework_info, wishes.rules),
            suppressed: wishes.suppressed,
        };
        match self.commit(Command::UpdateFramework(command)).await? {
            Outcome::Refused(refusal) => {
                Err(CallError::Framework(format!("Supplied FrameworkInfo is not valid: {refusal}")))
            }
            _ => Ok(()),
        }
    }
}
