//! Reads of the leader's state: rendered from a copy, on a thread of their own. A big answer takes its time, and nobody
//! waits for it but its reader.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Response, StatusCode};
use mesarch_state::State;

use super::error;
use crate::app::App;

/// How long a read waits for its turn.
const READ_WAIT: Duration = Duration::from_secs(10);

/// What `render` makes of the newest state, while this master holds its lease.
pub(super) async fn rendered(
    app: Arc<App>,
    render: impl FnOnce(&App, &State) -> Response<Body> + Send + 'static,
) -> Response<Body> {
    if let Err(error) = app.consensus.0.lease_read().await {
        tracing::debug!(%error, "a read was refused: the lease is not held");
        return error::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected");
    }
    let Ok(Ok(place)) = tokio::time::timeout(READ_WAIT, app.reads.clone().acquire_owned()).await else {
        return error::text(StatusCode::SERVICE_UNAVAILABLE, "too many reads at a time");
    };
    let published = app.newest();
    let shared = app.clone();
    // The place is held until the answer is there, even if nobody waits for it any more.
    let render = move || {
        let _place = place;
        render(&shared, &published.state)
    };
    tokio::task::spawn_blocking(render).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a read failed");
        error::text(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be written")
    })
}
