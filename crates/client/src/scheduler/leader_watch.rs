//! Who leads, as another master than the leader tells: a leader whose machine died closes no connection.

use std::time::Duration;

use mesarch_proto::link::WatchLeaderRequest;
use mesarch_proto::link::agent_link_client::AgentLinkClient;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tonic::transport::Endpoint;

use crate::backoff::Backoff;
use crate::http::CONNECT_MAX;

/// A watched master is asked for a sign of life this often, and given as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// How long it may take to take the request, and then to say what it knows.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// The longest pause between two tries to watch.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What a master said about who leads; nobody if `leader` is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) term: u64,
    /// `host:port`, as the leader advertises itself.
    pub(super) leader: String,
    /// `host:port` of all members, as that master knows them; empty if it does not tell.
    pub(super) masters: Vec<String>,
}

impl Report {
    /// Whether it tells of a later term, of the leader of a term that was still electing one, or of other members.
    fn says_more_than(&self, known: &Self) -> bool {
        let names_it = known.leader.is_empty() && !self.leader.is_empty();
        let lists_others =
            self.term == known.term && self.masters != known.masters && !self.masters.is_empty();
        self.term > known.term
            || (self.term == known.term && names_it)
            || (lists_others && self.leader == known.leader)
    }

    /// The leader to move to, for who follows one that goes by `names` and has moved for `term_heeded` already. A term
    /// is heeded once, and only when its leader is known: a term begins with nobody leading.
    pub(super) fn heed(&self, names: &[String], term_heeded: &mut u64) -> Option<&str> {
        if self.leader.is_empty() || self.term <= *term_heeded {
            return None;
        }
        *term_heeded = self.term;
        (!names.contains(&self.leader)).then_some(&self.leader)
    }
}

/// The newest report, kept up to date in the background until dropped.
#[derive(Debug)]
pub(super) struct LeaderWatch {
    pub(super) reports: watch::Receiver<Report>,
    task: JoinHandle<()>,
}

impl Drop for LeaderWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LeaderWatch {
    /// Watches one of these masters, another one when it breaks off or leads itself. Alone, a master is not watched.
    pub(super) fn start(masters: Vec<String>) -> Self {
        let (sender, reports) = watch::channel(Report::default());
        Self { reports, task: tokio::spawn(run(masters, sender)) }
    }
}

async fn run(masters: Vec<String>, reports: watch::Sender<Report>) {
    let mut backoff = Backoff::up_to(PAUSE_MAX);
    // Wherever this process starts, so that frameworks spread over the masters.
    let mut turn: usize = rand::random_range(0..masters.len().max(1));
    loop {
        let known = known(&masters, &reports.borrow());
        if known.len() < 2 {
            break;
        }
        turn = (turn + 1) % known.len();
        let master = &known[turn];
        match follow(master, &reports, &mut backoff).await {
            Ok(()) => {}
            // Masters of another make have no such service; heartbeats must do.
            Err(error) if error.code() == tonic::Code::Unimplemented => break,
            Err(error) => tracing::debug!(%master, %error, "the watch on the leader broke"),
        }
        sleep(backoff.next()).await;
    }
    // The session waits for reports: the sender must live as long as it does.
    reports.closed().await;
}

/// The masters that were given, and the members that are not among them.
pub(super) fn known(given: &[String], report: &Report) -> Vec<String> {
    let others = report.masters.iter().filter(|master| !given.contains(master));
    given.iter().chain(others).cloned().collect()
}

/// Hands on what `master` reports, until it breaks off or leads itself.
async fn follow(
    master: &str,
    reports: &watch::Sender<Report>,
    backoff: &mut Backoff,
) -> Result<(), tonic::Status> {
    let endpoint = Endpoint::from_shared(format!("http://{master}"))
        .map_err(|error| tonic::Status::internal(error.to_string()))?
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let channel = endpoint.connect().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let late = |_| tonic::Status::deadline_exceeded("it does not say who leads");
    let mut client = AgentLinkClient::new(channel);
    let asked = timeout(ANSWER_WITHIN, client.watch_leader(WatchLeaderRequest {}));
    let mut changes = asked.await.map_err(late)??.into_inner();
    // It says at once what it knows, and then whatever changes, which may take for ever: signs of life bound that.
    let mut next = timeout(ANSWER_WITHIN, changes.message()).await.map_err(late)??;
    while let Some(change) = next {
        backoff.reset();
        let here = change.here;
        let report = Report { term: change.term, leader: change.leader, masters: change.masters };
        reports.send_if_modified(|newest| {
            let news = report.says_more_than(newest);
            if news {
                *newest = report;
            }
            news
        });
        if here {
            return Ok(());
        }
        next = changes.message().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(term: u64, leader: &str) -> Report {
        Report { term, leader: leader.to_owned(), masters: Vec::new() }
    }

    #[test]
    fn the_leader_of_a_term_is_news_after_the_term_itself() {
        for (known, told, news) in [
            ((1, "a"), (2, ""), true),
            ((2, ""), (2, "b"), true),
            ((2, "b"), (2, ""), false),
            ((2, "b"), (2, "b"), false),
            ((2, "b"), (1, "a"), false),
            ((2, ""), (2, ""), false),
        ] {
            let (known, told) = (report(known.0, known.1), report(told.0, told.1));
            assert_eq!(told.says_more_than(&known), news, "{told:?} after {known:?}");
        }
    }

    #[test]
    fn members_are_known_beside_those_that_were_given() {
        let given = ["a".to_owned(), "b".to_owned()];
        let before = report(3, "a");
        let told = Report { masters: vec!["b".to_owned(), "c".to_owned()], ..report(3, "a") };
        assert!(told.says_more_than(&before) && !told.says_more_than(&told) && !before.says_more_than(&told));
        assert!(!Report { masters: vec!["x".to_owned()], ..report(2, "a") }.says_more_than(&before));
        assert_eq!(known(&given, &before), given);
        assert_eq!(known(&given, &told), ["a", "b", "c"]);
    }

    #[test]
    fn a_term_that_still_elects_does_not_hide_its_leader() {
        let names = ["a".to_owned()];
        let mut heeded = 1;
        for (told, expect) in [
            ((1, "b"), None),
            ((2, ""), None),
            ((2, "b"), Some("b")),
            // The same leader by another name ends one stream at most.
            ((2, "c"), None),
            ((3, "a"), None),
        ] {
            let told = report(told.0, told.1);
            assert_eq!(told.heed(&names, &mut heeded), expect, "{told:?}");
        }
        assert_eq!(heeded, 3);
    }
}
