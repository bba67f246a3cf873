//! Collects the tensors of a file that is being imported. The elements stay in the file if it contains them in the form
//! of a checkpoint. Otherwise they are converted, and the result is written to a spool file.

use crate::tool::elements::push_bits;
use crate::tool::error::{CliError, Result};
use crate::tool::numbers::count;
use crate::tool::stats::{StatsCollector, TensorStats};
use crate::tool::stream::{Payload, Source, Spool, Tensor};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use training_monitor::checkpoint::{ElementType, MAX_RANK};

/// The number of bytes that [`Elements`] collects before it writes them to the spool file.
const BUFFER: usize = 64 * 1024;

/// Where the elements of a tensor are.
enum Place {
    File(Payload),
    /// The offset and the length in the spool file.
    Spool(u64, u64),
}

/// The name, the element type and the shape of a tensor that a checkpoint can contain.
#[derive(Clone)]
pub struct Layout {
    pub name: String,
    pub element_type: ElementType,
    pub shape: Vec<u32>,
    /// The number of elements.
    pub elements: u64,
}

impl Layout {
    /// Checks the description of a tensor. Returns an error if a checkpoint cannot contain it.
    pub fn new(path: &Path, name: &str, element_type: ElementType, shape: &[u64]) -> Result<Layout> {
        let error = |reason: String| Err(CliError::content(path, format!("tensor {name} {reason}")));
        if shape.len() > MAX_RANK {
            return error(format!("has {} dimensions; a checkpoint allows at most {MAX_RANK}", shape.len()));
        }
        let sides: std::result::Result<Vec<u32>, _> = shape.iter().map(|side| u32::try_from(*side)).collect();
        let Ok(sides) = sides else {
            return error(format!("has the shape {shape:?}; a dimension must be less than 2³²"));
        };
        let elements = shape.iter().try_fold(1_u64, |product, side| product.checked_mul(*side));
        let elements = if shape.contains(&0) { Some(0) } else { elements };
        let bytes = elements.and_then(|elements| elements.checked_mul(element_type.size().into()));
        match (elements, bytes) {
            (Some(elements), Some(bytes)) if bytes <= u32::MAX.into() => {
                Ok(Layout { name: name.to_owned(), element_type, shape: sides, elements })
            }
            _ => error(format!(
                "has the shape {shape:?} and the type {element_type}; a checkpoint allows less than 4 GiB"
            )),
        }
    }

    /// Returns the number of bytes of all elements.
    pub fn len(&self) -> u64 {
        self.elements * u64::from(self.element_type.size())
    }

    /// Returns an error if the tensor does not have `found` elements.
    pub fn check_count(&self, path: &Path, found: u64) -> Result<()> {
        if found == self.elements {
            return Ok(());
        }
        let (name, shape, found) = (&self.name, &self.shape, count(found as usize, "element"));
        Err(CliError::content(path, format!("tensor {name} has the shape {shape:?}, which does not match its {found}")))
    }
}

/// Checks the elements of a tensor and computes their statistics.
pub struct ElementCheck {
    element_type: ElementType,
    stats: StatsCollector,
    has_invalid_bool: bool,
}

impl ElementCheck {
    pub fn new(element_type: ElementType) -> ElementCheck {
        ElementCheck { element_type, stats: StatsCollector::new(element_type), has_invalid_bool: false }
    }

    pub fn add(&mut self, bytes: &[u8]) {
        self.stats.add(bytes);
        if self.element_type == ElementType::Bool {
            self.has_invalid_bool |= bytes.iter().fold(0, |all, byte| all | byte) > 1;
        }
    }

    fn finish(self, path: &Path, name: &str) -> Result<TensorStats> {
        if self.has_invalid_bool {
            let reason = format!("tensor {name} has the type bool, but an element is neither 0 nor 1");
            return Err(CliError::content(path, reason));
        }
        Ok(self.stats.finish())
    }
}

/// Collects the tensors of a file.
pub struct Importer<'a> {
    path: &'a Path,
    source: Arc<Source>,
    spool: Option<Spool>,
    tensors: Vec<(Layout, Place, TensorStats)>,
    names: HashSet<String>,
}

impl<'a> Importer<'a> {
    pub fn new(path: &'a Path, source: &Arc<Source>) -> Importer<'a> {
        let source = Arc::clone(source);
        Importer { path, source, spool: None, tensors: vec![], names: HashSet::new() }
    }

    pub const fn path(&self) -> &'a Path {
        self.path
    }

    pub const fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Returns an error that names the file.
    pub fn error<T>(&self, reason: impl std::fmt::Display) -> Result<T> {
        Err(CliError::content(self.path, reason))
    }

    fn push(&mut self, layout: Layout, place: Place, check: ElementCheck) -> Result<()> {
        let stats = check.finish(self.path, &layout.name)?;
        if !self.names.insert(layout.name.clone()) {
            return self.error(format_args!("the file contains tensor {} twice", layout.name));
        }
        self.tensors.push((layout, place, stats));
        Ok(())
    }

    /// Adds a tensor whose elements are in the file, in the form of a checkpoint. `check` has received all of them.
    pub fn add_in_file(&mut self, layout: Layout, payload: Payload, check: ElementCheck) -> Result<()> {
        self.push(layout, Place::File(payload), check)
    }

    /// Starts a tensor whose elements are converted.
    pub fn start(&mut self, element_type: ElementType) -> Result<Elements> {
        let spool = match self.spool.take() {
            Some(spool) => spool,
            None => Spool::new()?,
        };
        let (start, check) = (spool.len(), ElementCheck::new(element_type));
        Ok(Elements { spool, start, buffer: Vec::with_capacity(BUFFER + 8), check, len: 0 })
    }

    /// Ends a tensor whose elements were converted.
    pub fn finish_elements(&mut self, layout: Layout, mut elements: Elements) -> Result<()> {
        elements.flush()?;
        layout.check_count(self.path, elements.count())?;
        let Elements { spool, start, check, len, .. } = elements;
        self.spool = Some(spool);
        self.push(layout, Place::Spool(start, len), check)
    }

    /// Returns all tensors in the order in which they were added.
    pub fn finish(self) -> Result<Vec<Tensor>> {
        let spool = self.spool.map(|spool| spool.finish(self.path)).transpose()?;
        let tensor = |(layout, place, stats): (Layout, Place, TensorStats)| {
            let payload = match (place, &spool) {
                (Place::File(payload), _) => payload,
                (Place::Spool(start, len), Some(spool)) => Payload::new(spool, start, len),
                (Place::Spool(..), None) => Payload::default(),
            };
            let Layout { name, element_type, shape, .. } = layout;
            Tensor { name, element_type, shape, payload, stats: Some(stats) }
        };
        Ok(self.tensors.into_iter().map(tensor).collect())
    }
}

/// The elements of a tensor that are being converted. They are appended to the spool file.
pub struct Elements {
    spool: Spool,
    /// The offset of the first element in the spool file.
    start: u64,
    buffer: Vec<u8>,
    check: ElementCheck,
    /// The number of bytes so far.
    len: u64,
}

impl Elements {
    /// Returns the number of elements so far.
    pub fn count(&self) -> u64 {
        self.len / u64::from(self.check.element_type.size())
    }

    pub const fn element_type(&self) -> ElementType {
        self.check.element_type
    }

    /// Appends whole elements in little-endian byte order.
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.len += bytes.len() as u64;
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush() }
    }

    /// Appends an element with these bits.
    pub fn push_bits(&mut self, bits: u64) -> Result<()> {
        push_bits(self.check.element_type, bits, &mut self.buffer);
        self.len += u64::from(self.check.element_type.size());
        if self.buffer.len() < BUFFER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<()> {
        self.check.add(&self.buffer);
        self.spool.write(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
