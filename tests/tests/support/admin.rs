//! What only the administrators' interface can do.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use mesarch_proto::admin::admin_client::AdminClient;
use mesarch_proto::admin::{StatusReply, StatusRequest, TransferLeaderRequest};
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
