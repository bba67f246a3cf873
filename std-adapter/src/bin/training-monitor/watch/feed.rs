//! Lines of a file that grows, or of a pipe, from a thread of their own.
//!
//! A file that became shorter, or another file of the same name, is read from its beginning: that is how a run that goes on
//! from a checkpoint takes back what had happened after it.

use crate::failure::{Failure, Result};
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
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
    /// Reads `path`, `-` for standard input; a file is followed if `follow`.
    pub fn start(path: &Path, follow: bool) -> Result<Feed> {
        let (to, news) = channel();
        let from = path.to_owned();
        if path == Path::new("-") {
            std::thread::spawn(move || report(&to, pipe(io::stdin(), &to)));
        } else {
            let file = File::open(path).map_err(Failure::io("read", path))?;
            let meta = file.metadata().map_err(Failure::io("read", path))?;
            if meta.is_dir() {
                let (wanted, found) = ("a history or a log", "it is a directory".to_owned());
                return Err(Failure::WrongFile { path: path.to_owned(), wanted, found });
            }
            let grows = meta.is_file();
            std::thread::spawn(move || {
                let done = if grows { tail(file, &from, follow, &to) } else { pipe(file, &to) };
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
            Err(RecvTimeoutError::Disconnected) => Some(Ok(News::End)),
        }
    }
}

/// The end, or why there is one. Nobody may be listening any more.
fn report(to: &Sender<io::Result<News>>, done: io::Result<()>) {
    let _ = to.send(done.map(|()| News::End));
}

fn line(bytes: &[u8]) -> News {
    News::Line(String::from_utf8_lossy(bytes).trim_end().to_owned())
}

fn pipe(from: impl Read, to: &Sender<io::Result<News>>) -> io::Result<()> {
    let mut reader = BufReader::new(from);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes)? > 0 {
        if to.send(Ok(line(&bytes))).is_err() {
            break;
        }
        bytes.clear();
    }
    Ok(())
}

fn tail(file: File, path: &Path, follow: bool, to: &Sender<io::Result<News>>) -> io::Result<()> {
    let mut reader = BufReader::new(file);
    let mut read = 0_u64;
    // A line is only a line when it has its end.
    let mut bytes = Vec::new();
    loop {
        let count = reader.read_until(b'\n', &mut bytes)?;
        read += count as u64;
        if count > 0 && bytes.ends_with(b"\n") {
            if to.send(Ok(line(&bytes))).is_err() {
                return Ok(());
            }
            bytes.clear();
            continue;
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(super::TICK);
        let Ok(now) = path.metadata() else { continue };
        if now.len() < read || !is_same(&now, &reader.get_ref().metadata()?) {
            reader = BufReader::new(File::open(path)?);
            (read, bytes) = (0, Vec::new());
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
        let feed = Feed::start(&path, true).unwrap();
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
}
