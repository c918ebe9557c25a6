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
    let latest_status = OperationStatus { state: state as i32, ..Default::default() };
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
