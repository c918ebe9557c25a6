//! Offers, what is done with them, and what agents make of that.

use super::*;

impl Driver {
    pub(super) fn issue(&self, a: u8, b: u8, c: u8) -> Command {
        let policy = self.state.policy_version();
        let what = ["cpus:1;mem:256", "cpus:2;mem:512;ports:[1-9]", "cpus:3;ports:[5-20]", "disk(eng):10"];
        let items = [(a, b), (b, c), (c, a)].into_iter().filter_map(|(framework, agent)| {
            let framework = pick(self.state.frameworks(), framework)?;
            let agent = pick(self.state.agents(), agent)?;
            let role = pick(framework.spec.roles.iter().cloned(), c)?;
            // Whatever there is for the role, as a plan would have it, or some of what there may be.
            let all = agent.available().filter(|one| one.is_allocatable_to(&role));
            let some = || resources(what[usize::from(a ^ b) % what.len()]);
            Some(OfferItem {
                framework: framework.id.clone(),
                role,
                agent: agent.id.clone(),
                resources: if c.is_multiple_of(4) { all } else { some() },
                framework_version: framework.version,
                agent_version: agent.version,
            })
        });
        Command::IssueOffers(IssueOffers { policy, items: items.collect() })
    }

    pub(super) fn offer_ids(&self, framework: Option<&FrameworkId>, a: u8, b: u8) -> Vec<OfferId> {
        let own = || self.state.offers().filter(|offer| framework.is_none_or(|id| offer.framework == *id));
        let Some(first) = pick(own(), a) else {
            return vec![OfferId::from("gone")];
        };
        let alike = own().filter(|offer| (&offer.agent, &offer.role) == (&first.agent, &first.role));
        let mut ids: Vec<OfferId> =
            alike.take(1 + usize::from(b % 2)).map(|offer| offer.id.clone()).collect();
        ids.extend((b.is_multiple_of(16)).then(|| OfferId::from("gone")));
        ids
    }

    pub(super) fn accept(&self, a: u8, b: u8, c: u8) -> Command {
        let framework =
            pick(self.state.offers(), a).map_or_else(|| self.framework(a), |offer| offer.framework.clone());
        let offers = self.offer_ids(Some(&framework), a, b);
        let role = self.state.offer(&offers[0]).map_or_else(Role::any, |offer| offer.role.clone());
        let launches = (0..c % 4).map(|number| self.task(b.wrapping_add(number), c, &role));
        let mut launches: Vec<Judged> = launches.map(Judged::Valid).collect();
        if c % 8 == 7 {
            launches.push(Judged::Invalid { task: TaskId::from("invalid"), message: "bad".into() });
        }
        let agent = Some(self.agent(b)).filter(|_| !a.is_multiple_of(4));
        let group = b.is_multiple_of(3).then_some(0);
        if group.is_some() {
            self.share_executor(&mut launches, c, &role);
        }
        let launches =
            launches.into_iter().map(|task| Launch { agent: agent.clone(), group, task }).collect();
        let operations = (0..a % 4).map(|number| self.operation(&offers[0], [b, c, number])).collect();
        let refuse = Refuse { duration: Millis(u64::from(b) * 100) };
        Command::AcceptOffers(AcceptOffers { framework, offers, launches, operations, refuse })
    }

    /// What tasks of a group have in common; sometimes one of them has not.
    pub(super) fn share_executor(&self, launches: &mut [Judged], c: u8, role: &Role) {
        let with_executor = |choice| self.task(0, choice, role).executor;
        let executor = (c..=u8::MAX).chain(0..c).find_map(with_executor);
        for launch in launches.iter_mut().skip(usize::from(c % 16 == 5)) {
            if let Judged::Valid(spec) = launch {
                spec.executor.clone_from(&executor);
            }
        }
    }

    /// Something that may be done with the offer, as far as what it holds allows it.
    pub(super) fn operation(&self, offer: &OfferId, [a, b, number]: [u8; 3]) -> Operation {
        let offer = self.state.offer(offer);
        let role = offer.map_or_else(|| Role::from(ROLES[0]), |offer| offer.role.clone());
        let offered = offer.map(|offer| offer.resources.without_allocation()).unwrap_or_default();
        let pick_of =
            |wanted: fn(&Resource) -> bool| pick(offered.iter().filter(|one| wanted(one)).cloned(), b);
        let one = |resource: Resource| Resources::new([resource]).expect("one of an offer");
        let dynamic = |one: &Resource| one.to_string().contains(",op)") && !one.is_persistent();
        let volume = pick_of(Resource::is_persistent);
        let provided = pick_of(|one| one.provider.is_some() && !one.is_persistent());
        let conversion = match (a.wrapping_add(number) % 8, volume) {
            (6, _) if provided.is_some() => Conversion::ChangeDisk(provided.expect("looked at")),
            (7, _) if provided.is_some() => {
                Conversion::Reserve(one(reserved(provided.expect("looked at"), &role)))
            }
            (0, _) => Conversion::Reserve(resources(&format!("cpus({role},op):{}", 1 + b % 3))),
            (1, _) => Conversion::Unreserve(pick_of(dynamic).map(one).unwrap_or_default()),
            (2, Some(volume)) => Conversion::Destroy(one(volume)),
            (3, Some(volume)) => {
                let addition = resources("disk(eng):5").iter().next().expect("one").clone();
                Conversion::Grow { volume, addition }
            }
            (4, Some(volume)) => Conversion::Shrink { volume, subtract: Scalar::from_units(5) },
            _ => Conversion::Create(one(Self::volume(b))),
        };
        let judged = if b == 7 { Err("bad".into()) } else { Ok(conversion) };
        Operation {
            before: u32::from(number % 3),
            id: (!a.is_multiple_of(3)).then(|| OperationId::from(format!("o{}", b % 16))),
            uuid: UpdateUuid([a ^ b; 16]),
            info: Bytes::copy_from_slice(&[a, b, number]),
            judged,
        }
    }

    pub(super) fn volume(choice: u8) -> Resource {
        let disk = Disk { persistence_id: Some(format!("v{}", choice % 5).into()), ..Disk::default() };
        let below = resources(if choice.is_multiple_of(2) { "disk(eng):10" } else { "disk(eng):20" });
        Resource { disk: Some(Arc::new(disk)), ..below.iter().next().expect("one").clone() }
    }

    /// Mostly what the agent was told last.
    pub(super) fn stored(&self, a: u8, b: u8) -> Command {
        let owing =
            self.state.agents().filter(|agent| agent.is_owed_resources()).map(|agent| agent.id.clone());
        let agent = pick(owing, a).unwrap_or_else(|| self.agent(a));
        let newest = self.state.agent(&agent).map(|agent| agent.converted_at).unwrap_or_default();
        let epoch = Epoch(
            newest.epoch.0.wrapping_add_signed(i64::from(b.is_multiple_of(16)) - i64::from(b % 16 == 1)),
        );
        Command::ResourcesStored(ResourcesStored { agent, version: ResourceVersion { epoch, ..newest } })
    }

    pub(super) fn acknowledge_operation(&self, a: u8, b: u8) -> Command {
        let known = pick(self.state.operations(), a);
        Command::AcknowledgeOperation(AcknowledgeOperation {
            framework: known.map_or_else(|| self.framework(a), |known| known.framework.clone()),
            operation: known.map_or_else(|| "unknown".into(), |known| known.id.clone()),
            uuid: known.filter(|_| b >= 16).map_or(UpdateUuid([0; 16]), |known| known.uuid),
        })
    }

    /// Mostly other roles and wishes; now and then what must not change.
    pub(super) fn update_framework(&self, a: u8, b: u8, c: u8) -> Command {
        let framework = self.framework(a);
        let Some(known) = self.state.framework(&framework) else { return self.share(a, b, c) };
        let mut spec = (*known.spec).clone();
        spec.roles = ROLES.iter().take(1 + usize::from(c % 3)).map(|role| Role::from(*role)).collect();
        spec.rules = Self::rules(c);
        spec.checkpoint ^= b == 3;
        let suppressed = spec.roles.iter().filter(|_| c.is_multiple_of(4)).cloned().collect();
        Command::UpdateFramework(UpdateFramework { framework, spec, suppressed })
    }

    pub(super) fn task(&self, id: u8, kind: u8, role: &Role) -> TaskSpec {
        let executor = (kind % 4 < 2).then(|| ExecutorSpec {
            id: format!("e{}", kind % 2).into(),
            info: Bytes::copy_from_slice(&[kind / 64]),
            resources: resources("cpus:0.1;mem:32").allocated_to(role),
        });
        TaskSpec {
            id: TaskId::from(format!("t{}", id % 24)),
            info: Bytes::copy_from_slice(&[id, kind]),
            resources: resources(if kind < 128 { "cpus:0.5;mem:64" } else { "ports:[5-6]" })
                .allocated_to(role),
            executor,
        }
    }

    pub(super) fn decline(&self, a: u8, b: u8, c: u8) -> Command {
        let framework =
            pick(self.state.offers(), a).map_or_else(|| self.framework(a), |offer| offer.framework.clone());
        let offers = self.offer_ids(Some(&framework), a, b);
        Command::DeclineOffers(DeclineOffers {
            framework,
            offers,
            refuse: Refuse { duration: Millis(u64::from(c) * 100) },
        })
    }
}
