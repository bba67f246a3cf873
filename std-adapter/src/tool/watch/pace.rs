//! The pace of a run while `watch` follows it, from which the remaining time follows.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The minimum time between two samples.
const INTERVAL: Duration = Duration::from_secs(1);
/// The number of samples that are kept. A change of the pace takes full effect after as many intervals.
const SAMPLES: usize = 60;

/// The times at which the run had made certain progress. The pace includes everything that happens between the
/// iterations, such as evaluations and saves.
#[derive(Default, Debug)]
pub struct Pace {
    samples: VecDeque<(Instant, f64)>,
}

impl Pace {
    /// Adds a sample. `progress` is the iteration or the epoch. The caller adds no sample while it still reads lines
    /// from the past.
    pub fn sample(&mut self, now: Instant, progress: f64) {
        match self.samples.back() {
            // The run has returned to an earlier checkpoint, or a new run has started.
            Some((_, last)) if progress < *last => self.samples.clear(),
            Some((time, _)) if now.saturating_duration_since(*time) < INTERVAL => return,
            _ => (),
        }
        self.samples.push_back((now, progress));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Returns the number of seconds for one unit of progress.
    pub fn seconds_per_unit(&self) -> Option<f64> {
        let ((start, first), (end, last)) = (self.samples.front()?, self.samples.back()?);
        let seconds = end.saturating_duration_since(*start).as_secs_f64();
        (last > first).then_some(seconds / (last - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut sample = |seconds: f64, progress: f64| {
            pace.sample(start + Duration::from_secs_f64(seconds), progress);
            pace.seconds_per_unit()
        };
        assert_eq!(sample(0.0, 1000.0), None);
        assert_eq!(sample(0.5, 1500.0), None, "too soon after the last sample");
        assert_eq!(sample(2.0, 1010.0), Some(0.2));
        assert_eq!(sample(4.0, 1010.0), Some(0.4), "the run stands still");
        assert_eq!(sample(5.0, 500.0), None, "the run has resumed from an earlier checkpoint");
        (6..200).for_each(|second| _ = sample(f64::from(second), 500.0 + 10.0 * f64::from(second)));
        assert!((sample(200.0, 2500.0).unwrap() - 0.1).abs() < 1e-9);
    }
}
