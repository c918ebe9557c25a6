//! Who belongs to the cluster: the leader hands over, and masters are replaced by others.

use mesarch_testkit::wait_for;

use super::{Scene, Trouble, leading};

impl Scene<'_> {
    /// As an operator asks for it. It is asked for again while the one that is to lead lags: that passes.
    pub(crate) async fn transfer(&mut self, leader: usize) -> Result<String, Trouble> {
        self.members("the leader to hand over", &["transfer"]).await?;
        let next = leading(self.cluster, &[]).await?;
        Ok(format!("{} handed over, then {} led", self.name(leader), self.name(next)))
    }

    /// A master goes for good, and one with an empty disk and a new node id takes its place. If it lives it is
    /// removed first, and must end by itself; else it is lost with its machine.
    pub(crate) async fn replace(&mut self, master: usize, lives: bool) -> Result<String, Trouble> {
        let (old, number) = (self.name(master), self.cluster.node_id(master).to_string());
        if !lives {
            self.kill(master)?;
            leading(self.cluster, &[master]).await?;
        }
        self.note_end(&self.cluster.masters[master]);
        self.members(&format!("{old} to be removed"), &["remove", &number]).await?;
        if lives {
            let ended = async || self.cluster.masters[master].ended();
            let ended = wait_for(&format!("{old} to end, which was removed"), ended).await;
            ended.map_err(Trouble::Cluster)?;
        }
        self.kill(master)?;
        self.cluster.replace_master(master).map_err(Trouble::Harness)?;
        let (new, number) = (self.name(master), self.cluster.node_id(master).to_string());
        let member = self.cluster.member(master);
        self.members(&format!("{new} to be added"), &["add", &member]).await?;
        self.members(&format!("{new} to vote"), &["promote", &number]).await?;
        self.wait_until_whole().await?;
        let how = if lives { "was removed" } else { "was lost" };
        Ok(format!("{old} {how}, and {new} took its place"))
    }

    /// `mesarch members` with these words, again and again until it is done: what stands in the way passes.
    async fn members(&self, what: &str, words: &[&str]) -> Result<(), Trouble> {
        let (program, masters) = (self.cluster.program(), self.cluster.addresses().join(","));
        let mut said = String::new();
        let done = wait_for(what, async || {
            let mut command = tokio::process::Command::new(program);
            let ended =
                command.arg("members").args(words).args(["--master", &masters]).output().await.ok()?;
            said = String::from_utf8_lossy(&ended.stderr).into_owned();
            ended.status.success().then_some(())
        });
        let done = done.await;
        done.map_err(|error| Trouble::Cluster(error.context(said)))
    }
}
