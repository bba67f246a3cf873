//! The command `import`. It converts a file of tensors to a checkpoint file or to a flash image with a checkpoint.
//!
//! The state of the run and the other values come from the metadata in the file, or from a template. The command
//! reports an error if the template lacks a tensor of the file. It also reports an error if the file lacks a tensor of
//! the template, unless the template contains the elements of this tensor.

mod flash_image;

use super::{NamedTensor, TensorFile, file_name_of};
use crate::error::{CliError, Result};
use crate::files::{self, OutputFile};
use crate::inventory::flash_dump::Geometry;
use crate::inventory::{Inventory, Selection};
use crate::numbers::{count, parse_byte_count};
use crate::output::print_line;
use crate::stream::{Content, Object, Stream, StreamHeader, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use training_monitor::checkpoint::MAX_NAME;

/// The kind of file that `import` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Target {
    /// A checkpoint file with all objects
    Checkpoint,
    /// A flash image that contains the checkpoint in one of its slots. The image can be written to the flash of a
    /// device.
    FlashImage,
}

impl Target {
    /// Returns the kind of file that the ending of a file's name selects.
    fn from_extension(path: &Path) -> Option<Target> {
        match files::extension(path)?.as_str() {
            "ckpt" => Some(Target::Checkpoint),
            "bin" | "img" => Some(Target::FlashImage),
            _ => None,
        }
    }
}

/// Converts a file of tensors to a checkpoint file or a flash image.
///
/// The command detects the format of FILE from its content: safetensors, npz, json, csv or a checkpoint. The state of
/// the run comes from the metadata that `export` wrote, or from --template. The device then resumes that run with the
/// new weights. Without metadata and template, the checkpoint contains only tensors.
#[derive(clap::Args, Debug)]
pub struct Import {
    /// A file of tensors, or a checkpoint file; `-` for standard input
    pub file: PathBuf,
    /// The kind of file to write. By default, the ending of the output selects it: .ckpt for a checkpoint, .bin or .img
    /// for a flash image.
    #[arg(long, value_name = "KIND")]
    pub to: Option<Target>,
    /// The file to write, or `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Take the state of the run, the handlers, the values and the order of the tensors from this checkpoint, directory
    /// or flash dump.
    #[arg(long, value_name = "PATH")]
    pub template: Option<PathBuf>,
    #[command(flatten)]
    pub selection: Selection,
    /// The object name for tensors whose names have no dot
    #[arg(long, value_name = "NAME", default_value = "model")]
    pub object: String,
    /// Override the checkpoint's score
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub score: Option<f32>,
    /// Write a copy of this flash dump, in which the imported checkpoint is the newest.
    #[arg(long, value_name = "DUMP")]
    pub into: Option<PathBuf>,
    /// For a new image: the size of a slot in bytes. It must be a multiple of the erase block size of the flash. The
    /// suffixes K and M mean 1024 and 1024² bytes.
    #[arg(long, value_name = "BYTES", value_parser = parse_byte_count, conflicts_with_all = ["into", "region"], requires = "slots")]
    pub slot_size: Option<usize>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs the command `import`.
pub fn import(arguments: &Import) -> Result<ExitCode> {
    let file = &arguments.file;
    let target = arguments.to.or_else(|| Target::from_extension(&arguments.output)).ok_or_else(|| {
        CliError::usage("the kind of output is unknown: use --to, or a file with the ending .ckpt, .bin or .img")
    })?;
    let bytes = files::read(file)?;
    let template = match &arguments.template {
        Some(path) => Some(Inventory::new(path, &Geometry::default())?.select(&arguments.selection)?.merged_stream()),
        None => None,
    };
    let mut stream = if bytes.starts_with(b"TMCK") {
        Stream::read(&bytes).map_err(|error| CliError::content(file, error))?
    } else {
        to_stream(file, TensorFile::read(file, &bytes)?, template, &arguments.object)?
    };
    if let Some(score) = arguments.score {
        if score.is_nan() {
            return Err(CliError::usage("--score must be a number, not NaN"));
        }
        stream.header.score = Some(score);
    }
    let (bytes, summary) = match target {
        Target::Checkpoint => {
            let bytes = stream.write().map_err(|error| CliError::content(file, error))?;
            let summary = format!("step {} ({})", stream.header.step, count(bytes.len(), "byte"));
            (bytes, summary)
        }
        Target::FlashImage => flash_image::build(arguments, stream)?,
    };
    let inputs: Vec<&Path> = [Some(file), arguments.template.as_ref(), arguments.into.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| &**path)
        .collect();
    let output = OutputFile::create(&arguments.output, &inputs, arguments.force)?;
    let is_regular_file = output.is_regular_file();
    output.write_whole(&bytes)?;
    if is_regular_file {
        print_line(format_args!("wrote {summary} to {}", arguments.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Converts a file of tensors to a checkpoint stream. The function uses the template if there is one, and otherwise the
/// metadata in the file. `object` is the object name for tensors whose names have no dot.
pub(super) fn to_stream(path: &Path, file: TensorFile, template: Option<Stream>, object: &str) -> Result<Stream> {
    let TensorFile { tensors, metadata } = file;
    match (template, metadata) {
        (Some(template), _) => fill_template(path, template, tensors, true),
        (None, Some(metadata)) => fill_template(path, metadata.template(path)?, tensors, false),
        (None, None) => tensors_only(path, tensors, object),
    }
}

/// Copies the tensors of a file into the template. The types must be equal. If `has_elements` is true, the template is
/// a complete checkpoint: a tensor that is missing in the file keeps the elements of the template, and the shapes must
/// be equal, too.
fn fill_template(path: &Path, mut template: Stream, tensors: Vec<NamedTensor>, has_elements: bool) -> Result<Stream> {
    let error = |reason: String| Err(CliError::content(path, reason));
    let mut by_name = BTreeMap::new();
    for tensor in tensors {
        if let Some(tensor) = by_name.insert(tensor.name.clone(), tensor) {
            return error(format!("the file contains tensor {} twice", tensor.name));
        }
    }
    for object in &mut template.objects {
        let Content::Tensors(targets) = &mut object.content else { continue };
        for target in targets {
            let name = file_name_of(&object.name, target);
            match by_name.remove(&name) {
                Some(NamedTensor { element_type, shape, bytes, .. }) => {
                    if element_type != target.element_type {
                        let expected = target.element_type;
                        return error(format!(
                            "tensor {name} has the type {element_type}, but the checkpoint to fill has {expected}; \
                             convert the tensor"
                        ));
                    }
                    if has_elements && shape != target.shape {
                        let expected = &target.shape;
                        return error(format!(
                            "tensor {name} has the shape {shape:?}, but the template has {expected:?}"
                        ));
                    }
                    (target.shape, target.bytes) = (shape, bytes);
                }
                None if has_elements => (),
                None => return error(format!("tensor {name} is missing; use --template to take it from a checkpoint")),
            }
        }
    }
    match by_name.keys().next() {
        Some(name) => error(format!("the checkpoint to fill has no tensor with the name {name}")),
        None => Ok(template),
    }
}

/// Creates a checkpoint that contains only tensors, from a file without metadata. In the name of a tensor, the part
/// before the first dot is the name of its object. `object` is the name of the object if there is no dot.
fn tensors_only(path: &Path, tensors: Vec<NamedTensor>, object: &str) -> Result<Stream> {
    let (mut objects, mut indices) = (Vec::<Object>::new(), BTreeMap::new());
    let mut names = BTreeSet::new();
    for NamedTensor { name: full_name, element_type, shape, bytes } in tensors {
        let (object, name) = full_name.split_once('.').unwrap_or((object, &full_name));
        for name in [object, name] {
            if name.is_empty() || name.len() > MAX_NAME {
                let reason = format!("tensor {full_name}: an object or a tensor has a name of {} bytes", name.len());
                return Err(CliError::content(path, format!("{reason}; a checkpoint allows 1 to {MAX_NAME} bytes")));
            }
        }
        if !names.insert((object.to_owned(), name.to_owned())) {
            let reason = format!("two tensors would have the name {name} in object {object}");
            return Err(CliError::content(path, format!("{reason}; use --object to name another object")));
        }
        let tensor = Tensor { name: name.to_owned(), element_type, shape, bytes };
        let index = *indices.entry(object.to_owned()).or_insert_with(|| {
            objects.push(Object { name: object.to_owned(), content: Content::Tensors(vec![]) });
            objects.len() - 1
        });
        if let Some(Object { content: Content::Tensors(tensors), .. }) = objects.get_mut(index) {
            tensors.push(tensor);
        }
    }
    let header = StreamHeader { step: 1, sequence: 1, ..StreamHeader::default() };
    Ok(Stream { header, object_names: vec![], objects })
}
