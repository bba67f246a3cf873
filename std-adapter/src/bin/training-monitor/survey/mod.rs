//! What there is at a path: one checkpoint, a directory of them, or the dump of a flash; and what is wrong with it.
//!
//! All three end as the same thing, a [`Survey`] of series of checkpoints and of whatever else was found, so that every
//! command reads every medium. Nothing is ever changed here: a directory is not brought in order, as opening it with
//! `Directory` would do, since whoever looks into a device after a failure wants to see what it left.

pub mod directory;
pub mod image;
mod record;

use crate::failure::{self, Failure, Result, looks_like};
use crate::stream::{Head, Stream};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use training_monitor::checkpoint::DecodeError;

/// Everything at a path.
#[derive(Debug)]
pub struct Survey {
    pub path: PathBuf,
    pub kind: Kind,
    pub series: Vec<Series>,
    /// What is not, or not yet, or no longer a checkpoint.
    pub others: Vec<Other>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    File,
    Directory,
    Flash,
}

/// Checkpoints that are ranked together: of one prefix in a directory, of one region of a flash.
#[derive(Debug)]
pub struct Series {
    pub name: String,
    /// Where it lies in a flash.
    pub region: Option<Region>,
    /// From the oldest to the newest.
    pub checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Region {
    pub start: usize,
    /// Bytes of a slot.
    pub slot: usize,
    /// Slots known of.
    pub slots: usize,
    /// Erases of all slots, from the newest record.
    pub erases: u32,
}

/// A committed checkpoint, whole.
#[derive(Debug)]
pub struct Checkpoint {
    pub head: Head,
    /// Its streams: one, or one for each object.
    pub parts: Vec<Part>,
    /// Of a flash.
    pub slot: Option<Slot>,
}

#[derive(Debug)]
pub struct Part {
    /// A file name, or where it lies.
    pub place: String,
    pub len: usize,
    pub crc: u32,
    pub stream: Stream,
}

#[derive(Clone, Copy, Debug)]
pub struct Slot {
    pub index: usize,
    pub erases: u32,
    /// Whether the commit was brought to its very end.
    pub sealed: bool,
}

/// Something that does not count as a checkpoint.
#[derive(Debug, PartialEq)]
pub struct Other {
    pub place: String,
    pub verdict: Verdict,
    pub why: String,
}

/// What that is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It was committed, and is damaged: the only kind that is a loss.
    Damaged,
    /// A save that was cut before its commit. Nothing is lost by it.
    Torn,
    /// What a removal left. The next opening finishes it.
    Going,
    /// Of a later version of the format.
    Newer,
    /// Free space.
    Free,
}

impl Verdict {
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Damaged => "damaged",
            Verdict::Torn => "torn",
            Verdict::Going => "going",
            Verdict::Newer => "newer",
            Verdict::Free => "free",
        }
    }

    /// Whether something that was committed cannot be read.
    pub const fn is_loss(self) -> bool {
        matches!(self, Verdict::Damaged | Verdict::Newer)
    }
}

impl Checkpoint {
    /// All objects, wherever they are stored.
    pub fn stream(&self) -> Stream {
        let parts: Vec<Stream> = self.parts.iter().map(|part| part.stream.clone()).collect();
        // A checkpoint has a part at least.
        Stream::merged(&parts).unwrap_or_else(|| Stream { head: self.head.clone(), set: vec![], objects: vec![] })
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len).sum()
    }
}

impl Series {
    /// Places by score, from 1; where nothing has a score, by age. In the order of the checkpoints.
    pub fn ranks(&self) -> Vec<usize> {
        let key = |index: &usize| {
            let head = &self.checkpoints[*index].head;
            (head.score.unwrap_or(f32::NEG_INFINITY), head.step, head.sequence)
        };
        let mut order: Vec<usize> = (0..self.checkpoints.len()).collect();
        order.sort_by(|a, b| {
            let ((a, a_step, a_seq), (b, b_step, b_seq)) = (key(a), key(b));
            b.total_cmp(&a).then(b_step.cmp(&a_step)).then(b_seq.cmp(&a_seq))
        });
        let mut ranks = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, index)| ranks[*index] = place + 1);
        ranks
    }
}

/// Which checkpoint is meant, where there are several.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Choice {
    /// The checkpoint of this step number
    #[arg(long, value_name = "NUMBER", conflicts_with = "best")]
    pub step: Option<u32>,
    /// The checkpoint with the highest score, instead of the newest
    #[arg(long)]
    pub best: bool,
    /// Of this series only: a prefix in a directory ("best"), a region of a flash ("0x0")
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
}

impl Survey {
    /// Looks at `path`.
    pub fn new(path: &Path, geometry: &image::Geometry) -> Result<Survey> {
        if path.is_dir() {
            return directory::survey(path);
        }
        let bytes = failure::read(path)?;
        if bytes.starts_with(b"TMCK") && !geometry.is_given() {
            return Ok(file(path, &bytes));
        }
        let survey = image::survey(path, &bytes, geometry)?;
        let nothing = survey.series.is_empty() && survey.others.iter().all(|other| other.verdict == Verdict::Free);
        if nothing && !geometry.is_given() {
            let wanted = "a checkpoint, a directory of checkpoints or a flash dump";
            return Err(Failure::WrongFile { path: path.to_owned(), wanted, found: looks_like(&bytes) });
        }
        Ok(survey)
    }

    /// The checkpoint that `choice` means: the newest of the whole survey, if it says nothing.
    pub fn choose(&self, choice: &Choice) -> Result<&Checkpoint> {
        let named = |series: &&Series| choice.series.as_ref().is_none_or(|name| *name == series.name);
        let stepped = |found: &&Checkpoint| choice.step.is_none_or(|step| step == found.head.step);
        let all = self.series.iter().filter(named).flat_map(|series| &series.checkpoints).filter(stepped);
        let chosen = if choice.best {
            let scored = all.filter(|found| found.head.score.is_some());
            scored.reduce(|best, found| if found.head.score > best.head.score { found } else { best })
        } else {
            // The newest: the furthest run, then the last commit.
            all.max_by_key(|found| (found.head.iteration, found.head.sequence, found.head.step))
        };
        chosen.ok_or_else(|| {
            let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
            let steps: Vec<String> =
                self.series.iter().flat_map(|series| &series.checkpoints).map(|c| c.head.step.to_string()).collect();
            let there = if steps.is_empty() {
                "there is no whole checkpoint".to_owned()
            } else {
                format!("there are the steps {} in {}", steps.join(", "), names.join(", "))
            };
            Failure::content(&self.path, format!("no such checkpoint: {there}"))
        })
    }

    /// Whether everything that claims to be committed is whole.
    pub fn is_whole(&self) -> bool {
        !self.others.iter().any(|other| other.verdict.is_loss())
    }
}

/// A file that begins as a checkpoint does.
fn file(path: &Path, bytes: &[u8]) -> Survey {
    let place = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut survey = Survey { path: path.to_owned(), kind: Kind::File, series: vec![], others: vec![] };
    match Stream::read_all(bytes) {
        Ok(stream) => {
            let checkpoint =
                Checkpoint { head: stream.head.clone(), parts: vec![part(place.clone(), bytes, stream)], slot: None };
            survey.series.push(Series { name: place, region: None, checkpoints: vec![checkpoint] });
        }
        Err(error) => {
            let (verdict, why) = verdict_of(&error, bytes);
            survey.others.push(Other { place, verdict, why });
        }
    }
    survey
}

/// A stream and its bytes.
fn part(place: String, bytes: &[u8], stream: Stream) -> Part {
    let crc = bytes.last_chunk::<4>().map_or(0, |end| u32::from_le_bytes(*end));
    Part { place, len: bytes.len(), crc, stream }
}

/// Why a stream is not whole.
fn verdict_of(error: &DecodeError<Infallible>, bytes: &[u8]) -> (Verdict, String) {
    let verdict = match error {
        DecodeError::Version { .. } => Verdict::Newer,
        _ => Verdict::Damaged,
    };
    let why = match (error, Stream::read(bytes)) {
        (DecodeError::Malformed, Ok((_, rest))) => format!("{} bytes follow behind the checkpoint", rest.len()),
        _ => error.to_string(),
    };
    (verdict, why)
}
