//! Tick counters that wrap where a test wants them to.

use std::cell::Cell;
use std::rc::Rc;

/// A 32-bit tick counter that the test moves on. Clones are of the same counter.
///
/// ```
/// use training_monitor::time::{Clock, Extend};
/// use training_monitor_std::test_support::ticks::TickSource;
///
/// let ticks = TickSource::before_wrap(3);
/// let mut clock = Extend::new(ticks.reader());
/// ticks.advance(10);
/// assert_eq!(clock.now(), 10);
/// ```
#[derive(Clone, Debug)]
pub struct TickSource(Rc<Cell<u64>>);

impl TickSource {
    /// A counter that wraps after so many ticks.
    #[must_use]
    pub fn before_wrap(ticks: u32) -> Self {
        TickSource(Rc::new(Cell::new((1 << 32) - u64::from(ticks))))
    }

    /// Time passes.
    pub fn advance(&self, ticks: u64) {
        self.0.set(self.0.get() + ticks);
    }

    /// Real time in ticks, which does not wrap.
    #[must_use]
    pub fn real(&self) -> u64 {
        self.0.get()
    }

    /// What the hardware would give.
    pub fn reader(&self) -> impl FnMut() -> u32 + use<> {
        let ticks = self.0.clone();
        move || ticks.get() as u32
    }
}

/// A tick source of yours, set so that it wraps `ticks` after its first reading.
///
/// ```
/// use training_monitor::time::{Clock, Extend};
/// use training_monitor_std::test_support::ticks::wrapping_after;
///
/// // Stands for the timer of a board, or one of the host.
/// let mut hardware = 100;
/// let mut source = wrapping_after(5, move || { hardware += 4; hardware });
/// assert_eq!([source(), source(), source()], [u32::MAX - 4, u32::MAX, 3]);
/// let mut clock = Extend::new(source);
/// assert_eq!([clock.now(), clock.now()], [4, 8]);
/// ```
pub fn wrapping_after(ticks: u32, mut source: impl FnMut() -> u32) -> impl FnMut() -> u32 {
    let mut shift = None;
    move || {
        let now = source();
        let shift = *shift.get_or_insert(0_u32.wrapping_sub(ticks).wrapping_sub(now));
        now.wrapping_add(shift)
    }
}
