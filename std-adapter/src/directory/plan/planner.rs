//! The rules of the function [`plan`](super::plan), with one method for each rule. The function creates a recovery plan
//! for a checkpoint directory.

use super::{Action, CheckpointFiles, FileEntry, IgnoreReason, IgnoredFile, Plan, RemoveReason};
use crate::directory::naming::{NameKind, Naming};
use std::collections::BTreeMap;
use training_monitor::store::CheckpointMeta;

/// The identity of a save: the values that all files of one save have in common. The derived order sorts the saves from
/// the oldest to the newest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct SaveId {
    sequence: u32,
    iteration: u32,
    step: u32,
    objects: Vec<String>,
}

impl SaveId {
    /// Returns a key that sorts saves by age: a newer save has a greater key. The sequence number alone is not enough,
    /// because the save after a failed save can have the same number.
    const fn age(&self) -> (u32, u32) {
        (self.sequence, self.iteration)
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
        let files = not_renamed.filter_map(|object| self.by_object.get(&object)).flatten();
        Some(files.map(|(_, name)| name.clone()).collect())
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
                let (sequence, iteration, step) = (meta.sequence, meta.iteration, meta.step);
                let save =
                    self.saves.entry(SaveId { sequence, iteration, step, objects: summary.objects }).or_default();
                save.meta = Some(meta);
                save.by_object.entry(object).or_default().push((kind, final_name.to_owned()));
            }
            (Err(reason), NameKind::Final) => self.plan.ignored.push(IgnoredFile { name: file.name, reason }),
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
        let mut owners = BTreeMap::new();
        for (id, save) in &self.saves {
            owners.extend(save.names(NameKind::Final).map(|name| (name.clone(), id.age())));
        }
        let Plan { actions, ignored, .. } = &mut self.plan;
        let mut renamed = Vec::new();
        for (id, save) in &mut self.saves {
            let Some(names) = save.names_to_complete(id.objects.len()) else { continue };
            // A commit may replace a file of an older save. It must not replace any other existing file.
            let is_available = |name: &String| {
                let is_protected = |file: &IgnoredFile| file.name == *name && !file.reason.is_replaceable();
                owners.get(name).is_none_or(|age| *age < id.age()) && !ignored.iter().any(is_protected)
            };
            if !names.iter().all(is_available) {
                continue;
            }
            for name in names {
                let from = self.naming.temporary_name(&name);
                actions.push(Action::Rename { from, to: name.clone(), step: id.step });
                ignored.retain(|file| file.name != name);
                save.set_final(&name);
                renamed.push((id.age(), name));
            }
        }
        if !renamed.is_empty() {
            actions.push(Action::SyncDirectory);
            self.forget_overwritten(&renamed);
        }
    }

    /// Removes overwritten files from the lists of the saves. A file is overwritten if a newer save has renamed another
    /// file to the same name. Each element of `renamed` is the age of a newer save and the name of a file that the save
    /// has renamed.
    fn forget_overwritten(&mut self, renamed: &[((u32, u32), String)]) {
        for (id, save) in &mut self.saves {
            for files in save.by_object.values_mut() {
                files.retain(|(kind, name)| {
                    let overwrites = |(age, new): &((u32, u32), String)| *age > id.age() && new == name;
                    *kind != NameKind::Final || !renamed.iter().any(overwrites)
                });
            }
        }
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

    /// Rules 4 to 6: lists the newest complete save of each step as a checkpoint, and removes older saves of the same
    /// step. Ignores all other files.
    fn resolve_duplicates(&mut self) {
        let mut newest: BTreeMap<u32, SaveId> = BTreeMap::new();
        // The saves are sorted from the oldest to the newest, so the last complete save of a step is the newest.
        for (id, save) in &self.saves {
            if save.is_complete(id.objects.len()) {
                newest.insert(id.step, id.clone());
            }
        }
        for (id, save) in std::mem::take(&mut self.saves) {
            let files: Vec<String> = save.names(NameKind::Final).cloned().collect();
            match newest.get(&id.step) {
                Some(winner) if *winner == id => {
                    self.plan.checkpoints.extend(save.meta.map(|meta| CheckpointFiles { meta, files }));
                }
                Some(winner) if winner.age() > id.age() => {
                    let (step, reason) = (Some(id.step), RemoveReason::Replaced);
                    let remove = |file| Action::Remove { file, step, reason };
                    self.plan.actions.extend(files.into_iter().map(remove));
                }
                _ => self.ignore(id, &save, files),
            }
        }
    }

    /// Rule 6: ignores the files of a save that is incomplete, or that has the same age as another complete save.
    fn ignore(&mut self, id: SaveId, save: &SaveFiles, files: Vec<String>) {
        let objects = id.objects.into_iter().enumerate();
        let missing: Vec<String> =
            objects.filter(|(object, _)| !save.has(*object, NameKind::Final)).map(|(_, name)| name).collect();
        let reason = match missing.is_empty() {
            false => IgnoreReason::Incomplete { step: id.step, missing },
            // The save is complete, but another complete save has the same step and the same sequence number. Regular
            // saves never agree in both, so another program has copied these files.
            true => IgnoreReason::Foreign,
        };
        self.plan.ignored.extend(files.into_iter().map(|name| IgnoredFile { name, reason: reason.clone() }));
    }
}
