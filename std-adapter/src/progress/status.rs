//! The values that the progress line shows, and the choice of those that fit the width of the terminal.

use super::variant_to_words;
use console::{measure_text_width, style, truncate_str};
use std::fmt::Write;
use std::time::{Duration, Instant};
use training_monitor::StopReason;

/// The smallest and the largest number of columns of the bar.
const BAR: std::ops::RangeInclusive<usize> = 10..=20;

#[derive(Debug)]
pub struct Status {
    pub epochs: u32,
    pub epoch: u32,
    pub batches: Option<u32>,
    pub batch: u32,
    pub iteration: u32,
    pub loss_name: String,
    pub loss: Option<f32>,
    pub score: Option<(String, f64)>,
    /// The time and the iteration of the first reported batch. The remaining time is measured from this point, because
    /// a resumed run does not begin at iteration 1.
    first_batch: Option<(Instant, u32)>,
    /// The time of the last reported batch.
    last_batch: Option<Instant>,
    /// The start of the current batch.
    batch_start: Option<Instant>,
    /// The number and the total duration of the batches whose start was reported.
    measured: (u32, Duration),
}

impl Default for Status {
    fn default() -> Self {
        Status {
            epochs: 0,
            epoch: 0,
            batches: None,
            batch: 0,
            iteration: 0,
            loss_name: "loss".to_owned(),
            loss: None,
            score: None,
            first_batch: None,
            last_batch: None,
            batch_start: None,
            measured: (0, Duration::ZERO),
        }
    }
}

/// A part of the line. A part with a lower importance is omitted first.
struct Part {
    importance: u8,
    text: String,
}

impl Status {
    pub fn begin_batch(&mut self, now: Instant) {
        self.batch_start = Some(now);
    }

    pub fn complete_batch(&mut self, now: Instant) {
        self.first_batch.get_or_insert((now, self.iteration));
        self.last_batch = Some(now);
        if let Some(start) = self.batch_start.take() {
            self.measured.0 = self.measured.0.saturating_add(1);
            self.measured.1 += now.saturating_duration_since(start);
        }
    }

    /// Returns the epoch, the batch, the loss and the score as text.
    pub fn text(&self) -> String {
        let mut text = format!("{}, {}", self.epoch_text(), self.batch_text());
        for part in [self.loss_text(), self.score_text()].into_iter().flatten() {
            text += ", ";
            text += &part;
        }
        text
    }

    /// Returns a line with at most `width` columns. The least important parts are omitted if the line is too long.
    /// `stop_reason` is the reason of a stop before the last epoch.
    pub fn line(&self, width: usize, stop_reason: Option<StopReason>) -> String {
        let part = |importance, text: Option<String>| text.map(|text| Part { importance, text });
        let parts = [
            part(9, Some(self.epoch_text())),
            part(2, Some(self.batch_text())),
            part(6, self.loss_text()),
            part(3, self.score_text()),
            part(1, self.batch_time_text().filter(|_| stop_reason.is_none())),
            part(5, self.remaining_text().filter(|_| stop_reason.is_none())),
            part(8, stop_reason.map(|reason| format!("stopped: {}", variant_to_words(&format!("{reason:?}"))))),
        ];
        let mut parts: Vec<Part> = parts.into_iter().flatten().collect();
        let mut percent = self.fraction().map(|fraction| format!("{:>3.0}%", (fraction * 100.0).floor()));
        // The bar and the percentage have an importance, too.
        let (bar_importance, percent_importance) = (4, 7);
        let mut has_bar = percent.is_some();
        loop {
            let used = measure_text_width(&self.assemble(&parts, percent.as_deref(), has_bar.then_some(0)));
            let free = width.checked_sub(used);
            let bar = free.filter(|columns| has_bar && columns >= BAR.start());
            if free.is_some() && (bar.is_some() || !has_bar) {
                return self.assemble(&parts, percent.as_deref(), bar.map(|columns| columns.min(*BAR.end())));
            }
            let least = parts.iter().map(|part| part.importance).min().unwrap_or(9);
            if has_bar && bar_importance < least {
                has_bar = false;
            } else if percent.is_some() && percent_importance < least {
                percent = None;
            } else if parts.len() > 1 {
                parts.retain(|part| part.importance != least);
            } else {
                return if width == 0 {
                    String::new()
                } else {
                    truncate_str(&self.epoch_text(), width, "…").into_owned()
                };
            }
        }
    }

    fn assemble(&self, parts: &[Part], percent: Option<&str>, bar: Option<usize>) -> String {
        let mut line = String::new();
        if let (Some(columns), Some(fraction)) = (bar, self.fraction()) {
            let done = (fraction * columns as f64).floor() as usize;
            let rest = columns - done.min(columns);
            // Writing to a `String` cannot fail.
            let _ = write!(
                line,
                "{}{} ",
                style("━".repeat(done)).cyan().for_stderr(),
                style("─".repeat(rest)).blue().for_stderr()
            );
        }
        if let Some(percent) = percent {
            let _ = write!(line, "{}  ", if bar.is_some() { percent } else { percent.trim_start() });
        }
        for (index, part) in parts.iter().enumerate() {
            let _ = write!(line, "{}{}", if index == 0 { "" } else { ", " }, part.text);
        }
        line
    }

    /// The share of the whole run that is completed, from 0 to 1. `None` if the length of the run is unknown.
    fn fraction(&self) -> Option<f64> {
        let total = self.total_batches().filter(|total| *total > 0)?;
        Some((f64::from(self.iteration) / total as f64).min(1.0))
    }

    fn total_batches(&self) -> Option<u64> {
        self.batches.map(|batches| u64::from(self.epochs) * u64::from(batches))
    }

    fn epoch_text(&self) -> String {
        let total = if self.epochs > 0 { format!("/{}", self.epochs) } else { String::new() };
        format!("epoch {}{total}", self.epoch)
    }

    fn batch_text(&self) -> String {
        let total = self.batches.map_or(String::new(), |batches| format!("/{batches}"));
        format!("batch {}{total}", self.batch)
    }

    fn loss_text(&self) -> Option<String> {
        self.loss.map(|loss| format!("{} {loss:.5}", self.loss_name))
    }

    fn score_text(&self) -> Option<String> {
        self.score.as_ref().map(|(name, value)| format!("{name} {value:.4}"))
    }

    /// Returns the mean duration of a batch. If the starts of the batches are unknown, this is the time from one batch to
    /// the next, which includes evaluations and saves.
    fn batch_time_text(&self) -> Option<String> {
        match self.measured {
            (0, _) => Some(format!("{:.1?} per batch with saves", self.interval()?)),
            (batches, total) => Some(format!("{:.1?} per batch", total / batches)),
        }
    }

    fn remaining_text(&self) -> Option<String> {
        let remaining = self.total_batches()?.checked_sub(u64::from(self.iteration))?;
        // The estimate includes the evaluations and the saves.
        let seconds = (self.interval()?.as_secs_f64() * remaining as f64).round() as u64;
        Some(format!("{}:{:02}:{:02} remaining", seconds / 3600, seconds / 60 % 60, seconds % 60))
    }

    /// Returns the mean time from one batch to the next.
    fn interval(&self) -> Option<Duration> {
        let ((start, first), last) = (self.first_batch?, self.last_batch?);
        let batches = self.iteration.checked_sub(first).filter(|batches| *batches > 0)?;
        Some(last.saturating_duration_since(start) / batches)
    }
}

/// Replaces control characters, which would move the cursor.
pub fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
