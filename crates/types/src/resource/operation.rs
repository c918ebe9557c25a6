//! Reservations and volumes: operations that turn resources into others.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Disk, Quantities, Reservation, ReservationKind, Reservations, Resource, Resources, Scalar, Value,
};
use crate::ProviderId;

/// What an operation asks for. The same value drives the masters' state, the allocator's books and what-if players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversion {
    /// Reserve: the innermost reservation of each resource is new and dynamic.
    Reserve(Resources),
    /// Take the innermost reservation, which is dynamic, off each resource.
    Unreserve(Resources),
    /// Make these persistent volumes out of reserved disk.
    Create(Resources),
    /// Make reserved disk out of these persistent volumes again.
    Destroy(Resources),
    /// Make a persistent volume larger by disk of the same kind.
    Grow {
        /// As it is.
        volume: Resource,
        /// What becomes part of it.
        addition: Resource,
    },
    /// Make disk of the same kind out of a part of a persistent volume.
    Shrink {
        /// As it is.
        volume: Resource,
        /// How much of it; something remains.
        subtract: Scalar,
    },
    /// Have a resource provider make another disk of one that it brought (CREATE_DISK, DESTROY_DISK). It is taken, and what
    /// comes in its place only the provider can say.
    ChangeDisk(Resource),
    /// Put other dynamic reservations in the place of those that there are, if any, down to what both have in common.
    Rereserve {
        /// As it is, all of it reserved in one way.
        source: Resources,
        /// As it is then, all of it reserved in one way.
        target: Resources,
    },
}

/// Why an operation is not possible.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the resources that the text names")]
pub enum ConversionError {
    /// An operation on nothing.
    #[error("the operation names no resources")]
    Nothing,
    /// Not a dynamic reservation.
    #[error("{resource} is not dynamically reserved")]
    NotDynamic { resource: String },
    /// Revocable resources can be gone at any time.
    #[error("{resource} is revocable")]
    Revocable { resource: String },
    /// A volume stands in the way of its reservation.
    #[error("{resource} is a persistent volume")]
    IsVolume { resource: String },
    /// Not a persistent volume.
    #[error("{resource} is not a persistent volume on reserved disk")]
    NotVolume { resource: String },
    /// Volumes that are whole disks, or used by several at once, have the size that they have.
    #[error("{resource} cannot be resized")]
    FixedSize { resource: String },
    /// A volume grows by what it is made of.
    #[error("{addition} is not disk of the kind of {volume}")]
    OtherKind { addition: String, volume: String },
    /// Nothing, or all of the volume and more.
    #[error("{volume} cannot shrink by {subtract}: something must be taken, and something must remain")]
    BadShrink { volume: String, subtract: Scalar },
    /// What is reserved otherwise is the same but for its reservations.
    #[error("{target} is not {found} under other reservations")]
    OtherResources { target: Resources, found: Resources },
    /// What is reserved otherwise was, and will be, reserved in one way.
    #[error("{resources} are not all reserved in the same way")]
    MixedReservations { resources: Resources },
    /// Only a provider can make another disk of one.
    #[error("{resource} is no disk of a resource provider")]
    NoProvider { resource: String },
    /// An operation goes to the agent, or to one provider.
    #[error("the operation names resources of several resource providers, or of one and of the agent")]
    SeveralProviders,
    /// Operators change what agents bring, frameworks also what resource providers do.
    #[error("not implemented: operators' changes of what a resource provider brings")]
    OfProvider,
    /// What would be converted is not there.
    #[error("{missing} is not among {available}")]
    NotThere { missing: Resources, available: Resources },
    /// A volume of this id is there already.
    #[error("a persistent volume {id} exists for the role")]
    VolumeExists { id: Arc<str> },
    /// The sum is out of range.
    #[error("the result is out of range")]
    Overflow,
}

impl Conversion {
    /// What it takes away and what it puts there; neither is stamped with an allocation unless the operation is.
    pub fn sides(&self) -> Result<(Resources, Resources), ConversionError> {
        Ok(match self {
            Self::Reserve(named) => (map(named, without_reservation)?, named.clone()),
            Self::Unreserve(named) => (named.clone(), map(named, without_reservation)?),
            Self::Create(named) => (map(named, without_volume)?, named.clone()),
            Self::Destroy(named) => (named.clone(), map(named, without_volume)?),
            Self::Grow { volume, addition } => grow(volume, addition)?,
            Self::Shrink { volume, subtract } => shrink(volume, *subtract)?,
            Self::ChangeDisk(disk) => (changeable(disk)?, Resources::default()),
            Self::Rereserve { source, target } => rereserve(source, target)?,
        })
    }

    /// The one resource provider that it is for; none: the agent itself.
    pub fn provider(&self) -> Result<Option<ProviderId>, ConversionError> {
        let (consumed, _) = self.sides()?;
        let mut providers = consumed.iter().map(|resource| resource.provider.as_deref());
        let first = providers.next().flatten();
        match providers.all(|other| other == first) {
            true => Ok(first.map(ProviderId::from)),
            false => Err(ConversionError::SeveralProviders),
        }
    }

    /// The same, of resources that are stamped as allocated to nobody.
    pub fn without_allocation(&self) -> Self {
        let plain = |one: &Resource| Resource { allocated_to: None, ..one.clone() };
        match self {
            Self::Reserve(named) => Self::Reserve(named.without_allocation()),
            Self::Unreserve(named) => Self::Unreserve(named.without_allocation()),
            Self::Create(named) => Self::Create(named.without_allocation()),
            Self::Destroy(named) => Self::Destroy(named.without_allocation()),
            Self::Grow { volume, addition } => {
                Self::Grow { volume: plain(volume), addition: plain(addition) }
            }
            Self::Shrink { volume, subtract } => Self::Shrink { volume: plain(volume), subtract: *subtract },
            Self::ChangeDisk(disk) => Self::ChangeDisk(plain(disk)),
            Self::Rereserve { source, target } => {
                Self::Rereserve { source: source.without_allocation(), target: target.without_allocation() }
            }
        }
    }
}

impl Resources {
    /// These resources after an operation on some of them. Amounts by kind stay the same, and so does whatever the
    /// operation does not name; but a disk that is changed is not there until its provider says what it has become.
    pub fn apply(&self, operation: &Conversion) -> Result<Self, ConversionError> {
        let (consumed, made) = operation.sides()?;
        if let Conversion::Create(volumes) = operation {
            self.check_new(volumes)?;
        }
        let rest = self.checked_sub(&consumed).ok_or_else(|| ConversionError::NotThere {
            missing: consumed.clone(),
            available: self.clone(),
        })?;
        let result = rest.checked_add(&made).ok_or(ConversionError::Overflow)?;
        debug_assert!(
            matches!(operation, Conversion::ChangeDisk(_)) || amounts(&result) == amounts(self),
            "{result} is not as much as {self}"
        );
        Ok(result)
    }

    /// Ids of volumes are unique for each role on an agent.
    fn check_new(&self, volumes: &Self) -> Result<(), ConversionError> {
        let name = |volume: &Resource| {
            let id = volume.disk.as_ref().and_then(|disk| disk.persistence_id.clone())?;
            Some((volume.reserved_role().cloned(), id))
        };
        let mut names: Vec<_> = self.iter().filter_map(name).collect();
        for new in volumes.iter().filter_map(name) {
            if names.contains(&new) {
                return Err(ConversionError::VolumeExists { id: new.1 });
            }
            names.push(new);
        }
        Ok(())
    }
}

/// Totals in which the form of a disk does not count.
fn amounts(resources: &Resources) -> Quantities {
    resources.quantities()
}

fn map(
    resources: &Resources,
    change: impl Fn(&Resource) -> Result<Resource, ConversionError>,
) -> Result<Resources, ConversionError> {
    if resources.is_empty() {
        return Err(ConversionError::Nothing);
    }
    let changed: Result<Vec<Resource>, ConversionError> = resources.iter().map(change).collect();
    Resources::new(changed?).map_err(|_| ConversionError::Overflow)
}

fn without_reservation(resource: &Resource) -> Result<Resource, ConversionError> {
    let named = || resource.to_string();
    if resource.revocable {
        return Err(ConversionError::Revocable { resource: named() });
    }
    if resource.is_persistent() {
        return Err(ConversionError::IsVolume { resource: named() });
    }
    match resource.reservations.split_innermost() {
        Some((outer, innermost)) if innermost.kind == ReservationKind::Dynamic => {
            Ok(Resource { reservations: outer, ..resource.clone() })
        }
        _ => Err(ConversionError::NotDynamic { resource: named() }),
    }
}

/// Reservations that both have from the outermost on stay; the others must be such as can be made and undone.
fn rereserve(source: &Resources, target: &Resources) -> Result<(Resources, Resources), ConversionError> {
    let bare = |one: &Resource| match (one.revocable, one.is_persistent()) {
        (true, _) => Err(ConversionError::Revocable { resource: one.to_string() }),
        (_, true) => Err(ConversionError::IsVolume { resource: one.to_string() }),
        _ => Ok(Resource { reservations: Reservations::default(), ..one.clone() }),
    };
    if map(source, bare)? != map(target, bare)? {
        return Err(ConversionError::OtherResources { target: target.clone(), found: source.clone() });
    }
    let (from, to) = (uniform(source)?, uniform(target)?);
    let common = from.iter().zip(to.iter()).take_while(|(one, other)| one == other).count();
    let made = |list: &[Reservation]| list.iter().all(|one| one.kind == ReservationKind::Dynamic);
    let is_dynamic = to.last().is_some_and(|innermost| innermost.kind == ReservationKind::Dynamic);
    for (resources, good) in [(source, made(&from[common..])), (target, made(&to[common..]) && is_dynamic)] {
        if !good {
            return Err(ConversionError::NotDynamic { resource: resources.to_string() });
        }
    }
    Ok((source.clone(), target.clone()))
}

/// The reservations of all of them.
fn uniform(resources: &Resources) -> Result<Reservations, ConversionError> {
    let mut all = resources.iter().map(|one| &one.reservations);
    let first = all.next().ok_or(ConversionError::Nothing)?;
    match all.all(|other| other == first) {
        true => Ok(first.clone()),
        false => Err(ConversionError::MixedReservations { resources: resources.clone() }),
    }
}

fn without_volume(volume: &Resource) -> Result<Resource, ConversionError> {
    let reserved = !volume.reservations.is_empty() && !volume.revocable;
    match &volume.disk {
        Some(disk) if disk.persistence_id.is_some() && reserved => {
            Ok(Resource { disk: disk.without_volume().map(Arc::new), shared: false, ..volume.clone() })
        }
        _ => Err(ConversionError::NotVolume { resource: volume.to_string() }),
    }
}

/// What a growing volume takes, and what it is then.
fn grow(volume: &Resource, addition: &Resource) -> Result<(Resources, Resources), ConversionError> {
    let below = resizable(volume)?;
    let (size, more) = (amount(volume), amount(addition));
    if (Resource { value: Value::Scalar(more), ..below }) != *addition || more <= Scalar::ZERO {
        return Err(ConversionError::OtherKind {
            addition: addition.to_string(),
            volume: volume.to_string(),
        });
    }
    let sum = size.checked_add(more).ok_or(ConversionError::Overflow)?;
    let grown = Resource { value: Value::Scalar(sum), ..volume.clone() };
    Ok((some([volume.clone(), addition.clone()])?, some([grown])?))
}

/// What a shrinking volume takes (itself), and what becomes of it.
fn shrink(volume: &Resource, subtract: Scalar) -> Result<(Resources, Resources), ConversionError> {
    let below = resizable(volume)?;
    let rest = Scalar(amount(volume).0.saturating_sub(subtract.0));
    if subtract <= Scalar::ZERO || rest <= Scalar::ZERO {
        return Err(ConversionError::BadShrink { volume: volume.to_string(), subtract });
    }
    let shrunk = Resource { value: Value::Scalar(rest), ..volume.clone() };
    let freed = Resource { value: Value::Scalar(subtract), ..below };
    Ok((some([volume.clone()])?, some([shrunk, freed])?))
}

/// The disk below a volume that may have another size.
fn resizable(volume: &Resource) -> Result<Resource, ConversionError> {
    let below = without_volume(volume)?;
    let whole = below.is_indivisible() || volume.shared || below.value.as_scalar().is_none();
    match whole || below.provider.is_some() {
        true => Err(ConversionError::FixedSize { resource: volume.to_string() }),
        false => Ok(below),
    }
}

/// What a provider is to make another disk of.
fn changeable(disk: &Resource) -> Result<Resources, ConversionError> {
    if disk.is_persistent() {
        return Err(ConversionError::IsVolume { resource: disk.to_string() });
    }
    match disk.provider.is_some() && disk.disk.is_some() {
        true => some([disk.clone()]),
        false => Err(ConversionError::NoProvider { resource: disk.to_string() }),
    }
}

fn amount(resource: &Resource) -> Scalar {
    resource.value.as_scalar().unwrap_or(Scalar::ZERO)
}

fn some<const N: usize>(list: [Resource; N]) -> Result<Resources, ConversionError> {
    Resources::new(list).map_err(|_| ConversionError::Overflow)
}

/// Field number of `DiskInfo.source`; persistence and volume are 1 and 2.
const SOURCE_FIELD: u64 = 3;

impl Disk {
    /// The disk below a persistent volume; none if that is just an amount of the agent's own disk.
    pub fn without_volume(&self) -> Option<Self> {
        let info = keep_field(&self.info, SOURCE_FIELD);
        let disk = Self { info, persistence_id: None, ..self.clone() };
        (disk != Self::default()).then_some(disk)
    }
}

/// Of a message's canonical bytes those of one length-delimited field; nothing if they are not canonical.
fn keep_field(message: &Bytes, wanted: u64) -> Bytes {
    let mut rest = &message[..];
    let mut kept = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        let field = varint(&mut rest).zip(varint(&mut rest));
        let Some((key, length)) = field.filter(|(key, _)| key & 7 == 2) else {
            return Bytes::new();
        };
        let Some((_, after)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length))
        else {
            return Bytes::new();
        };
        rest = after;
        if key >> 3 == wanted {
            kept.extend_from_slice(&start[..start.len() - rest.len()]);
        }
    }
    kept.into()
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Role, Scalar, resource::DiskSource, resource::parse_resources};

    fn r(text: &str) -> Resources {
        parse_resources(text, &Role::any()).expect("well-formed")
    }

    fn volume(id: &str, megabytes: i64) -> Resources {
        let reserved = r(&format!("disk(eng,ops):{megabytes}"));
        let disk = Disk {
            info: b"\x0a\x04\x0a\x02v1".as_slice().into(),
            persistence_id: Some(id.into()),
            ..Disk::default()
        };
        let resource = reserved.iter().next().expect("one").clone();
        Resources::new([Resource { disk: Some(Arc::new(disk)), ..resource }]).expect("good")
    }

    #[test]
    fn reservations_come_and_go_by_one_level() {
        let table = [
            ("cpus:4;mem:8", "cpus(eng,ops):1", "cpus:3;mem:8;cpus(eng,ops):1"),
            ("cpus(eng,ops):2", "cpus(eng,ops)(eng/web,ops):2", "cpus(eng,ops)(eng/web,ops):2"),
            ("cpus(eng):2", "cpus(eng)(eng/web,):1", "cpus(eng):1;cpus(eng)(eng/web,):1"),
            ("ports:[1-9]", "ports(eng,):[2-3]", "ports:[1-1, 4-9];ports(eng,):[2-3]"),
        ];
        for (before, reserved, after) in table {
            let (before, reserved, after) = (r(before), r(reserved), r(after));
            assert_eq!(before.apply(&Conversion::Reserve(reserved.clone())), Ok(after.clone()));
            assert_eq!(after.apply(&Conversion::Unreserve(reserved)), Ok(before));
        }
    }

    #[test]
    fn volumes_are_made_of_reserved_disk_and_give_it_back() {
        let before = r("disk(eng,ops):100;cpus:1");
        let created = before.apply(&Conversion::Create(volume("v1", 30))).expect("possible");
        assert_eq!(created.to_string(), "cpus:1;disk(eng,ops):70;disk(eng,ops)[v1]:30");
        assert_eq!(created.apply(&Conversion::Destroy(volume("v1", 30))), Ok(before));
        let again = created.apply(&Conversion::Create(volume("v1", 10)));
        assert_eq!(again, Err(ConversionError::VolumeExists { id: "v1".into() }));
    }

    #[test]
    fn a_providers_disk_is_taken_until_the_provider_says_what_it_became() {
        let raw = Disk { source: DiskSource::Raw, source_id: Some("d1".into()), ..Disk::default() };
        let plain = one(&r("disk:100"));
        let disk = Resource { disk: Some(Arc::new(raw)), provider: Some("p1".into()), ..plain.clone() };
        let before = Resources::new([disk.clone(), one(&r("cpus:1"))]).expect("good");
        let change = Conversion::ChangeDisk(disk.clone());
        assert_eq!(before.apply(&change), Ok(r("cpus:1")));
        assert_eq!(change.provider(), Ok(Some("p1".into())));
        assert_eq!(Conversion::Reserve(r("cpus(eng,ops):1")).provider(), Ok(None));
        let without = Conversion::ChangeDisk(plain).sides();
        assert!(matches!(without, Err(ConversionError::NoProvider { .. })), "{without:?}");
        let mixed = Conversion::Unreserve(
            r("disk(eng,ops):1")
                .checked_add(
                    &Resources::new([Resource { provider: Some("p1".into()), ..one(&r("disk(eng,ops):2")) }])
                        .expect("good"),
                )
                .expect("small"),
        );
        assert_eq!(mixed.provider(), Err(ConversionError::SeveralProviders));
    }

    #[test]
    fn a_volume_on_a_mount_leaves_the_mount() {
        let source = b"\x1a\x04\x08\x02\x22\x00";
        let info = [b"\x0a\x04\x0a\x02v1".as_slice(), source].concat();
        let disk = Disk {
            info: info.into(),
            persistence_id: Some("v1".into()),
            source: DiskSource::Mount,
            source_id: None,
        };
        let below = disk.without_volume().expect("a mount");
        assert_eq!((&below.info[..], below.persistence_id.is_some()), (&source[..], false));
        assert_eq!(
            Disk { info: b"\x0a\x04\x0a\x02v1".as_slice().into(), ..Disk::default() }.without_volume(),
            None
        );
    }

    fn one(resources: &Resources) -> Resource {
        resources.iter().next().expect("one").clone()
    }

    #[test]
    fn volumes_grow_and_shrink_by_the_disk_that_they_are_made_of() {
        let before = r("disk(eng,ops):100").apply(&Conversion::Create(volume("v1", 30))).expect("possible");
        let grow = Conversion::Grow { volume: one(&volume("v1", 30)), addition: one(&r("disk(eng,ops):20")) };
        let grown = before.apply(&grow).expect("possible");
        assert_eq!(grown.to_string(), "disk(eng,ops):50;disk(eng,ops)[v1]:50");
        let shrink = Conversion::Shrink { volume: one(&volume("v1", 50)), subtract: Scalar(20_000) };
        assert_eq!(grown.apply(&shrink), Ok(before.clone()));
        let sizes = [(0, "something must remain"), (30_000, "something must remain"), (-1, "must be taken")];
        for (thousandths, expect) in sizes {
            let shrink = Conversion::Shrink { volume: one(&volume("v1", 30)), subtract: Scalar(thousandths) };
            let error = before.apply(&shrink).expect_err(expect).to_string();
            assert!(error.contains(expect), "{error}");
        }
        for other in ["disk:20", "disk(ops,ops):20", "mem(eng,ops):20"] {
            let grow = Conversion::Grow { volume: one(&volume("v1", 30)), addition: one(&r(other)) };
            let error = before.apply(&grow).expect_err(other);
            assert!(matches!(error, ConversionError::OtherKind { .. }), "{error}");
        }
        let mount = Disk { source: DiskSource::Mount, persistence_id: Some("m".into()), ..Disk::default() };
        let mount = Resource { disk: Some(Arc::new(mount)), ..one(&volume("v1", 30)) };
        let error = before.apply(&Conversion::Shrink { volume: mount, subtract: Scalar(1000) });
        assert!(matches!(error, Err(ConversionError::FixedSize { .. })), "{error:?}");
    }

    #[test]
    fn impossible_operations_are_refused_with_their_reason() {
        let table = [
            (Conversion::Reserve(r("")), "the operation names no resources"),
            (Conversion::Reserve(r("cpus(eng):1")), "cpus(eng):1 is not dynamically reserved"),
            (Conversion::Reserve(r("cpus:1")), "cpus:1 is not dynamically reserved"),
            (Conversion::Reserve(r("cpus(eng,){REV}:1")), "cpus(eng,){REV}:1 is revocable"),
            (Conversion::Reserve(r("cpus(eng,):9")), "cpus:9 is not among cpus:4"),
            (Conversion::Unreserve(r("cpus(eng,):1")), "cpus(eng,):1 is not among cpus:4"),
            (Conversion::Unreserve(volume("v1", 1)), "disk(eng,ops)[v1]:1 is a persistent volume"),
            (
                Conversion::Create(r("disk(eng,):1")),
                "disk(eng,):1 is not a persistent volume on reserved disk",
            ),
            (Conversion::Destroy(volume("v1", 1)), "disk(eng,ops)[v1]:1 is not among cpus:4"),
        ];
        for (operation, expect) in table {
            assert_eq!(r("cpus:4").apply(&operation).expect_err(expect).to_string(), expect);
        }
    }

    #[test]
    fn what_is_reserved_can_be_reserved_otherwise_at_once() {
        let check = |source: &str, target: &str, expect: Result<&str, &str>| {
            let conversion = Conversion::Rereserve { source: r(source), target: r(target) };
            let before = r("cpus:4;mem(eng,op):64").apply(&Conversion::Reserve(r("cpus(eng,op):3")));
            let after = before.expect("possible").apply(&conversion).map(|after| after.to_string());
            match (after, expect) {
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (after, expect) => assert_eq!(after.ok().as_deref(), expect.ok(), "{source} -> {target}"),
            }
        };
        check("cpus(eng,op):2", "cpus(ops,op):2", Ok("cpus:1;cpus(eng,op):1;cpus(ops,op):2;mem(eng,op):64"));
        check("cpus:1", "cpus(ops,op):1", Ok("cpus(eng,op):3;cpus(ops,op):1;mem(eng,op):64"));
        check("cpus(eng,op):3;mem(eng,op):64", "cpus(a,):3;mem(a,):64", Ok("cpus:1;cpus(a,):3;mem(a,):64"));
        check("cpus(eng,op):2", "cpus(ops,op):1", Err("is not cpus(eng,op):2 under other reservations"));
        check("cpus(eng,op):2", "mem(ops,op):2", Err("under other reservations"));
        check("cpus(eng,op):1;cpus:1", "cpus(ops,op):2", Err("not all reserved in the same way"));
        check("cpus(eng,op):2", "cpus:2", Err("not dynamically reserved"));
        check("cpus(eng,op):2", "cpus(ops):2", Err("not dynamically reserved"));
        check("cpus(eng):2", "cpus(ops,op):2", Err("not dynamically reserved"));
        check("cpus(eng,op):9", "cpus(ops,op):9", Err("is not among"));
        check("", "", Err("names no resources"));
    }

    #[test]
    fn a_sum_beyond_the_range_is_refused() {
        let most = Scalar::MAX;
        let whole = Resources::new([Resource::new("cpus", most)]).expect("good");
        assert!(whole.apply(&Conversion::Reserve(r("cpus(eng,):1"))).is_ok());
    }
}
