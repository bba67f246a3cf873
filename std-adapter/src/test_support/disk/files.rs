//! The files and the locks of a simulated disk, for the store `Directory`.

use super::{Disk, Inode, NameChange, check_power, file_name, power_off_error};
use crate::directory::{FileSystem, LockError};
use std::ffi::OsString;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// A file of a [`Disk`] that is open for writing.
#[derive(Debug)]
pub struct DiskWriter {
    disk: Disk,
    /// The index of the inode (the content of the file).
    inode: usize,
}

impl Write for DiskWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.0.borrow_mut();
        let result = state.count_operation();
        let is_off = state.is_off();
        let inode = &mut state.inodes[self.inode];
        if !is_off || result.is_ok() {
            let written = if result.is_ok() { bytes.len() } else { bytes.len() / 2 };
            inode.current.extend_from_slice(&bytes[..written]);
            inode.is_dirty = true;
        }
        check_power(result?).map(|()| bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file of a [`Disk`] that is open for reading.
#[derive(Debug)]
pub struct DiskReader(io::Cursor<Vec<u8>>);

impl Read for DiskReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Seek for DiskReader {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.seek(position)
    }
}

/// The lock of a file of a [`Disk`].
#[derive(Debug)]
pub struct DiskLock {
    disk: Disk,
    name: String,
    /// The number of the lock. It differs from the number of a later lock with the same name.
    number: usize,
}

impl Drop for DiskLock {
    fn drop(&mut self) {
        let mut state = self.disk.0.borrow_mut();
        if state.locks.get(&self.name).is_some_and(|(number, _)| *number == self.number) {
            state.locks.remove(&self.name);
        }
    }
}

impl FileSystem for Disk {
    type Writer = DiskWriter;
    type Reader = DiskReader;
    type Lock = DiskLock;

    fn lock(&self, path: &Path, owner: &str) -> Result<DiskLock, LockError> {
        let mut state = self.0.borrow_mut();
        let name = file_name(path);
        if state.is_off() {
            return Err(LockError::Io(power_off_error()));
        }
        if state.has_no_locks {
            return Err(LockError::Io(io::ErrorKind::Unsupported.into()));
        }
        if let Some((_, owner)) = state.locks.get(&name) {
            return Err(LockError::Held { owner: owner.clone() });
        }
        state.lock_count += 1;
        let number = state.lock_count;
        state.locks.insert(name.clone(), (number, owner.to_owned()));
        Ok(DiskLock { disk: self.clone(), name, number })
    }

    fn create(&self, path: &Path) -> io::Result<DiskWriter> {
        let mut state = self.0.borrow_mut();
        let is_on = state.count_operation()?;
        let name = file_name(path);
        let inode = match state.names.get(&name) {
            Some(inode) => {
                let inode = *inode;
                state.inodes[inode].current.clear();
                state.inodes[inode].is_dirty = true;
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(name.clone(), inode);
                state.changes.push(NameChange::Create(name, inode));
                inode
            }
        };
        check_power(is_on).map(|()| DiskWriter { disk: self.clone(), inode })
    }

    fn sync(&self, file: &mut DiskWriter) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        check_power(state.count_operation()?)?;
        let inode = &mut state.inodes[file.inode];
        inode.synced = inode.current.clone();
        inode.is_dirty = false;
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<DiskReader> {
        let state = self.0.borrow();
        if state.is_off() {
            return Err(power_off_error());
        }
        let inode = state.names.get(&file_name(path)).ok_or(io::ErrorKind::NotFound)?;
        Ok(DiskReader(io::Cursor::new(state.inodes[*inode].current.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let (from, to) = (file_name(from), file_name(to));
        if !state.names.contains_key(&from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_on = state.count_operation()?;
        let inode = state.names.remove(&from).unwrap();
        state.names.insert(to.clone(), inode);
        state.changes.push(NameChange::Rename(from, to, inode));
        check_power(is_on)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        let name = file_name(path);
        if !state.names.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_on = state.count_operation()?;
        state.names.remove(&name);
        state.changes.push(NameChange::Remove(name));
        check_power(is_on)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        check_power(state.count_operation()?)?;
        state.synced_names = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn names(&self, _: &Path) -> io::Result<Vec<OsString>> {
        let state = self.0.borrow();
        if state.is_off() {
            return Err(power_off_error());
        }
        Ok(state.names.keys().map(OsString::from).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.0.borrow().names.contains_key(&file_name(path)))
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}
