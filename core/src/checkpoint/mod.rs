//! Saves the parameters of a model and other objects as bytes, and loads them again. The bytes are called a checkpoint.
//! `FORMAT.md` beside this file specifies them.
//!
//! ```text
//! "TMCK" | 2 | length | header | object names | extensions | run record | objects … | CRC-32 of all bytes before it
//!                       └ tensor: name | type | shape | pad | elements   (at a multiple of the element size)
//! ```
//!
//! The function [`encode`] writes a checkpoint to any [`embedded_io::Write`]. The function [`load`] verifies the whole
//! checkpoint before it changes the first tensor. The trait [`Objects`] lists what a checkpoint contains.
//! A [store](crate::store) keeps several checkpoints, for example in flash.
//!
//! ```
//! use training_monitor::checkpoint::{self, Contents, Named};
//!
//! let mut weights = [1.0_f32, -2.5, 0.125];
//! let mut bytes = [0u8; 128];
//! let mut rest = &mut bytes[..];
//! let written = checkpoint::encode(&mut rest, &Contents::new(7), &mut Named::new("model", &mut weights))?;
//!
//! let mut loaded = [0.0_f32; 3];
//! let bytes = &bytes[..written.len as usize];
//! let info = checkpoint::load(bytes, &mut Named::new("model", &mut loaded), None)?;
//! assert_eq!((info.step, loaded), (7, [1.0, -2.5, 0.125]));
//!
//! let mut damaged = bytes.to_vec();
//! damaged[20] ^= 1;
//! loaded = [9.0; 3];
//! assert!(checkpoint::load(&damaged, &mut Named::new("model", &mut loaded), None).is_err());
//! assert_eq!(loaded, [9.0; 3]); // unchanged
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod crc;
mod element;
mod error;
mod format;
mod names;
mod objects;
mod read;
mod signature;
mod tensor;
mod write;

pub use crc::{Checksum, Crc32};
pub use element::{Element, ElementType, MAX_RANK, NestedArray};
pub use error::{DecodeError, EncodeError};
pub(crate) use format::rule_id;
pub use format::{Contents, Encoded, Header, Info, MAGIC, RankingRule, Series, SeriesId, VERSION};
pub(crate) use names::NameBuffer;
pub use names::{ItemName, MAX_NAME, is_utf8};
pub use objects::{MAX_ITEMS, Named, ObjectVisitor, Objects, ReadOnly, StateDict, TensorChunks, TensorVisitor};
pub(crate) use read::SliceReader;
pub use read::{Differences, Inspect, Loader, Tensor, inspect, inspect_with, load, load_with};
pub use signature::model_signature;
pub use tensor::{TensorUnavailable, TensorView};
#[cfg(feature = "derive")]
#[cfg_attr(docsrs, doc(cfg(feature = "derive")))]
pub use training_monitor_derive::{Objects, StateDict};
pub use write::{BUFFER, encode, encode_with, measure};
pub(crate) use write::{encode_measured, encode_piece, measure_for, renumber};
