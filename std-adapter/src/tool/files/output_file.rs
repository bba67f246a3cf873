//! The file that a command writes.
//!
//! | the path names | how it is written | `--force` |
//! | --- | --- | --- |
//! | nothing yet | a temporary file in the same directory, then a rename | not needed |
//! | a regular file | the same; its permissions are kept | required |
//! | a symbolic link | like the target of the link; the link stays | as for the target |
//! | a device, a FIFO, a socket, a descriptor such as `/dev/fd/63` | directly | not needed |
//! | `-` | directly, to standard output | not needed |
//!
//! Until [`OutputFile::commit`] succeeds, an existing regular file keeps its content. An output that is also an input is
//! refused, even with `--force`.

use super::temporary;
use crate::tool::error::{CliError, Result};
use std::fs::{self, File, Metadata};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempPath;

/// The number of links that are followed before the path is refused. Linux has the same limit.
const MAX_LINKS: usize = 40;
/// The size of the write buffer in bytes.
const BUFFER_LEN: usize = 64 * 1024;

/// An open output. It is complete only after [`commit`](OutputFile::commit). If it is dropped before, its temporary file
/// is removed.
pub struct OutputFile {
    /// The path that the user passed. Messages show it.
    path: PathBuf,
    // The file is closed before the temporary file is removed, because Windows removes no open file.
    writer: BufWriter<Box<dyn Sink>>,
    replacement: Option<Replacement>,
}

/// The temporary file that takes the place of the target.
struct Replacement {
    /// `None` after the rename.
    temp: Option<TempPath>,
    /// The path of the target, with all links followed.
    target: PathBuf,
    /// The metadata of the existing file that is replaced.
    existing: Option<Metadata>,
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // `TempPath` removes the file, unless it was renamed.
        temporary::forget();
    }
}

/// A writer that can wait until its data are stored.
trait Sink: Write {
    fn sync(&self) -> io::Result<()>;
}

impl Sink for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

impl Sink for io::Stdout {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl OutputFile {
    /// Opens the output `path` of a command that reads the files `inputs`. The path `-` is standard output as an output,
    /// and standard input as an input. `force` allows that an existing regular file is replaced.
    pub fn create(path: &Path, inputs: &[&Path], force: bool) -> Result<OutputFile> {
        let output = |sink: Box<dyn Sink>, replacement| OutputFile {
            path: path.to_owned(),
            writer: BufWriter::with_capacity(BUFFER_LEN, sink),
            replacement,
        };
        let failed = |cause| CliError::io("write", path)(cause);
        if inputs.iter().any(|input| is_same_file(input, path)) {
            return Err(CliError::OutputIsInput { path: path.to_owned() });
        }
        if is_standard_stream(path) {
            return Ok(output(Box::new(io::stdout()), None));
        }
        let Some(target) = replaceable_target(path).map_err(failed)? else {
            // A shell has opened the descriptor, perhaps at the end of a regular file. Appending keeps the file's content.
            let file = File::options().append(true).open(path).map_err(failed)?;
            return Ok(output(Box::new(file), None));
        };
        let existing = fs::metadata(&target).ok();
        if existing.is_some() && !force {
            return Err(CliError::OutputExists { path: path.to_owned() });
        }
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        let temp = builder.prefix("training-monitor-").suffix(".tmp").make_in(directory, temporary::create);
        let (file, temp) = temp.map_err(failed)?.into_parts();
        Ok(output(Box::new(file), Some(Replacement { temp: Some(temp), target, existing })))
    }

    /// Completes the output. A temporary file is renamed to its target. A file that it replaces is lost only after the
    /// new data are on the disk.
    pub fn commit(self) -> Result<()> {
        let OutputFile { path, writer, replacement } = self;
        let is_standard_output = replacement.is_none() && is_standard_stream(&path);
        let finish = || -> io::Result<()> {
            let mut sink = writer.into_inner().map_err(|error| error.into_error())?;
            sink.flush()?;
            let Some(mut replacement) = replacement else { return Ok(()) };
            let (target, existing) = (&replacement.target, &replacement.existing);
            let Some(temp) = replacement.temp.take() else { return Ok(()) };
            match existing {
                Some(existing) => {
                    sink.sync()?;
                    fs::set_permissions(&temp, existing.permissions())?;
                    drop(sink);
                    temp.persist(target)
                }
                None => {
                    drop(sink);
                    temp.persist_noclobber(target)
                }
            }
            .map_err(|error| error.error)
        };
        match finish() {
            Ok(()) => Ok(()),
            // Another program has created the file since the start of the command.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(CliError::OutputExists { path }),
            Err(cause) if is_standard_output => Err(CliError::StandardOutput(cause)),
            Err(cause) => Err(CliError::io("write", &path)(cause)),
        }
    }

    /// Writes `bytes` as the whole content, and commits.
    pub fn write_whole(mut self, bytes: &[u8]) -> Result<()> {
        let written = self.write_all(bytes);
        self.check(written)?;
        self.commit()
    }

    /// Adds the path to the error of a write.
    pub fn check<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(|cause| match is_standard_stream(&self.path) {
            true => CliError::StandardOutput(cause),
            false => CliError::io("write", &self.path)(cause),
        })
    }

    /// Returns whether the output becomes a regular file of its own. If not, it can be standard output, also under
    /// another name, and then a message on standard output would be a part of the data.
    pub fn is_regular_file(&self) -> bool {
        self.replacement.is_some()
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Returns whether `path` is the name `-` of standard input or standard output.
pub fn is_standard_stream(path: &Path) -> bool {
    path == Path::new("-")
}

/// Follows the links of `path`. Returns the file to replace or to create, or `None` if the output must be written
/// directly.
fn replaceable_target(path: &Path) -> io::Result<Option<PathBuf>> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Ok(None),
        Ok(_) => (),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (),
        Err(error) => return Err(error),
    }
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        if is_descriptor(&target) {
            return Ok(None);
        }
        match fs::read_link(&target) {
            // A link to a relative path starts at the directory of the link.
            Ok(link) => target = target.parent().unwrap_or(Path::new("")).join(link),
            Err(_) => return Ok(Some(target)),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Returns whether `path` names a descriptor of a process, for example `/dev/fd/63` or `/proc/self/fd/1`.
fn is_descriptor(path: &Path) -> bool {
    let directory = path.parent().and_then(|parent| parent.canonicalize().ok());
    directory.is_some_and(|directory| directory.starts_with("/proc") || directory.starts_with("/dev/fd"))
}

/// Returns whether an input and the output are the same regular file, perhaps through different paths.
fn is_same_file(input: &Path, output: &Path) -> bool {
    match (identity(input, Direction::Input), identity(output, Direction::Output)) {
        (Some(input), Some(output)) => input == output,
        _ => false,
    }
}

/// The standard stream that the path `-` names.
#[derive(Clone, Copy)]
enum Direction {
    Input,
    Output,
}

/// Returns the device and the index node of a regular file. Returns `None` for everything else.
#[cfg(unix)]
fn identity(path: &Path, direction: Direction) -> Option<(u64, u64)> {
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    let metadata = if is_standard_stream(path) {
        let descriptor = match direction {
            Direction::Input => io::stdin().as_fd().try_clone_to_owned(),
            Direction::Output => io::stdout().as_fd().try_clone_to_owned(),
        };
        File::from(descriptor.ok()?).metadata()
    } else {
        fs::metadata(path)
    };
    metadata.ok().filter(Metadata::is_file).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Returns the path of a regular file without links. Returns `None` for everything else.
#[cfg(not(unix))]
fn identity(path: &Path, _: Direction) -> Option<PathBuf> {
    let is_file = !is_standard_stream(path) && path.is_file();
    if is_file { path.canonicalize().ok() } else { None }
}
