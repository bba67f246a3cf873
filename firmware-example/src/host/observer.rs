//! What a run reports, and who receives it.

use super::network::Study;
use crate::train::Metrics;
use training_monitor::engine::Resumed;
use training_monitor::event::Counters;

/// The values of a completed epoch.
#[derive(Debug, Clone, Copy)]
pub struct EpochReport {
    /// The number of the epoch, from 1.
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
#[derive(Debug, Clone, Copy)]
pub struct IterationReport {
    /// The mean loss of the batch before the update.
    pub loss: f32,
    /// The running average of the loss.
    pub smoothed_loss: f32,
    /// The learning rate of the step.
    pub learning_rate: f32,
    /// The norm of the gradient, if it is known.
    pub gradient_norm: Option<f32>,
}

/// Receives the events of a run, after the history has recorded them.
pub trait RunObserver {
    /// The run starts. `resumed` describes the loaded checkpoint, or is `None` if the run starts from the beginning.
    /// `batches` is the number of training steps in one epoch.
    fn on_start(&self, resumed: Option<Resumed>, batches: u32);

    /// The network has its first weights, or those of a completed epoch whose checkpoints are saved, or those of the last
    /// training step. The run continues when this method returns.
    fn on_weights(&self, study: &mut Study) {
        let _ = study;
    }

    /// A training step starts.
    fn on_iteration_started(&self) {}

    /// A training step is complete.
    fn on_iteration(&self, counters: &Counters, report: &IterationReport) {
        let _ = (counters, report);
    }

    /// An epoch is complete. Its checkpoints are not saved yet.
    fn on_epoch(&self, report: &EpochReport);

    /// Something failed that does not end the run, for example the removal of a checkpoint.
    fn on_warning(&self, text: &str);

    /// Returns whether the run must be interrupted before the next step.
    fn stop_requested(&self) -> bool;
}
