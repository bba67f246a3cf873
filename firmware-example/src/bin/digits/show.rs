//! What the host simulation tells a person: a progress bar while it runs, a summary at its end, and a history on disk.

use crate::Host;
use crate::arguments::Arguments;
use digits_workload::monitored::{Journal, Series, Summary};
use digits_workload::train::Metrics;
use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::path::Path;
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;
use training_monitor::handlers::saving::{Observer, Report};
use training_monitor::time::Clock;
use training_monitor_std::directory::DirectoryError;
use training_monitor_std::history::HistoryObserver;
use training_monitor_std::{History, Progress, StdClock};

/// Listens to the run.
pub struct Show {
    history: History,
    best: RefCell<HistoryObserver>,
    latest: RefCell<HistoryObserver>,
    progress: Option<Progress>,
    clock: Cell<StdClock>,
    epochs: u32,
    /// When the last step ended, in ticks of the clock.
    last: Cell<u64>,
}

impl Show {
    pub fn new(history: &History, arguments: &Arguments) -> Self {
        Show {
            best: RefCell::new(history.observer("best")),
            latest: RefCell::new(history.observer("latest")),
            history: history.clone(),
            progress: (!arguments.quiet && io::stderr().is_terminal()).then(Progress::new),
            clock: Cell::new(StdClock::new()),
            epochs: arguments.epochs,
            last: Cell::new(0),
        }
    }

    /// Leaves the terminal as it was found.
    pub fn finish(&self) {
        if let Some(progress) = &self.progress {
            progress.finish(None);
        }
    }

    fn warn(&self, line: &str) {
        match &self.progress {
            Some(progress) => progress.say(line),
            None => eprintln!("{line}"),
        }
    }
}

impl Journal<DirectoryError> for Show {
    fn begins(&self, resumed: Option<Resumed>) {
        if let Err(error) = self.history.resumed(resumed) {
            self.warn(&format!("warning: {error}"));
        }
        if let Some(Resumed { epoch, iteration, skipped, .. }) = resumed {
            println!("going on after iteration {iteration} (epoch {epoch})");
            if skipped > 0 {
                self.warn(&format!("warning: {skipped} newer checkpoints are damaged and were passed over"));
            }
        }
        if let Some(progress) = &self.progress {
            progress.start(self.epochs, Some(Host::BATCHES));
        }
        self.last.set(self.now(0));
    }

    fn now(&self, _steps: u64) -> u64 {
        let mut clock = self.clock.get();
        clock.now()
    }

    fn iteration(&self, counters: &Counters, loss: f32) {
        let now = self.now(0);
        let seconds = StdClock::seconds(now.saturating_sub(self.last.replace(now)));
        self.history.iteration(counters.iteration, loss, Some(seconds));
        if let Some(progress) = &self.progress {
            let batch = (counters.iteration - 1) % Host::BATCHES + 1;
            progress.batch(counters.epoch, batch, counters.iteration, loss);
        }
    }

    fn epoch(&self, epoch: u32, validation: Metrics, _patience: u32) {
        let metrics = [("val_loss", f64::from(validation.loss)), ("accuracy", f64::from(validation.accuracy))];
        self.history.epoch(epoch, &metrics);
        if let Some(progress) = &self.progress {
            progress.score("val_loss", f64::from(validation.loss));
        }
        // The evaluation is no part of the next step.
        self.last.set(self.now(0));
    }

    fn checkpoint(&self, series: Series, report: &Report<'_, DirectoryError>) {
        match series {
            Series::Best => self.best.borrow_mut().observe(report),
            Series::Latest => self.latest.borrow_mut().observe(report),
        }
        if !matches!(report, Report::Saved { .. }) {
            self.warn(&format!("warning: {report}"));
        }
        self.last.set(self.now(0));
    }
}

/// The end of the run.
pub fn summary(summary: &Summary, directory: &Path, chart: &Path) {
    let Summary { outcome, steps, ticks, checksum, best, test } = summary;
    let each = StdClock::seconds(*ticks) / f64::from((*steps).max(1));
    println!("stopped       {:?}, after epoch {} (iteration {})", outcome.reason, outcome.epoch, outcome.iteration);
    println!("a batch       {:.1} µs on average over {steps}", each * 1e6);
    println!(
        "best          step {best}, {:.2} % of the test images right, loss {:.4}",
        test.accuracy * 100.0,
        test.loss
    );
    println!("checkpoints   {}", directory.display());
    println!("chart         {}", chart.display());
    println!("final weights {checksum:016x}");
}
