//! The files of sandboxes: `/files/*`, LIST_FILES and READ_FILE.
//!
//! Attached are the sandboxes that are on disk, of this agent and of those that had its work directory before, under
//! their own paths and as `/frameworks/F/executors/E/runs/C`, where `latest` is the newest run. Nothing else can be named.

mod listing;
mod tree;

use std::{collections::BTreeMap, fs::File, io, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use mesarch_mesos_v1::Query;
use mesarch_proto::mesos::v1::FileInfo;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::listing::{Entry, Kind};
use super::{Site, state::Look};
use crate::{runner::Facts, sandbox::Places};

/// Pieces of a download that wait for its reader.
const PIECES_MAX: usize = 2;
/// How long a download waits for its reader to take a piece.
const PIECE_WITHIN: Duration = Duration::from_secs(60);

/// Why a file is not shown.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("Expecting 'path' to be present")]
    NoPath,
    #[error("{0} is not a number from 0 up")]
    BadNumber(&'static str),
    #[error("no such file")]
    NotFound,
    #[error("that file may not be read")]
    Forbidden,
    #[error("that is a directory")]
    IsFolder,
    #[error("that is neither a directory nor a regular file")]
    NoFile,
    #[error("that directory has more than {} entries", listing::ENTRIES_MAX)]
    TooMany,
    #[error("not implemented: files on a kernel without openat2")]
    NoKernel,
    #[error("the file cannot be read")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        use rustix::io::Errno;
        match Errno::from_io_error(&error) {
            Some(
                Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NAMETOOLONG | Errno::NXIO,
            ) => Self::NotFound,
            Some(Errno::ACCESS | Errno::PERM) => Self::Forbidden,
            Some(Errno::NOSYS) => Self::NoKernel,
            _ => Self::Failed(error),
        }
    }
}

impl IntoResponse for FileError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoPath | Self::BadNumber(_) | Self::IsFolder | Self::NoFile | Self::TooMany => {
                StatusCode::BAD_REQUEST
            }
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoKernel => StatusCode::NOT_IMPLEMENTED,
            Self::Failed(error) => {
                tracing::warn!(%error, "a file of a sandbox cannot be read");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// The entries of a folder. Blocking.
pub(super) fn list(facts: &Facts, path: &str) -> Result<Vec<FileInfo>, FileError> {
    let folder = open(facts, path)?;
    match listing::kind(&folder)? {
        Kind::Folder => listing::list(&folder, path)?.ok_or(FileError::TooMany),
        Kind::File(_) | Kind::Other => Err(FileError::NotFound),
    }
}

/// The length of a file and a part of it, at most 64 KiB. Blocking.
pub(super) fn read(
    facts: &Facts,
    path: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<(u64, Vec<u8>), FileError> {
    let (file, _) = open_file(facts, path)?;
    Ok(listing::part(&file, offset, length)?)
}

fn open(facts: &Facts, path: &str) -> Result<File, FileError> {
    let place = tree::find(&facts.work_dir, facts.id().as_ref(), path).ok_or(FileError::NotFound)?;
    Ok(tree::open(&facts.work_dir, &place)?)
}

fn open_file(facts: &Facts, path: &str) -> Result<(File, u64), FileError> {
    let file = open(facts, path)?;
    match listing::kind(&file)? {
        Kind::File(bytes) => Ok((file, bytes)),
        Kind::Folder => Err(FileError::IsFolder),
        Kind::Other => Err(FileError::NoFile),
    }
}

fn path_of(query: &Query) -> Result<String, FileError> {
    query.get("path").filter(|path| !path.is_empty()).map(str::to_owned).ok_or(FileError::NoPath)
}

/// A number that may be missing; −1 is the same as missing.
fn number(query: &Query, name: &'static str) -> Result<Option<u64>, FileError> {
    match query.get(name) {
        None | Some("" | "-1") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| FileError::BadNumber(name)),
    }
}

/// `/files/browse`.
pub(super) async fn browse(site: &Site, query: Query) -> Response {
    let facts = site.facts.clone();
    let work = move || {
        let entries = list(&facts, &path_of(&query)?)?;
        let entries: Vec<Entry> = entries.into_iter().map(Entry::from).collect();
        Ok::<_, FileError>(super::answer(&json!(entries), &query))
    };
    site.blocking(move || work().unwrap_or_else(FileError::into_response)).await
}

/// `/files/read`: without an offset, how long the file is.
pub(super) async fn read_part(site: &Site, query: Query) -> Response {
    let facts = site.facts.clone();
    let work = move || {
        let (path, length) = (path_of(&query)?, number(&query, "length")?);
        let told = match number(&query, "offset")? {
            None => json!({ "offset": open_file(&facts, &path)?.1, "data": "" }),
            Some(offset) => {
                let (size, data) = read(&facts, &path, offset, length)?;
                let more_follows = offset + (data.len() as u64) < size;
                json!({ "offset": offset, "data": listing::text(data, more_follows) })
            }
        };
        Ok::<_, FileError>(super::answer(&told, &query))
    };
    site.blocking(move || work().unwrap_or_else(FileError::into_response)).await
}

/// `/files/download`: as much as the file holds now, piece by piece.
pub(super) async fn download(site: &Site, query: Query) -> Response {
    let (facts, tasks) = (site.facts.clone(), site.tasks.clone());
    let Ok(place) = site.downloads.clone().try_acquire_owned() else {
        let busy = "too many downloads; try again later\n";
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], busy).into_response();
    };
    let work = move || {
        let path = path_of(&query)?;
        let (file, bytes) = open_file(&facts, &path)?;
        let (pieces, body) = mpsc::channel(PIECES_MAX);
        tasks.spawn("download", async move {
            send(file, bytes, &pieces).await;
            drop(place);
        });
        Ok::<_, FileError>(attachment(&path, bytes, Body::from_stream(ReceiverStream::new(body))))
    };
    site.blocking(move || work().unwrap_or_else(FileError::into_response)).await
}

/// Ends early when the reader is gone or too slow, or the file cannot be read on: the reader sees that bytes are missing.
async fn send(file: File, bytes: u64, pieces: &mpsc::Sender<io::Result<Bytes>>) {
    let (file, mut offset) = (Arc::new(file), 0);
    while offset < bytes {
        let (part, rest) = (file.clone(), bytes - offset);
        let read = tokio::task::spawn_blocking(move || listing::part(&part, offset, Some(rest))).await;
        let piece = match read.map_err(io::Error::other).flatten() {
            Ok((_, data)) if data.is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, data)) => Ok(Bytes::from(data)),
            Err(error) => Err(error),
        };
        offset += piece.as_ref().map_or(bytes, |piece| piece.len() as u64);
        let taken = tokio::time::timeout(PIECE_WITHIN, pieces.send(piece)).await;
        if !matches!(taken, Ok(Ok(()))) {
            return;
        }
    }
}

fn attachment(path: &str, bytes: u64, body: Body) -> Response {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ' { c } else { '_' };
    let disposition = format!("attachment; filename=\"{}\"", name.chars().map(plain).collect::<String>());
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(name)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

/// By the end of a name. Nothing that a browser would run as this agent's own.
fn media_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, end)| end) {
        Some("txt" | "log") => "text/plain",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        Some("gz" | "tgz") => "application/gzip",
        Some("zip") => "application/zip",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("pdf") => "application/pdf",
        _ => "application/octet-stream",
    }
}

/// `/files/debug`: which names lead where, of the runs that are known.
pub(super) fn names(look: &Look) -> BTreeMap<String, String> {
    let durable = look.core.durable();
    let running = durable.runs.iter().map(|(key, facts)| key.run(&facts.container));
    let ended = look.history.ended().map(|past| past.run.clone());
    let Some(agent) = look.core.id() else { return BTreeMap::new() };
    let mut names = BTreeMap::new();
    for run in running.chain(ended) {
        let real = Places::new(&look.facts.work_dir, agent, &run).sandbox.display().to_string();
        let virtual_path =
            format!("/frameworks/{}/executors/{}/runs/{}", run.framework, run.executor, run.container);
        names.insert(virtual_path, real.clone());
        names.insert(real.clone(), real);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_be_missing_and_are_never_negative() {
        let check = |text: &str, expect: Result<Option<u64>, &str>| {
            let found = number(&Query::parse(Some(text)), "offset").map_err(|error| error.to_string());
            assert_eq!(found, expect.map_err(str::to_owned), "{text}");
        };
        check("", Ok(None));
        check("offset=-1", Ok(None));
        check("offset=0", Ok(Some(0)));
        check("offset=-2", Err("offset is not a number from 0 up"));
        check("offset=x", Err("offset is not a number from 0 up"));
    }

    #[test]
    fn a_download_cannot_break_its_headers() {
        let response = attachment("/a/b\"\r\nX: y/\u{e4}.log", 3, Body::from("abc"));
        assert_eq!(response.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"_.log\"");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain");
        let response = attachment("/a/b\"\r\n", 3, Body::from("abc"));
        assert_eq!(response.headers()[header::CONTENT_DISPOSITION], "attachment; filename=\"b___\"");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
    }
}
