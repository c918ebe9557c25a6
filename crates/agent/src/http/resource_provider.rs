//! `/api/v1/resource_provider`: the gates in Mesos' order, then the runner.

use axum::{
    body::Body,
    extract::Request as HttpRequest,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use mesarch_mesos_v1::resource_provider::validate;
use mesarch_proto::mesos::v1::resource_provider::{Call, call::Type};
use tokio::sync::oneshot;

use super::{Site, ending, executor::Events, gates};
use crate::{providers::ProviderRefusal, requests::Request};

/// Names a subscription in all calls but the first.
const STREAM_ID: &str = "Mesos-Stream-Id";

pub(super) async fn handle(site: &Site, request: HttpRequest) -> Response {
    let (headers, call) = match gates::call::<Call>(site, request).await {
        Ok(admitted) => admitted,
        Err(refused) => return *refused,
    };
    let kind = match validate(&call) {
        Ok(kind) => kind,
        Err(error) => {
            let reason = format!("Failed to validate resource_provider::Call: {error}");
            return *gates::refuse(StatusCode::BAD_REQUEST, &reason);
        }
    };
    let stream = headers.get(STREAM_ID).map(|id| id.to_str().unwrap_or_default().to_owned());
    match (kind, stream) {
        (Type::Unknown, _) => super::not_implemented("a call of type UNKNOWN"),
        (Type::Subscribe, None) => subscribe(site, call, &headers).await,
        (Type::Subscribe, Some(_)) => {
            let reason = "Subscribe calls should not include the 'Mesos-Stream-Id' header";
            *gates::refuse(StatusCode::BAD_REQUEST, reason)
        }
        (_, Some(stream)) => forward(site, call, stream).await,
        (_, None) => {
            let reason = "All non-subscribe calls should include the 'Mesos-Stream-Id' header";
            *gates::refuse(StatusCode::BAD_REQUEST, reason)
        }
    }
}

async fn subscribe(site: &Site, call: Box<Call>, headers: &HeaderMap) -> Response {
    let content_type = match gates::negotiate(headers) {
        Ok(content_type) => content_type,
        Err(refused) => return *refused,
    };
    let (reply, answer) = oneshot::channel();
    let request = Request::ProviderSubscribe { call, content_type, reply };
    if site.requests.send(request).await.is_err() {
        return ending();
    }
    match answer.await {
        Ok(Ok((id, stream))) => {
            let headers = [(header::CONTENT_TYPE.as_str(), content_type.as_str()), (STREAM_ID, id.as_str())];
            (headers, Body::new(Events(stream))).into_response()
        }
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => ending(),
    }
}

async fn forward(site: &Site, call: Box<Call>, stream: String) -> Response {
    let (reply, answer) = oneshot::channel();
    if site.requests.send(Request::ProviderCall { call, stream, reply }).await.is_err() {
        return ending();
    }
    match answer.await {
        Ok(Ok(())) => StatusCode::ACCEPTED.into_response(),
        Ok(Err(refusal)) => refused(&refusal),
        Err(_) => ending(),
    }
}

fn refused(refusal: &ProviderRefusal) -> Response {
    let status = match refusal {
        ProviderRefusal::TooMany | ProviderRefusal::NameTaken(_) => StatusCode::CONFLICT,
        ProviderRefusal::Unknown(_) | ProviderRefusal::OtherName(_) | ProviderRefusal::OtherStream { .. } => {
            StatusCode::BAD_REQUEST
        }
        ProviderRefusal::NotSubscribed => StatusCode::FORBIDDEN,
        ProviderRefusal::TooManyOperations | ProviderRefusal::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    };
    *gates::refuse(status, &refusal.to_string())
}
