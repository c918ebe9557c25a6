//! Checks and health checks.

use mesarch_proto::mesos::v1::{self, check_info, health_check};

use super::Rule;

pub(super) fn validate_check(check: Option<&v1::CheckInfo>) -> Rule {
    use check_info::Type;
    let Some(check) = check else { return Ok(()) };
    let (kind, present) = match check.r#type.map(Type::try_from) {
        None => return Err("CheckInfo must specify 'type'".to_owned()),
        Some(Ok(Type::Command)) => ("COMMAND", check.command.is_some()),
        Some(Ok(Type::Http)) => ("HTTP", check.http.is_some()),
        Some(Ok(Type::Tcp)) => ("TCP", check.tcp.is_some()),
        Some(Ok(Type::Unknown) | Err(_)) => return Err("'UNKNOWN' is not a valid check type".to_owned()),
    };
    if !present {
        return Err(format!("Expecting the matching message to be set for {kind} check"));
    }
    if let Some(command) = &check.command {
        super::container::validate_command(Some(&command.command))?;
        if command.command.value.is_none() {
            return Err("Command check must contain 'command' value".to_owned());
        }
    }
    if let Some(path) = check.http.as_ref().and_then(|http| http.path.as_deref()) {
        starts_with_slash(path)?;
    }
    non_negative("delay_seconds", check.delay_seconds())?;
    non_negative("interval_seconds", check.interval_seconds())?;
    non_negative("timeout_seconds", check.timeout_seconds())
}

pub(super) fn validate_health_check(check: Option<&v1::HealthCheck>) -> Rule {
    use health_check::Type;
    let Some(check) = check else { return Ok(()) };
    let (kind, present) = match check.r#type.map(Type::try_from) {
        // Old clients leave the type to be seen from what is set.
        None if check.command.is_some() != check.http.is_some() => ("set", true),
        None => return Err("HealthCheck must specify 'type'".to_owned()),
        Some(Ok(Type::Command)) => ("COMMAND", check.command.is_some()),
        Some(Ok(Type::Http)) => ("HTTP", check.http.is_some()),
        Some(Ok(Type::Tcp)) => ("TCP", check.tcp.is_some()),
        Some(Ok(Type::Unknown) | Err(_)) => {
            return Err("'UNKNOWN' is not a valid health check type".to_owned());
        }
    };
    if !present {
        return Err(format!("Expecting the matching message to be set for {kind} health check"));
    }
    if let Some(command) = &check.command {
        super::container::validate_command(Some(command))?;
        if command.value.is_none() {
            return Err("Command health check must contain 'command' value".to_owned());
        }
    }
    if let Some(http) = &check.http {
        validate_http(http)?;
    }
    non_negative("delay_seconds", check.delay_seconds())?;
    non_negative("interval_seconds", check.interval_seconds())?;
    non_negative("timeout_seconds", check.timeout_seconds())?;
    non_negative("grace_period_seconds", check.grace_period_seconds())
}

fn validate_http(http: &health_check::HttpCheckInfo) -> Rule {
    match http.scheme.as_deref() {
        None | Some("http" | "https") => {}
        Some(other) => {
            return Err(format!("Unsupported HTTP health check scheme: '{}'", other.escape_default()));
        }
    }
    http.path.as_deref().map_or(Ok(()), starts_with_slash)
}

fn starts_with_slash(path: &str) -> Rule {
    match path.starts_with('/') {
        true => Ok(()),
        false => Err(format!("The path '{}' of HTTP check must start with '/'", path.escape_default())),
    }
}

fn non_negative(field: &str, value: f64) -> Rule {
    // Written so that NaN is refused.
    if value >= 0.0 { Ok(()) } else { Err(format!("Expecting '{field}' to be non-negative")) }
}
