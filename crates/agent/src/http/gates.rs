//! What every call of a v1 API passes before anybody looks at its meaning, in Mesos' order: method, type, body.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use mesarch_edge::Bodies;
use mesarch_mesos_v1::{ApiMessage, ContentType, decode};

use super::Site;

/// A refusal; boxed because answers are large and most calls have none.
pub(super) type Refused = Box<Response>;

/// The call in a POST, and the headers of the request.
pub(super) async fn call<M: ApiMessage>(
    site: &Site,
    request: Request,
) -> Result<(HeaderMap, Box<M>), Refused> {
    if request.method() != Method::POST {
        let allow = [(header::ALLOW, "POST")];
        return Err(Box::new((StatusCode::METHOD_NOT_ALLOWED, allow, "Expecting 'POST'\n").into_response()));
    }
    let (parts, body) = request.into_parts();
    let call = read(&site.bodies, &parts.headers, body).await?;
    Ok((parts.headers, Box::new(call)))
}

async fn read<M: ApiMessage>(bodies: &Bodies, headers: &HeaderMap, body: Body) -> Result<M, Refused> {
    let Some(name) = headers.get(header::CONTENT_TYPE) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "Expecting 'Content-Type' to be present"));
    };
    let unsupported = "Expecting 'Content-Type' of application/json or application/x-protobuf";
    let content_type = name.to_str().ok().and_then(ContentType::parse);
    let content_type = content_type.ok_or_else(|| refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, unsupported))?;
    let whole = bodies.read(headers, body).await;
    let whole = whole.map_err(|error| refuse(error.status(), &error.to_string()))?;
    let failed = |error| refuse(StatusCode::BAD_REQUEST, &format!("Failed to parse the body: {error}"));
    decode(content_type, &whole.bytes).map_err(failed)
}

/// The encoding that the client wants its answer in.
pub(super) fn negotiate(headers: &HeaderMap) -> Result<ContentType, Refused> {
    let accept: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok()).collect();
    let reason = "Expecting 'Accept' to allow application/json or application/x-protobuf";
    let chosen = ContentType::negotiate(Some(&accept.join(",")));
    chosen.ok_or_else(|| refuse(StatusCode::NOT_ACCEPTABLE, reason))
}

/// A refusal with its reason as plain text.
pub(super) fn refuse(status: StatusCode, reason: &str) -> Refused {
    Box::new(mesarch_edge::refusal(status, reason))
}
