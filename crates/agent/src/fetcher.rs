//! Files that a command needs in its sandbox. Only local ones: `file:///path` or an absolute path, copied as they are.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use mesarch_proto::mesos::v1::command_info::Uri;

/// Suffixes that Mesos unpacks.
const ARCHIVES: [&str; 10] =
    [".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".zip", ".gz", ".Z"];
const EXECUTABLE: u32 = 0o755;

/// Why a file could not be brought into the sandbox.
#[derive(Debug, thiserror::Error)]
#[error("fetching {uri:?} failed: {source}")]
pub(crate) struct FetchError {
    uri: String,
    source: io::Error,
}

/// Why these files cannot be fetched at all.
pub(crate) fn refusal(uris: &[Uri]) -> Option<String> {
    uris.iter().find_map(|uri| {
        if local_path(&uri.value).is_none() {
            return Some(format!("not implemented: fetching {:?} (only absolute local paths)", uri.value));
        }
        if output_name(uri).is_none() {
            return Some(format!("the output file of {:?} is not a path below the sandbox", uri.value));
        }
        let unpacks = uri.extract() && !uri.executable() && is_archive(&uri.value);
        unpacks.then(|| format!("not implemented: unpacking {:?}; set extract to false", uri.value))
    })
}

/// Copies everything into the sandbox. Blocking.
pub(crate) fn fetch(uris: &[Uri], sandbox: &Path) -> Result<(), FetchError> {
    uris.iter().try_for_each(|uri| {
        copy(uri, sandbox).map_err(|source| FetchError { uri: uri.value.clone(), source })
    })
}

fn copy(uri: &Uri, sandbox: &Path) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::InvalidInput);
    let from = local_path(&uri.value).ok_or_else(missing)?;
    let to = sandbox.join(output_name(uri).ok_or_else(missing)?);
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, &to)?;
    if uri.executable() {
        fs::set_permissions(&to, fs::Permissions::from_mode(EXECUTABLE))?;
    }
    Ok(())
}

fn local_path(uri: &str) -> Option<&Path> {
    let path = Path::new(uri.strip_prefix("file://").unwrap_or(uri));
    path.is_absolute().then_some(path)
}

/// Where the file goes, relative to the sandbox and inside it.
fn output_name(uri: &Uri) -> Option<PathBuf> {
    let Some(name) = &uri.output_file else {
        return local_path(&uri.value)?.file_name().map(PathBuf::from);
    };
    let path = PathBuf::from(name);
    let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    (inside && path.file_name().is_some()).then_some(path)
}

fn is_archive(uri: &str) -> bool {
    ARCHIVES.iter().any(|suffix| uri.ends_with(suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> Uri {
        Uri { value: value.to_owned(), ..Default::default() }
    }

    #[test]
    fn only_local_plain_files_below_the_sandbox() {
        let good = |uri: Uri| assert_eq!(refusal(&[uri]), None);
        let bad = |uri: Uri| assert!(refusal(&[uri]).is_some());
        good(uri("/etc/hostname"));
        good(uri("file:///etc/hostname"));
        good(Uri { extract: Some(false), ..uri("/x.tar.gz") });
        good(Uri { output_file: Some("a/b".into()), ..uri("/x") });
        bad(uri("/x.tar.gz"));
        bad(uri("relative"));
        bad(uri("hdfs://x/y"));
        bad(Uri { output_file: Some("../b".into()), ..uri("/x") });
        bad(Uri { output_file: Some("/b".into()), ..uri("/x") });
    }

    #[test]
    fn a_file_is_copied_and_made_executable() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::write(&from, "content").unwrap();
        let sandbox = dir.path().join("sandbox");
        let uri = Uri {
            executable: Some(true),
            output_file: Some("bin/run".into()),
            ..uri(from.to_str().unwrap())
        };
        fetch(&[uri], &sandbox).unwrap();
        let to = sandbox.join("bin/run");
        assert_eq!(fs::read_to_string(&to).unwrap(), "content");
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, EXECUTABLE);
        assert!(fetch(&[super::tests::uri("/no/such/file")], &sandbox).is_err());
    }
}
