//! The client port: what `mesarch_edge` lets in is answered here.

use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use mesarch_edge::{Audience, Bodies, Patience, Port, connection_places, grpc::Services};
use mesarch_proto::api::scheduler_server;
use tokio::net::TcpListener;

use super::routes::{self, Endpoint};
use crate::{
    app::App,
    stop::{Stop, stopped},
};

/// Files kept from clients' connections: what the log refuses proposals below (64), and as many again for the log itself,
/// the connections of masters with each other, the listeners and whoever looks after the machine.
const FILES_RESERVE: u64 = 128;

/// Serves until `stop` is set; then streams end, and connections finish what they are at, for a moment.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, services: Services, stop: Stop) {
    let limits = app.options.port.limits(connection_places(FILES_RESERVE));
    let mut stopping = stop.clone();
    let ending = async {
        stopped(&mut stopping).await;
        app.subscribers.close_all();
    };
    let port = ClientPort { app: app.clone(), services };
    tokio::join!(mesarch_edge::serve(listener, port, limits, stop), ending);
}

/// A master's client port.
#[derive(Clone)]
struct ClientPort {
    app: Arc<App>,
    services: Services,
}

impl Port for ClientPort {
    fn audience(&self, path: &str) -> Audience {
        let grpc = path.strip_prefix('/').and_then(|path| path.strip_prefix(scheduler_server::SERVICE_NAME));
        let http = || routes::resolve(path).is_some_and(|route| route.endpoint == Endpoint::Scheduler);
        if grpc.is_some() || http() { Audience::Frameworks } else { Audience::Others }
    }

    fn bodies(&self) -> &Bodies {
        &self.app.bodies
    }

    fn services(&self) -> &Services {
        &self.services
    }

    async fn answer(&self, request: Request<Incoming>, connection: Arc<Patience>) -> Response<Body> {
        super::handle(self.app.clone(), request, connection).await
    }

    fn spawn(&self, stream: BoxFuture<'static, ()>) {
        tokio::spawn(stream);
    }
}
