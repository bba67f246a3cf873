//! Saves a checkpoint: writes temporary files, and renames them to their final names at the commit.

use super::Directory;
use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::plan::{CheckpointFiles, IgnoreReason, IgnoredFile};
use std::fmt;
use std::io::{BufWriter, Write as _};
use training_monitor::checkpoint::Header;
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor::store::{CheckpointMeta, StreamSpec};

/// A save of a checkpoint that has begun and is not committed yet. The checkpoint becomes valid at the commit.
pub(super) struct PendingSave<W: std::io::Write> {
    step: u32,
    sequence: u32,
    stream_count: u32,
    /// The final names of the files that the save has created.
    names: Vec<String>,
    /// The file that is open for writing, which is the last one in `names`. `None` if this file is already closed.
    file: Option<BufWriter<W>>,
}

impl<W: std::io::Write> fmt::Debug for PendingSave<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSave").field("step", &self.step).field("names", &self.names).finish_non_exhaustive()
    }
}

/// A writer for one file of a checkpoint.
pub struct Writer<'a, F: FileSystem>(&'a mut Directory<F>);

impl<F: FileSystem> ErrorType for Writer<'_, F> {
    type Error = DirectoryError;
}

impl<F: FileSystem> Writer<'_, F> {
    fn write_or_abort<T>(
        &mut self,
        operation: impl FnMut(&mut BufWriter<F::Writer>) -> std::io::Result<T>,
    ) -> Result<T, DirectoryError> {
        let result = self.0.write_to_open_file(operation);
        if result.is_err() {
            // The `Store` trait has no method to cancel a save, so the temporary files must be removed now.
            self.0.abort_save();
        }
        result
    }
}

impl<F: FileSystem> Write for Writer<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, DirectoryError> {
        self.write_or_abort(|file| file.write(bytes))
    }
    fn flush(&mut self) -> Result<(), DirectoryError> {
        self.write_or_abort(BufWriter::flush)
    }
}

impl<F: FileSystem> Directory<F> {
    /// Creates a file for the next object of a checkpoint. If `spec` describes the next file of the pending save, the
    /// new file belongs to that save. Otherwise the function cancels the pending save and begins a new one.
    pub(super) fn create_stream(&mut self, spec: &StreamSpec<'_>) -> Result<Writer<'_, F>, DirectoryError> {
        if self.needs_recovery {
            self.recover()?;
        }
        let StreamSpec { header: Header { step, sequence, .. }, stream_index, stream_count, .. } = *spec;
        let continues = |save: &PendingSave<F::Writer>| {
            (save.step, save.sequence, save.stream_count) == (step, sequence, stream_count)
                && save.names.len() == stream_index as usize
        };
        if stream_index == 0 || !self.pending_save.as_ref().is_some_and(continues) {
            self.abort_save();
            self.pending_save = Some(PendingSave { step, sequence, stream_count, names: Vec::new(), file: None });
        }
        if let Err(error) = self.finish_file().and_then(|()| self.create_file(spec)) {
            self.abort_save();
            return Err(error);
        }
        Ok(Writer(self))
    }

    fn create_file(&mut self, spec: &StreamSpec<'_>) -> Result<(), DirectoryError> {
        let name = self.location.naming.final_name(spec.object.unwrap_or_default(), &spec.header);
        if name.contains(['/', '\\', '\0']) {
            return Err(DirectoryError::InvalidFileName { name });
        }
        let path = self.location.path(&name);
        let exists = self.location.fs.exists(&path).map_err(DirectoryError::io(Operation::Open, &path))?;
        if exists && !self.is_replaceable(&name) {
            return Err(DirectoryError::FileExists { path });
        }
        let path = if self.location.atomic {
            self.location.path(&self.location.naming.temporary_name(&name))
        } else {
            self.unlist_overwritten(&name);
            path
        };
        let file = self.location.fs.create(&path).map_err(DirectoryError::io(Operation::Create, path))?;
        if let Some(save) = &mut self.pending_save {
            save.names.push(name);
            save.file = Some(BufWriter::new(file));
        }
        Ok(())
    }

    /// Returns whether a save may replace the existing file called `name`. A save may replace checkpoint files of this
    /// directory, but never files of other programs.
    fn is_replaceable(&self, name: &str) -> bool {
        self.checkpoints.iter().any(|checkpoint| checkpoint.files.iter().any(|file| file == name))
            || self.pending_removals.iter().any(|removal| removal.files.iter().any(|file| file == name))
            || self.incomplete().any(|file| file.name == name)
    }

    /// Removes a checkpoint from the list if one of its files is called `name`. A save without temporary files is about
    /// to overwrite this file, which destroys the checkpoint.
    fn unlist_overwritten(&mut self, name: &str) {
        let contains_file = |checkpoint: &CheckpointFiles| checkpoint.files.iter().any(|file| file == name);
        let Some(index) = self.checkpoints.iter().position(contains_file) else { return };
        let files = self.checkpoints.remove(index).files;
        self.ignored.extend(files.into_iter().map(|name| IgnoredFile { name, reason: IgnoreReason::Unfinished }));
    }

    /// Performs `operation` on the file that is open for writing. Repeats the operation if a signal interrupts the
    /// system call.
    fn write_to_open_file<T>(
        &mut self,
        mut operation: impl FnMut(&mut BufWriter<F::Writer>) -> std::io::Result<T>,
    ) -> Result<T, DirectoryError> {
        let save = self.pending_save.as_mut().ok_or(DirectoryError::IncompleteSave)?;
        let file = save.file.as_mut().ok_or(DirectoryError::IncompleteSave)?;
        loop {
            match operation(file) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                Err(error) => {
                    let path = save.names.last().map_or(self.location.dir.clone(), |name| self.location.path(name));
                    return Err(DirectoryError::io(Operation::Write, path)(error));
                }
                Ok(done) => return Ok(done),
            }
        }
    }

    /// Flushes, synchronizes and closes the file that is open for writing. Does nothing if no file is open.
    fn finish_file(&mut self) -> Result<(), DirectoryError> {
        if self.pending_save.as_ref().is_none_or(|save| save.file.is_none()) {
            return Ok(());
        }
        self.write_to_open_file(BufWriter::flush)?;
        let location = &self.location;
        let Some(save) = &mut self.pending_save else { return Ok(()) };
        let file = save.file.take();
        if let Some(mut file) = file.filter(|_| location.durable) {
            let path = save.names.last().map_or(location.dir.clone(), |name| location.path(name));
            location.fs.sync(file.get_mut()).map_err(DirectoryError::io(Operation::Sync, path))?;
        }
        Ok(())
    }

    /// Cancels the pending save and removes its temporary files. A file that cannot be removed now is removed when the
    /// directory is opened again.
    pub(super) fn abort_save(&mut self) {
        let Some(mut save) = self.pending_save.take() else { return };
        if let Some(file) = save.file.take() {
            // `into_parts` discards the buffered data. Dropping the `BufWriter` would write the data to the file.
            let _ = file.into_parts();
        }
        for name in save.names {
            if self.location.atomic {
                let _ = self.location.remove(&self.location.naming.temporary_name(&name));
            } else {
                self.ignored.retain(|file| file.name != name);
                self.ignored.push(IgnoredFile { name, reason: IgnoreReason::Unfinished });
            }
        }
    }

    /// Commits the pending save: renames its files to their final names, and adds the checkpoint to the list of
    /// committed checkpoints.
    pub(super) fn commit_save(&mut self, header: &Header<'_>) -> Result<(), DirectoryError> {
        let is_complete = |save: &PendingSave<F::Writer>| {
            (save.step, save.sequence) == (header.step, header.sequence)
                && save.names.len() == save.stream_count as usize
        };
        if !self.pending_save.as_ref().is_some_and(is_complete) {
            self.abort_save();
            return Err(DirectoryError::IncompleteSave);
        }
        let synced = self.finish_file().and_then(|()| {
            // The first rename can replace a file of an older checkpoint, which destroys that checkpoint. Therefore all
            // temporary files must be on the medium before the first rename. A checkpoint of a single file needs no
            // such synchronization, because its rename is atomic.
            let has_several_files = self.pending_save.as_ref().is_some_and(|save| save.stream_count > 1);
            if has_several_files && self.location.atomic { self.location.sync_dir() } else { Ok(()) }
        });
        if let Err(error) = synced {
            self.abort_save();
            return Err(error);
        }
        let Some(save) = self.pending_save.take() else { return Err(DirectoryError::IncompleteSave) };
        if self.location.atomic {
            self.rename_all(&save.names)?;
        } else {
            self.location.sync_dir()?;
        }
        self.list_checkpoint(header, save.names);
        Ok(())
    }

    /// Renames all temporary files to their final names. If a rename fails, the function undoes the earlier renames. If
    /// an earlier rename has already replaced an older file, the function starts the recovery instead.
    fn rename_all(&mut self, names: &[String]) -> Result<(), DirectoryError> {
        let replaces: Vec<bool> = names.iter().map(|name| self.is_replaceable(name)).collect();
        let mut renamed = 0;
        let result = names.iter().try_for_each(|name| {
            self.location.rename_to_final(name)?;
            renamed += 1;
            Ok(())
        });
        let result = result.and_then(|()| self.location.sync_dir());
        if result.is_err() {
            if replaces.iter().take(renamed).any(|replaces| *replaces) {
                // A rename has replaced a file of the older checkpoint, so the renames cannot be undone. Recovery can
                // still complete the new checkpoint.
                self.needs_recovery = true;
                let _ = self.recover();
            } else {
                self.undo_renames(names, renamed);
            }
        }
        result
    }

    /// Renames the first `renamed` files back to their temporary names, and then removes all temporary files. All files
    /// exist until the last rename, so a power failure never leaves an incomplete checkpoint.
    fn undo_renames(&mut self, names: &[String], renamed: usize) {
        let undone = names.iter().take(renamed).rev().try_for_each(|name| self.location.rename_to_temporary(name));
        if undone.and_then(|()| self.location.sync_dir()).is_err() {
            self.needs_recovery = true;
            return;
        }
        for name in names {
            let _ = self.location.remove(&self.location.naming.temporary_name(name));
        }
    }

    /// Adds a committed checkpoint to the list. Removes an older checkpoint of the same step from the list, and removes
    /// the files of the older checkpoint that the new one has not replaced.
    fn list_checkpoint(&mut self, header: &Header<'_>, files: Vec<String>) {
        let is_new_file = |name: &String| files.contains(name);
        let replaced = self.checkpoints.iter().position(|checkpoint| checkpoint.meta.step == header.step);
        let replaced = replaced.map(|index| self.checkpoints.remove(index));
        for removal in &mut self.pending_removals {
            removal.files.retain(|name| !is_new_file(name));
        }
        self.ignored.retain(|file| !is_new_file(&file.name));
        // Ignore errors here: the next opening of the directory also removes these files, because a newer checkpoint
        // has the same step.
        for name in replaced.iter().flat_map(|replaced| &replaced.files).filter(|name| !is_new_file(name)) {
            let _ = self.location.remove(name);
        }
        self.checkpoints.push(CheckpointFiles { meta: CheckpointMeta::from(header), files });
    }
}
