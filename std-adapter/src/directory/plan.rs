//! The recovery plan of a checkpoint directory: which checkpoints exist, and which file operations finish the saves and
//! removals that a power failure interrupted.

mod planner;
#[cfg(test)]
mod tests;

use super::naming::{Naming, step_part};
use super::summary::StreamSummary;
use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use training_monitor::checkpoint::VERSION;
use training_monitor::store::CheckpointMeta;

/// A file in the directory, and the result of reading it.
#[derive(Clone, PartialEq, Debug)]
pub struct FileEntry {
    /// The name of the file, without the directory.
    pub name: String,
    /// The summary of the checkpoint data in the file, or the reason why the file is not usable.
    pub content: Result<StreamSummary, IgnoreReason>,
}

/// A recovery plan: the file operations that opening a directory performs, and the checkpoints that exist after these
/// operations.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct Plan {
    /// The file operations, in the order in which they must be performed.
    pub actions: Vec<Action>,
    /// The checkpoints that exist after the file operations of the plan, from the oldest to the newest.
    pub checkpoints: Vec<CheckpointFiles>,
    /// The files that have names like checkpoint files, but belong to no checkpoint. The plan leaves these files
    /// unchanged. The list is sorted by name.
    pub ignored: Vec<IgnoredFile>,
}

/// One file operation of a [`Plan`]. File names are relative to the directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Renames a temporary file to its final name, which completes an interrupted commit. Replaces an older file of the
    /// same name.
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
        /// The step number of the checkpoint to which the file belongs; `None` if the file is damaged.
        step: Option<u32>,
        /// Why the plan removes the file.
        reason: RemoveReason,
    },
    /// Synchronizes the directory, so that all previous actions survive a power failure.
    SyncDirectory,
}

/// Why a [`Plan`] removes a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RemoveReason {
    /// The save of the file was interrupted before its commit, so the checkpoint is not complete.
    InterruptedSave,
    /// The removal of the checkpoint was interrupted, so the plan finishes the removal.
    InterruptedRemoval,
    /// A newer checkpoint of the same series has the same step number, so the file is obsolete.
    Replaced,
}

/// A committed checkpoint and its files.
#[derive(Clone, PartialEq, Debug)]
pub struct CheckpointFiles {
    /// The step number, the sequence number, the series and the score of the checkpoint.
    pub meta: CheckpointMeta,
    /// The names of the files, in the order of the objects that they store.
    pub files: Vec<String>,
    /// The names of the objects.
    pub objects: Vec<String>,
}

/// A file that has a name like a checkpoint file, but belongs to no committed checkpoint. Recovery leaves the file
/// unchanged. A save may overwrite the file only if its reason [is replaceable](IgnoreReason::is_replaceable).
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
    /// The file is valid, but other files of the same checkpoint are missing.
    Incomplete {
        /// The step number of the checkpoint.
        step: u32,
        /// The sequence number of the checkpoint.
        sequence: u32,
        /// The names of the objects without a file.
        missing: Vec<String>,
    },
    /// A failed save with `atomic(false)` made the file unusable: it left the file unfinished, or overwrote another
    /// file of the same checkpoint.
    Unfinished,
    /// The file is truncated, or its checksum is wrong.
    Damaged,
    /// The file, or another file of the same checkpoint, cannot be read, because of this I/O error.
    Unreadable(ErrorKind),
    /// The file has an unsupported version of the checkpoint format.
    Version {
        /// The version of the file.
        found: u8,
    },
    /// The checkpoint requires a feature that this version of the crate does not have. A newer version wrote it.
    Newer,
    /// The name belongs to a directory, a named pipe or a device, not to a regular file.
    NotAFile,
    /// The checkpoint is complete, but another complete checkpoint has the same sequence number. Or the file is a
    /// second copy of a file of the same checkpoint.
    Duplicate {
        /// The sequence number.
        sequence: u32,
    },
    /// The file is no checkpoint, belongs to another prefix, or is a renamed copy of a checkpoint file.
    Foreign,
}

/// The name of the file and the reason.
impl fmt::Display for IgnoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.reason)
    }
}

impl fmt::Display for IgnoreReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IgnoreReason::Incomplete { step, missing, .. } => {
                write!(f, "step {step} is incomplete: no file for {}", missing.join(", "))
            }
            IgnoreReason::Unfinished => f.write_str("a save of the file failed"),
            IgnoreReason::Damaged => f.write_str("the file is truncated, or its checksum is wrong"),
            IgnoreReason::Unreadable(kind) => write!(f, "the file cannot be read: {kind}"),
            IgnoreReason::Version { found } => {
                write!(f, "the file has format version {found}; this program reads version {VERSION}")
            }
            IgnoreReason::Newer => f.write_str("the file was written by a newer version of training-monitor"),
            IgnoreReason::NotAFile => f.write_str("this is not a regular file"),
            IgnoreReason::Duplicate { sequence } => {
                write!(f, "another complete checkpoint has the sequence number {sequence}, too")
            }
            IgnoreReason::Foreign => f.write_str("the file is not a checkpoint of this series"),
        }
    }
}

impl IgnoreReason {
    /// Returns whether a save may overwrite the file. A save may overwrite only unusable checkpoint files of its own
    /// prefix, not files of another prefix or of another program.
    #[must_use]
    pub const fn is_replaceable(&self) -> bool {
        matches!(self, IgnoreReason::Incomplete { .. } | IgnoreReason::Unfinished | IgnoreReason::Damaged)
    }
}

/// Returns how many checkpoints are not usable because files are damaged, missing or unreadable. The files of one
/// checkpoint count once, as far as their names and contents show it.
pub(super) fn count_damaged(naming: &Naming, ignored: &[IgnoredFile]) -> u32 {
    let (mut incomplete, mut unreadable) = (BTreeSet::new(), BTreeSet::new());
    for file in ignored {
        // A damaged temporary file belongs to no committed checkpoint.
        let Some((super::NameKind::Final, name)) = naming.classify(&file.name) else { continue };
        let part = step_part(name, &naming.extension);
        match file.reason {
            IgnoreReason::Incomplete { sequence, .. } => drop(incomplete.insert((part, sequence))),
            IgnoreReason::Damaged
            | IgnoreReason::Unreadable(_)
            | IgnoreReason::Version { .. }
            | IgnoreReason::Newer
            | IgnoreReason::Unfinished => drop(unreadable.insert(part)),
            IgnoreReason::NotAFile | IgnoreReason::Duplicate { .. } | IgnoreReason::Foreign => (),
        }
    }
    // A damaged file of an incomplete checkpoint does not count again.
    let others = unreadable.iter().filter(|part| !incomplete.iter().any(|(known, _)| known == *part));
    (others.count() + incomplete.len()) as u32
}

/// Creates the recovery plan for the checkpoint files with the prefix and the extension of `naming`. `files` are all
/// files of the directory, in any order. Files with other names are left out.
///
/// The function decides from the names and the contents of the files alone and performs no I/O. Opening
/// a [`Directory`](crate::Directory) performs the plan. An analysis tool can display the same plan and leave the
/// directory unchanged.
///
/// All files of one save have the same step, sequence, run, iteration, series, save identity and list of objects. The
/// rules, in the order in which the plan applies them:
///
/// 1. A save with a tombstone was being removed. The plan removes the other files of the save, and then the tombstone.
/// 2. A save was being committed if at least one file has its final name and all other objects have temporary files.
///    All data of the save is on the medium, so the plan completes the commit: it renames the temporary files to their
///    final names. A commit replaces no file of a complete checkpoint, except of an older one with the same series and
///    step.
/// 3. Every other temporary file belongs to a save that was interrupted before its commit. The plan removes the file.
///    It ignores a temporary file that is unreadable or has a newer format version.
/// 4. A save with a final file for each object is a complete checkpoint.
/// 5. A save with the same series and step as a newer complete checkpoint was being replaced. The plan removes its
///    files.
/// 6. The plan ignores every other file and lists the file as an [`IgnoredFile`]. Therefore it removes no complete
///    checkpoint except by the rules 1 and 5.
///
/// After all actions (file operations) are performed, a new plan has no actions. If power fails during the actions, a
/// new plan leads to the same checkpoints.
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
///         save_id: 0x5A17,
///         objects: vec!["net".into(), "rng".into()],
///         ..StreamSummary::default()
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
    /// Returns the name that a checkpoint file has before the actions are performed. This is the temporary name if the
    /// plan renames the file, and otherwise `file` itself. A tool that only displays the plan reads the file under this
    /// name.
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
