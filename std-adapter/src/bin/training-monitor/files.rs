//! Reads and writes whole files, and guesses the kind of a file that the user passed.

use crate::error::{CliError, Result};
use std::path::{Path, PathBuf};

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(CliError::io("read", path))
}

/// Writes a file. The function first writes a temporary file and then renames it to `path`. A failed write therefore
/// leaves an existing file at `path` unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut temp = path.as_os_str().to_owned();
    temp.push(".tmp");
    let temp = PathBuf::from(temp);
    let written = std::fs::write(&temp, bytes).and_then(|()| std::fs::rename(&temp, path));
    written.map_err(|cause| {
        // The write has failed, and the function returns the error of the write. An error while removing the temporary
        // file is ignored, because it would not help the user.
        let _ = std::fs::remove_file(&temp);
        CliError::Io { action: "write", path: path.to_owned(), cause }
    })
}

/// Returns whether a file begins like a checkpoint, a zip archive, a NumPy array or an ELF program. `watch` rejects
/// such a file, because it is not the log of a device.
pub fn is_known_binary(bytes: &[u8]) -> bool {
    [&b"TMCK"[..], b"PK\x03\x04", b"\x93NUMPY", b"\x7fELF"].iter().any(|magic| bytes.starts_with(magic))
}

/// Guesses the kind of a file from its first bytes. The error messages about a wrong file contain the result.
pub fn describe_content(bytes: &[u8]) -> String {
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
        "it is a single NumPy array without a name (`import` reads .npz)"
    } else if starts(b"\x80\x02") || starts(b"\x80\x04") {
        "it is a Python pickle (a pickle is a program; this tool never executes one)"
    } else if starts(b"\x7fELF") {
        "it is a program (ELF)"
    } else if bytes.get(8) == Some(&b'{') {
        "it looks like safetensors (`import` reads it)"
    } else if starts(b"\x89PNG") {
        "it is a picture (PNG)"
    } else if starts(b"tensor,type,") {
        "it is a CSV file of tensors (`import` reads it)"
    } else if json() {
        "it is JSON"
    } else if std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')) {
        "it is text (`watch` reads the log of a device)"
    } else {
        "it contains neither a checkpoint nor the record of a flash slot"
    };
    text.to_owned()
}
