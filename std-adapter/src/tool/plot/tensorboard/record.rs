//! The records of a TensorBoard event file.
//!
//! ```text
//! file    record…
//! record  length of data    u64, little-endian
//!         masked checksum   u32, CRC-32C of the length, rotated right by 15 bits, plus 0xA282EAD8
//!         data              an Event
//!         masked checksum   u32, CRC-32C of the data, masked in the same way
//!
//! Event      1: wall_time double   2: step int64   3: file_version string   5: Summary   7: SessionLog
//! Summary    1: Value…
//! Value      1: tag string         2: simple_value float
//! SessionLog 1: status             1 means START
//! ```
//!
//! Events have the wire format of Protocol Buffers. This module encodes the messages, because no maintained crate writes
//! event files.

/// Appends the first record of a file, which contains the version of the format.
pub fn push_version(file: &mut Vec<u8>, time: f64) {
    push_record(file, &Message::new().double(1, time).bytes(3, b"brain.Event:2").0);
}

/// Appends the record of one value.
pub fn push_scalar(file: &mut Vec<u8>, time: f64, step: u32, tag: &str, value: f32) {
    let value = Message::new().bytes(1, tag.as_bytes()).float(2, value);
    let summary = Message::new().bytes(1, &value.0);
    push_record(file, &Message::new().double(1, time).varint(2, u64::from(step)).bytes(5, &summary.0).0);
}

/// Appends the record of a new start at `step`. TensorBoard then discards all earlier values of this step and of later
/// steps.
pub fn push_restart(file: &mut Vec<u8>, time: f64, step: u32) {
    let start = Message::new().varint(1, 1);
    push_record(file, &Message::new().double(1, time).varint(2, u64::from(step)).bytes(7, &start.0).0);
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
