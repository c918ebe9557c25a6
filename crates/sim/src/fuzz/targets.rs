//! What is fuzzed: the checks that the readers' own tests make, and the corpus that these tests replay.

use std::{fs, path::Path};

use crate::keep;

#[path = "../../../mesos-v1/tests/calls/mod.rs"]
mod calls;
#[path = "../../../allocator/tests/reading/mod.rs"]
mod scenarios;
#[path = "../../../types/tests/texts/mod.rs"]
mod texts;

/// One reader.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// What a text that fails is called.
    pub(crate) file: &'static str,
    /// Folders of texts, from the workspace's root; each file is one, and of `.txt` each line too.
    pub(crate) corpus: &'static [&'static str],
    /// Where a text is to be put so that the stable test replays it.
    pub(crate) home: &'static str,
    /// The command of that test.
    pub(crate) test: &'static str,
    pub(crate) pieces: &'static [&'static str],
    pub(crate) check: fn(&str),
}

pub(crate) static TARGETS: [Target; 3] = [
    Target {
        name: "resource texts",
        file: "text.txt",
        corpus: &["crates/types/tests/corpus"],
        home: "crates/types/tests/corpus",
        test: "cargo test --release -p mesarch-types --test fuzz",
        pieces: &texts::PIECES,
        check: texts::read_all,
    },
    Target {
        name: "scenarios",
        file: "scenario.json",
        corpus: &["crates/allocator/tests/corpus", "tests/scenarios"],
        home: "crates/allocator/tests/corpus",
        test: "cargo test --release -p mesarch-allocator --test reader",
        pieces: &scenarios::PIECES,
        check: scenarios::read_and_play,
    },
    Target {
        name: "requests",
        file: "request.latin1",
        corpus: &["crates/mesos-v1/tests/corpus"],
        home: "crates/mesos-v1/tests/corpus",
        test: "cargo test --release -p mesarch-mesos-v1 --test fuzz",
        pieces: &calls::PIECES,
        check: calls::read_all,
    },
];

impl Target {
    /// All texts, in an order that their names decide.
    pub(crate) fn corpus(&self) -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let files = self.corpus.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten();
        let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
        paths.sort();
        let mut texts = Vec::new();
        for path in paths {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if path.extension().is_some_and(|extension| extension == "txt") {
                texts.extend(text.lines().map(str::to_owned));
            }
            texts.push(text);
        }
        texts
    }
}

/// Says where the text is now and how it becomes a test.
pub(crate) fn tell(target: &Target, text: &str, out: &Path) {
    match keep(out, target.file, text) {
        Ok(path) => eprintln!(
            "fuzz: {}: written to {}; copy it to {} and mend what `{}` then shows",
            target.name,
            path.display(),
            target.home,
            target.test
        ),
        Err(error) => eprintln!("fuzz: {}: cannot keep the text {text:?}: {error}", target.name),
    }
}
