//! `/help`: which endpoints there are, for people and, with `format=json`, for programs.

use std::fmt::Write;

use axum::body::Body;
use http::{HeaderValue, Response, header};
use serde::Serialize;

use super::{Query, answer};
use crate::http::routes;

#[derive(Serialize)]
struct HelpView<'a> {
    endpoints: Vec<EndpointView<'a>>,
}

#[derive(Serialize)]
struct EndpointView<'a> {
    path: &'a str,
    text: &'static str,
}

/// Those endpoints whose path begins with what follows `/help`.
pub(in crate::http) fn help(path: &str, query: &Query) -> Response<Body> {
    let asked = path.strip_prefix("/help").unwrap_or_default().trim_end_matches('/');
    let endpoints = routes::endpoints().filter(|(path, _)| path.starts_with(asked));
    if query.get("format") == Some("json") {
        let endpoints = endpoints.map(|(path, text)| EndpointView { path, text });
        return answer(&HelpView { endpoints: endpoints.collect() }, query);
    }
    let mut page = String::from("<!DOCTYPE html>\n<title>Help</title>\n<h1>Endpoints</h1>\n<dl>\n");
    for (path, text) in endpoints {
        // Both are constants of ours, without anything to escape. A String takes everything.
        let _ = writeln!(page, "<dt><code>{path}</code></dt><dd>{text}</dd>");
    }
    page.push_str("</dl>\n");
    let mut response = Response::new(Body::from(page));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
