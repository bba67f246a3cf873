//! The log lines of a device, in one table.
//!
//! Firmware prints these lines with the functions of this module (feature `defmt`). `training-monitor watch` recognises
//! them by the constants, which are always available. [`DefmtObserver`] prints the events of a checkpoint handler.

macro_rules! lines {
    ($($(#[$doc:meta])* $level:ident $constant:ident $function:ident = $format:tt ($($argument:ident: $type:ty),*);)*) => {
        $(
            $(#[$doc])*
            pub const $constant: &str = $format;

            $(#[$doc])*
            #[cfg(feature = "defmt")]
            #[cfg_attr(docsrs, doc(cfg(feature = "defmt")))]
            pub fn $function($($argument: $type),*) {
                defmt::$level!($format, $($argument),*);
            }
        )*

        /// All lines of this module, as defmt format strings.
        pub const LINES: &[&str] = &[$($constant),*];
    };
}

lines! {
    /// A run resumed: epoch, iteration, number of skipped checkpoints.
    info RESUMED resumed = "resumed in epoch {=u32} after iteration {=u32}, skipped {=u32} checkpoints"
        (epoch: u32, iteration: u32, skipped: u32);
    /// A run started at its beginning.
    info STARTED started = "started a new run" ();
    /// The loss of an iteration.
    info ITERATION iteration = "iteration {=u32}: loss {=f32}" (iteration: u32, loss: f32);
    /// The loss and the accuracy of an epoch, and the remaining patience of early stopping.
    info EPOCH epoch = "epoch {=u32}: loss {=f32}, accuracy {=f32}, patience {=u32}"
        (epoch: u32, loss: f32, accuracy: f32, patience: u32);
    /// A run ended: the reason and the last epoch.
    info STOPPED stopped = "{} after epoch {=u32}" (reason: crate::StopReason, epoch: u32);
    /// A checkpoint was saved: series, step, bytes.
    info SAVED saved = "{=str}: saved step {=u32}, {=u32} bytes" (series: &str, step: u32, bytes: u32);
    /// A checkpoint was saved and evicted another one: series, step, bytes, evicted step.
    info SAVED_AND_EVICTED saved_and_evicted = "{=str}: saved step {=u32}, {=u32} bytes, evicted step {=u32}"
        (series: &str, step: u32, bytes: u32, evicted: u32);
    /// A checkpoint could not be saved: series, step.
    error SAVE_FAILED save_failed = "{=str}: step {=u32} was not saved" (series: &str, step: u32);
    /// An evicted checkpoint could not be removed: series, step.
    warn EVICTION_FAILED eviction_failed = "{=str}: step {=u32} was not evicted" (series: &str, step: u32);
    /// A checkpoint could not be loaded: series, step.
    warn LOAD_FAILED load_failed = "{=str}: step {=u32} could not be loaded" (series: &str, step: u32);
    /// The erases of each flash slot: series, counts.
    info ERASES erases = "{=str}: slots erased {} times" (series: &str, counts: &[u32]);
}

/// Prints the events of a checkpoint handler with the lines of this module. Pass it to
/// [`observe`](crate::handlers::model_checkpoint::CheckpointHandler::observe).
#[cfg(feature = "defmt")]
#[cfg_attr(docsrs, doc(cfg(feature = "defmt")))]
#[derive(Clone, Copy, Debug)]
pub struct DefmtObserver {
    /// The name of the series in the log lines, such as "best" or "latest".
    pub series: &'static str,
}

#[cfg(feature = "defmt")]
impl<E> crate::handlers::model_checkpoint::CheckpointObserver<E> for DefmtObserver {
    fn on_checkpoint_event(&mut self, event: &crate::handlers::model_checkpoint::CheckpointEvent<'_, E>) {
        use crate::handlers::model_checkpoint::CheckpointEvent;
        match *event {
            CheckpointEvent::Saved { decision, bytes, evicted: None } => saved(self.series, decision.step, bytes),
            CheckpointEvent::Saved { decision, bytes, evicted: Some(evicted) } => {
                saved_and_evicted(self.series, decision.step, bytes, evicted);
            }
            CheckpointEvent::SaveFailed { decision, .. } => save_failed(self.series, decision.step),
            CheckpointEvent::EvictionFailed { step, .. } => eviction_failed(self.series, step),
            CheckpointEvent::LoadFailed { step, .. } => load_failed(self.series, step),
        }
    }
}
