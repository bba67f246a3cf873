//! A directory whose power is cut in every operation of a run, with every state of the medium that may follow, and in
//! every operation of the opening after that.
//!
//! After each: what was committed and not being removed loads with the same bits; nothing else than what was being
//! saved or removed is listed, and it is whole; no temp file stays; opening again changes nothing; the next save works.

use crate::model::{Disk, Fault, Image};
use crate::training::{NAMES, Plan, Tensor, Training, save};
use std::collections::{BTreeMap, HashSet};
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
    /// Sequences of which one must be there: a checkpoint, or the one that it was to be replaced by.
    must: Vec<Vec<u32>>,
    /// Sequences that may be there: being saved for the first time, being removed, replaced.
    may: Vec<u32>,
}

/// Runs `plans` until the power is gone, over what fails before. Returns what is known then.
fn run(disk: &Disk, plans: &[Plan]) -> Known {
    let numbered: Vec<(Plan, u32)> = plans.iter().copied().zip(1..).collect();
    go_on(disk, &numbered, Vec::new()).unwrap_or_default()
}

/// As `run`, for saves of these sequences, by a program after one of which `may` is left. `None` when the power went
/// before it had opened the directory.
fn go_on(disk: &Disk, plans: &[(Plan, u32)], mut may: Vec<u32>) -> Option<Known> {
    let mut must: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut directory = Directory::builder("dir", "run").require_empty(false).open_on(disk.clone()).ok()?;
    for stored in listed(&mut directory) {
        must.insert(stored.step, vec![stored.sequence]);
    }
    for (plan, sequence) in plans.iter().copied() {
        let saved = save(&mut directory, plan.objects, plan.header(sequence)).is_ok();
        match must.get_mut(&plan.step) {
            Some(one_of) if !saved => one_of.push(sequence),
            None if !saved => may.push(sequence),
            _ => may.extend(must.insert(plan.step, vec![sequence]).into_iter().flatten()),
        }
        if saved
            && let Some(step) = plan.remove
            && let Some(removed) = must.remove(&step)
        {
            may.extend(removed);
            let _ = directory.remove(step);
        }
        if disk.is_off() {
            break;
        }
    }
    Some(Known { must: must.into_values().collect(), may })
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
    for one_of in &known.must {
        let there = one_of.iter().any(|sequence| sequences.contains(sequence));
        assert!(there, "{about}: {one_of:?} of {known:?} is lost, there is {sequences:?}");
    }
    for stored in &found {
        let sequence = stored.sequence;
        let known_of = known.must.iter().flatten().chain(&known.may).any(|known| *known == sequence);
        assert!(known_of, "{about}: {sequence} of {known:?}");
        let plan = plans[sequence as usize - 1];
        assert_eq!(stored.step, plan.step, "{about}");
        let whole = Training::new(plan.objects, sequence);
        let mut loaded = Training::new(plan.objects, 999);
        let files: Vec<_> = directory.files(stored.step).collect();
        assert_eq!(files.len(), plan.objects, "{about}");
        for (index, file) in files.iter().enumerate() {
            let bytes = &disk.now()[file.file_name().unwrap().to_str().unwrap()];
            let mut one = One(NAMES[index], Tensor(&mut loaded.objects[index]));
            assert_eq!(load::<Crc32Fast, _>(bytes, &mut one, None).unwrap().sequence, sequence, "{about}");
        }
        assert_eq!(loaded.objects, whole.objects, "{about}: wrong bits");
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
    // … but for the sync of the names.
    assert_eq!((disk.now(), disk.operations() - 1), before, "{about}");
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
        let disk = Disk::default();
        disk.cut_at(cut);
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
                let disk = Disk::new(&image);
                disk.cut_at(second);
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

/// A program is killed, which leaves what it did to be seen; the next one goes on, and then the power goes.
#[test]
fn killed_and_then_cut() {
    for objects in 1..=3 {
        let plan = |step, remove| Plan { step, objects, score: None, remove };
        for plans in [[plan(1, None), plan(1, None), plan(1, None)], [plan(1, None), plan(2, Some(1)), plan(2, None)]] {
            let numbered: Vec<(Plan, u32)> = plans.iter().copied().zip(1..).collect();
            let (mut seen, mut cases, mut kill) = (HashSet::new(), 0, 0);
            loop {
                let killed = || {
                    let disk = Disk::default();
                    disk.cut_at(kill);
                    let known = run(&disk, &plans[..2]);
                    let off = disk.is_off();
                    disk.go_on();
                    (disk, known, off)
                };
                let (disk, known, off) = killed();
                check(&disk.now(), &known, &plans, &format!("killed in operation {kill}"));
                for cut in disk.operations().. {
                    let (disk, known, _) = killed();
                    // What the next program finds, it may rely on; had it not come that far, the first one's word.
                    let all: Vec<u32> = known.must.iter().flatten().chain(&known.may).copied().collect();
                    disk.cut_at(cut);
                    let known = go_on(&disk, &numbered[2..], all).unwrap_or(known);
                    let images = disk.images(CAP).0;
                    cases += images.len();
                    for (index, image) in images.into_iter().enumerate() {
                        let about = format!("{objects} objects, killed in {kill}, cut in {cut}, state {index}");
                        if seen.insert((image.clone(), known.clone())) {
                            check(&image, &known, &plans, &about);
                        }
                    }
                    if !disk.is_off() {
                        break;
                    }
                }
                if !off {
                    break;
                }
                kill += 1;
            }
            println!("{objects} objects, killed and then cut: {cases} cases, {} distinct", seen.len());
        }
    }
}
