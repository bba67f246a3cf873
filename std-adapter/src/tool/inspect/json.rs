//! Converts an inventory (the list of all checkpoints at a path) to JSON for other programs.
//!
//! The field names are stable: a release can add fields, but it does not rename or remove any. Sizes and offsets are in
//! bytes. A score that is not finite is written as a string.

use crate::tool::error::{CliError, Result};
use crate::tool::handler_state::HandlerState;
use crate::tool::inventory::{Checkpoint, Inventory, Leftover, Medium, Selection, Series, StoredStream};
use crate::tool::numbers::{crc, hex, json_f32};
use crate::tool::stream::{Payload, Tensor};
use serde_json::{Value, json};
use std::path::Path;
use training_monitor::run_record::RunRecord;

/// Returns the result of `verify` for a path.
pub fn verdict(path: &Path, inventory: &Inventory) -> Value {
    json!({
        "path": path.display().to_string(),
        "intact": inventory.is_intact(),
        "checkpoints": inventory.checkpoint_count(),
        "damaged": inventory.losses().map(leftover).collect::<Vec<_>>(),
    })
}

/// Returns the result of `verify` for a path that cannot be read.
pub fn unreadable(path: &Path, error: &CliError) -> Value {
    json!({ "path": path.display().to_string(), "error": error.to_string() })
}

fn leftover(item: &Leftover) -> Value {
    json!({ "place": item.place, "state": item.verdict.label(), "reason": item.reason })
}

/// Converts an inventory (all checkpoints and unusable files or slots at a path) to JSON. If the user selected a
/// checkpoint, the result contains no other one.
pub fn inventory(inventory: &Inventory, selection: &Selection) -> Result<Value> {
    let selected = selection.is_given().then(|| inventory.select(selection)).transpose()?;
    let kind = match inventory.medium {
        Medium::File => "checkpoint",
        Medium::Directory => "directory",
        Medium::Flash => "flash",
    };
    Ok(json!({
        "path": inventory.path.display().to_string(),
        "kind": kind,
        "intact": inventory.is_intact(),
        "series": inventory.series.iter().map(|item| series(item, selected)).collect::<Result<Vec<_>>>()?,
        "leftovers": inventory.leftovers.iter().map(leftover).collect::<Vec<_>>(),
    }))
}

fn series(series: &Series, selected: Option<&Checkpoint>) -> Result<Value> {
    let mut value = json!({ "name": series.name });
    if let Some(region) = series.region {
        value["region"] = json!({
            "start": region.start,
            "slot_size": region.slot_size,
            "slots": region.slot_count,
            "erases": region.erases,
        });
    }
    let is_shown = |checkpoint| selected.is_none_or(|selected| std::ptr::eq(selected, checkpoint));
    let ranked = series.checkpoints.iter().zip(series.ranks()).filter(|(checkpoint, _)| is_shown(*checkpoint));
    value["checkpoints"] =
        ranked.map(|(checkpoint, rank)| checkpoint_json(checkpoint, rank)).collect::<Result<Vec<_>>>()?.into();
    Ok(value)
}

fn checkpoint_json(checkpoint: &Checkpoint, rank: usize) -> Result<Value> {
    let header = &checkpoint.header;
    let stored = |stored: &StoredStream| json!({ "place": stored.place, "bytes": stored.len, "crc": crc(stored.crc) });
    let stream = checkpoint.merged_stream();
    let tensor = |(object, tensor): (&str, &Tensor)| {
        let (stats, element_type) = (tensor.stats()?, tensor.element_type.name());
        Ok(
            json!({ "object": object, "name": tensor.name, "type": element_type, "shape": tensor.shape, "stats": stats }),
        )
    };
    let metadata = |(name, value): &(String, Vec<u8>)| {
        let text = std::str::from_utf8(value).ok();
        json!({ "name": name, "text": text, "bytes": hex(value) })
    };
    let value = |(object, payload): (&str, &Payload)| Ok(json!({ "object": object, "bytes": hex(&payload.to_vec()?) }));
    let mut json = json!({
        "step": header.step,
        "sequence": header.sequence,
        "iteration": header.iteration,
        "score": header.score.map(json_f32),
        "score_name": header.score_name,
        "run_number": header.run,
        "series_name": header.series_name,
        "rule": header.rule_label(),
        "model": crc(header.model),
        "writer": header.writer,
        "metadata": header.metadata.iter().map(metadata).collect::<Vec<_>>(),
        "rank": rank,
        "bytes": checkpoint.len(),
        "streams": checkpoint.streams.iter().map(stored).collect::<Vec<_>>(),
        "tensors": stream.tensors().map(tensor).collect::<Result<Vec<_>>>()?,
        "values": stream.values().map(value).collect::<Result<Vec<_>>>()?,
    });
    if let Some(slot) = checkpoint.slot {
        json["slot"] =
            json!({ "index": slot.index, "erases": slot.erases, "sealed": slot.is_durable, "seal": slot.seal_label() });
    }
    if let Some(record) = header.record() {
        json["run"] = run(record);
    }
    Ok(json)
}

/// Converts a run record (the state of the engine and of the handlers) to JSON.
pub fn run(record: &RunRecord<[u8]>) -> Value {
    let engine = &record.engine;
    json!({
        "number": engine.run,
        "epoch": engine.epoch,
        "iteration": engine.iteration,
        "offset": engine.offset,
        "epoch_length": engine.epoch_length,
        "phase": format!("{:?}", engine.phase),
        "stop": engine.stop.map(|stop| format!("{stop:?}")),
        "handlers": HandlerState::all(record),
    })
}
