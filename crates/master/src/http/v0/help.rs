//! `/help`: which endpoints there are, for people and, with `format=json`, for programs.

use axum::body::Body;
use http::{HeaderValue, Response, header};
use mesarch_mesos_v1::v0::HelpView;

use super::{Query, answer};
use crate::http::routes;

/// Those endpoints whose path begins with what follows `/help`.
pub(in crate::http) fn help(path: &str, query: &Query) -> Response<Body> {
    let asked = path.strip_prefix("/help").unwrap_or_default().trim_end_matches('/');
    let view = HelpView::of(routes::endpoints().filter(|(path, _)| path.starts_with(asked)));
    if query.get("format") == Some("json") {
        return answer(&view, query);
    }
    let mut response = Response::new(Body::from(view.page()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
