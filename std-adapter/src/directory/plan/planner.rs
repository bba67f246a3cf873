//! The rules of the function [`plan`](super::plan), with one method for each rule. The function creates a recovery plan
//! for a checkpoint directory.

use super::{Action, CheckpointFiles, FileEntry, IgnoreReason, IgnoredFile, Plan, RemoveReason};
use crate::directory::naming::{NameKind, Naming, step_part};
use crate::directory::summary::StreamSummary;
use std::collections::BTreeMap;
use training_monitor::store::CheckpointMeta;

/// The identity of a save: the values that all files of one save have in common. The derived order sorts the saves from
/// the oldest to the newest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct SaveId {
    sequence: u32,
    run: u32,
    iteration: u32,
    step: u32,
    /// The rule and the model of the series.
    series: (u32, u32),
    /// The checksum of the whole checkpoint. It distinguishes two saves that agree in all other values, for example
    /// because the second one repeats a save whose checkpoint was damaged later.
    save_id: u32,
    objects: Vec<String>,
}

impl SaveId {
    fn new(summary: StreamSummary) -> Self {
        let CheckpointMeta { sequence, run, iteration, step, series, .. } = CheckpointMeta::from(&summary);
        let series = (series.rule, series.model);
        SaveId { sequence, run, iteration, step, series, save_id: summary.save_id, objects: summary.objects }
    }

    /// Returns a key that sorts saves by age: a newer save has a greater key. The sequence number alone is not enough,
    /// because the save after a failed save can have the same number.
    const fn age(&self) -> (u32, u32, u32) {
        (self.sequence, self.run, self.iteration)
    }

    /// Returns the series and the step. A newer save replaces an older one only if both agree in these values.
    const fn place(&self) -> (u32, u32, u32) {
        (self.series.0, self.series.1, self.step)
    }

    /// Returns whether `newer` is a newer save of the same series and step.
    fn is_replaced_by(&self, newer: &SaveId) -> bool {
        self.place() == newer.place() && self.age() < newer.age()
    }
}

/// The files of one save. `by_object` lists the files of each object under the index of the object. Each file is
/// described by its kind (such as temporary) and its final name.
#[derive(Default, Debug)]
struct SaveFiles {
    by_object: BTreeMap<usize, Vec<(NameKind, String)>>,
    meta: Option<CheckpointMeta>,
}

impl SaveFiles {
    fn has(&self, object: usize, kind: NameKind) -> bool {
        self.by_object.get(&object).is_some_and(|files| files.iter().any(|(found, _)| *found == kind))
    }

    fn has_any(&self, kind: NameKind) -> bool {
        self.names(kind).next().is_some()
    }

    /// Returns whether each of the `count` objects has a file with its final name, and not only a temporary file.
    fn is_complete(&self, count: usize) -> bool {
        (0..count).all(|object| self.has(object, NameKind::Final))
    }

    fn has_final(&self, name: &str) -> bool {
        self.names(NameKind::Final).any(|found| found == name)
    }

    /// Returns the final names (the names after the commit) of all files whose current name is of the given kind.
    fn names(&self, kind: NameKind) -> impl Iterator<Item = &String> {
        self.by_object.values().flatten().filter(move |(found, _)| *found == kind).map(|(_, name)| name)
    }

    /// Returns the final names of the files that an interrupted commit has not renamed yet. `count` is the number of
    /// objects. Returns `None` if no commit was interrupted: no file has its final name, or an object has no file.
    fn names_to_complete(&self, count: usize) -> Option<Vec<String>> {
        let has_file = |object| self.has(object, NameKind::Final) || self.has(object, NameKind::Temporary);
        if !(0..count).any(|object| self.has(object, NameKind::Final)) || !(0..count).all(has_file) {
            return None;
        }
        let not_renamed = (0..count).filter(|object| !self.has(*object, NameKind::Final));
        // An object without a final file has temporary files only. One of them is enough.
        let files = not_renamed.filter_map(|object| self.by_object.get(&object)?.first());
        Some(files.map(|(_, name)| name.clone()).collect())
    }

    /// Removes the file with the final name `name`, because a file of another save replaces it.
    fn forget_final(&mut self, name: &str) {
        for files in self.by_object.values_mut() {
            files.retain(|(kind, file)| *kind != NameKind::Final || file != name);
        }
    }

    /// Marks a temporary file as renamed to its final name `name`, because the plan contains this rename.
    fn set_final(&mut self, name: &str) {
        for (kind, file) in self.by_object.values_mut().flatten() {
            if file == name && *kind == NameKind::Temporary {
                *kind = NameKind::Final;
            }
        }
    }
}

/// Builds a recovery plan for a checkpoint directory. The planner applies the rules 1 to 6 of the function
/// [`plan`](super::plan) in this order.
pub(super) struct Planner<'a> {
    naming: &'a Naming,
    saves: BTreeMap<SaveId, SaveFiles>,
    /// Temporary files and tombstones (markers of a removal) without valid content, with the reason to remove them.
    unusable: Vec<(String, RemoveReason)>,
    plan: Plan,
}

impl<'a> Planner<'a> {
    /// Creates a planner for `files`, and groups the files by save.
    pub fn new(naming: &'a Naming, files: Vec<FileEntry>) -> Self {
        let mut planner = Planner { naming, saves: BTreeMap::new(), unusable: Vec::new(), plan: Plan::default() };
        for file in files {
            planner.add(file);
        }
        planner
    }

    fn add(&mut self, file: FileEntry) {
        let Some((kind, final_name)) = self.naming.classify(&file.name) else { return };
        let found = file.content.and_then(|summary| {
            let object = self.naming.object_index(final_name, &summary);
            object.map(|object| (object, summary)).ok_or(IgnoreReason::Foreign)
        });
        match (found, kind) {
            (Ok((object, summary)), _) => {
                let meta = CheckpointMeta::from(&summary);
                let save = self.saves.entry(SaveId::new(summary)).or_default();
                save.meta = Some(meta);
                save.by_object.entry(object).or_default().push((kind, final_name.to_owned()));
            }
            (Err(reason), NameKind::Final) => self.plan.ignored.push(IgnoredFile { name: file.name, reason }),
            // The content is unknown. It may be the only copy of an object, so the plan does not remove it.
            (
                Err(
                    reason @ (IgnoreReason::Unreadable(_)
                    | IgnoreReason::Version { .. }
                    | IgnoreReason::Newer
                    | IgnoreReason::NotAFile),
                ),
                _,
            ) => self.plan.ignored.push(IgnoredFile { name: file.name, reason }),
            // Only this crate creates files with temporary or tombstone names. An interrupted save or removal leaves
            // such a file without valid content, so the plan removes the file.
            (Err(_), NameKind::Temporary) => self.unusable.push((file.name, RemoveReason::InterruptedSave)),
            (Err(_), NameKind::Tombstone) => self.unusable.push((file.name, RemoveReason::InterruptedRemoval)),
        }
    }

    /// Applies the recovery rules 1 to 6 in this order, and returns the plan.
    pub fn run(mut self) -> Plan {
        self.finish_removals();
        self.complete_commits();
        self.remove_temporary_files();
        self.resolve_duplicates();
        self.plan.ignored.sort_by(|a, b| a.name.cmp(&b.name));
        self.plan
    }

    /// Rule 1: finishes every interrupted removal. A tombstone file shows that the removal of a save has begun.
    fn finish_removals(&mut self) {
        let is_being_removed = |save: &SaveFiles| save.has_any(NameKind::Tombstone);
        let mut tombstones = Vec::new();
        for (id, save) in self.saves.iter().filter(|(_, save)| is_being_removed(save)) {
            let remove = |file| Action::Remove { file, step: Some(id.step), reason: RemoveReason::InterruptedRemoval };
            let temporary = save.names(NameKind::Temporary).map(|name| self.naming.temporary_name(name));
            self.plan.actions.extend(save.names(NameKind::Final).cloned().chain(temporary).map(remove));
            let marked = save.names(NameKind::Tombstone).map(|name| self.naming.tombstone_name(name));
            tombstones.extend(marked.map(remove));
        }
        if !tombstones.is_empty() {
            // Remove the tombstones only after the removal of the other files is synchronized. Otherwise a power
            // failure could leave some of these files without a tombstone.
            self.plan.actions.push(Action::SyncDirectory);
            self.plan.actions.append(&mut tombstones);
        }
        self.saves.retain(|_, save| !is_being_removed(save));
    }

    /// Rule 2: completes every interrupted commit. Skips a commit if one of the final names belongs to a file that the
    /// commit must not replace, for example a file of another program.
    fn complete_commits(&mut self) {
        let mut has_renamed = false;
        let newest_first: Vec<SaveId> = self.saves.keys().rev().cloned().collect();
        for id in newest_first {
            let names = self.saves.get(&id).and_then(|save| save.names_to_complete(id.objects.len()));
            let Some(names) = names.filter(|names| names.iter().all(|name| self.may_replace(&id, name))) else {
                continue;
            };
            for name in names {
                let from = self.naming.temporary_name(&name);
                self.plan.actions.push(Action::Rename { from, to: name.clone(), step: id.step });
                self.plan.ignored.retain(|file| file.name != name);
                for (other, save) in &mut self.saves {
                    if *other == id { save.set_final(&name) } else { save.forget_final(&name) }
                }
                has_renamed = true;
            }
        }
        if has_renamed {
            self.plan.actions.push(Action::SyncDirectory);
        }
    }

    /// Returns whether a commit of the save `id` may replace the file with the final name `name`, if there is one.
    fn may_replace(&self, id: &SaveId, name: &str) -> bool {
        let is_protected = |file: &IgnoredFile| file.name == *name && !file.reason.is_replaceable();
        let mut owners = self.saves.iter().filter(|(other, save)| *other != id && save.has_final(name));
        // An incomplete save is of no use, so it may be replaced regardless of its age.
        let is_replaceable =
            |(other, save): (&SaveId, &SaveFiles)| !save.is_complete(other.objects.len()) || other.is_replaced_by(id);
        !self.plan.ignored.iter().any(is_protected) && owners.all(is_replaceable)
    }

    /// Rule 3: removes the files of saves that were interrupted before their commit.
    fn remove_temporary_files(&mut self) {
        for (file, reason) in std::mem::take(&mut self.unusable) {
            self.plan.actions.push(Action::Remove { file, step: None, reason });
        }
        for (id, save) in &self.saves {
            let names = save.names(NameKind::Temporary).map(|name| self.naming.temporary_name(name));
            let (step, reason) = (Some(id.step), RemoveReason::InterruptedSave);
            self.plan.actions.extend(names.map(|file| Action::Remove { file, step, reason }));
        }
        self.saves.retain(|_, save| save.has_any(NameKind::Final));
    }

    /// Rules 4 to 6: lists the newest complete save of each series and step as a checkpoint, and removes older saves of
    /// the same series and step. Ignores all other files.
    fn resolve_duplicates(&mut self) {
        let (mut newest, mut by_sequence) = (BTreeMap::new(), BTreeMap::new());
        // The saves are sorted from the oldest to the newest, so the last complete save of a step is the newest.
        for id in self.saves.iter().filter(|(id, save)| save.is_complete(id.objects.len())).map(|(id, _)| id) {
            newest.insert(id.place(), id.clone());
        }
        // The sequence number identifies a checkpoint, so it must be unique. Only copied files can have the same one.
        for id in self.saves.keys().filter(|id| newest.get(&id.place()) == Some(*id)) {
            by_sequence.insert(id.sequence, id.clone());
        }
        for (id, save) in std::mem::take(&mut self.saves) {
            let winner = newest.get(&id.place()).filter(|winner| by_sequence.get(&winner.sequence) == Some(*winner));
            match winner {
                Some(winner) if *winner == id => self.list(id, &save),
                Some(winner) if id.is_replaced_by(winner) => {
                    let (step, reason) = (Some(id.step), RemoveReason::Replaced);
                    let remove = |file: &String| Action::Remove { file: file.clone(), step, reason };
                    self.plan.actions.extend(save.names(NameKind::Final).map(remove));
                }
                _ => self.ignore(id, &save),
            }
        }
    }

    /// Lists a complete save. If an object has several files, the other ones are copies.
    fn list(&mut self, id: SaveId, save: &SaveFiles) {
        let mut files = Vec::new();
        for named in save.by_object.values() {
            let mut finals = named.iter().filter(|(kind, _)| *kind == NameKind::Final).map(|(_, name)| name.clone());
            files.extend(finals.next());
            let reason = IgnoreReason::Duplicate { sequence: id.sequence };
            self.plan.ignored.extend(finals.map(|name| IgnoredFile { name, reason: reason.clone() }));
        }
        self.plan.checkpoints.extend(save.meta.map(|meta| CheckpointFiles { meta, files, objects: id.objects }));
    }

    /// Returns why a file of the save cannot be read, if there is such a file. Its content is unknown, so the step part
    /// of its name decides whether it belongs to the save.
    fn unreadable_file(&self, save: &SaveFiles) -> Option<IgnoreReason> {
        let extension = &self.naming.extension;
        let is_of_save = |file: &&IgnoredFile| {
            let part = step_part(&file.name, extension);
            matches!(file.reason, IgnoreReason::Unreadable(_))
                && save.names(NameKind::Final).any(|name| step_part(name, extension) == part)
        };
        self.plan.ignored.iter().find(is_of_save).map(|file| file.reason.clone())
    }

    /// Rule 6: ignores the files of a save that is incomplete, or that has the same age as another complete save.
    fn ignore(&mut self, id: SaveId, save: &SaveFiles) {
        let unreadable = self.unreadable_file(save);
        let SaveId { step, sequence, objects, .. } = id;
        let objects = objects.into_iter().enumerate();
        let missing: Vec<String> =
            objects.filter(|(object, _)| !save.has(*object, NameKind::Final)).map(|(_, name)| name).collect();
        let reason = match missing.is_empty() {
            // The missing file is perhaps only unreadable, so no save may replace the others.
            false => unreadable.unwrap_or(IgnoreReason::Incomplete { step, sequence, missing }),
            // The save is complete, but another complete save has the same sequence number. Saves of one directory
            // never agree in it, so another program has copied these files.
            true => IgnoreReason::Duplicate { sequence },
        };
        let files = save.names(NameKind::Final);
        self.plan.ignored.extend(files.map(|name| IgnoredFile { name: name.clone(), reason: reason.clone() }));
    }
}
