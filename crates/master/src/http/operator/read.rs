//! Reads of what the cluster holds, rendered from a copy of the state.

use std::{io::Write, sync::Arc};

use axum::body::Body;
use http::Response;
use mesarch_mesos_v1::{
    convert::ResourceForm,
    writer::{Field, Fields, message_in_pieces},
};
use mesarch_proto::mesos::v1::{
    self, WeightInfo,
    master::{
        Response as Answer,
        response::{self, Type as AnswerType},
    },
};
use mesarch_state::State;
use prost::Message;

use super::{AnswerForm, agents, frameworks, of, roles, tasks};
use crate::{
    app::App,
    events,
    http::{
        read::{Asked, Reader, rendered},
        render::{Sink, What},
    },
    operator::maintenance,
    status,
};

/// An answer that grows with the cluster: its type, its field, and what is in it.
pub(super) struct Long {
    kind: AnswerType,
    field: Field,
    write: fn(&State, &mut Fields<'_>),
}

pub(super) const STATE: Long =
    Long { kind: AnswerType::GetState, field: Field("get_state", 9), write: write_state };
pub(super) const AGENTS: Long =
    Long { kind: AnswerType::GetAgents, field: Field("get_agents", 10), write: agents::write };
pub(super) const FRAMEWORKS: Long =
    Long { kind: AnswerType::GetFrameworks, field: Field("get_frameworks", 11), write: frameworks::write };
pub(super) const EXECUTORS: Long =
    Long { kind: AnswerType::GetExecutors, field: Field("get_executors", 12), write: tasks::write_executors };
pub(super) const TASKS: Long =
    Long { kind: AnswerType::GetTasks, field: Field("get_tasks", 13), write: tasks::write };

/// Writes a long answer, item by item.
pub(super) async fn long(
    app: Arc<App>,
    reader: Reader,
    form: AnswerForm,
    long: &'static Long,
) -> Response<Body> {
    let content_type = form.content_type;
    let render = move |_: &App, state: &State, sink: &mut Sink| {
        message_in_pieces(content_type, &mut |bytes| sink.take(bytes), |answer| {
            answer.symbol(Field("type", 1), long.kind.as_str_name(), long.kind as i32);
            answer.message(long.field, |lists| (long.write)(state, lists));
        });
        Ok(())
    };
    rendered(app, reader, asked(long.kind, form), render).await
}

/// All lists of one and the same state.
pub(super) fn write_state(state: &State, out: &mut Fields<'_>) {
    out.message(Field("get_tasks", 1), |lists| tasks::write(state, lists));
    out.message(Field("get_executors", 2), |lists| tasks::write_executors(state, lists));
    out.message(Field("get_frameworks", 3), |lists| frameworks::write(state, lists));
    out.message(Field("get_agents", 4), |lists| agents::write(state, lists));
}

/// Writes an answer that is built as a whole.
pub(super) async fn short(
    app: Arc<App>,
    reader: Reader,
    form: AnswerForm,
    short: (AnswerType, fn(&State) -> Answer),
) -> Response<Body> {
    let (kind, answer) = short;
    let render = move |_: &App, state: &State, sink: &mut Sink| {
        sink.write_all(&mesarch_mesos_v1::encode(form.content_type, &answer(state)))
    };
    rendered(app, reader, asked(kind, form), render).await
}

fn asked(kind: AnswerType, form: AnswerForm) -> Asked {
    let AnswerForm { content_type, gzip } = form;
    Asked {
        what: What::V1(kind as i32, content_type),
        media: content_type.as_str(),
        gzip,
        // Every call is a POST.
        head: false,
    }
}

/// Those of which a framework wants to hear, and whose end it has not acknowledged.
pub(super) fn operations(state: &State) -> Answer {
    let operations = state.operations().filter_map(|operation| {
        // Our own encoding of what the framework said.
        let info = v1::offer::Operation::decode(operation.info.clone()).ok()?;
        let latest = status::of_known_operation(operation, ResourceForm::New);
        Some(v1::Operation {
            framework_id: Some(events::framework_id(&operation.framework)),
            agent_id: Some(events::agent_id(&operation.agent)),
            info,
            latest_status: latest.clone(),
            statuses: vec![latest],
            uuid: status::uuid(operation.uuid),
        })
    });
    let get_operations = response::GetOperations { operations: operations.collect() };
    Answer { get_operations: Some(get_operations), ..of(AnswerType::GetOperations) }
}

pub(super) fn roles(state: &State) -> Answer {
    let get_roles = response::GetRoles { roles: roles::list(state) };
    Answer { get_roles: Some(get_roles), ..of(AnswerType::GetRoles) }
}

/// Those that were set; without any, Mesos leaves the whole field out.
pub(super) fn weights(state: &State) -> Answer {
    let weights = state.weights().map(|(role, weight)| WeightInfo {
        weight: weight.thousandths() as f64 / 1000.0,
        role: Some(role.to_string()),
    });
    let weight_infos: Vec<WeightInfo> = weights.collect();
    let get_weights = (!weight_infos.is_empty()).then_some(response::GetWeights { weight_infos });
    Answer { get_weights, ..of(AnswerType::GetWeights) }
}

pub(super) fn quota(state: &State) -> Answer {
    let get_quota = response::GetQuota { status: roles::quota(state) };
    Answer { get_quota: Some(get_quota), ..of(AnswerType::GetQuota) }
}

/// The schedule.
pub(super) fn maintenance_schedule(state: &State) -> Answer {
    let schedule = response::GetMaintenanceSchedule { schedule: maintenance::present_schedule(state) };
    Answer { get_maintenance_schedule: Some(schedule), ..of(AnswerType::GetMaintenanceSchedule) }
}

/// Machines in maintenance.
pub(super) fn maintenance_status(state: &State) -> Answer {
    let status = response::GetMaintenanceStatus { status: maintenance::cluster_status(state) };
    Answer { get_maintenance_status: Some(status), ..of(AnswerType::GetMaintenanceStatus) }
}
