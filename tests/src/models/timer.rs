//! A timer that remembers every interval, over a clock that never wraps.

/// The model, in ticks of real time.
#[derive(Clone, Debug)]
pub struct Timer {
    /// Whether the value is an average.
    pub average: bool,
    /// Closed intervals.
    pub intervals: Vec<u64>,
    /// When the open one began.
    pub since: Option<u64>,
    /// Steps counted.
    pub steps: u32,
}

impl Timer {
    /// Runs from now.
    pub fn new(now: u64, average: bool) -> Self {
        Timer { average, intervals: Vec::new(), since: Some(now), steps: 0 }
    }

    /// To zero, and runs.
    pub fn reset(&mut self, now: u64) {
        *self = Timer::new(now, self.average);
    }

    /// Closes the interval, if one is open.
    pub fn pause(&mut self, now: u64) {
        self.intervals.extend(self.since.take().map(|since| now - since));
    }

    /// Opens one, if none is.
    pub fn resume(&mut self, now: u64) {
        self.since = self.since.or(Some(now));
    }

    /// Goes on at another time, as from a record: what was open is closed, and opened again.
    pub fn restart(&mut self, saved: u64, now: u64) {
        let running = self.since.is_some();
        self.pause(saved);
        self.since = running.then_some(now);
    }

    /// Ticks of closed intervals.
    pub fn total(&self) -> u64 {
        self.intervals.iter().sum()
    }

    /// Ticks until now.
    pub fn elapsed(&self, now: u64) -> u64 {
        self.total() + self.since.map_or(0, |since| now - since)
    }

    /// Ignite's value, in ticks.
    pub fn value(&self, now: u64) -> f64 {
        let steps = if self.average { f64::from(self.steps) } else { 1.0 };
        self.elapsed(now) as f64 / steps.max(1.0)
    }
}
