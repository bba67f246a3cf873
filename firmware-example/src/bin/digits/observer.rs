//! The output of the host simulation: a progress bar during the run, a summary after it, and a history file.

use crate::HostTrainee;
use crate::arguments::Arguments;
use digits_workload::monitored::{RunObserver, Series, Summary};
use digits_workload::train::Metrics;
use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver};
use training_monitor::time::Clock;
use training_monitor_std::directory::DirectoryError;
use training_monitor_std::history::HistoryObserver;
use training_monitor_std::{History, Progress, StdClock};

/// Writes the events of the run to the history and to the terminal.
pub struct TerminalObserver {
    history: History,
    best: RefCell<HistoryObserver>,
    latest: RefCell<HistoryObserver>,
    /// `None` if the progress bar is disabled.
    progress: Option<Progress>,
    clock: Cell<StdClock>,
    epochs: u32,
    /// Time at which the current step started, in ticks of the clock.
    step_start: Cell<u64>,
    /// Set by Ctrl-C or SIGTERM.
    stop: Arc<AtomicBool>,
}

impl TerminalObserver {
    pub fn new(history: &History, arguments: &Arguments) -> Self {
        TerminalObserver {
            best: RefCell::new(history.observer("best")),
            latest: RefCell::new(history.observer("latest")),
            history: history.clone(),
            progress: (!arguments.quiet && io::stderr().is_terminal()).then(Progress::new),
            clock: Cell::new(StdClock::new()),
            epochs: arguments.epochs,
            step_start: Cell::new(0),
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Returns the flag that stops the run. A signal handler sets it.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Removes the progress bar and restores the terminal settings.
    pub fn finish(&self) {
        if let Some(progress) = &self.progress {
            progress.finish(None);
        }
    }

    fn warn(&self, line: &str) {
        match &self.progress {
            Some(progress) => progress.println(line),
            None => eprintln!("{line}"),
        }
    }
}

impl RunObserver<DirectoryError> for TerminalObserver {
    fn on_start(&self, resumed: Option<Resumed>) {
        if let Err(error) = self.history.record_resume(resumed) {
            self.warn(&format!("warning: {error}"));
        }
        if let Some(Resumed { epoch, iteration, skipped, .. }) = resumed {
            println!("resumed after iteration {iteration} (epoch {epoch})");
            if skipped > 0 {
                self.warn(&format!("warning: skipped {skipped} checkpoints, because they are damaged or do not fit"));
            }
        }
        if let Some(progress) = &self.progress {
            progress.start(self.epochs, Some(HostTrainee::BATCHES));
        }
        self.step_start.set(self.now(0));
    }

    fn now(&self, _steps: u64) -> u64 {
        let mut clock = self.clock.get();
        clock.now()
    }

    fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn on_iteration(&self, counters: &Counters, loss: f32) {
        let now = self.now(0);
        let seconds = StdClock::seconds(now.saturating_sub(self.step_start.replace(now)));
        self.history.record_iteration(counters.iteration, loss, Some(seconds));
        if let Some(progress) = &self.progress {
            let batch = (counters.iteration - 1) % HostTrainee::BATCHES + 1;
            progress.set_batch(counters.epoch, batch, counters.iteration, loss);
        }
    }

    fn on_epoch(&self, epoch: u32, validation: Metrics, _patience: u32) {
        let metrics = [("val_loss", f64::from(validation.loss)), ("accuracy", f64::from(validation.accuracy))];
        self.history.record_epoch(epoch, &metrics);
        if let Some(progress) = &self.progress {
            progress.set_score("val_loss", f64::from(validation.loss));
        }
        // The duration of the next step must not include the evaluation.
        self.step_start.set(self.now(0));
    }

    fn on_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, DirectoryError>) {
        match series {
            Series::Best => self.best.borrow_mut().on_checkpoint_event(event),
            Series::Latest => self.latest.borrow_mut().on_checkpoint_event(event),
        }
        if !matches!(event, CheckpointEvent::Saved { .. }) {
            self.warn(&format!("warning: {event}"));
        }
        // The duration of the next step must not include the save.
        self.step_start.set(self.now(0));
    }
}

/// Prints the result of the run.
pub fn print_summary(summary: &Summary, directory: &Path, chart: &Path) {
    let Summary { outcome, steps, ticks, checksum, best, test } = summary;
    let seconds_per_step = StdClock::seconds(*ticks) / f64::from((*steps).max(1));
    println!("stopped       {:?}, after epoch {} (iteration {})", outcome.reason, outcome.epoch, outcome.iteration);
    println!("step time     {:.1} µs on average over {steps} steps", seconds_per_step * 1e6);
    println!(
        "best          step {best}, {:.2} % of the test images correct, loss {:.4}",
        test.accuracy * 100.0,
        test.loss
    );
    println!("checkpoints   {}", directory.display());
    println!("chart         {}", chart.display());
    println!("final weights {checksum:016x}");
}
