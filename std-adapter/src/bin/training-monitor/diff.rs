//! The command `diff`. It compares two checkpoints and shows which tensors and values differ, and by how much.

use crate::error::Result;
use crate::inventory::flash_dump::Geometry;
use crate::inventory::{Inventory, Selection};
use crate::numbers::{rounded, rounded_or, shape};
use crate::output;
use crate::output::table::{Cell, Column, Table};
use crate::output::text::{Span, Style};
use crate::stats::TensorDifference;
use crate::stream::{Stream, Tensor};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Shows which tensors and values of two checkpoints differ.
///
/// The exit code is 0 if there is no difference, and 1 otherwise. Elements are compared bit by bit, so 0 and -0 differ.
/// Tensors of different types are different, even if their numbers are equal.
/// The step number, the score and the state of the run are not compared.
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// The path of the first checkpoint: a file, a directory of checkpoints or a flash dump.
    pub a: PathBuf,
    /// The second checkpoint
    pub b: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub selection: Selection,
    /// The step number of the second checkpoint. The default is the step number of the first checkpoint.
    #[arg(long, value_name = "NUMBER")]
    pub step_b: Option<u32>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// The result of the comparison of one tensor or one value in the two checkpoints.
enum Comparison<'a> {
    /// Both checkpoints have a tensor of this name, type and shape.
    Tensors { name: String, difference: TensorDifference },
    /// Both checkpoints have a tensor with this name, but the two tensors have different types or shapes.
    Layouts { name: String, a: &'a Tensor, b: &'a Tensor },
    /// Both checkpoints have a value of this name.
    Values { name: String, is_equal: bool },
    /// Only one checkpoint has a tensor or a value with this name. `checkpoint` is "first" or "second".
    OnlyIn { name: String, checkpoint: &'static str },
}

/// Runs the command `diff`.
pub fn diff(arguments: &Diff) -> Result<ExitCode> {
    let load = |path: &Path, step: Option<u32>| -> Result<Stream> {
        let selection = Selection { step, ..arguments.selection.clone() };
        Ok(Inventory::new(path, &arguments.geometry)?.select(&selection)?.merged_stream())
    };
    let a = load(&arguments.a, arguments.selection.step)?;
    let b = load(&arguments.b, arguments.step_b.or(arguments.selection.step))?;
    let comparisons = compare(&a, &b);
    let is_equal = comparisons.iter().all(Comparison::is_equal);
    let printed = if arguments.json {
        let items: Vec<_> = comparisons.iter().map(Comparison::json).collect();
        output::print_json(&json!({ "equal": is_equal, "items": items }))
    } else {
        print(&a, &b, &comparisons)
    };
    output::exit_code(printed, is_equal)
}

fn compare<'a>(a: &'a Stream, b: &'a Stream) -> Vec<Comparison<'a>> {
    let mut comparisons = Vec::new();
    let only_in = |name: String, checkpoint| Comparison::OnlyIn { name, checkpoint };
    let by_name = |stream: &'a Stream| -> HashMap<(&str, &str), &Tensor> {
        stream.tensors().map(|(object, tensor)| ((object, tensor.name.as_str()), tensor)).collect()
    };
    let (in_a, in_b) = (by_name(a), by_name(b));
    for (object, tensor) in a.tensors() {
        let name = format!("{object}.{}", tensor.name);
        comparisons.push(match in_b.get(&(object, tensor.name.as_str())) {
            Some(other) if (other.element_type, &other.shape) == (tensor.element_type, &tensor.shape) => {
                Comparison::Tensors { name, difference: TensorDifference::new(tensor, other) }
            }
            Some(other) => Comparison::Layouts { name, a: tensor, b: other },
            None => only_in(name, "first"),
        });
    }
    for (object, tensor) in b.tensors() {
        if !in_a.contains_key(&(object, tensor.name.as_str())) {
            comparisons.push(only_in(format!("{object}.{}", tensor.name), "second"));
        }
    }
    for (name, bytes) in a.values() {
        let name = name.to_owned();
        comparisons.push(match b.values().find(|(other, _)| *other == name) {
            Some((_, other)) => Comparison::Values { name, is_equal: bytes == other },
            None => only_in(name, "first"),
        });
    }
    for (name, _) in b.values() {
        if !a.values().any(|(other, _)| other == name) {
            comparisons.push(only_in(name.to_owned(), "second"));
        }
    }
    comparisons
}

impl Comparison<'_> {
    fn is_equal(&self) -> bool {
        match self {
            Comparison::Tensors { difference, .. } => difference.changed == 0,
            Comparison::Values { is_equal, .. } => *is_equal,
            Comparison::Layouts { .. } | Comparison::OnlyIn { .. } => false,
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Comparison::Tensors { name, difference } => json!({ "name": name, "change": difference }),
            Comparison::Layouts { name, a, b } => {
                let types = [a, b].map(|tensor| tensor.element_type.name());
                json!({ "name": name, "types": types, "shapes": [a.shape, b.shape] })
            }
            Comparison::OnlyIn { name, checkpoint } => json!({ "name": name, "only_in": checkpoint }),
            Comparison::Values { name, is_equal } => json!({ "name": name, "equal": is_equal }),
        }
    }

    fn row(&self) -> Vec<Cell> {
        let warning = |text: String| Cell::new(text).style(Style::Yellow);
        match self {
            Comparison::Tensors { name, difference } if difference.changed == 0 => {
                vec![Cell::new(name), Cell::new(format!("0 of {}", difference.elements))]
            }
            Comparison::Tensors { name, difference } => {
                let TensorDifference { changed, elements, max_abs, l2, relative } = difference;
                let relative = relative.map_or("-".to_owned(), |share| format!("{} %", rounded(share * 100.0)));
                vec![
                    Cell::new(name).style(Style::Cyan),
                    Cell::new(format!("{changed} of {elements}")),
                    Cell::new(max_abs.map_or("not finite".to_owned(), |number| number.to_string())),
                    Cell::new(rounded_or(*l2, "not finite")),
                    Cell::new(relative),
                ]
            }
            Comparison::Layouts { name, a, b } => {
                let layout = |tensor: &Tensor| format!("{} {}", tensor.element_type, shape(&tensor.shape));
                vec![Cell::new(name), warning(format!("{} and {}", layout(a), layout(b)))]
            }
            Comparison::OnlyIn { name, checkpoint } => {
                vec![Cell::new(name), warning(format!("only in the {checkpoint}"))]
            }
            Comparison::Values { name, is_equal: true } => vec![Cell::new(name), Cell::new("equal")],
            Comparison::Values { name, is_equal: false } => vec![Cell::new(name), warning("different".to_owned())],
        }
    }
}

fn print(a: &Stream, b: &Stream, comparisons: &[Comparison<'_>]) -> Result<()> {
    output::print_line(format_args!(
        "step {} (iteration {}) and step {} (iteration {})\n",
        a.header.step, a.header.iteration, b.header.step, b.header.iteration
    ))?;
    let number = |title| Column::whole(title).right();
    let mut table = Table::new([
        Column::text("tensor"),
        Column::text("changed").right(),
        number("max |Δ|"),
        number("L2 of Δ").optional(1),
        number("L2 of Δ / L2"),
    ]);
    for comparison in comparisons {
        table.add_row(comparison.row());
    }
    output::print_table(&table)?;
    let different = comparisons.iter().filter(|comparison| !comparison.is_equal()).count();
    if different == 0 {
        output::print_line("")?;
        output::print_spans(&[Span::new("no difference", Style::Green)])
    } else {
        output::print_line(format_args!("\n{different} of {} differ", comparisons.len()))
    }
}
