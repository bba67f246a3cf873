//! The command `import`. It converts a file of tensors to a checkpoint file or to a flash image with a checkpoint.
//!
//! The state of the run and the other values come from the metadata in the file, or from a template. The command
//! reports an error if the template lacks a tensor of the file, or if their types or shapes differ. It also reports an error if the file lacks a tensor of
//! the template, unless the template contains the elements of this tensor.

pub mod flash_image;

use super::edit::Edits;
use super::{FileKind, TensorFile, commit, file_name_of};
use crate::tool::EXIT_SUCCESS;
use crate::tool::error::{CliError, Result};
use crate::tool::files::{self, OutputFile};
use crate::tool::inventory::flash_dump::Geometry;
use crate::tool::inventory::{Inventory, Selection};
use crate::tool::numbers::{count, parse_byte_count};
use crate::tool::output::print_line;
use crate::tool::stream::{Content, Object, Purpose, Source, SourceError, Stream, StreamHeader, Tensor};
use flash_image::FlashImage;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
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
    #[arg(long, value_name = "NAME", default_value = DEFAULT_OBJECT)]
    pub object: String,
    #[command(flatten)]
    pub edits: Edits,
    /// Override the checkpoint's score
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true, value_parser = parse_score)]
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

/// The object name for tensors whose names have no dot.
pub const DEFAULT_OBJECT: &str = "model";

/// Runs the command `import`.
pub fn import(arguments: &Import) -> Result<u8> {
    let Import { file, template, into, output, .. } = arguments;
    let target = arguments.to.or_else(|| Target::from_extension(output)).ok_or_else(|| {
        CliError::usage("the kind of output is unknown: use --to, or a file with the ending .ckpt, .bin or .img")
    })?;
    let inputs: Vec<&Path> =
        [Some(file), template.as_ref(), into.as_ref()].into_iter().flatten().map(|p| &**p).collect();
    let mut output = OutputFile::create(output, &inputs, arguments.force)?;
    let mut stream = read_stream(arguments)?;
    warn_non_finite(&stream)?;
    if let Some(score) = arguments.score {
        stream.header.score = Some(score);
    }
    let is_regular_file = output.is_regular_file();
    let summary = match target {
        Target::Checkpoint => {
            let written = stream.write(file, &mut output);
            let len = commit(output, written)?;
            format!("step {} ({})", stream.header.step, count(len as usize, "byte"))
        }
        Target::FlashImage => {
            let image = flash_image(arguments, stream)?;
            let written = image.write(&mut output);
            commit(output, written)?;
            image.summary
        }
    };
    if is_regular_file {
        print_line(format_args!("wrote {summary} to {}", arguments.output.display()))?;
    }
    Ok(EXIT_SUCCESS)
}

/// Saves the checkpoint in a copy of the dump `--into`, or in a new flash.
fn flash_image(arguments: &Import, stream: Stream) -> Result<FlashImage> {
    match (&arguments.into, arguments.slot_size) {
        (Some(path), _) => {
            // If the user passes `--template`, the option `--series` selects a checkpoint of the template. It does not
            // select the region of the dump.
            let name = arguments.selection.series.as_deref().filter(|_| arguments.template.is_none());
            FlashImage::insert(path, &arguments.geometry, name, stream)
        }
        (None, Some(slot_size)) => {
            FlashImage::create(slot_size, arguments.geometry.slots.unwrap_or(2) as usize, stream)
        }
        (None, None) => {
            let reason = "a flash image needs --into DUMP, or --slots NUMBER and --slot-size BYTES for a new image";
            Err(CliError::usage(reason))
        }
    }
}

/// Reads the file to import and converts it to a checkpoint stream.
fn read_stream(arguments: &Import) -> Result<Stream> {
    let Import { file, template, selection, object, edits, .. } = arguments;
    let source = Source::open(file)?;
    let is_checkpoint = FileKind::of(&source.start()?) == Some(FileKind::Checkpoint);
    let template = match template {
        Some(path) => Some(Inventory::new(path, &Geometry::default())?.select(selection)?.merged_stream()),
        None => None,
    };
    let tensors = if is_checkpoint {
        let stream = match Stream::read_source(&source, Purpose::Statistics) {
            Ok((stream, _)) => stream,
            Err(error) => {
                return Err(SourceError::into_io(error, &source).unwrap_or_else(|error| CliError::content(file, error)));
            }
        };
        if template.is_none() && edits.is_empty() {
            return Ok(stream);
        }
        TensorFile::from_stream(file, &stream)?
    } else {
        TensorFile::read(file, &source)?
    };
    to_stream(file, edits.apply(file, tensors)?, template, object)
}

/// Prints a warning for each tensor that contains NaN or infinities. A device refuses to save such a tensor, unless its
/// program allows it.
fn warn_non_finite(stream: &Stream) -> Result<()> {
    for (object, tensor) in stream.tensors() {
        let stats = tensor.stats()?;
        let Some(index) = stats.first_non_finite else { continue };
        let name = file_name_of(object, tensor);
        crate::tool::warn(format_args!(
            "tensor {name} has {} NaN and {} infinite elements; the first is element {index}",
            stats.nan, stats.infinite
        ));
    }
    Ok(())
}

/// Parses a score. A finite number must not become infinite.
fn parse_score(text: &str) -> std::result::Result<f32, String> {
    let score: f32 = text.parse().map_err(|error| format!("{error}"))?;
    if score.is_nan() {
        return Err("a score must be a number, not NaN".to_owned());
    }
    if score.is_infinite() && text.contains(|character: char| character.is_ascii_digit()) {
        return Err(format!("a score is a number of type f32, whose largest value is {:e}", f32::MAX));
    }
    Ok(score)
}

/// Converts a file of tensors to a checkpoint stream. The function uses the template if there is one, and otherwise the
/// metadata in the file. `object` is the object name for tensors whose names have no dot.
pub(super) fn to_stream(path: &Path, file: TensorFile, template: Option<Stream>, object: &str) -> Result<Stream> {
    let TensorFile { tensors, metadata } = file;
    let tensors = with_object_names(path, tensors, object)?;
    match (template, metadata) {
        (Some(template), _) => fill_template(path, template, tensors, true),
        (None, Some(metadata)) => fill_template(path, metadata.template(path)?, tensors, false),
        (None, None) => tensors_only(path, tensors),
    }
}

/// Adds the name of the object to each name without a dot. Returns an error if two tensors have the same name then.
fn with_object_names(path: &Path, tensors: Vec<Tensor>, object: &str) -> Result<Vec<Tensor>> {
    let mut originals = HashMap::new();
    let mut named = Vec::new();
    for tensor in tensors {
        let name = if tensor.name.contains('.') { tensor.name.clone() } else { format!("{object}.{}", tensor.name) };
        if let Some(other) = originals.insert(name.clone(), tensor.name.clone()) {
            let reason = format!("tensors {other} and {} would both have the name {name}", tensor.name);
            return Err(CliError::content(path, format!("{reason}; use --object or --rename")));
        }
        named.push(Tensor { name, ..tensor });
    }
    Ok(named)
}

/// Moves the tensors of a file into the template. The types and the shapes must be equal. If `has_elements` is true, the
/// template is a complete checkpoint, and a tensor that is missing in the file keeps the elements of the template.
fn fill_template(path: &Path, mut template: Stream, tensors: Vec<Tensor>, has_elements: bool) -> Result<Stream> {
    let error = |reason: String| Err(CliError::content(path, reason));
    let mut by_name: BTreeMap<String, Tensor> =
        tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    for object in &mut template.objects {
        let Content::Tensors(targets) = &mut object.content else { continue };
        for target in targets {
            let name = file_name_of(&object.name, target);
            match by_name.remove(&name) {
                Some(tensor) if tensor.element_type != target.element_type => {
                    let (found, expected) = (tensor.element_type, target.element_type);
                    return error(format!(
                        "tensor {name} has the type {found}, but the checkpoint to fill has {expected}; use --cast \
                         {name}={expected}"
                    ));
                }
                Some(tensor) if tensor.shape != target.shape => {
                    let (found, expected) = (&tensor.shape, &target.shape);
                    return error(format!(
                        "tensor {name} has the shape {found:?}, but the checkpoint to fill has {expected:?}"
                    ));
                }
                Some(tensor) => (target.payload, target.stats) = (tensor.payload, tensor.stats),
                None if has_elements => (),
                None => return error(format!("tensor {name} is missing; use --template to take it from a checkpoint")),
            }
        }
    }
    match by_name.keys().next() {
        Some(name) => {
            error(format!("the checkpoint to fill has no tensor with the name {name}; use --rename or --skip"))
        }
        None => Ok(template),
    }
}

/// Creates a checkpoint that contains only tensors, from a file without metadata. In the name of a tensor, the part
/// before the first dot is the name of its object.
fn tensors_only(path: &Path, tensors: Vec<Tensor>) -> Result<Stream> {
    let (mut objects, mut indices) = (Vec::<Object>::new(), BTreeMap::new());
    for tensor in tensors {
        let full_name = &tensor.name;
        let (object, name) = full_name.split_once('.').unwrap_or((DEFAULT_OBJECT, full_name));
        for name in [object, name] {
            if name.is_empty() || name.len() > MAX_NAME {
                let reason = format!("tensor {full_name}: an object or a tensor has a name of {} bytes", name.len());
                return Err(CliError::content(path, format!("{reason}; a checkpoint allows 1 to {MAX_NAME} bytes")));
            }
        }
        let index = *indices.entry(object.to_owned()).or_insert_with(|| {
            objects.push(Object { name: object.to_owned(), content: Content::Tensors(vec![]) });
            objects.len() - 1
        });
        let tensor = Tensor { name: name.to_owned(), ..tensor };
        if let Some(Object { content: Content::Tensors(tensors), .. }) = objects.get_mut(index) {
            tensors.push(tensor);
        }
    }
    let header = StreamHeader { step: 1, sequence: 1, ..StreamHeader::default() };
    Ok(Stream { header, object_names: vec![], objects })
}
