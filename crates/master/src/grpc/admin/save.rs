//! Snapshots for backups.

use futures::{StreamExt, stream, stream::BoxStream};
use mesarch_consensus::{ReadError, SnapshotError, SnapshotFile};
use mesarch_proto::admin::{SnapshotHeader, SnapshotPiece, snapshot_piece::Piece};
use tonic::Status;

use super::leader;
use crate::app::App;

/// Bytes of the file per message.
const PIECE_BYTES: usize = 1 << 20;

pub(super) type Pieces = BoxStream<'static, Result<SnapshotPiece, Status>>;

/// The file as it is sent: header, then data. The leader's holds all that was committed before the call.
pub(super) async fn snapshot(app: &App, stale: bool) -> Result<Pieces, Status> {
    let consensus = &app.consensus.0;
    if !stale {
        leader(app).await?;
        consensus.read_barrier().await.map_err(|error| unread(&error))?;
    }
    let file = consensus.snapshot().await.map_err(|error| unsaved(&error))?;
    let last = file.meta().last_log_id;
    let header = SnapshotHeader {
        index: last.map_or(0, |last| last.index),
        term: last.map_or(0, |last| last.leader_id.term),
        bytes: file.bytes(),
        node: consensus.status().node.0,
    };
    let first = stream::once(std::future::ready(Ok(piece(Piece::Header(header)))));
    Ok(first.chain(stream::unfold(Some((file, 0)), next_piece)).boxed())
}

fn piece(piece: Piece) -> SnapshotPiece {
    SnapshotPiece { piece: Some(piece) }
}

type Rest = Option<(SnapshotFile, u64)>;

/// The stream ends after the file, or after an error.
async fn next_piece(rest: Rest) -> Option<(Result<SnapshotPiece, Status>, Rest)> {
    let (file, at) = rest.filter(|(file, at)| *at < file.bytes())?;
    let reading = file.clone();
    let read = tokio::task::spawn_blocking(move || reading.read_at(at, PIECE_BYTES)).await;
    let data = match read.map_err(std::io::Error::other).flatten() {
        Ok(data) => data,
        Err(error) => {
            tracing::error!(%error, "a snapshot cannot be read while it is sent");
            return Some((Err(Status::data_loss("the snapshot cannot be read")), None));
        }
    };
    let next = at + data.len() as u64;
    Some((Ok(piece(Piece::Data(data.into()))), Some((file, next))))
}

fn unread(error: &ReadError) -> Status {
    match error {
        ReadError::NotLeader { .. } | ReadError::NoQuorum | ReadError::Stopped => {
            Status::unavailable(error.to_string())
        }
    }
}

fn unsaved(error: &SnapshotError) -> Status {
    match error {
        SnapshotError::Empty => Status::failed_precondition(error.to_string()),
        SnapshotError::TimedOut => Status::deadline_exceeded(error.to_string()),
        SnapshotError::Stopped => Status::unavailable(error.to_string()),
    }
}
