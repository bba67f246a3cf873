//! The log lines that `watch` understands, as defmt format strings with the meaning of their placeholders.

/// A log line.
pub struct LogLine {
    pub kind: LineKind,
    /// The defmt format string.
    pub format: &'static str,
    /// The meaning of each placeholder of the format string, in order.
    pub fields: &'static [Field],
}

/// What a log line reports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineKind {
    /// The run starts without a checkpoint.
    Started,
    /// The run resumes from a checkpoint.
    Resumed,
    /// The erase counts of a store's slots when the device starts.
    SlotErases,
    /// An epoch is completed.
    Epoch,
    /// An iteration is completed.
    Iteration,
    /// A checkpoint is committed.
    Saved,
    /// A checkpoint could not be saved.
    SaveFailed,
    /// A checkpoint could not be removed.
    RemovalFailed,
    /// A checkpoint could not be loaded.
    LoadFailed,
    /// The run is over.
    Stopped,
    /// Text for people without a meaning for the tool.
    Message,
}

/// The meaning of a placeholder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// A value without a meaning for the tool.
    Ignored,
    /// The name of the checkpoint handler.
    Store,
    /// The step number of the checkpoint.
    Step,
    /// The size of the checkpoint in bytes.
    Bytes,
    /// The step number of the evicted checkpoint.
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
    /// A list of erase counts, one for each slot: `[3, 2, 2]`.
    EraseCounts,
}

use Field::{
    Bytes, Epoch, EraseCounts, EvictedStep, Ignored, Iteration, Loss, Metric, Metrics, Reason, Skipped, Step, Store,
};

/// The lines of the module `log` of the core.
pub const LOG_MODULE_LINES: &[LogLine] = &[
    LogLine { kind: LineKind::Started, format: "started a new run", fields: &[] },
    LogLine {
        kind: LineKind::Resumed,
        format: "resumed in epoch {=u32} after iteration {=u32}, skipped {=u32} checkpoints",
        fields: &[Epoch, Iteration, Skipped],
    },
    LogLine { kind: LineKind::Iteration, format: "iteration {=u32}: loss {=f32}", fields: &[Iteration, Loss] },
    LogLine {
        kind: LineKind::Epoch,
        format: "epoch {=u32}: loss {=f32}, accuracy {=f32}, patience {=u32}",
        fields: &[Epoch, Metric("loss"), Metric("accuracy"), Metric("patience")],
    },
    LogLine { kind: LineKind::Stopped, format: "{} after epoch {=u32}", fields: &[Reason, Epoch] },
    LogLine {
        kind: LineKind::Saved,
        format: "{=str}: saved step {=u32}, {=u32} bytes, evicted step {=u32}",
        fields: &[Store, Step, Bytes, EvictedStep],
    },
    LogLine { kind: LineKind::Saved, format: "{=str}: saved step {=u32}, {=u32} bytes", fields: &[Store, Step, Bytes] },
    LogLine { kind: LineKind::SaveFailed, format: "{=str}: step {=u32} was not saved", fields: &[Store, Step] },
    LogLine { kind: LineKind::RemovalFailed, format: "{=str}: step {=u32} was not evicted", fields: &[Store, Step] },
    LogLine { kind: LineKind::LoadFailed, format: "{=str}: step {=u32} could not be loaded", fields: &[Store, Step] },
    LogLine { kind: LineKind::SlotErases, format: "{=str}: slots erased {} times", fields: &[Store, EraseCounts] },
];

/// The lines that the example firmware prints.
pub const FIRMWARE_LINES: &[LogLine] = &[
    LogLine { kind: LineKind::Started, format: "64-{=usize}-10, from the beginning", fields: &[Ignored] },
    LogLine {
        kind: LineKind::Resumed,
        format: "64-{=usize}-10, resumed in epoch {=u32} after iteration {=u32}, {=u32} damaged",
        fields: &[Ignored, Epoch, Iteration, Skipped],
    },
    LogLine { kind: LineKind::SlotErases, format: "{=str}: slots erased {} times", fields: &[Store, EraseCounts] },
    LogLine {
        kind: LineKind::Epoch,
        format: "epoch {=u32}: loss {=f32}, accuracy {=f32}, patience {=u32}",
        fields: &[Epoch, Metric("loss"), Metric("accuracy"), Metric("patience")],
    },
    LogLine {
        kind: LineKind::Saved,
        format: "{=str}: saved {=u32}, {=u32} bytes, in place of {=u32}",
        fields: &[Store, Step, Bytes, EvictedStep],
    },
    LogLine { kind: LineKind::Saved, format: "{=str}: saved {=u32}, {=u32} bytes", fields: &[Store, Step, Bytes] },
    LogLine { kind: LineKind::SaveFailed, format: "{=str}: {=u32} was not saved", fields: &[Store, Step] },
    LogLine { kind: LineKind::RemovalFailed, format: "{=str}: {=u32} was not removed", fields: &[Store, Step] },
    LogLine { kind: LineKind::LoadFailed, format: "{=str}: {=u32} is damaged", fields: &[Store, Step] },
    LogLine { kind: LineKind::Stopped, format: "{} after epoch {=u32}", fields: &[Reason, Epoch] },
    LogLine { kind: LineKind::Message, format: "{=u32} steps, the best is {=u32}", fields: &[Ignored, Ignored] },
    LogLine { kind: LineKind::Message, format: "test: loss {=f32}, accuracy {=f32}", fields: &[Ignored, Ignored] },
    LogLine { kind: LineKind::Message, format: "the run failed: {}", fields: &[Ignored] },
];

/// Lines of programs that print other metrics, or that print their lines without the module `log`.
pub const OTHER_LINES: &[LogLine] = &[
    LogLine { kind: LineKind::Started, format: ", from the beginning", fields: &[] },
    LogLine { kind: LineKind::Epoch, format: "epoch {=u32}: {}", fields: &[Epoch, Metrics] },
    LogLine { kind: LineKind::Iteration, format: "iteration {=u32}, loss {=f32}", fields: &[Iteration, Loss] },
    LogLine { kind: LineKind::Iteration, format: "iteration {=u32} loss {=f32}", fields: &[Iteration, Loss] },
    LogLine {
        kind: LineKind::Resumed,
        format: "resumed in epoch {=u32} after iteration {=u32}, {=u32} damaged",
        fields: &[Epoch, Iteration, Skipped],
    },
    LogLine {
        kind: LineKind::Resumed,
        format: "resumed in epoch {=u32} after iteration {=u32}",
        fields: &[Epoch, Iteration],
    },
];

/// All tables. If a line matches several format strings, the first one decides.
pub const TABLES: [&[LogLine]; 3] = [LOG_MODULE_LINES, FIRMWARE_LINES, OTHER_LINES];
