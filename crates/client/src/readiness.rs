//! Whether a whole cluster is there: what whoever starts one waits for.

use serde_json::Value;

use crate::error::OperatorError;
use crate::operator::{Reply, get};

/// What is still missing.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// No master was named.
    #[error("no master was named")]
    NoMasters,
    /// A node does not answer.
    #[error(transparent)]
    Silent(#[from] OperatorError),
    /// A master does not know who leads.
    #[error("{master} names no leader")]
    NoLeader {
        /// Its address.
        master: String,
    },
    /// Two masters do not agree.
    #[error("{master} says that {leader} leads, others say {other}")]
    Disagree {
        /// Who was asked last.
        master: String,
        /// Whom it names.
        leader: String,
        /// Whom those before it named.
        other: String,
    },
    /// The leader does not serve yet.
    #[error("{leader} leads and does not serve yet")]
    NotServing {
        /// Its address.
        leader: String,
    },
    /// An agent has no link to the leader, or the leader does not count it as active.
    #[error("the agent at {agent} is not attached")]
    NotAttached {
        /// Its address.
        agent: String,
    },
}

/// Agents that the leader counts as active, in a `/state`.
pub fn active_agents(state: &Value) -> usize {
    let agents = state["slaves"].as_array().into_iter().flatten();
    agents.filter(|agent| agent["active"] == true).count()
}

/// Looks once: every one of `masters` answers and names the same leader, that leader serves, and each of `agents` says
/// that it is attached and is active at the leader. All are `host:port`. Returns the leader's address.
pub async fn look(masters: &[String], agents: &[String]) -> Result<String, NotReady> {
    let leader = agreed_leader(masters).await?;
    let state = json(&get(&leader, "/state").await?);
    let Some(state) = state else {
        return Err(NotReady::NotServing { leader });
    };
    for agent in agents {
        let told = json(&get(agent, "/state").await?);
        if !told.is_some_and(|told| is_attached(&told, &state)) {
            return Err(NotReady::NotAttached { agent: agent.clone() });
        }
    }
    Ok(leader)
}

async fn agreed_leader(masters: &[String]) -> Result<String, NotReady> {
    let mut agreed: Option<String> = None;
    for master in masters {
        let named = get(master, "/redirect").await?.redirect;
        let leader = named.ok_or_else(|| NotReady::NoLeader { master: master.clone() })?;
        match agreed {
            Some(other) if other != leader => {
                return Err(NotReady::Disagree { master: master.clone(), leader, other });
            }
            _ => agreed = Some(leader),
        }
    }
    agreed.ok_or(NotReady::NoMasters)
}

fn json(reply: &Reply) -> Option<Value> {
    if reply.status == 200 { serde_json::from_slice(&reply.body).ok() } else { None }
}

/// What an agent says of itself, against the leader's state: a new leader counts agents as active for a while before
/// they are back.
fn is_attached(told: &Value, state: &Value) -> bool {
    let agents = state["slaves"].as_array().map(Vec::as_slice).unwrap_or_default();
    told["attached"] == true
        && agents.iter().any(|agent| agent["id"] == told["id"] && agent["active"] == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_agent_is_attached_when_both_sides_say_so() {
        let state = json!({"slaves": [{"id": "S0", "active": true}, {"id": "S1", "active": false}]});
        let table = [
            (json!({"id": "S0", "attached": true}), true),
            (json!({"id": "S0", "attached": false}), false),
            (json!({"id": "S1", "attached": true}), false),
            (json!({"id": "", "attached": true}), false),
            (json!({}), false),
        ];
        for (told, expect) in table {
            assert_eq!(is_attached(&told, &state), expect, "{told}");
        }
    }

    #[tokio::test]
    async fn nothing_is_not_ready() {
        assert!(matches!(look(&[], &[]).await, Err(NotReady::NoMasters)));
        let nobody = ["127.0.0.1:9".to_owned()];
        assert!(matches!(look(&nobody, &[]).await, Err(NotReady::Silent(_))));
    }
}
