//! Reads and writes files, and guesses the kind of a file that the user passed.

mod output_file;
mod temporary;

pub use output_file::{OutputFile, is_standard_stream};

use crate::tool::error::{CliError, Result};
use std::io::{self, Read};
use std::path::Path;

/// Reads a whole file. The path `-` is standard input.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    if !is_standard_stream(path) {
        return std::fs::read(path).map_err(CliError::io("read", path));
    }
    let mut bytes = Vec::new();
    io::stdin().lock().read_to_end(&mut bytes).map_err(CliError::io("read", "standard input".as_ref()))?;
    Ok(bytes)
}

/// Returns the ending of a file's name in lower case, for example `npz`. The ending selects the format of an output.
pub fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase)
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
