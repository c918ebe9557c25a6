//! What only the administrators' interface can do.

use anyhow::{Context, Result};
use mesarch_proto::admin::TransferLeaderRequest;
use mesarch_proto::admin::admin_client::AdminClient;
use mesarch_testkit::{DEADLINE, wait_for};
use tokio::time::timeout;
use tonic::transport::Endpoint;

/// Makes the leader hand its leadership over to a master of its choice, and waits until another one leads.
pub(crate) async fn transfer_leader(cluster: &mesarch_testkit::Cluster) -> Result<usize> {
    let old = cluster.wait_for_leader().await?;
    let address = cluster.masters[old].address;
    let asked = async {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        AdminClient::new(channel).transfer_leader(TransferLeaderRequest::default()).await?;
        anyhow::Ok(())
    };
    let answer = timeout(DEADLINE, asked).await.context("no answer to TransferLeader in time")?;
    answer.with_context(|| format!("{address} did not hand its leadership over"))?;
    wait_for("another leader after the transfer", async || cluster.leader().await.filter(|new| *new != old))
        .await
}
