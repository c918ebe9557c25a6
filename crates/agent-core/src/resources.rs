//! What operators and frameworks made of the agent's resources: stored, made real, and confirmed.
//!
//! The masters' log decides, and a leader that may be obeyed at all tells what it says: whatever differs from what is
//! stored takes its place. Links are in order and a fence keeps former leaders out, so nothing told is older than what is
//! stored, unless the cluster was restored from an older copy.

use mesarch_types::{Resource, Resources};

use crate::{Agent, Output, Record, ResourceFacts, ToMaster, agent::Out};

impl Agent {
    /// Stores what is told if it is new, and confirms it either way. Volumes follow before anything that comes later.
    pub(crate) fn store_resources(&mut self, out: &mut Out, told: ResourceFacts) {
        let version = told.version;
        if version != self.durable.resources.version {
            let gone = self.volumes_gone(&told);
            self.commit(out, Record::Resources(ResourceFacts { gone, ..told }));
            self.align_volumes(out);
        }
        out.master(ToMaster::ResourcesStored(version));
    }

    /// The volumes that this ends. A cluster that was restored may not know what it had created: the content of volumes of
    /// which it says nothing stays on disk, where it can be found.
    fn volumes_gone(&self, told: &ResourceFacts) -> Resources {
        let before = &self.durable.resources;
        if before.version.incarnation != told.version.incarnation {
            return Resources::default();
        }
        let kept = |volume: &Resource| told.made.iter().any(|other| is_same_volume(volume, other));
        before.made.filter(|resource| resource.is_persistent() && !kept(resource))
    }

    /// Whatever was stored is made real again: a crash may have come between.
    pub(crate) fn align_volumes(&self, out: &mut Out) {
        let ResourceFacts { version, made, gone, .. } = self.durable.resources.clone();
        if made.iter().any(Resource::is_persistent) || !gone.is_empty() {
            out.outputs.push(Output::Volumes { version, made, gone });
        }
    }

    /// Whether what a task uses of converted resources is there. An agent that was never told anything is one of a cluster
    /// that keeps it to itself.
    pub(crate) fn has_converted(&self, wanted: &Resources) -> bool {
        let known = &self.durable.resources;
        known.version == Default::default() || known.made.contains(wanted)
    }
}

/// Whatever its size: volumes are named by role and id, on one disk.
fn is_same_volume(one: &Resource, other: &Resource) -> bool {
    let name = |volume: &Resource| {
        let disk = volume.disk.as_ref()?;
        let (source, source_id) = (disk.source, disk.source_id.clone());
        Some((volume.reserved_role()?.clone(), disk.persistence_id.clone()?, source, source_id))
    };
    name(one).is_some() && name(one) == name(other)
}
