//! The log lines that `watch` understands. Each line is a defmt format string, together with the meaning of its
//! placeholders.

use training_monitor::log;

/// A kind of log line that `watch` understands.
pub struct LogLine {
    pub kind: LineKind,
    /// The defmt format string.
    pub format: &'static str,
    /// The meaning of each placeholder in the format string, in the order of the placeholders.
    pub fields: &'static [Field],
}

/// The event that a log line reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    /// The run starts without a checkpoint.
    Started,
    /// The run resumes from a checkpoint.
    Resumed,
    /// The device has started and reports how often it has erased each slot (flash area) of a store.
    SlotErases,
    /// An epoch is completed.
    Epoch,
    /// An iteration is completed.
    Iteration,
    /// A checkpoint is committed.
    Saved,
    /// A checkpoint could not be saved.
    SaveFailed,
    /// An evicted checkpoint could not be removed.
    EvictionFailed,
    /// A checkpoint could not be loaded.
    LoadFailed,
    /// The run is over.
    Stopped,
    /// A message of a checkpoint handler that is no event of a history. `watch` shows the line unchanged.
    Message,
}

/// The meaning of a placeholder in a format string, for example the step number of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// The name of the checkpoint handler.
    Store,
    /// The step number of the checkpoint.
    Step,
    /// The number of checkpoints that the handler keeps.
    Places,
    /// The size of the checkpoint in bytes.
    Bytes,
    /// The step number of the evicted checkpoint, which the handler removed after a save.
    EvictedStep,
    /// The number of the epoch.
    Epoch,
    /// The number of the iteration.
    Iteration,
    /// The number of newer checkpoints that could not be loaded.
    Skipped,
    /// The loss of the iteration.
    Loss,
    /// The metric with this name.
    Metric(&'static str),
    /// A list of metrics: `loss 0.1, accuracy 0.9`.
    Metrics,
    /// The name of the stop reason.
    Reason,
    /// A time in ticks of the device's clock.
    Ticks,
    /// The number of starts of the program.
    Start,
    /// A word that `watch` does not interpret.
    Text,
    /// A list of erase counts, one for each slot: `[3, 2, 2]`.
    EraseCounts,
}

use Field::{
    Bytes, Epoch, EraseCounts, EvictedStep, Iteration, Loss, Metric, Metrics, Places, Reason, Skipped, Start, Step,
    Store, Text, Ticks,
};

/// The log lines of the module `training_monitor::log`. The firmware prints them with the functions of this module.
pub const LOG_MODULE_LINES: &[LogLine] = &[
    LogLine { kind: LineKind::Started, format: log::STARTED, fields: &[] },
    LogLine { kind: LineKind::Resumed, format: log::RESUMED, fields: &[Epoch, Iteration, Skipped] },
    LogLine { kind: LineKind::Iteration, format: log::ITERATION, fields: &[Iteration, Loss] },
    LogLine {
        kind: LineKind::Epoch,
        format: log::EPOCH,
        fields: &[Epoch, Metric("loss"), Metric("accuracy"), Metric("patience")],
    },
    LogLine { kind: LineKind::Stopped, format: log::STOPPED, fields: &[Reason, Epoch] },
    LogLine { kind: LineKind::Saved, format: log::SAVED_AND_EVICTED, fields: &[Store, Step, Bytes, EvictedStep] },
    LogLine { kind: LineKind::Saved, format: log::SAVED, fields: &[Store, Step, Bytes] },
    LogLine { kind: LineKind::SaveFailed, format: log::SAVE_FAILED, fields: &[Store, Step] },
    LogLine { kind: LineKind::EvictionFailed, format: log::EVICTION_FAILED, fields: &[Store, Step] },
    LogLine { kind: LineKind::LoadFailed, format: log::LOAD_FAILED, fields: &[Store, Step] },
    LogLine { kind: LineKind::LoadFailed, format: log::UNUSABLE, fields: &[Store, Step] },
    LogLine { kind: LineKind::Message, format: log::OTHER_EVICTED, fields: &[Store, Step] },
    LogLine { kind: LineKind::Message, format: log::FEWER_PLACES, fields: &[Store, Places] },
    LogLine { kind: LineKind::Message, format: log::LIST_FAILED, fields: &[Store] },
    LogLine { kind: LineKind::Message, format: log::SAVE_INTERVAL, fields: &[Ticks, Text, Start, Ticks] },
    LogLine { kind: LineKind::SlotErases, format: log::ERASES, fields: &[Store, EraseCounts] },
];

/// The log lines of firmware that does not use the module `training_monitor::log`, or that prints other metrics.
pub const OTHER_LINES: &[LogLine] = &[
    LogLine { kind: LineKind::Epoch, format: "epoch {=u32}: {}", fields: &[Epoch, Metrics] },
    LogLine { kind: LineKind::Iteration, format: "iteration {=u32}, loss {=f32}", fields: &[Iteration, Loss] },
    LogLine { kind: LineKind::Iteration, format: "iteration {=u32} loss {=f32}", fields: &[Iteration, Loss] },
    LogLine {
        kind: LineKind::Resumed,
        format: "resumed in epoch {=u32} after iteration {=u32}",
        fields: &[Epoch, Iteration],
    },
];

/// All tables of log lines. If a line matches several format strings, the first matching format string is used.
pub const TABLES: [&[LogLine]; 2] = [LOG_MODULE_LINES, OTHER_LINES];
