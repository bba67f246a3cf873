//! Helpers that read the checkpoints of a store.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use training_monitor::embedded_io::Read;
use training_monitor::store::{CheckpointMeta, Store};

/// Returns all checkpoints that the store lists. More than 1000 checkpoints are an error, because the list might be
/// endless.
pub fn list_checkpoints<S: Store>(store: &mut S) -> Result<Vec<CheckpointMeta>, String> {
    let mut checkpoints = Vec::new();
    while let Some(meta) =
        store.checkpoint(checkpoints.len() as u32).map_err(|error| format!("cannot list checkpoints: {error:?}"))?
    {
        checkpoints.push(meta);
        if checkpoints.len() > 1000 {
            return Err("the store lists more than 1000 checkpoints".into());
        }
    }
    Ok(checkpoints)
}

/// Returns the first stream (encoded bytes) of the newest checkpoint with the step number `step`. If there is none,
/// returns the error of the store.
pub fn read_stream<S: Store>(store: &mut S, step: u32) -> Result<Vec<u8>, S::Error> {
    let (mut index, mut sequence) = (0, u32::MAX);
    while let Some(meta) = store.checkpoint(index)? {
        if meta.step == step {
            sequence = meta.sequence;
        }
        index += 1;
    }
    let mut reader = store.open(sequence, 0)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(bytes),
            len => bytes.extend_from_slice(&buffer[..len]),
        }
    }
}
