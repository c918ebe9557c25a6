//! What operators decide: outages, shares, policies, reservations.

use super::*;

impl Driver {
    /// What an operator may decide about agents and machines, and what frameworks say to that.
    pub(super) fn administer(&mut self, a: u8, b: u8, c: u8) -> Command {
        let away: Vec<_> = self.state.unreachable_agents().map(|away| away.agent.id.clone()).collect();
        let agent = match b % 4 {
            0 => pick(away, a).unwrap_or_else(|| self.agent(a)),
            _ => self.agent(a),
        };
        match c % 10 {
            0 | 1 => {
                let max_grace_ns = (!b.is_multiple_of(3)).then_some(u64::from(b) * 1_000_000_000);
                Command::DrainAgent(DrainAgent { agent, max_grace_ns, mark_gone: a.is_multiple_of(3) })
            }
            2 => Command::DeactivateAgent(DeactivateAgent { agent }),
            3 | 4 => {
                let known = self.state.agents().filter(|agent| agent.administration.deactivated);
                let agent = pick(known, a).map_or(agent, |known| known.id.clone());
                Command::ReactivateAgent(ReactivateAgent { agent })
            }
            5 if b < 96 => Command::MarkAgentGone(MarkAgentGone { agent }),
            5 => self.come_back(a),
            6 => self.schedule(a, b),
            7 => self.maintain(a, b),
            8 => self.ask_back(a, b),
            _ => self.answer(a, b),
        }
    }

    /// An agent that was declared gone comes, or some other.
    pub(super) fn come_back(&mut self, choice: u8) -> Command {
        let gone = self.state.gone_agents().map(|(id, _)| id.clone());
        let agent = pick(gone, choice).unwrap_or_else(|| self.agent(choice));
        let (link, spec) = (self.link(), Some(self.spec(choice)));
        let (inventory, stored) = (Some(Inventory::default()), ResourceVersion::default());
        Command::AttachAgent(AttachAgent { agent, link, spec, inventory, stored })
    }

    pub(super) fn machine(choice: u8) -> MachineId {
        let (hostname, ip) =
            [("host", "10.0.0.1"), ("host-2", ""), ("", "10.0.0.3")][usize::from(choice % 3)];
        MachineId { hostname: hostname.into(), ip: ip.into() }
    }

    pub(super) fn schedule(&self, a: u8, b: u8) -> Command {
        let window = |choice: u8| Window {
            machines: vec![Self::machine(choice)],
            unavailability: Unavailability {
                start_ns: i64::from(b % 4),
                duration_ns: (b % 8 > 1).then_some(i64::from(choice)),
            },
        };
        let windows = (0..3).filter(|nth| a >> nth & 1 == 1).map(window).collect();
        Command::SetSchedule(SetSchedule { windows })
    }

    pub(super) fn maintain(&self, a: u8, b: u8) -> Command {
        let machines = self.state.machines().map(|(id, machine)| (id.clone(), machine.mode));
        let (machine, mode) = pick(machines, a).unwrap_or_else(|| (Self::machine(a), MachineMode::Draining));
        let machines = Machines { machines: vec![machine] };
        match mode {
            MachineMode::Draining if b < 64 => Command::StartMaintenance(machines),
            MachineMode::Draining => self.ask_back(a, b),
            MachineMode::Down => Command::StopMaintenance(machines),
        }
    }

    pub(super) fn ask_back(&self, a: u8, b: u8) -> Command {
        let held = self.state.agents().filter(|agent| agent.unavailability.is_some());
        let held = held.flat_map(|agent| {
            let books = agent.ledger.used().keys().chain(agent.ledger.offered().keys());
            books.map(move |(framework, _)| InverseOfferItem {
                framework: framework.clone(),
                agent: agent.id.clone(),
                agent_version: agent.version,
            })
        });
        let mut items: Vec<_> = pick(held, a).into_iter().collect();
        if b.is_multiple_of(8) {
            let (framework, agent) = (self.framework(a), self.agent(b));
            items.push(InverseOfferItem { framework, agent, agent_version: Epoch(1) });
        }
        Command::IssueInverseOffers(IssueInverseOffers { items })
    }

    pub(super) fn answer(&self, a: u8, b: u8) -> Command {
        let asked =
            self.state.inverse_offers().map(|(framework, _, offer)| (framework.clone(), offer.id.clone()));
        let (framework, offer) = pick(asked, a).unwrap_or_else(|| (self.framework(a), "unknown".into()));
        let refuse = Refuse { duration: Millis(u64::from(b) * 100) };
        let offers = vec![offer, "gone".into()];
        Command::AnswerInverseOffers(AnswerInverseOffers { framework, offers, accepted: b < 128, refuse })
    }

    /// What an operator may decide about sharing, often about roles that hold something.
    pub(super) fn share(&self, a: u8, b: u8, c: u8) -> Command {
        let amounts = ["", "cpus:2", "cpus:4;mem:1024", "cpus:0", "cpus:12;mem:512", "ports:1"];
        let amounts = |choice: u8| -> Quantities {
            amounts[usize::from(choice) % amounts.len()].parse().expect("well-formed")
        };
        let role = Role::from(["eng", "ops"][usize::from(a % 2)]);
        let priority = Priority::new(i64::from(b % 3) - 1).expect("in range");
        match a % 6 {
            0 | 1 => {
                let quota = Quota::new(role.clone(), amounts(b), amounts(c));
                let quota = quota.or_else(|_| Quota::new(role, Quantities::default(), amounts(c)));
                let quotas = vec![quota.expect("limits alone are good")];
                let there = match c % 8 {
                    0 => Some(true),
                    1 => Some(false),
                    _ => None,
                };
                Command::SetQuota(SetQuota { quotas, force: a < 128, there })
            }
            2 => {
                let frameworks = vec![(self.framework(c), priority)];
                Command::SetPriorities(SetPriorities { roles: vec![(role, priority)], frameworks })
            }
            3 => {
                let hosts = (b < 64).then(|| ["host".into(), "other".into()].into());
                Command::SetWhitelist(SetWhitelist { hosts })
            }
            4 => Command::SetPolicy(SetPolicy { name: ["drf", "priority"][usize::from(b % 2)].into() }),
            _ => {
                let weight = Weight::from_thousandths(u64::from(b) + 1).expect("in range");
                Command::SetWeights(SetWeights { weights: vec![(role, weight)] })
            }
        }
    }

    /// An operator's reservation, or the end of one that is there.
    pub(super) fn convert(&self, a: u8, b: u8, c: u8) -> Command {
        let agent = self.agent(a);
        let total = self.state.agent(&agent).map(|agent| agent.total()).unwrap_or_default();
        let dynamic = total.filter(|resource| resource.to_string().contains(",op)"));
        let conversion = match (b % 5, pick(dynamic.iter(), c)) {
            (0, Some(one)) => {
                Conversion::Unreserve(Resources::new([one.clone()]).expect("one of the agent's"))
            }
            (4, Some(one)) => {
                let mut other = one.clone();
                let innermost = |it: &Reservation| Reservation { role: Role::from("ops"), ..it.clone() };
                other.reservations = one.reservations.iter().take(1).map(innermost).collect();
                let all = |one: Resource| Resources::new([one]).expect("one of the agent's");
                Conversion::Rereserve { source: all(one.clone()), target: all(other) }
            }
            (1, _) => Conversion::Reserve(resources("mem(eng/web,op):512;ports(eng/web,op):[20-22]")),
            (2, _) => Conversion::Reserve(resources("cpus(eng,op):9")),
            _ => Conversion::Reserve(resources("cpus(eng,op):1")),
        };
        Command::ConvertResources(ConvertResources { agent, conversion })
    }

    /// What a framework may say about its offers.
    pub(super) fn rules(choice: u8) -> Arc<OfferRules> {
        let mut rules = OfferRules::default();
        if choice.is_multiple_of(5) {
            let pattern = TextPattern::new("h.*").expect("well-formed");
            let constraint =
                Constraint { selector: Selector::Hostname, predicate: Predicate::TextMatches(pattern) };
            let constraints = Constraints::new(vec![vec![constraint]]).expect("one");
            rules.constraints.insert(Role::from(ROLES[0]), constraints);
            rules
                .min_allocatable
                .insert(Role::from(ROLES[0]), vec!["cpus:0.5".parse().expect("well-formed")]);
        }
        Arc::new(rules)
    }
}
