//! Reads everything that a store holds.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use training_monitor::embedded_io::Read;
use training_monitor::store::{CheckpointMeta, Store};

/// Returns all checkpoints that the store lists, or an error if the list does not end.
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

/// Returns the bytes of the first stream of the checkpoint with this step.
pub fn read_stream<S: Store>(store: &mut S, step: u32) -> Result<Vec<u8>, S::Error> {
    let mut reader = store.open(step, 0)?;
    let (mut bytes, mut buffer) = (Vec::new(), [0; 512]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(bytes),
            len => bytes.extend_from_slice(&buffer[..len]),
        }
    }
}
