//! What frameworks and operators do with resources.

use mesarch_types::{
    AgentId, AgentView, Conversion, FrameworkId, Millis, REFUSE_DEFAULT, REFUSE_MAX, RefuseFilter, Resources,
    Role, Scalar, refuse_duration,
};

use super::{
    cluster::{Cluster, Holding, Refused, Scope, refused},
    step::Decline,
};
use crate::GiveBack;

/// What the API's double says: negative ones and what is no number are the default.
fn refuse_ms(seconds: f64) -> Millis {
    match Scalar::from_f64(seconds) {
        Some(ms) => u64::try_from(ms.thousandths()).map_or(REFUSE_DEFAULT, Millis),
        None if seconds > 0.0 => REFUSE_MAX,
        None => REFUSE_DEFAULT,
    }
}

impl Cluster {
    pub(super) fn decline(&mut self, step: &Decline) -> Result<Scope, Refused> {
        self.known_framework(&step.framework)?;
        let declined = self.declined(step)?;
        for (holding, resources) in declined {
            self.take_off_offer(&holding, &resources);
            let (framework, role, agent) = &holding;
            let why = GiveBack::Declined { now: self.now };
            self.allocator.give_back(framework, role, agent, &resources, why);
            let refused_for = step.refuse_seconds.map(refuse_ms);
            if let Some(duration) = refused_for.and_then(|ms| refuse_duration(ms, self.interval)) {
                let until = self.now.saturating_add(duration);
                self.allocator.refuse(framework, role, agent, RefuseFilter { refused: resources, until });
            }
        }
        Ok(Scope::Nothing)
    }

    /// What is declined of which holding.
    fn declined(&self, step: &Decline) -> Result<Vec<(Holding, Resources)>, Refused> {
        let is_meant = |(framework, role, agent): &Holding| {
            *framework == step.framework
                && *agent == step.agent
                && step.role.as_ref().is_none_or(|named| named == role)
        };
        let meant: Vec<_> = self.offered.iter().filter(|(holding, _)| is_meant(holding)).collect();
        let all = |(holding, offered): (&Holding, &Resources)| (holding.clone(), offered.clone());
        match &step.resources {
            _ if meant.is_empty() => {
                refused(format_args!("framework {} has no offer of agent {}", step.framework, step.agent))
            }
            None => Ok(meant.into_iter().map(all).collect()),
            Some(named) if named.is_empty() => refused("nothing is declined"),
            Some(named) => match meant.into_iter().find(|(_, offered)| offered.contains(named)) {
                Some((holding, _)) => Ok(vec![(holding.clone(), named.clone())]),
                None => refused(format_args!("{named} was not offered")),
            },
        }
    }

    /// Takes what is there off an offer.
    fn take_off_offer(&mut self, holding: &Holding, resources: &Resources) {
        if let Some(offered) = self.offered.get_mut(holding) {
            *offered = offered.saturating_sub(resources);
            if offered.is_empty() {
                self.offered.remove(holding);
            }
        }
    }

    pub(super) fn launch(&mut self, holding: Holding, resources: &Resources) -> Result<Scope, Refused> {
        if resources.is_empty()
            || !self.offered.get(&holding).is_some_and(|offered| offered.contains(resources))
        {
            return refused(format_args!("{resources} was not offered"));
        }
        self.take_off_offer(&holding, resources);
        *self.used.entry(holding).or_default() += resources;
        Ok(Scope::Nothing)
    }

    pub(super) fn free(&mut self, holding: Holding, resources: &Resources) -> Result<Scope, Refused> {
        let Some(used) =
            self.used.get_mut(&holding).filter(|used| used.contains(resources) && !resources.is_empty())
        else {
            return refused(format_args!("{resources} is not in use"));
        };
        *used = used.saturating_sub(resources);
        if used.is_empty() {
            self.used.remove(&holding);
        }
        let (framework, role, agent) = &holding;
        self.allocator.give_back(framework, role, agent, resources, GiveBack::Freed);
        Ok(Scope::Nothing)
    }

    /// A reservation or volume comes or goes: on what the framework was offered, or on what nobody holds.
    pub(super) fn convert(
        &mut self,
        framework: Option<&FrameworkId>,
        agent: &AgentId,
        operation: &Conversion,
    ) -> Result<Scope, Refused> {
        let Some(view) = self.agents.get(agent).cloned() else {
            return refused(format_args!("there is no agent {agent}"));
        };
        let total = view.total.apply(operation)?;
        self.check_sharers(framework, agent, operation)?;
        match framework {
            Some(framework) => self.convert_offered(framework, agent, operation)?,
            None => {
                self.unheld(&view).apply(operation)?;
            }
        }
        self.put_agent(AgentView { total, version: view.version + 1, ..view });
        Ok(Scope::Nothing)
    }

    fn unheld(&self, agent: &AgentView) -> Resources {
        let books = self.offered.iter().chain(&self.used);
        let here = books.filter(|((_, _, host), _)| *host == agent.id);
        here.fold(agent.total.clone(), |rest, (_, held)| rest.saturating_sub(held))
    }

    /// A shared volume is destroyed only when nobody else holds it.
    fn check_sharers(
        &self,
        framework: Option<&FrameworkId>,
        agent: &AgentId,
        operation: &Conversion,
    ) -> Result<(), Refused> {
        let Conversion::Destroy(volumes) = operation else {
            return Ok(());
        };
        let shared = volumes.shared();
        let others = self.offered.iter().filter(|((who, ..), _)| Some(who) != framework).chain(&self.used);
        let mut here = others.filter(|((_, _, host), _)| host == agent);
        match here.find(|(_, held)| held.shared().iter().any(|one| shared.iter().any(|gone| gone == one))) {
            Some(((who, ..), _)) => refused(format_args!("framework {who} holds the volume too")),
            None => Ok(()),
        }
    }

    fn convert_offered(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        operation: &Conversion,
    ) -> Result<(), Refused> {
        self.known_framework(framework)?;
        let (from, to) = operation.sides()?;
        let mut own = self.offered.iter_mut().filter(|((who, _, host), _)| who == framework && host == agent);
        let Some(((_, role, _), offered)) = own.find(|(_, offered)| offered.contains(&from)) else {
            return refused(format_args!("{from} was not offered"));
        };
        let is_for_other =
            |role: &Role, made: &Resources| made.iter().any(|one| one.reserved_role() != Some(role));
        if matches!(operation, Conversion::Reserve(made) if is_for_other(role, made)) {
            return refused(format_args!("what was offered in role {role} can only be reserved for it"));
        }
        *offered = offered.apply(operation)?;
        let role = role.clone();
        self.allocator.convert(framework, &role, agent, &from, &to);
        Ok(())
    }

    pub(super) fn answer_inverse(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        refuse_seconds: Option<f64>,
    ) -> Result<Scope, Refused> {
        if !self.allocator.is_asked_back(framework, agent) {
            return refused(format_args!("framework {framework} has no inverse offer of agent {agent}"));
        }
        let duration = refuse_seconds.map(refuse_ms).and_then(|ms| refuse_duration(ms, self.interval));
        let until = duration.map(|duration| self.now.saturating_add(duration));
        self.allocator.answer_inverse(framework, agent, until);
        Ok(Scope::Nothing)
    }
}
