//! What the pages for operators promise is shown by tests: each row names some, and they are there.

use std::path::Path;

use anyhow::{Context, Result, ensure};

const PAGES: [(&str, &str, usize); 2] = [
    ("failover.md", include_str!("../../ops/failover.md"), 22),
    ("bad-days.md", include_str!("../../ops/bad-days.md"), 15),
];

/// The tests named in the last cell of a row, as file and name; none if it is no row of a table.
fn named(line: &str) -> Option<Vec<(&str, &str)>> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let is_row = cells.len() > 2 && cells[0] != "#";
    let last = cells.last()?;
    is_row.then(|| last.split('`').filter_map(|word| word.split_once("::")).collect())
}

/// Whether a file has a test of this name.
fn has_test(source: &str, name: &str) -> bool {
    let is_named = |line: &str| line.contains(&format!("fn {name}("));
    let lines: Vec<&str> = source.lines().collect();
    let place = lines.iter().position(|line| is_named(line));
    place.is_some_and(|place| {
        // Attributes and docs stand right before it.
        let above = lines[..place].iter().rev().take_while(|line| !line.trim().is_empty());
        above.take(4).any(|line| line.trim().starts_with("#[test]") || line.contains("#[tokio::test"))
    })
}

fn check(page: &str, text: &str, rows_min: usize) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the crate has a folder")?;
    let rows: Vec<_> = text.lines().filter_map(named).collect();
    ensure!(rows.len() >= rows_min, "{page}: {} rows", rows.len());
    for row in rows {
        ensure!(!row.is_empty(), "{page}: a row names no test");
        for (file, name) in row {
            let source = std::fs::read_to_string(root.join(file))
                .with_context(|| format!("{page}: {file} cannot be read"))?;
            ensure!(has_test(&source, name), "{page}: there is no test {name} in {file}");
        }
    }
    Ok(())
}

#[test]
fn every_promise_of_the_pages_for_operators_is_shown_by_a_test() {
    for (page, text, rows_min) in PAGES {
        check(page, text, rows_min).unwrap();
    }
}

#[test]
fn a_promise_without_a_test_is_found() {
    let row = |tests: &str| format!("| 1 | it breaks | it mends | {tests} |");
    let this = "tests/tests/promises.rs::a_promise_without_a_test_is_found";
    assert!(check("page", &row(&format!("`{this}`")), 1).is_ok());
    for wrong in ["nothing", "`tests/tests/promises.rs::has_test`", "`tests/tests/nowhere.rs::name`"] {
        assert!(check("page", &row(wrong), 1).is_err(), "{wrong}");
    }
    assert!(check("page", "| # | what | how | shown by |", 1).is_err(), "a table without rows");
}
