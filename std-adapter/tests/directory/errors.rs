//! Every operation of a run fails once, twice, or for a while: a full disk, a missing permission, a directory that
//! became read-only. After each: the error is told, what was committed is there, nothing is left lying about, and when
//! the medium is well again the next save works.

use crate::model::{Disk, Fault};
use crate::training::{Plan, Training, save};
use std::io::ErrorKind;
use training_monitor::checkpoint::{Crc32, Loader};
use training_monitor::store::{Store, Stored};
use training_monitor_std::Directory;
use training_monitor_std::directory::DirectoryError;

fn open(disk: &Disk) -> Directory<Disk> {
    Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).expect("a directory that opens")
}

/// Everything that is listed loads, and is what was saved. Returns its sequences.
fn listed(directory: &mut Directory<Disk>, plans: &[Plan]) -> Vec<u32> {
    let found: Vec<Stored> = (0..).map_while(|index| directory.stored(index).unwrap()).collect();
    for stored in &found {
        let plan = plans[(stored.sequence as usize - 1).min(plans.len() - 1)];
        let mut loaded = Training::new(plan.objects, 999);
        let mut scratch = [0; 256];
        let mut loader = Loader::new(&mut loaded, &mut scratch);
        assert_eq!(directory.parts(stored.step).unwrap() as usize, plan.objects);
        for part in 0..plan.objects as u32 {
            loader.verify::<Crc32, _>(&mut directory.open(stored.step, part).unwrap(), None).unwrap();
        }
        loader.verified::<DirectoryError>().unwrap();
        for part in 0..plan.objects as u32 {
            let info = loader.load::<Crc32, _>(&mut directory.open(stored.step, part).unwrap()).unwrap();
            assert_eq!(info.sequence, stored.sequence);
        }
        assert_eq!(loaded.objects, Training::new(plan.objects, stored.sequence).objects);
    }
    found.iter().map(|stored| stored.sequence).collect()
}

/// Runs `plans` with `fault`; after it, one more save. Returns whether anything failed.
fn run(plans: &[Plan], fault: Fault) -> bool {
    let disk = Disk::default();
    let mut directory = open(&disk);
    disk.fail(Some(fault));
    let mut failed = false;
    // Sequences by step: what must be there, what may be.
    let (mut must, mut may): (Vec<(u32, u32)>, Vec<u32>) = (Vec::new(), Vec::new());
    for (plan, sequence) in plans.iter().zip(1..) {
        let replaced = must.iter().position(|(step, _)| *step == plan.step);
        match save(&mut directory, plan.objects, plan.header(sequence)) {
            Ok(()) => {
                may.extend(replaced.map(|index| must.remove(index).1));
                must.push((plan.step, sequence));
                if let Some(step) = plan.remove
                    && let Err(error) = directory.remove(step)
                {
                    failed = true;
                    assert!(
                        matches!(&error, DirectoryError::Io { cause, .. } if cause.kind() == fault.kind),
                        "{error}"
                    );
                }
                if let Some(index) = must.iter().position(|(step, _)| Some(*step) == plan.remove) {
                    may.push(must.remove(index).1);
                }
            }
            Err(error) => {
                failed = true;
                assert!(matches!(&error, DirectoryError::Io { cause, .. } if cause.kind() == fault.kind), "{error}");
                if fault.times == 1 {
                    let hidden = disk.now().into_keys().find(|name| name.ends_with(".tmp"));
                    assert_eq!(hidden, None, "left by a failed save");
                }
                // One of the two generations.
                if let Some(index) = replaced {
                    may.push(must.remove(index).1);
                }
                may.push(sequence);
            }
        }
        if fault.times == 1 {
            hold(&listed(&mut directory, plans), &must, &may, fault);
        }
    }
    disk.fail(None);
    drop(directory);
    let mut directory = open(&disk);
    hold(&listed(&mut directory, plans), &must, &may, fault);
    for name in disk.now().into_keys() {
        assert!(!name.starts_with('.'), "{name}");
    }
    let next = Plan { step: 50, ..plans[0] };
    save(&mut directory, next.objects, next.header(100)).unwrap();
    assert!(listed(&mut open(&disk), plans).contains(&100));
    failed
}

fn hold(found: &[u32], must: &[(u32, u32)], may: &[u32], fault: Fault) {
    for (_, sequence) in must {
        assert!(found.contains(sequence), "{sequence} is lost, operation {} failed", fault.from);
    }
    for sequence in found {
        let known = may.contains(sequence) || must.iter().any(|(_, must)| must == sequence);
        assert!(known, "{sequence} was never there, operation {} failed", fault.from);
    }
}

fn every_operation(plans: &[Plan]) -> usize {
    let mut cases = 0;
    for times in [1, 2, 7, usize::MAX / 2] {
        for kind in [ErrorKind::StorageFull, ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
            // The first is the opening's.
            for from in 1.. {
                if !run(plans, Fault { from, times, kind }) {
                    break;
                }
                cases += 1;
            }
        }
    }
    cases
}

#[test]
fn every_operation_of_a_rotation_fails() {
    for objects in 1..=3 {
        let remove = |step: u32| step.checked_sub(2).filter(|step| *step > 0);
        let plan = |step| Plan { step, objects, score: None, remove: remove(step) };
        let cases = every_operation(&(1..=4).map(plan).collect::<Vec<_>>());
        println!("{objects} objects: {cases} failures");
    }
}

#[test]
fn every_operation_of_a_replacement_fails() {
    for objects in 1..=3 {
        let plan = |step| Plan { step, objects, score: None, remove: None };
        every_operation(&[plan(1), plan(2), plan(1), plan(1)]);
    }
}
