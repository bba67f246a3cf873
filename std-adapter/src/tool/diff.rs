//! The command `diff`. It compares two checkpoints and shows which tensors and values differ, and by how much.

use crate::tool::error::{CliError, Result};
use crate::tool::exchange::{file_name_of, read_as_stream};
use crate::tool::inventory::flash_dump::Geometry;
use crate::tool::inventory::{Inventory, Selection};
use crate::tool::numbers::{rounded, rounded_or, shape};
use crate::tool::output;
use crate::tool::output::table::{Cell, Column, Table};
use crate::tool::output::text::{Span, Style};
use crate::tool::stats::{DifferenceCollector, TensorDifference, Tolerance};
use crate::tool::stream::{CHUNK, Payload, Purpose, Source, Stream, Tensor};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Shows which tensors and values of two checkpoints differ.
///
/// The exit code is 0 if there is no difference, and 1 otherwise. Elements are compared bit by bit, so 0 and -0 differ,
/// unless --rtol or --atol allows a difference. Tensors of different types are different, even if their numbers are equal.
/// The step number, the score and the state of the run are not compared. The values are not compared if one of the files
/// contains only tensors.
#[derive(clap::Args, Debug)]
pub struct Diff {
    /// The first checkpoint: a file, a directory of checkpoints, a flash dump, or a file of tensors (safetensors, npz,
    /// json, csv); `-` for standard input
    pub a: PathBuf,
    /// The second checkpoint
    pub b: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub selection: Selection,
    /// The step number of the second checkpoint. By default, the options for the first checkpoint also select the second.
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["best_b", "newest_b"])]
    pub step_b: Option<u32>,
    /// Select the checkpoint with the highest score as the second checkpoint
    #[arg(long, conflicts_with = "newest_b")]
    pub best_b: bool,
    /// Select the newest checkpoint as the second checkpoint
    #[arg(long)]
    pub newest_b: bool,
    /// Select the second checkpoint from this series. The default is the series of the first checkpoint.
    #[arg(long, value_name = "NAME")]
    pub series_b: Option<String>,
    /// Allow a difference relative to the second checkpoint: elements a and b are equal if |a - b| <= ATOL + RTOL * |b|
    #[arg(long, value_name = "RTOL", allow_hyphen_values = true, value_parser = parse_tolerance)]
    pub rtol: Option<f64>,
    /// Allow an absolute difference
    #[arg(long, value_name = "ATOL", allow_hyphen_values = true, value_parser = parse_tolerance)]
    pub atol: Option<f64>,
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

impl Diff {
    /// Returns the selection of the second checkpoint.
    fn selection_b(&self) -> Selection {
        let Selection { step, best, series } = self.selection.clone();
        let series = self.series_b.clone().or(series);
        match (self.step_b, self.best_b, self.newest_b) {
            (None, false, false) => Selection { step, best, series },
            (step, best, _) => Selection { step, best, series },
        }
    }

    /// Returns the tolerance, if the user allows a difference.
    fn tolerance(&self) -> Option<Tolerance> {
        let is_given = self.rtol.is_some() || self.atol.is_some();
        is_given.then(|| Tolerance { rtol: self.rtol.unwrap_or(0.0), atol: self.atol.unwrap_or(0.0) })
    }
}

fn parse_tolerance(text: &str) -> std::result::Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("a tolerance is a number from 0".to_owned()) }
}

/// One side of the comparison.
struct Side {
    stream: Stream,
    /// Whether the file contains the step and the values of the checkpoint, in addition to its tensors.
    is_complete: bool,
}

impl Side {
    fn load(path: &Path, selection: &Selection, geometry: &Geometry) -> Result<Side> {
        let select = |inventory: Inventory| Ok(inventory.select(selection)?.merged_stream());
        if path.is_dir() {
            return Ok(Side { stream: select(Inventory::new(path, geometry)?)?, is_complete: true });
        }
        let source = Source::open(path)?;
        Ok(match read_as_stream(path, &source)?.filter(|_| !geometry.is_given()) {
            Some((stream, is_complete)) => Side { stream, is_complete },
            None => {
                let inventory = Inventory::of_source(path, &source, geometry, Purpose::Read)?;
                Side { stream: select(inventory)?, is_complete: true }
            }
        })
    }

    /// Describes the checkpoint.
    fn title(&self) -> String {
        let header = &self.stream.header;
        match self.is_complete {
            true => format!("step {} (iteration {})", header.step, header.iteration),
            false => "a file of tensors".to_owned(),
        }
    }
}

/// Runs the command `diff`.
pub fn diff(arguments: &Diff) -> Result<u8> {
    if [&arguments.a, &arguments.b].iter().all(|path| path.as_os_str() == "-") {
        return Err(CliError::usage("standard input can be only one of the two checkpoints"));
    }
    let (a, b) = in_parallel(
        || Side::load(&arguments.a, &arguments.selection, &arguments.geometry),
        || Side::load(&arguments.b, &arguments.selection_b(), &arguments.geometry),
    );
    let (a, b) = (a?, b?);
    let comparisons = compare(&a, &b, arguments.tolerance())?;
    let is_equal = comparisons.iter().all(Comparison::is_equal);
    let printed = if arguments.json {
        let items: Vec<_> = comparisons.iter().map(Comparison::json).collect();
        output::print_json(&json!({ "equal": is_equal, "items": items }))
    } else {
        print(&a, &b, &comparisons)
    };
    output::exit_code(printed, is_equal)
}

fn compare<'a>(a: &'a Side, b: &'a Side, tolerance: Option<Tolerance>) -> Result<Vec<Comparison<'a>>> {
    let has_values = a.is_complete && b.is_complete;
    let (a, b) = (&a.stream, &b.stream);
    let mut comparisons = Vec::new();
    let only_in = |name: String, checkpoint| Comparison::OnlyIn { name, checkpoint };
    let by_name = |stream: &'a Stream| -> HashMap<String, &Tensor> {
        stream.tensors().map(|(object, tensor)| (file_name_of(object, tensor), tensor)).collect()
    };
    let (in_a, in_b) = (by_name(a), by_name(b));
    for (object, tensor) in a.tensors() {
        let name = file_name_of(object, tensor);
        comparisons.push(match in_b.get(&name) {
            Some(other) if (other.element_type, &other.shape) == (tensor.element_type, &tensor.shape) => {
                Comparison::Tensors { name, difference: compare_tensors(tensor, other, tolerance)? }
            }
            Some(other) => Comparison::Layouts { name, a: tensor, b: other },
            None => only_in(name, "first"),
        });
    }
    for (object, tensor) in b.tensors() {
        let name = file_name_of(object, tensor);
        if !in_a.contains_key(&name) {
            comparisons.push(only_in(name, "second"));
        }
    }
    if !has_values {
        return Ok(comparisons);
    }
    for (name, payload) in a.values() {
        let name = name.to_owned();
        comparisons.push(match b.values().find(|(other, _)| *other == name) {
            Some((_, other)) => Comparison::Values { name, is_equal: is_equal(payload, other)? },
            None => only_in(name, "first"),
        });
    }
    for (name, _) in b.values() {
        if !a.values().any(|(other, _)| other == name) {
            comparisons.push(only_in(name.to_owned(), "second"));
        }
    }
    Ok(comparisons)
}

/// The length in bytes from which the two halves of a tensor are compared at the same time.
const LARGE: u64 = 8 << 20;

/// Compares the elements of two tensors, which have the same type and shape.
fn compare_tensors(a: &Tensor, b: &Tensor, tolerance: Option<Tolerance>) -> Result<TensorDifference> {
    let compare = |start: u64, end: u64| -> Result<DifferenceCollector> {
        let mut collector = DifferenceCollector::new(a.element_type, tolerance);
        let [a, b] = [a, b].map(|tensor| tensor.payload.part(start, end - start));
        a.for_each_chunk_with(&b, |a, b| collector.add(a, b))?;
        Ok(collector)
    };
    let len = a.payload.len();
    if len < LARGE {
        return Ok(compare(0, len)?.finish());
    }
    // The sums do not depend on the number of processors, because the division does not.
    let middle = (len / 2).next_multiple_of(CHUNK as u64);
    let (first, second) = in_parallel(|| compare(0, middle), || compare(middle, len));
    let mut collector = first?;
    collector.merge(&second?);
    Ok(collector.finish())
}

/// Calls two functions at the same time. Most of the time of `diff` passes while the system copies the bytes of the files.
fn in_parallel<T: Send, U>(first: impl FnOnce() -> T + Send, second: impl FnOnce() -> U) -> (T, U) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(first);
        let second = second();
        (thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), second)
    })
}

/// Returns whether two values have the same bytes.
fn is_equal(a: &Payload, b: &Payload) -> Result<bool> {
    let mut is_equal = a.len() == b.len();
    if is_equal {
        a.for_each_chunk_with(b, |a, b| is_equal &= a == b)?;
    }
    Ok(is_equal)
}

impl Comparison<'_> {
    fn is_equal(&self) -> bool {
        match self {
            Comparison::Tensors { difference, .. } => difference.is_equal(),
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
                let TensorDifference { changed, elements, max_abs, l2, relative, .. } = difference;
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

fn print(a: &Side, b: &Side, comparisons: &[Comparison<'_>]) -> Result<()> {
    output::print_line(format_args!("{} and {}\n", a.title(), b.title()))?;
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
