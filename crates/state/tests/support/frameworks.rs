//! Frameworks that come and go.

use super::*;

impl Driver {
    pub(super) fn subscription(&mut self, a: u8, b: u8) -> Subscribe {
        self.serial += 1;
        let capabilities = match a % 3 {
            0 => FrameworkCapabilities::NONE,
            _ => FrameworkCapabilities::NONE.with(FrameworkCapability::PartitionAware),
        };
        let roles: BTreeSet<Role> =
            ROLES.iter().take(1 + usize::from(b % 3)).map(|role| Role::from(*role)).collect();
        Subscribe {
            framework: None,
            spec: FrameworkSpec {
                info: Bytes::new(),
                name: "name".into(),
                user: "user".into(),
                principal: None,
                roles,
                capabilities,
                checkpoint: a.is_multiple_of(2),
                failover_timeout: Millis(1000),
                rules: Self::rules(a),
            },
            suppressed: BTreeSet::new(),
            stream: StreamId::from(format!("stream-{}", self.serial)),
            resume: None,
        }
    }

    pub(super) fn subscribe_new(&mut self, a: u8, b: u8) -> Command {
        if self.state.frameworks().count() >= 5 {
            return self.subscribe_again(a, b, b);
        }
        Command::Subscribe(self.subscription(a, b))
    }

    pub(super) fn subscribe_again(&mut self, a: u8, b: u8, c: u8) -> Command {
        let removed: Vec<_> = self.state.removed_frameworks().map(|(id, _)| id.clone()).collect();
        let framework = if c < 16 { pick(removed, a) } else { None }.unwrap_or_else(|| self.framework(a));
        let stream = self.state.framework(&framework).and_then(|known| known.stream());
        let resume = stream.map(|(stream, _)| stream.clone()).filter(|_| c.is_multiple_of(2));
        Command::Subscribe(Subscribe { framework: Some(framework), resume, ..self.subscription(a, b) })
    }

    pub(super) fn stream_epoch(&self, framework: &FrameworkId) -> Epoch {
        self.state
            .framework(framework)
            .and_then(|known| known.stream())
            .map(|(_, epoch)| epoch)
            .unwrap_or_default()
    }

    pub(super) fn disconnect(&self, a: u8, b: u8) -> Command {
        let framework = self.framework(a);
        let stream = if b < 32 { Epoch(1) } else { self.stream_epoch(&framework) };
        Command::Disconnect(Disconnect { framework, stream })
    }

    pub(super) fn roles(&self, a: u8, b: u8, c: u8) -> Command {
        let roles = ROLES.iter().take(usize::from(b % 3)).map(|role| Role::from(*role)).collect();
        let roles = FrameworkRoles { framework: self.framework(a), roles };
        if c.is_multiple_of(3) { Command::Suppress(roles) } else { Command::Revive(roles) }
    }

    pub(super) fn expire(&self, a: u8) -> Command {
        use mesarch_state::model::Connection;
        let framework = self.framework(a);
        let disconnected = match self.state.framework(&framework).map(|known| &known.connection) {
            Some(Connection::Disconnected { epoch, .. }) => *epoch,
            _ => Epoch(3),
        };
        Command::ExpireFailover(ExpireFailover { framework, disconnected })
    }
}
