//! The inventory of a path: all checkpoints in a file, a directory or a flash dump, and all leftovers. A leftover is a
//! file or a slot that is not a usable checkpoint.
//!
//! All three kinds of storage yield the same type [`Inventory`], so each command can read each of them. Taking an
//! inventory never changes a file. The tool does not open a directory with `Directory`, because that would complete
//! interrupted operations. After a failure, the user wants to see the files as the failure left them.

mod commit_record;
pub mod directory;
mod dump;
pub mod flash_dump;

use crate::tool::error::{CliError, Result};
use crate::tool::files;
use crate::tool::stream::{Payload, Purpose, ReadError, Source, SourceError, Stream, StreamHeader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use training_monitor::checkpoint::DecodeError;
use training_monitor::store::flash::layout::SealState;

/// All checkpoints and all leftovers at a path.
#[derive(Debug)]
pub struct Inventory {
    pub path: PathBuf,
    pub medium: Medium,
    pub series: Vec<Series>,
    /// The files and the flash slots that the store does not list as checkpoints. The list also contains each temporary
    /// file that the store would rename to complete an interrupted commit.
    pub leftovers: Vec<Leftover>,
}

/// The kind of storage at a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// A single checkpoint file.
    File,
    /// A directory of checkpoint files.
    Directory,
    /// The dump of a flash memory.
    Flash,
}

/// The checkpoints that one checkpoint handler saved. In a directory, their files have the same prefix. In a flash
/// dump, they are in the same region.
#[derive(Debug)]
pub struct Series {
    /// The prefix of the file names, or the start address of the flash region as text.
    pub name: String,
    /// The flash region that contains the checkpoints; `None` if they are files.
    pub region: Option<Region>,
    /// The checkpoints, from the oldest to the newest.
    pub checkpoints: Vec<Checkpoint>,
}

/// A flash region that is divided into slots of equal size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Region {
    /// The offset of the region in the dump, in bytes.
    pub start: usize,
    /// The size of a slot in bytes.
    pub slot_size: usize,
    pub slot_count: usize,
    /// The total number of erases of all slots. The newest commit record contains this number.
    pub erases: u32,
}

impl Region {
    /// Returns the offset of each slot in the dump. The last slots can lie behind the end of a truncated dump.
    pub fn slot_offsets(&self) -> impl Iterator<Item = usize> + use<> {
        let Region { start, slot_size, slot_count, .. } = *self;
        (0..slot_count).map(move |index| start + index * slot_size)
    }

    /// Returns the offset of the end of the region in the dump.
    pub const fn end(&self) -> usize {
        self.start + self.slot_size * self.slot_count
    }
}

/// A committed checkpoint. All of its checksums are correct.
#[derive(Debug)]
pub struct Checkpoint {
    pub header: StreamHeader,
    /// The checkpoint data. It is stored as one stream with all objects, or as one stream (one file) for each object.
    pub streams: Vec<StoredStream>,
    /// The flash slot (the flash area of one checkpoint) that contains the checkpoint; `None` if it is stored in files.
    pub slot: Option<Slot>,
}

/// A checkpoint stream, together with the file or the slot that contains it.
#[derive(Clone, Debug)]
pub struct StoredStream {
    /// The file name, or the flash slot and its address.
    pub place: String,
    /// The size of the stream in bytes.
    pub len: u64,
    /// The CRC-32 at the end of the stream.
    pub crc: u32,
    pub stream: Stream,
}

/// The flash slot of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// The index of the slot in its region, from 0.
    pub index: usize,
    /// The number of times that the slot has been erased.
    pub erases: u32,
    /// The state of the seal (the last bytes that a commit writes). A complete seal shows that the commit was
    /// completed.
    pub seal: SealState,
    /// Whether the store on the device regards the checkpoint as durable.
    pub is_durable: bool,
}

impl Slot {
    /// Returns the name that the JSON output uses for the state of the seal (the last bytes that a commit writes).
    pub const fn seal_label(&self) -> &'static str {
        match self.seal {
            SealState::Incomplete => "incomplete",
            SealState::Complete => "complete",
        }
    }
}

/// A file or a flash slot that is not a usable checkpoint. A temporary file that the store would rename is also a
/// leftover.
#[derive(Debug, PartialEq)]
pub struct Leftover {
    /// The file name, or the flash slot and its address.
    pub place: String,
    pub verdict: Verdict,
    pub reason: String,
}

/// The reason why a file or a flash slot is not a usable checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The checkpoint was committed, and its bytes are damaged.
    Damaged,
    /// A save was interrupted before its commit was complete. No committed data is lost.
    Interrupted,
    /// The removal of a checkpoint was interrupted. The store completes the removal when it opens the directory.
    Removing,
    /// Another checkpoint with the same step is newer. The store replaces or removes this file or slot.
    Replaced,
    /// The file contains an intact checkpoint, but the store ignores the file. For example, another program has copied
    /// or renamed the file.
    Foreign,
    /// The checkpoint has a newer format version or a newer field, which this tool cannot read.
    Newer,
    /// The slot (the flash area of one checkpoint) contains no checkpoint, so it is free for the next save.
    Free,
}

impl Verdict {
    /// Returns the name of the verdict in tables and in JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Verdict::Damaged => "damaged",
            Verdict::Interrupted => "interrupted",
            Verdict::Removing => "removing",
            Verdict::Replaced => "replaced",
            Verdict::Foreign => "foreign",
            Verdict::Newer => "newer",
            Verdict::Free => "free",
        }
    }

    /// Returns whether the file or slot contains a committed checkpoint that cannot be read.
    pub const fn is_loss(self) -> bool {
        matches!(self, Verdict::Damaged | Verdict::Newer)
    }
}

impl Checkpoint {
    /// Returns a single stream with the objects of all streams.
    pub fn merged_stream(&self) -> Stream {
        let streams: Vec<Stream> = self.streams.iter().map(|stored| stored.stream.clone()).collect();
        // `merged` returns `None` only if there is no stream. Each checkpoint has at least one stream, so this fallback
        // is never used.
        Stream::merged(&streams).unwrap_or_else(|| Stream {
            header: self.header.clone(),
            object_names: vec![],
            objects: vec![],
        })
    }

    /// Returns the total size of all streams in bytes.
    pub fn len(&self) -> u64 {
        self.streams.iter().map(|stored| stored.len).sum()
    }
}

impl Series {
    /// Returns the rank of each checkpoint, in the order of the checkpoints. The checkpoint with the highest score has
    /// rank 1. If scores are equal or missing, the newer checkpoint has the better rank.
    pub fn ranks(&self) -> Vec<usize> {
        let key = |index: &usize| {
            let header = &self.checkpoints[*index].header;
            (header.score.unwrap_or(f32::NEG_INFINITY), header.step, header.sequence)
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

/// The arguments that select one of several checkpoints.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// Select the checkpoint with this step number
    #[arg(long, value_name = "NUMBER", conflicts_with = "best")]
    pub step: Option<u32>,
    /// Select the checkpoint with the highest score instead of the newest checkpoint.
    #[arg(long)]
    pub best: bool,
    /// Select a checkpoint of this series: a file name prefix such as "best" for a directory, or the address of a
    /// region such as "0x0" for a flash dump.
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
}

impl Selection {
    /// Returns whether the user passed at least one criterion.
    pub const fn is_given(&self) -> bool {
        self.step.is_some() || self.best || self.series.is_some()
    }
}

impl Inventory {
    /// Takes the inventory of `path`, which is `-` for standard input: lists all checkpoints and all unusable files or
    /// slots.
    pub fn new(path: &Path, geometry: &flash_dump::Geometry) -> Result<Inventory> {
        Inventory::read(path, geometry, Purpose::Read)
    }

    /// Takes the same inventory as [`new`](Self::new), and computes the statistics of all tensors meanwhile.
    pub fn with_statistics(path: &Path, geometry: &flash_dump::Geometry) -> Result<Inventory> {
        Inventory::read(path, geometry, Purpose::Statistics)
    }

    fn read(path: &Path, geometry: &flash_dump::Geometry, purpose: Purpose) -> Result<Inventory> {
        if path.is_dir() {
            return directory::read(path, purpose);
        }
        Inventory::of_source(path, &Source::open(path)?, geometry, purpose)
    }

    /// Takes the inventory of an open file.
    pub fn of_source(
        path: &Path,
        source: &Arc<Source>,
        geometry: &flash_dump::Geometry,
        purpose: Purpose,
    ) -> Result<Inventory> {
        let start = source.start()?;
        if start.starts_with(b"TMCK") && !geometry.is_given() {
            return read_file(path, source, purpose);
        }
        let inventory = flash_dump::read(path, source, geometry, purpose)?;
        let is_empty =
            inventory.series.is_empty() && inventory.leftovers.iter().all(|item| item.verdict == Verdict::Free);
        if is_empty && !geometry.is_given() {
            let expected = "a checkpoint, a directory of checkpoints or a flash dump";
            let found = files::describe_content(complete_text(&start));
            return Err(CliError::WrongFile { path: path.to_owned(), expected, found });
        }
        Ok(inventory)
    }

    /// Returns the selected checkpoint. If the user passed no criterion, this is the newest checkpoint of all series.
    pub fn select(&self, selection: &Selection) -> Result<&Checkpoint> {
        let in_series = |series: &&Series| selection.series.as_ref().is_none_or(|name| *name == series.name);
        let has_step = |checkpoint: &&Checkpoint| selection.step.is_none_or(|step| step == checkpoint.header.step);
        let candidates = self.series.iter().filter(in_series).flat_map(|series| &series.checkpoints).filter(has_step);
        let selected = if selection.best {
            let scored = candidates.filter(|checkpoint| checkpoint.header.score.is_some());
            scored
                .reduce(|best, checkpoint| if checkpoint.header.score > best.header.score { checkpoint } else { best })
        } else {
            // Compare the runs and the iterations first, because the sequence numbers of different prefixes and regions
            // are independent of each other.
            candidates.max_by_key(|checkpoint| {
                let header = &checkpoint.header;
                (header.run, header.iteration, header.sequence, header.step)
            })
        };
        selected.ok_or_else(|| CliError::content(&self.path, format!("no such checkpoint: {}", self.available())))
    }

    /// Returns a text that lists all checkpoints that the user can select. If no checkpoint matches the selection, the
    /// error message contains this text.
    fn available(&self) -> String {
        let describe = |series: &Series| {
            let mut steps: Vec<u32> = series.checkpoints.iter().map(|checkpoint| checkpoint.header.step).collect();
            steps.sort_unstable();
            let noun = if steps.len() == 1 { "step" } else { "steps" };
            format!("{} ({noun} {})", series.name, crate::tool::numbers::ranges(&steps))
        };
        let series: Vec<String> =
            self.series.iter().filter(|series| !series.checkpoints.is_empty()).map(describe).collect();
        if series.is_empty() {
            return "there is no intact checkpoint".to_owned();
        }
        format!("available are {}", series.join(", "))
    }

    /// Returns the number of intact checkpoints.
    pub fn checkpoint_count(&self) -> usize {
        self.series.iter().map(|series| series.checkpoints.len()).sum()
    }

    /// Returns the files and slots with committed checkpoints that cannot be read.
    pub fn losses(&self) -> impl Iterator<Item = &Leftover> {
        self.leftovers.iter().filter(|item| item.verdict.is_loss())
    }

    /// Returns whether all committed checkpoints can be read.
    pub fn is_intact(&self) -> bool {
        self.losses().next().is_none()
    }
}

/// Returns the inventory of a single checkpoint file. The file begins with the magic bytes of a checkpoint.
fn read_file(path: &Path, source: &Arc<Source>, purpose: Purpose) -> Result<Inventory> {
    let place = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut inventory = Inventory { path: path.to_owned(), medium: Medium::File, series: vec![], leftovers: vec![] };
    match read_stream(&place, &Payload::new(source, 0, source.len()), source, purpose)? {
        Ok(stored) => {
            let header = stored.stream.header.clone();
            let checkpoints = vec![Checkpoint { header, streams: vec![stored], slot: None }];
            inventory.series.push(Series { name: place, region: None, checkpoints });
        }
        Err(error) => {
            let (verdict, reason) = classify_error(&error);
            inventory.leftovers.push(Leftover { place, verdict, reason });
        }
    }
    Ok(inventory)
}

/// Reads the stream in a part of a source. The outer error is an I/O error.
fn read_stream(
    place: &str,
    part: &Payload,
    source: &Source,
    purpose: Purpose,
) -> Result<std::result::Result<StoredStream, ReadError>> {
    match Stream::read(part, purpose) {
        Ok((stream, end)) => Ok(Ok(StoredStream { place: place.to_owned(), len: end.len, crc: end.crc, stream })),
        Err(error) => match SourceError::into_io(error, source) {
            Ok(error) => Err(error),
            Err(error) => Ok(Err(error)),
        },
    }
}

/// Returns the verdict about bytes that cannot be decoded as a checkpoint, and the reason for the verdict.
fn classify_error(error: &ReadError) -> (Verdict, String) {
    let verdict = match error {
        ReadError::Decode(DecodeError::Version { .. } | DecodeError::Newer) => Verdict::Newer,
        _ => Verdict::Damaged,
    };
    (verdict, error.to_string())
}

/// Returns the start of a file without the last bytes if they are the start of a character.
pub fn complete_text(start: &[u8]) -> &[u8] {
    match std::str::from_utf8(start) {
        Err(error) if error.error_len().is_none() => &start[..error.valid_up_to()],
        _ => start,
    }
}
