//! The output during a run: a progress bar or one line per epoch.

use crate::output::{print_error_line, print_line};
use digits_workload::host::observer::{EpochReport, IterationReport, RunObserver};
use digits_workload::host::settings::Settings;
use std::cell::Cell;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;
use training_monitor_std::Progress;

/// Writes the events of the run to the terminal.
pub struct TerminalObserver {
    /// `None` if the progress bar is disabled.
    progress: Option<Progress>,
    /// Whether each epoch prints a line, because standard error is no terminal.
    prints_epochs: bool,
    epochs: u32,
    /// Number of training steps in one epoch.
    batches: Cell<u32>,
    /// Set by Ctrl-C or SIGTERM.
    stop: Arc<AtomicBool>,
}

impl TerminalObserver {
    /// `quiet` disables the progress.
    pub fn new(settings: &Settings, quiet: bool) -> Self {
        let is_terminal = io::stderr().is_terminal();
        TerminalObserver {
            progress: (!quiet && is_terminal).then(Progress::new),
            prints_epochs: !quiet && !is_terminal,
            epochs: settings.epochs,
            batches: Cell::new(0),
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
}

impl RunObserver for TerminalObserver {
    fn on_start(&self, resumed: Option<Resumed>, batches: u32) {
        if let Some(Resumed { epoch, iteration, skipped, .. }) = resumed {
            print_line(format_args!("resumed after iteration {iteration} (epoch {epoch})"));
            if skipped > 0 {
                let noun = if skipped == 1 { "checkpoint" } else { "checkpoints" };
                self.on_warning(&format!("skipped {skipped} unusable {noun}; the reasons are above"));
            }
        }
        if let Some(progress) = &self.progress {
            progress.start(self.epochs, Some(batches));
            progress.set_loss_name("smoothed loss");
        }
        self.batches.set(batches);
    }

    fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn on_iteration_started(&self) {
        if let Some(progress) = &self.progress {
            progress.begin_batch();
        }
    }

    fn on_iteration(&self, counters: &Counters, report: &IterationReport) {
        if let Some(progress) = &self.progress {
            let batch = (counters.iteration - 1) % self.batches.get() + 1;
            progress.set_batch(counters.epoch, batch, counters.iteration, report.smoothed_loss);
        }
    }

    fn on_epoch(&self, report: &EpochReport) {
        let EpochReport { epoch, smoothed_loss, validation, learning_rate, gradient_norm } = *report;
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

    fn on_warning(&self, text: &str) {
        match &self.progress {
            Some(progress) => progress.println(&format!("warning: {text}")),
            None => print_error_line(format_args!("warning: {text}")),
        }
    }
}
