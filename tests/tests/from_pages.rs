//! The documents for users of other frameworks have a row for each handler of the framework: `tests/frameworks/*.txt` lists
//! the handlers, and `tests/frameworks/list.py` writes these lists.

use std::fs;
use std::path::Path;

/// The cells of all rows of all tables. A `\|` does not separate cells.
fn rows(page: &str) -> Vec<Vec<String>> {
    let row = |line: &str| -> Option<Vec<String>> {
        let cells = line.strip_prefix('|')?.strip_suffix('|')?.replace("\\|", "\u{0}");
        Some(cells.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect())
    };
    page.lines().filter_map(row).filter(|cells| !cells.iter().all(|cell| cell.starts_with("---"))).collect()
}

/// Returns whether `cell` contains the identifier `name` in a code span.
fn names(cell: &str, name: &str) -> bool {
    let spans = cell.split('`').skip(1).step_by(2);
    spans
        .flat_map(|span| span.split(|letter: char| !letter.is_alphanumeric() && letter != '_'))
        .any(|word| word == name)
}

/// Checks a document against the list of a framework. Returns the names without a row.
fn missing_names(page: &str, list: &str) -> Vec<String> {
    let rows = rows(page);
    let has_row = |name: &str| rows.iter().any(|cells| names(&cells[0], name));
    list.lines().skip(1).filter(|name| !has_row(name)).map(String::from).collect()
}

#[test]
fn each_handler_of_another_framework_has_a_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (framework, at_least) in [("ignite", 50), ("lightning", 30), ("keras", 15)] {
        let read =
            |path: String| fs::read_to_string(root.join(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let page = read(format!("../docs/from-{framework}.md"));
        let list = read(format!("frameworks/{framework}.txt"));
        let version = list.lines().next().and_then(|line| line.split_once(' ')).expect("a version").1;
        assert!(page.contains(version), "from-{framework}.md does not name the version {version}");
        assert!(list.lines().count() > at_least, "the list of {framework} is too short");
        let missing = missing_names(&page, &list);
        assert!(missing.is_empty(), "from-{framework}.md has no row for {missing:?}");
        for row in rows(&page) {
            assert!(row.len() >= 2 && row.iter().all(|cell| !cell.is_empty()), "from-{framework}.md: {row:?}");
        }
    }
}

#[test]
fn a_missing_row_is_found() {
    let list = "framework 1.0\nSaver\nTimer\nTimerBase";
    let page = "Timer\n\n| Framework | here |\n| --- | --- |\n| `Saver(a \\| b)`, TimerBase | `Timer` |\n";
    assert_eq!(missing_names(page, list), ["Timer", "TimerBase"]);
    assert_eq!(rows(page)[1], ["`Saver(a | b)`, TimerBase", "`Timer`"]);
}
