//! The recovery plan of a directory: which checkpoints exist, and how to finish what a power failure interrupted.

mod planner;
#[cfg(test)]
mod tests;

use super::naming::Naming;
use super::summary::StreamSummary;
use std::io::ErrorKind;
use training_monitor::store::CheckpointMeta;

/// A file in the directory, and the result of reading it.
#[derive(Clone, PartialEq, Debug)]
pub struct FileEntry {
    /// The name of the file, without the directory.
    pub name: String,
    /// The summary of the stream in the file, or the reason why the file contains no usable stream.
    pub content: Result<StreamSummary, IgnoreReason>,
}

/// The recovery plan of one series: the file operations that opening a directory performs, and the checkpoints that the
/// directory then contains.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    /// The file operations, in the order in which the directory performs them.
    pub actions: Vec<Action>,
    /// The checkpoints after the actions, from the oldest to the newest.
    pub checkpoints: Vec<CheckpointFiles>,
    /// The files of the series that stay as they are and belong to no checkpoint, sorted by name.
    pub ignored: Vec<IgnoredFile>,
}

/// One file operation of a [`Plan`]. File names are relative to the directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Renames a file to complete the commit of its checkpoint. The rename replaces an older file of the new name.
    Rename {
        /// The temporary name of the file.
        from: String,
        /// The final name of the file.
        to: String,
        /// The step number of the checkpoint.
        step: u32,
    },
    /// Removes a file.
    Remove {
        /// The name of the file.
        file: String,
        /// The step number of the checkpoint that the file belongs to; `None` if the file is damaged.
        step: Option<u32>,
        /// Why the plan removes the file.
        reason: RemoveReason,
    },
    /// Synchronizes the directory: the previous actions survive a power failure before the next action begins.
    SyncDirectory,
}

/// Why a [`Plan`] removes a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoveReason {
    /// The save was interrupted before its commit.
    InterruptedSave,
    /// The removal of the checkpoint was interrupted.
    InterruptedRemoval,
    /// A newer checkpoint of the same step replaces the checkpoint.
    Replaced,
}

/// A committed checkpoint and its files.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckpointFiles {
    /// The step, the sequence, the iteration and the score of the checkpoint.
    pub meta: CheckpointMeta,
    /// The final file names, in the order of the objects of the checkpoint.
    pub files: Vec<String>,
}

/// A file whose name fits the series, but which belongs to no committed checkpoint. The directory never removes such a
/// file. A save replaces the file only if the save needs its name and the file [is
/// replaceable](IgnoreReason::is_replaceable).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IgnoredFile {
    /// The name of the file, without the directory.
    pub name: String,
    /// Why the file belongs to no checkpoint.
    pub reason: IgnoreReason,
}

/// Why a file belongs to no committed checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum IgnoreReason {
    /// The file is complete, but the files of other objects of its checkpoint are missing.
    Incomplete {
        /// The step number of the checkpoint.
        step: u32,
        /// The names of the objects without a file.
        missing: Vec<String>,
    },
    /// A save without `atomic` failed after it created the file, or overwrote another file of the same checkpoint.
    Unfinished,
    /// The file is truncated, or its checksum is wrong.
    Damaged,
    /// The file cannot be read, because of this I/O error.
    Unreadable(ErrorKind),
    /// The file has an unsupported version of the checkpoint format.
    Version {
        /// The version of the file.
        found: u8,
    },
    /// The file is no checkpoint, belongs to another prefix, or is a copy under another name.
    Foreign,
}

impl IgnoreReason {
    /// Whether the file is the remains of a checkpoint of this series, so that a save of the same name may replace it.
    #[must_use]
    pub const fn is_replaceable(&self) -> bool {
        matches!(self, IgnoreReason::Incomplete { .. } | IgnoreReason::Unfinished | IgnoreReason::Damaged)
    }
}

/// Plans the recovery of the checkpoint series `naming`. `files` are all files of the directory, in any order; the plan
/// leaves out files whose names do not fit the series.
///
/// The function decides from the names and the contents of the files alone and performs no I/O. Opening a
/// [`Directory`](crate::Directory) performs the plan. An analysis tool can display the same plan and leave the
/// directory unchanged.
///
/// All files of one save have the same step, sequence, iteration and list of objects. The rules, in the order in which
/// the plan applies them:
///
/// 1. A save with a tombstone was being removed. The plan removes its other files and then the tombstone.
/// 2. A save with at least one final file, whose other objects all have temporary files, was being committed. All its
///    bytes are on the medium, so the plan completes the commit: it renames the temporary files to their final names.
/// 3. Every other temporary file belongs to a save that was interrupted before its commit. The plan removes the file.
/// 4. A save with a final file for each object is a complete checkpoint.
/// 5. A save of the same step as a newer complete checkpoint was being replaced. The plan removes its files.
/// 6. The plan ignores every other file and lists the file as an [`IgnoredFile`].
///
/// A plan for the files that a performed plan leaves has no actions. A power failure during the actions leaves files
/// for which the rules lead to the same checkpoints.
///
/// ```
/// use training_monitor_std::directory::{Action, FileEntry, Naming, StreamSummary, plan};
///
/// let naming = Naming { prefix: "run".into(), extension: "ckpt".into() };
/// let file = |name: &str| FileEntry {
///     name: name.into(),
///     content: Ok(StreamSummary {
///         step: 7,
///         sequence: 1,
///         iteration: 70,
///         score: None,
///         score_name: None,
///         objects: vec!["net".into(), "rng".into()],
///     }),
/// };
/// // Power failed between the two renames of a commit.
/// let plan = plan(&naming, [file("run_net_7.ckpt"), file(".run_rng_7.ckpt.3.tmp")]);
/// let rename = Action::Rename { from: ".run_rng_7.ckpt.3.tmp".into(), to: "run_rng_7.ckpt".into(), step: 7 };
/// assert_eq!(plan.actions, [rename, Action::SyncDirectory]);
/// assert_eq!(plan.checkpoints[0].files, ["run_net_7.ckpt", "run_rng_7.ckpt"]);
/// ```
#[must_use]
pub fn plan(naming: &Naming, files: impl IntoIterator<Item = FileEntry>) -> Plan {
    let mut files: Vec<FileEntry> = files.into_iter().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    planner::Planner::new(naming, files).run()
}

impl Plan {
    /// The name that a file of a planned checkpoint has before the actions: its temporary name if the plan renames the
    /// file, otherwise `file` itself. A tool that does not perform the actions reads the file under this name.
    ///
    /// ```
    /// use training_monitor_std::directory::{Action, Plan};
    ///
    /// let rename = Action::Rename { from: ".run_rng_7.ckpt.3.tmp".into(), to: "run_rng_7.ckpt".into(), step: 7 };
    /// let plan = Plan { actions: vec![rename, Action::SyncDirectory], ..Plan::default() };
    /// assert_eq!(plan.current_name("run_rng_7.ckpt"), ".run_rng_7.ckpt.3.tmp");
    /// assert_eq!(plan.current_name("run_net_7.ckpt"), "run_net_7.ckpt");
    /// ```
    #[must_use]
    pub fn current_name<'a>(&'a self, file: &'a str) -> &'a str {
        let renamed = self.actions.iter().find_map(|action| match action {
            Action::Rename { from, to, .. } if to == file => Some(from.as_str()),
            _ => None,
        });
        renamed.unwrap_or(file)
    }
}
