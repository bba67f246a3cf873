//! Writes a history as a TensorBoard event file, for `tensorboard --logdir DIR`.
//!
//! ```text
//! file    record…
//! record  length of data    u64, little-endian
//!         masked checksum   u32, CRC-32C of the length, rotated right by 15 bits, plus 0xA282EAD8
//!         data              an Event
//!         masked checksum   u32, CRC-32C of the data, masked in the same way
//!
//! Event   1: wall_time double   2: step int64   3: file_version string   5: Summary
//! Summary 1: Value…
//! Value   1: tag string         2: simple_value float
//! ```
//!
//! Events have the wire format of Protocol Buffers. The first event contains the version of the file. Each other event
//! contains one scalar. This module encodes the three messages, because no maintained crate writes event files.
//!
//! A history contains the durations of iterations, but no times of day. The tool assumes that the run ended when its
//! history file was last modified. It calculates the times of all other events backwards from this time.

use super::run::{Run, history_file};
use crate::error::{CliError, Result};
use crate::files::OutputFile;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use training_monitor_std::history::HistoryEvent;

/// The name of the event file. TensorBoard reads each file whose name contains "tfevents". The name is constant, so a
/// second export of a run replaces the first one.
const FILE: &str = "events.out.tfevents.training-monitor";

/// Writes the event file of each run. Each run has its own directory inside `directory`. Returns the paths of the
/// files.
pub fn write(runs: &[Run], paths: &[&Path], directory: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (run, path) in runs.iter().zip(paths) {
        // If several runs have the same name, their names are paths. A path contains characters that are not allowed in
        // the name of a directory.
        let name = run.name.replace(['/', '\\', ':'], "_");
        let name = if name.trim_matches('.').is_empty() { "run" } else { &name };
        let file = directory.join(name).join(FILE);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(CliError::io("create", parent))?;
        }
        let end = modification_time(&history_file(path))?;
        // Only this tool writes files with this name, so an older one can be replaced.
        OutputFile::create(&file, &[path], true)?.write_whole(&event_file(&run.events, end))?;
        written.push(file);
    }
    Ok(written)
}

/// Returns the time of the last modification of a file, in seconds since 1970.
fn modification_time(path: &Path) -> Result<f64> {
    let modified = path.metadata().and_then(|meta| meta.modified()).map_err(CliError::io("read", path))?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// Returns the content of the event file of a run. `end` is the time at which the run ended, in seconds since 1970.
fn event_file(events: &[HistoryEvent], end: f64) -> Vec<u8> {
    let seconds = |event: &HistoryEvent| match event {
        HistoryEvent::Iteration { seconds, .. } => seconds.unwrap_or(0.0),
        _ => 0.0,
    };
    let mut time = end - events.iter().map(seconds).sum::<f64>();
    let mut file = Vec::new();
    push_record(&mut file, &Message::new().double(1, time).bytes(3, b"brain.Event:2").0);
    for event in events {
        time += seconds(event);
        let mut push_scalar = |step: u32, tag: &str, value: f32| {
            let value = Message::new().bytes(1, tag.as_bytes()).float(2, value);
            let summary = Message::new().bytes(1, &value.0);
            push_record(&mut file, &Message::new().double(1, time).varint(2, u64::from(step)).bytes(5, &summary.0).0);
        };
        match event {
            HistoryEvent::Iteration { iteration, loss, seconds } => {
                // The history contains `null` for a loss that is not finite. The event file contains NaN instead, which
                // TensorBoard marks in its charts.
                push_scalar(*iteration, "train/loss", loss.unwrap_or(f32::NAN));
                if let Some(seconds) = seconds {
                    push_scalar(*iteration, "train/seconds", *seconds as f32);
                }
            }
            HistoryEvent::Epoch { iteration, metrics, .. } => {
                for (name, value) in metrics {
                    push_scalar(*iteration, &format!("metrics/{name}"), value.map_or(f32::NAN, |value| value as f32));
                }
            }
            HistoryEvent::Saved { store, iteration, score: Some(score), .. } => {
                push_scalar(*iteration, &format!("checkpoints/{store}_score"), *score);
            }
            _ => (),
        }
    }
    file
}

fn push_record(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked_checksum(&length));
    file.extend(data);
    file.extend(masked_checksum(data));
}

fn masked_checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

/// An encoder for one message of Protocol Buffers. Each of its methods appends one field to the message.
struct Message(Vec<u8>);

impl Message {
    fn new() -> Message {
        Message(Vec::new())
    }

    fn push_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(mut self, field: u64, wire: u64) -> Message {
        self.push_varint(field << 3 | wire);
        self
    }

    fn varint(self, field: u64, value: u64) -> Message {
        let mut message = self.key(field, 0);
        message.push_varint(value);
        message
    }

    fn double(self, field: u64, value: f64) -> Message {
        let mut message = self.key(field, 1);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn bytes(self, field: u64, value: &[u8]) -> Message {
        let mut message = self.key(field, 2);
        message.push_varint(value.len() as u64);
        message.0.extend(value);
        message
    }

    fn float(self, field: u64, value: f32) -> Message {
        let mut message = self.key(field, 5);
        message.0.extend(value.to_le_bytes());
        message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares an encoded event with bytes that TensorBoard's own Python code wrote for the same event.
    #[test]
    fn records_match_those_of_tensorboard() {
        let mut file = Vec::new();
        push_record(&mut file, &Message::new().double(1, 1.0).bytes(3, b"brain.Event:2").0);
        let data = b"\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0dbrain.Event:2";
        assert_eq!(file, [&b"\x18\0\0\0\0\0\0\0"[..], b"\xa3\x7f\x4b\x22", data, b"\x86\xbf\x57\x7a"].concat());
    }

    #[test]
    fn varints_have_several_bytes() {
        assert_eq!(Message::new().varint(2, 300).0, [0x10, 0xAC, 0x02]);
        assert_eq!(Message::new().varint(2, u64::MAX).0.len(), 11);
    }
}
