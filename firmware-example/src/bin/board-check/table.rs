//! Tables of numbers, `board/name value` a line: shown, held against the committed one and against budgets.

use crate::Done;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// How much more than the committed number is put up with.
const SLACK: f64 = 1.02;

/// Numbers by their names.
type Table = BTreeMap<String, f64>;

/// Prints one line a number, with a column for each board. Numbers that are zero on all boards are named together.
pub fn show(now: &Path) -> Done {
    let text = fs::read_to_string(now)?;
    let mut boards: Vec<&str> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let mut cells = BTreeMap::new();
    for line in text.lines() {
        let (name, value) = line.rsplit_once(' ').ok_or("a line without a number")?;
        let (board, name) = name.split_once('/').ok_or("a number without a board")?;
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
    println!("and {zeros} that are 0 on every board");
    Ok(())
}

/// Fails when a number of `now` is more than [`SLACK`] times that of `committed`, or when one has no counterpart in the
/// other. `partial`: `now` may lack some.
pub fn compare(committed: &Path, now: &Path, partial: bool) -> Done {
    let committed = read(committed)?;
    let now = read(now)?;
    let mut worse = 0;
    let mut same = 0;
    for name in committed.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        match (committed.get(name), now.get(name)) {
            (Some(before), Some(value)) if *value > before + before.abs() * (SLACK - 1.0) => {
                println!("{name:48} {value:>10}, was {before}: WORSE{}", by(*before, *value));
                worse += 1;
            }
            (Some(before), Some(value)) if value + before.abs() * (SLACK - 1.0) < *before => {
                println!("{name:48} {value:>10}, was {before}: better{}", by(*before, *value));
            }
            (Some(_), None) if partial => (),
            (Some(before), None) => {
                println!("{name:48} {:>10}, was {before}: NOT MEASURED", "");
                worse += 1;
            }
            (None, Some(value)) => {
                println!("{name:48} {value:>10}: NOT IN THE TABLE");
                worse += 1;
            }
            _ => same += 1,
        }
    }
    println!("{same} numbers are within {:.0} % of the table", (SLACK - 1.0) * 100.0);
    if worse == 0 { Ok(()) } else { Err(format!("{worse} numbers are not as good as the committed ones").into()) }
}

/// How much that is, where it can be said.
fn by(before: f64, value: f64) -> String {
    if before > 0.0 { format!(" by {:.1} %", (value / before - 1.0).abs() * 100.0) } else { String::new() }
}

/// One line of the budgets.
struct Budget {
    name: String,
    limit: f64,
    /// What is put up with where the limit is known to be missed.
    known: Option<f64>,
}

impl Budget {
    fn parse(line: &str) -> Result<Option<Self>, Box<dyn Error>> {
        if line.starts_with('#') || line.trim().is_empty() {
            return Ok(None);
        }
        let mut words = line.split_whitespace();
        let name = words.next().ok_or("a budget without a name")?.to_owned();
        let limit = words.next().ok_or("a budget without a number")?.parse()?;
        Ok(Some(Self { name, limit, known: words.next().map(str::parse).transpose()? }))
    }
}

/// Fails when a number is over its limit, or, where the limit is known to be missed, over what is put up with, and when a
/// number that has a limit was not measured. What is missed comes last, whether it is put up with or not.
pub fn budgets(budgets: &Path, now: &Path) -> Done {
    let now = read(now)?;
    let (mut known, mut new) = (String::new(), String::new());
    println!("{:48} {:>10} {:>10}", "within", "limit", "now");
    for line in fs::read_to_string(budgets)?.lines() {
        let Some(Budget { name, limit, known: put_up_with }) = Budget::parse(line)? else { continue };
        let Some(value) = now.get(&name) else {
            writeln!(new, "{name:48} {limit:>10}   NOT MEASURED")?;
            continue;
        };
        if *value <= limit {
            println!("{name:48} {limit:>10} {value:>10}");
            continue;
        }
        let missed = if put_up_with.is_some_and(|known| *value <= known * SLACK) { &mut known } else { &mut new };
        writeln!(missed, "{name:48} {limit:>10} {value:>10} {:>10.2}", value / limit)?;
    }
    for (title, missed) in [("MISSED, AS KNOWN", &known), ("MISSED", &new)].iter().filter(|(_, some)| !some.is_empty())
    {
        println!("\n{title:48} {:>10} {:>10} {:>10}\n{missed}", "limit", "now", "times");
    }
    let missed = new.lines().count();
    if missed == 0 { Ok(()) } else { Err(format!("{missed} budgets do not hold").into()) }
}

/// Writes into the budgets what each committed table misses them by, at most, and takes out what none misses.
pub fn accept(budgets: &Path, tables: &[PathBuf]) -> Done {
    let tables = tables.iter().map(|table| read(table)).collect::<Result<Vec<_>, _>>()?;
    let mut text = String::new();
    for line in fs::read_to_string(budgets)?.lines() {
        let Some(Budget { name, limit, .. }) = Budget::parse(line)? else {
            writeln!(text, "{line}")?;
            continue;
        };
        let worst = tables.iter().filter_map(|table| table.get(&name)).copied().reduce(f64::max);
        match worst.ok_or(format!("{name} is in no table"))? {
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
        let (name, value) = line.rsplit_once(char::is_whitespace).ok_or("a line without a number")?;
        if table.insert(name.trim().to_owned(), value.parse()?).is_some() {
            return Err(format!("{name} is there twice").into());
        }
    }
    Ok(table)
}
