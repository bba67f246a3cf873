//! Reads a checkpoint file and checks every rule of the format, also those that a microcontroller has no memory to
//! check: all names are unique, the object of the file is in the list of objects, and nothing follows the checkpoint.
//!
//! [`Directory`](crate::Directory) and the command line tool read files with this function, so they agree on which
//! files are valid.

use crate::checksum::Crc32Fast;
use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use training_monitor::checkpoint::{DecodeError, Info, Inspect, RankingRule, Tensor, inspect_with};
use training_monitor::embedded_io::Read;
use training_monitor::run_record::RunRecord;

/// Why a file is not a valid checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InspectError<E> {
    /// The decoder of the core crate refused the file.
    Decode(DecodeError<E>),
    /// The file is truncated within or after an item.
    Truncated {
        /// The last item whose name was read: an object, or a tensor with the name of its object, as in `model.bias`.
        item: String,
    },
    /// The file is malformed within or after an item.
    Malformed {
        /// The last item whose name was read.
        item: String,
    },
    /// Two objects have the same name.
    DuplicateObject {
        /// The name.
        object: String,
    },
    /// Two tensors of an object have the same name.
    DuplicateTensor {
        /// The name of the object.
        object: String,
        /// The name of the tensors.
        tensor: String,
    },
    /// The file contains an object that is not in its list of objects.
    UnlistedObject {
        /// The name of the object.
        object: String,
    },
    /// Bytes follow the end of the checkpoint.
    TrailingBytes {
        /// The number of these bytes.
        count: u64,
    },
}

impl<E> From<DecodeError<E>> for InspectError<E> {
    fn from(error: DecodeError<E>) -> Self {
        InspectError::Decode(error)
    }
}

impl<E: fmt::Display> fmt::Display for InspectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InspectError::Decode(error) => error.fmt(f),
            InspectError::Truncated { item } => write!(f, "the checkpoint is truncated in or after `{item}`"),
            InspectError::Malformed { item } => write!(f, "the checkpoint is malformed in or after `{item}`"),
            InspectError::DuplicateObject { object } => write!(f, "the checkpoint contains object `{object}` twice"),
            InspectError::DuplicateTensor { object, tensor } => {
                write!(f, "object `{object}` of the checkpoint contains tensor `{tensor}` twice")
            }
            InspectError::UnlistedObject { object } => {
                write!(f, "the checkpoint contains object `{object}`, which is not in its list of objects")
            }
            InspectError::TrailingBytes { count } => write!(f, "{count} bytes follow the end of the checkpoint"),
        }
    }
}

impl<E: Error + 'static> Error for InspectError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            InspectError::Decode(error) => error.source(),
            _ => None,
        }
    }
}

/// Reads a checkpoint file to its end, passes its contents to `visitor`, and checks every rule of the format. Tensors
/// and values are passed in chunks; `scratch` is the buffer for one chunk.
///
/// # Errors
/// Returns an [`InspectError`] if the file is not a valid checkpoint. The visitor may have received contents that are
/// damaged.
pub fn inspect<R: Read, I: Inspect>(
    reader: &mut R,
    scratch: &mut [u8],
    visitor: &mut I,
) -> Result<Info, InspectError<R::Error>> {
    let mut checker = NameChecker {
        visitor,
        listed: HashSet::new(),
        objects: HashSet::new(),
        object: String::new(),
        tensors: HashSet::new(),
        violation: None,
        item: String::new(),
    };
    let result = inspect_with::<Crc32Fast, _, _>(reader, scratch, &mut checker);
    let item = checker.item;
    let info = match result {
        Err(DecodeError::Truncated) if !item.is_empty() => return Err(InspectError::Truncated { item }),
        Err(DecodeError::Malformed) if !item.is_empty() => return Err(InspectError::Malformed { item }),
        result => result?,
    };
    match checker.violation {
        Some(Violation::DuplicateObject(object)) => return Err(InspectError::DuplicateObject { object }),
        Some(Violation::DuplicateTensor(object, tensor)) => {
            return Err(InspectError::DuplicateTensor { object, tensor });
        }
        Some(Violation::UnlistedObject(object)) => return Err(InspectError::UnlistedObject { object }),
        None => (),
    }
    let mut count = 0;
    loop {
        match reader.read(scratch).map_err(DecodeError::Io)? {
            0 if count > 0 => return Err(InspectError::TrailingBytes { count }),
            0 => return Ok(info),
            more => count += more as u64,
        }
    }
}

/// A rule of the format that the names of a checkpoint violate.
enum Violation {
    DuplicateObject(String),
    /// The names of the object and of the tensor.
    DuplicateTensor(String, String),
    UnlistedObject(String),
}

/// Checks the names of a checkpoint and passes its contents to another visitor.
struct NameChecker<'a, I> {
    visitor: &'a mut I,
    /// The list of all objects. It is empty if the file contains all objects.
    listed: HashSet<String>,
    /// The objects in the file.
    objects: HashSet<String>,
    /// The last object.
    object: String,
    /// The tensors of the last object.
    tensors: HashSet<String>,
    /// The first violation.
    violation: Option<Violation>,
    /// The last object, or the last tensor with the name of its object.
    item: String,
}

impl<I> NameChecker<'_, I> {
    fn start_object(&mut self, object: &str) {
        self.item.clear();
        self.item.push_str(object);
        if !self.objects.insert(object.to_owned()) {
            self.violation.get_or_insert(Violation::DuplicateObject(object.to_owned()));
        }
        if !self.listed.is_empty() && !self.listed.contains(object) {
            self.violation.get_or_insert(Violation::UnlistedObject(object.to_owned()));
        }
    }
}

impl<I: Inspect> Inspect for NameChecker<'_, I> {
    fn score_name(&mut self, name: &str) {
        self.visitor.score_name(name);
    }
    fn object_name(&mut self, name: &str) {
        if !self.listed.insert(name.to_owned()) {
            self.violation.get_or_insert(Violation::DuplicateObject(name.to_owned()));
        }
        self.visitor.object_name(name);
    }
    fn series(&mut self, name: &str, rule: RankingRule) {
        self.visitor.series(name, rule);
    }
    fn run(&mut self, record: &RunRecord<[u8]>) {
        self.visitor.run(record);
    }
    fn state_dict(&mut self, object: &str, tensors: u32) {
        self.start_object(object);
        self.object = object.to_owned();
        self.tensors.clear();
        self.visitor.state_dict(object, tensors);
    }
    fn tensor(&mut self, tensor: Tensor<'_>) {
        if !self.tensors.insert(tensor.name.to_owned()) {
            let names = Violation::DuplicateTensor(self.object.clone(), tensor.name.to_owned());
            self.violation.get_or_insert(names);
        }
        self.item.clear();
        self.item.extend([&self.object, ".", tensor.name]);
        self.visitor.tensor(tensor);
    }
    fn writer(&mut self, version: &str) {
        self.visitor.writer(version);
    }
    fn metadata(&mut self, name: &str, len: u32) {
        self.visitor.metadata(name, len);
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.visitor.payload(bytes);
    }
    fn value(&mut self, object: &str, len: u32) {
        self.start_object(object);
        self.visitor.value(object, len);
    }
}
