//! `mesarch snapshot`: backups of the masters' state, what is in them, and a cluster that begins from one.

mod restore;
mod save;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use mesarch_state::{State, snapshot};
use mesarch_storage::SnapshotFile;
use serde_json::{Value, json};

use crate::commands::debug;
use crate::commands::operate::Output;
use crate::commands::{command_logs, print, tell};

const EXAMPLES: &str = "\
Examples:
  mesarch snapshot save mesarch-2026-01-31.snapshot
  mesarch snapshot inspect --data-dir /var/lib/mesarch      those of a stopped master
  mesarch snapshot inspect FILE -o json";

/// Saves, looks into and restores snapshots of the masters' state
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Save(save::Arguments),
    Restore(restore::Arguments),
    /// Checks a snapshot's checksum and tells what it covers and how much is in it; exit status 1 if one is damaged
    Inspect {
        /// A snapshot file
        #[arg(required_unless_present = "data_dir", conflicts_with = "data_dir")]
        file: Option<PathBuf>,
        /// All snapshots of a stopped master, or of a copy of its data directory
        #[arg(long, value_name = "FOLDER")]
        data_dir: Option<PathBuf>,
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    match arguments.what {
        What::Inspect { file, data_dir, output } => inspect_all(file, data_dir, output),
        What::Save(arguments) => save::run(&arguments),
        What::Restore(arguments) => restore::run(&arguments),
    }
}

fn inspect_all(file: Option<PathBuf>, data_dir: Option<PathBuf>, output: Output) -> Result<ExitCode> {
    let files = match (&file, &data_dir) {
        (Some(file), _) => vec![SnapshotFile::read(file)],
        (None, Some(dir)) => debug::open(dir)?.snapshots()?,
        (None, None) => Vec::new(),
    };
    if files.is_empty() {
        tell("there is no snapshot yet");
    }
    let mut sound = true;
    for file in files {
        match file.map_err(anyhow::Error::from).and_then(|file| inspect(&file)) {
            Ok(facts) => print(&shown(&facts, output)?)?,
            Err(error) => {
                sound = false;
                tell(&format!("{error:#}"));
            }
        }
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// In the order in which they are shown. Whoever has come here has a good checksum.
fn inspect(file: &SnapshotFile) -> Result<Vec<(&'static str, Value)>> {
    let path = file.path();
    let state = decode(file).with_context(|| path.display().to_string())?;
    let covered = file.meta().last_log_id;
    let members = file.meta().last_membership.membership();
    let counts = state.counts();
    Ok(vec![
        ("file", json!(path)),
        ("bytes", json!(file.bytes())),
        ("checksum", json!("good")),
        ("index", json!(covered.map(|covered| covered.index))),
        ("term", json!(covered.map(|covered| covered.leader_id.term))),
        ("cluster", json!(state.cluster().map(|cluster| cluster.to_string()))),
        ("incarnation", json!(state.incarnation())),
        ("feature_level", json!(state.level())),
        ("voters", json!(members.voter_ids().collect::<Vec<u64>>())),
        ("digest", json!(format!("{:032x}", state.digest()))),
        ("agents", json!(counts.agents)),
        ("unreachable_agents", json!(counts.unreachable_agents)),
        ("gone_agents", json!(counts.gone_agents)),
        ("frameworks", json!(counts.frameworks)),
        ("removed_frameworks", json!(counts.removed_frameworks)),
        ("tasks", json!(counts.tasks)),
        ("executors", json!(counts.executors)),
        ("offers", json!(counts.offers)),
        ("operations", json!(state.operations().count())),
        ("filters", json!(counts.filters)),
    ])
}

pub(super) fn decode(file: &SnapshotFile) -> Result<State> {
    Ok(snapshot::decode(&mut file.state()?)?)
}

fn shown(facts: &[(&'static str, Value)], output: Output) -> Result<String> {
    Ok(match output {
        Output::Json => {
            let object: serde_json::Map<_, _> =
                facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            format!("{}\n", serde_json::to_string_pretty(&object)?)
        }
        Output::Table => {
            let line = |(name, value): &(&str, Value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!("{:<20}{text}\n", name.replace('_', " "))
            };
            facts.iter().map(line).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_one_to_a_line_or_in_one_object() {
        let facts = [("index", json!(7)), ("feature_level", json!(3)), ("cluster", Value::Null)];
        let lines = shown(&facts, Output::Table).unwrap();
        assert_eq!(lines, "index               7\nfeature level       3\ncluster             null\n");
        let object: Value = serde_json::from_str(&shown(&facts, Output::Json).unwrap()).unwrap();
        assert_eq!(object["feature_level"], 3);
    }
}
