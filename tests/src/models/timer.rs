//! A model of the timer that remembers every interval, with a clock that does not wrap.

/// The model of the timer: a second, simple implementation for the tests. All times are in ticks.
#[derive(Clone, Debug)]
pub struct Timer {
    /// Whether `value` divides the time by the number of steps.
    pub average: bool,
    /// The lengths of all completed intervals.
    pub intervals: Vec<u64>,
    /// The start of the running interval, if any.
    pub since: Option<u64>,
    /// The number of steps.
    pub steps: u32,
}

impl Timer {
    /// Creates a timer that starts at the tick `now`.
    pub fn new(now: u64, average: bool) -> Self {
        Timer { average, intervals: Vec::new(), since: Some(now), steps: 0 }
    }

    /// Resets the timer to zero and starts it.
    pub fn reset(&mut self, now: u64) {
        *self = Timer::new(now, self.average);
    }

    /// Completes the running interval, if any.
    pub fn pause(&mut self, now: u64) {
        self.intervals.extend(self.since.take().map(|since| now - since));
    }

    /// Starts an interval, unless one is running.
    pub fn resume(&mut self, now: u64) {
        self.since = self.since.or(Some(now));
    }

    /// Restores the timer from a record of the tick `saved`. If an interval was running at `saved`, it ends there, and
    /// a new interval starts at the tick `now`.
    pub fn restart(&mut self, saved: u64, now: u64) {
        let is_running = self.since.is_some();
        self.pause(saved);
        self.since = is_running.then_some(now);
    }

    /// The total length of the completed intervals.
    pub fn total(&self) -> u64 {
        self.intervals.iter().sum()
    }

    /// The total length of all intervals until `now`.
    pub fn elapsed(&self, now: u64) -> u64 {
        self.total() + self.since.map_or(0, |since| now - since)
    }

    /// The value that Ignite's timer returns, in ticks: the elapsed time, or the time per step if `average` is set.
    pub fn value(&self, now: u64) -> f64 {
        let steps = if self.average { f64::from(self.steps) } else { 1.0 };
        self.elapsed(now) as f64 / steps.max(1.0)
    }
}
