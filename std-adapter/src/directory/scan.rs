//! Reads all checkpoint files of a directory, also while another program changes the directory.

use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::location::Location;
use super::plan::{FileEntry, IgnoreReason};
use super::summary::{BufferedReader, StreamSummary};
use crate::inspect::InspectError;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use training_monitor::checkpoint::DecodeError;

/// How often a scan lists the directory if files disappear during the scan. A scan opens the files directly after it
/// has listed them, so another program must be very fast to interfere even once.
const ATTEMPTS: usize = 16;

/// How often a scan reads a file if the read fails. A failed read does not mean that the checkpoint does not exist: a
/// new checkpoint would get its sequence number. A read of a network file system can fail once.
const READS: usize = 3;

/// The maximum number of files that a directory keeps open. An operating system can limit a process to 256 files.
pub(super) const MAX_HELD_FILES: usize = 64;

/// Files that are open for reading, by their names. They stay readable when another program renames or removes them.
pub(super) type HeldFiles<F> = BTreeMap<String, <F as FileSystem>::Reader>;

/// A list of all files whose names fit the prefix and the extension, and the open files.
pub(super) struct Scan<F: FileSystem> {
    pub files: Vec<FileEntry>,
    /// The first files with valid content. They are at an unknown position.
    pub held: HeldFiles<F>,
    /// Whether files disappeared during the scan. The list does not contain them.
    is_disturbed: bool,
}

impl<F: FileSystem> Location<F> {
    /// Reads and verifies all files whose names fit the prefix and the extension. Keeps at most `max_held` of them
    /// open. If a file disappears between the listing and the opening, lists the directory again.
    pub fn scan(&self, max_held: usize) -> Result<Scan<F>, DirectoryError> {
        for _ in 1..ATTEMPTS {
            let scan = self.scan_once(max_held)?;
            if !scan.is_disturbed {
                return Ok(scan);
            }
        }
        self.scan_once(max_held)
    }

    fn scan_once(&self, max_held: usize) -> Result<Scan<F>, DirectoryError> {
        let mut scratch = vec![0; 1 << 16];
        let mut scan = Scan { files: Vec::new(), held: BTreeMap::new(), is_disturbed: false };
        // Names of checkpoint files are valid UTF-8. A name that is not valid UTF-8 belongs to another program.
        let names = self.fs.names(&self.dir).map_err(DirectoryError::io(Operation::List, &self.dir))?;
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        let names: Vec<String> = names.filter(|name| self.naming.classify(name).is_some()).collect();
        // Open all files before the first one is read, because reading takes long. An open file cannot disappear.
        let mut opened: Vec<_> = names.iter().take(max_held).map(|name| self.open_regular(name)).collect();
        opened.reverse();
        for name in names {
            let held = opened.pop();
            let is_held = held.is_some();
            let mut read = |mut file: BufferedReader<F::Reader>| {
                let summary = StreamSummary::read(&mut file, &mut scratch).map_err(ignore_reason)?;
                Ok((summary, file.into_inner()))
            };
            let mut content = held.unwrap_or_else(|| self.open_regular(&name)).and_then(&mut read);
            for _ in 1..READS {
                match &content {
                    Err(IgnoreReason::Unreadable(kind)) if *kind != ErrorKind::NotFound => {
                        content = self.open_regular(&name).and_then(&mut read);
                    }
                    _ => break,
                }
            }
            let content = match content {
                Err(IgnoreReason::Unreadable(ErrorKind::NotFound)) if !self.exists(&name) => {
                    scan.is_disturbed = true;
                    continue;
                }
                Err(reason) => Err(reason),
                Ok((summary, file)) => {
                    if is_held {
                        scan.held.insert(name.clone(), file);
                    }
                    Ok(summary)
                }
            };
            scan.files.push(FileEntry { name, content });
        }
        Ok(scan)
    }

    /// Returns whether a name exists. A symbolic link exists even if its target is missing.
    fn exists(&self, name: &str) -> bool {
        self.fs.exists(&self.path(name)).unwrap_or(true)
    }

    /// Opens a regular file. Opening anything else could block.
    fn open_regular(&self, name: &str) -> Result<BufferedReader<F::Reader>, IgnoreReason> {
        match self.fs.is_file(&self.path(name)) {
            Ok(true) => self.open(name).map_err(|error| ignore_reason(DecodeError::Io(error).into())),
            Ok(false) => Err(IgnoreReason::NotAFile),
            Err(cause) => Err(IgnoreReason::Unreadable(cause.kind())),
        }
    }
}

fn ignore_reason(error: InspectError<DirectoryError>) -> IgnoreReason {
    match error {
        InspectError::Decode(DecodeError::Io(DirectoryError::Io { cause, .. })) => {
            IgnoreReason::Unreadable(cause.kind())
        }
        InspectError::Decode(DecodeError::NotACheckpoint) => IgnoreReason::Foreign,
        InspectError::Decode(DecodeError::Version { found }) => IgnoreReason::Version { found },
        InspectError::Decode(DecodeError::Newer) => IgnoreReason::Newer,
        _ => IgnoreReason::Damaged,
    }
}
