//! One save: temp files, then their final names, all or nothing.

use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::scan::{Ignored, Reason};
use super::{Directory, Set};
use std::fmt;
use std::io::{BufWriter, Write as _};
use training_monitor::checkpoint::Header;
use training_monitor::embedded_io::{ErrorType, Write};
use training_monitor::store::{StreamSpec, CheckpointMeta};

/// A checkpoint that is being written.
pub(super) struct Pending<W: std::io::Write> {
    step: u32,
    sequence: u32,
    parts: u32,
    /// Final names of the files begun so far.
    names: Vec<String>,
    /// The file under way.
    file: Option<BufWriter<W>>,
}

impl<W: std::io::Write> fmt::Debug for Pending<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("step", &self.step).field("names", &self.names).finish_non_exhaustive()
    }
}

/// Writes a file of a checkpoint.
pub struct Writer<'a, F: FileSystem>(&'a mut Directory<F>);

impl<F: FileSystem> ErrorType for Writer<'_, F> {
    type Error = DirectoryError;
}

impl<F: FileSystem> Writer<'_, F> {
    fn attempt<T>(
        &mut self,
        act: impl FnMut(&mut BufWriter<F::Writer>) -> std::io::Result<T>,
    ) -> Result<T, DirectoryError> {
        let result = self.0.write(act);
        if result.is_err() {
            // The store is not told that this save is over, and it would leave its temp files behind.
            self.0.abandon();
        }
        result
    }
}

impl<F: FileSystem> Write for Writer<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, DirectoryError> {
        self.attempt(|file| file.write(bytes))
    }
    fn flush(&mut self) -> Result<(), DirectoryError> {
        self.attempt(BufWriter::flush)
    }
}

impl<F: FileSystem> Directory<F> {
    /// Opens the file of one object.
    pub(super) fn begin(&mut self, opening: &StreamSpec<'_>) -> Result<Writer<'_, F>, DirectoryError> {
        if self.unsettled {
            self.settle()?;
        }
        let header = &opening.header;
        let goes_on = |pending: &Pending<F::Writer>| {
            (pending.step, pending.sequence, pending.parts) == (header.step, header.sequence, opening.stream_count)
                && pending.names.len() == opening.stream_index as usize
        };
        if opening.stream_index == 0 || !self.pending.as_ref().is_some_and(goes_on) {
            self.abandon();
            let (step, sequence, parts) = (header.step, header.sequence, opening.stream_count);
            self.pending = Some(Pending { step, sequence, parts, names: Vec::new(), file: None });
        }
        let begun = self.close().and_then(|()| self.begin_file(opening));
        if let Err(error) = begun {
            self.abandon();
            return Err(error);
        }
        Ok(Writer(self))
    }

    fn begin_file(&mut self, opening: &StreamSpec<'_>) -> Result<(), DirectoryError> {
        let name = self.place.naming.name(opening.object.unwrap_or_default(), &opening.header);
        if name.contains(['/', '\\', '\0']) {
            return Err(DirectoryError::Name { name });
        }
        let path = self.place.path(&name);
        let there = self.fs.exists(&path).map_err(DirectoryError::io(Operation::Open, &path))?;
        if there && !self.is_ours(&name) {
            return Err(DirectoryError::InTheWay { path });
        }
        let written = if self.place.atomic { self.place.path(&self.place.naming.temp(&name)) } else { path };
        if !self.place.atomic {
            self.give_up(&name);
        }
        let file = self.fs.create(&written).map_err(DirectoryError::io(Operation::Create, written))?;
        if let Some(pending) = &mut self.pending {
            pending.names.push(name);
            pending.file = Some(BufWriter::new(file));
        }
        Ok(())
    }

    fn is_ours(&self, name: &str) -> bool {
        let path = self.place.path(name);
        self.sets.iter().any(|set| set.files.iter().any(|file| file == name))
            || self.going.iter().any(|going| going.rest.iter().any(|file| file == name))
            || self.incomplete().any(|file| file.path == path)
    }

    /// Without `atomic`, a committed checkpoint that has a file of this name is destroyed by writing it.
    fn give_up(&mut self, name: &str) {
        let Some(index) = self.sets.iter().position(|set| set.files.iter().any(|file| file == name)) else { return };
        let set = self.sets.remove(index);
        let left = |file: &String| Ignored { path: self.place.path(file), reason: Reason::Unfinished };
        self.ignored.extend(set.files.iter().map(left));
    }

    fn write<T>(
        &mut self,
        mut act: impl FnMut(&mut BufWriter<F::Writer>) -> std::io::Result<T>,
    ) -> Result<T, DirectoryError> {
        let pending = self.pending.as_mut().ok_or(DirectoryError::NothingWritten)?;
        let file = pending.file.as_mut().ok_or(DirectoryError::NothingWritten)?;
        loop {
            match act(file) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                Err(error) => {
                    let path = pending.names.last().map_or(self.place.dir.clone(), |name| self.place.path(name));
                    return Err(DirectoryError::io(Operation::Write, path)(error));
                }
                Ok(done) => return Ok(done),
            }
        }
    }

    /// The file under way is finished: its bytes are on the medium.
    fn close(&mut self) -> Result<(), DirectoryError> {
        if self.pending.as_ref().is_none_or(|pending| pending.file.is_none()) {
            return Ok(());
        }
        self.write(BufWriter::flush)?;
        let (durable, fs) = (self.place.durable, &self.fs);
        let Some(pending) = &mut self.pending else { return Ok(()) };
        let file = pending.file.take();
        if let Some(mut file) = file.filter(|_| durable) {
            let path = pending.names.last().map_or(self.place.dir.clone(), |name| self.place.path(name));
            fs.sync(file.get_mut()).map_err(DirectoryError::io(Operation::Sync, path))?;
        }
        Ok(())
    }

    /// Gives up the save under way. Its temp files go; should one not, the next opening removes it.
    pub(super) fn abandon(&mut self) {
        let Some(mut pending) = self.pending.take() else { return };
        if let Some(file) = pending.file.take() {
            // What is still in the buffer is not wanted.
            let _ = file.into_parts();
        }
        for name in pending.names {
            if self.place.atomic {
                let _ = self.place.remove(&self.fs, &self.place.naming.temp(&name));
            } else {
                let path = self.place.path(&name);
                self.ignored.retain(|file| file.path != path);
                self.ignored.push(Ignored { path, reason: Reason::Unfinished });
            }
        }
    }

    /// Makes what was written count.
    pub(super) fn finish(&mut self, header: &Header<'_>) -> Result<(), DirectoryError> {
        let whole = |pending: &Pending<F::Writer>| {
            (pending.step, pending.sequence) == (header.step, header.sequence)
                && pending.names.len() == pending.parts as usize
        };
        if !self.pending.as_ref().is_some_and(whole) {
            self.abandon();
            return Err(DirectoryError::NothingWritten);
        }
        let synced = self.close().and_then(|()| {
            // The names of all temp files must be on the medium before the first is renamed: it may take the place of
            // a file of an older set, which is lost then unless the new one can be completed. One file has no others.
            let several = self.pending.as_ref().is_some_and(|pending| pending.parts > 1);
            if several && self.place.atomic { self.place.sync_dir(&self.fs) } else { Ok(()) }
        });
        if let Err(error) = synced {
            self.abandon();
            return Err(error);
        }
        let Some(pending) = self.pending.take() else { return Err(DirectoryError::NothingWritten) };
        if self.place.atomic {
            self.rename_all(&pending.names)?;
        } else {
            self.place.sync_dir(&self.fs)?;
        }
        self.list(header, pending.names);
        Ok(())
    }

    /// Temp files to final names. If that fails it is undone, or, where it cannot be, settled.
    fn rename_all(&mut self, names: &[String]) -> Result<(), DirectoryError> {
        let over: Vec<bool> = names.iter().map(|name| self.is_ours(name)).collect();
        let mut renamed = 0;
        let result = names.iter().try_for_each(|name| {
            self.place.rename(&self.fs, &self.place.naming.temp(name), name)?;
            renamed += 1;
            Ok(())
        });
        let result = result.and_then(|()| self.place.sync_dir(&self.fs));
        if result.is_err() {
            if over.iter().take(renamed).any(|over| *over) {
                // A file of an older set was replaced, so there is no way back; the temp files are the only copy.
                self.unsettled = true;
                let _ = self.settle();
            } else {
                self.undo(names, renamed);
            }
        }
        result
    }

    /// Back to temp files, and those away: after a cut in between it is still all or nothing.
    fn undo(&mut self, names: &[String], renamed: usize) {
        let back = |name: &String| self.place.rename(&self.fs, name, &self.place.naming.temp(name));
        let all_back = names.iter().take(renamed).rev().try_for_each(back);
        if all_back.and_then(|()| self.place.sync_dir(&self.fs)).is_err() {
            self.unsettled = true;
            return;
        }
        for name in names {
            let _ = self.place.remove(&self.fs, &self.place.naming.temp(name));
        }
    }

    /// Puts a committed set in the list, in place of one of the same step, whose files go.
    fn list(&mut self, header: &Header<'_>, files: Vec<String>) {
        let mine = |name: &String| files.contains(name);
        let replaced = self.sets.iter().position(|set| set.stored.step == header.step);
        let replaced = replaced.map(|index| self.sets.remove(index));
        for going in &mut self.going {
            going.rest.retain(|name| !mine(name));
        }
        self.ignored.retain(|ignored| !files.iter().any(|name| ignored.path == self.place.path(name)));
        // Should one stay, the next opening removes it: a newer set of its step counts.
        for name in replaced.iter().flat_map(|set| &set.files).filter(|name| !mine(name)) {
            let _ = self.place.remove(&self.fs, name);
        }
        self.sets.push(Set { stored: CheckpointMeta::from(header), files });
    }
}
