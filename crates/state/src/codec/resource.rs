//! Resources and attributes.

use std::sync::Arc;

use mesarch_proto::log;
use mesarch_types::{
    Role,
    attribute::{Attribute, AttributeValue},
    resource::{
        Disk, DiskSource, Ranges, Reservation, ReservationKind, Resource, Resources, Scalar, Set, Value,
    },
};

use super::{DecodeError, Logged, from_logs, optional, texts, to_logs};

pub(super) fn to_resources(resources: &Resources) -> Vec<log::Resource> {
    resources.iter().map(Resource::to_log).collect()
}

pub(super) fn from_resources(list: Vec<log::Resource>) -> Result<Resources, DecodeError> {
    let list: Vec<Resource> = from_logs(list)?;
    Resources::new(list).map_err(|_| DecodeError::Field("resources"))
}

impl Logged for Resource {
    type Message = log::Resource;

    fn to_log(&self) -> log::Resource {
        use log::resource;
        log::Resource {
            name: self.name.to_string(),
            value: Some(match &self.value {
                Value::Scalar(scalar) => resource::Value::Scalar(scalar.0),
                Value::Ranges(ranges) => resource::Value::Ranges(ranges.to_log()),
                Value::Set(set) => resource::Value::Set(log::Names { names: texts(set.iter()) }),
            }),
            reservations: to_logs(&self.reservations),
            disk: self.disk.as_deref().map(Logged::to_log),
            revocable: self.revocable,
            shared: self.shared,
            provider: self.provider.as_deref().map(str::to_owned),
            allocated_to: self.allocated_to.as_ref().map(Role::to_string),
        }
    }

    fn from_log(message: log::Resource) -> Result<Self, DecodeError> {
        use log::resource;
        Ok(Self {
            name: message.name.into(),
            value: match message.value.ok_or(DecodeError::Field("value"))? {
                resource::Value::Scalar(thousandths) => Value::Scalar(Scalar(thousandths)),
                resource::Value::Ranges(ranges) => Value::Ranges(Ranges::from_log(ranges)?),
                resource::Value::Set(set) => {
                    Value::Set(set.names.into_iter().map(Arc::<str>::from).collect::<Set>())
                }
            },
            reservations: from_logs::<_, Vec<_>>(message.reservations)?.into(),
            disk: optional(message.disk)?.map(Arc::new),
            revocable: message.revocable,
            shared: message.shared,
            provider: message.provider.map(Arc::from),
            allocated_to: message.allocated_to.map(Role::from),
        })
    }
}

impl Logged for Ranges {
    type Message = log::Ranges;

    fn to_log(&self) -> log::Ranges {
        log::Ranges { bounds: self.iter().flat_map(|range| [range.begin, range.end]).collect() }
    }

    fn from_log(message: log::Ranges) -> Result<Self, DecodeError> {
        let pairs = message.bounds.chunks(2);
        let pairs: Option<Vec<(u64, u64)>> = pairs.map(|pair| Some((pair[0], *pair.get(1)?))).collect();
        pairs.and_then(Self::new).ok_or(DecodeError::Field("ranges"))
    }
}

impl Logged for Reservation {
    type Message = log::Reservation;

    fn to_log(&self) -> log::Reservation {
        log::Reservation {
            dynamic: self.kind == ReservationKind::Dynamic,
            role: self.role.to_string(),
            principal: self.principal.as_deref().map(str::to_owned),
            labels: self.labels.clone(),
        }
    }

    fn from_log(message: log::Reservation) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: if message.dynamic { ReservationKind::Dynamic } else { ReservationKind::Static },
            role: Role::from(message.role),
            principal: message.principal.map(Arc::from),
            labels: message.labels,
        })
    }
}

impl Logged for Disk {
    type Message = log::Disk;

    fn to_log(&self) -> log::Disk {
        use log::disk::Source;
        let source = match self.source {
            DiskSource::Root => Source::Root,
            DiskSource::Path => Source::Path,
            DiskSource::Mount => Source::Mount,
            DiskSource::Block => Source::Block,
            DiskSource::Raw => Source::Raw,
        };
        log::Disk {
            info: self.info.clone(),
            persistence_id: self.persistence_id.as_deref().map(str::to_owned),
            source: source.into(),
            source_id: self.source_id.as_deref().map(str::to_owned),
        }
    }

    fn from_log(message: log::Disk) -> Result<Self, DecodeError> {
        use log::disk::Source;
        let source = Source::try_from(message.source).map_err(|_| DecodeError::Field("source"))?;
        Ok(Self {
            info: message.info,
            persistence_id: message.persistence_id.map(Arc::from),
            source: match source {
                Source::Root => DiskSource::Root,
                Source::Path => DiskSource::Path,
                Source::Mount => DiskSource::Mount,
                Source::Block => DiskSource::Block,
                Source::Raw => DiskSource::Raw,
            },
            source_id: message.source_id.map(Arc::from),
        })
    }
}

impl Logged for Attribute {
    type Message = log::Attribute;

    fn to_log(&self) -> log::Attribute {
        use log::attribute;
        let value = match &self.value {
            AttributeValue::Scalar(scalar) => attribute::Value::Scalar(scalar.0),
            AttributeValue::Ranges(ranges) => attribute::Value::Ranges(ranges.to_log()),
            AttributeValue::Text(text) => attribute::Value::Text(text.to_string()),
        };
        log::Attribute { name: self.name.to_string(), value: Some(value) }
    }

    fn from_log(message: log::Attribute) -> Result<Self, DecodeError> {
        use log::attribute;
        let value = match message.value.ok_or(DecodeError::Field("value"))? {
            attribute::Value::Scalar(thousandths) => AttributeValue::Scalar(Scalar(thousandths)),
            attribute::Value::Ranges(ranges) => AttributeValue::Ranges(Ranges::from_log(ranges)?),
            attribute::Value::Text(text) => AttributeValue::Text(text.into()),
        };
        Ok(Self { name: message.name.into(), value })
    }
}
