//! Removes checkpoints. The removal of a checkpoint of several files begins with a tombstone, which marks the removal as
//! unfinished.

use super::Directory;
use super::error::DirectoryError;
use super::file_system::FileSystem;

/// The unfinished removal of a checkpoint that consists of several files.
#[derive(Debug)]
pub(super) struct PendingRemoval {
    sequence: u32,
    /// The original name of the file that was renamed to a tombstone. The tombstone marks the removal as unfinished.
    tombstone_of: String,
    /// The names of the other files of the checkpoint, which must be removed before the tombstone (the marker file).
    pub files: Vec<String>,
}

impl<F: FileSystem> Directory<F> {
    /// Removes the checkpoint with this sequence number. A file that no longer exists counts as removed.
    pub(super) fn remove_checkpoint(&mut self, sequence: u32) -> Result<(), DirectoryError> {
        self.remove_files(sequence)?;
        // The handler does not repeat a failed removal, because the checkpoint is no longer listed. An error does not
        // concern the removal of this checkpoint; the next opening of the directory finishes the other removals.
        let _ = self.finish_removals(|_| true);
        Ok(())
    }

    fn remove_files(&mut self, sequence: u32) -> Result<(), DirectoryError> {
        self.finish_removals(|removal| removal.sequence == sequence)?;
        let Some(index) = self.position(sequence) else { return Ok(()) };
        let Some(mut files) = self.checkpoints.get(index).map(|checkpoint| checkpoint.files.clone()) else {
            return Ok(());
        };
        if let [name] = &files[..] {
            // The removal of a single file is atomic, so no tombstone (marker file) is needed. No synchronization is
            // needed either: if a power failure restores the file, the checkpoint handler removes the file again.
            self.location.remove(name)?;
            self.checkpoints.remove(index);
            return Ok(());
        }
        // A new tombstone must not replace the tombstone of another removal.
        self.finish_removals(|removal| files.contains(&removal.tombstone_of))?;
        let tombstone_of = self.location.rename_to_tombstone(&files)?;
        self.checkpoints.remove(index);
        if let Some(tombstone_of) = tombstone_of {
            files.retain(|name| *name != tombstone_of);
            self.pending_removals.push(PendingRemoval { sequence, tombstone_of, files });
        }
        self.finish_removals(|removal| removal.sequence == sequence)
    }

    /// Finishes all pending removals (begun but not finished) that `select` selects.
    fn finish_removals(&mut self, select: impl Fn(&PendingRemoval) -> bool) -> Result<(), DirectoryError> {
        while let Some(index) = self.pending_removals.iter().position(&select) {
            let Some(PendingRemoval { tombstone_of, files, .. }) = self.pending_removals.get(index) else { break };
            // The tombstone is a renamed file that marks the unfinished removal. Synchronize the tombstone before the
            // first of the other files is removed. Remove the tombstone only after the removal of the other files is
            // synchronized. Otherwise a power failure could leave some files without a tombstone.
            self.location.sync_dir()?;
            files.iter().try_for_each(|name| self.location.remove(name))?;
            self.location.sync_dir()?;
            self.location.remove(&self.location.naming.tombstone_name(tombstone_of))?;
            self.pending_removals.remove(index);
        }
        Ok(())
    }
}
