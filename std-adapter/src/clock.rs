//! The host's clock, for an attached [`Timer`](training_monitor::Timer): nanoseconds that never go back.
//!
//! ```
//! use training_monitor::time::Clock;
//! use training_monitor_std::StdClock;
//!
//! let mut clock = StdClock::new();
//! let before = clock.now();
//! std::thread::sleep(std::time::Duration::from_millis(2));
//! let seconds = StdClock::seconds(clock.now() - before);
//! assert!(seconds >= 0.002);
//! ```

use std::time::Instant;
use training_monitor::time::Clock;

/// Nanoseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub struct StdClock {
    start: Instant,
}

impl StdClock {
    /// Ticks a second.
    pub const HERTZ: u32 = 1_000_000_000;

    /// Starts at 0 now.
    #[must_use]
    pub fn new() -> Self {
        StdClock { start: Instant::now() }
    }

    /// Ticks as seconds.
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
        // 584 years fit.
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
