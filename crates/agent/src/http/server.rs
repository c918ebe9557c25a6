//! The agent's port: what `mesarch_edge` lets in is answered here. Its streams are tasks that end with the agent.

use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use mesarch_edge::{Audience, Bodies, Limits, Patience, Port, PortOptions, grpc::Services};
use rustix::process::{Resource, getrlimit};
use tokio::{net::TcpListener, sync::watch};

use super::{Site, grpc, route};

/// Descriptors left to everything else, if there are twice as many: links, checkpoints, outputs of executors that start.
const DESCRIPTORS_KEPT: usize = 256;

/// Serves until `stop` is set; then connections finish what they are at, for a moment. One that for a while shows no
/// whole request head, from its beginning or from the end of the last answer, is closed then. Every executor holds two.
pub(crate) async fn serve(
    listener: TcpListener,
    site: Site,
    options: PortOptions,
    stop: watch::Receiver<bool>,
) {
    let most = connections_max(getrlimit(Resource::Nofile).current);
    // No framework comes here: nothing is kept from anybody.
    let limits = Limits { reserve: 0, ..options.limits(most) };
    let services = grpc::services(&site);
    mesarch_edge::serve(listener, AgentPort { site, services }, limits, stop).await;
}

/// How many of the process' descriptors may be connections; without a limit, as many as are wanted.
fn connections_max(descriptors: Option<u64>) -> usize {
    let descriptors = descriptors.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    descriptors - DESCRIPTORS_KEPT.min(descriptors / 2)
}

/// See the module's text.
#[derive(Clone)]
struct AgentPort {
    site: Site,
    services: Services,
}

impl Port for AgentPort {
    fn audience(&self, _: &str) -> Audience {
        Audience::Others
    }

    fn bodies(&self) -> &Bodies {
        &self.site.bodies
    }

    fn services(&self) -> &Services {
        &self.services
    }

    async fn answer(&self, request: Request<Incoming>, _: Arc<Patience>) -> Response<Body> {
        route(&self.site, request.map(Body::new)).await
    }

    fn spawn(&self, stream: BoxFuture<'static, ()>) {
        self.site.tasks.spawn("stream", stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_others() {
        let table = [
            (Some(0), 0),
            (Some(100), 50),
            (Some(1024), 768),
            (Some(1 << 20), 1_048_320),
            (None, usize::MAX - 256),
        ];
        for (limit, expect) in table {
            assert_eq!(connections_max(limit), expect, "{limit:?}");
        }
    }
}
