//! What is in a directory, told from the files themselves, and what a power cut left brought to its end.
//!
//! Every file that may be ours is read and its checksum verified. Files of one set have the same step, sequence and set
//! of objects. Then:
//!
//! * a set with a `.gone` file was being removed: the rest of it is removed;
//! * a set that is whole counts;
//! * a set of which some files have their final names and all others are there as temp files was being committed, and
//!   all its bytes are on the medium: it gets its other names, and counts;
//! * other temp files are of a save that was interrupted: they are removed;
//! * a set of the same step as a newer one that counts was being replaced: it is removed;
//! * everything else is left alone and listed as [`Ignored`].
//!
//! Doing this again changes nothing; a power cut in the middle of it is the same as one before.

use super::error::{DirectoryError, Operation};
use super::file_system::FileSystem;
use super::naming::{Kind, Seen, look};
use super::{Place, Set};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use training_monitor::checkpoint::DecodeError;
use training_monitor::embedded_io::{ErrorType, Read};
use training_monitor::store::CheckpointMeta;

/// A file with a name like ours that is not part of a checkpoint that counts. It is never touched, except that the next
/// save of that name replaces one that is [ours](Reason::is_ours).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ignored {
    /// The file.
    pub path: PathBuf,
    /// Why it does not count.
    pub reason: Reason,
}

/// Why a file is ignored.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Reason {
    /// It is whole, but other objects of its checkpoint are not there.
    Incomplete {
        /// The checkpoint's step.
        step: u32,
        /// The names of the objects that are missing.
        missing: Vec<String>,
    },
    /// A save without `atomic` failed and left it, or a checkpoint that was written over in part.
    Unfinished,
    /// It is cut short, or its checksum is wrong.
    Damaged,
    /// It cannot be read.
    Unreadable(std::io::ErrorKind),
    /// It is of another version of the format.
    Version {
        /// That version.
        found: u8,
    },
    /// It is not a checkpoint, or that of another prefix, or a copy under another name.
    Foreign,
}

impl Reason {
    /// Whether it was written as a checkpoint of this prefix, as far as that can be told.
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        matches!(self, Reason::Incomplete { .. } | Reason::Unfinished | Reason::Damaged)
    }
}

/// Reads a file with few system calls.
pub(super) struct Buffered<R> {
    pub reader: std::io::BufReader<R>,
    pub path: PathBuf,
}

impl<R> ErrorType for Buffered<R> {
    type Error = DirectoryError;
}

impl<R: std::io::Read> Read for Buffered<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, DirectoryError> {
        loop {
            match self.reader.read(into) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
                result => return result.map_err(DirectoryError::io(Operation::Read, &self.path)),
            }
        }
    }
}

/// What the files of one save have in common.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Key {
    sequence: u32,
    iteration: u32,
    step: u32,
    objects: Vec<String>,
}

impl Key {
    /// Orders saves. Not by the sequence alone: a number that a failed save had may be used again.
    const fn age(&self) -> (u32, u32) {
        (self.sequence, self.iteration)
    }
}

/// The files of one save that are there, each under the final name it has or is to have.
#[derive(Default, Debug)]
struct Group {
    members: BTreeMap<usize, Vec<(Kind, String)>>,
    stored: Option<CheckpointMeta>,
}

impl Group {
    fn has(&self, object: usize, kind: Kind) -> bool {
        self.members.get(&object).is_some_and(|files| files.iter().any(|(found, _)| *found == kind))
    }

    fn names(&self, object: usize) -> impl Iterator<Item = String> {
        self.members.get(&object).into_iter().flatten().map(|(_, name)| name.clone())
    }

    /// The temp file of `name` got its final name.
    fn settle(&mut self, name: &str) {
        for (kind, file) in self.members.values_mut().flatten() {
            if file == name && *kind == Kind::Temp {
                *kind = Kind::Final;
            }
        }
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &String> {
        self.members.values().flatten().filter(move |(found, _)| *found == kind).map(|(_, name)| name)
    }
}

/// What counts, from the oldest to the newest, and what is ignored.
#[derive(Default, Debug)]
pub(super) struct Found {
    pub sets: Vec<Set>,
    pub ignored: Vec<Ignored>,
}

/// Looks at everything, and finishes what was begun.
pub(super) fn scan<F: FileSystem>(fs: &F, place: &Place) -> Result<Found, DirectoryError> {
    let mut found = Found::default();
    let (mut groups, torn) = read_all(fs, place, &mut found.ignored)?;
    finish_removals(fs, place, &mut groups)?;
    roll_forward(fs, place, &mut groups, &mut found.ignored)?;
    for temp in torn {
        place.remove(fs, &temp)?;
    }
    for group in groups.values() {
        for name in group.of(Kind::Temp) {
            place.remove(fs, &place.naming.temp(name))?;
        }
    }
    groups.retain(|_, group| group.of(Kind::Final).next().is_some());
    count(fs, place, groups, &mut found)?;
    found.ignored.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

type Groups = BTreeMap<Key, Group>;

/// Reads every file that may be ours. Returns the whole ones by save, and the torn ones that have hidden names.
fn read_all<F: FileSystem>(
    fs: &F,
    place: &Place,
    ignored: &mut Vec<Ignored>,
) -> Result<(Groups, Vec<String>), DirectoryError> {
    let mut groups = Groups::new();
    let mut torn = Vec::new();
    let mut scratch = vec![0; 1 << 16];
    for entry in fs.names(&place.dir).map_err(DirectoryError::io(Operation::List, &place.dir))? {
        // What is not UTF-8 is not a name of ours.
        let Some(entry) = entry.to_str() else { continue };
        let Some((kind, name)) = place.naming.classify(entry) else { continue };
        let reason = match read_one(fs, place, entry, &mut scratch) {
            Ok(seen) => match place.naming.is_final_of(name, &seen) {
                Some(object) => {
                    let info = &seen.info;
                    let (step, sequence, iteration) = (info.step, info.sequence, info.iteration);
                    let stored = CheckpointMeta { step, sequence, iteration, score: info.score };
                    let key = Key { sequence, iteration, step, objects: seen.objects };
                    let group = groups.entry(key).or_default();
                    group.stored = Some(stored);
                    group.members.entry(object).or_default().push((kind, name.to_owned()));
                    continue;
                }
                None => Reason::Foreign,
            },
            Err(DecodeError::Io(DirectoryError::Io { cause, .. })) => Reason::Unreadable(cause.kind()),
            Err(DecodeError::NotACheckpoint) => Reason::Foreign,
            Err(DecodeError::Version { found }) => Reason::Version { found },
            Err(_) => Reason::Damaged,
        };
        match kind {
            Kind::Final => ignored.push(Ignored { path: place.path(entry), reason }),
            // A name that only we give: whatever is in it, it is what a cut left of a file that never counted, or of
            // one that no longer did.
            Kind::Temp | Kind::Gone => torn.push(entry.to_owned()),
        }
    }
    Ok((groups, torn))
}

fn read_one<F: FileSystem>(
    fs: &F,
    place: &Place,
    entry: &str,
    scratch: &mut [u8],
) -> Result<Seen, DecodeError<DirectoryError>> {
    let path = place.path(entry);
    let reader = fs.open(&path).map_err(DirectoryError::io(Operation::Open, &path)).map_err(DecodeError::Io)?;
    let mut reader = Buffered { reader: std::io::BufReader::new(reader), path };
    let seen = look(&mut reader, scratch)?;
    // A file that goes on behind its checksum is not what was written.
    match reader.read(&mut [0]).map_err(DecodeError::Io)? {
        0 => Ok(seen),
        _ => Err(DecodeError::Malformed),
    }
}

/// A set with a `.gone` file was to go, whole.
fn finish_removals<F: FileSystem>(fs: &F, place: &Place, groups: &mut Groups) -> Result<(), DirectoryError> {
    let going = |group: &Group| group.of(Kind::Gone).next().is_some();
    if !groups.values().any(going) {
        return Ok(());
    }
    for group in groups.values().filter(|group| going(group)) {
        for name in group.of(Kind::Final) {
            place.remove(fs, name)?;
        }
        for name in group.of(Kind::Temp) {
            place.remove(fs, &place.naming.temp(name))?;
        }
    }
    // The mark goes when the rest is known to be gone.
    place.sync_dir(fs)?;
    for name in groups.values().flat_map(|group| group.of(Kind::Gone)) {
        place.remove(fs, &place.naming.gone(name))?;
    }
    groups.retain(|_, group| !going(group));
    Ok(())
}

/// Temp files of a set that has begun to appear under its final names get theirs.
fn roll_forward<F: FileSystem>(
    fs: &F,
    place: &Place,
    groups: &mut Groups,
    ignored: &mut Vec<Ignored>,
) -> Result<(), DirectoryError> {
    let mut taken = BTreeMap::new();
    for (key, group) in groups.iter() {
        taken.extend(group.of(Kind::Final).map(|name| (name.clone(), key.age())));
    }
    let mut renamed = Vec::new();
    for (key, group) in groups.iter_mut() {
        let objects = 0..key.objects.len();
        let begun = objects.clone().any(|object| group.has(object, Kind::Final));
        let here = |object| group.has(object, Kind::Final) || group.has(object, Kind::Temp);
        let rest: Vec<String> =
            objects.clone().filter(|o| !group.has(*o, Kind::Final)).flat_map(|o| group.names(o)).collect();
        // Only an older file of ours may be in the way; anything else was put there since.
        let free = |name: &String| {
            let other = |file: &Ignored| file.path == place.path(name) && !file.reason.is_ours();
            taken.get(name).is_none_or(|age| *age < key.age()) && !ignored.iter().any(other)
        };
        if !begun || !objects.clone().all(here) || !rest.iter().all(free) {
            continue;
        }
        for name in rest {
            place.rename(fs, &place.naming.temp(&name), &name)?;
            ignored.retain(|file| file.path != place.path(&name));
            group.settle(&name);
            renamed.push((key.age(), name));
        }
    }
    if renamed.is_empty() {
        return Ok(());
    }
    place.sync_dir(fs)?;
    // Older files that had those names are no more.
    for (key, group) in groups.iter_mut() {
        for files in group.members.values_mut() {
            files.retain(|(kind, name)| {
                let over = |(age, new): &((u32, u32), String)| *age > key.age() && new == name;
                *kind != Kind::Final || !renamed.iter().any(over)
            });
        }
    }
    Ok(())
}

/// Which sets count. Finishes the replacement of those that a newer one of the same step took the place of.
fn count<F: FileSystem>(fs: &F, place: &Place, groups: Groups, found: &mut Found) -> Result<(), DirectoryError> {
    let whole = |key: &Key, group: &Group| (0..key.objects.len()).all(|object| group.has(object, Kind::Final));
    let mut newest: BTreeMap<u32, Key> = BTreeMap::new();
    // In the order of the sequence: the last is the newest.
    for (key, group) in &groups {
        if whole(key, group) {
            newest.insert(key.step, key.clone());
        }
    }
    for (key, group) in groups {
        let files: Vec<String> = group.of(Kind::Final).cloned().collect();
        match newest.get(&key.step) {
            Some(winner) if *winner == key => {
                if let Some(stored) = group.stored {
                    found.sets.push(Set { stored, files });
                }
            }
            Some(winner) if winner.age() > key.age() => {
                for file in files {
                    place.remove(fs, &file)?;
                }
            }
            _ => {
                let there = |object: usize| group.has(object, Kind::Final);
                let objects = key.objects.into_iter().enumerate();
                let missing: Vec<String> = objects.filter(|(o, _)| !there(*o)).map(|(_, name)| name).collect();
                let reason = match missing.is_empty() {
                    false => Reason::Incomplete { step: key.step, missing },
                    // Two whole sets of one step and sequence: one was not written here.
                    true => Reason::Foreign,
                };
                let path = |file: String| Ignored { path: place.path(&file), reason: reason.clone() };
                found.ignored.extend(files.into_iter().map(path));
            }
        }
    }
    Ok(())
}
