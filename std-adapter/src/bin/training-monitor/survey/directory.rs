//! A directory as it lies there: the sets of files that are whole, and every file that is not part of one.
//!
//! The rules are those of `training_monitor_std::Directory`, which is not used since opening it brings it in order:
//! files of one set have the same prefix, step, sequence, iteration and set of objects; a set counts when each object has a
//! file under its final name. `.{final}.{n}.tmp` is a file being written, `.{final}.{n}.gone` the mark of a set being
//! removed; n is the length of the prefix.

use super::{Checkpoint, Kind, Other, Part, Series, Survey, Verdict, part, verdict_of};
use crate::failure::{Failure, Result, read};
use crate::stream::{Head, Stream};
use std::collections::BTreeMap;
use std::path::Path;
use training_monitor::name::FileName;

/// What the files of one save have in common, in the order in which series and checkpoints are shown.
type Key = (String, u32, u32, u32, Vec<String>);

/// Looks at each file that is, or is called like, a checkpoint.
pub fn survey(path: &Path) -> Result<Survey> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(Failure::io("list", path))? {
        let entry = entry.map_err(Failure::io("list", path))?;
        // What is not UTF-8 is not a name of ours.
        names.extend(entry.file_name().into_string().ok().filter(|_| entry.path().is_file()));
    }
    names.sort();
    let mut groups = BTreeMap::<Key, Vec<Part>>::new();
    let mut others = Vec::new();
    // Sets of which something is still or already hidden.
    let mut hidden = BTreeMap::<Key, Verdict>::new();
    for name in names {
        let (shown, verdict) = match hidden_name(&name) {
            Some((shown, verdict)) => (shown, Some(verdict)),
            None => (name.as_str(), None),
        };
        let bytes = read(&path.join(&name))?;
        let ours = bytes.starts_with(b"TMCK") || Path::new(shown).extension().is_some_and(|ext| ext == "ckpt");
        if !ours {
            continue;
        }
        let stream = match Stream::read_all(&bytes) {
            Ok(stream) => stream,
            Err(error) => {
                let (damage, why) = verdict_of(&error, &bytes);
                others.push(Other { place: name, verdict: verdict.unwrap_or(damage), why });
                continue;
            }
        };
        let prefix = prefix(shown, &stream).unwrap_or_default();
        let Head { step, sequence, iteration, .. } = stream.head;
        let key = (prefix, sequence, step, iteration, stream.set.clone());
        match verdict {
            Some(verdict) => {
                hidden.insert(key, verdict);
                let why =
                    if verdict == Verdict::Going { "its checkpoint is being removed" } else { "a save in the middle" };
                others.push(Other { place: name, verdict, why: why.to_owned() });
            }
            None => groups.entry(key).or_default().push(part(name, &bytes, stream)),
        }
    }
    let series = gather(groups, &hidden, &mut others);
    if series.is_empty() && others.is_empty() {
        let found = "none of its files is a checkpoint".to_owned();
        return Err(Failure::WrongFile { path: path.to_owned(), wanted: "a directory of checkpoints", found });
    }
    others.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(Survey { path: path.to_owned(), kind: Kind::Directory, series, others })
}

/// Whole sets by series; the files of the rest go to `others`.
fn gather(groups: BTreeMap<Key, Vec<Part>>, hidden: &BTreeMap<Key, Verdict>, others: &mut Vec<Other>) -> Vec<Series> {
    let mut series = Vec::<Series>::new();
    for (key, mut parts) in groups {
        let (prefix, _, step, _, set) = &key;
        let has = |object: &String| parts.iter().any(|part| part.stream.objects.iter().any(|o| o.name == *object));
        let missing: Vec<&str> = set.iter().filter(|object| !has(object)).map(String::as_str).collect();
        if !missing.is_empty() || hidden.get(&key) == Some(&Verdict::Going) {
            let (verdict, why) = match hidden.get(&key) {
                Some(Verdict::Going) => (Verdict::Going, format!("step {step} is being removed")),
                Some(_) => (Verdict::Torn, format!("the commit of step {step} was cut; the next opening finishes it")),
                None => (Verdict::Damaged, format!("step {step} is incomplete without {}", missing.join(", "))),
            };
            others.extend(parts.into_iter().map(|part| Other { place: part.place, verdict, why: why.clone() }));
            continue;
        }
        let order = |part: &Part| part.stream.objects.first().and_then(|o| set.iter().position(|name| *name == o.name));
        parts.sort_by_key(order);
        let Some(head) = parts.first().map(|part| part.stream.head.clone()) else { continue };
        let checkpoint = Checkpoint { head, parts, slot: None };
        match series.last_mut() {
            Some(last) if last.name == *prefix => last.checkpoints.push(checkpoint),
            _ => series.push(Series { name: prefix.clone(), region: None, checkpoints: vec![checkpoint] }),
        }
    }
    series
}

/// The final name that goes with a hidden one.
fn hidden_name(name: &str) -> Option<(&str, Verdict)> {
    let rest = name.strip_prefix('.')?;
    let (rest, verdict) = match rest.strip_suffix(".tmp") {
        Some(rest) => (rest, Verdict::Torn),
        None => (rest.strip_suffix(".gone")?, Verdict::Going),
    };
    let (shown, len) = rest.rsplit_once('.')?;
    len.parse::<usize>().ok().map(|_| (shown, verdict))
}

/// What stands before the object in a file's name, if it is called as its content says it should be.
fn prefix(name: &str, stream: &Stream) -> Option<String> {
    let (_, extension) = name.rsplit_once('.')?;
    let header = stream.head.header();
    let score = header.score_name.zip(header.score);
    let object = &stream.objects.first()?.name;
    let rest = FileName { prefix: "", object, step: header.step, score, extension }.to_string();
    Some(name.strip_suffix(&rest)?.trim_end_matches('_').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_in_the_making() {
        assert_eq!(hidden_name(".a_m_1.ckpt.1.tmp"), Some(("a_m_1.ckpt", Verdict::Torn)));
        assert_eq!(hidden_name(".a_m_1.ckpt.1.gone"), Some(("a_m_1.ckpt", Verdict::Going)));
        for other in ["a_m_1.ckpt", ".a_m_1.ckpt.tmp", ".hidden", ".a.b.tmp"] {
            assert_eq!(hidden_name(other), None, "{other}");
        }
    }
}
