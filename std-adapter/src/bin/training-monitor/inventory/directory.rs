//! The inventory of a directory: the complete sets of checkpoint files, and all files that do not belong to such a set.
//!
//! The rules are those of `training_monitor_std::Directory`, which cannot be used, because it changes the directory when it
//! opens it:
//!
//! * The files of one set have the same prefix, step, sequence, iteration and list of objects.
//! * A set is committed if each of its objects has a file under its final name.
//! * `.{final name}.{n}.tmp` is a file that is being written; n is the length of the prefix.
//! * `.{final name}.{n}.deleted` marks a set that is being removed.

use super::{Checkpoint, Inventory, Leftover, Medium, Series, StoredStream, Verdict, classify_error, stored_stream};
use crate::error::{CliError, Result};
use crate::files;
use crate::stream::{Stream, StreamHeader};
use std::collections::BTreeMap;
use std::path::Path;
use training_monitor_std::directory::FileName;

/// The values that all files of one set share. The order of the fields is the order in which series and checkpoints are
/// listed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SetKey {
    prefix: String,
    sequence: u32,
    step: u32,
    iteration: u32,
    object_names: Vec<String>,
}

/// Reads each file that is a checkpoint, or that has the name of one.
pub fn read(path: &Path) -> Result<Inventory> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(CliError::io("list", path))? {
        let entry = entry.map_err(CliError::io("list", path))?;
        // The names of checkpoint files are always UTF-8.
        names.extend(entry.file_name().into_string().ok().filter(|_| entry.path().is_file()));
    }
    names.sort();
    let mut sets = BTreeMap::<SetKey, Vec<StoredStream>>::new();
    let mut leftovers = Vec::new();
    // The sets with a hidden file, whose save or removal was interrupted.
    let mut unfinished = BTreeMap::<SetKey, Verdict>::new();
    for name in names {
        let (final_name, hidden) = match parse_hidden_name(&name) {
            Some((final_name, verdict)) => (final_name, Some(verdict)),
            None => (name.as_str(), None),
        };
        let bytes = files::read(&path.join(&name))?;
        let has_extension = Path::new(final_name).extension().is_some_and(|extension| extension == "ckpt");
        if !bytes.starts_with(b"TMCK") && !has_extension {
            continue;
        }
        let stream = match Stream::read_all(&bytes) {
            Ok(stream) => stream,
            Err(error) => {
                let (verdict, reason) = classify_error(&error, &bytes);
                leftovers.push(Leftover { place: name, verdict: hidden.unwrap_or(verdict), reason });
                continue;
            }
        };
        let key = set_key(final_name, &stream);
        match hidden {
            Some(verdict) => {
                unfinished.insert(key, verdict);
                let reason = match verdict {
                    Verdict::Removing => "the removal of its checkpoint was interrupted",
                    _ => "the save was interrupted",
                };
                leftovers.push(Leftover { place: name, verdict, reason: reason.to_owned() });
            }
            None => sets.entry(key).or_default().push(stored_stream(name, &bytes, stream)),
        }
    }
    let series = collect_series(sets, &unfinished, &mut leftovers);
    if series.is_empty() && leftovers.is_empty() {
        let found = "none of its files is a checkpoint".to_owned();
        return Err(CliError::WrongFile { path: path.to_owned(), expected: "a directory of checkpoints", found });
    }
    leftovers.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(Inventory { path: path.to_owned(), medium: Medium::Directory, series, leftovers })
}

/// The set that a file belongs to, from its final name and its content.
fn set_key(final_name: &str, stream: &Stream) -> SetKey {
    let StreamHeader { step, sequence, iteration, .. } = stream.header;
    let prefix = prefix(final_name, stream).unwrap_or_default();
    SetKey { prefix, sequence, step, iteration, object_names: stream.object_names.clone() }
}

/// Groups complete sets by series. The files of all other sets become leftovers.
fn collect_series(
    sets: BTreeMap<SetKey, Vec<StoredStream>>,
    unfinished: &BTreeMap<SetKey, Verdict>,
    leftovers: &mut Vec<Leftover>,
) -> Vec<Series> {
    let mut series = Vec::<Series>::new();
    for (key, mut streams) in sets {
        let SetKey { prefix, step, object_names, .. } = &key;
        let has = |name: &String| streams.iter().any(|file| file.stream.objects.iter().any(|o| o.name == *name));
        let missing: Vec<&str> = object_names.iter().filter(|name| !has(name)).map(String::as_str).collect();
        let unfinished = unfinished.get(&key);
        if !missing.is_empty() || unfinished == Some(&Verdict::Removing) {
            let (verdict, reason) = match unfinished {
                Some(Verdict::Removing) => (Verdict::Removing, format!("the removal of step {step} was interrupted")),
                Some(_) => (
                    Verdict::Interrupted,
                    format!(
                        "the commit of step {step} was interrupted; the store finishes it when it opens the directory"
                    ),
                ),
                None => (Verdict::Damaged, format!("step {step} is incomplete: no file for {}", missing.join(", "))),
            };
            let leftover = |file: StoredStream| Leftover { place: file.place, verdict, reason: reason.clone() };
            leftovers.extend(streams.into_iter().map(leftover));
            continue;
        }
        streams.sort_by_key(|file| {
            let object = file.stream.objects.first();
            object.and_then(|object| object_names.iter().position(|name| *name == object.name))
        });
        let Some(header) = streams.first().map(|file| file.stream.header.clone()) else { continue };
        let checkpoint = Checkpoint { header, streams, slot: None };
        match series.last_mut() {
            Some(last) if last.name == *prefix => last.checkpoints.push(checkpoint),
            _ => series.push(Series { name: prefix.clone(), region: None, checkpoints: vec![checkpoint] }),
        }
    }
    series
}

/// Splits the name of a temporary file or of a removal mark into the final name and the verdict about the file.
fn parse_hidden_name(name: &str) -> Option<(&str, Verdict)> {
    let rest = name.strip_prefix('.')?;
    let (rest, verdict) = match rest.strip_suffix(".tmp") {
        Some(rest) => (rest, Verdict::Interrupted),
        None => (rest.strip_suffix(".deleted")?, Verdict::Removing),
    };
    let (final_name, prefix_len) = rest.rsplit_once('.')?;
    prefix_len.parse::<usize>().ok().map(|_| (final_name, verdict))
}

/// The prefix of a file name. Returns `None` if the rest of the name does not match the content of the file.
fn prefix(name: &str, stream: &Stream) -> Option<String> {
    let (_, extension) = name.rsplit_once('.')?;
    let header = stream.header.as_core();
    let score = header.score_name.zip(header.score);
    let object = &stream.objects.first()?.name;
    let rest = FileName { prefix: "", object, step: header.step, score, extension }.to_string();
    Some(name.strip_suffix(&rest)?.trim_end_matches('_').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_are_parsed() {
        assert_eq!(parse_hidden_name(".a_m_1.ckpt.1.tmp"), Some(("a_m_1.ckpt", Verdict::Interrupted)));
        assert_eq!(parse_hidden_name(".a_m_1.ckpt.1.deleted"), Some(("a_m_1.ckpt", Verdict::Removing)));
        for other in ["a_m_1.ckpt", ".a_m_1.ckpt.tmp", ".hidden", ".a.b.tmp"] {
            assert_eq!(parse_hidden_name(other), None, "{other}");
        }
    }
}
