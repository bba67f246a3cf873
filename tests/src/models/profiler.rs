//! Models of `TickStatistics`, which stores every duration, and of `Profiler`, which stores every event.

use training_monitor::Event;

/// The model of the statistics of durations.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// All durations, in ticks.
    pub durations: Vec<u64>,
}

impl Statistics {
    /// The exact sum.
    pub fn total(&self) -> u128 {
        self.durations.iter().map(|ticks| u128::from(*ticks)).sum()
    }

    /// The shortest duration, or 0.
    pub fn min(&self) -> u64 {
        self.durations.iter().copied().min().unwrap_or(0)
    }

    /// The longest duration, or 0.
    pub fn max(&self) -> u64 {
        self.durations.iter().copied().max().unwrap_or(0)
    }

    /// The mean, or 0.
    pub fn mean(&self) -> f64 {
        self.total() as f64 / (self.durations.len() as f64).max(1.0)
    }

    /// The standard deviation of a sample, or 0. It does not change if all durations are shortened by the same number of
    /// ticks, so the shortest one is subtracted first.
    pub fn deviation(&self) -> f64 {
        let count = self.durations.len() as f64;
        let shortened: Vec<f64> = self.durations.iter().map(|ticks| (ticks - self.min()) as f64).collect();
        let mean = shortened.iter().sum::<f64>() / count;
        let squares: f64 = shortened.iter().map(|ticks| (ticks - mean).powi(2)).sum();
        if self.durations.len() < 2 { 0.0 } else { (squares / (count - 1.0)).sqrt() }
    }
}

/// An entry of the log of a run.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Entry {
    /// An event of the run, and the reading of the clock.
    Event(Event, u64),
    /// The state is saved when the first clock has the first reading. A new program restores it when its clock has the
    /// second reading.
    Restart(u64, u64),
}

/// The model of the profiler: the log of a run.
#[derive(Clone, Debug, Default)]
pub struct Profiler {
    /// All events since the run started, and all restarts.
    pub log: Vec<Entry>,
}

/// How a span ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The part was completed.
    Completed,
    /// The fetch had no batch, or the step failed. Its ticks belong to `other`.
    Abandoned,
    /// The run was interrupted and continued in the same program. The ticks until then belong to no part.
    Lost,
    /// The log ends first.
    Open,
}

/// A time span: the numbers of its first and its last entry.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    how: End,
}

impl Profiler {
    /// Returns the durations of all completed parts, in the order fetch, step, other, epoch.
    pub fn durations(&self) -> [Statistics; 4] {
        let ends_run = |event| matches!(event, Event::Completed | Event::ExceptionRaised);
        let abandons = |event| ends_run(event) || event == Event::EpochCompleted;
        let fetches = self.spans(Event::GetBatchStarted, Event::GetBatchCompleted, abandons, true);
        let steps = self.spans(Event::IterationStarted, Event::IterationCompleted, abandons, true);
        let epochs = self.spans(Event::EpochStarted, Event::EpochCompleted, ends_run, false);
        let abandoned: Vec<Span> =
            fetches.iter().chain(&steps).filter(|span| span.how == End::Abandoned).copied().collect();
        let others = self.others(&abandoned);

        let time = self.time();
        let length = |span: &Span| time[span.end] - time[span.start];
        let other = |span: &Span| {
            // The fetches inside the span do not belong to it, except for those that were abandoned until its end.
            let fetched: u64 = fetches.iter().map(|fetch| length(&intersection(fetch, span))).sum();
            let returned = abandoned.iter().filter(|part| (span.start..=span.end).contains(&part.end));
            length(span) - fetched + returned.map(length).sum::<u64>()
        };
        let completed = |spans: &[Span]| {
            let completed = spans.iter().filter(|span| span.how == End::Completed);
            Statistics { durations: completed.map(length).collect() }
        };
        let others = Statistics { durations: others.iter().map(other).collect() };
        [completed(&fetches), completed(&steps), others, completed(&epochs)]
    }

    /// Returns for each entry the ticks that have counted until then. The time does not count from the end or an
    /// interruption of the run to the next event, and not during a restart. A clock that runs backwards adds nothing.
    fn time(&self) -> Vec<u64> {
        let (mut time, mut last) = (0, None);
        let mut until = Vec::new();
        for entry in &self.log {
            let now = match entry {
                Entry::Event(_, now) | Entry::Restart(now, _) => *now,
            };
            time += last.map_or(0, |last| now.saturating_sub(last));
            until.push(time);
            last = match entry {
                Entry::Event(Event::Interrupt | Event::Completed | Event::ExceptionRaised, _) => None,
                Entry::Event(_, now) | Entry::Restart(_, now) => Some(*now),
            };
        }
        until
    }

    /// Returns the spans from each event `start` to the next event `end`. A span can end earlier: at an event that
    /// `abandons` it or, if `is_lost` is set, at the first event after an interruption in the same program.
    fn spans(&self, start: Event, end: Event, abandons: impl Fn(Event) -> bool, is_lost: bool) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut open = None;
        for (index, entry) in self.log.iter().enumerate() {
            let Entry::Event(event, _) = *entry else { continue };
            let is_continued = index > 0 && matches!(self.log[index - 1], Entry::Event(Event::Interrupt, _));
            if let Some(start) = open.take_if(|_| is_lost && is_continued) {
                spans.push(Span { start, end: index, how: End::Lost });
            }
            if event == end || abandons(event) {
                let how = if event == end { End::Completed } else { End::Abandoned };
                spans.extend(open.take().map(|start| Span { start, end: index, how }));
            }
            if event == start {
                open = open.or(Some(index));
            }
        }
        spans.extend(open.map(|start| Span { start, end: self.log.len() - 1, how: End::Open }));
        spans
    }

    /// Returns the completed spans between the steps.
    fn others(&self, abandoned: &[Span]) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut open: Option<usize> = None;
        for (index, entry) in self.log.iter().enumerate() {
            let Entry::Event(event, _) = *entry else { continue };
            let is_abandoned = abandoned.iter().any(|part| part.end == index);
            if is_abandoned || matches!(event, Event::Started | Event::EpochStarted | Event::IterationCompleted) {
                open = open.or(Some(index));
            }
            if matches!(event, Event::IterationStarted | Event::Completed | Event::ExceptionRaised) {
                spans.extend(open.take().map(|start| Span { start, end: index, how: End::Completed }));
            }
        }
        spans
    }
}

/// Returns the part of `a` that is also in `b`. It has no length if they have no common part.
fn intersection(a: &Span, b: &Span) -> Span {
    let (start, end) = (a.start.max(b.start), a.end.min(b.end));
    Span { start: start.min(end), end, how: a.how }
}
