//! What resource providers have, and how operations on that go on.

use super::*;

impl Driver {
    /// What agents tell of their resource providers, and these of operations.
    pub(super) fn provide(&self, a: u8, b: u8, c: u8) -> Command {
        let pending = self.state.operations().filter(|one| one.on_provider.is_some() && !one.finished);
        match pick(pending, a) {
            Some(operation) if !c.is_multiple_of(3) => self.told_of(operation, b),
            _ => self.told_of_providers(a, b, c),
        }
    }

    pub(super) fn told_of(&self, operation: &model::Operation, b: u8) -> Command {
        let on = operation.on_provider.as_ref().expect("on a provider's resources");
        let states = [OperationState::Finished, OperationState::Failed, OperationState::Dropped];
        let taken = on.taken.iter().next().expect("an operation takes something");
        let update = OperationUpdate {
            provider: on.provider.clone(),
            operation: if b == 0 { UpdateUuid([0; 16]) } else { operation.uuid },
            state: pick(states, b / 2).filter(|_| b != 1).unwrap_or(OperationState::Pending),
            status: (!b.is_multiple_of(5)).then_some(UpdateUuid([b; 16])),
            message: "told".into(),
            converted: Self::provided(&on.provider, b, taken.reservations.clone()),
        };
        let agent = operation.agent.clone();
        Command::RecordOperations(RecordOperations { agent, updates: vec![update] })
    }

    pub(super) fn told_of_providers(&self, a: u8, b: u8, c: u8) -> Command {
        let agent = self.agent(a);
        let known = self.state.agent(&agent);
        let (link, heard) = known.map(|known| (known.link, known.heard)).unwrap_or_default();
        let sequence = if heard.link == link { heard.sequence } else { 0 } + u64::from(b != 2);
        let pending: Vec<_> = known
            .into_iter()
            .flat_map(|known| &known.operations)
            .filter_map(|(framework, id)| self.state.operation(framework, id))
            .map(|operation| (operation.uuid, c.is_multiple_of(5)))
            .filter(|(uuid, _)| !(uuid.0[0] ^ b).is_multiple_of(3))
            .collect();
        let words = [("p0", 1), ("p1", 2)].into_iter().filter(|(_, bit)| b & bit == 0 || b < 64);
        let providers = words.map(|(id, bit)| ProviderWord {
            id: id.into(),
            info: Bytes::copy_from_slice(&[bit]),
            connected: c & 4 == 0,
            state: (!c.is_multiple_of(7)).then(|| ProviderState {
                version: UpdateUuid([c % 4 + bit; 16]),
                total: [b, c].into_iter().fold(Resources::default(), |sum, choice| {
                    sum.saturating_add(&Self::provided(&id.into(), choice, Reservations::default()))
                }),
                operations: pending.clone(),
            }),
        });
        let providers = providers.collect();
        Command::UpdateProviders(UpdateProviders { agent, link, sequence, providers })
    }

    /// A disk of a provider's.
    pub(super) fn provided(provider: &ProviderId, choice: u8, reservations: Reservations) -> Resources {
        let source = [DiskSource::Raw, DiskSource::Mount, DiskSource::Block][usize::from(choice % 3)];
        let disk = Disk { source, source_id: Some(format!("d{}", choice % 4).into()), ..Disk::default() };
        let plain = resources("disk:10").iter().next().expect("one").clone();
        let provider = Some(provider.as_str().into());
        Resources::new([Resource { disk: Some(Arc::new(disk)), provider, reservations, ..plain }])
            .expect("one")
    }
}
