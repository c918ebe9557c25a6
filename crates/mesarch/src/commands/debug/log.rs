//! `mesarch debug log`: the entries of a stopped master's log, a line per command.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use mesarch_consensus::Envelope;
use mesarch_state::Command;
use mesarch_storage::codec::{EntryKind, from_bytes, payload_parts};
use mesarch_storage::types::{Entry, Membership};
use mesarch_storage::{Payload, StoppedDir, StoredLog};
use serde_json::{Value, json};

use super::readable::{Readable, Vocabulary};
use super::{open, scratch, time};
use crate::commands::operate::Output;
use crate::commands::tell;
use crate::failure::usage;

/// Prints the log of a stopped master, a line per command: place in the log, term, time, name, whom it is about
///
/// Entries that are damaged or missing are told on standard error, where they are; then the exit status is 1. JSON comes
/// as an object per line, with all of the command.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The data directory of a stopped master, or a copy of it; nothing in it is changed
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The first entry [default: the first that is there]
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// The last entry [default: the last that is there]
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// How to show it
    #[arg(long, short, default_value = "table")]
    output: Output,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (from, to) = (arguments.from.unwrap_or(0), arguments.to.unwrap_or(u64::MAX));
    if from > to {
        return Err(usage(format!("--from {from} is behind --to {to}")));
    }
    let dir = open(&arguments.data_dir)?;
    let scratch = scratch()?;
    let log = dir.log(from, scratch.path())?;
    tell_where_it_begins(&dir, &log, from)?;
    let out = BufWriter::new(io::stdout().lock());
    let mut listing =
        Listing { out, output: arguments.output, vocabulary: Vocabulary::new()?, damaged: false };
    match listing.all(log, to) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        listed => listed.context("cannot write to standard output")?,
    }
    Ok(if listing.damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What was asked for and is not in the log any more.
fn tell_where_it_begins(dir: &StoppedDir, log: &StoredLog, from: u64) -> Result<()> {
    let Some(purged) = log.purged().filter(|purged| from <= purged.index) else { return Ok(()) };
    let covered = dir.snapshots()?.into_iter().rev().find_map(|snapshot| snapshot.ok()?.meta().last_log_id);
    let older = match covered {
        Some(covered) => format!("older entries are in the snapshot at {}", covered.index),
        None => "older entries were in a snapshot, and no sound one is there".to_owned(),
    };
    tell(&format!("the log begins at {}; {older}", purged.index + 1));
    Ok(())
}

struct Listing<W> {
    out: W,
    output: Output,
    vocabulary: Vocabulary,
    damaged: bool,
}

impl<W: Write> Listing<W> {
    fn all(&mut self, log: StoredLog, to: u64) -> io::Result<()> {
        let committed = log.committed().map_or(0, |committed| committed.index);
        let mut uncommitted = None;
        for item in log {
            match item {
                Ok(entry) if entry.log_id.index > to => break,
                Ok(entry) => {
                    let index = entry.log_id.index;
                    if index > committed {
                        uncommitted.get_or_insert(index);
                    }
                    self.entry(&entry)?;
                }
                Err(error) => self.damage(&anyhow::Error::from(error)),
            }
        }
        self.out.flush()?;
        if let Some(first) = uncommitted {
            tell(&format!(
                "from {first} on: this master did not know yet whether these entries were committed; compare with the others' logs"
            ));
        }
        Ok(())
    }

    fn damage(&mut self, error: &anyhow::Error) {
        self.damaged = true;
        // In its place among the lines, should both go to one terminal.
        let _ = self.out.flush();
        tell(&format!("{error:#}"));
    }

    fn entry(&mut self, entry: &Entry) -> io::Result<()> {
        let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
        let (kind, data) = payload_parts(&entry.payload);
        let whole = match kind {
            EntryKind::Blank => return self.plain(index, term, "Blank", &json!({})),
            EntryKind::Membership => match from_bytes::<Membership>(&data, "membership") {
                Ok(members) => {
                    let voters: Vec<u64> = members.voter_ids().collect();
                    let learners: Vec<u64> = members.learner_ids().collect();
                    return self.plain(
                        index,
                        term,
                        "Membership",
                        &json!({ "voters": voters, "learners": learners }),
                    );
                }
                Err(error) => Err(anyhow::Error::from(error)),
            },
            EntryKind::Commands => Envelope::decode(Payload(data)).map_err(anyhow::Error::from),
        };
        match whole {
            Ok(envelope) => self.commands(index, term, &envelope),
            Err(error) => {
                self.damage(&error.context(format!("entry {index}")));
                Ok(())
            }
        }
    }

    /// An entry of Raft's own.
    fn plain(&mut self, index: u64, term: u64, name: &str, fields: &Value) -> io::Result<()> {
        match self.output {
            Output::Json => {
                let line = json!({ "index": index, "term": term, "entry": name, "fields": fields });
                writeln!(self.out, "{line}")
            }
            Output::Table => {
                let fields = if fields["voters"].is_array() { fields.to_string() } else { String::new() };
                writeln!(self.out, "{}", line(index, term, None, name, &fields))
            }
        }
    }

    fn commands(&mut self, index: u64, term: u64, envelope: &Envelope) -> io::Result<()> {
        for (position, bytes) in envelope.commands.iter().enumerate() {
            // What the machine does not take is damage, whatever can be shown of it.
            let sound = Command::decode(bytes).map_err(anyhow::Error::from);
            match sound.and_then(|_| self.vocabulary.read(bytes)) {
                Ok(command) => self.command(index, term, envelope, position, &command)?,
                Err(error) => self.damage(&error.context(format!("entry {index}, command {position}"))),
            }
        }
        Ok(())
    }

    fn command(
        &mut self,
        index: u64,
        term: u64,
        envelope: &Envelope,
        position: usize,
        command: &Readable,
    ) -> io::Result<()> {
        let stamp = envelope.stamp;
        match self.output {
            Output::Table => {
                let times = Some((stamp.wall_ms, stamp.cluster_ms));
                writeln!(self.out, "{}", line(index, term, times, &command.name, &command.subjects()))
            }
            Output::Json => {
                let whole = json!({
                    "index": index, "position": position, "term": term, "proposer": envelope.origin.node,
                    "wall_ms": stamp.wall_ms, "wall": time::utc(stamp.wall_ms), "cluster_ms": stamp.cluster_ms,
                    "command": command.name, "fields": self.vocabulary.json(command),
                });
                writeln!(self.out, "{whole}")
            }
        }
    }
}

/// Columns of a width that need not be known before; cluster time in seconds.
fn line(index: u64, term: u64, times: Option<(u64, u64)>, name: &str, subjects: &str) -> String {
    let (wall, cluster) = match times {
        Some((wall, cluster)) => (time::utc(wall), format!("{}.{:03}s", cluster / 1000, cluster % 1000)),
        None => ("-".to_owned(), "-".to_owned()),
    };
    format!("{index:>8}  {term:>4}  {wall:<24}  {cluster:>12}  {name:<20}  {subjects}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_place_term_times_name_and_whom() {
        let check =
            |times, subjects, expect: &str| assert_eq!(line(7, 2, times, "SetLevel", subjects), expect);
        check(
            Some((951_868_799_999, 61_005)),
            "level=3",
            "       7     2  2000-02-29T23:59:59.999Z       61.005s  SetLevel              level=3",
        );
        check(None, "", "       7     2  -                                    -  SetLevel");
    }
}
