//! `mesarch members`: who belongs to the cluster of masters, and its changes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use mesarch_proto::admin::{
    AddMemberRequest, Member, MemberHealth, MembersReply, MembersRequest, PromoteMemberRequest,
    RemoveMemberRequest, TransferLeaderRequest,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::commands::operate::{Output, Target, ask, ask_anyone, table};
use crate::commands::{command_logs, command_runtime, print, tell};
use crate::duration::Span;
use crate::failure::usage;

const EXAMPLES: &str = "\
Examples:
  mesarch members list                              who votes, who leads, who is healthy, who lags
  mesarch members add 4=10.0.0.4:5052/5050          a master that was started with --node-id 4 and an empty folder
  mesarch members promote 4                         once it has caught up, let it vote
  mesarch members remove 2                          for ever: its number is not used again
  mesarch members transfer --to 3                   another master is to lead

What would cost the quorum is refused, and the answer names the rule. A master that lost its disk comes back under a new
number: add and promote the new one, then remove the old one.";

/// Between two looks at a master that catches up.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two words about it.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// For so long it has to be healthy.
const HEALTHY_FOR_MS: u64 = 1_000;

/// Shows and changes the members of the cluster of masters
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(clap::Subcommand)]
enum What {
    /// All members, as the leader sees them; without a leader, as any master knows them
    List {
        /// How to show it
        #[arg(long, short, default_value = "table")]
        output: Output,
    },
    /// Adds a running master that waits for it, as a learner: it gets the log and does not vote; returns once it has caught up
    Add {
        /// number=host:raftport/clientport
        #[arg(id = "new", value_name = "MASTER")]
        master: String,
        /// How long to wait for it to catch up
        #[arg(long, default_value_t = Span::from_ms(600_000), value_name = "TIME")]
        timeout: Span,
    },
    /// Lets a learner vote that has caught up
    Promote {
        /// Its number
        node: u64,
    },
    /// Removes a master for ever; one that leads hands over first
    Remove {
        /// Its number
        node: u64,
    },
    /// Has the leader hand over
    Transfer {
        /// To whom; without it the leader chooses
        #[arg(long, value_name = "NUMBER")]
        to: Option<u64>,
    },
}

pub(crate) fn run(arguments: Arguments, log: Option<&str>) -> Result<ExitCode> {
    command_logs(log)?;
    command_runtime()?.block_on(async {
        let target = &arguments.target;
        match &arguments.what {
            What::List { output } => list(target, *output).await,
            What::Add { master, timeout } => add(target, master, *timeout).await,
            What::Promote { node } => promote(target, *node).await,
            What::Remove { node } => remove(target, *node).await,
            What::Transfer { to } => transfer(target, *to).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(target: &Target, output: Output) -> Result<()> {
    let reply = match members(target).await {
        Ok(reply) => reply,
        Err(error) => {
            let reply = ask_anyone(target, async |mut client| client.members(MembersRequest {}).await).await;
            let Ok(reply) = reply else { return Err(error) };
            tell(&format!("{error:#}; this is what one master knows"));
            reply
        }
    };
    print(&shown(&reply, output)?)
}

async fn members(target: &Target) -> Result<MembersReply> {
    ask(target, async |mut client| client.members(MembersRequest {}).await).await
}

async fn add(target: &Target, text: &str, timeout: Span) -> Result<()> {
    let member = parse(text)?;
    let node = member.node;
    let request = AddMemberRequest { member: Some(member) };
    ask(target, async |mut client| client.add_member(request.clone()).await).await?;
    let deadline = Instant::now() + Duration::from_millis(timeout.as_ms());
    let mut tell_at = Instant::now() + TELL_EVERY;
    loop {
        let progress = progress(target, node).await;
        if progress == Progress::CaughtUp {
            return print(&format!(
                "master {node} is a learner and has caught up; next: mesarch members promote {node}\n"
            ));
        }
        if Instant::now() >= deadline {
            bail!("master {node} is a learner and {progress}; it goes on to catch up: mesarch members list");
        }
        if Instant::now() >= tell_at {
            tell(&format!("master {node} {progress}"));
            tell_at = Instant::now() + TELL_EVERY;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// How far a new member has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    CaughtUp,
    Lags(u64),
    Unknown(String),
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CaughtUp => f.write_str("has caught up"),
            Self::Lags(lag) => write!(f, "lags by {lag} entries"),
            Self::Unknown(why) => write!(f, "is not known to have caught up: {why}"),
        }
    }
}

async fn progress(target: &Target, node: u64) -> Progress {
    match members(target).await {
        Ok(reply) => progress_in(&reply, node),
        Err(error) => Progress::Unknown(format!("{error:#}")),
    }
}

fn progress_in(reply: &MembersReply, node: u64) -> Progress {
    let named = |it: &&MemberHealth| it.member.as_ref().is_some_and(|member| member.node == node);
    match reply.members.iter().find(named) {
        Some(it) if it.healthy == Some(true) && it.healthy_ms >= HEALTHY_FOR_MS => Progress::CaughtUp,
        Some(MemberHealth { lag: Some(lag), silent_ms: Some(_), .. }) => Progress::Lags(*lag),
        Some(_) => Progress::Unknown("it has not answered the leader yet".to_owned()),
        None => Progress::Unknown("the leader does not count it among the members".to_owned()),
    }
}

async fn promote(target: &Target, node: u64) -> Result<()> {
    ask(target, async |mut client| client.promote_member(PromoteMemberRequest { node }).await).await?;
    print(&format!("master {node} votes\n"))
}

async fn remove(target: &Target, node: u64) -> Result<()> {
    ask(target, async |mut client| client.remove_member(RemoveMemberRequest { node }).await).await?;
    print(&format!(
        "master {node} is removed; if it runs it stops within seconds, and its data directory is of no more use\n"
    ))
}

async fn transfer(target: &Target, to: Option<u64>) -> Result<()> {
    let request = TransferLeaderRequest { to: to.unwrap_or(0) };
    ask(target, async |mut client| client.transfer_leader(request).await).await?;
    let leader = members(target).await?.leader;
    print(&format!("master {leader} leads\n"))
}

/// `number=host:raftport/clientport`.
pub(super) fn parse(text: &str) -> Result<Member> {
    let mut masters = super::master::parse_masters(text, "master")?.into_iter();
    match (masters.next(), masters.next()) {
        (Some((node, address)), None) if node > 0 => {
            Ok(Member { node, raft: address.raft, client: address.client, voter: false })
        }
        _ => Err(usage(format!(
            "master: {text:?} is not one number=host:raftport/clientport, the number above zero"
        ))),
    }
}

fn role(reply: &MembersReply, member: &Member) -> &'static str {
    match member.voter {
        _ if reply.leader == member.node => "leader",
        true => "voter",
        false => "learner",
    }
}

fn shown(reply: &MembersReply, output: Output) -> Result<String> {
    let known = reply.members.iter().filter_map(|it| Some((it, it.member.as_ref()?)));
    if matches!(output, Output::Json) {
        let rows: Vec<Value> = known.map(|(it, member)| row(reply, it, member)).collect();
        let all = json!({
            "term": reply.term, "leader": (reply.leader > 0).then_some(reply.leader), "changing": reply.changing,
            "failures_tolerated": reply.failures_tolerated, "members": rows,
        });
        return Ok(format!("{}\n", serde_json::to_string_pretty(&all)?));
    }
    let text = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let ms = |number: Option<u64>| {
        number.map_or_else(|| "-".to_owned(), |ms| format!("{}.{}s", ms / 1000, ms % 1000 / 100))
    };
    let rows = known.map(|(it, member)| {
        let healthy = it.healthy.map_or("-", |healthy| if healthy { "yes" } else { "no" });
        let since = it.healthy.map(|_| it.healthy_ms);
        vec![
            member.node.to_string(),
            role(reply, member).to_owned(),
            healthy.to_owned(),
            ms(since),
            ms(it.silent_ms),
            text(it.lag),
            member.client.clone(),
            member.raft.clone(),
        ]
    });
    let titles = ["NODE", "ROLE", "HEALTHY", "FOR", "CONTACT", "LAG", "CLIENT", "RAFT"];
    let mut shown = table(&titles, &[0, 3, 4, 5], &rows.collect::<Vec<_>>());
    if reply.changing {
        shown += "A change of members is not finished; the leader finishes it, or the same command again.\n";
    }
    if let Some(tolerated) = reply.failures_tolerated {
        shown += &format!("{tolerated} more may fail.\n");
    }
    Ok(shown)
}

fn row(reply: &MembersReply, it: &MemberHealth, member: &Member) -> Value {
    json!({
        "node": member.node, "role": role(reply, member), "client": member.client, "raft": member.raft,
        "healthy": it.healthy, "healthy_ms": it.healthy.map(|_| it.healthy_ms), "silent_ms": it.silent_ms,
        "lag_entries": it.lag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u64, voter: bool) -> Option<Member> {
        Some(Member { node, raft: format!("m{node}:2"), client: format!("m{node}:1"), voter })
    }

    #[test]
    fn a_master_is_a_number_with_two_addresses() {
        let found = parse("4=10.0.0.4:5052/5050").unwrap();
        assert_eq!((found.node, &*found.raft, &*found.client), (4, "10.0.0.4:5052", "10.0.0.4:5050"));
        for wrong in ["", "4", "0=h:1/2", "4=h:1/2,5=h:3/4", "4=h:1"] {
            assert!(parse(wrong).unwrap_err().to_string().starts_with("master: "), "{wrong}");
        }
    }

    #[test]
    fn a_learner_has_caught_up_once_it_was_healthy_for_a_while() {
        let of = |healthy, healthy_ms, silent_ms, lag| {
            let it = MemberHealth { member: member(4, false), healthy, healthy_ms, silent_ms, lag };
            progress_in(&MembersReply { members: vec![it], ..MembersReply::default() }, 4)
        };
        assert_eq!(of(Some(true), 1_000, Some(1), Some(0)), Progress::CaughtUp);
        assert_eq!(of(Some(true), 999, Some(1), Some(3)), Progress::Lags(3));
        assert_eq!(of(Some(false), 9_000, Some(1), Some(7_000)), Progress::Lags(7_000));
        assert!(matches!(of(Some(false), 9_000, None, None), Progress::Unknown(_)));
        assert!(matches!(progress_in(&MembersReply::default(), 4), Progress::Unknown(_)));
    }

    #[test]
    fn members_are_shown_with_their_health_or_without() {
        let well = MemberHealth {
            member: member(1, true),
            healthy: Some(true),
            healthy_ms: 61_250,
            silent_ms: Some(0),
            lag: Some(0),
        };
        let unknown = MemberHealth { member: member(2, false), ..MemberHealth::default() };
        let reply = MembersReply {
            members: vec![well, unknown],
            term: 3,
            leader: 1,
            failures_tolerated: Some(0),
            ..MembersReply::default()
        };
        let text = shown(&reply, Output::Table).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["1", "leader", "yes", "61.2s", "0.0s", "0", "m1:1", "m1:2"]);
        assert_eq!(lines[2], ["2", "learner", "-", "-", "-", "-", "m2:1", "m2:2"]);
        assert_eq!(lines[3].join(" "), "0 more may fail.");
        let json: Value = serde_json::from_str(&shown(&reply, Output::Json).unwrap()).unwrap();
        assert_eq!(
            (&json["members"][0]["role"], &json["members"][1]["healthy"]),
            (&json!("leader"), &Value::Null)
        );
    }
}
