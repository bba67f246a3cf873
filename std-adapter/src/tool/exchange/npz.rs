//! Reads and writes NumPy's `.npz` files, which are zip archives of arrays. The metadata is in the comments of the
//! archive and of its members, so that `dict(numpy.load(file))` contains only tensors.
//!
//! NumPy has no type for bf16. A tensor of bf16 is an array of elements of two bytes (type `V2`), as `numpy.save`
//! writes an array of the package `ml_dtypes`. After `numpy.load`, `array.view(ml_dtypes.bfloat16)` has the numbers.

use super::TensorFile;
use super::importer::{ElementCheck, Importer, Layout};
use super::metadata::{NAME, RunMetadata};
use super::npy::{self, NpyHeader, shortened};
use super::transpose::to_row_major;
use crate::tool::error::{CliError, Result};
use crate::tool::stream::{Payload, SourceReader, Spool, WriteError};
use std::fmt::Display;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use zip::read::ZipFile;
use zip::result::ZipError;
use zip::write::FullFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// The maximum length of a comment. A zip archive allows 64 KiB for the comment and the name of a member together.
const MAX_COMMENT: usize = 60_000;

/// The number of bytes from which a member needs the format for large files.
const LARGE: u64 = u32::MAX as u64 - 4096;

pub fn write(file: &TensorFile, output: &mut dyn Write) -> std::result::Result<(), WriteError> {
    // The archive and its members have one comment each.
    let text = match &file.metadata {
        Some(metadata) => format!("{NAME}{}", escape(&metadata.to_json()?)),
        None => String::new(),
    };
    let mut comments = text.as_bytes().chunks(MAX_COMMENT).map(|piece| String::from_utf8_lossy(piece).into_owned());
    let mut zip = ZipWriter::new_stream(output);
    zip.set_raw_comment(comments.next().unwrap_or_default().into_bytes().into()).map_err(zip_error)?;
    for tensor in &file.tensors {
        let mut options = FullFileOptions::default()
            .compression_method(CompressionMethod::STORE)
            .large_file(tensor.payload.len() >= LARGE);
        if let Some(comment) = comments.next() {
            options = options.with_file_comment(comment);
        }
        zip.start_file(format!("{}.npy", tensor.name), options).map_err(zip_error)?;
        zip.write_all(&npy::header(tensor.element_type, &tensor.shape))?;
        tensor.payload.for_each_chunk(|chunk| zip.write_all(chunk).map_err(WriteError::Output))?;
    }
    if comments.next().is_some() {
        let reason = format!(
            "the run metadata have {} bytes, but the comments of an npz file with {} tensors have {}; use safetensors",
            text.len(),
            file.tensors.len(),
            (file.tensors.len() + 1) * MAX_COMMENT
        );
        return Err(CliError::usage(reason).into());
    }
    zip.finish().map_err(zip_error)?;
    Ok(())
}

fn zip_error(error: ZipError) -> WriteError {
    match error {
        ZipError::Io(cause) => WriteError::Output(cause),
        error => WriteError::Input(CliError::other(error)),
    }
}

/// Replaces all characters of a JSON text that are not ASCII by their JSON escapes. A comment has no certain encoding.
fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            character.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped += &format!("\\u{unit:04x}"));
        }
    }
    escaped
}

type Archive = ZipArchive<BufReader<SourceReader>>;

pub fn read(mut importer: Importer<'_>) -> Result<TensorFile> {
    let path = importer.path();
    let invalid = |error: &dyn Display| CliError::content(path, format!("invalid or truncated npz file: {error}"));
    let reader = BufReader::new(SourceReader::new(importer.source()));
    let mut archive = ZipArchive::new(reader).map_err(|error| invalid(&error))?;
    let metadata = read_metadata(path, &mut archive)?;
    for index in 0..archive.len() {
        let file = archive.by_index(index).map_err(|error| invalid(&error))?;
        read_array(&mut importer, file)?;
    }
    Ok(TensorFile { tensors: importer.finish()?, metadata })
}

fn read_metadata(path: &Path, archive: &mut Archive) -> Result<Option<RunMetadata>> {
    let mut text = String::from_utf8_lossy(archive.comment()).into_owned();
    if !text.starts_with(NAME) {
        return Ok(None);
    }
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(|error| CliError::content(path, error))?;
        text += file.comment();
    }
    RunMetadata::parse(path, text.get(NAME.len()..).unwrap_or_default()).map(Some)
}

fn read_array<R: Read>(importer: &mut Importer<'_>, mut file: ZipFile<'_, R>) -> Result<()> {
    let path = importer.path();
    let full_name = file.name().map_err(|error| CliError::content(path, error))?.into_owned();
    let Some(name) = full_name.strip_suffix(".npy") else {
        let remedy = "PyTorch's own files are pickles, which this tool never executes; save the weights as safetensors";
        return importer.error(format_args!("member {full_name} is not an array of NumPy. {remedy}"));
    };
    let error = |reason: &dyn Display| CliError::content(path, format!("tensor {name}: {reason}"));
    let header = NpyHeader::read(&mut file).map_err(|reason| error(&reason))?;
    let Some((element_type, is_big_endian)) = header.element_type() else {
        let found = shortened(&header.descriptor);
        return importer.error(format_args!("tensor {name} has the type {found}, which a checkpoint does not have"));
    };
    let layout = Layout::new(path, name, element_type, &header.shape)?;
    let len = file.size().saturating_sub(header.len as u64);
    if len != layout.len() {
        layout.check_count(path, len / u64::from(element_type.size()))?;
        return Err(error(&format_args!("{} bytes follow the last element", len - layout.len())));
    }
    let is_direct = !is_big_endian && !header.is_column_major && file.compression() == CompressionMethod::STORE;
    if let Some(start) = file.data_start().filter(|_| is_direct) {
        let mut check = ElementCheck::new(element_type);
        read_elements(&mut file, len, |chunk| {
            check.add(chunk);
            Ok(())
        })
        .map_err(|failure| failure.named(error))?;
        let payload = Payload::new(importer.source(), start + header.len as u64, len);
        return importer.add_in_file(layout, payload, check);
    }
    let swap = |chunk: &mut [u8]| {
        if is_big_endian {
            chunk.chunks_exact_mut(element_type.size() as usize).for_each(<[u8]>::reverse);
        }
    };
    let mut elements = importer.start(element_type)?;
    if header.is_column_major {
        let mut columns = Spool::new()?;
        read_elements(&mut file, len, |chunk| {
            swap(chunk);
            columns.write(chunk)
        })
        .map_err(|failure| failure.named(error))?;
        let columns = columns.into_payload(path)?;
        let size = element_type.size().into();
        to_row_major(path, &columns, &layout.shape, size, &mut |bytes| elements.push_bytes(bytes))?;
    } else {
        read_elements(&mut file, len, |chunk| {
            swap(chunk);
            elements.push_bytes(chunk)
        })
        .map_err(|failure| failure.named(error))?;
    }
    importer.finish_elements(layout, elements)
}

/// The reason why the elements of an array cannot be read.
enum ArrayError {
    Read(io::Error),
    Other(CliError),
}

impl ArrayError {
    /// Adds the name of the tensor.
    fn named(self, error: impl Fn(&dyn Display) -> CliError) -> CliError {
        match self {
            ArrayError::Read(cause) => error(&cause),
            ArrayError::Other(error) => error,
        }
    }
}

/// Passes `len` bytes to `receive`, in chunks of whole elements. Then verifies the checksum of the member.
fn read_elements(
    file: &mut impl Read,
    len: u64,
    mut receive: impl FnMut(&mut [u8]) -> Result<()>,
) -> std::result::Result<(), ArrayError> {
    let (mut rest, mut chunk) = (len, vec![0; 128 * 1024]);
    while rest > 0 {
        let count = rest.min(chunk.len() as u64) as usize;
        file.read_exact(&mut chunk[..count]).map_err(ArrayError::Read)?;
        receive(&mut chunk[..count]).map_err(ArrayError::Other)?;
        rest -= count as u64;
    }
    match file.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(ArrayError::Read(io::Error::other("bytes follow the last element"))),
        Err(cause) => Err(ArrayError::Read(cause)),
    }
}
