//! The output during a run: a progress bar or one line per epoch, and a history file.

use crate::output::{print_error_line, print_line};
use crate::settings::Settings;
use digits_workload::monitored::Series;
use digits_workload::train::Metrics;
use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CheckpointObserver};
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::time::Clock;
use training_monitor_std::directory::DirectoryError;
use training_monitor_std::history::HistoryObserver;
use training_monitor_std::{History, Progress, StdClock};

/// The values of a completed epoch.
pub struct EpochReport {
    pub epoch: u32,
    /// The running average of the training loss.
    pub smoothed_loss: f32,
    /// Loss and accuracy on the validation images.
    pub validation: Metrics,
    /// The learning rate of the last step.
    pub learning_rate: f32,
    /// The norm of the gradient in the last step, if it is known.
    pub gradient_norm: Option<f32>,
}

/// The values of a completed training step.
pub struct IterationReport {
    pub loss: f32,
    /// The running average of the loss.
    pub smoothed_loss: f32,
    pub learning_rate: f32,
    /// The norm of the gradient, if it is known.
    pub gradient_norm: Option<f32>,
}

/// The rate of the clock of the profile.
const PROFILE_HERTZ: u32 = 1_000_000;

/// Writes the events of the run to the history and to the terminal.
pub struct TerminalObserver {
    history: History,
    best: RefCell<HistoryObserver>,
    latest: RefCell<HistoryObserver>,
    /// `None` if the progress bar is disabled.
    progress: Option<Progress>,
    /// Whether each epoch prints a line, because standard error is no terminal.
    prints_epochs: bool,
    clock: Cell<StdClock>,
    epochs: u32,
    /// Number of training steps in one epoch.
    batches: Cell<u32>,
    /// Time at which the current step started, in ticks of the clock.
    step_start: Cell<u64>,
    /// Set by Ctrl-C or SIGTERM.
    stop: Arc<AtomicBool>,
}

impl TerminalObserver {
    /// `quiet` disables the progress.
    pub fn new(history: &History, settings: &Settings, quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        TerminalObserver {
            best: RefCell::new(history.observer("best")),
            latest: RefCell::new(history.observer("latest")),
            history: history.clone(),
            progress: (!quiet && is_terminal).then(Progress::new),
            prints_epochs: !quiet && !is_terminal,
            clock: Cell::new(StdClock::new()),
            epochs: settings.epochs,
            batches: Cell::new(0),
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
            None => print_error_line(format_args!("{line}")),
        }
    }

    /// The run starts. `resumed` describes the loaded checkpoint, or is `None` if the run starts from the beginning.
    pub fn on_start(&self, resumed: Option<Resumed>, batches: u32) {
        if let Err(error) = self.history.record_resume(resumed) {
            self.warn(&format!("warning: {error}"));
        }
        if let Some(Resumed { epoch, iteration, skipped, .. }) = resumed {
            print_line(format_args!("resumed after iteration {iteration} (epoch {epoch})"));
            if skipped > 0 {
                let noun = if skipped == 1 { "checkpoint" } else { "checkpoints" };
                self.warn(&format!("warning: skipped {skipped} unusable {noun}; the reasons are above"));
            }
        }
        if let Some(progress) = &self.progress {
            progress.start(self.epochs, Some(batches));
            progress.set_loss_name("smoothed loss");
        }
        self.batches.set(batches);
    }

    /// Reads the clock, in nanoseconds.
    pub fn now(&self) -> u64 {
        let mut clock = self.clock.get();
        clock.now()
    }

    /// Reads the clock, in microseconds.
    pub fn microseconds(&self) -> u64 {
        self.now() / u64::from(StdClock::HERTZ / PROFILE_HERTZ)
    }

    /// Returns whether the user pressed Ctrl-C or sent SIGTERM.
    pub fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A training step starts. The time before it, for example of an evaluation or a save, does not belong to a step.
    pub fn on_iteration_started(&self) {
        self.step_start.set(self.now());
        if let Some(progress) = &self.progress {
            progress.begin_batch();
        }
    }

    /// A training step is complete. The history contains its values, and the progress bar shows the smoothed loss.
    pub fn on_iteration(&self, counters: &Counters, report: &IterationReport) {
        let IterationReport { loss, smoothed_loss, learning_rate, gradient_norm } = *report;
        let seconds = StdClock::seconds(self.now().saturating_sub(self.step_start.get()));
        self.history.record_iteration(counters.iteration, loss, Some(seconds));
        let mut scalars = vec![("learning_rate", f64::from(learning_rate))];
        scalars.extend(gradient_norm.map(|norm| ("gradient_norm", f64::from(norm))));
        self.history.record_scalars(counters.iteration, &scalars);
        if let Some(progress) = &self.progress {
            let batch = (counters.iteration - 1) % self.batches.get() + 1;
            progress.set_batch(counters.epoch, batch, counters.iteration, smoothed_loss);
        }
    }

    /// An epoch is complete.
    pub fn on_epoch(&self, report: &EpochReport) {
        let EpochReport { epoch, smoothed_loss, validation, learning_rate, gradient_norm } = *report;
        let metrics = [("val_loss", f64::from(validation.loss)), ("accuracy", f64::from(validation.accuracy))];
        self.history.record_epoch(epoch, &metrics);
        if self.prints_epochs {
            let norm = gradient_norm.map_or(String::new(), |norm| format!(", gradient norm {norm:.4}"));
            print_error_line(format_args!(
                "epoch {epoch}/{}: smoothed loss {smoothed_loss:.4}, val_loss {:.4}, accuracy {:.2} %, learning rate \
                 {learning_rate:.4}{norm}",
                self.epochs,
                validation.loss,
                validation.accuracy * 100.0
            ));
        }
        if let Some(progress) = &self.progress {
            progress.set_score("val_loss", f64::from(validation.loss));
        }
    }

    /// The run ended, and `parts` are the durations of its parts in microseconds. The history contains those parts that
    /// occurred.
    pub fn on_profile(&self, parts: &[(&str, &TickStatistics)]) {
        let occurred: Vec<_> = parts.iter().copied().filter(|(_, statistics)| statistics.count() > 0).collect();
        if !occurred.is_empty() {
            self.history.record_profile(PROFILE_HERTZ, &occurred);
        }
    }

    /// A checkpoint handler saved a checkpoint, evicted one, or failed to save, evict or load one.
    pub fn on_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, DirectoryError>) {
        let (name, observer) = match series {
            Series::Best => ("best", &self.best),
            Series::Latest => ("latest", &self.latest),
        };
        observer.borrow_mut().on_checkpoint_event(event);
        if !matches!(event, CheckpointEvent::Saved { .. }) {
            self.warn(&format!("warning: {name}: {event}"));
        }
    }
}
