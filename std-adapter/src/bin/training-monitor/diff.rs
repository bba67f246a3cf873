//! `diff`: which tensors of two checkpoints differ, and by how much.

use crate::failure::Result;
use crate::inspect::table;
use crate::output;
use crate::states::hex;
use crate::stats::{Change, short};
use crate::stream::{Stream, Tensor};
use crate::survey::image::Geometry;
use crate::survey::{Choice, Survey};
use comfy_table::{Cell, CellAlignment, Color};
use owo_colors::OwoColorize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Shows which tensors of two checkpoints differ, and by how much
///
/// Exit code 0 without a difference, 1 with one. Bits are compared, so 0 and -0 differ; only what is trained counts, not
/// the step number or the state of the run.
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// A checkpoint, a directory of checkpoints or a flash dump: its newest, or the one chosen
    pub a: PathBuf,
    /// Another
    pub b: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub choice: Choice,
    /// The step number of the second, if it is another than the first's
    #[arg(long, value_name = "NUMBER")]
    pub step_b: Option<u32>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// What is to be said about one name.
enum Row<'a> {
    Both(String, Change),
    Shapes(String, &'a Tensor, &'a Tensor),
    Only(String, &'static str),
    Value(String, bool),
}

/// Runs `diff`.
pub fn diff(arguments: &Diff) -> Result<ExitCode> {
    let load = |path: &Path, step: Option<u32>| -> Result<Stream> {
        let choice = Choice { step, ..arguments.choice.clone() };
        Ok(Survey::new(path, &arguments.geometry)?.choose(&choice)?.stream())
    };
    let a = load(&arguments.a, arguments.choice.step)?;
    let b = load(&arguments.b, arguments.step_b.or(arguments.choice.step))?;
    let rows = compare(&a, &b);
    let differ = rows.iter().any(Row::differs);
    let printed = if arguments.json {
        let rows: Vec<_> = rows.iter().map(Row::json).collect();
        output::json(&json!({ "equal": !differ, "items": rows }))
    } else {
        print(&a, &b, &rows)
    };
    output::answered(printed, !differ)
}

fn compare<'a>(a: &'a Stream, b: &'a Stream) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let find = |stream: &'a Stream, object: &str, name: &str| {
        stream.tensors().find(|(o, tensor)| *o == object && tensor.name == name).map(|(_, tensor)| tensor)
    };
    for (object, tensor) in a.tensors() {
        let key = format!("{object}.{}", tensor.name);
        rows.push(match find(b, object, &tensor.name) {
            Some(other) if other.shape == tensor.shape => {
                Row::Both(key, Change::between(&tensor.elements, &other.elements))
            }
            Some(other) => Row::Shapes(key, tensor, other),
            None => Row::Only(key, "first"),
        });
    }
    for (object, tensor) in b.tensors() {
        if find(a, object, &tensor.name).is_none() {
            rows.push(Row::Only(format!("{object}.{}", tensor.name), "second"));
        }
    }
    for (name, bytes) in a.values() {
        match b.values().find(|(other, _)| *other == name) {
            Some((_, other)) => rows.push(Row::Value(name.to_owned(), hex(bytes) == hex(other))),
            None => rows.push(Row::Only(name.to_owned(), "first")),
        }
    }
    for (name, _) in b.values() {
        if !a.values().any(|(other, _)| other == name) {
            rows.push(Row::Only(name.to_owned(), "second"));
        }
    }
    rows
}

impl Row<'_> {
    fn differs(&self) -> bool {
        match self {
            Row::Both(_, change) => change.changed > 0,
            Row::Value(_, same) => !same,
            Row::Shapes(..) | Row::Only(..) => true,
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Row::Both(name, change) => json!({ "name": name, "change": change }),
            Row::Shapes(name, a, b) => json!({ "name": name, "shapes": [a.shape, b.shape] }),
            Row::Only(name, place) => json!({ "name": name, "only_in": place }),
            Row::Value(name, same) => json!({ "name": name, "equal": same }),
        }
    }
}

fn print(a: &Stream, b: &Stream, rows: &[Row<'_>]) -> Result<()> {
    output::line(format_args!(
        "step {} (iteration {}) and step {} (iteration {})\n",
        a.head.step, a.head.iteration, b.head.step, b.head.iteration
    ))?;
    let mut table = table::table(&["tensor", "changed", "max |Δ|", "L2 of Δ", "L2 of Δ / L2"]);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let number = |value: Option<f64>| value.map_or("not finite".to_owned(), short);
    let only = |text: String| Cell::new(text).fg(Color::Yellow);
    for row in rows {
        match row {
            Row::Both(name, change) if change.changed == 0 => {
                table.add_row([Cell::new(name), Cell::new(format!("0 of {}", change.elements))]);
            }
            Row::Both(name, change) => {
                let changed = format!("{} of {}", change.changed, change.elements);
                let relative = change.relative.map_or("-".to_owned(), |share| format!("{} %", short(share * 100.0)));
                table.add_row([
                    Cell::new(name).fg(Color::Cyan),
                    Cell::new(changed),
                    Cell::new(number(change.max_abs)),
                    Cell::new(number(change.l2)),
                    Cell::new(relative),
                ]);
            }
            Row::Shapes(name, a, b) => {
                table.add_row([Cell::new(name), only(format!("shape {:?} and {:?}", a.shape, b.shape))]);
            }
            Row::Only(name, place) => {
                table.add_row([Cell::new(name), only(format!("only in the {place}"))]);
            }
            Row::Value(name, same) => {
                let told = if *same { Cell::new("the same") } else { only("another value".to_owned()) };
                table.add_row([Cell::new(name), told]);
            }
        }
    }
    output::line(&table)?;
    let count = rows.iter().filter(|row| row.differs()).count();
    if count == 0 {
        output::line(format_args!("\n{}", "no difference".green()))
    } else {
        output::line(format_args!("\n{count} of {} differ", rows.len()))
    }
}
