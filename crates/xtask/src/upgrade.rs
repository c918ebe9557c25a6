//! `upgrade-test`: an older version, built from its commit, is upgraded to this one under load.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::steps::{cargo, finish, root, say};

/// The line that a commit changes when it raises the feature level.
const LEVEL: &str = "pub const FEATURE_LEVEL_MAX";
/// The test that upgrades, and the variable in which it is told of the older program.
const TEST: &str = "upgrade::";
const FROM: &str = "MESARCH_UPGRADE_FROM";

/// Builds the version of the commit `from`, by default the last one before the level was raised, unless it was built before, and
/// runs the upgrade with it.
pub(crate) fn upgrade_test(from: Option<&str>) -> Result<ExitCode> {
    let commit = match from {
        Some(from) => git(&["rev-parse", "--short=12", &format!("{from}^{{commit}}")])?,
        None => before_the_level_was_raised()?,
    };
    say(&format!("upgrade-test: from {}", git(&["log", "-1", "--format=%h %s", &commit])?))?;
    let program = root()?.join("target/upgrade-test").join(&commit).join("mesarch");
    if program.is_file() {
        say(&format!("upgrade-test: {} was built before", program.display()))?;
    } else {
        build(&commit, &program)?;
    }
    say("upgrade-test: building this version")?;
    let built = cargo(&["build", "--release", "--workspace", "--bins"])?.status()?;
    ensure!(built.success(), "this version cannot be built");
    let mut test = cargo(&["test", "--release", "--workspace", "--test", "main", "--", "--nocapture", TEST])?;
    test.env(FROM, program);
    let code = finish(test)?;
    say(if code == ExitCode::SUCCESS { "upgrade-test: good" } else { "upgrade-test: FAILED" })?;
    Ok(code)
}

fn before_the_level_was_raised() -> Result<String> {
    let raised = git(&["log", "-1", "--format=%H", "-G", LEVEL, "--", "crates/state/src"])?;
    ensure!(!raised.is_empty(), "no commit raises the level; name one with --from");
    git(&["rev-parse", "--short=12", &format!("{raised}^")])
}

/// Builds in a working tree and a target folder of its own, and keeps nothing but the program.
fn build(commit: &str, program: &Path) -> Result<()> {
    let folder = program.parent().context("the program lies in a folder")?;
    let (source, target) = (folder.join("source"), folder.join("target"));
    let tree = path(&source)?;
    if !source.is_dir() {
        say(&format!("upgrade-test: checking {commit} out in {}", source.display()))?;
        git(&["worktree", "add", "--detach", tree, commit])?;
    }
    say(&format!("upgrade-test: building {commit} in {}; all of it, so this takes long", target.display()))?;
    let mut cargo = cargo(&["build", "--release", "--package", "mesarch", "--bin", "mesarch"])?;
    // Another toolchain may be wanted there: rustup looks into the folder unless it is told.
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target).env_remove("RUSTUP_TOOLCHAIN");
    cargo.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_RELEASE_DEBUG", "0");
    ensure!(cargo.status().context("cannot start cargo")?.success(), "{commit} cannot be built");
    std::fs::copy(target.join("release/mesarch"), program).context("cannot keep the program")?;
    git(&["worktree", "remove", "--force", tree])?;
    std::fs::remove_dir_all(&target).context("cannot remove what was built")
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}

/// What git answers at the workspace's root.
fn git(arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.args(arguments).current_dir(root()?).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = git.output().context("cannot start git")?;
    ensure!(output.status.success(), "git {} failed", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
