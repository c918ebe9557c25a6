use mesarch_proto::mesos::v1::{Operation, offer::operation::Type};

use super::*;

const P: &str = "p1";

struct Case {
    providers: Providers,
    stream: EventStream,
    _requests: mpsc::Receiver<Request>,
}

fn uuid(byte: u8) -> UpdateUuid {
    UpdateUuid([byte; 16])
}

fn order(operation: u8, version: u8) -> ProviderOperation {
    let info = offer::Operation { r#type: Some(Type::Reserve as i32), ..Default::default() };
    ProviderOperation {
        provider: P.into(),
        operation: uuid(operation),
        framework: "f".into(),
        info: info.encode_to_vec().into(),
        version: uuid(version),
    }
}

fn known(operation: u8, state: OperationState) -> Operation {
    let name = state != OperationState::OperationPending;
    let name = name.then(|| to_uuid(uuid(3)));
    let latest_status = OperationStatus { state: state as i32, uuid: name, ..Default::default() };
    Operation { uuid: to_uuid(uuid(operation)), latest_status, ..Default::default() }
}

impl Case {
    /// A provider that was known before the agent started, and has subscribed.
    fn new() -> Self {
        let (sender, requests) = mpsc::channel(16);
        let providers = BTreeMap::from([(P.into(), described(Some(P)).encode_to_vec().into())]);
        let durable = Durable { providers, ..Durable::default() };
        let mut providers = Providers::new(&durable, sender, Tasks::default());
        let admitted = providers.admit(described(Some(P))).unwrap();
        let (_, stream) = providers.open(admitted, ContentType::Protobuf);
        let mut case = Self { providers, stream, _requests: requests };
        assert_eq!(case.told(), ["SUBSCRIBED"]);
        case
    }

    fn again(&mut self) {
        let admitted = self.providers.admit(described(Some(P))).unwrap();
        self.stream = self.providers.open(admitted, ContentType::Protobuf).1;
        assert_eq!(self.told(), ["SUBSCRIBED"]);
    }

    /// Names of the events on the provider's stream.
    fn told(&mut self) -> Vec<String> {
        self.providers.write();
        let mut told = Vec::new();
        while let Ok(frame) = self.stream.frames.try_recv() {
            let start = frame.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            told.push(Event::decode(frame.slice(start..)).unwrap().r#type().as_str_name().to_owned());
        }
        told
    }

    fn state(&mut self, version: u8, operations: Vec<Operation>) {
        let resource_version_uuid = to_uuid(uuid(version));
        let update = UpdateState { operations, resources: Vec::new(), resource_version_uuid };
        assert_eq!(self.providers.state(&P.into(), update), Ok(Told::Ready));
    }

    fn status(&mut self, operation: u8, state: OperationState, name: Option<u8>) {
        let name = name.map(|byte| to_uuid(uuid(byte)));
        let status = OperationStatus { state: state as i32, uuid: name, ..Default::default() };
        let operation_uuid = to_uuid(uuid(operation));
        let update = call::UpdateOperationStatus { status, operation_uuid, ..Default::default() };
        self.providers.status(&P.into(), update);
    }

    /// What the leader is told: providers with their operations, and states of operations.
    fn master(&mut self) -> Vec<String> {
        self.providers.link = Some(1);
        let told = self.providers.take_for_master(Some(1)).into_iter().map(|message| match message {
            Kind::Providers(all) => {
                let one = &all.providers[0];
                let operations = one.state.iter().flat_map(|state| &state.operations);
                let operations: Vec<_> = operations.map(|one| (one.operation[0], one.ended)).collect();
                format!("{} {operations:?}", one.connected)
            }
            Kind::OperationUpdates(all) => {
                let status = OperationStatus::decode(all.updates[0].status.clone()).unwrap();
                format!("{} {}", all.updates[0].operation[0], status.state().as_str_name())
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }
}

fn described(id: Option<&str>) -> ResourceProviderInfo {
    let id = id.map(|id| to_v1(&id.into()));
    ResourceProviderInfo { id, r#type: "t".to_owned(), name: "n".to_owned(), ..Default::default() }
}

#[tokio::test]
async fn providers_have_one_id_and_one_name() {
    let case = Case::new();
    let admit = |info| case.providers.admit(info).map(|admitted| admitted.id);
    assert_eq!(admit(described(None)), Err(ProviderRefusal::NameTaken(P.into())));
    assert_eq!(admit(described(Some("p2"))), Err(ProviderRefusal::Unknown("p2".into())));
    let other = ResourceProviderInfo { name: "m".to_owned(), ..described(Some(P)) };
    assert_eq!(admit(other.clone()), Err(ProviderRefusal::OtherName(P.into())));
    assert!(admit(ResourceProviderInfo { id: None, ..other }).is_ok());
}

#[tokio::test]
async fn an_operation_goes_to_its_provider_once() {
    let mut case = Case::new();
    case.providers.apply(order(10, 1));
    assert!(case.told().is_empty(), "it has not said what it knows");
    case.state(1, vec![]);
    assert_eq!(case.told(), ["APPLY_OPERATION"]);
    case.providers.apply(order(10, 1));
    assert!(case.told().is_empty());
    case.again();
    case.state(1, vec![known(10, OperationState::OperationPending)]);
    assert!(case.told().is_empty(), "it got there");
    case.again();
    case.state(1, vec![]);
    assert_eq!(case.told(), ["APPLY_OPERATION"], "it did not");
}

#[tokio::test]
async fn an_operation_on_what_is_no_longer_so_is_dropped() {
    let mut case = Case::new();
    case.providers.apply(order(10, 1));
    case.state(2, vec![]);
    assert!(case.told().is_empty());
    assert_eq!(case.master(), ["true []", "10 OPERATION_DROPPED"]);
    case.providers.apply(ProviderOperation { provider: "gone".into(), ..order(11, 2) });
    assert_eq!(case.master(), ["11 OPERATION_DROPPED"]);
}

#[tokio::test]
async fn ends_are_told_until_they_are_acknowledged() {
    let mut case = Case::new();
    case.state(1, vec![known(10, OperationState::OperationFinished)]);
    assert_eq!(case.master(), ["true [(10, true)]", "10 OPERATION_FINISHED"]);
    case.providers.known_on(2);
    assert_eq!(case.providers.take_for_master(Some(1)).len(), 0, "the leader is another one");
    case.providers.tick();
    assert_eq!(case.master(), ["true [(10, true)]", "10 OPERATION_FINISHED"]);
    case.providers.acknowledged(&P.into(), uuid(10), uuid(3));
    assert_eq!(case.told(), ["ACKNOWLEDGE_OPERATION_STATUS"]);
    case.providers.tick();
    assert_eq!(case.master().len(), 1);
}

#[tokio::test]
async fn what_is_on_its_way_is_not_taken_for_unknown() {
    let mut case = Case::new();
    case.state(1, vec![]);
    case.providers.apply(order(10, 1));
    case.master();
    case.state(2, vec![]);
    assert_eq!(case.master(), ["true [(10, false)]"]);
    case.providers.tick();
    assert_eq!(case.told(), ["APPLY_OPERATION", "RECONCILE_OPERATIONS"]);
}

#[tokio::test]
async fn a_stream_that_is_gone_counts_for_nothing() {
    let mut case = Case::new();
    case.state(1, vec![]);
    case.master();
    case.providers.closed(&P.into(), 99);
    assert!(case.master().is_empty(), "of another stream");
    case.providers.closed(&P.into(), 1);
    assert_eq!(case.master(), ["false []"]);
    assert_eq!(case.providers.caller(&P.into(), "any"), Err(ProviderRefusal::NotSubscribed));
    case.providers.remove(&P.into());
    assert!(!case.providers.is_known(&P.into()));
}

#[tokio::test]
async fn an_end_without_a_uuid_is_told_until_it_is_known_and_its_provider_hears_nothing() {
    let mut case = Case::new();
    case.state(1, vec![]);
    case.providers.apply(order(10, 1));
    assert_eq!(case.told(), ["APPLY_OPERATION"]);
    case.status(10, OperationState::OperationFinished, None);
    let drawn = case.providers.known[P].operations[&uuid(10)].end.clone().unwrap().uuid.unwrap();
    assert_eq!(case.master(), ["true []", "10 OPERATION_FINISHED"]);
    case.providers.tick();
    assert_eq!(case.master(), ["true []", "10 OPERATION_FINISHED"]);
    case.providers.acknowledged(&P.into(), uuid(10), uuid_of(&drawn).unwrap());
    assert!(case.told().is_empty());
    case.providers.tick();
    assert_eq!(case.master(), ["true []"]);
}

#[tokio::test]
async fn an_operation_is_not_over_before_its_end_is_acknowledged() {
    let mut case = Case::new();
    case.state(1, vec![]);
    case.providers.apply(order(10, 1));
    case.status(10, OperationState::OperationPending, Some(3));
    case.providers.acknowledged(&P.into(), uuid(10), uuid(3));
    assert_eq!(case.told(), ["APPLY_OPERATION", "ACKNOWLEDGE_OPERATION_STATUS"]);
    case.providers.apply(order(10, 1));
    assert!(case.told().is_empty(), "it is under way");
    case.status(10, OperationState::OperationFinished, Some(4));
    case.providers.acknowledged(&P.into(), uuid(10), uuid(3));
    assert_eq!(case.master(), ["true []", "10 OPERATION_FINISHED"]);
    case.providers.tick();
    assert_eq!(case.master(), ["true []", "10 OPERATION_FINISHED"], "the other one was acknowledged");
}

#[tokio::test]
async fn a_leader_hears_of_ends_when_it_listens() {
    let mut case = Case::new();
    case.state(1, vec![known(10, OperationState::OperationFailed)]);
    case.providers.known_on(7);
    assert!(case.providers.take_for_master(None).is_empty(), "not attached yet");
    assert_eq!(case.providers.take_for_master(Some(7)).len(), 2);
    assert!(case.providers.take_for_master(Some(7)).is_empty());
    case.providers.known_on(8);
    assert_eq!(case.providers.take_for_master(Some(8)).len(), 2, "nor is the next leader left without");
}

#[tokio::test]
async fn what_is_too_much_to_wait_for_a_provider_is_dropped() {
    let mut case = Case::new();
    for number in 0..=OPERATIONS_MAX {
        let mut name = [0; 16];
        name[8..].copy_from_slice(&(number as u64).to_be_bytes());
        case.providers.apply(ProviderOperation { operation: UpdateUuid(name), ..order(1, 1) });
    }
    assert_eq!(case.master(), ["false []", "0 OPERATION_DROPPED"]);
    case.state(1, vec![]);
    assert_eq!(case.master(), ["true []"], "all others went on");
}

#[tokio::test]
async fn a_restored_cluster_says_again_what_is_to_be_done() {
    let mut case = Case::new();
    case.state(1, vec![]);
    case.providers.apply(order(10, 1));
    case.providers.closed(&P.into(), 1);
    case.providers.apply(order(11, 1));
    case.providers.renew();
    case.again();
    case.state(1, vec![]);
    assert!(case.told().is_empty(), "the masters may know nothing of it any more");
}

#[tokio::test]
async fn ends_are_packed_by_count_and_size() {
    let end =
        |bytes: usize| OperationStatus { message: Some("x".repeat(bytes)), ..OperationStatus::default() };
    let packs = |count: u8, bytes: usize| {
        let all = (0..count).map(|number| ((P.into(), uuid(number)), end(bytes))).collect();
        let sizes = packed(all).into_iter().map(|kind| match kind {
            Kind::OperationUpdates(pack) => pack.updates.len(),
            other => panic!("{other:?}"),
        });
        sizes.collect::<Vec<_>>()
    };
    assert!(packs(0, 1).is_empty());
    assert_eq!(packs(255, 1), [255]);
    assert_eq!(packs(9, UPDATES_BYTES_MAX / 4), [3, 3, 3]);
    assert_eq!(packs(2, UPDATES_BYTES_MAX + 1), [1, 1]);
}

#[tokio::test]
async fn operations_are_shown_until_they_are_over() {
    let mut case = Case::new();
    let shown = |case: &Case| {
        let all = case.providers.operations(Some(&"agent".into())).into_iter();
        all.map(|one| (one.uuid.value[0], one.latest_status.state())).collect::<Vec<_>>()
    };
    case.providers.apply(order(10, 1));
    assert_eq!(shown(&case), [(10, OperationState::OperationPending)]);
    case.state(1, vec![]);
    assert_eq!(shown(&case), [(10, OperationState::OperationPending)]);
    case.status(10, OperationState::OperationFailed, Some(3));
    assert_eq!(shown(&case), [(10, OperationState::OperationFailed)]);
    case.providers.acknowledged(&P.into(), uuid(10), uuid(3));
    assert!(shown(&case).is_empty());
    case.again();
    assert_eq!(case.providers.streams(), (2, 1));
}
