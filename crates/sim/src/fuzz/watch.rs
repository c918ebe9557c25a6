//! Ends the program when one text takes far too long: a reader that never answers is broken too.

use std::{
    path::PathBuf,
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::targets::{Target, tell};

/// One text is read and played in at most this time; it takes milliseconds, and minutes only where others leave nearly
/// nothing of the machine: this program stands back for them.
const TEXT_MAX: Duration = Duration::from_secs(180);
/// How often the time is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Current = Option<(Instant, &'static Target, String)>;

/// Knows which text is being read.
pub(crate) struct Watch(Arc<Mutex<Current>>);

impl Watch {
    /// Begins to look, on a thread of its own that lives as long as the program.
    pub(crate) fn start(out: PathBuf) -> Self {
        let current: Arc<Mutex<Current>> = Arc::default();
        let seen = current.clone();
        thread::spawn(move || {
            loop {
                thread::sleep(LOOK_EVERY);
                let current = seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some((_, target, text)) = current.filter(|(begin, ..)| begin.elapsed() > TEXT_MAX) {
                    eprintln!("fuzz: {}: a text was not answered within {TEXT_MAX:?}", target.name);
                    tell(target, &text, &out);
                    process::exit(1);
                }
            }
        });
        Self(current)
    }

    pub(crate) fn begins(&self, target: &'static Target, text: &str) {
        self.put(Some((Instant::now(), target, text.to_owned())));
    }

    pub(crate) fn rests(&self) {
        self.put(None);
    }

    fn put(&self, current: Current) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }
}
