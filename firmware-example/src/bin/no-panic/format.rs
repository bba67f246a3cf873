//! Formats values in all supported ways: as text, through defmt and through serde.

use core::fmt::{self, Write};
use core::hint::black_box;

/// A text writer that discards the text and may fail.
pub struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        black_box(text);
        if black_box(false) { Err(fmt::Error) } else { Ok(()) }
    }
}

/// Formats a value as text.
pub fn display(value: impl fmt::Display) {
    let _ = black_box(write!(Sink, "{value}"));
}

/// Formats an error as text and through defmt, and requests its source.
pub fn error<E: core::error::Error + defmt::Format>(error: &E) {
    display(error);
    black_box(error.source().is_some());
    defmt::error!("{}", error);
}

/// Serializes a value with serde and deserializes it again.
pub fn serde<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) {
    let mut bytes = [0; 64];
    if let Ok(written) = postcard::to_slice(value, &mut bytes) {
        black_box(postcard::from_bytes::<T>(black_box(written)).is_ok());
    }
}

/// A defmt logger that discards all frames.
#[defmt::global_logger]
struct NullLogger;

// SAFETY: the logger has no state that two contexts could share, and it sends nothing.
unsafe impl defmt::Logger for NullLogger {
    fn acquire() {}
    unsafe fn flush() {}
    unsafe fn release() {}
    unsafe fn write(bytes: &[u8]) {
        black_box(bytes);
    }
}
