//! Reads a checkpoint from a file, a directory or a flash dump.

use crate::error::{CheckpointError, exception};
use crate::long_work;
use crate::shortest;
use numpy::PyReadwriteArray1;
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use std::path::PathBuf;
use std::sync::Arc;
use training_monitor_std::tool::error::{CliError, Result};
use training_monitor_std::tool::inspect::json;
use training_monitor_std::tool::inventory::flash_dump::Geometry;
use training_monitor_std::tool::inventory::{Inventory, Selection};
use training_monitor_std::tool::stream::{Purpose, Source, Stream, Tensor};

/// A checkpoint whose checksum is correct. The elements of its tensors are in its files.
#[pyclass(frozen, module = "training_monitor._native")]
pub struct StoredCheckpoint {
    pub stream: Stream,
}

/// The position of the elements of a tensor: the object, the tensor, the element type, the shape, the index of the file,
/// the offset in the file and the number of bytes.
type TensorPlace = (String, String, &'static str, Vec<u32>, usize, u64, u64);

impl StoredCheckpoint {
    /// Reads the bytes of a checkpoint file, and verifies its checksum.
    pub fn from_bytes(bytes: Vec<u8>) -> PyResult<Self> {
        let stream = Stream::read_source(&Arc::new(Source::from_bytes(bytes)), Purpose::Read);
        stream
            .map(|(stream, _)| StoredCheckpoint { stream })
            .map_err(|error| CheckpointError::new_err(error.to_string()))
    }

    fn tensor(&self, index: usize) -> PyResult<&Tensor> {
        let tensor = self.stream.tensors().nth(index);
        tensor.map(|(_, tensor)| tensor).ok_or_else(|| PyIndexError::new_err(format!("there is no tensor {index}")))
    }

    /// Returns the different sources of the elements, in the order of the tensors.
    fn sources(&self) -> Vec<&Arc<Source>> {
        let mut sources: Vec<&Arc<Source>> = Vec::new();
        for (_, tensor) in self.stream.tensors() {
            let (source, _) = tensor.payload.place();
            if !sources.iter().any(|known| Arc::ptr_eq(known, source)) {
                sources.push(source);
            }
        }
        sources
    }
}

#[pymethods]
impl StoredCheckpoint {
    #[getter]
    fn step(&self) -> u32 {
        self.stream.header.step
    }

    #[getter]
    fn sequence(&self) -> u32 {
        self.stream.header.sequence
    }

    #[getter]
    fn iteration(&self) -> u32 {
        self.stream.header.iteration
    }

    #[getter]
    fn score(&self) -> Option<f64> {
        self.stream.header.score.map(shortest)
    }

    #[getter]
    fn score_name(&self) -> Option<&str> {
        self.stream.header.score_name.as_deref()
    }

    #[getter]
    fn series(&self) -> &str {
        &self.stream.header.series_name
    }

    #[getter]
    fn rule(&self) -> &'static str {
        self.stream.header.rule_label()
    }

    #[getter]
    fn writer(&self) -> Option<&str> {
        self.stream.header.writer.as_deref()
    }

    /// The names of all objects, in order.
    #[getter]
    fn objects(&self) -> Vec<&str> {
        self.stream.objects.iter().map(|object| object.name.as_str()).collect()
    }

    /// The names and values of the metadata.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let metadata = PyDict::new(py);
        for (name, value) in &self.stream.header.metadata {
            metadata.set_item(name, PyBytes::new(py, value))?;
        }
        Ok(metadata)
    }

    /// The names and the bytes of the objects that are no tensors.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values = PyDict::new(py);
        for (name, payload) in self.stream.values() {
            values.set_item(name, PyBytes::new(py, &payload.to_vec().map_err(exception)?))?;
        }
        Ok(values)
    }

    /// The state of the engine and of the handlers as JSON; `None` if the checkpoint contains no such state.
    fn run(&self) -> Option<String> {
        self.stream.header.record().map(|record| json::run(record).to_string())
    }

    /// The tensors and the positions of their elements.
    fn tensors(&self) -> Vec<TensorPlace> {
        let sources = self.sources();
        let place = |(object, tensor): (&str, &Tensor)| {
            let (source, offset) = tensor.payload.place();
            let file = sources.iter().position(|known| Arc::ptr_eq(known, source)).unwrap_or_default();
            let (name, element_type) = (tensor.name.clone(), tensor.element_type.name());
            (object.to_owned(), name, element_type, tensor.shape.clone(), file, offset, tensor.payload.len())
        };
        self.stream.tensors().map(place).collect()
    }

    /// Opens the file with this index again and returns its descriptor, which the caller closes. Returns `None` if the
    /// elements are not in a file, or if the platform has no descriptors.
    fn open_file(&self, index: usize) -> PyResult<Option<i32>> {
        let sources = self.sources();
        let source = sources.get(index).ok_or_else(|| PyIndexError::new_err(format!("there is no file {index}")))?;
        let file = source.file().map_err(exception)?;
        #[cfg(unix)]
        return Ok(file.map(std::os::fd::IntoRawFd::into_raw_fd));
        #[cfg(not(unix))]
        return Ok(file.and(None));
    }

    /// Copies the little-endian elements of the tensor with this index to an array of bytes of the same size.
    fn read_tensor(&self, py: Python<'_>, index: usize, mut into: PyReadwriteArray1<'_, u8>) -> PyResult<()> {
        let (payload, into) = (&self.tensor(index)?.payload, into.as_slice_mut()?);
        long_work::run(py, || payload.read_into(into))
    }
}

/// Reads the bytes of a checkpoint file, and verifies its checksum.
#[pyfunction]
pub fn decode_checkpoint(bytes: Vec<u8>) -> PyResult<StoredCheckpoint> {
    StoredCheckpoint::from_bytes(bytes)
}

/// Reads the newest checkpoint at a path, or the one that the arguments select, and verifies its checksum.
#[pyfunction]
#[pyo3(signature = (path, step, best, series, region, slots))]
pub fn read_checkpoint(
    py: Python<'_>,
    path: PathBuf,
    step: Option<u32>,
    best: bool,
    series: Option<String>,
    region: Option<(usize, usize)>,
    slots: Option<u32>,
) -> PyResult<StoredCheckpoint> {
    let selection = Selection { step, best, series };
    let geometry = Geometry { region: region.map(|(start, end)| start..end), slots };
    long_work::run(py, || read(path, &selection, &geometry)).map(|stream| StoredCheckpoint { stream })
}

fn read(path: PathBuf, selection: &Selection, geometry: &Geometry) -> Result<Stream> {
    if path == std::path::Path::new("-") {
        return Err(CliError::usage("standard input is no checkpoint; pass the path of a file or a directory"));
    }
    let inventory = Inventory::new(&path, geometry)?;
    match inventory.select(selection) {
        Ok(checkpoint) => Ok(checkpoint.merged_stream()),
        Err(error) => match inventory.losses().next() {
            // The reason explains why the checkpoint is not available.
            Some(loss) if inventory.checkpoint_count() == 0 => {
                let reason = format!("there is no intact checkpoint: {}: {}", loss.place, loss.reason);
                Err(CliError::content(&path, reason))
            }
            _ => Err(error),
        },
    }
}
