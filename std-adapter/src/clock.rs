//! A clock for attached timers.

use std::time::Instant;
use training_monitor::time::Clock;

/// A monotonic clock for a [`Timer`](training_monitor::Timer). The clock counts nanoseconds from its creation: one tick
/// is one nanosecond.
///
/// ```
/// use training_monitor::time::Clock;
/// use training_monitor_std::StdClock;
///
/// let mut clock = StdClock::new();
/// let before = clock.now();
/// std::thread::sleep(std::time::Duration::from_millis(2));
/// let seconds = StdClock::seconds(clock.now() - before);
/// assert!(seconds >= 0.002);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StdClock {
    start: Instant,
}

impl StdClock {
    /// The number of ticks of this clock per second. One tick is one nanosecond.
    pub const HERTZ: u32 = 1_000_000_000;

    /// Creates a clock that starts at 0 ticks.
    #[must_use]
    pub fn new() -> Self {
        StdClock { start: Instant::now() }
    }

    /// Converts a number of ticks (nanoseconds) to seconds.
    #[must_use]
    pub fn seconds(ticks: u64) -> f64 {
        ticks as f64 / f64::from(Self::HERTZ)
    }
}

impl Default for StdClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for StdClock {
    fn now(&mut self) -> u64 {
        // A `u64` counts nanoseconds for 584 years, so this conversion does not fail in practice.
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
