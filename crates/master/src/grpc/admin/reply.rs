//! What operators are told.

use mesarch_leader_core::Why;
use mesarch_proto::admin::{
    self, ExplainReply, FrameworkPriority, GetPrioritiesReply, GetQuotaReply, GetWeightsReply,
    GetWhitelistReply, Hosts, Quantity, RolePriority, RoleQuota, RoleWeight,
};
use mesarch_state::State;
use mesarch_types::Quantities;
use tonic::Status;

pub(super) fn weights(state: &State) -> GetWeightsReply {
    let weights = state.weights();
    let weights = weights
        .map(|(role, weight)| RoleWeight { role: role.to_string(), thousandths: weight.thousandths() });
    GetWeightsReply { weights: weights.collect() }
}

pub(super) fn quotas(state: &State) -> GetQuotaReply {
    let mut consumption = state.consumption_in_use();
    let quotas = state.quotas().map(|quota| RoleQuota {
        role: quota.role().to_string(),
        guarantees: amounts(quota.guarantees()),
        limits: amounts(quota.limits()),
        consumed: amounts(&consumption.remove(quota.role()).unwrap_or_default()),
    });
    GetQuotaReply { quotas: quotas.collect() }
}

fn amounts(quantities: &Quantities) -> Vec<Quantity> {
    let amounts = quantities.iter();
    amounts.map(|(name, amount)| Quantity { name: name.to_string(), thousandths: amount.0 }).collect()
}

pub(super) fn priorities(state: &State) -> GetPrioritiesReply {
    let roles = state.role_priorities();
    let frameworks = state.framework_priorities();
    GetPrioritiesReply {
        roles: roles
            .map(|(role, priority)| RolePriority { role: role.to_string(), priority: priority.get().into() })
            .collect(),
        frameworks: frameworks
            .map(|(id, priority)| FrameworkPriority {
                framework: id.to_string(),
                priority: priority.get().into(),
            })
            .collect(),
    }
}

pub(super) fn whitelist(state: &State) -> GetWhitelistReply {
    let hosts = state.whitelist().map(|hosts| Hosts { names: hosts.map(ToString::to_string).collect() });
    GetWhitelistReply { hosts }
}

pub(super) fn explanation(why: &[Why]) -> Result<ExplainReply, Status> {
    let one = |why: &Why| {
        let json = serde_json::to_string(why).map_err(|error| Status::internal(error.to_string()))?;
        Ok(admin::Why { text: why.to_string(), json })
    };
    Ok(ExplainReply { why: why.iter().map(one).collect::<Result<_, Status>>()? })
}
