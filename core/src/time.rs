//! Time is an argument: the caller reads the clock and passes ticks.
//!
//! A tick is the unit of the caller's clock: a cycle, a microsecond, a millisecond. This module and
//! [`Timer`](crate::Timer) use `u64` ticks, which do not overflow (584 000 years of microseconds). The counters of most
//! microcontrollers have 32 bits and wrap around (every 71 minutes at one tick per microsecond). [`WrappingClock`]
//! extends such a counter to 64 bits. An attached timer owns a [`Clock`]; every closure `FnMut() -> u64` is one.
//!
//! ```
//! use training_monitor::time::{Clock, WrappingClock};
//!
//! let mut readings = [0xFFFF_FFE0u32, 0xFFFF_FFF0, 0x10].into_iter();
//! let mut clock = WrappingClock::new(move || readings.next().unwrap_or(0x10));
//! let before = clock.now();
//! assert_eq!(clock.now() - before, 0x20); // the 32-bit counter wrapped around between the two readings
//! ```

/// A monotonic clock: its readings never decrease.
pub trait Clock {
    /// Ticks since an arbitrary fixed moment.
    fn now(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Clock for F {
    #[inline]
    fn now(&mut self) -> u64 {
        self()
    }
}

/// Extends a wrapping 32-bit tick counter to a 64-bit [`Clock`].
///
/// The clock must be read at least once every 2³² ticks, or it loses a wrap-around. A timer that is attached to an
/// engine reads it at each of its events.
#[derive(Clone, Copy, Debug)]
pub struct WrappingClock<F> {
    source: F,
    last: u32,
    ticks: u64,
}

impl<F: FnMut() -> u32> WrappingClock<F> {
    /// Creates a clock that counts from 0. `source` reads the 32-bit counter.
    pub fn new(mut source: F) -> Self {
        let last = source();
        WrappingClock { source, last, ticks: 0 }
    }
}

impl<F: FnMut() -> u32> Clock for WrappingClock<F> {
    fn now(&mut self) -> u64 {
        let reading = (self.source)();
        self.ticks = self.ticks.wrapping_add(u64::from(reading.wrapping_sub(self.last)));
        self.last = reading;
        self.ticks
    }
}
