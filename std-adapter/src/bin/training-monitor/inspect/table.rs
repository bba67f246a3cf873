//! Prints an inventory (the list of all checkpoints at a path) as tables. The tables have colors if standard output is
//! a terminal.

use crate::elements::Number;
use crate::error::Result;
use crate::handler_state::{HandlerState, describe_engine};
use crate::inventory::flash_dump::describe_region;
use crate::inventory::{Checkpoint, Inventory, Medium, Selection, Series, Verdict};
use crate::numbers::{count, crc, exact, hex, percent, rounded_or, shape, text_or_hex};
use crate::output::print_line;
use crate::stats::TensorStats;
use crate::stream::Stream;
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table};
use owo_colors::OwoColorize;
use std::path::Path;
use training_monitor::checkpoint::Series as RankingSeries;
use training_monitor::store::flash::layout::SealState;

/// The maximum number of bytes that the tables show of one stored value.
const MAX_VALUE_BYTES: usize = 32;

/// Prints all checkpoints and all unusable files or slots, and then the selected checkpoint in detail.
pub fn print(inventory: &Inventory, selection: &Selection) -> Result<()> {
    let checkpoints = inventory.checkpoint_count();
    let medium = match inventory.medium {
        Medium::File => "checkpoint file",
        Medium::Directory => "directory",
        Medium::Flash => "flash dump",
    };
    let verdict = if inventory.is_intact() { "intact".green().to_string() } else { "DAMAGED".red().bold().to_string() };
    let path = inventory.path.display();
    print_line(format_args!("{} ({medium}): {}, {verdict}", path.bold(), count(checkpoints, "checkpoint")))?;
    for series in &inventory.series {
        print_series(inventory.medium, series)?;
    }
    print_leftovers(inventory)?;
    if checkpoints == 0 {
        return Ok(());
    }
    let selected = inventory.select(selection)?;
    if checkpoints > 1 {
        let title = format!("step {}", selected.header.step);
        print_line(format_args!("\n{} ({})", title.bold(), selected.streams[0].place))?;
    }
    print_details(selected)
}

fn print_leftovers(inventory: &Inventory) -> Result<()> {
    let (free, others): (Vec<_>, Vec<_>) = inventory.leftovers.iter().partition(|item| item.verdict == Verdict::Free);
    if !others.is_empty() {
        print_line(format_args!("\n{}", "not checkpoints".bold()))?;
        let mut table = new_table(&["state", "place", "reason"]);
        for item in others {
            let color = if item.verdict.is_loss() { Color::Red } else { Color::Yellow };
            table.add_row([Cell::new(item.verdict.label()).fg(color), Cell::new(&item.place), Cell::new(&item.reason)]);
        }
        print_line(&table)?;
    }
    if !free.is_empty() {
        let places: Vec<&str> = free.iter().map(|item| item.place.as_str()).collect();
        print_line(format_args!("\nfree: {}", places.join(", ")))?;
    }
    Ok(())
}

fn print_series(medium: Medium, series: &Series) -> Result<()> {
    let mut title = series.name.bold().to_string();
    if let Some(region) = &series.region {
        title = format!("{} {title}: {}", "region".bold(), describe_region(region));
    }
    if medium != Medium::File {
        print_line(format_args!("\n{title}"))?;
    }
    if series.checkpoints.is_empty() {
        return Ok(());
    }
    let mut columns = vec!["step", "score", "rank", "iteration", "sequence", "bytes", "CRC"];
    columns.extend(if series.region.is_some() { ["slot", "erases"].as_slice() } else { &["files"] });
    let mut table = new_table(&columns);
    for (checkpoint, rank) in series.checkpoints.iter().zip(series.ranks()) {
        table.add_row(checkpoint_row(checkpoint, rank));
    }
    print_line(&table)
}

fn checkpoint_row(checkpoint: &Checkpoint, rank: usize) -> Vec<Cell> {
    let header = &checkpoint.header;
    let score = match (&header.score_name, header.score) {
        (Some(name), Some(score)) => format!("{name} {}", exact(score)),
        (_, Some(score)) => exact(score),
        (_, None) => "-".to_owned(),
    };
    let is_best = rank == 1 && header.score.is_some();
    let checksums: Vec<String> = checkpoint.streams.iter().map(|stored| crc(stored.crc)).collect();
    let mut row = vec![
        Cell::new(header.step).add_attribute(Attribute::Bold),
        Cell::new(score),
        if is_best { Cell::new(rank).fg(Color::Green) } else { Cell::new(rank) },
        Cell::new(header.iteration),
        Cell::new(header.sequence),
        Cell::new(checkpoint.len()),
        Cell::new(checksums.join(" ")),
    ];
    match checkpoint.slot {
        Some(slot) => {
            let seal = match slot.seal {
                SealState::Complete => "",
                SealState::Incomplete => " (incomplete seal: power failed at the end of its commit)",
            };
            row.push(Cell::new(format!("{}{seal}", slot.index)));
            row.push(Cell::new(slot.erases));
        }
        None => row.push(Cell::new(checkpoint.streams.len())),
    }
    row
}

/// Prints the details of a checkpoint: the state of the run, the states of the handlers, the tensors and the values.
fn print_details(checkpoint: &Checkpoint) -> Result<()> {
    let stream = checkpoint.merged_stream();
    let header = &checkpoint.header;
    if header.as_core().series != RankingSeries::default() {
        let name = if header.series_name.is_empty() { "(default)" } else { &header.series_name };
        let (rule, model) = (header.rule_label(), crc(header.model));
        print_line(format_args!("{}  {name}, rule {rule}, model {model}", "series".bold()))?;
    }
    if let Some(writer) = &header.writer {
        print_line(format_args!("{}  training-monitor {writer}", "writer".bold()))?;
    }
    for (name, value) in &header.metadata {
        print_line(format_args!("{}  {name}  {}", "metadata".bold(), shortened(value, text_or_hex)))?;
    }
    if let Some(record) = header.record() {
        print_line(format_args!("{}  {}", "run".bold(), describe_engine(record)))?;
        let mut table = new_table(&["handler", "state"]);
        for state in HandlerState::all(record) {
            let (handler, text) = state.describe();
            table.add_row([handler, text]);
        }
        print_line(format_args!("\n{table}"))?;
    }
    if stream.tensors().next().is_some() {
        print_line(format_args!("\n{}", tensor_table(&stream)))?;
    }
    for (name, bytes) in stream.values() {
        let shown = shortened(bytes, hex);
        print_line(format_args!("\n{} (value)  {}  {shown}", name.bold(), count(bytes.len(), "byte")))?;
    }
    Ok(())
}

/// Formats the first bytes of a value.
fn shortened(bytes: &[u8], format: fn(&[u8]) -> String) -> String {
    match bytes.get(..MAX_VALUE_BYTES) {
        Some(start) if bytes.len() > MAX_VALUE_BYTES => format!("{} …", format(start)),
        _ => format(bytes),
    }
}

fn tensor_table(stream: &Stream) -> Table {
    let mut table = new_table(&["tensor", "type", "shape", "min", "max", "mean", "zeros", "other"]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (object, tensor) in stream.tensors() {
        let stats = TensorStats::new(tensor);
        let other = match (stats.true_count, stats.non_finite()) {
            (Some(count), _) => Cell::new(format!("{count} true")),
            (None, 0) => Cell::new(""),
            (None, _) => Cell::new(format!("{} NaN, {} infinite", stats.nan, stats.infinite)).fg(Color::Red),
        };
        let number = |number: Option<Number>| number.map_or("-".to_owned(), |number| number.to_string());
        table.add_row([
            Cell::new(format!("{object}.{}", tensor.name)),
            Cell::new(tensor.element_type),
            Cell::new(shape(&tensor.shape)),
            Cell::new(number(stats.min)),
            Cell::new(number(stats.max)),
            Cell::new(rounded_or(stats.mean, "-")),
            Cell::new(percent(stats.zeros)),
            other,
        ]);
    }
    table
}

/// Creates a table without rows.
pub fn new_table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|name| Cell::new(name).add_attribute(Attribute::Dim)));
    table
}

/// Prints the result of `verify` for a path.
pub fn print_verdict(path: &Path, inventory: &Inventory) -> Result<()> {
    for item in inventory.losses() {
        // For a single file, the printed path already names the file.
        let place = if inventory.medium == Medium::File { "" } else { &*format!("{}: ", item.place) };
        print_line(format_args!("{} {}: {place}{}", "damaged".red().bold(), path.display(), item.reason))?;
    }
    if inventory.is_intact() {
        let checkpoints = count(inventory.checkpoint_count(), "checkpoint");
        print_line(format_args!("{} {}: {checkpoints}", "intact".green(), path.display()))?;
    }
    Ok(())
}
