//! Reads tables of numbers with lines `board/name value`, prints them, and compares them with a committed table and
//! with budgets.

use crate::CheckResult;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Maximum ratio of a new number to the committed number. A larger ratio is a failure.
const TOLERANCE: f64 = 1.02;

/// A table of measured numbers. The key is the name of a number, such as `board/name`.
type Table = BTreeMap<String, f64>;

/// Prints one line per number, with one column per board. Numbers that are 0 on all boards are only counted.
pub fn show(now: &Path) -> CheckResult {
    let text = fs::read_to_string(now)?;
    let mut boards: Vec<&str> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut cells = BTreeMap::new();
    for line in text.lines() {
        let (name, value) = line.rsplit_once(' ').ok_or_else(|| format!("no number in the line {line:?}"))?;
        let (board, name) = name.split_once('/').ok_or_else(|| format!("no board in the name {name:?}"))?;
        if !boards.contains(&board) {
            boards.push(board);
        }
        if !names.contains(&name) {
            names.push(name);
        }
        cells.insert((name, board), value);
    }
    print!("{:44}", "");
    boards.iter().for_each(|board| print!(" {board:>10}"));
    println!();
    let mut zeros = 0;
    for name in names {
        let row = boards.iter().map(|board| cells.get(&(name, *board)).copied().unwrap_or("-"));
        if row.clone().all(|cell| cell == "0") {
            zeros += 1;
            continue;
        }
        print!("{name:44}");
        row.for_each(|cell| print!(" {cell:>10}"));
        println!();
    }
    println!("{zeros} more numbers are 0 on every board");
    Ok(())
}

/// Compares two tables. Fails if a number of `now` is larger than [`TOLERANCE`] times the number in `committed`, or if
/// a number exists in only one table. With `partial`, numbers may be missing in `now`.
pub fn compare(committed: &Path, now: &Path, partial: bool) -> CheckResult {
    let committed = read(committed)?;
    let now = read(now)?;
    let mut failures = 0;
    let mut unchanged = 0;
    for name in committed.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        match (committed.get(name), now.get(name)) {
            (Some(before), Some(value)) if *value > before + before.abs() * (TOLERANCE - 1.0) => {
                println!("{name:48} {value:>10}, was {before}: WORSE{}", percent_change(*before, *value));
                failures += 1;
            }
            (Some(before), Some(value)) if value + before.abs() * (TOLERANCE - 1.0) < *before => {
                println!("{name:48} {value:>10}, was {before}: better{}", percent_change(*before, *value));
            }
            (Some(_), None) if partial => (),
            (Some(before), None) => {
                println!("{name:48} {:>10}, was {before}: NOT MEASURED", "");
                failures += 1;
            }
            (None, Some(value)) => {
                println!("{name:48} {value:>10}: NOT IN THE TABLE");
                failures += 1;
            }
            _ => unchanged += 1,
        }
    }
    println!("{unchanged} numbers are within {:.0} % of the table", (TOLERANCE - 1.0) * 100.0);
    if failures == 0 {
        Ok(())
    } else {
        Err(format!("{failures} numbers are worse than in the committed table, or exist in only one table").into())
    }
}

/// The relative change as text, or an empty string if the old number is 0.
fn percent_change(before: f64, value: f64) -> String {
    if before > 0.0 { format!(" by {:.1} %", (value / before - 1.0).abs() * 100.0) } else { String::new() }
}

/// One line of the budget file: a name of a measured number and its limit.
struct Budget {
    name: String,
    limit: f64,
    /// Accepted value of a number that is known to exceed its limit.
    accepted: Option<f64>,
}

impl Budget {
    fn parse(line: &str) -> Result<Option<Self>, Box<dyn Error>> {
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let name = words.next().ok_or("no name in a budget line")?.to_owned();
        let limit = words.next().ok_or_else(|| format!("no limit for the budget {name}"))?.parse()?;
        Ok(Some(Self { name, limit, accepted: words.next().map(str::parse).transpose()? }))
    }
}

/// Compares the numbers of `now` with the budgets. Fails if a number exceeds its limit and its accepted value, or if a
/// number with a limit is missing. Prints the numbers within their limits first, then the known misses, then the new
/// misses.
pub fn check_budgets(budgets: &Path, now: &Path) -> CheckResult {
    let now = read(now)?;
    let (mut known_misses, mut new_misses) = (String::new(), String::new());
    println!("{:48} {:>10} {:>10}", "WITHIN THE LIMIT", "limit", "now");
    for line in fs::read_to_string(budgets)?.lines() {
        let Some(Budget { name, limit, accepted }) = Budget::parse(line)? else { continue };
        let Some(value) = now.get(&name) else {
            writeln!(new_misses, "{name:48} {limit:>10}   NOT MEASURED")?;
            continue;
        };
        if *value <= limit {
            println!("{name:48} {limit:>10} {value:>10}");
            continue;
        }
        let is_accepted = accepted.is_some_and(|accepted| *value <= accepted * TOLERANCE);
        let misses = if is_accepted { &mut known_misses } else { &mut new_misses };
        writeln!(misses, "{name:48} {limit:>10} {value:>10} {:>10.2}", value / limit)?;
    }
    for (title, misses) in [("KNOWN MISSES", &known_misses), ("NEW MISSES", &new_misses)] {
        if !misses.is_empty() {
            println!("\n{title:48} {:>10} {:>10} {:>10}\n{misses}", "limit", "now", "ratio");
        }
    }
    let count = new_misses.lines().count();
    if count == 0 { Ok(()) } else { Err(format!("{count} budgets are exceeded").into()) }
}

/// Updates the accepted values in the budget file. The accepted value of a number is the largest value of all tables if
/// that exceeds the limit. A number within its limit in all tables has no accepted value.
pub fn accept(budgets: &Path, tables: &[PathBuf]) -> CheckResult {
    let tables = tables.iter().map(|table| read(table)).collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for line in fs::read_to_string(budgets)?.lines() {
        let Some(Budget { name, limit, .. }) = Budget::parse(line)? else {
            writeln!(text, "{line}")?;
            continue;
        };
        let worst = tables.iter().filter_map(|table| table.get(&name)).copied().reduce(f64::max);
        match worst.ok_or(format!("no table contains the number {name}"))? {
            worst if worst > limit => writeln!(text, "{name} {limit} {worst}")?,
            _ => writeln!(text, "{name} {limit}")?,
        }
    }
    fs::write(budgets, text)?;
    Ok(())
}

fn read(path: &Path) -> Result<Table, Box<dyn Error>> {
    let mut table = Table::new();
    for line in fs::read_to_string(path)?.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) =
            line.rsplit_once(char::is_whitespace).ok_or_else(|| format!("no number in the line {line:?}"))?;
        if table.insert(name.trim().to_owned(), value.parse()?).is_some() {
            return Err(format!("the table {} contains the number {name} twice", path.display()).into());
        }
    }
    Ok(table)
}
