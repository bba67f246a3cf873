//! The log lines that a device prints. This module defines each line once, as a function and as a format string.
//!
//! Firmware prints the lines with the functions, which need the feature `defmt`. The command `training-monitor watch`
//! uses the format strings to recognise the lines. `DefmtObserver` prints a line for each event of a checkpoint
//! handler.

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
    /// The log line of a resumed run. Its values are the epoch, the iteration and the number of checkpoints that could
    /// not be loaded.
    info RESUMED resumed = "resumed in epoch {=u32} after iteration {=u32}, skipped {=u32} checkpoints"
        (epoch: u32, iteration: u32, skipped: u32);
    /// The log line of a run that starts at its beginning.
    info STARTED started = "started a new run" ();
    /// The log line of an iteration. Its values are the iteration and the loss.
    info ITERATION iteration = "iteration {=u32}: loss {=f32}" (iteration: u32, loss: f32);
    /// The log line of a completed epoch. Its values are the epoch, the loss, the accuracy and the remaining patience
    /// of early stopping.
    info EPOCH epoch = "epoch {=u32}: loss {=f32}, accuracy {=f32}, patience {=u32}"
        (epoch: u32, loss: f32, accuracy: f32, patience: u32);
    /// The log line of the end of a run. Its values are the reason and the last epoch.
    info STOPPED stopped = "{} after epoch {=u32}" (reason: crate::StopReason, epoch: u32);
    /// The log line of a saved checkpoint. Its values are the name of the handler, the step number and the size in
    /// bytes.
    info SAVED saved = "{=str}: saved step {=u32}, {=u32} bytes" (series: &str, step: u32, bytes: u32);
    /// The log line of a saved checkpoint that evicted another one. Its values are the name of the handler, the step
    /// number, the size in bytes and the step number of the evicted checkpoint.
    info SAVED_AND_EVICTED saved_and_evicted = "{=str}: saved step {=u32}, {=u32} bytes, evicted step {=u32}"
        (series: &str, step: u32, bytes: u32, evicted: u32);
    /// The log line of a failed save. Its values are the name of the handler and the step number.
    error SAVE_FAILED save_failed = "{=str}: step {=u32} was not saved" (series: &str, step: u32);
    /// The log line of an evicted checkpoint that could not be removed. Its values are the name of the handler and the
    /// step number.
    warn EVICTION_FAILED eviction_failed = "{=str}: step {=u32} was not evicted" (series: &str, step: u32);
    /// The log line of a checkpoint that could not be loaded. Its values are the name of the handler and the step
    /// number.
    warn LOAD_FAILED load_failed = "{=str}: step {=u32} could not be loaded" (series: &str, step: u32);
    /// The log line for a checkpoint that could not be used to resume or that has disappeared. Its values are the name of
    /// the handler and the step number.
    warn UNUSABLE unusable = "{=str}: step {=u32} was not used: removed, or without a run record" (series: &str, step: u32);
    /// The log line for a checkpoint of another series that was removed, because the store was full. Its values are the
    /// name of the handler and the step number.
    warn OTHER_EVICTED other_evicted = "{=str}: evicted step {=u32} of another series" (series: &str, step: u32);
    /// The log line for a store with too few places. Its values are the name of the handler and the number of checkpoints
    /// that it keeps now.
    warn FEWER_PLACES fewer_places = "{=str}: keeps {=u32} checkpoints, because the store has too few places" (series: &str, places: u32);
    /// The log line for a store that could not list its checkpoints. Its value is the name of the handler.
    error LIST_FAILED list_failed = "{=str}: the checkpoints could not be listed" (series: &str);
    /// The log line for an [`AdaptiveInterval`](crate::AdaptiveInterval), for example after each save. Its values are the
    /// interval and what determines it, the start of the program, and the estimated mean time between failures. The times
    /// are in ticks.
    info SAVE_INTERVAL save_interval = "saves every {=u64} ticks: {}, start {=u16}, {=f32} ticks between failures"
        (interval: u64, limit: crate::handlers::adaptive_interval::IntervalLimit, starts: u16, mtbf: f32);
    /// The log line for the wear of a flash store. Its values are the name of the handler and the erase count of each
    /// slot.
    info ERASES erases = "{=str}: slots erased {} times" (series: &str, counts: &[u32]);
}

/// An observer that prints a log line for each event of a checkpoint handler. Pass it to the handler's
/// method [`observe`](crate::handlers::model_checkpoint::CheckpointHandler::observe).
#[cfg(feature = "defmt")]
#[cfg_attr(docsrs, doc(cfg(feature = "defmt")))]
#[derive(Clone, Copy, Debug)]
pub struct DefmtObserver {
    /// The name of the handler at the start of each log line, such as "best" or "latest".
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
            CheckpointEvent::NoRunRecord { step } | CheckpointEvent::Disappeared { step } => {
                unusable(self.series, step)
            }
            CheckpointEvent::OtherSeriesEvicted { step } => other_evicted(self.series, step),
            CheckpointEvent::FewerPlaces { places } => fewer_places(self.series, u32::from(places)),
            CheckpointEvent::ListFailed { .. } => list_failed(self.series),
        }
    }
}
