//! Commands, environments, secrets, containers and volumes.

use mesarch_proto::mesos::v1::{self, environment::variable, secret, volume};

use super::Rule;

pub(super) fn validate_command(command: Option<&v1::CommandInfo>) -> Rule {
    let variables = command.and_then(|command| command.environment.as_ref());
    variables.into_iter().flat_map(|environment| &environment.variables).try_for_each(validate_variable)
}

fn validate_variable(one: &v1::environment::Variable) -> Rule {
    let fail = |reason: &str| Err(format!("Environment variable '{}' {reason}", one.name.escape_default()));
    match one.r#type() {
        variable::Type::Value if one.secret.is_some() => fail("of type 'VALUE' must not have a secret set"),
        variable::Type::Value if one.value.is_none() => fail("of type 'VALUE' must have a value set"),
        variable::Type::Value => Ok(()),
        variable::Type::Secret if one.value.is_some() => fail("of type 'SECRET' must not have a value set"),
        variable::Type::Secret => match &one.secret {
            None => fail("of type 'SECRET' must have a secret set"),
            Some(secret) => validate_secret(secret).and_then(|()| match &secret.value {
                Some(value) if value.data.contains(&0) => fail("has a secret with a NUL byte"),
                Some(_) | None => Ok(()),
            }),
        },
        variable::Type::Unknown => fail("must have a known type"),
    }
}

fn validate_secret(secret: &v1::Secret) -> Rule {
    let fields = (secret.reference.is_some(), secret.value.is_some());
    match secret.r#type.map(secret::Type::try_from) {
        Some(Ok(secret::Type::Reference)) if fields == (true, false) => Ok(()),
        Some(Ok(secret::Type::Value)) if fields == (false, true) => Ok(()),
        Some(Ok(secret::Type::Reference)) => {
            Err("Secret of type REFERENCE must have 'reference' only".to_owned())
        }
        Some(Ok(secret::Type::Value)) => Err("Secret of type VALUE must have 'value' only".to_owned()),
        None | Some(Ok(secret::Type::Unknown) | Err(_)) => Err("Secret must have a known type".to_owned()),
    }
}

pub(super) fn validate_container(container: Option<&v1::ContainerInfo>) -> Rule {
    let Some(container) = container else { return Ok(()) };
    container.volumes.iter().try_for_each(validate_volume)?;
    if container.r#type != v1::container_info::Type::Docker as i32 {
        return Ok(());
    }
    let Some(docker) = &container.docker else {
        return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".to_owned());
    };
    match docker.parameters.iter().any(|parameter| parameter.key == "name") {
        true => Err("Parameter in DockerInfo must not be 'name'".to_owned()),
        false => Ok(()),
    }
}

fn validate_volume(volume: &v1::Volume) -> Rule {
    let origins = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
    if origins.into_iter().filter(|set| *set).count() != 1 {
        return Err("Exactly one of 'host_path', 'image' and 'source' must be set for a volume".to_owned());
    }
    volume.source.as_ref().map_or(Ok(()), validate_source)
}

fn validate_source(source: &v1::volume::Source) -> Rule {
    use volume::source::Type;
    let (field, present) = match source.r#type.map(Type::try_from) {
        Some(Ok(Type::DockerVolume)) => ("docker_volume", source.docker_volume.is_some()),
        Some(Ok(Type::HostPath)) => ("host_path", source.host_path.is_some()),
        Some(Ok(Type::SandboxPath)) => ("sandbox_path", source.sandbox_path.is_some()),
        Some(Ok(Type::Secret)) => ("secret", source.secret.is_some()),
        Some(Ok(Type::CsiVolume)) => (
            "csi_volume.static_provisioning",
            source.csi_volume.as_ref().is_some_and(|csi| csi.static_provisioning.is_some()),
        ),
        None | Some(Ok(Type::Unknown) | Err(_)) => {
            return Err("'source.type' of a volume is unknown".to_owned());
        }
    };
    if !present {
        return Err(format!("'source.{field}' of a volume is not set"));
    }
    source.secret.as_ref().map_or(Ok(()), validate_secret)
}
