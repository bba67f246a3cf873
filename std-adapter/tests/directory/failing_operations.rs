//! Tests in which one, two or more consecutive operations of a run fail because of a full disk, a missing permission or
//! a read-only file system. After each failure, the tests check four facts: the store returned the error, committed
//! checkpoints exist, no temporary file remains, and the next save succeeds when operations succeed again.

use crate::training::{PlannedSave, Training, save};
use std::io::ErrorKind;
use training_monitor::checkpoint::{Crc32, Loader};
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor_std::Directory;
use training_monitor_std::directory::DirectoryError;
use training_monitor_std::test_support::disk::{Disk, DiskFault};

fn open(disk: &Disk) -> Directory<Disk> {
    Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).expect("a directory that opens")
}

/// Loads every listed checkpoint and compares it with the saved objects. Returns the sequences of the checkpoints.
fn verify_listed(directory: &mut Directory<Disk>, saves: &[PlannedSave]) -> Vec<u32> {
    let found: Vec<CheckpointMeta> = (0..).map_while(|index| directory.checkpoint(index).unwrap()).collect();
    for meta in &found {
        let planned = saves[(meta.sequence as usize - 1).min(saves.len() - 1)];
        let mut loaded = Training::new(planned.objects, 999);
        let mut scratch = [0; 256];
        let mut loader = Loader::new(&mut loaded, &mut scratch);
        assert_eq!(directory.stream_count(meta.sequence).unwrap() as usize, planned.objects);
        for stream in 0..planned.objects as u32 {
            loader.verify::<Crc32, _>(&mut directory.open(meta.sequence, stream).unwrap(), None).unwrap();
        }
        loader.check_complete::<DirectoryError>().unwrap();
        for stream in 0..planned.objects as u32 {
            let info = loader.load::<Crc32, _>(&mut directory.open(meta.sequence, stream).unwrap()).unwrap();
            assert_eq!(info.sequence, meta.sequence);
        }
        assert_eq!(loaded.objects, Training::new(planned.objects, meta.sequence).objects);
    }
    found.iter().map(|meta| meta.sequence).collect()
}

/// Performs `saves` with failing operations, and then one more save without failures. Returns whether a call failed.
fn run(saves: &[PlannedSave], fault: DiskFault) -> bool {
    let disk = Disk::default();
    let mut directory = open(&disk);
    disk.set_fault(Some(fault));
    let mut failed = false;
    // `required`: step and sequence of each checkpoint that must exist. `allowed`: sequences of the checkpoints that
    // can exist.
    let (mut required, mut allowed): (Vec<(u32, u32)>, Vec<u32>) = (Vec::new(), Vec::new());
    for (planned, sequence) in saves.iter().zip(1..) {
        let replaced = required.iter().position(|(step, _)| *step == planned.step);
        match save(&mut directory, planned.objects, planned.header(sequence)) {
            Ok(()) => {
                allowed.extend(replaced.map(|index| required.remove(index).1));
                required.push((planned.step, sequence));
                let removed = required.iter().find(|(step, _)| Some(*step) == planned.remove);
                if let Some((_, removed)) = removed
                    && let Err(error) = directory.remove(*removed)
                {
                    failed = true;
                    assert!(
                        matches!(&error, DirectoryError::Io { cause, .. } if cause.kind() == fault.kind),
                        "{error}"
                    );
                }
                if let Some(index) = required.iter().position(|(step, _)| Some(*step) == planned.remove) {
                    allowed.push(required.remove(index).1);
                }
            }
            Err(error) => {
                failed = true;
                assert!(matches!(&error, DirectoryError::Io { cause, .. } if cause.kind() == fault.kind), "{error}");
                if fault.times == 1 {
                    let temporary = disk.files().into_keys().find(|name| name.ends_with(".tmp"));
                    assert_eq!(temporary, None, "left by a failed save");
                }
                // After a failed save, either the old or the new checkpoint of the step exists.
                if let Some(index) = replaced {
                    allowed.push(required.remove(index).1);
                }
                allowed.push(sequence);
            }
        }
        if fault.times == 1 {
            check_listed(&verify_listed(&mut directory, saves), &required, &allowed, fault);
        }
    }
    disk.set_fault(None);
    drop(directory);
    let mut directory = open(&disk);
    check_listed(&verify_listed(&mut directory, saves), &required, &allowed, fault);
    for name in disk.files().into_keys() {
        assert!(!name.starts_with('.'), "{name} remains");
    }
    let next = PlannedSave { step: 50, ..saves[0] };
    save(&mut directory, next.objects, next.header(100)).unwrap();
    drop(directory);
    assert!(verify_listed(&mut open(&disk), saves).contains(&100));
    failed
}

fn check_listed(found: &[u32], required: &[(u32, u32)], allowed: &[u32], fault: DiskFault) {
    for (_, sequence) in required {
        assert!(found.contains(sequence), "checkpoint {sequence} is lost after failure of operation {}", fault.from);
    }
    for sequence in found {
        let is_known = allowed.contains(sequence) || required.iter().any(|(_, required)| required == sequence);
        assert!(is_known, "unexpected checkpoint {sequence} after failure of operation {}", fault.from);
    }
}

/// Runs `saves` once for each operation, number of failures and kind of error. Returns the number of runs.
fn fail_every_operation(saves: &[PlannedSave]) -> usize {
    let mut cases = 0;
    for times in [1, 2, 7, usize::MAX / 2] {
        for kind in [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            // Operation 0 belongs to the opening of the directory, which `run` expects to succeed.
            for from in 1.. {
                if !run(saves, DiskFault { from, times, kind }) {
                    break;
                }
                cases += 1;
            }
        }
    }
    cases
}

#[test]
fn every_operation_of_saves_with_removals_can_fail() {
    for objects in 1..=3 {
        let remove = |step: u32| step.checked_sub(2).filter(|step| *step > 0);
        let planned = |step| PlannedSave { step, objects, score: None, remove: remove(step) };
        let cases = fail_every_operation(&(1..=4).map(planned).collect::<Vec<_>>());
        println!("{objects} objects: {cases} failures");
    }
}

#[test]
fn every_operation_of_saves_with_equal_steps_can_fail() {
    for objects in 1..=3 {
        let planned = |step| PlannedSave { step, objects, score: None, remove: None };
        fail_every_operation(&[planned(1), planned(2), planned(1), planned(1)]);
    }
}
