//! Reads lines from a growing file, a pipe or a serial port. A separate thread reads them.
//!
//! If a file becomes shorter, or if another file replaces it, the thread reads the file again from the start. A run
//! that resumes replaces its history in this way, because it removes the events after its checkpoint.

use super::frames::{LineDecoder, LogFormat};
use crate::tool::error::{CliError, Result};
use crate::tool::{files, plot};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// An event of a feed (the stream of lines from a file, a pipe or a serial port).
#[derive(Debug, PartialEq)]
pub enum FeedEvent {
    Line(String),
    /// The file that did not exist at the start exists now.
    Opened,
    /// Another file has replaced the file. All previous lines are no longer valid.
    Restart,
    /// No more events follow.
    End,
}

/// The sending end of a feed, in the thread that reads.
type EventSender = SyncSender<Result<FeedEvent>>;

/// The maximum number of lines that wait for the receiver. The thread then waits, so a long history needs no memory for
/// its lines.
const MAX_WAITING: usize = 4096;

/// The receiving end of a feed. A separate thread reads the lines and sends them to this end.
pub struct Feed {
    /// The path that the user passed.
    run: PathBuf,
    events: Receiver<Result<FeedEvent>>,
    /// Whether the file did not exist at the start.
    is_waiting: bool,
}

impl Feed {
    /// Starts to read the history of the run `path`, or the log `path`. The path `-` means standard input. If `follow` is
    /// true, the reader waits for a file that does not exist yet, and for new data at the end of a file. `baud` is the
    /// bit rate of a serial port.
    pub fn start(path: &Path, follow: bool, format: LogFormat, baud: u32) -> Result<Feed> {
        let (sender, events) = sync_channel(MAX_WAITING);
        let first = Source::open(path, baud);
        let is_waiting = follow && first.as_ref().is_err_and(CliError::is_not_found);
        let first = if is_waiting { None } else { Some(first?) };
        let (run, path) = (path.to_owned(), path.to_owned());
        std::thread::spawn(move || {
            let source = match first {
                Some(source) => Ok(source),
                None => wait_for_source(&path, baud, &sender),
            };
            let _ = match source {
                Ok(source) => sender.send(source.read(follow, &format, &sender)),
                Err(error) => sender.send(Err(error)),
            };
        });
        Ok(Feed { run, events, is_waiting })
    }

    /// Returns the path of the history or of the log.
    pub fn path(&self) -> PathBuf {
        plot::history_file(&self.run)
    }

    /// Returns whether the file did not exist at the start. The event [`FeedEvent::Opened`] ends the wait.
    pub fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Waits for the next event, but not longer than `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<Result<FeedEvent>> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            // The thread sends `End` or an error before every normal exit. Here, the channel is closed without them, so
            // the thread has panicked in the defmt decoder.
            Err(RecvTimeoutError::Disconnected) => Some(Err(CliError::usage("the log cannot be decoded"))),
        }
    }
}

/// Waits until the source of the lines exists.
fn wait_for_source(path: &Path, baud: u32, sender: &EventSender) -> Result<Source> {
    loop {
        match Source::open(path, baud) {
            Err(error) if error.is_not_found() => std::thread::sleep(super::POLL_INTERVAL),
            Err(error) => return Err(error),
            Ok(source) => {
                // If the receiver no longer exists, the read ends soon.
                let _ = sender.send(Ok(FeedEvent::Opened));
                return Ok(source);
            }
        }
    }
}

/// An open history or log.
enum Source {
    StandardInput,
    Port(PathBuf, BlockingPort),
    /// A file that can grow.
    Regular(PathBuf, File),
    /// A pipe or a device.
    Stream(PathBuf, File),
}

impl Source {
    /// Opens the history of the run `path`, or the log `path`.
    fn open(path: &Path, baud: u32) -> Result<Source> {
        if files::is_standard_stream(path) {
            return Ok(Source::StandardInput);
        }
        if let Some(port) = open_serial_port(path, baud)? {
            return Ok(Source::Port(path.to_owned(), port));
        }
        let path = plot::history_file(path);
        let mut file = File::open(&path).map_err(CliError::io("read", &path))?;
        let meta = file.metadata().map_err(CliError::io("read", &path))?;
        if meta.is_dir() {
            let (expected, found) = ("a history or a log", "it is a directory".to_owned());
            return Err(CliError::WrongFile { path, expected, found });
        }
        if !meta.is_file() {
            return Ok(Source::Stream(path, file));
        }
        reject_binary_file(&mut file, &path).map_err(CliError::io("read", &path))??;
        Ok(Source::Regular(path, file))
    }

    /// Reads to the end and sends the lines. Returns the last event.
    fn read(self, follow: bool, format: &LogFormat, sender: &EventSender) -> Result<FeedEvent> {
        let (path, result) = match self {
            Source::StandardInput => ("standard input".into(), read_stream(io::stdin(), format, sender)),
            Source::Port(path, port) => (path, read_stream(port, format, sender)),
            Source::Stream(path, file) => (path, read_stream(file, format, sender)),
            Source::Regular(path, file) => {
                let result = read_file(file, &path, follow, format, sender);
                (path, result)
            }
        };
        result.map(|()| FeedEvent::End).map_err(CliError::io("read", &path))
    }
}

/// Returns an error if the file has a known binary format, for example a checkpoint. Otherwise `watch` would show the
/// bytes of the file as lines.
fn reject_binary_file(file: &mut File, path: &Path) -> io::Result<Result<()>> {
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start)?;
    file.rewind()?;
    if !files::is_known_binary(&start) {
        return Ok(Ok(()));
    }
    let (expected, found) = ("a history or a log", files::describe_content(&start));
    Ok(Err(CliError::WrongFile { path: path.to_owned(), expected, found }))
}

/// Opens the serial port at `path`. The port is in raw mode, so it does not change any byte. Returns `None` if `path`
/// is not a serial port.
fn open_serial_port(path: &Path, baud: u32) -> Result<Option<BlockingPort>> {
    if !may_be_serial_port(path) {
        return Ok(None);
    }
    let name = path.to_string_lossy();
    // Set a timeout of one second. With the default timeout of zero, a read would fail immediately if there is no data.
    match serialport::new(name, baud).timeout(Duration::from_secs(1)).open() {
        Ok(port) => Ok(Some(BlockingPort(port))),
        // The path is a character device but not a serial port, for example `/dev/null`. It is read like a pipe.
        Err(_) if File::open(path).is_ok_and(|file| !io::IsTerminal::is_terminal(&file)) => Ok(None),
        Err(error) => Err(CliError::io("open", path)(error.into())),
    }
}

#[cfg(unix)]
fn may_be_serial_port(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|meta| meta.file_type().is_char_device())
}

#[cfg(windows)]
fn may_be_serial_port(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_uppercase();
    name.trim_start_matches(r"\\.\").strip_prefix("COM").is_some_and(|number| number.parse::<u8>().is_ok())
}

/// A serial port. A read waits for data without a time limit.
struct BlockingPort(Box<dyn serialport::SerialPort>);

impl Read for BlockingPort {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
                // Another program has closed its side of a pseudo terminal. The operating system reports this as an
                // error, but it is a normal end of the log.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
                read => return read,
            }
        }
    }
}

/// Reads a block of bytes and sends the completed lines. Returns the number of bytes, and whether the receiver still
/// exists.
fn read_once(source: &mut impl Read, decoder: &mut LineDecoder<'_>, sender: &EventSender) -> io::Result<(usize, bool)> {
    let mut buffer = [0; 4096];
    let read = loop {
        match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => break read?,
        }
    };
    let mut has_receiver = true;
    decoder.push(&buffer[..read], |line| has_receiver &= sender.send(Ok(FeedEvent::Line(line))).is_ok())?;
    Ok((read, has_receiver))
}

/// Reads a pipe, a terminal or a serial port to its end.
fn read_stream(mut source: impl Read, format: &LogFormat, sender: &EventSender) -> io::Result<()> {
    let mut decoder = format.decoder();
    while let (1.., has_receiver) = read_once(&mut source, &mut decoder, sender)? {
        if !has_receiver {
            return Ok(());
        }
    }
    if let Some(line) = decoder.finish()? {
        let _ = sender.send(Ok(FeedEvent::Line(line)));
    }
    Ok(())
}

/// Reads a file to its end. If `follow` is true, the function then waits for new data.
fn read_file(mut file: File, path: &Path, follow: bool, format: &LogFormat, sender: &EventSender) -> io::Result<()> {
    let mut decoder = format.decoder();
    let mut position = 0_u64;
    loop {
        let (count, has_receiver) = read_once(&mut file, &mut decoder, sender)?;
        position += count as u64;
        if !has_receiver {
            return Ok(());
        }
        if count > 0 {
            continue;
        }
        if !follow {
            // The last line may be incomplete, because it has no line end. Therefore the line is not shown. The call of
            // `finish` is still needed, because it returns an error if the log contained no complete frame.
            return decoder.finish().map(drop);
        }
        std::thread::sleep(super::POLL_INTERVAL);
        let Ok(current) = path.metadata() else { continue };
        if current.len() < position || !is_same_file(&current, &file.metadata()?) {
            file = File::open(path)?;
            (position, decoder) = (0, format.decoder());
            if sender.send(Ok(FeedEvent::Restart)).is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(unix)]
fn is_same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    a.ino() == b.ino() && a.dev() == b.dev()
}

#[cfg(not(unix))]
fn is_same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_growing_file_is_followed_and_a_replaced_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let feed = Feed::start(&path, true, LogFormat::Text, 0).unwrap();
        let next = || feed.next(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(next(), FeedEvent::Line("one".to_owned()));
        File::options().append(true).open(&path).unwrap().write_all(b"o\r\n").unwrap();
        assert_eq!(next(), FeedEvent::Line("two".to_owned()));
        // The new file is longer than the old one. Therefore the length does not show that the file was replaced. Only
        // the identity of the file shows it.
        let other = dir.path().join("other");
        std::fs::write(&other, "three and a half\n").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(next(), FeedEvent::Restart);
        assert_eq!(next(), FeedEvent::Line("three and a half".to_owned()));
    }

    #[test]
    fn a_run_that_does_not_exist_yet_is_awaited() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/digits");
        let start = |follow| Feed::start(&run, follow, LogFormat::Text, 0);
        assert!(start(false).is_err_and(|error| error.is_not_found()));
        let feed = start(true).unwrap();
        assert!(feed.is_waiting());
        assert!(feed.next(Duration::from_millis(20)).is_none());
        // The directory exists before its history.
        std::fs::create_dir_all(&run).unwrap();
        assert!(feed.next(Duration::from_millis(500)).is_none());
        std::fs::write(run.join("history.jsonl"), "one\n").unwrap();
        let next = || feed.next(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!([next(), next()], [FeedEvent::Opened, FeedEvent::Line("one".to_owned())]);
        // A file of another kind is an error, also if it appears later.
        let feed = Feed::start(&dir.path().join("log"), true, LogFormat::Text, 0).unwrap();
        std::fs::write(dir.path().join("other"), b"TMCK").unwrap();
        std::fs::rename(dir.path().join("other"), dir.path().join("log")).unwrap();
        assert!(matches!(feed.next(Duration::from_secs(20)), Some(Err(CliError::WrongFile { .. }))));
    }

    #[cfg(unix)]
    #[test]
    fn a_serial_port_passes_all_bytes_unchanged() {
        use serialport::{SerialPort, TTYPort};
        let (mut device, host) = TTYPort::pair().unwrap();
        let path = PathBuf::from(host.name().unwrap());
        let mut port = open_serial_port(&path, 115_200).unwrap().unwrap();
        // In its default mode, a terminal waits for complete lines, echoes them and changes some bytes. The test checks
        // that all byte values arrive unchanged.
        let sent: Vec<u8> = (0..=255).collect();
        device.write_all(&sent).unwrap();
        let mut received = [0; 256];
        port.read_exact(&mut received).unwrap();
        assert_eq!(received[..], sent);
        drop(port);
        let feed = Feed::start(&path, true, LogFormat::Text, 115_200).unwrap();
        device.write_all(b"\x1b[31mred\x07\tend\r\n").unwrap();
        assert_eq!(feed.next(Duration::from_secs(20)).unwrap().unwrap(), FeedEvent::Line("red\tend".to_owned()));
        let null = Feed::start(Path::new("/dev/null"), true, LogFormat::Text, 115_200).unwrap();
        assert_eq!(null.next(Duration::from_secs(20)).unwrap().unwrap(), FeedEvent::End);
    }
}
