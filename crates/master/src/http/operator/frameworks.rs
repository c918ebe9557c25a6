//! GET_FRAMEWORKS.

use mesarch_mesos_v1::{
    convert::{ResourceForm, constraints_to_v1, resources_to_v1},
    writer::{Field, Fields},
};
use mesarch_proto::mesos::v1::{FrameworkInfo, master::response::get_frameworks::Framework as Shown};
use mesarch_state::{
    State,
    model::{Framework, Offer},
};
use mesarch_types::{WallMillis, resource::Resources};
use prost::Message;

use crate::{events, offers, status::time};

pub(super) fn write(state: &State, out: &mut Fields<'_>) {
    out.list(Field("frameworks", 1), state.frameworks().map(|framework| registered(state, framework)));
    let records =
        state.removed_frameworks().filter_map(|(_, gone)| Some((gone.record.as_deref()?, gone.wall)));
    out.list(Field("completed_frameworks", 2), records.map(|(framework, wall)| completed(framework, wall)));
}

pub(super) fn registered(state: &State, framework: &Framework) -> Shown {
    let outstanding: Vec<&Offer> = framework.offers.iter().filter_map(|id| state.offer(id)).collect();
    let offered = outstanding.iter().map(|offer| &offer.resources);
    Shown {
        active: framework.is_connected(),
        connected: framework.is_connected(),
        // Had a stream at an earlier leader and has not come back to this one yet.
        recovered: framework.is_active() && !framework.is_connected(),
        allocated_resources: sum(used(state, framework)),
        offered_resources: sum(offered),
        offers: outstanding.iter().filter_map(|offer| offers::of_state(state, offer)).collect(),
        ..bare(framework)
    }
}

fn completed(framework: &Framework, at: WallMillis) -> Shown {
    Shown { unregistered_time: Some(time(at)), ..bare(framework) }
}

/// What is true of it whether it is there or gone.
fn bare(framework: &Framework) -> Shown {
    // Our own encoding of what the framework said.
    let info = FrameworkInfo::decode(framework.spec.info.clone()).unwrap_or_default();
    Shown {
        framework_info: FrameworkInfo { id: Some(events::framework_id(&framework.id)), ..info },
        registered_time: Some(time(framework.registered)),
        // Until it comes back it is the time at which it came first.
        reregistered_time: Some(time(framework.reregistered.unwrap_or(framework.registered))),
        offer_constraints: Some(constraints_to_v1(&framework.spec.rules.constraints)),
        ..Shown::default()
    }
}

/// Of its tasks that have not ended, and its executors.
fn used<'a>(state: &'a State, framework: &'a Framework) -> impl Iterator<Item = &'a Resources> {
    let live = state.tasks_of(&framework.id).filter(|task| !task.state.is_terminal());
    let executors = state.executors_of(&framework.id).map(|executor| &executor.spec.resources);
    live.map(|task| &task.spec.resources).chain(executors)
}

fn sum<'a>(all: impl Iterator<Item = &'a Resources>) -> Vec<mesarch_proto::mesos::v1::Resource> {
    resources_to_v1(&Resources::sum(all), ResourceForm::Both)
}
