//! Tests in which power fails during every operation of a run, and during every operation of the next opening. The
//! tests open the directory in every possible state of the medium.
//!
//! After each opening, the tests check these facts:
//!
//! * Every committed checkpoint that was not being removed loads bit by bit.
//! * The only other listed checkpoints are those that were being saved or removed, and they are complete.
//! * No temporary file remains.
//! * A second opening changes nothing.
//! * The next save succeeds.

use crate::training::{NAMES, PlannedSave, Tensor, Training, save};
use std::collections::{BTreeMap, HashSet};
use training_monitor::checkpoint::{Named, load_with};
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor_std::test_support::disk::{Disk, DiskFault, Image};
use training_monitor_std::{Crc32Fast, Directory};

/// The maximum number of tested states of the medium for one power failure. No power failure in these runs has more.
const CAP: usize = 4096;

fn open(disk: &Disk) -> Directory<Disk> {
    Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).expect("a directory that opens")
}

/// The checkpoints that can exist after a power failure, as the sequences of their saves.
#[derive(Clone, Default, Debug, PartialEq, Eq, Hash)]
struct Expected {
    /// Each inner list contains alternatives: a committed checkpoint, and checkpoints that were replacing it. At least
    /// one checkpoint of each inner list must exist.
    required: Vec<Vec<u32>>,
    /// Checkpoints that can exist, but need not: they were being saved for the first time, being removed, or replaced.
    allowed: Vec<u32>,
}

/// Performs `saves` until power fails, and ignores other failures. Returns the checkpoints that can then exist.
fn run(disk: &Disk, saves: &[PlannedSave]) -> Expected {
    let numbered: Vec<(PlannedSave, u32)> = saves.iter().copied().zip(1..).collect();
    open_and_save(disk, &numbered, Vec::new()).unwrap_or_default()
}

/// Opens the directory and performs `saves` with the given sequences until power fails. `allowed` are the sequences
/// that an earlier program may have left. Returns `None` if power fails before the directory is open.
fn open_and_save(disk: &Disk, saves: &[(PlannedSave, u32)], mut allowed: Vec<u32>) -> Option<Expected> {
    let mut required: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut directory = Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).ok()?;
    for meta in listed(&mut directory) {
        required.insert(meta.step, vec![meta.sequence]);
    }
    for (planned, sequence) in saves.iter().copied() {
        let is_saved = save(&mut directory, planned.objects, planned.header(sequence)).is_ok();
        match required.get_mut(&planned.step) {
            Some(one_of) if !is_saved => one_of.push(sequence),
            None if !is_saved => allowed.push(sequence),
            _ => allowed.extend(required.insert(planned.step, vec![sequence]).into_iter().flatten()),
        }
        if is_saved
            && let Some(step) = planned.remove
            && let Some(removed) = required.remove(&step)
        {
            allowed.extend(&removed);
            for sequence in removed {
                let _ = directory.remove(sequence);
            }
        }
        if disk.is_off() {
            break;
        }
    }
    Some(Expected { required: required.into_values().collect(), allowed })
}

fn listed(directory: &mut Directory<Disk>) -> Vec<CheckpointMeta> {
    (0..).map_while(|index| directory.checkpoint(index).unwrap()).collect()
}

/// Opens the directory in the state `image` and checks the listed checkpoints. Returns the number of operations of the
/// opening. `context` identifies the case in failure messages.
fn check(image: &Image, expected: &Expected, saves: &[PlannedSave], context: &str) -> usize {
    let disk = Disk::new(image);
    let mut directory = open(&disk);
    let operations = disk.operations();
    let found = listed(&mut directory);
    let sequences: Vec<u32> = found.iter().map(|meta| meta.sequence).collect();
    for one_of in &expected.required {
        let is_found = one_of.iter().any(|sequence| sequences.contains(sequence));
        assert!(is_found, "{context}: {one_of:?} is lost; found {sequences:?}, expected {expected:?}");
    }
    for meta in &found {
        let sequence = meta.sequence;
        let is_expected = expected.required.iter().flatten().chain(&expected.allowed).any(|s| *s == sequence);
        assert!(is_expected, "{context}: unexpected checkpoint {sequence}, expected {expected:?}");
        let planned = saves[sequence as usize - 1];
        assert_eq!(meta.step, planned.step, "{context}");
        let saved = Training::new(planned.objects, sequence);
        let mut loaded = Training::new(planned.objects, 999);
        let files: Vec<_> = directory.files(meta.sequence).collect();
        assert_eq!(files.len(), planned.objects, "{context}");
        for (index, file) in files.iter().enumerate() {
            let bytes = &disk.files()[file.file_name().unwrap().to_str().unwrap()];
            let mut object = Named::new(NAMES[index], Tensor(&mut loaded.objects[index]));
            assert_eq!(load_with::<Crc32Fast, _>(bytes, &mut object, None).unwrap().sequence, sequence, "{context}");
        }
        assert_eq!(loaded.objects, saved.objects, "{context}: wrong bits");
    }
    // The directory contains only the files of listed checkpoints and no leftover.
    let files: HashSet<String> = (found.iter().flat_map(|meta| directory.files(meta.sequence)))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let existing: HashSet<String> = disk.files().into_keys().collect();
    assert_eq!(existing, files, "{context}");
    assert_eq!((directory.incomplete().count(), directory.foreign().count()), (0, 0), "{context}");
    drop(directory);
    // A second opening finds the same checkpoints. Its only operation is the synchronization of the directory.
    let (files, operations_before) = (disk.files(), disk.operations());
    let mut directory = open(&disk);
    assert_eq!(listed(&mut directory), found, "{context}");
    assert_eq!((disk.files(), disk.operations()), (files, operations_before + 1), "{context}");
    // The next save has the step of the last save, which can already exist. It must succeed in both cases.
    let next = PlannedSave { remove: None, ..saves[saves.len() - 1] };
    save(&mut directory, next.objects, next.header(100)).unwrap();
    drop(directory);
    let after: Vec<u32> = listed(&mut open(&disk)).iter().map(|meta| meta.sequence).collect();
    let kept = found.iter().filter(|meta| meta.step != next.step).map(|meta| meta.sequence);
    assert_eq!(after, kept.chain([100]).collect::<Vec<_>>(), "{context}");
    operations
}

/// The numbers of tested cases.
#[derive(Default, Debug)]
struct Statistics {
    /// The number of operations of the run during which power failed.
    power_failures: usize,
    /// The number of tested states of the medium after a power failure in the run.
    states: usize,
    /// The number of tested states of the medium after a second power failure, which occurs while the directory is
    /// opened.
    second_states: usize,
    /// The number of power failures after which the medium has more than `CAP` possible states.
    capped: usize,
}

fn interrupt_run(name: &str, saves: &[PlannedSave]) -> Statistics {
    let mut seen = HashSet::new();
    let statistics = interrupt_every_operation(name, saves, None, &mut seen);
    println!("{name}: {statistics:?}, {} distinct", seen.len());
    statistics
}

/// Lets power fail in every operation of a run and in every operation of the next opening. If there is a `fault`, power
/// fails only after the failing operation.
fn interrupt_every_operation(
    name: &str,
    saves: &[PlannedSave],
    fault: Option<DiskFault>,
    seen: &mut HashSet<(Image, Expected)>,
) -> Statistics {
    let mut statistics = Statistics::default();
    for operation in fault.map_or(0, |fault| fault.from + fault.times).. {
        let disk = Disk::default();
        disk.cut_power_at(operation);
        disk.set_fault(fault);
        let expected = run(&disk, saves);
        let (images, is_capped) = disk.images(CAP);
        statistics.power_failures += 1;
        statistics.capped += usize::from(is_capped);
        statistics.states += images.len();
        for (index, image) in images.into_iter().enumerate() {
            if !seen.insert((image.clone(), expected.clone())) {
                continue;
            }
            let context = format!("{name}, power failure in operation {operation}, state {index}");
            for second in 0..check(&image, &expected, saves, &context) {
                let disk = Disk::new(&image);
                disk.cut_power_at(second);
                let opened = Directory::builder("dir", "run").require_empty(false).open_on(disk.clone());
                assert!(opened.is_err());
                let (images, is_capped) = disk.images(CAP);
                statistics.capped += usize::from(is_capped);
                statistics.second_states += images.len();
                for (index, image) in images.into_iter().enumerate() {
                    if seen.insert((image.clone(), expected.clone())) {
                        let context = format!("{context}, then in operation {second} of the opening, state {index}");
                        check(&image, &expected, saves, &context);
                    }
                }
            }
        }
        if !disk.is_off() {
            break;
        }
    }
    statistics
}

/// Six saves with different steps. From the third save on, each save is followed by the removal of an older checkpoint.
fn saves_with_removals(objects: usize) -> Vec<PlannedSave> {
    let remove = |step: u32| step.checked_sub(2).filter(|step| *step > 0);
    (1..=6).map(|step| PlannedSave { step, objects, score: None, remove: remove(step) }).collect()
}

#[test]
fn saves_of_one_object_with_removals_survive_power_failures() {
    assert_eq!(interrupt_run("1 object", &saves_with_removals(1)).capped, 0);
}

#[test]
fn saves_of_two_objects_with_removals_survive_power_failures() {
    assert_eq!(interrupt_run("2 objects", &saves_with_removals(2)).capped, 0);
}

#[test]
fn saves_of_three_objects_with_removals_survive_power_failures() {
    assert_eq!(interrupt_run("3 objects", &saves_with_removals(3)).capped, 0);
}

#[test]
fn saves_with_equal_file_names_survive_power_failures() {
    for objects in 1..=3 {
        let first = PlannedSave { step: 1, objects, score: None, remove: None };
        let second = PlannedSave { step: 2, ..first };
        interrupt_run(&format!("{objects} objects, equal names"), &[first, second, first, first]);
    }
}

#[test]
fn saves_with_equal_steps_and_different_file_names_survive_power_failures() {
    for objects in 1..=3 {
        let planned = |step, score| PlannedSave { step, objects, score: Some(score), remove: None };
        let saves = [planned(1, 0.25), planned(2, 0.5), planned(1, 0.75)];
        interrupt_run(&format!("{objects} objects, different names"), &saves);
    }
}

#[test]
fn saves_with_different_numbers_of_objects_survive_power_failures() {
    let planned = |objects| PlannedSave { step: 1, objects, score: None, remove: None };
    interrupt_run("3, then 2, then 1, then 3 objects", &[planned(3), planned(2), planned(1), planned(3)]);
}

/// One operation fails, and then power fails in a later operation.
#[test]
fn power_failure_after_a_failed_operation_is_survived() {
    for objects in 1..=2 {
        let planned = |step, remove| PlannedSave { step, objects, score: None, remove };
        for saves in [
            [planned(1, None), planned(2, Some(1)), planned(3, Some(2))],
            [planned(1, None), planned(1, None), planned(1, None)],
        ] {
            let (mut seen, mut cases) = (HashSet::new(), 0);
            let operations = {
                let disk = Disk::default();
                run(&disk, &saves);
                disk.operations()
            };
            for from in 0..operations {
                let fault = DiskFault { from, times: 1, kind: std::io::ErrorKind::StorageFull };
                let name = format!("{objects} objects, operation {from} fails");
                let statistics = interrupt_every_operation(&name, &saves, Some(fault), &mut seen);
                cases += statistics.states + statistics.second_states;
            }
            println!("{objects} objects, after a failed operation: {cases} cases, {} distinct", seen.len());
        }
    }
}

/// A program is killed in any operation, and a second program opens the directory and saves a checkpoint. Then power
/// fails in any operation of the second program. The changes of the first program are visible to the second program,
/// but the power failure can still revert them.
#[test]
fn power_failure_after_a_killed_program_is_survived() {
    for objects in 1..=3 {
        let planned = |step, remove| PlannedSave { step, objects, score: None, remove };
        for saves in [
            [planned(1, None), planned(1, None), planned(1, None)],
            [planned(1, None), planned(2, Some(1)), planned(2, None)],
        ] {
            let numbered: Vec<(PlannedSave, u32)> = saves.iter().copied().zip(1..).collect();
            let (mut seen, mut cases, mut kill) = (HashSet::new(), 0, 0);
            loop {
                let run_and_kill = || {
                    let disk = Disk::default();
                    disk.cut_power_at(kill);
                    let expected = run(&disk, &saves[..2]);
                    let is_killed = disk.is_off();
                    disk.restart_program();
                    (disk, expected, is_killed)
                };
                let (disk, expected, is_killed) = run_and_kill();
                check(&disk.files(), &expected, &saves, &format!("killed in operation {kill}"));
                for operation in disk.operations().. {
                    let (disk, expected, _) = run_and_kill();
                    // The checkpoints that the second program lists are required from then on. If the second program
                    // does not open the directory, the requirements of the first program remain.
                    let allowed = expected.required.iter().flatten().chain(&expected.allowed).copied().collect();
                    disk.cut_power_at(operation);
                    let expected = open_and_save(&disk, &numbered[2..], allowed).unwrap_or(expected);
                    let images = disk.images(CAP).0;
                    cases += images.len();
                    for (index, image) in images.into_iter().enumerate() {
                        let context =
                            format!("{objects} objects, killed in {kill}, failure in {operation}, state {index}");
                        if seen.insert((image.clone(), expected.clone())) {
                            check(&image, &expected, &saves, &context);
                        }
                    }
                    if !disk.is_off() {
                        break;
                    }
                }
                if !is_killed {
                    break;
                }
                kill += 1;
            }
            println!("{objects} objects, killed and then power failure: {cases} cases, {} distinct", seen.len());
        }
    }
}
