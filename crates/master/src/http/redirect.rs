//! Who answers: this master, another one, or nobody yet. Asked before anything else of a request is looked at.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::error;
use crate::{
    app::{App, Leadership},
    leader::Session,
};

/// The leader's session, or the answer that sends the client elsewhere. `path` is in its long form.
pub(super) async fn leader(
    app: &App,
    path: &str,
    query: Option<&str>,
) -> Result<Arc<Session>, Box<Response<Body>>> {
    match app.leadership().await {
        Leadership::Here(session) => Ok(session),
        Leadership::Elsewhere(leader) => {
            let query = query.map(|query| format!("?{query}")).unwrap_or_default();
            Err(Box::new(to(&format!("//{leader}{path}{query}"))))
        }
        Leadership::Nobody => Err(Box::new(nobody())),
    }
}

/// `/redirect`: the leader's address and nothing else; a leader names itself.
pub(super) async fn to_leader(app: &App) -> Response<Body> {
    match app.leadership().await {
        Leadership::Here(_) => to(&format!("//{}", app.facts.address())),
        Leadership::Elsewhere(leader) => to(&format!("//{leader}")),
        Leadership::Nobody => nobody(),
    }
}

fn nobody() -> Response<Body> {
    error::text(StatusCode::SERVICE_UNAVAILABLE, "No leader elected")
}

fn to(location: &str) -> Response<Body> {
    // The path and query came in a valid request line, and the address from a configuration that was checked.
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut response = super::empty(StatusCode::TEMPORARY_REDIRECT);
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => error::text(StatusCode::BAD_REQUEST, "the path cannot be redirected"),
    }
}
