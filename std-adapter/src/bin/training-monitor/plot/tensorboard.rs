//! A history as an event file of TensorBoard: the scalars of a run, for `tensorboard --logdir DIR`.
//!
//! ```text
//! file    record…
//! record  length of data    u64, little-endian
//!         its checksum      u32, CRC-32C, turned right by 15 bits, plus 0xA282EAD8
//!         data              an Event
//!         its checksum      as above
//!
//! Event   1: wall_time double   2: step int64   3: file_version string   5: Summary
//! Summary 1: Value…
//! Value   1: tag string         2: simple_value float
//! ```
//!
//! Events are in the wire format of protobuf. The first has the version, every other one scalar. No crate that writes such
//! files is kept up to date, and these three messages are all that scalars need.
//!
//! A history knows how long iterations took, not what the clock showed. So the run is taken to have ended when its file was
//! last written, and times are counted back from there.

use super::{Run, history};
use crate::failure::{self, Failure, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use training_monitor_std::history::Entry;

/// TensorBoard reads files that have "tfevents" in their name. Always the same, so that a run which is written again
/// does not lie beside itself.
const FILE: &str = "events.out.tfevents.training-monitor";

/// Writes each run to a directory of its own in `directory`; the files.
pub fn write(runs: &[Run], paths: &[&Path], directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for (run, path) in runs.iter().zip(paths) {
        // A name may be a path, where two runs would have the same.
        let name = run.name.replace(['/', '\\', ':'], "_");
        let name = if name.trim_matches('.').is_empty() { "run" } else { &name };
        let file = directory.join(name).join(FILE);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(Failure::io("create", parent))?;
        }
        failure::write(&file, &events(&run.entries, written(&history(path))?))?;
        files.push(file);
    }
    Ok(files)
}

/// When a file was last written, in seconds of Unix.
fn written(path: &Path) -> Result<f64> {
    let modified = path.metadata().and_then(|meta| meta.modified()).map_err(Failure::io("read", path))?;
    Ok(modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// The file of a run that ended at `end`.
fn events(entries: &[Entry], end: f64) -> Vec<u8> {
    let seconds = |entry: &Entry| match entry {
        Entry::Iteration { seconds, .. } => seconds.unwrap_or(0.0),
        _ => 0.0,
    };
    let mut time = end - entries.iter().map(seconds).sum::<f64>();
    let mut file = Vec::new();
    record(&mut file, &Message::new().double(1, time).bytes(3, b"brain.Event:2").0);
    for entry in entries {
        time += seconds(entry);
        let mut scalar = |step: u32, tag: &str, value: f32| {
            let value = Message::new().bytes(1, tag.as_bytes()).float(2, value);
            let summary = Message::new().bytes(1, &value.0);
            record(&mut file, &Message::new().double(1, time).varint(2, u64::from(step)).bytes(5, &summary.0).0);
        };
        match entry {
            Entry::Iteration { iteration, loss, seconds } => {
                // TensorBoard marks what is not a number.
                scalar(*iteration, "train/loss", loss.unwrap_or(f32::NAN));
                if let Some(seconds) = seconds {
                    scalar(*iteration, "train/seconds", *seconds as f32);
                }
            }
            Entry::Epoch { iteration, metrics, .. } => {
                for (name, value) in metrics {
                    scalar(*iteration, &format!("metrics/{name}"), value.map_or(f32::NAN, |value| value as f32));
                }
            }
            Entry::Saved { store, iteration, score: Some(score), .. } => {
                scalar(*iteration, &format!("checkpoints/{store}_score"), *score);
            }
            _ => (),
        }
    }
    file
}

fn record(file: &mut Vec<u8>, data: &[u8]) {
    let length = (data.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(checksum(&length));
    file.extend(data);
    file.extend(checksum(data));
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

/// A message of protobuf, field by field.
struct Message(Vec<u8>);

impl Message {
    fn new() -> Message {
        Message(Vec::new())
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(mut self, field: u64, wire: u64) -> Message {
        self.number(field << 3 | wire);
        self
    }

    fn varint(self, field: u64, value: u64) -> Message {
        let mut message = self.key(field, 0);
        message.number(value);
        message
    }

    fn double(self, field: u64, value: f64) -> Message {
        let mut message = self.key(field, 1);
        message.0.extend(value.to_le_bytes());
        message
    }

    fn bytes(self, field: u64, value: &[u8]) -> Message {
        let mut message = self.key(field, 2);
        message.number(value.len() as u64);
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

    /// Byte for byte what TensorBoard's own `RecordWriter` makes of the same event.
    #[test]
    fn the_first_record() {
        let mut file = Vec::new();
        record(&mut file, &Message::new().double(1, 1.0).bytes(3, b"brain.Event:2").0);
        let data = b"\x09\0\0\0\0\0\0\xf0\x3f\x1a\x0dbrain.Event:2";
        assert_eq!(file, [&b"\x18\0\0\0\0\0\0\0"[..], b"\xa3\x7f\x4b\x22", data, b"\x86\xbf\x57\x7a"].concat());
    }

    #[test]
    fn numbers_longer_than_a_byte() {
        assert_eq!(Message::new().varint(2, 300).0, [0x10, 0xAC, 0x02]);
        assert_eq!(Message::new().varint(2, u64::MAX).0.len(), 11);
    }
}
