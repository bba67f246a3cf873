//! Writes checkpoint files and flash images.

use crate::checkpoint::StoredCheckpoint;
use crate::error::write_error;
use crate::long_work;
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use training_monitor_std::tool::elements::parse_type;
use training_monitor_std::tool::error::{CliError, Result};
use training_monitor_std::tool::exchange::Layout;
use training_monitor_std::tool::exchange::import::flash_image::FlashImage;
use training_monitor_std::tool::files::OutputFile;
use training_monitor_std::tool::inventory::flash_dump::Geometry;
use training_monitor_std::tool::stream::{Content, Object, Payload, ReadAt, Source, Stream, StreamHeader, Tensor};

/// The arrays of a checkpoint and the fields of its header. A field that is `None` has the value of the checkpoint `like`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Contents<'py> {
    /// The names of the objects, and their tensors or bytes.
    objects: Vec<(String, Bound<'py, PyAny>)>,
    like: Option<Bound<'py, StoredCheckpoint>>,
    step: Option<u32>,
    iteration: Option<u32>,
    score: Option<f32>,
    score_name: Option<String>,
    metadata: Option<Vec<(String, Vec<u8>)>>,
    allow_non_finite: bool,
}

/// The name, the element type, the shape and the little-endian bytes of a tensor.
type TensorArray<'py> = (String, String, Vec<u64>, Bound<'py, PyArray1<u8>>);

/// An array of Python. Its elements are copied in small pieces, so that a save needs no second copy of the model.
#[derive(Debug)]
struct Array(Py<PyArray1<u8>>);

impl ReadAt for Array {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        Python::attach(|py| {
            let array = self.0.bind(py).try_readonly().map_err(io::Error::other)?;
            let bytes = array.as_slice().map_err(io::Error::other)?;
            let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }
}

impl Contents<'_> {
    /// Converts the arrays to a stream. `path` is the output, for error messages.
    pub fn to_stream(&self, path: &Path) -> PyResult<Stream> {
        let like = self.like.as_ref().map(|like| &like.get().stream);
        let new = || StreamHeader { step: 1, sequence: 1, ..StreamHeader::default() };
        let mut header = like.map_or_else(new, |like| like.header.clone());
        header.save_id = 0;
        header.step = self.step.unwrap_or(header.step);
        header.iteration = self.iteration.unwrap_or(header.iteration);
        header.score = self.score.or(header.score);
        header.score_name = self.score_name.clone().or(header.score_name);
        if let Some(metadata) = &self.metadata {
            header.metadata.clone_from(metadata);
        }
        let mut stream = Stream { header, object_names: vec![], objects: vec![] };
        for (name, content) in &self.objects {
            let content = match content.cast::<PyBytes>() {
                Ok(bytes) => Content::Value(Payload::from(bytes.as_bytes().to_vec())),
                Err(_) => Content::Tensors(
                    content
                        .extract::<Vec<TensorArray<'_>>>()?
                        .into_iter()
                        .map(|array| tensor(path, array))
                        .collect::<PyResult<_>>()?,
                ),
            };
            stream.objects.push(Object { name: name.clone(), content });
        }
        stream.update_signature();
        Ok(stream)
    }
}

/// Returns a stream as the bytes of a checkpoint file. `name` is the place of the checkpoint in error messages.
pub fn to_bytes(name: &Path, stream: &Stream, allow_non_finite: bool) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.write_checked(name, &mut bytes, allow_non_finite).map_err(|error| write_error(name, error))?;
    Ok(bytes)
}

/// Returns the bytes of a checkpoint file.
#[pyfunction]
pub fn encode_checkpoint<'py>(
    py: Python<'py>,
    name: PathBuf,
    contents: Contents<'py>,
) -> PyResult<Bound<'py, PyBytes>> {
    let (stream, allow_non_finite) = (contents.to_stream(&name)?, contents.allow_non_finite);
    let bytes = long_work::run(py, move || to_bytes(&name, &stream, allow_non_finite))?;
    Ok(PyBytes::new(py, &bytes))
}

fn tensor(path: &Path, (name, element_type, shape, array): TensorArray<'_>) -> PyResult<Tensor> {
    let unknown = || PyTypeError::new_err(format!("tensor {name}: a checkpoint has no element type {element_type}"));
    let element_type = parse_type(&element_type).ok_or_else(unknown)?;
    let layout = Layout::new(path, &name, element_type, &shape).map_err(crate::error::exception)?;
    let len = layout.len();
    let source = Arc::new(Source::from_elsewhere(path, Box::new(Array(array.unbind())), len));
    Ok(Tensor { name, element_type, shape: layout.shape, payload: Payload::new(&source, 0, len), stats: None })
}

/// Writes `write` to a new file, which replaces the file `path` when it is complete.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    if path == Path::new("-") {
        return Err(CliError::usage("standard output is no file; pass the path of a file"));
    }
    let mut output = OutputFile::create(path, &[], true)?;
    write(&mut output)?;
    output.commit()
}

/// Writes a checkpoint file.
#[pyfunction]
pub fn write_checkpoint(py: Python<'_>, path: PathBuf, contents: Contents<'_>) -> PyResult<()> {
    let (stream, allow_non_finite) = (contents.to_stream(&path)?, contents.allow_non_finite);
    long_work::run(py, move || {
        replace(&path, |output| {
            let written = stream.write_checked(&path, output, allow_non_finite);
            written.map(drop).map_err(|error| write_error(&path, error))
        })
    })
}

/// Writes a flash image: a copy of the dump `into` in which the checkpoint is the newest, or a new image with `slots`
/// slots of `slot_size` bytes.
#[pyfunction]
#[pyo3(signature = (path, contents, slot_size, slots, into, region, series))]
#[allow(clippy::too_many_arguments)]
pub fn write_flash_image(
    py: Python<'_>,
    path: PathBuf,
    contents: Contents<'_>,
    slot_size: Option<usize>,
    slots: Option<u32>,
    into: Option<PathBuf>,
    region: Option<(usize, usize)>,
    series: Option<String>,
) -> PyResult<()> {
    let (stream, allow_non_finite) = (contents.to_stream(&path)?, contents.allow_non_finite);
    long_work::run(py, move || {
        // A device has checked its elements when it saved them. The elements of this image come from elsewhere.
        stream.write_checked(&path, &mut io::sink(), allow_non_finite).map_err(|error| write_error(&path, error))?;
        let image = match (into, slot_size, slots) {
            (Some(dump), None, slots) => {
                let geometry = Geometry { region: region.map(|(start, end)| start..end), slots };
                FlashImage::insert(&dump, &geometry, series.as_deref(), stream)?
            }
            (None, Some(slot_size), Some(slots)) => FlashImage::create(slot_size, slots as usize, stream)?,
            _ => return Err(CliError::usage("a flash image needs `into`, or `slots` and `slot_size` for a new image")),
        };
        replace(&path, |output| image.write(output).map_err(|error| write_error(&path, error)))
    })
}
