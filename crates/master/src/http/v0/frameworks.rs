//! `/frameworks`, and frameworks wherever they are shown, with their offers and executors.

use std::io;

use mesarch_mesos_v1::convert::constraints_to_v1;
use mesarch_proto::mesos::v1;
use mesarch_state::{
    State,
    model::{Executor, Framework, Offer, UnreachableAgent},
};
use mesarch_types::{FrameworkCapability, FrameworkId, Millis, WallMillis};
use prost::Message;
use serde::Serialize;

use super::{
    model::{Raw, raw},
    numbers::{Amounts, seconds},
    out::Out,
    tasks::Told,
};

/// What `/state-summary` says of a framework beside its counts.
#[derive(Serialize)]
pub(super) struct ShortFramework<'a> {
    id: &'a str,
    name: &'a str,
    used_resources: Amounts,
    offered_resources: Amounts,
    capabilities: Vec<&'static str>,
    hostname: String,
    webui_url: String,
    active: bool,
    connected: bool,
    recovered: bool,
}

/// A registered framework, in short.
pub(super) fn short<'a>(state: &'a State, framework: &'a Framework) -> ShortFramework<'a> {
    let info = v1::FrameworkInfo::decode(framework.spec.info.clone()).unwrap_or_default();
    let offers = framework.offers.iter().filter_map(|id| state.offer(id));
    ShortFramework {
        used_resources: used(state, framework),
        offered_resources: Amounts::of(offers.map(|offer| &offer.resources)),
        ..bare_short(framework, &info)
    }
}

fn bare_short<'a>(framework: &'a Framework, info: &v1::FrameworkInfo) -> ShortFramework<'a> {
    let spec = &framework.spec;
    ShortFramework {
        id: framework.id.as_str(),
        name: &spec.name,
        used_resources: Amounts::default(),
        offered_resources: Amounts::default(),
        capabilities: spec.capabilities.iter().map(|capability| capability.name()).collect(),
        hostname: info.hostname.clone().unwrap_or_default(),
        webui_url: info.webui_url.clone().unwrap_or_default(),
        active: framework.is_connected(),
        connected: framework.is_connected(),
        // Had a stream at an earlier leader and has not come back to this one yet.
        recovered: framework.is_active() && !framework.is_connected(),
    }
}

/// What `/state` says of a framework before its lists.
#[derive(Serialize)]
struct FrameworkHead<'a> {
    #[serde(flatten)]
    short: ShortFramework<'a>,
    user: &'a str,
    failover_timeout: f64,
    checkpoint: bool,
    registered_time: f64,
    unregistered_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    resources: Amounts,
    #[serde(skip_serializing_if = "Option::is_none")]
    reregistered_time: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'a str>,
}

/// And behind them.
#[derive(Serialize)]
struct FrameworkTail {
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Raw>>,
    offer_constraints: Option<Raw>,
}

/// `/frameworks`.
pub(super) fn frameworks(state: &State, only: Option<&str>, out: &mut Out<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Empty {}
    #[derive(Serialize)]
    struct Tail {
        unregistered_frameworks: [(); 0],
    }
    out.object(&Empty {}, |out| lists(state, only, out), &Tail { unregistered_frameworks: [] })
}

/// Those that are registered, and those that are not any more.
pub(super) fn lists(state: &State, only: Option<&str>, out: &mut Out<'_>) -> io::Result<()> {
    let wanted = |id: &FrameworkId| only.is_none_or(|only| id.as_str() == only);
    let registered = state.frameworks().filter(|framework| wanted(&framework.id));
    out.list("frameworks", registered, |framework, out| write_registered(state, framework, out))?;
    let gone = state.removed_frameworks().filter(|(id, _)| wanted(id));
    let gone = gone.filter_map(|(_, removed)| Some((removed.record.as_deref()?, removed.wall)));
    out.list("completed_frameworks", gone, |(framework, at), out| write_gone(framework, at, out))
}

fn write_registered(state: &State, framework: &Framework, out: &mut Out<'_>) -> io::Result<()> {
    let offers: Vec<&Offer> = framework.offers.iter().filter_map(|id| state.offer(id)).collect();
    let used = used(state, framework);
    let mut both = used.clone();
    offers.iter().for_each(|offer| both.add(&offer.resources));
    let (bare, tail) = bare(framework);
    let head = FrameworkHead {
        short: ShortFramework {
            used_resources: used,
            offered_resources: Amounts::of(offers.iter().map(|offer| &offer.resources)),
            ..bare.short
        },
        resources: both,
        ..bare
    };
    let lists = |out: &mut Out<'_>| {
        out.list("tasks", state.tasks_of(&framework.id), |task, out| Told::of(task).write(out))?;
        out.list("unreachable_tasks", unreachable_tasks(state, framework), |told, out| told.write(out))?;
        write_completed(framework, out)?;
        out.list("offers", offers, |one, out| out.value(&offer(one)))?;
        out.list("executors", state.executors_of(&framework.id), |one, out| out.value(&executor(one)))
    };
    out.object(&head, lists, &tail)
}

fn write_completed(framework: &Framework, out: &mut Out<'_>) -> io::Result<()> {
    out.list("completed_tasks", framework.completed.iter(), |task, out| Told::of(task).write(out))
}

/// One that is gone, with what is remembered of it.
fn write_gone(framework: &Framework, at: WallMillis, out: &mut Out<'_>) -> io::Result<()> {
    let (bare, tail) = bare(framework);
    let short = ShortFramework { active: false, connected: false, recovered: false, ..bare.short };
    let head = FrameworkHead { short, unregistered_time: seconds(at), ..bare };
    let none = |name: &'static str| move |out: &mut Out<'_>| out.list(name, [(); 0], |(), _| Ok(()));
    let lists = |out: &mut Out<'_>| {
        none("tasks")(out)?;
        none("unreachable_tasks")(out)?;
        write_completed(framework, out)?;
        none("offers")(out)?;
        none("executors")(out)
    };
    out.object(&head, lists, &tail)
}

/// What the framework uses, over all agents where it has anything.
fn used(state: &State, framework: &Framework) -> Amounts {
    let live = state.tasks_of(&framework.id).filter(|task| !task.state.is_terminal());
    let live = live.map(|task| &task.spec.resources);
    let executors = state.executors_of(&framework.id).map(|executor| &executor.spec.resources);
    Amounts::of(live.chain(executors))
}

pub(super) fn unreachable_tasks<'a>(
    state: &'a State,
    framework: &'a Framework,
) -> impl Iterator<Item = Told<'a>> {
    let partition_aware = framework.is_partition_aware();
    framework.unreachable.iter().filter_map(move |(task, agent)| {
        let away: &UnreachableAgent = state.unreachable_agent(agent)?;
        let task = away.tasks.get(&(framework.id.clone(), task.clone()))?;
        let told = mesarch_types::TaskState::Unreachable;
        let told = if partition_aware { told } else { told.for_partition_unaware() };
        Some(Told { task, state: told })
    })
}

/// A framework by itself: what does not depend on its being there.
fn bare(framework: &Framework) -> (FrameworkHead<'_>, FrameworkTail) {
    let spec = &framework.spec;
    let info = v1::FrameworkInfo::decode(spec.info.clone()).unwrap_or_default();
    let multi_role = spec.capabilities.has(FrameworkCapability::MultiRole);
    let roles: Vec<&str> = spec.roles.iter().map(|role| role.as_str()).collect();
    let head = FrameworkHead {
        short: bare_short(framework, &info),
        user: &spec.user,
        failover_timeout: failover_seconds(spec.failover_timeout, info.failover_timeout),
        checkpoint: spec.checkpoint,
        registered_time: seconds(framework.registered),
        unregistered_time: 0.0,
        principal: spec.principal.as_deref(),
        resources: Amounts::default(),
        reregistered_time: framework.reregistered.map(seconds),
        role: if multi_role { None } else { roles.first().copied() },
        roles: multi_role.then_some(roles),
    };
    let tail = FrameworkTail {
        labels: info.labels.map(|labels| labels.labels.iter().filter_map(raw).collect()),
        offer_constraints: raw(&constraints_to_v1(&spec.rules.constraints)),
    };
    (head, tail)
}

/// As the framework said it, exactly; what decisions read is rounded to ms.
fn failover_seconds(decided: Millis, said: Option<f64>) -> f64 {
    said.unwrap_or(decided.0 as f64 / 1000.0)
}

#[derive(Serialize)]
struct OfferView<'a> {
    id: &'a str,
    framework_id: &'a str,
    allocation_info: RoleView<'a>,
    slave_id: &'a str,
    resources: Amounts,
}

#[derive(Serialize)]
struct RoleView<'a> {
    role: &'a str,
}

fn offer(offer: &Offer) -> OfferView<'_> {
    OfferView {
        id: offer.id.as_str(),
        framework_id: offer.framework.as_str(),
        allocation_info: RoleView { role: offer.role.as_str() },
        slave_id: offer.agent.as_str(),
        resources: Amounts::of([&offer.resources]),
    }
}

#[derive(Serialize)]
struct ExecutorView<'a> {
    executor_id: &'a str,
    name: String,
    framework_id: &'a str,
    command: CommandView,
    resources: Amounts,
    role: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<Raw>>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    slave_id: &'a str,
}

#[derive(Serialize)]
struct CommandView {
    shell: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    argv: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Raw>,
    uris: Vec<UriView>,
}

#[derive(Serialize)]
struct UriView {
    value: String,
    executable: bool,
}

fn executor(executor: &Executor) -> ExecutorView<'_> {
    let info = v1::ExecutorInfo::decode(executor.spec.info.clone()).unwrap_or_default();
    let kind = info.r#type.and_then(|number| v1::executor_info::Type::try_from(number).ok());
    let command = info.command.unwrap_or_default();
    ExecutorView {
        executor_id: executor.key.executor.as_str(),
        name: info.name.unwrap_or_default(),
        framework_id: executor.key.framework.as_str(),
        resources: Amounts::of([&executor.spec.resources]),
        role: executor.role.as_str(),
        labels: info.labels.map(|labels| labels.labels.iter().filter_map(raw).collect()),
        kind: kind.map(|kind| kind.as_str_name()),
        slave_id: executor.key.agent.as_str(),
        command: CommandView {
            shell: command.shell(),
            environment: command.environment.as_ref().and_then(raw),
            uris: command
                .uris
                .iter()
                .map(|uri| UriView { value: uri.value.clone(), executable: uri.executable() })
                .collect(),
            value: command.value,
            argv: command.arguments,
        },
    }
}
