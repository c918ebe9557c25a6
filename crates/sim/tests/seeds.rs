//! A few seeds on every run, seeds that failed once, and the promise that a seed is a whole story.

use mesarch_sim::{Options, run};

/// Seeds that showed a bug once: an agent came back with the end of a task that was to be killed (3); a task whose end
/// was known became unreachable (25). Later, with ids used again: an agent came back with a life of a task whose id had
/// been used again, and that life was over (7, 1395).
const FAILED_ONCE: &[u64] = &[3, 25, 31, 77, 7, 1395];

fn play(seed: u64) {
    let report = run(Options { seed, ..Options::default() });
    if let Some(violation) = report.violation {
        panic!("seed {seed}: {violation}\n{}", report.lines.join("\n"));
    }
}

#[test]
fn the_same_seed_gives_the_same_log() {
    for seed in 0..3 {
        let options = Options { seed, ..Options::default() };
        let (first, second) = (run(options), run(options));
        assert_eq!(
            (first.trace_hash, first.events, first.lines),
            (second.trace_hash, second.events, second.lines)
        );
    }
    assert_ne!(run(Options::default()).trace_hash, run(Options { seed: 1, ..Options::default() }).trace_hash);
}

#[test]
fn faults_are_survived() {
    (0..40).for_each(play);
}

#[test]
fn faults_are_survived_while_operators_take_agents_out_of_service() {
    for seed in 0..30 {
        let report = run(Options { seed, operators: true, ..Options::default() });
        if let Some(violation) = report.violation {
            panic!("seed {seed}: {violation}\n{}", report.lines.join("\n"));
        }
    }
}

#[test]
fn seeds_that_failed_once_pass() {
    FAILED_ONCE.iter().copied().for_each(play);
}

#[test]
fn stories_are_worth_telling() {
    let reports: Vec<_> = (0..10).map(|seed| run(Options { seed, ..Options::default() })).collect();
    for report in &reports {
        assert!(report.terms > 1 && report.tasks > 5 && report.entries > 100, "{report:?}");
    }
    assert!(reports.iter().map(|report| report.late).sum::<u64>() > 10, "nothing came late");
    assert!(reports.iter().map(|report| report.reused).sum::<u64>() > 10, "no id was used again");
    let ended = reports.iter().map(|report| report.operations_ended).sum::<u64>();
    assert!(ended > 10, "hardly an operation ended: {ended}");
}
