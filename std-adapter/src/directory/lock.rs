//! The lock of a directory. It makes sure that only one program writes the files with one prefix.

use super::error::{DirectoryError, OpenError, Operation};
use super::file_system::{FileSystem, LockError};
use super::location::Location;
use std::io::ErrorKind;

/// How a directory is open.
pub(super) enum Access<F: FileSystem> {
    /// For reading and writing. The lock is `None` if the file system has no locks. The operating system releases the
    /// lock when this value is dropped or the process ends.
    Write(Option<F::Lock>),
    /// For reading only, together with the open files of the listed checkpoints.
    ReadOnly(super::scan::HeldFiles<F>),
}

/// Locks the files with the prefix of `location` for this directory. Returns `None` if the file system has no locks.
pub(super) fn lock<F: FileSystem>(location: &Location<F>) -> Result<Option<F::Lock>, OpenError> {
    let path = location.path(&location.naming.lock_name());
    let owner = format!("process {} on host {}\n", std::process::id(), host_name());
    match location.fs.lock(&path, &owner) {
        Ok(lock) => Ok(Some(lock)),
        Err(LockError::Held { owner }) => {
            let owner = owner.lines().next().unwrap_or("an unknown process").to_owned();
            Err(OpenError::Locked { path, owner })
        }
        Err(LockError::Io(cause)) if cause.kind() == ErrorKind::Unsupported => Ok(None),
        Err(LockError::Io(cause)) => Err(OpenError::Directory(DirectoryError::io(Operation::Lock, path)(cause))),
    }
}

/// Returns the name of this computer. The standard library has no function for it.
fn host_name() -> String {
    let is_name = |name: &String| !name.is_empty() && !name.contains(char::is_control);
    let from_file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let from_file = from_file.map(|name| name.trim().to_owned()).filter(is_name);
    let variables = ["HOSTNAME", "COMPUTERNAME"].into_iter();
    from_file
        .or_else(|| variables.filter_map(|variable| std::env::var(variable).ok()).find(is_name))
        .unwrap_or_else(|| "unknown".to_owned())
}
