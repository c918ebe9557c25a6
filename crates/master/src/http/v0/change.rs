//! Changes by the deprecated endpoints: forms and JSON in, the operator API's commands out.

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Response};
use mesarch_mesos_v1::ApiMessage;
use mesarch_proto::mesos::v1::{Resource, maintenance::Schedule, quota::QuotaRequest};
use mesarch_types::{Conversion, Resources};
use serde_json::value::RawValue;

use super::Query;
use crate::{
    app::App,
    http::{error, operator, routes::Change},
    leader::Session,
    operator::{ChangeError, Invalid, request::invalid},
};

/// Carries a change out. `path` is in its long form.
pub(in crate::http) async fn make(
    app: &App,
    session: &Session,
    change: Change,
    path: &str,
    method: &Method,
    body: &Bytes,
) -> Result<Response<Body>, ChangeError> {
    let allowed: &[&'static str] = match change {
        Change::Quota => &["GET", "POST", "DELETE"],
        Change::Weights => &["GET", "PUT"],
        Change::MaintenanceSchedule => &["GET", "POST"],
        _ => &["POST"],
    };
    if !allowed.contains(&method.as_str()) {
        return Ok(error::method_not_allowed(allowed));
    }
    match change {
        Change::Quota if method == Method::DELETE => {
            let role = path.strip_prefix("/master/quota").unwrap_or(path).trim_matches('/');
            operator::remove_quota(app, session, &mesarch_mesos_v1::query::percent_decoded(role)).await
        }
        Change::Quota => operator::set_quota(app, session, &message::<QuotaRequest>(body)?).await,
        Change::Weights => operator::set_weights(app, session, &messages(body, "weights")?).await,
        Change::MaintenanceSchedule => {
            operator::set_schedule(app, session, &message::<Schedule>(body)?).await
        }
        Change::MachineDown => operator::start_maintenance(app, session, &messages(body, "machines")?).await,
        Change::MachineUp => operator::stop_maintenance(app, session, &messages(body, "machines")?).await,
        Change::Teardown => {
            let form = Form::of(body)?;
            operator::teardown(app, session, form.present("frameworkId")?).await
        }
        Change::Reserve => convert(app, session, body, "resources", Conversion::Reserve).await,
        Change::Unreserve => convert(app, session, body, "resources", Conversion::Unreserve).await,
        Change::CreateVolumes => convert(app, session, body, "volumes", Conversion::Create).await,
        Change::DestroyVolumes => convert(app, session, body, "volumes", Conversion::Destroy).await,
    }
}

async fn convert(
    app: &App,
    session: &Session,
    body: &Bytes,
    field: &'static str,
    conversion: fn(Resources) -> Conversion,
) -> Result<Response<Body>, ChangeError> {
    let form = Form::of(body)?;
    let agent = form.present("slaveId")?;
    if form.0.get("source").is_some() {
        return Ok(error::not_implemented("/reserve with a source"));
    }
    let resources = messages::<Resource>(form.present(field)?.as_bytes(), field)?;
    operator::convert(app, session, agent, &resources, conversion).await
}

/// Fields of a form.
struct Form(Query);

impl Form {
    fn of(body: &[u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(body).map_err(|_| invalid("the body is not text"))?;
        Ok(Self(Query::parse(Some(text))))
    }

    fn present(&self, field: &str) -> Result<&str, Invalid> {
        self.0
            .get(field)
            .ok_or_else(|| invalid(format!("Missing '{field}' query parameter in the request body")))
    }
}

fn message<T: ApiMessage>(text: &[u8]) -> Result<T, Invalid> {
    mesarch_mesos_v1::json::decode(text).map_err(|error| invalid(format!("Failed to parse body: {error}")))
}

/// A JSON list of messages.
fn messages<T: ApiMessage>(text: &[u8], field: &str) -> Result<Vec<T>, Invalid> {
    let wrong = |error: serde_json::Error| invalid(format!("{field}: not a list in JSON: {error}"));
    let list: Vec<&RawValue> = serde_json::from_slice(text).map_err(wrong)?;
    list.into_iter().map(|one| message(one.get().as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::WeightInfo;

    use super::*;

    #[test]
    fn forms_name_what_is_missing() {
        let form = Form::of(b"slaveId=S1&resources=%5B%5D").expect("text");
        assert_eq!((form.present("slaveId"), form.present("resources")), (Ok("S1"), Ok("[]")));
        let missing = form.present("volumes").expect_err("missing");
        assert!(missing.to_string().contains("'volumes'"), "{missing}");
        assert!(Form::of(b"\xff").is_err());
    }

    #[test]
    fn lists_of_messages_are_read_one_by_one() {
        let weights = messages::<WeightInfo>(br#"[{"role":"a","weight":2},{"weight":1.5}]"#, "weights");
        let weights = weights.expect("good");
        assert_eq!((weights[0].role(), weights[1].weight), ("a", 1.5));
        for wrong in ["{", "{}", r#"[{"role":"a"}]"#, "[1]"] {
            assert!(messages::<WeightInfo>(wrong.as_bytes(), "weights").is_err(), "{wrong}");
        }
    }
}
