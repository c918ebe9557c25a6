//! Whether this master serves, for probes and for clients that balance.
//!
//! Asked of no service in particular, every master that runs is SERVING. Of `mesarch.api.Scheduler` and
//! `mesarch.api.Operator`, only the leader is: another one would refuse nearly every call. Of the others every master is.

use std::sync::Arc;

use futures::{StreamExt, stream};
use mesarch_edge::grpc::Outgoing;
use mesarch_proto::api::{operator_server, scheduler_server};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server::Health,
};

use super::SERVICES;
use crate::view::LeaderView;

/// Those that only the leader serves in full.
const OF_LEADER: [&str; 2] = [scheduler_server::SERVICE_NAME, operator_server::SERVICE_NAME];

/// See the module's text.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) view: watch::Receiver<LeaderView>,
}

#[tonic::async_trait]
impl Health for Service {
    type WatchStream = Outgoing<HealthCheckResponse>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        match status(service, &self.view.borrow()) {
            ServingStatus::ServiceUnknown => Err(Status::not_found(format!("no such service: {service}"))),
            status => Ok(Response::new(told(status))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service: Arc<str> = request.into_inner().service.into();
        let first = (self.view.clone(), None);
        let changes = stream::unfold(first, move |(view, last)| next(service.clone(), view, last));
        Ok(Response::new(changes.boxed()))
    }
}

type Watch = (watch::Receiver<LeaderView>, Option<ServingStatus>);

/// The next status that differs from the last one told. None once the master stops.
async fn next(
    service: Arc<str>,
    mut view: watch::Receiver<LeaderView>,
    last: Option<ServingStatus>,
) -> Option<(Result<HealthCheckResponse, Status>, Watch)> {
    loop {
        let now = status(&service, &view.borrow_and_update());
        if last != Some(now) {
            return Some((Ok(told(now)), (view, Some(now))));
        }
        view.changed().await.ok()?;
    }
}

fn told(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

fn status(service: &str, view: &LeaderView) -> ServingStatus {
    let leads = matches!(view, LeaderView::Leading(_));
    if OF_LEADER.contains(&service) && !leads {
        ServingStatus::NotServing
    } else if service.is_empty() || SERVICES.contains(&service) {
        ServingStatus::Serving
    } else {
        ServingStatus::ServiceUnknown
    }
}
