//! Tables of numbers, `name value` a line, against the committed ones.

use crate::Done;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How much more than the committed number is put up with.
const SLACK: f64 = 1.02;

/// Fails when a number of `now` is more than [`SLACK`] times that of `committed`, or has no counterpart there.
pub fn compare(committed: &Path, now: &Path) -> Done {
    let committed = read(committed)?;
    let mut worse = 0;
    for (name, value) in read(now)? {
        match committed.get(&name) {
            None => {
                println!("{name}: {value}, not in the committed table");
                worse += 1;
            }
            Some(before) if value > before + before.abs() * (SLACK - 1.0) => {
                println!("{name}: {value}, was {before}: {:+.1} %", (value / before - 1.0) * 100.0);
                worse += 1;
            }
            Some(before) if value + before.abs() * (SLACK - 1.0) < *before => {
                println!("{name}: {value}, was {before}: better")
            }
            Some(_) => (),
        }
    }
    if worse == 0 { Ok(()) } else { Err(format!("{worse} numbers are worse than the committed ones").into()) }
}

/// Fails when a number is over its limit, or, where the limit is known to be missed, over what is put up with.
pub fn budgets(budgets: &Path, now: &Path) -> Done {
    let now = read(now)?;
    let mut over = 0;
    for line in fs::read_to_string(budgets)?.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split_whitespace();
        let name = words.next().ok_or("a budget without a name")?;
        let limit: f64 = words.next().ok_or("a budget without a number")?.parse()?;
        let known: Option<f64> = words.next().map(str::parse).transpose()?;
        let Some(value) = now.get(name) else { continue };
        let state = match known {
            _ if *value <= limit => "holds",
            Some(known) if *value <= known * SLACK => "missed, as known",
            _ => {
                over += 1;
                "OVER"
            }
        };
        println!("{name}: {value} of {limit}: {state}");
    }
    if over == 0 { Ok(()) } else { Err(format!("{over} numbers are over their budgets").into()) }
}

fn read(path: &Path) -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error>> {
    let mut table = BTreeMap::new();
    for line in fs::read_to_string(path)?.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(char::is_whitespace).ok_or("a line without a number")?;
        table.insert(name.trim().to_owned(), value.parse()?);
    }
    Ok(table)
}
