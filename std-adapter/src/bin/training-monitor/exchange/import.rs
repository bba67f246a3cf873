//! `import`: a file of tensors as a checkpoint, in a file or in the image of a flash.
//!
//! What is not in the file comes from its note or from a template. A tensor that has no place there is an error, and so is
//! one that is missing, unless the template has its values.

mod flash;

use super::{Bundle, Named, key};
use crate::failure::{self, Failure, Result};
use crate::output;
use crate::stream::{Content, Head, Object, Stream, Tensor};
use crate::survey::image::{Geometry, number};
use crate::survey::{Choice, Survey};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where tensors go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum To {
    /// A file that holds the whole checkpoint
    Checkpoint,
    /// The image of a flash with slots, to be programmed onto a device
    FlashImage,
}

/// Makes a checkpoint of a file of tensors, or puts one into the image of a flash
///
/// FILE is told by its content: safetensors, npz, json or csv, or a checkpoint. With the note that `export` left in it, or
/// with --template, a device goes on with its run from there, with the new weights.
#[derive(clap::Args, Debug)]
pub struct Import {
    /// A file of tensors, or a checkpoint
    pub file: PathBuf,
    /// What is made of it
    #[arg(long, value_name = "KIND")]
    pub to: To,
    /// The file that is written
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Take run, handlers, values, names and their order from this checkpoint, directory or flash dump
    #[arg(long, value_name = "PATH")]
    pub template: Option<PathBuf>,
    #[command(flatten)]
    pub choice: Choice,
    /// The object of tensors whose names have no dot
    #[arg(long, value_name = "NAME", default_value = "model")]
    pub object: String,
    /// Its score from now on
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub score: Option<f32>,
    /// Put it into a copy of this flash dump, as its newest checkpoint
    #[arg(long, value_name = "DUMP")]
    pub into: Option<PathBuf>,
    /// For a new image: bytes of a slot, a multiple of the flash's erase block; K and M for 1024 and 1024²
    #[arg(long, value_name = "BYTES", value_parser = number, conflicts_with_all = ["into", "region"], requires = "slots")]
    pub slot_size: Option<usize>,
    #[command(flatten)]
    pub geometry: Geometry,
}

/// Runs `import`.
pub fn import(arguments: &Import) -> Result<ExitCode> {
    let file = &arguments.file;
    let bytes = failure::read(file)?;
    let template = match &arguments.template {
        Some(path) => Some(Survey::new(path, &Geometry::default())?.choose(&arguments.choice)?.stream()),
        None => None,
    };
    let mut stream = if bytes.starts_with(b"TMCK") {
        Stream::read_all(&bytes).map_err(|error| Failure::content(file, error))?
    } else {
        assemble(file, Bundle::read(file, &bytes)?, template, &arguments.object)?
    };
    if let Some(score) = arguments.score {
        if score.is_nan() {
            return Err(Failure::usage("a score is a number"));
        }
        stream.head.score = Some(score);
    }
    let (written, told) = match arguments.to {
        To::Checkpoint => {
            let bytes = stream.write().map_err(|error| Failure::content(file, error))?;
            let told = format!("step {}: {} bytes", stream.head.step, bytes.len());
            (bytes, told)
        }
        To::FlashImage => flash::place(arguments, stream)?,
    };
    failure::write(&arguments.output, &written)?;
    output::line(format_args!("{told}, to {}", arguments.output.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The checkpoint that a file of tensors stands for.
pub(super) fn assemble(path: &Path, bundle: Bundle, template: Option<Stream>, object: &str) -> Result<Stream> {
    let Bundle { tensors, note } = bundle;
    match (template, note) {
        (Some(template), _) => fill(path, template, tensors, true),
        (None, Some(note)) => fill(path, note.skeleton(path)?, tensors, false),
        (None, None) => Ok(bare(path, tensors, object)?),
    }
}

/// Puts tensors into the places they have in `stream`; with `whole` its own stay where there are none.
fn fill(path: &Path, mut stream: Stream, mut tensors: Vec<Named>, whole: bool) -> Result<Stream> {
    for object in &mut stream.objects {
        let Content::Tensors(places) = &mut object.content else { continue };
        for place in places {
            let key = key(&object.name, place);
            match tensors.iter().position(|tensor| tensor.key == key) {
                Some(found) => {
                    let Named { shape, elements, .. } = tensors.remove(found);
                    let shape = sides(path, &key, &shape)?;
                    if whole && shape != place.shape {
                        let why = format!("{key} has the shape {shape:?}, in the template {:?}", place.shape);
                        return Err(Failure::content(path, why));
                    }
                    (place.shape, place.elements) = (shape, elements);
                }
                None if whole => (),
                None => return Err(Failure::content(path, format!("{key} is missing; --template can supply it"))),
            }
        }
    }
    match tensors.first() {
        Some(Named { key, .. }) => Err(Failure::content(path, format!("the checkpoint has no place for {key}"))),
        None => Ok(stream),
    }
}

/// A checkpoint of tensors only, where nothing else is known.
fn bare(path: &Path, tensors: Vec<Named>, object: &str) -> Result<Stream> {
    let mut objects = Vec::<Object>::new();
    for Named { key, shape, elements } in tensors {
        let (object, name) = key.split_once('.').unwrap_or((object, &key));
        let tensor = Tensor { name: name.to_owned(), shape: sides(path, &key, &shape)?, elements };
        let known = objects.iter_mut().find(|known| known.name == object);
        match known.map(|known| &mut known.content) {
            Some(Content::Tensors(tensors)) => tensors.push(tensor),
            _ => objects.push(Object { name: object.to_owned(), content: Content::Tensors(vec![tensor]) }),
        }
    }
    Ok(Stream { head: Head { step: 1, sequence: 1, ..Head::default() }, set: vec![], objects })
}

fn sides(path: &Path, key: &str, shape: &[usize]) -> Result<Vec<u32>> {
    let sides = shape.iter().map(|side| u32::try_from(*side)).collect::<std::result::Result<_, _>>();
    sides.map_err(|_| Failure::content(path, format!("{key} is too large for a checkpoint")))
}
