//! A survey for people: tables, with colour where there is a terminal.

use crate::failure::Result;
use crate::output;
use crate::states::{self, State, hex};
use crate::stats::{Stats, short};
use crate::stream::Stream;
use crate::survey::{Checkpoint, Choice, Kind, Series, Survey, Verdict};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, Table};
use owo_colors::OwoColorize;
use std::path::Path;

/// Prints all of a survey, and one checkpoint of it in detail.
pub fn print(survey: &Survey, choice: &Choice) -> Result<()> {
    let count: usize = survey.series.iter().map(|series| series.checkpoints.len()).sum();
    let what = match survey.kind {
        Kind::File => "checkpoint file",
        Kind::Directory => "directory",
        Kind::Flash => "flash dump",
    };
    let whole = if survey.is_whole() { "whole".green().to_string() } else { "DAMAGED".red().bold().to_string() };
    output::line(format_args!("{} ({what}): {}, {whole}", survey.path.display().bold(), counted(count, "checkpoint")))?;
    for series in &survey.series {
        print_series(survey.kind, series)?;
    }
    let (free, others): (Vec<_>, Vec<_>) = survey.others.iter().partition(|other| other.verdict == Verdict::Free);
    if !others.is_empty() {
        output::line(format_args!("\n{}", "not checkpoints".bold()))?;
        let mut table = table(&["state", "place", "why"]);
        for other in others {
            let color = if other.verdict.is_loss() { Color::Red } else { Color::Yellow };
            table.add_row([Cell::new(other.verdict.word()).fg(color), Cell::new(&other.place), Cell::new(&other.why)]);
        }
        output::line(&table)?;
    }
    if !free.is_empty() {
        let places: Vec<&str> = free.iter().map(|other| other.place.as_str()).collect();
        output::line(format_args!("\nfree: {}", places.join(", ")))?;
    }
    if count == 0 {
        return Ok(());
    }
    let chosen = survey.choose(choice)?;
    if count > 1 {
        output::line(format_args!("\n{} ({})", format!("step {}", chosen.head.step).bold(), chosen.parts[0].place))?;
    }
    detail(chosen)
}

fn print_series(kind: Kind, series: &Series) -> Result<()> {
    let mut title = series.name.bold().to_string();
    if let Some(region) = series.region {
        title = format!(
            "{} {title}: {} of {} bytes, {} in all",
            "region".bold(),
            counted(region.slots, "slot"),
            region.slot,
            counted(region.erases as usize, "erase"),
        );
    }
    if kind != Kind::File {
        output::line(format_args!("\n{title}"))?;
    }
    let flash = series.region.is_some();
    let mut columns = vec!["step", "score", "rank", "iteration", "sequence", "bytes", "CRC"];
    columns.extend(if flash { ["slot", "erases"].as_slice() } else { &["files"] });
    let mut table = table(&columns);
    for (found, rank) in series.checkpoints.iter().zip(series.ranks()) {
        let head = &found.head;
        let score = match (&head.score_name, head.score) {
            (Some(name), Some(score)) => format!("{name} {score}"),
            (_, Some(score)) => score.to_string(),
            (_, None) => "-".to_owned(),
        };
        let best = rank == 1 && head.score.is_some();
        let crc: Vec<String> = found.parts.iter().map(|part| format!("{:08x}", part.crc)).collect();
        let mut row = vec![
            Cell::new(head.step).add_attribute(Attribute::Bold),
            Cell::new(score),
            if best { Cell::new("1").fg(Color::Green) } else { Cell::new(rank) },
            Cell::new(head.iteration),
            Cell::new(head.sequence),
            Cell::new(found.len()),
            Cell::new(crc.join(" ")),
        ];
        match found.slot {
            Some(slot) => {
                let seal = if slot.sealed { "" } else { ", without its seal: the power went as its commit ended" };
                row.push(Cell::new(format!("{}{seal}", slot.index)));
                row.push(Cell::new(slot.erases));
            }
            None => row.push(Cell::new(found.parts.len())),
        }
        table.add_row(row);
    }
    if series.checkpoints.is_empty() { Ok(()) } else { output::line(&table) }
}

/// Run, handlers, tensors and values.
fn detail(found: &Checkpoint) -> Result<()> {
    let stream = found.stream();
    if let Some(record) = &found.head.record {
        output::line(format_args!("{}  {}", "run".bold(), states::engine(record)))?;
        let mut table = table(&["handler", "state"]);
        for state in State::all(record) {
            let (handler, words) = state.words();
            table.add_row([handler, words]);
        }
        output::line(format_args!("\n{table}"))?;
    }
    if stream.tensors().next().is_some() {
        output::line(format_args!("\n{}", tensors(&stream)))?;
    }
    for (name, bytes) in stream.values() {
        let shown = if bytes.len() > 32 { format!("{} …", hex(&bytes[..32])) } else { hex(bytes) };
        output::line(format_args!("\n{} (value)  {}  {shown}", name.bold(), counted(bytes.len(), "byte")))?;
    }
    Ok(())
}

fn tensors(stream: &Stream) -> Table {
    let mut table = table(&["tensor", "shape", "min", "max", "mean", "zeros", "NaN, inf"]);
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let number = |value: Option<f64>| value.map_or("-".to_owned(), short);
    for (object, tensor) in stream.tensors() {
        let stats = Stats::of(&tensor.elements);
        let shape: Vec<String> = tensor.shape.iter().map(u32::to_string).collect();
        let bad = match stats.non_finite() {
            0 => Cell::new("0"),
            _ => Cell::new(format!("{}, {}", stats.nan, stats.infinite)).fg(Color::Red),
        };
        table.add_row([
            Cell::new(format!("{object}.{}", tensor.name)),
            Cell::new(if shape.is_empty() { "scalar".to_owned() } else { shape.join("×") }),
            Cell::new(number(stats.min.map(f64::from))),
            Cell::new(number(stats.max.map(f64::from))),
            Cell::new(number(stats.mean)),
            Cell::new(format!("{:.1} %", stats.zeros * 100.0)),
            bad,
        ]);
    }
    table
}

/// An empty table.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(columns.iter().map(|name| Cell::new(name).add_attribute(Attribute::Dim)));
    table
}

/// "1 checkpoint", "2 checkpoints".
pub fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Says whether all of it is whole, and what is not.
pub fn verdict(path: &Path, survey: &Survey) -> Result<()> {
    for other in survey.others.iter().filter(|other| other.verdict.is_loss()) {
        // A file that was asked for itself is named by its path alone.
        let place = if survey.kind == Kind::File { "" } else { &*format!("{}: ", other.place) };
        output::line(format_args!("{} {}: {place}{}", "damaged".red().bold(), path.display(), other.why))?;
    }
    let count: usize = survey.series.iter().map(|series| series.checkpoints.len()).sum();
    if survey.is_whole() {
        output::line(format_args!("{} {}: {}", "whole".green(), path.display(), counted(count, "checkpoint")))?;
    }
    Ok(())
}
