//! Saves a checkpoint: writes temporary files, and renames them to their final names at the commit.

use super::Directory;
use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::naming::{MAX_FILE_NAME, Naming};
use super::plan::{CheckpointFiles, IgnoreReason, IgnoredFile};
use std::fmt;
use std::io::{BufWriter, Write as _};
use training_monitor::checkpoint::{Encoded, Header};
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor::store::{CheckpointMeta, SeriesId, StreamSpec};

/// The smallest size of the buffer for a file, in bytes.
const MIN_BUFFER: usize = 1 << 13;
/// The size of the buffer for a large file, in bytes. Linux manages the cached pages of a file in groups whose size is that
/// of the writes, so a few large writes are faster than many small ones, and so is the synchronization after them.
const MAX_BUFFER: usize = 1 << 20;

/// A save of a checkpoint that has begun and is not committed yet. The checkpoint becomes valid at the commit.
pub(super) struct PendingSave<W: std::io::Write> {
    id: PendingId,
    stream_count: u32,
    /// The final names of the files that the save has created.
    names: Vec<String>,
    /// The names of the objects in these files.
    objects: Vec<String>,
    /// The file that is open for writing, which is the last one in `names`. `None` if this file is already closed.
    file: Option<BufWriter<W>>,
    /// The announced length of the last file in `names`.
    len: u32,
    /// The number of bytes that were written to this file.
    written: u64,
}

/// The values that all streams of a save, and its commit, have in common.
#[derive(Clone, Copy, PartialEq, Debug)]
struct PendingId {
    step: u32,
    sequence: u32,
    series: SeriesId,
}

impl From<&Header<'_>> for PendingId {
    fn from(header: &Header<'_>) -> Self {
        PendingId { step: header.step, sequence: header.sequence, series: header.series_id() }
    }
}

impl<W: std::io::Write> fmt::Debug for PendingSave<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSave").field("id", &self.id).field("names", &self.names).finish_non_exhaustive()
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
        let count = self.write_or_abort(|file| file.write(bytes))?;
        if let Some(save) = &mut self.0.pending_save {
            save.written += count as u64;
        }
        Ok(count)
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
        let StreamSpec { ref header, stream_index, stream_count, .. } = *spec;
        let id = PendingId::from(header);
        let continues = |save: &PendingSave<F::Writer>| {
            (save.id, save.stream_count) == (id, stream_count) && save.names.len() == stream_index as usize
        };
        if stream_index == 0 || !self.pending_save.as_ref().is_some_and(continues) {
            self.abort_save();
            let (names, objects) = (Vec::new(), Vec::new());
            self.pending_save = Some(PendingSave { id, stream_count, names, objects, file: None, len: 0, written: 0 });
        }
        if let Err(error) = self.finish_file().and_then(|()| self.create_file(spec)) {
            self.abort_save();
            return Err(error);
        }
        Ok(Writer(self))
    }

    fn create_file(&mut self, spec: &StreamSpec<'_>) -> Result<(), DirectoryError> {
        let name = self.choose_name(spec)?;
        let path = if self.location.atomic {
            self.location.path(&self.location.naming.temporary_name(&name))
        } else {
            self.unlist_overwritten(&name);
            self.location.path(&name)
        };
        let file = self.location.fs.create(&path).map_err(DirectoryError::io(Operation::Create, path))?;
        if let Some(save) = &mut self.pending_save {
            save.names.push(name);
            save.objects.push(spec.object.unwrap_or(Naming::ALL_OBJECTS).to_owned());
            save.file = Some(BufWriter::with_capacity((spec.len as usize).clamp(MIN_BUFFER, MAX_BUFFER), file));
            (save.len, save.written) = (spec.len, 0);
        }
        Ok(())
    }

    /// Returns an error if the file system does not allow the names of the file for `spec`.
    pub(super) fn check_names(&self, spec: &StreamSpec<'_>) -> Result<(), DirectoryError> {
        let (naming, object) = (&self.location.naming, spec.object.unwrap_or(Naming::ALL_OBJECTS));
        let name = naming.final_name(object, &spec.header);
        if name.contains(['/', '\\', '\0']) {
            return Err(DirectoryError::InvalidFileName { name });
        }
        let (len, limit) = (naming.max_name_len(object, &spec.header), MAX_FILE_NAME);
        if len > limit { Err(DirectoryError::NameTooLong { name, len, limit }) } else { Ok(()) }
    }

    /// Returns the final name of the file for `spec`. If a file that must not be replaced has this name, returns a
    /// variant of the name. Otherwise every save of this step would fail.
    fn choose_name(&self, spec: &StreamSpec<'_>) -> Result<String, DirectoryError> {
        self.check_names(spec)?;
        let (naming, object) = (&self.location.naming, spec.object.unwrap_or(Naming::ALL_OBJECTS));
        let name = naming.final_name(object, &spec.header);
        for name in std::iter::once(name).chain(naming.variant_names(object, &spec.header)) {
            let has_length = naming.tombstone_name(&name).len() <= MAX_FILE_NAME;
            if has_length && self.is_available(&name, &spec.header)? {
                return Ok(name);
            }
        }
        Err(DirectoryError::FileExists { path: self.location.path(&naming.variant_name(object, &spec.header)) })
    }

    /// Returns whether a save can create a file with the final name `name`.
    fn is_available(&self, name: &str, header: &Header<'_>) -> Result<bool, DirectoryError> {
        let exists = |name: &str| {
            let path = self.location.path(name);
            self.location.fs.exists(&path).map_err(DirectoryError::io(Operation::Open, path))
        };
        if exists(name)? && !self.is_replaceable(name, header) {
            return Ok(false);
        }
        // A directory or a named pipe cannot be overwritten.
        let temporary = self.location.naming.temporary_name(name);
        let is_blocked = || !self.location.fs.is_file(&self.location.path(&temporary)).unwrap_or(true);
        Ok(!self.location.atomic || !exists(&temporary)? || !is_blocked())
    }

    /// Returns whether a save may replace the existing file called `name`. A save may replace unusable checkpoint
    /// files, and the files of the checkpoint that it replaces. It may not replace files of other checkpoints and of
    /// other programs.
    fn is_replaceable(&self, name: &str, header: &Header<'_>) -> bool {
        let has_file = |files: &[String]| files.iter().any(|file| file == name);
        let is_replaced = |meta: &CheckpointMeta| meta.step == header.step && meta.series == header.series_id();
        match self.checkpoints.iter().find(|checkpoint| has_file(&checkpoint.files)) {
            Some(checkpoint) => is_replaced(&checkpoint.meta),
            None => {
                self.pending_removals.iter().any(|removal| has_file(&removal.files))
                    || self.incomplete().any(|file| file.name == name)
            }
        }
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

    /// Flushes, synchronizes and closes the file that is open for writing. Does nothing if no file is open. Returns an
    /// error if the file does not have the announced length.
    fn finish_file(&mut self) -> Result<(), DirectoryError> {
        let Some(save) = self.pending_save.as_ref().filter(|save| save.file.is_some()) else { return Ok(()) };
        if save.written != u64::from(save.len) {
            return Err(DirectoryError::IncompleteSave);
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
    pub(super) fn commit_save(&mut self, header: &Header<'_>, last: &Encoded) -> Result<(), DirectoryError> {
        let is_complete = |save: &PendingSave<F::Writer>| {
            let has_all_streams = save.names.len() == save.stream_count as usize;
            save.id == PendingId::from(header) && has_all_streams && save.len == last.len
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
            self.rename_all(&save.names, header)?;
        } else {
            self.location.sync_dir()?;
        }
        let meta = CheckpointMeta::from(header);
        self.list_checkpoint(CheckpointFiles { meta, files: save.names, objects: save.objects });
        Ok(())
    }

    /// Renames all temporary files to their final names. If a rename fails, the function undoes the earlier renames. If
    /// an earlier rename has already replaced an older file, the function starts the recovery instead.
    fn rename_all(&mut self, names: &[String], header: &Header<'_>) -> Result<(), DirectoryError> {
        let replaces: Vec<bool> = names.iter().map(|name| self.is_replaceable(name, header)).collect();
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

    /// Adds a committed checkpoint to the list. Removes the checkpoint that it replaces from the list, and removes the
    /// files of that checkpoint that the new one has not replaced.
    fn list_checkpoint(&mut self, new: CheckpointFiles) {
        let is_new_file = |name: &String| new.files.contains(name);
        for removal in &mut self.pending_removals {
            removal.files.retain(|name| !is_new_file(name));
        }
        self.ignored.retain(|file| !is_new_file(&file.name));
        let (step, series) = (new.meta.step, new.meta.series);
        let is_replaced = |old: &CheckpointFiles| old.meta.step == step && old.meta.series == series;
        while let Some(index) = self.checkpoints.iter().position(is_replaced) {
            // Ignore errors here: the next opening of the directory also removes these files, because a newer
            // checkpoint of the same series has the same step.
            for name in self.checkpoints.remove(index).files.iter().filter(|name| !is_new_file(name)) {
                let _ = self.location.remove(name);
            }
        }
        self.checkpoints.push(new);
        self.checkpoints.sort_by_key(|checkpoint| checkpoint.meta.sequence);
    }
}
