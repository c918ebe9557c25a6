//! Raises the cluster's feature level once every member knows a higher one.
//!
//! The members are asked, all of them in one round, while the cluster is below what this master knows; afterwards there is
//! nothing to ask. One that does not answer, or is of a version that cannot be asked, keeps the level where it is. Whoever
//! starts as an older version later stops with a message that names both levels.

use std::time::Duration;

use mesarch_leader_core::next_level;
use mesarch_state::{Command, Outcome, command::SetLevel};

use super::{Deps, Session};

/// Between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Does so for as long as the term lasts; never returns.
pub(super) async fn rise(deps: &Deps, session: &Session) {
    let mut told = None;
    loop {
        let now = deps.outlets.newest().state.level();
        if now >= deps.feature_level {
            std::future::pending::<()>().await;
        }
        let known = deps.consensus.known_levels().await;
        match next_level(now, known.values().copied()) {
            Some(level) => set(session, level).await,
            None if told.as_ref() != Some(&known) => {
                tracing::info!(
                    level = now,
                    highest = deps.feature_level,
                    ?known,
                    "the feature level stays: it rises once every master answers and knows a higher one"
                );
                told = Some(known);
            }
            None => {}
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// If it is lost, the next round asks and proposes again: a second one would be refused.
async fn set(session: &Session, level: u32) {
    let placed = match session.place(&Command::SetLevel(SetLevel { level })).await {
        Ok(placed) => placed,
        Err(error) => return tracing::debug!(level, %error, "the feature level found no place"),
    };
    match placed.resolved().await.map(|answer| answer.outcome) {
        Ok(Outcome::Done) => tracing::info!(level, "every master knows it: the feature level rises"),
        other => tracing::debug!(level, ?other, "the feature level did not rise"),
    }
}
