//! Prints an inventory (the list of all checkpoints at a path) as tables. The tables have colors if standard output is
//! a terminal, and they fit its width.

use crate::tool::elements::Number;
use crate::tool::error::Result;
use crate::tool::handler_state::{HandlerState, describe_engine};
use crate::tool::inventory::flash_dump::describe_region;
use crate::tool::inventory::{Checkpoint, Inventory, Medium, Selection, Series, Verdict};
use crate::tool::numbers::{count, crc, exact, hex, percent, rounded_or, shape, text_or_hex};
use crate::tool::output::table::{Cell, Column, Table};
use crate::tool::output::text::{Span, Style, bold, plain};
use crate::tool::output::{print_line, print_spans, print_table};
use crate::tool::stream::{Stream, StreamHeader};
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
    let verdict = match inventory.is_intact() {
        true => Span::new("intact", Style::Green),
        false => Span::new("DAMAGED", Style::Red),
    };
    let summary = format!(" ({medium}): {}, ", count(checkpoints, "checkpoint"));
    print_spans(&[bold(inventory.path.display()), plain(summary), verdict])?;
    for series in &inventory.series {
        print_series(inventory.medium, series)?;
    }
    print_leftovers(inventory)?;
    // Without a selection, a path without a checkpoint is no error.
    if checkpoints == 0 && !selection.is_given() {
        return Ok(());
    }
    let selected = inventory.select(selection)?;
    if checkpoints > 1 {
        print_line("")?;
        let title = format!("step {}", selected.header.step);
        print_spans(&[bold(title), plain(format_args!(" ({})", selected.streams[0].place))])?;
    }
    print_details(selected)
}

fn print_leftovers(inventory: &Inventory) -> Result<()> {
    let (free, others): (Vec<_>, Vec<_>) = inventory.leftovers.iter().partition(|item| item.verdict == Verdict::Free);
    if !others.is_empty() {
        print_line("")?;
        print_spans(&[bold("not checkpoints")])?;
        let mut table = Table::new([Column::whole("state"), Column::text("place"), Column::text("reason")]);
        for item in others {
            let style = if item.verdict.is_loss() { Style::Red } else { Style::Yellow };
            let label = Cell::new(item.verdict.label()).style(style);
            table.add_row([label, Cell::new(&item.place), Cell::new(&item.reason)]);
        }
        print_table(&table)?;
    }
    if !free.is_empty() {
        let places: Vec<&str> = free.iter().map(|item| item.place.as_str()).collect();
        print_line("")?;
        print_spans(&[plain(format_args!("free: {}", places.join(", ")))])?;
    }
    Ok(())
}

fn print_series(medium: Medium, series: &Series) -> Result<()> {
    if medium != Medium::File {
        let title = bold(&series.name);
        print_line("")?;
        match &series.region {
            None => print_spans(&[title])?,
            Some(region) => {
                let region = plain(format_args!(": {}", describe_region(region)));
                print_spans(&[bold("region "), title, region])?;
            }
        }
    }
    if series.checkpoints.is_empty() {
        return Ok(());
    }
    let mut columns = vec![
        Column::whole("step"),
        Column::text("score"),
        Column::whole("rank"),
        Column::whole("iteration").optional(4),
        Column::whole("sequence").optional(2),
        Column::whole("bytes").optional(5),
        Column::text("CRC").optional(1),
    ];
    match series.region {
        Some(_) => columns.extend([Column::text("slot"), Column::whole("erases")]),
        None => columns.push(Column::whole("files").optional(3)),
    }
    let mut table = Table::new(columns);
    for (checkpoint, rank) in series.checkpoints.iter().zip(series.ranks()) {
        table.add_row(checkpoint_row(checkpoint, rank));
    }
    print_table(&table)
}

/// Returns the score as text. If it has a name, the number has no sign, as in the file names: the score of a loss is the
/// negated loss, and the loss itself is positive wherever it is shown.
fn describe_score(header: &StreamHeader) -> String {
    match (&header.score_name, header.score) {
        (Some(name), Some(score)) if score < 0.0 => format!("{name} {} (score {})", exact(-score), exact(score)),
        (Some(name), Some(score)) => format!("{name} {}", exact(score)),
        (None, Some(score)) => exact(score),
        (_, None) => "-".to_owned(),
    }
}

fn checkpoint_row(checkpoint: &Checkpoint, rank: usize) -> Vec<Cell> {
    let header = &checkpoint.header;
    let is_best = rank == 1 && header.score.is_some();
    let checksums: Vec<String> = checkpoint.streams.iter().map(|stored| crc(stored.crc)).collect();
    let mut row = vec![
        Cell::new(header.step).style(Style::Bold),
        Cell::new(describe_score(header)),
        Cell::new(rank).style(if is_best { Style::Green } else { Style::Plain }),
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
    let print_fact = |name: &str, text: String| print_spans(&[bold(name), plain(format_args!("  {text}"))]);
    if header.as_core().series != RankingSeries::default() {
        let name = if header.series_name.is_empty() { "(default)" } else { &header.series_name };
        print_fact("series", format!("{name}, rule {}, model {}", header.rule_label(), crc(header.model)))?;
    }
    if let Some(writer) = &header.writer {
        print_fact("writer", format!("training-monitor {writer}"))?;
    }
    for (name, value) in &header.metadata {
        print_fact("metadata", format!("{name}  {}", shortened(value, text_or_hex)))?;
    }
    if let Some(record) = header.record() {
        print_fact("run", describe_engine(record))?;
        let mut table = Table::new([Column::text("handler"), Column::text("state")]);
        for state in HandlerState::all(record) {
            let (handler, text) = state.describe();
            table.add_row([Cell::new(handler), Cell::new(text)]);
        }
        print_line("")?;
        print_table(&table)?;
    }
    if stream.tensors().next().is_some() {
        print_line("")?;
        print_table(&tensor_table(&stream)?)?;
        print_line("")?;
        print_fact("parameters", describe_parameters(&stream))?;
    }
    for (name, payload) in stream.values() {
        let shown = shortened(&payload.prefix(MAX_VALUE_BYTES as u64 + 1)?, hex);
        let text = format!(" (value)  {}  {shown}", count(payload.len() as usize, "byte"));
        print_line("")?;
        print_spans(&[bold(name), plain(text)])?;
    }
    Ok(())
}

/// Returns the number of elements of all tensors, and that of each object.
fn describe_parameters(stream: &Stream) -> String {
    let mut objects: Vec<(&str, u64)> = Vec::new();
    for (object, tensor) in stream.tensors() {
        match objects.last_mut() {
            Some((name, elements)) if *name == object => *elements += tensor.len(),
            _ => objects.push((object, tensor.len())),
        }
    }
    let total: u64 = objects.iter().map(|(_, elements)| elements).sum();
    match &objects[..] {
        [_] => total.to_string(),
        objects => {
            let parts: Vec<String> = objects.iter().map(|(name, elements)| format!("{name} {elements}")).collect();
            format!("{total} ({})", parts.join(", "))
        }
    }
}

/// Formats the first bytes of a value.
fn shortened(bytes: &[u8], format: fn(&[u8]) -> String) -> String {
    match bytes.get(..MAX_VALUE_BYTES) {
        Some(start) if bytes.len() > MAX_VALUE_BYTES => format!("{} …", format(start)),
        _ => format(bytes),
    }
}

fn tensor_table(stream: &Stream) -> Result<Table> {
    let mut table = Table::new([
        Column::text("tensor"),
        Column::whole("type").optional(4),
        Column::whole("shape"),
        Column::whole("min").right(),
        Column::whole("max").right(),
        Column::whole("mean").right().optional(5),
        Column::whole("std").right().optional(3),
        Column::whole("norm").right().optional(2),
        Column::whole("zeros").right().optional(1),
        Column::whole("other").right(),
    ]);
    for (object, tensor) in stream.tensors() {
        let stats = tensor.stats()?;
        let other = match (stats.true_count, stats.non_finite()) {
            (Some(count), _) => Cell::new(format!("{count} true")),
            (None, 0) => Cell::new(""),
            (None, _) => Cell::new(format!("{} NaN, {} infinite", stats.nan, stats.infinite)).style(Style::Red),
        };
        let number = |number: Option<Number>| number.map_or("-".to_owned(), |number| number.to_string());
        table.add_row([
            Cell::new(format!("{object}.{}", tensor.name)),
            Cell::new(tensor.element_type),
            Cell::new(shape(&tensor.shape)),
            Cell::new(number(stats.min)),
            Cell::new(number(stats.max)),
            Cell::new(rounded_or(stats.mean, "-")),
            Cell::new(rounded_or(stats.std, "-")),
            Cell::new(rounded_or(stats.norm, "-")),
            Cell::new(percent(stats.zeros)),
            other,
        ]);
    }
    Ok(table)
}

/// Prints the result of `verify` for a path.
pub fn print_verdict(path: &Path, inventory: &Inventory) -> Result<()> {
    for item in inventory.losses() {
        // For a single file, the printed path already names the file.
        let place = if inventory.medium == Medium::File { "" } else { &*format!("{}: ", item.place) };
        let text = format!(" {}: {place}{}", path.display(), item.reason);
        print_spans(&[Span::new("damaged", Style::Red), plain(text)])?;
    }
    if inventory.is_intact() {
        let checkpoints = count(inventory.checkpoint_count(), "checkpoint");
        let text = format!(" {}: {checkpoints}", path.display());
        print_spans(&[Span::new("intact", Style::Green), plain(text)])?;
    }
    Ok(())
}
