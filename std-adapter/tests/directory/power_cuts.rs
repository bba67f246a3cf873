//! A directory whose power is cut in every operation of a run, with every state of the medium that may follow, and in
//! every operation of the opening after that.
//!
//! After each: what was committed and not being removed loads with the same bits; nothing else than what was being
//! saved or removed is listed, and it is whole; no temp file stays; opening again changes nothing; the next save works.

use crate::model::{Disk, Fault, Image};
use crate::training::{NAMES, Plan, Tensor, Training, save};
use std::collections::HashSet;
use training_monitor::checkpoint::{One, load};
use training_monitor::store::{Store, Stored};
use training_monitor_std::{Crc32Fast, Directory};

/// States of the medium that are looked at for one cut, at most. No cut of these runs has more.
const CAP: usize = 4096;

fn open(disk: &Disk) -> Directory<Disk> {
    Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).expect("a directory that opens")
}

/// What is known of a run that was cut.
#[derive(Clone, Default, Debug, PartialEq, Eq, Hash)]
struct Known {
    /// Sequences that must be there.
    must: Vec<u32>,
    /// Sequences that may be there.
    may: Vec<u32>,
}

/// Runs `plans` until the power is gone, over what fails before. Returns what is known then.
fn run(disk: &Disk, plans: &[Plan]) -> Known {
    let mut directory = open(disk);
    let mut may = Vec::new();
    // Step and sequence of what counts.
    let mut counts: Vec<(u32, u32)> = Vec::new();
    for (plan, sequence) in plans.iter().zip(1..) {
        let saved = save(&mut directory, plan.objects, plan.header(sequence)).is_ok();
        // Of two generations of a step, one counts; `check` knows.
        if let Some(index) = counts.iter().position(|(step, _)| *step == plan.step) {
            may.push(counts.remove(index).1);
        }
        if saved {
            counts.push((plan.step, sequence));
        } else {
            may.push(sequence);
        }
        if saved
            && let Some(step) = plan.remove
            && let Some(index) = counts.iter().position(|(of, _)| *of == step)
        {
            may.push(counts.remove(index).1);
            let _ = directory.remove(step);
        }
        if disk.is_off() {
            break;
        }
    }
    Known { must: counts.into_iter().map(|(_, sequence)| sequence).collect(), may }
}

fn listed(directory: &mut Directory<Disk>) -> Vec<Stored> {
    (0..).map_while(|index| directory.stored(index).unwrap()).collect()
}

/// Holds what an opening finds against what is known. Returns how many operations the opening needed.
fn check(image: &Image, known: &Known, plans: &[Plan], about: &str) -> usize {
    let disk = Disk::new(image);
    let mut directory = open(&disk);
    let repairs = disk.operations();
    let found = listed(&mut directory);
    let sequences: Vec<u32> = found.iter().map(|stored| stored.sequence).collect();
    for must in &known.must {
        assert!(sequences.contains(must), "{about}: {must} of {known:?} is lost, there is {sequences:?}");
    }
    for stored in &found {
        let sequence = stored.sequence;
        assert!(known.must.contains(&sequence) || known.may.contains(&sequence), "{about}: {sequence} of {known:?}");
        let plan = plans[sequence as usize - 1];
        assert_eq!(stored.step, plan.step, "{about}");
        let whole = Training::new(plan.objects, sequence);
        let mut loaded = Training::new(plan.objects, 999);
        let files: Vec<_> = directory.files(stored.step).collect();
        assert_eq!(files.len(), plan.objects, "{about}");
        for (index, file) in files.iter().enumerate() {
            let bytes = &disk.now()[file.file_name().unwrap().to_str().unwrap()];
            let mut one = One(NAMES[index], Tensor(&mut loaded.objects[index]));
            assert_eq!(load::<Crc32Fast, _>(bytes, &mut one).unwrap().sequence, sequence, "{about}");
        }
        assert_eq!(loaded.objects, whole.objects, "{about}: wrong bits");
    }
    // One of the two generations of a step that was being replaced.
    for plan in plans {
        let of = |sequence: &&u32| plans[**sequence as usize - 1].step == plan.step;
        let all: Vec<u32> = known.must.iter().chain(&known.may).filter(of).copied().collect();
        let replaced = all.len() > 1 && !plans.iter().any(|other| other.remove == Some(plan.step));
        if replaced {
            assert!(sequences.iter().any(|sequence| all.contains(sequence)), "{about}: both generations are lost");
        }
    }
    // Nothing else is there.
    let files: HashSet<String> = (found.iter().flat_map(|stored| directory.files(stored.step)))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let there: HashSet<String> = disk.now().into_keys().collect();
    assert_eq!(there, files, "{about}");
    assert_eq!((directory.incomplete().count(), directory.foreign().count()), (0, 0), "{about}");
    drop(directory);
    // Once more: the same.
    let before = (disk.now(), disk.operations());
    let mut directory = open(&disk);
    assert_eq!(listed(&mut directory), found, "{about}");
    assert_eq!((disk.now(), disk.operations()), before, "{about}");
    // The next save, of a step that may be there.
    let next = Plan { remove: None, ..plans[plans.len() - 1] };
    save(&mut directory, next.objects, next.header(100)).unwrap();
    drop(directory);
    let after: Vec<u32> = listed(&mut open(&disk)).iter().map(|stored| stored.sequence).collect();
    let expected = found.iter().filter(|stored| stored.step != next.step).map(|stored| stored.sequence).chain([100]);
    assert_eq!(after, expected.collect::<Vec<_>>(), "{about}");
    repairs
}

#[derive(Default, Debug)]
struct Numbers {
    /// Operations that the power was cut in.
    cuts: usize,
    /// States of the medium.
    cases: usize,
    /// States after a second cut, in the opening.
    second: usize,
    /// Cuts with more than `CAP` states.
    capped: usize,
}

fn torture(name: &str, plans: &[Plan]) -> Numbers {
    let mut seen = HashSet::new();
    let numbers = every_cut(name, plans, None, &mut seen);
    println!("{name}: {numbers:?}, {} distinct", seen.len());
    numbers
}

/// Cuts the power in every operation of a run; after `fault` if there is one.
fn every_cut(name: &str, plans: &[Plan], fault: Option<Fault>, seen: &mut HashSet<(Image, Known)>) -> Numbers {
    let mut numbers = Numbers::default();
    for cut in fault.map_or(0, |fault| fault.from + fault.times).. {
        let disk = Disk::default().cut_at(cut);
        disk.fail(fault);
        let known = run(&disk, plans);
        let (images, capped) = disk.images(CAP);
        numbers.cuts += 1;
        numbers.capped += usize::from(capped);
        numbers.cases += images.len();
        for (index, image) in images.into_iter().enumerate() {
            if !seen.insert((image.clone(), known.clone())) {
                continue;
            }
            let about = format!("{name}, cut in operation {cut}, state {index}");
            let repairs = check(&image, &known, plans, &about);
            for second in 0..repairs {
                let disk = Disk::new(&image).cut_at(second);
                let opened = Directory::builder("dir", "run").require_empty(false).open_on(disk.clone());
                assert!(opened.is_err());
                let (images, capped) = disk.images(CAP);
                numbers.capped += usize::from(capped);
                numbers.second += images.len();
                for (index, image) in images.into_iter().enumerate() {
                    if seen.insert((image.clone(), known.clone())) {
                        check(&image, &known, plans, &format!("{about}, then in {second}, state {index}"));
                    }
                }
            }
        }
        if !disk.is_off() {
            break;
        }
    }
    numbers
}

/// Six saves, of which two stay: four rotations.
fn rotation(objects: usize) -> Vec<Plan> {
    let remove = |step: u32| step.checked_sub(2).filter(|step| *step > 0);
    (1..=6).map(|step| Plan { step, objects, score: None, remove: remove(step) }).collect()
}

#[test]
fn rotations_of_one_object() {
    assert_eq!(torture("1 object", &rotation(1)).capped, 0);
}

#[test]
fn rotations_of_two_objects() {
    assert_eq!(torture("2 objects", &rotation(2)).capped, 0);
}

#[test]
fn rotations_of_three_objects() {
    assert_eq!(torture("3 objects", &rotation(3)).capped, 0);
}

#[test]
fn the_same_names_again() {
    for objects in 1..=3 {
        let again = Plan { step: 1, objects, score: None, remove: None };
        let other = Plan { step: 2, ..again };
        torture(&format!("{objects} of the same names"), &[again, other, again, again]);
    }
}

#[test]
fn the_same_step_with_other_names() {
    for objects in 1..=3 {
        let plan = |step, score| Plan { step, objects, score: Some(score), remove: None };
        torture(&format!("{objects} of other names"), &[plan(1, 0.25), plan(2, 0.5), plan(1, 0.75)]);
    }
}

#[test]
fn another_number_of_objects() {
    let plan = |objects| Plan { step: 1, objects, score: None, remove: None };
    torture("3, then 2, then 1, then 3 objects", &[plan(3), plan(2), plan(1), plan(3)]);
}

#[test]
fn after_an_operation_that_failed() {
    for objects in 1..=2 {
        let plan = |step, remove| Plan { step, objects, score: None, remove };
        for plans in
            [[plan(1, None), plan(2, Some(1)), plan(3, Some(2))], [plan(1, None), plan(1, None), plan(1, None)]]
        {
            let (mut seen, mut cases) = (HashSet::new(), 0);
            let operations = {
                let disk = Disk::default();
                run(&disk, &plans);
                disk.operations()
            };
            for from in 0..operations {
                let fault = Fault { from, times: 1, kind: std::io::ErrorKind::StorageFull };
                let name = format!("{objects} objects, operation {from} fails");
                let numbers = every_cut(&name, &plans, Some(fault), &mut seen);
                cases += numbers.cases + numbers.second;
            }
            println!("{objects} objects, after a failure: {cases} cases, {} distinct", seen.len());
        }
    }
}
