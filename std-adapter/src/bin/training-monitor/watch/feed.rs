//! Lines of a file that grows, of a pipe or of a serial port, from a thread of their own.
//!
//! A file that became shorter, or another file of the same name, is read from its beginning: that is how a run that goes on
//! from a checkpoint takes back what had happened after it.

use super::frames::{Format, Lines};
use crate::failure::{self, Failure, Result};
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What a feed brings.
#[derive(Debug, PartialEq)]
pub enum News {
    Line(String),
    /// Everything so far is void.
    Restart,
    /// Nothing more will come.
    End,
}

pub struct Feed {
    path: PathBuf,
    news: Receiver<io::Result<News>>,
}

impl Feed {
    /// Reads `path`, `-` for standard input; a file is followed if `follow`, a serial port has `baud` bits a second.
    pub fn start(path: &Path, follow: bool, format: Format, baud: u32) -> Result<Feed> {
        let (to, news) = channel();
        let from = path.to_owned();
        if path == Path::new("-") {
            std::thread::spawn(move || report(&to, pipe(io::stdin(), &format, &to)));
        } else if let Some(port) = serial(path, baud)? {
            std::thread::spawn(move || report(&to, pipe(port, &format, &to)));
        } else {
            let mut file = File::open(path).map_err(Failure::io("read", path))?;
            let meta = file.metadata().map_err(Failure::io("read", path))?;
            if meta.is_dir() {
                let (wanted, found) = ("a history or a log", "it is a directory".to_owned());
                return Err(Failure::WrongFile { path: path.to_owned(), wanted, found });
            }
            let grows = meta.is_file();
            if grows {
                refuse_others(&mut file, path).map_err(Failure::io("read", path))??;
            }
            std::thread::spawn(move || {
                let done = if grows { tail(file, &from, follow, &format, &to) } else { pipe(file, &format, &to) };
                report(&to, done);
            });
        }
        Ok(Feed { path: path.to_owned(), news })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the next, but not longer than `patience`.
    pub fn next(&self, patience: Duration) -> Option<io::Result<News>> {
        match self.news.recv_timeout(patience) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Timeout) => None,
            // A thread tells of its end; one that panicked has not.
            Err(RecvTimeoutError::Disconnected) => Some(Err(io::Error::other("what was read cannot be decoded"))),
        }
    }
}

/// Nobody wants to see the bytes of a checkpoint as lines.
fn refuse_others(file: &mut File, path: &Path) -> io::Result<Result<()>> {
    let mut start = Vec::new();
    file.take(64).read_to_end(&mut start)?;
    file.rewind()?;
    if !failure::is_known_binary(&start) {
        return Ok(Ok(()));
    }
    let (wanted, found) = ("a history or a log", failure::looks_like(&start));
    Ok(Err(Failure::WrongFile { path: path.to_owned(), wanted, found }))
}

/// The serial port at `path`, set to pass every byte as it is; `None` if that is something else.
fn serial(path: &Path, baud: u32) -> Result<Option<impl Read + Send + use<>>> {
    if !may_be_a_port(path) {
        return Ok(None);
    }
    let name = path.to_string_lossy();
    // Without a timeout of its own a read would return at once.
    match serialport::new(name, baud).timeout(Duration::from_secs(1)).open() {
        Ok(port) => Ok(Some(Port(port))),
        // /dev/null and the like.
        Err(_) if File::open(path).is_ok_and(|file| !io::IsTerminal::is_terminal(&file)) => Ok(None),
        Err(error) => Err(Failure::io("open", path)(error.into())),
    }
}

#[cfg(unix)]
fn may_be_a_port(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|meta| meta.file_type().is_char_device())
}

#[cfg(windows)]
fn may_be_a_port(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_uppercase();
    name.trim_start_matches(r"\\.\").strip_prefix("COM").is_some_and(|number| number.parse::<u8>().is_ok())
}

/// A port that waits as long as it takes.
struct Port(Box<dyn serialport::SerialPort>);

impl Read for Port {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
                // The other side of a pseudo terminal is gone; the system calls it an error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(0),
                read => return read,
            }
        }
    }
}

/// The end, or why there is one. Nobody may be listening any more.
fn report(to: &Sender<io::Result<News>>, done: io::Result<()>) {
    let _ = to.send(done.map(|()| News::End));
}

/// Reads once: how many bytes came, and whether anybody still listens.
fn step(from: &mut impl Read, lines: &mut Lines<'_>, to: &Sender<io::Result<News>>) -> io::Result<(usize, bool)> {
    let mut buffer = [0; 4096];
    let read = loop {
        match from.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => break read?,
        }
    };
    let mut heard = true;
    lines.push(&buffer[..read], |line| heard &= to.send(Ok(News::Line(line))).is_ok())?;
    Ok((read, heard))
}

fn pipe(mut from: impl Read, format: &Format, to: &Sender<io::Result<News>>) -> io::Result<()> {
    let mut lines = format.lines();
    while let (1.., heard) = step(&mut from, &mut lines, to)? {
        if !heard {
            return Ok(());
        }
    }
    if let Some(line) = lines.finish()? {
        let _ = to.send(Ok(News::Line(line)));
    }
    Ok(())
}

fn tail(mut file: File, path: &Path, follow: bool, format: &Format, to: &Sender<io::Result<News>>) -> io::Result<()> {
    let mut lines = format.lines();
    let mut read = 0_u64;
    loop {
        let (count, heard) = step(&mut file, &mut lines, to)?;
        read += count as u64;
        if !heard {
            return Ok(());
        }
        if count > 0 {
            continue;
        }
        if !follow {
            // A line is only a line when it has its end, so the rest is left; but there may have been nothing at all.
            return lines.finish().map(drop);
        }
        std::thread::sleep(super::TICK);
        let Ok(now) = path.metadata() else { continue };
        if now.len() < read || !is_same(&now, &file.metadata()?) {
            file = File::open(path)?;
            (read, lines) = (0, format.lines());
            if to.send(Ok(News::Restart)).is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(unix)]
fn is_same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    a.ino() == b.ino() && a.dev() == b.dev()
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_grows_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "one\ntw").unwrap();
        let feed = Feed::start(&path, true, Format::Text, 0).unwrap();
        let next = || feed.next(Duration::from_secs(20)).unwrap().unwrap();
        assert_eq!(next(), News::Line("one".to_owned()));
        File::options().append(true).open(&path).unwrap().write_all(b"o\r\n").unwrap();
        assert_eq!(next(), News::Line("two".to_owned()));
        // Another file under its name, and longer than the first.
        let other = dir.path().join("other");
        std::fs::write(&other, "three and a half\n").unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(next(), News::Restart);
        assert_eq!(next(), News::Line("three and a half".to_owned()));
    }

    #[cfg(unix)]
    #[test]
    fn a_serial_port_passes_every_byte() {
        use serialport::{SerialPort, TTYPort};
        let (mut device, here) = TTYPort::pair().unwrap();
        let path = PathBuf::from(here.name().unwrap());
        let mut port = serial(&path, 115_200).unwrap().unwrap();
        // A terminal as it comes would wait for whole lines, echo them and change some bytes.
        let sent: Vec<u8> = (0..=255).collect();
        device.write_all(&sent).unwrap();
        let mut came = [0; 256];
        port.read_exact(&mut came).unwrap();
        assert_eq!(came[..], sent);
        drop(port);
        let feed = Feed::start(&path, true, Format::Text, 115_200).unwrap();
        device.write_all(b"\x1b[31mred\x07\tend\r\n").unwrap();
        assert_eq!(feed.next(Duration::from_secs(20)).unwrap().unwrap(), News::Line("red\tend".to_owned()));
        let null = Feed::start(Path::new("/dev/null"), true, Format::Text, 115_200).unwrap();
        assert_eq!(null.next(Duration::from_secs(20)).unwrap().unwrap(), News::End);
    }
}
