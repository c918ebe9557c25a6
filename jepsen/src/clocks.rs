//! Wall clocks that can be moved: one for each node, by a library that is loaded before the C library.

use std::path::Path;

use anyhow::Context;
use mesarch_testkit::OddMachine;
use tempfile::TempDir;

/// The nodes' clocks: the masters', then the agents'.
pub(crate) struct Clocks {
    machines: Vec<(String, OddMachine)>,
    _folder: TempDir,
}

impl Clocks {
    /// All of them right.
    ///
    /// # Errors
    /// There is no C compiler.
    pub(crate) fn build(masters: usize, agents: usize) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("mesarch-clocks-").tempdir()?;
        let names = (1..=masters).map(|number| format!("master-{number}"));
        let names = names.chain((1..=agents).map(|number| format!("agent-{number}")));
        let build = |name: String| Ok((name.clone(), build(&folder.path().join(name))?));
        let machines = names.map(build).collect::<anyhow::Result<_>>()?;
        Ok(Self { machines, _folder: folder })
    }

    /// What the nodes must have in their environment, by name.
    pub(crate) fn environment(&self) -> Vec<(String, (String, String))> {
        let of = |(name, machine): &(String, OddMachine)| {
            machine.environment().map(|variable| (name.clone(), variable))
        };
        self.machines.iter().flat_map(of).collect()
    }

    /// This node's clock is so far ahead from now on, in seconds.
    pub(crate) fn set(&self, node: usize, ahead_s: i64) -> anyhow::Result<()> {
        self.machines[node].1.set(0, ahead_s)
    }

    /// How often any node looked at a clock that was wrong.
    pub(crate) fn felt(&self) -> anyhow::Result<i64> {
        self.machines.iter().map(|(_, machine)| machine.felt()).sum()
    }
}

fn build(folder: &Path) -> anyhow::Result<OddMachine> {
    std::fs::create_dir(folder)?;
    OddMachine::build(folder).context("there is no C compiler, and no other clock can be moved")
}
