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
            Some(before) if value > before * SLACK => {
                println!("{name}: {value}, was {before}: {:+.1} %", (value / before - 1.0) * 100.0);
                worse += 1;
            }
            Some(before) if value * SLACK < *before => println!("{name}: {value}, was {before}: better"),
            Some(_) => (),
        }
    }
    if worse == 0 { Ok(()) } else { Err(format!("{worse} numbers are worse than the committed ones").into()) }
}

fn read(path: &Path) -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error>> {
    let mut table = BTreeMap::new();
    for line in fs::read_to_string(path)?.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(char::is_whitespace).ok_or("a line without a number")?;
        table.insert(name.trim().to_owned(), value.parse()?);
    }
    Ok(table)
}
