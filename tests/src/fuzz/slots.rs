//! The fuzz targets of the slots in flash and in byte-addressable memory.

mod image;
mod medium;
mod operations;

pub use image::{flash_image, memory_image};
pub use operations::{memory_operations, slot_operations};

use embedded_io::{Read, Write};
use training_monitor::checkpoint::{self, Contents, Encoded, Header, Named};
use training_monitor::store::{CheckpointMeta, Store, StreamSpec};

/// The number of slots in each target.
const SLOTS: usize = 3;

/// Returns the stream of a checkpoint with the metadata `meta`.
fn encode(meta: &CheckpointMeta, weights: &mut [f32]) -> (Vec<u8>, Encoded) {
    let header = header(meta);
    let contents = Contents { header, record: None, single_object: None, allow_non_finite: true, metadata: &[] };
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode(&mut bytes, &contents, &mut Named::new("m", weights));
    (bytes, encoded.expect("writing to a Vec does not fail"))
}

/// Returns the metadata of a checkpoint without an engine, in the series without a name.
fn meta(step: u32, sequence: u32, iteration: u32, score: Option<f32>) -> CheckpointMeta {
    CheckpointMeta::from(&Header { step, sequence, iteration, score, ..Header::default() })
}

/// Returns the header of a checkpoint.
fn header(meta: &CheckpointMeta) -> Header<'static> {
    let CheckpointMeta { step, sequence, run, iteration, score, series: _ } = *meta;
    Header { step, sequence, run, iteration, score, ..Header::default() }
}

/// Returns all checkpoints that the store lists.
fn listed<S: Store>(store: &mut S) -> Vec<CheckpointMeta> {
    let mut all = Vec::new();
    while let Ok(Some(meta)) = store.checkpoint(all.len() as u32) {
        all.push(meta);
    }
    all
}

/// Reads the stream of a checkpoint.
fn load<S: Store>(store: &mut S, sequence: u32) -> Option<Vec<u8>> {
    let mut bytes = [0; 512];
    let mut reader = store.open(sequence, 0).ok()?;
    let mut len = 0;
    loop {
        match reader.read(&mut bytes[len..]).ok()? {
            0 => return Some(bytes[..len].to_vec()),
            count => len += count,
        }
    }
}

/// Saves a checkpoint with writes of `write_size` bytes.
fn save<S: Store>(
    store: &mut S,
    meta: &CheckpointMeta,
    weights: &mut [f32],
    write_size: usize,
) -> Result<(), S::Error> {
    let (bytes, encoded) = encode(meta, weights);
    let header = header(meta);
    let mut writer =
        store.create(&StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: encoded.len })?;
    for mut rest in bytes.chunks(write_size) {
        while !rest.is_empty() {
            let written = writer.write(rest)?;
            rest = &rest[written..];
        }
    }
    drop(writer);
    store.commit(&header, &encoded)
}
