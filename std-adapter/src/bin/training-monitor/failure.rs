//! Why the tool could not do what it was asked to, in words for the person who asked.
//!
//! A failure always names the file. It decides nothing: exit codes are `main`'s.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// What went wrong.
#[derive(Debug)]
pub enum Failure {
    /// The system's error.
    Io {
        /// What was being done: "read", "write".
        doing: &'static str,
        path: PathBuf,
        cause: io::Error,
    },
    /// The file is something else than what is wanted.
    WrongFile { path: PathBuf, wanted: &'static str, found: String },
    /// The file is what is wanted, but its content cannot be used.
    Content { path: PathBuf, why: String },
    /// The arguments contradict each other, or what is in the files.
    Usage(String),
    /// Neither a file nor arguments: the terminal, a library.
    Other(Box<dyn Error>),
}

/// What every command returns.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure + use<> {
        let path = path.to_owned();
        move |cause| Failure::Io { doing, path, cause }
    }

    pub fn content(path: &Path, why: impl fmt::Display) -> Failure {
        Failure::Content { path: path.to_owned(), why: why.to_string() }
    }

    pub fn usage(why: impl Into<String>) -> Failure {
        Failure::Usage(why.into())
    }

    pub fn other(error: impl Error + 'static) -> Failure {
        Failure::Other(Box::new(error))
    }

    /// Output that nobody reads any more, as in `training-monitor inspect … | head -1`.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Io { cause, .. } if cause.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Io { doing, path, cause } => write!(f, "cannot {doing} {}: {cause}", path.display()),
            Failure::WrongFile { path, wanted, found } => {
                write!(f, "{} is not {wanted}: {found}", path.display())
            }
            Failure::Content { path, why } => write!(f, "{}: {why}", path.display()),
            Failure::Usage(why) => f.write_str(why),
            Failure::Other(error) => error.fmt(f),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Failure::Other(error) => error.source(),
            // The cause of an I/O error is in the text already.
            _ => None,
        }
    }
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Failure::io("read", path))
}

/// Writes a file by way of a temp file beside it, so that a failure leaves what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".tmp");
    let temp = PathBuf::from(temp);
    let written = std::fs::write(&temp, bytes).and_then(|()| std::fs::rename(&temp, path));
    written.map_err(|cause| {
        // What was written in vain is not left behind; that it cannot be removed either adds nothing.
        let _ = std::fs::remove_file(&temp);
        Failure::Io { doing: "write", path: path.to_owned(), cause }
    })
}

/// Whether a file begins as something does that is neither text nor defmt's frames.
pub fn is_known_binary(bytes: &[u8]) -> bool {
    [&b"TMCK"[..], b"PK\x03\x04", b"\x93NUMPY", b"\x7fELF"].iter().any(|magic| bytes.starts_with(magic))
}

/// What the first bytes of a file look like, to say more than what it is not.
pub fn looks_like(bytes: &[u8]) -> String {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    let json = || bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let text = if bytes.is_empty() {
        "it is empty"
    } else if starts(b"TMCK") {
        "it is a checkpoint"
    } else if starts(br#"{"schema":"training-monitor-history""#) {
        "it is the history of a run (`plot` and `watch` read it)"
    } else if starts(b"PK\x03\x04") {
        "it is a zip archive, perhaps .npz or a PyTorch checkpoint (`import` reads .npz)"
    } else if starts(b"\x93NUMPY") {
        "it is a single NumPy array (`import` reads .npz, which has names)"
    } else if starts(b"\x80\x02") || starts(b"\x80\x04") {
        "it is a Python pickle, which is a program and is never run here"
    } else if starts(b"\x7fELF") {
        "it is a program (ELF)"
    } else if bytes.get(8) == Some(&b'{') {
        "it looks like safetensors (`import` reads it)"
    } else if starts(b"\x89PNG") {
        "it is a picture (PNG)"
    } else if starts(b"tensor,shape,") {
        "it is tensors as CSV (`import` reads it)"
    } else if json() {
        "it is JSON"
    } else if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) {
        "it is text (`watch` reads the log of a device)"
    } else {
        "neither a checkpoint nor a record of one was found in it"
    };
    text.to_owned()
}
