//! Helpers that encode and modify checkpoints in memory.

#![allow(dead_code, reason = "each test program uses a part of this module")]

use training_monitor::checkpoint::{self, Contents, Objects};

/// Encodes a checkpoint and returns its bytes. Checks that `measure` returns the same length.
pub fn encode<T: Objects + ?Sized>(contents: &Contents<'_>, objects: &mut T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoded = checkpoint::encode(&mut bytes, contents, objects).unwrap();
    assert_eq!(bytes.len(), encoded.len as usize);
    assert_eq!(checkpoint::measure(contents, objects), Ok(encoded.len));
    bytes
}

/// Replaces the length (bytes 5 to 8 of a checkpoint) and the checksum (its last four bytes) with the correct ones. A
/// test calls this after it has modified other bytes.
pub fn with_correct_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    bytes[5..9].copy_from_slice(&len.to_le_bytes());
    let body = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
    bytes[body..].copy_from_slice(&crc);
    bytes
}
