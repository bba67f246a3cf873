//! A checkpoint as bytes: `FORMAT.md` beside this file has the byte tables, [`Objects`] what goes in.
//!
//! ```text
//! "TMCK" | 1 | header | names of the set | run | objects … | CRC-32 of all before it
//!                                                 └ tensor: name | shape | pad | bytes   (payload at a multiple of 4)
//! ```
//!
//! The whole stream is plain postcard of one documented structure. [`encode()`] streams it to any
//! [`embedded_io::Write`]; [`load`] reads it from any [`embedded_io::Read`], checks everything, and only then
//! changes the user's tensors. Where the bytes are kept is the business of a [store](crate::store).
//!
//! ```
//! use training_monitor::checkpoint::{self, Contents, Crc32, Header, One};
//!
//! let mut weights = [1.0_f32, -2.5, 0.125];
//! let contents = Contents { header: Header { step: 7, ..Header::default() }, record: None, only: None, allow_non_finite: false };
//! let mut bytes = [0u8; 128];
//! let mut rest = &mut bytes[..];
//! let written = checkpoint::encode::<Crc32, _, _>(&mut rest, &contents, &One("model", &mut weights))?;
//!
//! let mut loaded = [0.0_f32; 3];
//! let bytes = &bytes[..written.len as usize];
//! let info = checkpoint::load::<Crc32, _>(bytes, &mut One("model", &mut loaded), None)?;
//! assert_eq!((info.step, loaded), (7, [1.0, -2.5, 0.125]));
//!
//! let mut damaged = bytes.to_vec();
//! damaged[20] ^= 1;
//! loaded = [9.0; 3];
//! assert!(checkpoint::load::<Crc32, _>(&damaged, &mut One("model", &mut loaded), None).is_err());
//! assert_eq!(loaded, [9.0; 3]); // nothing has changed
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod crc;
mod decode;
mod encode;
mod error;
mod input;
mod names;
mod objects;
mod output;
mod run;
mod search;

pub use crc::{Checksum, Crc32};
pub use decode::{Info, Inspect, Loader, Tensor, inspect, load};
pub use encode::{BUFFER, Contents, Encoded, encode, measure};
pub use error::{DecodeError, EncodeError};
pub(crate) use input::Bytes;
pub use objects::{
    MAX_ITEMS, MAX_NAME, MAX_RANK, Objects, One, StateDict, Visit, VisitMut, VisitTensors, VisitTensorsMut,
};

/// The first four bytes of every stream.
pub const MAGIC: [u8; 4] = *b"TMCK";

/// The version of the format that this crate writes, the fifth byte. It reads this one.
pub const VERSION: u8 = 1;

/// What names and ranks a checkpoint.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Header<'a> {
    /// The step number.
    pub step: u32,
    /// Counts the commits of a store: the highest is the newest.
    pub sequence: u32,
    /// The engine's iteration; 0 without an engine.
    pub iteration: u32,
    /// The signed score.
    pub score: Option<f32>,
    /// What the score is called.
    pub score_name: Option<&'a str>,
}

/// Zero bytes (0 to 3) before a payload of `bytes` bytes whose `pad` field would begin at `at`, so that the payload
/// begins at a multiple of 4: behind the pad's own length byte and the varint of `bytes`.
const fn padding(at: u32, bytes: u32) -> u8 {
    let mut varint = 1u32;
    let mut rest = bytes >> 7;
    while rest > 0 {
        varint += 1;
        rest >>= 7;
    }
    (at.wrapping_add(1).wrapping_add(varint).wrapping_neg() & 3) as u8
}
