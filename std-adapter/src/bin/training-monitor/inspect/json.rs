//! A survey as JSON, for machines.
//!
//! Stable: names are only ever added. Non-finite scores cannot occur, sizes and places are in bytes.

use crate::failure::Failure;
use crate::states::{State, hex};
use crate::stats::Stats;
use crate::survey::{Checkpoint, Kind, Other, Series, Survey};
use serde_json::{Value, json};
use std::path::Path;

/// Whether all of it is whole, and what is not.
pub fn verdict(path: &Path, survey: &Survey) -> Value {
    let lost = survey.others.iter().filter(|other| other.verdict.is_loss()).map(other);
    json!({
        "path": path.display().to_string(),
        "whole": survey.is_whole(),
        "checkpoints": survey.series.iter().map(|series| series.checkpoints.len()).sum::<usize>(),
        "damaged": lost.collect::<Vec<_>>(),
    })
}

/// For what cannot be looked at.
pub fn no_verdict(path: &Path, failure: &Failure) -> Value {
    json!({ "path": path.display().to_string(), "error": failure.to_string() })
}

fn other(other: &Other) -> Value {
    json!({ "place": other.place, "state": other.verdict.word(), "why": other.why })
}

/// All of it.
pub fn value(survey: &Survey) -> Value {
    let kind = match survey.kind {
        Kind::File => "checkpoint",
        Kind::Directory => "directory",
        Kind::Flash => "flash",
    };
    json!({
        "path": survey.path.display().to_string(),
        "kind": kind,
        "whole": survey.is_whole(),
        "series": survey.series.iter().map(series).collect::<Vec<_>>(),
        "others": survey.others.iter().map(other).collect::<Vec<_>>(),
    })
}

fn series(series: &Series) -> Value {
    let mut value = json!({ "name": series.name });
    if let Some(region) = series.region {
        let (start, slot, slots, erases) = (region.start, region.slot, region.slots, region.erases);
        value["region"] = json!({ "start": start, "slot_size": slot, "slots": slots, "erases": erases });
    }
    let ranked = series.checkpoints.iter().zip(series.ranks());
    value["checkpoints"] = ranked.map(|(found, rank)| checkpoint(found, rank)).collect();
    value
}

fn checkpoint(found: &Checkpoint, rank: usize) -> Value {
    let head = &found.head;
    let part = |part: &crate::survey::Part| json!({ "place": part.place, "bytes": part.len, "crc": format!("{:08x}", part.crc) });
    let stream = found.stream();
    let tensor = |(object, tensor): (&str, &crate::stream::Tensor)| {
        let mut value = json!({ "object": object, "name": tensor.name, "shape": tensor.shape });
        value["stats"] = json!(Stats::of(&tensor.elements));
        value
    };
    let mut value = json!({
        "step": head.step,
        "sequence": head.sequence,
        "iteration": head.iteration,
        "score": head.score,
        "score_name": head.score_name,
        "rank": rank,
        "bytes": found.len(),
        "parts": found.parts.iter().map(part).collect::<Vec<_>>(),
        "tensors": stream.tensors().map(tensor).collect::<Vec<_>>(),
        "values": stream.values().map(|(name, bytes)| json!({ "object": name, "bytes": hex(bytes) })).collect::<Vec<_>>(),
    });
    if let Some(slot) = found.slot {
        value["slot"] = json!({ "index": slot.index, "erases": slot.erases, "sealed": slot.sealed });
    }
    if let Some(record) = &head.record {
        let engine = &record.engine;
        value["run"] = json!({
            "epoch": engine.epoch,
            "iteration": engine.iteration,
            "offset": engine.offset,
            "epoch_length": engine.epoch_length,
            "after": format!("{:?}", engine.after),
            "stop": engine.stop.map(|stop| format!("{stop:?}")),
            "handlers": State::all(record),
        });
    }
    value
}
