//! The inventory of a directory. It lists the checkpoints that the store (`Directory`) would list if it opened the
//! directory, and all other checkpoint files.
//!
//! The store can complete or remove checkpoints when it opens a directory. The function
//! `crate::directory::plan` returns these operations as data. The tool displays the plan of each series
//! and does not perform it. A series consists of the files with one prefix and one extension.

use super::{Checkpoint, Inventory, Leftover, Medium, Series, StoredStream, Verdict, classify_error, read_stream};
use crate::directory::{
    Action, FileEntry, FileSystem, IgnoreReason, Naming, Plan, RealFs, RemoveReason, StreamSummary, plan,
};
use crate::tool::error::{CliError, Result};
use crate::tool::stream::{Payload, Purpose, ReadError, Source, Stream};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use training_monitor::checkpoint::DecodeError;

/// The content of a file in the directory.
struct FileContent {
    /// The checkpoint in the file. If the file contains no valid checkpoint, the error contains a verdict (for example
    /// "damaged") and a reason.
    stream: std::result::Result<StoredStream, (Verdict, String)>,
    /// The header and the object names of the checkpoint. The function `plan` needs these values.
    summary: std::result::Result<StreamSummary, IgnoreReason>,
    /// `true` if the file begins like a checkpoint or has the extension `ckpt`. The inventory omits all other files,
    /// except those that the store would rename or remove.
    is_checkpoint: bool,
}

/// All files of a directory, by their names.
type Files = BTreeMap<String, FileContent>;

/// Takes the inventory of the directory `path`: lists all checkpoints and all unusable checkpoint files.
pub fn read(path: &Path, purpose: Purpose) -> Result<Inventory> {
    let files = read_files(path, purpose)?;
    let mut inventory =
        Inventory { path: path.to_owned(), medium: Medium::Directory, series: vec![], leftovers: vec![] };
    let mut leftovers = BTreeMap::new();
    // A file name can fit several series: `a_b_1.ckpt` fits the prefix `a` and the empty prefix. If the file belongs to
    // one of these series, the plan of the other series ignores the file. Therefore the ignored files are classified
    // after all plans are known.
    let mut ignored = BTreeMap::new();
    for naming in infer_series(&files) {
        let entries = files.iter().map(|(name, file)| FileEntry { name: name.clone(), content: file.summary.clone() });
        let plan = plan(&naming, entries);
        let checkpoints: Vec<Checkpoint> =
            plan.checkpoints.iter().filter_map(|found| checkpoint(&plan, &found.files, &files)).collect();
        if !checkpoints.is_empty() {
            inventory.series.push(Series { name: naming.prefix, region: None, checkpoints });
        }
        leftovers.extend(plan.actions.iter().flat_map(|action| describe_action(action, &files)));
        for file in plan.ignored {
            let reason = ignored.entry(file.name).or_insert(IgnoreReason::Foreign);
            if *reason == IgnoreReason::Foreign {
                *reason = file.reason;
            }
        }
    }
    let listed: BTreeSet<String> = inventory.series.iter().flat_map(places).collect();
    for (name, file) in &files {
        if file.is_checkpoint && !listed.contains(name) && !leftovers.contains_key(name) {
            leftovers.insert(name.clone(), describe_ignored(name, file, ignored.remove(name)));
        }
    }
    inventory.leftovers =
        leftovers.into_iter().map(|(place, (verdict, reason))| Leftover { place, verdict, reason }).collect();
    // A training run that has not saved yet leaves only a lock file.
    let has_lock = || files.keys().any(|name| name.starts_with('.') && name.ends_with(".lock"));
    if inventory.series.is_empty() && inventory.leftovers.is_empty() && !has_lock() {
        let found = "none of its files is a checkpoint".to_owned();
        return Err(CliError::WrongFile { path: path.to_owned(), expected: "a directory of checkpoints", found });
    }
    Ok(inventory)
}

/// How often [`read_files`] lists the directory if files disappear meanwhile.
const ATTEMPTS: usize = 16;

/// Reads all files of the directory `path`. A training run can replace files meanwhile. If a file disappears before it
/// is opened, the function lists the directory again. All files are opened before the first one is read, so the
/// function sees one state of the directory.
fn read_files(path: &Path, purpose: Purpose) -> Result<Files> {
    let mut opened = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        let is_complete;
        (opened, is_complete) = open_files(path)?;
        if is_complete {
            break;
        }
    }
    let mut files = Files::new();
    for (name, file) in opened {
        let file_path = path.join(&name);
        let (file, keep_open) = match file {
            OpenedFile::Open(file) => (file, true),
            OpenedFile::Later => match RealFs.open(&file_path) {
                // The file is older than the state that the function shows.
                Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
                file => (file.map_err(CliError::io("read", &file_path))?, false),
            },
        };
        let len = file.metadata().map_err(CliError::io("read", &file_path))?.len();
        let source = Arc::new(Source::from_file(&file_path, file, len));
        let final_name = parse_hidden_name(&name).map_or(name.as_str(), |(final_name, _)| final_name);
        let has_extension = Path::new(final_name).extension().is_some_and(|extension| extension == "ckpt");
        let content = match read_stream(&name, &Payload::new(&source, 0, len), &source, purpose)? {
            Ok(stored) => FileContent { summary: Ok(summary(&stored.stream)), stream: Ok(stored), is_checkpoint: true },
            Err(error) => {
                let reason = ignore_reason(&error);
                let is_checkpoint = has_extension || (len >= 4 && reason != IgnoreReason::Foreign);
                FileContent { summary: Err(reason), stream: Err(classify_error(&error)), is_checkpoint }
            }
        };
        if !keep_open {
            source.close();
        }
        files.insert(name, content);
    }
    Ok(files)
}

/// A file of a directory that will be read.
enum OpenedFile {
    Open(File),
    /// The file is opened when it is read, because a process can open only a limited number of files.
    Later,
}

/// Opens the regular files of the directory `path`. The result is false if a file disappeared meanwhile.
fn open_files(path: &Path) -> Result<(BTreeMap<String, OpenedFile>, bool)> {
    const MAX_OPEN: usize = 128;
    let (mut opened, mut is_complete) = (BTreeMap::new(), true);
    for entry in std::fs::read_dir(path).map_err(CliError::io("list", path))? {
        let entry = entry.map_err(CliError::io("list", path))?;
        // Skip names that are not UTF-8, because the store writes only UTF-8 names.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let file = entry.path();
        match RealFs.is_file(&file) {
            Ok(true) if opened.len() < MAX_OPEN => match RealFs.open(&file) {
                Ok(file) => drop(opened.insert(name, OpenedFile::Open(file))),
                Err(cause) if cause.kind() == ErrorKind::NotFound => is_complete = false,
                Err(cause) => return Err(CliError::io("read", &file)(cause)),
            },
            Ok(true) => drop(opened.insert(name, OpenedFile::Later)),
            // A symbolic link without a target exists, so listing the directory again does not help.
            Err(_) => is_complete &= RealFs.exists(&file).unwrap_or(true),
            Ok(false) => (),
        }
    }
    Ok((opened, is_complete))
}

/// Returns the header and the object names of a checkpoint. The function `plan` decides from these values which files
/// belong together.
fn summary(stream: &Stream) -> StreamSummary {
    let header = &stream.header;
    let mut objects = stream.object_names.clone();
    if objects.is_empty() {
        objects.push(Naming::ALL_OBJECTS.to_owned());
    }
    StreamSummary {
        step: header.step,
        sequence: header.sequence,
        run: header.run,
        iteration: header.iteration,
        score: header.score,
        score_name: header.score_name.clone(),
        series_name: header.series_name.clone(),
        rule: header.rule,
        model: header.model,
        save_id: header.save_id,
        objects,
    }
}

const fn ignore_reason(error: &ReadError) -> IgnoreReason {
    match error {
        ReadError::Decode(DecodeError::NotACheckpoint) => IgnoreReason::Foreign,
        ReadError::Decode(DecodeError::Version { found }) => IgnoreReason::Version { found: *found },
        ReadError::Decode(DecodeError::Newer) => IgnoreReason::Newer,
        _ => IgnoreReason::Damaged,
    }
}

/// Returns the prefixes and extensions of all series in the directory. For a normal file, the function compares the
/// name with the content. The hidden name of a temporary file contains the length of the prefix, so the content is not
/// needed.
fn infer_series(files: &Files) -> BTreeSet<Naming> {
    let infer = |(name, file): (&String, &FileContent)| match parse_hidden_name(name) {
        _ if !file.is_checkpoint => None,
        Some((final_name, prefix_len)) => {
            let prefix = final_name.get(..prefix_len)?;
            let (_, extension) = final_name.rsplit_once('.')?;
            let naming = Naming { prefix: prefix.to_owned(), extension: extension.to_owned() };
            naming.classify(name).map(|_| naming)
        }
        None => infer_naming(name, &file.stream.as_ref().ok()?.stream),
    };
    files.iter().filter_map(infer).collect()
}

/// Returns the prefix and the extension of a checkpoint file. Returns `None` if the name does not match the content. A
/// hidden name never matches.
fn infer_naming(name: &str, stream: &Stream) -> Option<Naming> {
    let object = match &stream.object_names[..] {
        [] => Naming::ALL_OBJECTS,
        _ => &stream.objects.first()?.name,
    };
    Naming::infer(name, object, &stream.header.as_core())
}

/// Splits the hidden name of a temporary file or of a file that marks a removal. Returns the final name and the length
/// of the prefix.
fn parse_hidden_name(name: &str) -> Option<(&str, usize)> {
    let rest = name.strip_prefix('.')?;
    let rest = rest.strip_suffix(".tmp").or_else(|| rest.strip_suffix(".deleted"))?;
    let (final_name, prefix_len) = rest.rsplit_once('.')?;
    Some((final_name, prefix_len.parse().ok()?))
}

/// Reads the files of one checkpoint. `names` are the final names of the files. A file that the plan renames still has
/// its temporary name, so the function reads the file under this name.
fn checkpoint(plan: &Plan, names: &[String], files: &Files) -> Option<Checkpoint> {
    let stored = |name: &String| files.get(plan.current_name(name))?.stream.as_ref().ok().cloned();
    let streams: Vec<StoredStream> = names.iter().filter_map(stored).collect();
    let header = streams.first()?.stream.header.clone();
    Some(Checkpoint { header, streams, slot: None })
}

/// Returns the names of all files that contain the checkpoints of a series.
fn places(series: &Series) -> impl Iterator<Item = String> {
    let streams = series.checkpoints.iter().flat_map(|checkpoint| &checkpoint.streams);
    streams.map(|stored| stored.place.clone())
}

/// Returns the files that one action of a plan renames, replaces or removes. Each file has a verdict and a reason.
fn describe_action(action: &Action, files: &Files) -> Vec<(String, (Verdict, String))> {
    match action {
        Action::Rename { from, to, step } => {
            let reason =
                format!("the commit of step {step} was interrupted; the store finishes it when it opens the directory");
            let mut changed = vec![(from.clone(), (Verdict::Interrupted, reason))];
            if files.contains_key(to) {
                changed.push((to.clone(), (Verdict::Replaced, format!("{from} replaces this file"))));
            }
            changed
        }
        Action::Remove { file, step, reason } => {
            let verdict = match reason {
                RemoveReason::InterruptedSave => Verdict::Interrupted,
                RemoveReason::InterruptedRemoval => Verdict::Removing,
                RemoveReason::Replaced => Verdict::Replaced,
            };
            let damage = files.get(file).and_then(|file| file.stream.as_ref().err());
            let text = match (damage, verdict, step) {
                (Some((_, damage)), ..) => damage.clone(),
                (None, Verdict::Interrupted, _) => "the save was interrupted".to_owned(),
                (None, Verdict::Removing, Some(step)) => format!("the removal of step {step} was interrupted"),
                (None, Verdict::Removing, None) => "the removal of its checkpoint was interrupted".to_owned(),
                (None, _, _) => "a newer checkpoint of the same series has the same step".to_owned(),
            };
            vec![(file.clone(), (verdict, text))]
        }
        Action::SyncDirectory => vec![],
    }
}

/// Returns a verdict about a file and the reason for the verdict. The file belongs to no checkpoint, and no action
/// changes the file. `ignored` is the reason why the plan of a series ignores the file.
fn describe_ignored(name: &str, file: &FileContent, ignored: Option<IgnoreReason>) -> (Verdict, String) {
    let stream = match &file.stream {
        Ok(stored) => &stored.stream,
        // A file with a temporary name was never committed, so no checkpoint is lost.
        Err((_, reason)) if parse_hidden_name(name).is_some() => return (Verdict::Interrupted, reason.clone()),
        Err(damage) => return damage.clone(),
    };
    if let Some(IgnoreReason::Incomplete { step, missing, .. }) = ignored {
        return (Verdict::Damaged, format!("step {step} is incomplete: no file for {}", missing.join(", ")));
    }
    let has_fitting_name = infer_naming(name, stream).is_some();
    let reason = if has_fitting_name {
        "another checkpoint has the same sequence number"
    } else {
        "the name of the file does not match its content"
    };
    (Verdict::Foreign, reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_are_parsed() {
        assert_eq!(parse_hidden_name(".a_m_1.ckpt.1.tmp"), Some(("a_m_1.ckpt", 1)));
        assert_eq!(parse_hidden_name(".a_m_1.ckpt.1.deleted"), Some(("a_m_1.ckpt", 1)));
        for other in ["a_m_1.ckpt", ".a_m_1.ckpt.tmp", ".hidden", ".a.b.tmp"] {
            assert_eq!(parse_hidden_name(other), None, "{other}");
        }
    }
}
