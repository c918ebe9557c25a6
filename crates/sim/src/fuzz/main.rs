//! Throws random texts at the readers of resource texts, scenarios and requests for a while: `mesarch-fuzz --seconds 60`.
//!
//! A text begins as one of the committed corpus and is changed in a few places. It must be read or refused, and what was
//! read must keep the promises that the tests of the readers check: the checks are the same functions. A text that fails is
//! made shorter as long as it still fails and written to a folder, with the advice how to make a test of it.
//!
//! Every text follows from the seed and its number alone, whatever the time it took to get there. Mutation by hand and not
//! by a fuzzing library: those that follow coverage need a nightly compiler, and the others would add a dependency for
//! these few lines.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command-line tool")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it reads a corpus and stops in time"
)]

mod mutate;
#[path = "../rng.rs"]
mod rng;
mod targets;
mod watch;

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use clap::Parser;

use mutate::mutated;
use rng::Rng;
use targets::{TARGETS, Target};
use watch::Watch;

/// Random texts for the readers of resource texts, scenarios and requests.
#[derive(Parser)]
struct Arguments {
    /// For how long, all targets together.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Where chance begins; drawn from the clock if not given.
    #[arg(long)]
    seed: Option<u64>,
    /// The folder for texts that fail.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/fuzz"))]
    out: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(seed_of_the_moment);
    println!("fuzz: seed {seed}, {} s", arguments.seconds);
    let part = Duration::from_secs(arguments.seconds) / TARGETS.len() as u32;
    let watch = Watch::start(arguments.out.clone());
    let mut failed = false;
    for target in TARGETS.iter() {
        failed |= !play(target, seed, part, &watch, &arguments.out);
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn seed_of_the_moment() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64 % 1_000_000_000
}

/// Plays one target until its time is over or a text fails; false if one did.
fn play(target: &'static Target, seed: u64, part: Duration, watch: &Watch, out: &Path) -> bool {
    let corpus = target.corpus();
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < part {
        count += 1;
        let text = mutated(&corpus, target.pieces, &mut Rng::new(seed ^ (count << 32)));
        watch.begins(target, &text);
        if fails(target, &text) {
            watch.rests();
            let text = shortened(target, text);
            eprintln!("fuzz: {}: text {count} of seed {seed} fails", target.name);
            targets::tell(target, &text, out);
            return false;
        }
    }
    watch.rests();
    println!("fuzz: {}: {count} texts from a corpus of {}, none failed", target.name, corpus.len());
    true
}

fn fails(target: &Target, text: &str) -> bool {
    panic::catch_unwind(AssertUnwindSafe(|| (target.check)(text))).is_err()
}

/// For how long a text is made shorter.
const SHORTEN_MAX: Duration = Duration::from_secs(10);

/// Leaves out pieces of the text as long as it still fails.
fn shortened(target: &Target, text: String) -> String {
    let begin = Instant::now();
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut kept: Vec<char> = text.chars().collect();
    let mut length = kept.len().div_ceil(2);
    while length > 0 {
        let mut at = 0;
        while at < kept.len() && begin.elapsed() < SHORTEN_MAX {
            let without: Vec<char> =
                kept[..at].iter().chain(kept.iter().skip(at + length)).copied().collect();
            if fails(target, &without.iter().collect::<String>()) {
                kept = without;
            } else {
                at += length;
            }
        }
        length /= 2;
    }
    panic::set_hook(hook);
    kept.into_iter().collect()
}

/// Writes a text where a developer finds it, under a name made of what it is.
fn keep(out: &Path, name: &str, text: &str) -> std::io::Result<PathBuf> {
    fs::create_dir_all(out)?;
    let sum = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let (stem, extension) = name.split_once('.').unwrap_or((name, "txt"));
    let path = out.join(format!("{stem}-{sum:016x}.{extension}"));
    fs::write(&path, text)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that does not keep its word.
    const BROKEN: Target = Target {
        name: "broken",
        file: "broken.txt",
        corpus: &[],
        home: "nowhere",
        test: "none",
        pieces: &["x", "("],
        check: |text| assert!(!text.contains("(x"), "it cannot read this"),
    };

    #[test]
    fn what_fails_is_made_as_short_as_it_can_be_and_kept() {
        let folder = std::env::temp_dir().join(format!("mesarch-fuzz-{}", std::process::id()));
        let text = shortened(&BROKEN, "aaa(xbb(ü".repeat(9));
        assert_eq!(text, "(x");
        let path = keep(&folder, BROKEN.file, &text).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("there"), "(x");
        fs::remove_dir_all(folder).expect("ours");
    }

    #[test]
    fn a_seed_makes_the_same_texts_again_and_another_seed_others() {
        let corpus = TARGETS[0].corpus();
        let text = |seed| mutated(&corpus, TARGETS[0].pieces, &mut Rng::new(seed));
        let texts = |first: u64| (first..first + 50).map(text).collect::<Vec<String>>();
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(1000));
    }

    #[test]
    fn chance_finds_what_a_broken_reader_cannot_read() {
        let hit = (0..10_000).map(|seed| mutated(&[], BROKEN.pieces, &mut Rng::new(seed)));
        assert!(hit.into_iter().any(|text| fails(&BROKEN, &text)));
    }

    #[test]
    fn every_target_has_a_corpus_that_is_read_or_refused() {
        for target in &TARGETS {
            let corpus = target.corpus();
            assert!(corpus.len() > 10, "{}", target.name);
            corpus.iter().for_each(|text| (target.check)(text));
        }
    }
}
