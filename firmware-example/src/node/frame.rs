//! The frames on the serial line between a node and its gateway.
//!
//! A frame is encoded with COBS (S. Cheshire and M. Baker, "Consistent Overhead Byte Stuffing", 1999), so it contains no
//! byte 0, and a byte 0 ends it. A receiver that starts in the middle of a frame, or loses a byte, therefore finds the
//! next frame. The decoded frame:
//!
//! ```text
//!     +------+------------------+---------+----------------------------------------------+
//!     | kind | request number   | payload | CRC-32 of the preceding bytes, little-endian |
//!     +------+------------------+---------+----------------------------------------------+
//!     0      1                  5
//! ```
//!
//! The gateway chooses the request number, little-endian, and the replies repeat it. Therefore a late reply to an older
//! request is not taken for the reply to a newer one.
//!
//! ```
//! use digits_workload::node::frame::{Frame, FrameWriter, Kind, receive, send};
//!
//! let mut line = [0; 32]; // stands for the serial line
//! let mut buffer = [0; 32];
//! let mut writer = FrameWriter::new(&mut buffer, Kind::Train, 7);
//! writer.push(b"payload");
//! let len = writer.finish();
//! send(&mut &mut line[..], &buffer, len).unwrap();
//!
//! let frame = receive(&mut &line[..], &mut buffer)?.unwrap();
//! assert_eq!(frame, Ok(Frame { kind: 2, request: 7, payload: b"payload" }));
//! # Ok::<(), core::convert::Infallible>(())
//! ```

use cobs::{CobsEncoder, DecodeResult, DecoderState};
use core::fmt;
use training_monitor::checkpoint::{Checksum, Crc32};
use training_monitor::embedded_io::{ErrorKind, ErrorType, Read, Write};

/// The byte that ends a frame. An encoded frame does not contain it.
const END: u8 = 0;
/// Number of bytes of a frame in addition to its payload: kind, request number and CRC-32.
pub const OVERHEAD: usize = 9;

/// The meaning of a frame. The gateway sends [`Kind::Hello`] and [`Kind::Train`]; the node sends the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Request for the description of the node. No payload.
    Hello = 0x01,
    /// Request to train a round. The payload is a checkpoint with the objects `model` and `round`.
    Train = 0x02,
    /// Reply to [`Kind::Hello`]: a checkpoint with the objects `node` and `request`.
    Description = 0x81,
    /// Reply to [`Kind::Train`]: a checkpoint with the objects `model` and `metrics`.
    Result = 0x82,
    /// The node has saved its state in a round. The payload is the number of completed epochs of the round, little-endian.
    Progress = 0x83,
    /// The node does not execute the request. The payload is the reason, as text. The same request would be refused
    /// again.
    Refused = 0xE0,
    /// The node has received a damaged frame. The payload is the damage, as text. The request number is 0, because that
    /// of the frame is unknown.
    Damaged = 0xE1,
}

/// A frame that was received and whose CRC is correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The meaning of the payload; see [`Kind`].
    pub kind: u8,
    /// The number that the gateway chose for the request.
    pub request: u32,
    /// The bytes whose meaning depends on the kind.
    pub payload: &'a [u8],
}

/// The damage of a received frame. The sender can repeat the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The frame ended in the middle of a COBS block.
    Truncated,
    /// The decoded frame is longer than the buffer of the receiver, which has this number of bytes.
    TooLong(usize),
    /// The decoded frame has this number of bytes, which is less than [`OVERHEAD`].
    TooShort(usize),
    /// The CRC-32 of the frame differs from the one in its last four bytes.
    Checksum {
        /// The CRC-32 of the received bytes.
        computed: u32,
        /// The CRC-32 in the last four bytes.
        received: u32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Truncated => f.write_str("frame: it ends in the middle of a COBS block"),
            Damage::TooLong(limit) => write!(f, "frame: more than {limit} bytes, which is the limit of this node"),
            Damage::TooShort(len) => write!(f, "frame: {len} bytes; expected at least {OVERHEAD}"),
            Damage::Checksum { computed, received } => {
                write!(f, "frame: CRC-32 {received:08x}; expected {computed:08x}")
            }
        }
    }
}

impl core::error::Error for Damage {}

/// Reads one frame from `port` into `buffer`. Waits until a frame is complete; empty frames are skipped. Returns `None`
/// at the end of the input.
///
/// # Errors
/// The outer error is that of the port. The inner error describes a damaged frame; the next call reads the frame after
/// it.
pub fn receive<'a, R: Read>(port: &mut R, buffer: &'a mut [u8]) -> Result<Option<Result<Frame<'a>, Damage>>, R::Error> {
    let mut state = DecoderState::Idle;
    let mut len = 0;
    let mut damage = None;
    loop {
        let mut byte = [END];
        if port.read(&mut byte)? == 0 {
            return Ok(None);
        }
        match (damage, state.feed(byte[0])) {
            // The rest of a damaged frame is skipped.
            (Some(damage), _) if byte[0] == END => return Ok(Some(Err(damage))),
            (Some(_), _) | (None, Ok(DecodeResult::NoData)) => (),
            (None, Ok(DecodeResult::DataContinue(decoded))) => match buffer.get_mut(len) {
                Some(place) => {
                    *place = decoded;
                    len += 1;
                }
                None => damage = Some(Damage::TooLong(buffer.len())),
            },
            (None, Ok(DecodeResult::DataComplete)) => return Ok(Some(parse(buffer.get(..len).unwrap_or_default()))),
            // The decoder reports an error only for the byte that ends the frame.
            (None, Err(_)) => return Ok(Some(Err(Damage::Truncated))),
        }
    }
}

/// Checks the CRC of a decoded frame, and divides it into its fields.
fn parse(decoded: &[u8]) -> Result<Frame<'_>, Damage> {
    let too_short = Damage::TooShort(decoded.len());
    let (body, received) = decoded.split_last_chunk::<4>().ok_or(too_short)?;
    let ([kind, request @ ..], payload) = body.split_first_chunk::<5>().ok_or(too_short)?;
    let (computed, received) = (checksum(body), u32::from_le_bytes(*received));
    if computed != received {
        return Err(Damage::Checksum { computed, received });
    }
    Ok(Frame { kind: *kind, request: u32::from_le_bytes(*request), payload })
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = Crc32::default();
    crc.update(bytes);
    crc.value()
}

/// Encodes one frame into a buffer. The encoder of checkpoints and `write!` can write the payload.
pub struct FrameWriter<'a> {
    encoder: CobsEncoder<'a>,
    crc: Crc32,
    overflow: bool,
}

impl<'a> FrameWriter<'a> {
    /// Starts a frame in `buffer`.
    pub fn new(buffer: &'a mut [u8], kind: Kind, request: u32) -> Self {
        let mut writer = Self { encoder: CobsEncoder::new(buffer), crc: Crc32::default(), overflow: false };
        writer.push(&[kind as u8]);
        writer.push(&request.to_le_bytes());
        writer
    }

    /// Appends bytes to the payload.
    pub fn push(&mut self, bytes: &[u8]) {
        self.crc.update(bytes);
        // The encoder must not be called after an error.
        self.overflow = self.overflow || self.encoder.push(bytes).is_err();
    }

    /// Ends the frame. Returns the length of the encoded frame for [`send`], or `None` if the frame does not fit into the
    /// buffer.
    pub fn finish(mut self) -> Option<usize> {
        let crc = self.crc.value();
        self.push(&crc.to_le_bytes());
        (!self.overflow).then(|| self.encoder.finalize())
    }
}

impl ErrorType for FrameWriter<'_> {
    type Error = ErrorKind;
}

impl Write for FrameWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.push(bytes);
        if self.overflow { Err(ErrorKind::OutOfMemory) } else { Ok(bytes.len()) }
    }
    fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

impl fmt::Write for FrameWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// Writes an encoded frame of `len` bytes to `port`. A byte that ends a frame precedes it, because the port may have sent
/// a part of another frame before. Writes nothing if `len` is `None` or exceeds the buffer.
///
/// # Errors
/// Returns the error of the port.
pub fn send<W: Write>(port: &mut W, buffer: &[u8], len: Option<usize>) -> Result<(), W::Error> {
    let Some(encoded) = len.and_then(|len| buffer.get(..len)) else { return Ok(()) };
    for mut bytes in [&[END], encoded, &[END]] {
        // `write_all` panics if a port writes nothing.
        while let Some(rest) = bytes.get(port.write(bytes)?..).filter(|_| !bytes.is_empty()) {
            bytes = rest;
        }
    }
    port.flush()
}
