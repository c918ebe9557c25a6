//! What only the administrators' interface can do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use mesarch_proto::admin::admin_client::AdminClient;
use mesarch_proto::admin::{
    GetWeightsRequest, RoleWeight, SetWeightsRequest, StatusReply, StatusRequest, TransferLeaderRequest,
};
use mesarch_testkit::{DEADLINE, wait_for};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

async fn client(address: SocketAddr) -> Result<AdminClient<Channel>> {
    Ok(AdminClient::new(Endpoint::from_shared(format!("http://{address}"))?.connect().await?))
}

/// What a master says of itself and its leader.
pub(crate) async fn status(address: SocketAddr) -> Result<StatusReply> {
    let asked = async { anyhow::Ok(client(address).await?.status(StatusRequest {}).await?.into_inner()) };
    timeout(DEADLINE, asked).await.context("no answer to Status in time")?
}

/// Has the leader, which serves at `address`, commit the weight of a role.
pub(crate) async fn set_weight(address: SocketAddr, role: &str, thousandths: u64) -> Result<()> {
    let weights = vec![RoleWeight { role: role.to_owned(), thousandths }];
    let asked = async {
        client(address).await?.set_weights(SetWeightsRequest { weights }).await?;
        anyhow::Ok(())
    };
    timeout(DEADLINE, asked).await.context("no answer to SetWeights in time")?
}

/// All weights, from the leader at `address`.
pub(crate) async fn weights(address: SocketAddr) -> Result<BTreeMap<String, u64>> {
    let asked =
        async { anyhow::Ok(client(address).await?.get_weights(GetWeightsRequest {}).await?.into_inner()) };
    let reply = timeout(DEADLINE, asked).await.context("no answer to GetWeights in time")??;
    Ok(reply.weights.into_iter().map(|weight| (weight.role, weight.thousandths)).collect())
}

/// Makes master `to` the leader and waits until it serves as such; no effect if it does.
pub(crate) async fn make_leader(cluster: &mesarch_testkit::Cluster, to: usize) -> Result<()> {
    wait_for(&format!("{} to lead", cluster.masters[to].name), async || {
        let leader = cluster.wait_for_leader().await.ok()?;
        if leader == to {
            return Some(());
        }
        let mut client = client(cluster.masters[leader].address).await.ok()?;
        // A node that has just started may be too far behind to take over: it is asked again.
        drop(client.transfer_leader(TransferLeaderRequest { to: to as u64 + 1 }).await);
        None
    })
    .await
}

/// The value of a counter or gauge on the `/metrics` page of a master; 0 without it.
pub(crate) async fn metric(address: SocketAddr, name: &str) -> Result<f64> {
    let page = mesarch_client::operator::get(&address.to_string(), "/metrics").await?;
    let text = String::from_utf8_lossy(&page.body);
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Ok(value.unwrap_or(0.0))
}

/// Makes the leader hand its leadership over to a master of its choice, and waits until another one leads.
pub(crate) async fn transfer_leader(cluster: &mesarch_testkit::Cluster) -> Result<usize> {
    let old = cluster.wait_for_leader().await?;
    let address = cluster.masters[old].address;
    let asked = async {
        client(address).await?.transfer_leader(TransferLeaderRequest::default()).await?;
        anyhow::Ok(())
    };
    let answer = timeout(DEADLINE, asked).await.context("no answer to TransferLeader in time")?;
    answer.with_context(|| format!("{address} did not hand its leadership over"))?;
    wait_for("another leader after the transfer", async || cluster.leader().await.filter(|new| *new != old))
        .await
}
