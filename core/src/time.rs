//! Clocks for [`Timer`](crate::Timer). The crate reads no hardware clock; the program passes the time in ticks.
//!
//! A tick is the unit of the program's clock, such as a microsecond. Ticks are counted with 64 bits, which do not
//! overflow in practice. The counters of most microcontrollers have 32 bits and wrap around, for example every 71
//! minutes at one tick per microsecond. [`WrappingClock`] extends such a counter to 64 bits. Every closure `FnMut() ->
//! u64` is a [`Clock`].
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
    /// Returns the number of ticks since an arbitrary fixed moment. A tick is the unit of the clock.
    fn now(&mut self) -> u64;
}

impl<F: FnMut() -> u64> Clock for F {
    #[inline]
    fn now(&mut self) -> u64 {
        self()
    }
}

/// A [`Clock`] that extends a wrapping 32-bit counter to 64 bits.
///
/// Read the clock at least once every 2³² ticks. Otherwise it misses a wrap-around of the counter. A timer that is
/// attached to an engine reads the clock at each event that its filters select.
#[derive(Clone, Copy, Debug)]
pub struct WrappingClock<F> {
    source: F,
    last: u32,
    ticks: u64,
}

impl<F: FnMut() -> u32> WrappingClock<F> {
    /// Creates a clock that starts at 0. The closure `source` returns the current value of the 32-bit counter.
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
