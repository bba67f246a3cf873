//! Shows a value in every way it can be shown: as text, through defmt, through serde.

use core::fmt::{self, Write};
use core::hint::black_box;

/// Takes text and keeps none.
pub struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        black_box(text);
        if black_box(false) { Err(fmt::Error) } else { Ok(()) }
    }
}

/// As text.
pub fn show(value: impl fmt::Display) {
    let _ = black_box(write!(Sink, "{value}"));
}

/// As text, with its cause, and through defmt.
pub fn error<E: core::error::Error + defmt::Format>(error: &E) {
    show(error);
    black_box(error.source().is_some());
    defmt::error!("{}", error);
}

/// Through serde, there and back.
pub fn serde<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) {
    let mut bytes = [0; 64];
    if let Ok(written) = postcard::to_slice(value, &mut bytes) {
        black_box(postcard::from_bytes::<T>(black_box(written)).is_ok());
    }
}

/// Frames that go nowhere.
#[defmt::global_logger]
struct Nowhere;

// SAFETY: there is no state that two contexts could share, and nothing is sent.
unsafe impl defmt::Logger for Nowhere {
    fn acquire() {}
    unsafe fn flush() {}
    unsafe fn release() {}
    unsafe fn write(bytes: &[u8]) {
        black_box(bytes);
    }
}
