//! `mesarch snapshot save`: a backup while the cluster runs.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use mesarch_proto::admin::{SaveSnapshotRequest, SnapshotHeader, SnapshotPiece, snapshot_piece::Piece};
use mesarch_storage::SnapshotFile;
use tokio::time::timeout;
use tonic::Streaming;

use crate::commands::operate::{Target, ask, ask_anyone};
use crate::commands::{command_runtime, print};
use crate::failure::usage;

/// How long the next piece of the file may take.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// Writes all that the masters know into a file, while they run
///
/// The file holds all that was acknowledged before. It is checked in full before it gets its name.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file to write; it must not be there yet
    file: PathBuf,
    /// From the first master of --master that answers, as old as that one is behind, and without a leader if there is none
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let file = &arguments.file;
    if file.exists() {
        return Err(usage(format!("{}: is there already; name a new file", file.display())));
    }
    let mut unfinished = file.clone().into_os_string();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let saved = command_runtime()?.block_on(save(arguments, &unfinished)).and_then(|header| {
        std::fs::rename(&unfinished, file).with_context(|| format!("cannot rename to {}", file.display()))?;
        sync_folder_of(file)?;
        Ok(header)
    });
    let header = saved.inspect_err(|_| {
        // Half a backup is none.
        let _ = std::fs::remove_file(&unfinished);
    })?;
    print(&format!(
        "{}: {} bytes, all up to log entry {} of term {}, from master {}\n",
        file.display(),
        header.bytes,
        header.index,
        header.term,
        header.node
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn save(arguments: &Arguments, path: &Path) -> Result<SnapshotHeader> {
    let request = SaveSnapshotRequest { stale: arguments.stale };
    let pieces = if arguments.stale {
        ask_anyone(&arguments.target, async |mut client| client.save_snapshot(request).await).await?
    } else {
        ask(&arguments.target, async |mut client| client.save_snapshot(request).await).await?
    };
    let header = receive(pieces, path).await?;
    let checked = SnapshotFile::read(path)?;
    let index = checked.meta().last_log_id.map_or(0, |last| last.index);
    ensure!(
        checked.bytes() == header.bytes && index == header.index,
        "the master sent another file than it announced"
    );
    Ok(header)
}

async fn receive(mut pieces: Streaming<SnapshotPiece>, path: &Path) -> Result<SnapshotHeader> {
    let Some(Piece::Header(header)) = next(&mut pieces).await? else {
        bail!("the master did not say what it sends");
    };
    let about = || format!("cannot write {}", path.display());
    let mut file = File::create_new(path).with_context(about)?;
    while let Some(piece) = next(&mut pieces).await? {
        let Piece::Data(data) = piece else { bail!("the master sent two files at a time") };
        file.write_all(&data).with_context(about)?;
    }
    file.sync_all().with_context(about)?;
    Ok(header)
}

async fn next(pieces: &mut Streaming<SnapshotPiece>) -> Result<Option<Piece>> {
    let next =
        timeout(PIECE_WITHIN, pieces.message()).await.context("the master sent nothing more in time")?;
    let next = next.map_err(|status| anyhow::anyhow!("the master broke off: {}", status.message()))?;
    Ok(next.and_then(|piece| piece.piece))
}

fn sync_folder_of(file: &Path) -> Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot sync {}", folder.display()))
}
