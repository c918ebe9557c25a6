//! `mesarch debug replay`: the state as it was after an entry, and questions to it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use mesarch_consensus::{EntryContext, Envelope};
use mesarch_leader_core::{Config, Leader};
use mesarch_state::{Command, FEATURE_LEVEL_MAX, State, check, snapshot};
use mesarch_storage::codec::{EntryKind, payload_parts};
use mesarch_storage::types::{Entry, LogId, log_id};
use mesarch_storage::{Payload, StoppedDir};
use mesarch_types::{AgentId, FrameworkId};
use serde_json::json;

use super::{open, scratch, time};
use crate::commands::get::{self, What};
use crate::commands::operate::Output;
use crate::commands::{print, tell};
use crate::failure::usage;

/// Builds the state as it was after an entry, from the snapshot and the log, and answers a question about it
///
/// The entries go through the code that masters apply them with. Without --to, the state is the one after the last entry
/// that this master knew to be committed.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// What to tell of that state
    query: Query,
    /// The data directory of a stopped master, or a copy of it; nothing in it is changed
    #[arg(long, value_name = "FOLDER")]
    data_dir: PathBuf,
    /// The last entry to apply
    #[arg(long, value_name = "INDEX")]
    to: Option<u64>,
    /// digest and invariants: tell it of the state after each entry from this one on, a line each
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// explain: the framework's id
    #[arg(long, value_name = "ID", required_if_eq("query", "explain"))]
    framework: Option<String>,
    /// explain: only this agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// How to show it
    #[arg(long, short, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Query {
    /// Frameworks with their tasks and offers, agents and roles, as /frameworks, /slaves and /roles tell them; JSON
    State,
    /// As `mesarch get` shows them
    Agents,
    /// As `mesarch get` shows them
    Frameworks,
    /// As `mesarch get` shows them
    Tasks,
    /// As `mesarch get` shows them
    Offers,
    /// As `mesarch get` shows them
    Roles,
    /// Why a framework held no offer, as a leader with default flags that began just then would say
    Explain,
    /// The hash of all of it: equal on masters whose states are
    Digest,
    /// Whether what must hold of every state holds of it; exit status 1 if not
    Invariants,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.query != Query::Explain && (arguments.framework.is_some() || arguments.agent.is_some()) {
        return Err(usage("--framework and --agent are for explain only"));
    }
    if arguments.from.is_some() && !matches!(arguments.query, Query::Digest | Query::Invariants) {
        return Err(usage("--from is for digest and invariants only"));
    }
    if let (Some(from), Some(to)) = (arguments.from, arguments.to)
        && from > to
    {
        return Err(usage(format!("--from {from} is behind --to {to}")));
    }
    let dir = open(&arguments.data_dir)?;
    let until = arguments.to.map_or(Until::Committed, Until::Entry);
    let Some(from) = arguments.from else {
        return Past::build(&dir, until)?.answer(arguments);
    };
    let mut status = ExitCode::SUCCESS;
    let past = Past::walk(&dir, until, from, |past| {
        let told = past.answer(arguments)?;
        if told != ExitCode::SUCCESS {
            status = told;
        }
        Ok(())
    })?;
    ensure!(past.index >= from, "--from {from}: the last entry to apply is {}", past.index);
    Ok(status)
}

/// How far to apply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// To the last entry that this master knew to be committed.
    Committed,
    Entry(u64),
    /// To the end of the log.
    End,
}

/// A state and the entry it stands at.
pub(in crate::commands) struct Past {
    index: u64,
    /// The entry's term.
    term: u64,
    /// The last entry that this master knew to be committed.
    committed: u64,
    state: State,
}

impl Past {
    /// All that a stopped master has, committed or not.
    pub(in crate::commands) fn whole(dir: &StoppedDir) -> Result<Self> {
        Self::build(dir, Until::End)
    }

    /// How far it reaches, in words.
    pub(in crate::commands) fn reach(&self) -> String {
        let Self { index, term, committed, state } = self;
        let counts = state.counts();
        format!(
            "last entry {index} of term {term}, of which {committed} was known to be committed, at {}: {} agents, {} frameworks, \
             {} tasks",
            time::utc(state.wall().0),
            counts.agents,
            counts.frameworks,
            counts.tasks
        )
    }

    /// The entry after which the state stands.
    pub(in crate::commands) fn last(&self) -> LogId {
        log_id(self.term, self.index)
    }

    pub(in crate::commands) fn into_state(self) -> State {
        self.state
    }

    fn build(dir: &StoppedDir, until: Until) -> Result<Self> {
        let newest = if let Until::Entry(to) = until { to } else { u64::MAX };
        Self::walk(dir, until, newest, |_| Ok(()))
    }

    /// Shows each state from the one at `from` on to `look`, and returns the last one.
    fn walk(
        dir: &StoppedDir,
        until: Until,
        from: u64,
        mut look: impl FnMut(&Self) -> Result<()>,
    ) -> Result<Self> {
        let to = if let Until::Entry(to) = until { Some(to) } else { None };
        let mut past = Self::from_snapshot(dir, from)?;
        let scratch = scratch()?;
        let first = if past.index == 0 { 0 } else { past.index + 1 };
        let log = dir.log(first, scratch.path())?;
        let purged = log.purged().map_or(0, |purged| purged.index);
        let committed = log.committed().map_or(0, |committed| committed.index);
        if purged > past.index {
            let wanted = to.map_or(String::new(), |to| format!("--to {to}: "));
            bail!(
                "{wanted}the log begins at {}, and no sound snapshot at {purged} or later is there to begin with",
                purged + 1
            );
        }
        past.committed = committed.max(past.index);
        let to = if until == Until::End { u64::MAX } else { to.unwrap_or(past.committed) };
        if past.index >= from && past.index <= to {
            look(&past)?;
        }
        for entry in log {
            let entry = entry
                .context("the state cannot be built beyond what is damaged; --to names an earlier entry")?;
            if entry.log_id.index > to {
                break;
            }
            past.apply(&entry).with_context(|| format!("entry {}", entry.log_id.index))?;
            if past.index >= from {
                look(&past)?;
            }
        }
        ensure!(until == Until::End || past.index == to, "--to {to}: the log ends at {}", past.index);
        if until != Until::End && to > committed {
            tell(&format!(
                "entry {to}: this master knew only {committed} to be committed; what followed may have given way to others"
            ));
        }
        Ok(past)
    }

    /// The newest sound snapshot at or before `to`; the beginning of the log if there is none.
    fn from_snapshot(dir: &StoppedDir, to: u64) -> Result<Self> {
        let mut oldest = None;
        for found in dir.snapshots()?.into_iter().rev() {
            let file = match found {
                Ok(file) => file,
                Err(error) => {
                    tell(&format!("passed over: {error}"));
                    continue;
                }
            };
            let Some(covered) = file.meta().last_log_id else { continue };
            if covered.index > to {
                oldest = Some(covered.index);
                continue;
            }
            let path = file.path().display().to_string();
            let mut bytes = file.state().with_context(|| path.clone())?;
            let (index, term) = (covered.index, covered.leader_id.term);
            let state = snapshot::decode(&mut bytes).context(path)?;
            return Ok(Self { index, term, committed: 0, state });
        }
        if let Some(oldest) = oldest {
            tell(&format!(
                "the snapshot at {oldest} is newer than what is asked for; the log has to reach back to its beginning"
            ));
        }
        Ok(Self { index: 0, term: 0, committed: 0, state: State::new() })
    }

    fn apply(&mut self, entry: &Entry) -> Result<()> {
        let (kind, data) = payload_parts(&entry.payload);
        if kind == EntryKind::Commands {
            let envelope = Envelope::decode(Payload(data))?;
            let (index, term) = (entry.log_id.index, entry.log_id.leader_id.term);
            let context = EntryContext { index, term, stamp: envelope.stamp };
            for (position, bytes) in envelope.commands.iter().enumerate() {
                let command = Command::decode(bytes).with_context(|| format!("command {position}"))?;
                self.state.apply(context.at(position), command);
                let level = self.state.level();
                ensure!(
                    level <= FEATURE_LEVEL_MAX,
                    "it leads to feature level {level}, and this version knows {FEATURE_LEVEL_MAX}"
                );
            }
        }
        (self.index, self.term) = (entry.log_id.index, entry.log_id.leader_id.term);
        Ok(())
    }

    fn answer(&self, arguments: &Arguments) -> Result<ExitCode> {
        let output = arguments.output;
        let text = match arguments.query {
            Query::State => {
                format!("{}\n", serde_json::to_string_pretty(&mesarch_master::past(&self.state)?)?)
            }
            Query::Agents => self.table(What::Agents, output)?,
            Query::Frameworks => self.table(What::Frameworks, output)?,
            Query::Tasks => self.table(What::Tasks, output)?,
            Query::Offers => self.table(What::Offers, output)?,
            Query::Roles => self.table(What::Roles, output)?,
            Query::Explain => self.explain(arguments)?,
            Query::Digest => {
                let digest = format!("{:032x}", self.state.digest());
                match output {
                    Output::Table => format!("{} {digest}\n", self.index),
                    Output::Json => format!("{}\n", json!({ "index": self.index, "digest": digest })),
                }
            }
            Query::Invariants => return self.invariants(output),
        };
        print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn table(&self, what: What, output: Output) -> Result<String> {
        let rows = get::rows_of(what, &mut mesarch_master::past(&self.state)?)?;
        get::shown(what, output, &rows)
    }

    fn invariants(&self, output: Output) -> Result<ExitCode> {
        let violation = check(&self.state).err().map(|violation| violation.to_string());
        let holds = violation.is_none();
        print(&match output {
            Output::Json => format!("{}\n", json!({ "index": self.index, "violation": violation })),
            Output::Table => match &violation {
                None => format!("{} all hold\n", self.index),
                Some(violation) => format!("{} violated: {violation}\n", self.index),
            },
        })?;
        Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// A leader's allocator as it begins a term. Refusals of a few seconds are in no log, and so unknown to it.
    fn explain(&self, arguments: &Arguments) -> Result<String> {
        let framework = FrameworkId::from(arguments.framework.clone().unwrap_or_default());
        let agent = arguments.agent.clone().map(AgentId::from);
        let now = self.state.now();
        let (mut leader, _) = Leader::begin(Config::default(), &self.state, self.index, now);
        let why = leader.explain(&framework, agent.as_ref(), now);
        Ok(match arguments.output {
            Output::Table => why.iter().map(|why| format!("{why}\n")).collect(),
            Output::Json => format!("{}\n", serde_json::to_string_pretty(&why)?),
        })
    }
}
