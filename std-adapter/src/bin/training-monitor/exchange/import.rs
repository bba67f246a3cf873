//! `import`: converts a file of tensors to a checkpoint file or to a flash image with a checkpoint.
//!
//! Everything that is not a tensor comes from the run metadata in the file, or from a template. A tensor that the template
//! does not have is an error. A tensor that the file does not have is an error, unless the template holds its elements.

mod flash_image;

use super::{NamedTensor, TensorFile, file_name_of};
use crate::error::{CliError, Result};
use crate::files;
use crate::inventory::flash_dump::Geometry;
use crate::inventory::{Inventory, Selection};
use crate::numbers::{count, parse_byte_count};
use crate::output;
use crate::stream::{Content, Object, Stream, StreamHeader, Tensor};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The kind of file that `import` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Target {
    /// A checkpoint file with all objects
    Checkpoint,
    /// A flash image with the checkpoint in one of its slots, for programming onto a device
    FlashImage,
}

/// Converts a file of tensors to a checkpoint file or a flash image
///
/// The format of FILE is detected from its content: safetensors, npz, json, csv or a checkpoint. Run state comes from the
/// metadata written by `export`, or from --template; the device then resumes that run with the new weights. Without either,
/// the checkpoint holds tensors only.
#[derive(clap::Args, Debug)]
pub struct Import {
    /// A file of tensors, or a checkpoint file
    pub file: PathBuf,
    /// What to write
    #[arg(long, value_name = "KIND")]
    pub to: Target,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Take the run, the handlers, the values and the order of the tensors from this checkpoint, directory or flash dump
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
    /// Write a copy of this flash dump, with the checkpoint as its newest
    #[arg(long, value_name = "DUMP")]
    pub into: Option<PathBuf>,
    /// For a new image: the size of a slot, a multiple of the erase block size of the flash; K and M for 1024 and 1024²
    #[arg(long, value_name = "BYTES", value_parser = parse_byte_count, conflicts_with_all = ["into", "region"], requires = "slots")]
    pub slot_size: Option<usize>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs `import`.
pub fn import(arguments: &Import) -> Result<ExitCode> {
    let file = &arguments.file;
    let bytes = files::read(file)?;
    let template = match &arguments.template {
        Some(path) => Some(Inventory::new(path, &Geometry::default())?.select(&arguments.selection)?.merged_stream()),
        None => None,
    };
    let mut stream = if bytes.starts_with(b"TMCK") {
        Stream::read_all(&bytes).map_err(|error| CliError::content(file, error))?
    } else {
        to_stream(file, TensorFile::read(file, &bytes)?, template, &arguments.object)?
    };
    if let Some(score) = arguments.score {
        if score.is_nan() {
            return Err(CliError::usage("--score must be a number, not NaN"));
        }
        stream.header.score = Some(score);
    }
    let (bytes, summary) = match arguments.to {
        Target::Checkpoint => {
            let bytes = stream.write().map_err(|error| CliError::content(file, error))?;
            let summary = format!("step {} ({})", stream.header.step, count(bytes.len(), "byte"));
            (bytes, summary)
        }
        Target::FlashImage => flash_image::build(arguments, stream)?,
    };
    files::write(&arguments.output, &bytes)?;
    output::print_line(format_args!("wrote {summary} to {}", arguments.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Converts a file of tensors to a checkpoint. A given template takes precedence over the metadata in the file.
pub(super) fn to_stream(path: &Path, file: TensorFile, template: Option<Stream>, object: &str) -> Result<Stream> {
    let TensorFile { tensors, metadata } = file;
    match (template, metadata) {
        (Some(template), _) => fill_template(path, template, tensors, true),
        (None, Some(metadata)) => fill_template(path, metadata.template(path)?, tensors, false),
        (None, None) => tensors_only(path, tensors, object),
    }
}

/// Copies tensors into the template. If the template is a checkpoint with elements (`has_elements`), a tensor that the file
/// does not have keeps its elements, and shapes must agree.
fn fill_template(
    path: &Path,
    mut template: Stream,
    mut tensors: Vec<NamedTensor>,
    has_elements: bool,
) -> Result<Stream> {
    for object in &mut template.objects {
        let Content::Tensors(targets) = &mut object.content else { continue };
        for target in targets {
            let name = file_name_of(&object.name, target);
            match tensors.iter().position(|tensor| tensor.name == name) {
                Some(index) => {
                    let NamedTensor { shape, elements, .. } = tensors.remove(index);
                    let shape = stream_shape(path, &name, &shape)?;
                    if has_elements && shape != target.shape {
                        let expected = &target.shape;
                        let reason = format!("{name} has the shape {shape:?}, but the template has {expected:?}");
                        return Err(CliError::content(path, reason));
                    }
                    (target.shape, target.elements) = (shape, elements);
                }
                None if has_elements => (),
                None => {
                    let reason = format!("{name} is missing; use --template to take it from a checkpoint");
                    return Err(CliError::content(path, reason));
                }
            }
        }
    }
    match tensors.first() {
        Some(NamedTensor { name, .. }) => {
            Err(CliError::content(path, format!("the checkpoint to fill has no tensor with the name {name}")))
        }
        None => Ok(template),
    }
}

/// A checkpoint of tensors only, for a file without metadata. The object is the part of a name before the first dot, or
/// `object` for a name without a dot.
fn tensors_only(path: &Path, tensors: Vec<NamedTensor>, object: &str) -> Result<Stream> {
    let mut objects = Vec::<Object>::new();
    for NamedTensor { name: full_name, shape, elements } in tensors {
        let (object, name) = full_name.split_once('.').unwrap_or((object, &full_name));
        let tensor = Tensor { name: name.to_owned(), shape: stream_shape(path, &full_name, &shape)?, elements };
        let known = objects.iter_mut().find(|known| known.name == object);
        match known.map(|known| &mut known.content) {
            Some(Content::Tensors(tensors)) => tensors.push(tensor),
            _ => objects.push(Object { name: object.to_owned(), content: Content::Tensors(vec![tensor]) }),
        }
    }
    let header = StreamHeader { step: 1, sequence: 1, ..StreamHeader::default() };
    Ok(Stream { header, object_names: vec![], objects })
}

fn stream_shape(path: &Path, name: &str, shape: &[usize]) -> Result<Vec<u32>> {
    let sides = shape.iter().map(|side| u32::try_from(*side)).collect::<std::result::Result<_, _>>();
    sides.map_err(|_| CliError::content(path, format!("{name} has the shape {shape:?}; a side must be below 2³²")))
}
