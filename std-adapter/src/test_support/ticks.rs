//! Tick counters that overflow when a test needs it.

use std::cell::Cell;
use std::rc::Rc;

/// A simulated 32-bit tick counter that the test advances. All clones of a value share the same counter.
///
/// ```
/// use training_monitor::time::{Clock, WrappingClock};
/// use training_monitor_std::test_support::ticks::TickSource;
///
/// let ticks = TickSource::with_ticks_until_wrap(3);
/// let mut clock = WrappingClock::new(ticks.reader());
/// ticks.advance(10);
/// assert_eq!(clock.now(), 10);
/// ```
#[derive(Clone, Debug)]
pub struct TickSource(Rc<Cell<u64>>);

impl TickSource {
    /// Creates a counter that overflows to 0 after `ticks` ticks.
    #[must_use]
    pub fn with_ticks_until_wrap(ticks: u32) -> Self {
        TickSource(Rc::new(Cell::new((1 << 32) - u64::from(ticks))))
    }

    /// Advances the counter by `ticks` ticks.
    pub fn advance(&self, ticks: u64) {
        self.0.set(self.0.get() + ticks);
    }

    /// Returns the counter value as 64 bits, without overflow.
    #[must_use]
    pub fn unwrapped_count(&self) -> u64 {
        self.0.get()
    }

    /// Creates a function that returns the current value of the counter as 32 bits, like a hardware timer.
    pub fn reader(&self) -> impl FnMut() -> u32 + use<> {
        let ticks = self.0.clone();
        move || ticks.get() as u32
    }
}

/// Wraps the tick counter `source` and adds an offset to its values. The returned function overflows to 0 when `ticks`
/// ticks have passed since its first call.
///
/// ```
/// use training_monitor::time::{Clock, WrappingClock};
/// use training_monitor_std::test_support::ticks::offset_to_wrap_after;
///
/// // The closure stands for the timer of a board.
/// let mut hardware = 100;
/// let mut source = offset_to_wrap_after(5, move || { hardware += 4; hardware });
/// assert_eq!([source(), source(), source()], [u32::MAX - 4, u32::MAX, 3]);
/// let mut clock = WrappingClock::new(source);
/// assert_eq!([clock.now(), clock.now()], [4, 8]);
/// ```
pub fn offset_to_wrap_after(ticks: u32, mut source: impl FnMut() -> u32) -> impl FnMut() -> u32 {
    let mut offset = None;
    move || {
        let now = source();
        let offset = *offset.get_or_insert(0_u32.wrapping_sub(ticks).wrapping_sub(now));
        now.wrapping_add(offset)
    }
}
