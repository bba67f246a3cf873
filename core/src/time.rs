//! Time as an argument: ticks of a clock that the caller reads.
//!
//! A tick is whatever the caller's clock counts: cycles, microseconds, milliseconds. Everything here and in the
//! [timer](crate::handlers::timer) works on `u64` ticks, which do not wrap (584 000 years of microseconds).
//! Most devices count in 32 bits, which do wrap (71 minutes of microseconds): [`Extend`] widens them at the edge.
//! Nothing here reads a clock by itself: an attached timer is given a [`Clock`], which any
//! closure `FnMut() -> u64` is.
//!
//! ```
//! use training_monitor::time::{Clock, Extend};
//!
//! let mut readings = [0xFFFF_FFE0u32, 0xFFFF_FFF0, 0x10].into_iter();
//! let mut clock = Extend::new(move || readings.next().unwrap_or(0x10));
//! let before = clock.now();
//! assert_eq!(clock.now() - before, 0x20); // the source wrapped in between
//! ```

/// A clock that never goes back.
pub trait Clock {
    /// Ticks since some fixed moment.
    fn now(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Clock for F {
    #[inline]
    fn now(&mut self) -> u64 {
        self()
    }
}

/// A wrapping 32-bit tick source as a [`Clock`]. It must be read at least once in 2³² ticks of its source; attached
/// to the engine's events it is read far more often.
#[derive(Clone, Copy, Debug)]
pub struct Extend<F> {
    source: F,
    last: u32,
    ticks: u64,
}

impl<F: FnMut() -> u32> Extend<F> {
    /// Starts counting at 0, wherever `source` stands.
    pub fn new(mut source: F) -> Self {
        let last = source();
        Extend { source, last, ticks: 0 }
    }
}

impl<F: FnMut() -> u32> Clock for Extend<F> {
    fn now(&mut self) -> u64 {
        let reading = (self.source)();
        self.ticks = self.ticks.wrapping_add(u64::from(reading.wrapping_sub(self.last)));
        self.last = reading;
        self.ticks
    }
}
