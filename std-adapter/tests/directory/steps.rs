//! Which operations a save makes, in which order, and what one that goes wrong leaves in the store that made it.

use crate::model::{Disk, Image};
use crate::training::{Plan, save};
use crate::watched::Watched;
use std::io::ErrorKind;
use training_monitor::checkpoint::Encoded;
use training_monitor::embedded_io::Write;
use training_monitor::store::{Opening, Store};
use training_monitor_std::Directory;
use training_monitor_std::directory::{Builder, DirectoryError, Operation, Reason};

fn plan(step: u32, objects: usize) -> Plan {
    Plan { step, objects, score: None, remove: None }
}

fn builder() -> Builder {
    Directory::builder("dir", "p").require_empty(false)
}

fn open(fs: &Watched) -> Directory<Watched> {
    builder().open_on(fs.clone()).unwrap()
}

fn steps(directory: &mut Directory<Watched>) -> Vec<u32> {
    (0..).map_while(|index| directory.stored(index).unwrap()).map(|stored| stored.step).collect()
}

fn incomplete(directory: &Directory<Watched>) -> Vec<String> {
    directory.incomplete().map(|file| file.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

fn there(fs: &Watched) -> Vec<String> {
    fs.disk.now().into_keys().collect()
}

/// The directory does not look at it.
const ENCODED: Encoded = Encoded { len: 0, crc: 0 };

fn nothing_written(result: Result<(), DirectoryError>) {
    assert!(matches!(result, Err(DirectoryError::NothingWritten)), "{result:?}");
}

/// Begins an object's file and writes something to it.
fn begin(directory: &mut Directory<Watched>, plan: Plan, sequence: u32, part: u32) -> Result<(), DirectoryError> {
    let object = crate::training::NAMES[part as usize];
    let (header, parts) = (plan.header(sequence), plan.objects as u32);
    let opening = Opening { header, object: Some(object), part, parts, len: 4 };
    directory.create(&opening)?.write(b"TMCK").map(drop)
}

/// Each sync is a wait for the medium: those that are needed are made, and no others.
#[test]
fn a_save_makes_these_operations() {
    let log = |builder: Builder, objects| {
        let fs = Watched::default();
        let mut directory = builder.open_on(fs.clone()).unwrap();
        fs.log();
        save(&mut directory, objects, plan(1, objects).header(1)).unwrap();
        fs.log()
    };
    let (model, optimizer) = (".p_model_1.ckpt.1.tmp", ".p_optimizer_1.ckpt.1.tmp");
    let create = |name: &str| format!("create {name}");
    let sync = |name: &str| format!("sync {name}");
    let names = || "sync".to_owned();
    let rename = |from: &str, to: &str| format!("rename {from} {to}");
    let (to_model, to_optimizer) = (rename(model, "p_model_1.ckpt"), rename(optimizer, "p_optimizer_1.ckpt"));

    assert_eq!(log(builder(), 1), [create(model), sync(model), to_model.clone(), names()]);
    let two = [create(model), sync(model), create(optimizer), sync(optimizer)];
    assert_eq!(log(builder(), 2), [&two[..], &[names(), to_model.clone(), to_optimizer.clone(), names()]].concat());
    let quick = || builder().durable(false);
    assert_eq!(log(quick(), 2), [create(model), create(optimizer), to_model, to_optimizer]);

    let (model, optimizer) = ("p_model_1.ckpt", "p_optimizer_1.ckpt");
    let plain = || builder().atomic(false);
    assert_eq!(log(plain(), 1), [create(model), sync(model), names()]);
    let two = [create(model), sync(model), create(optimizer), sync(optimizer), names()];
    assert_eq!(log(plain(), 2), two);
    assert_eq!(log(plain().durable(false), 2), [create(model), create(optimizer)]);
}

#[test]
fn flushed_bytes_are_in_the_file() {
    let fs = Watched::default();
    let mut directory = open(&fs);
    let opening = Opening { header: plan(1, 1).header(1), object: Some("model"), part: 0, parts: 1, len: 4 };
    let mut writer = directory.create(&opening).unwrap();
    writer.write(b"TMCK").unwrap();
    let bytes = || fs.disk.now()[".p_model_1.ckpt.1.tmp"].clone();
    assert_eq!(bytes(), b"");
    writer.flush().unwrap();
    assert_eq!(bytes(), b"TMCK");
}

#[test]
fn parts_of_several_saves_are_none() {
    let fs = Watched::default();
    let mut directory = open(&fs);
    // Of another step, sequence, or number of parts, each otherwise the next part of the save under way.
    for other in [(plan(2, 2), 1), (plan(1, 2), 2), (plan(1, 3), 1)] {
        begin(&mut directory, plan(1, 2), 1, 0).unwrap();
        begin(&mut directory, other.0, other.1, 1).unwrap();
        // The first file went with its save.
        let step = other.0.step;
        assert_eq!(there(&fs), [format!(".p_optimizer_{step}.ckpt.1.tmp")]);
        for header in [plan(1, 2).header(1), other.0.header(other.1)] {
            nothing_written(directory.commit(&header, &ENCODED));
        }
        assert_eq!(there(&fs), [""; 0]);
    }
}

#[test]
fn only_what_was_written_is_committed_and_only_all_of_it() {
    let fs = Watched::default();
    let mut directory = open(&fs);
    for other in [plan(2, 2).header(1), plan(1, 2).header(2)] {
        begin(&mut directory, plan(1, 2), 1, 0).unwrap();
        begin(&mut directory, plan(1, 2), 1, 1).unwrap();
        nothing_written(directory.commit(&other, &ENCODED));
        assert_eq!(there(&fs), [""; 0]);
    }
    begin(&mut directory, plan(1, 2), 1, 0).unwrap();
    nothing_written(directory.commit(&plan(1, 2).header(1), &ENCODED));
    assert_eq!((there(&fs), steps(&mut directory)), (vec![], vec![]));
}

/// With `atomic` the files that are there count until the new ones do; without, no longer than they are whole.
#[test]
fn what_is_being_written_over() {
    for atomic in [true, false] {
        let fs = Watched::default();
        let mut directory = builder().atomic(atomic).open_on(fs.clone()).unwrap();
        for step in 1..=2 {
            save(&mut directory, 2, plan(step, 2).header(step)).unwrap();
        }
        begin(&mut directory, plan(1, 2), 3, 0).unwrap();
        assert_eq!(steps(&mut directory), if atomic { vec![1, 2] } else { vec![2] });
        let lost: &[&str] = if atomic { &[] } else { &["p_model_1.ckpt", "p_optimizer_1.ckpt"] };
        assert_eq!(incomplete(&directory), lost);
        // What is left of it is in nobody's way.
        save(&mut directory, 2, plan(1, 2).header(3)).unwrap();
        assert_eq!((steps(&mut directory), incomplete(&directory).len()), (vec![2, 1], 0));
    }
}

/// Two damaged files; one gets in the way of saves that fail, then of one that does not.
#[test]
fn what_is_incomplete_is_listed_once() {
    let damaged =
        Image::from([("p_model_5.ckpt".into(), b"TMCK".to_vec()), ("p_model_6.ckpt".into(), b"TMCK".to_vec())]);
    let fs = Watched::new(Disk::new(&damaged));
    let mut directory = builder().atomic(false).open_on(fs.clone()).unwrap();
    assert_eq!(incomplete(&directory), ["p_model_5.ckpt", "p_model_6.ckpt"]);
    for _ in 0..2 {
        fs.fail(Some("sync p_model_5.ckpt"));
        save(&mut directory, 1, plan(5, 1).header(1)).unwrap_err();
        assert_eq!(incomplete(&directory), ["p_model_6.ckpt", "p_model_5.ckpt"]);
    }
    fs.fail(None);
    save(&mut directory, 1, plan(5, 1).header(1)).unwrap();
    assert_eq!((steps(&mut directory), incomplete(&directory)), (vec![5], vec!["p_model_6.ckpt".to_owned()]));
}

/// A removal fails after its mark. A new checkpoint gets the names of what is still to go; then that does go, and not
/// with the new files.
#[test]
fn a_save_under_the_names_of_a_removal() {
    let foreign = b"PK of another program".to_vec();
    let fs = Watched::new(Disk::new(&Image::from([("p_model_9.ckpt".into(), foreign.clone())])));
    let mut directory = open(&fs);
    save(&mut directory, 3, plan(1, 3).header(1)).unwrap();
    fs.fail(Some("sync"));
    directory.remove(1).unwrap_err();
    fs.fail(None);
    let left = [".p_model_1.ckpt.1.gone", "p_model_9.ckpt", "p_optimizer_1.ckpt", "p_random_1.ckpt"];
    assert_eq!((there(&fs), steps(&mut directory)), (left.map(str::to_owned).to_vec(), vec![]));
    // Names that are to go are ours; any other is not.
    let refused = save(&mut directory, 1, plan(9, 1).header(2));
    assert!(matches!(refused, Err(DirectoryError::InTheWay { .. })), "{refused:?}");
    assert_eq!(fs.disk.now()["p_model_9.ckpt"], foreign);

    save(&mut directory, 2, plan(1, 2).header(2)).unwrap();
    fs.fail(Some("remove .p_model_1.ckpt.1.gone"));
    directory.remove(1).unwrap_err();
    assert_eq!(there(&fs), [".p_model_1.ckpt.1.gone", "p_model_1.ckpt", "p_model_9.ckpt", "p_optimizer_1.ckpt"]);
    assert_eq!(steps(&mut directory), [1]);
    fs.fail(None);
    assert_eq!(steps(&mut open(&fs)), [1]);
}

/// A signal that arrives in a call to the system is nothing to fail for; any other error is, at once.
#[test]
fn calls_that_a_signal_interrupts() {
    let fs = Watched::default();
    let mut directory = open(&fs);
    let large = vec![7; 1 << 16]; // past the buffer
    let opening = Opening { header: plan(1, 1).header(1), object: Some("model"), part: 0, parts: 1, len: 1 << 16 };
    fs.fail_writes([ErrorKind::Interrupted; 3]);
    assert_eq!(directory.create(&opening).unwrap().write(&large).unwrap(), large.len());
    fs.fail_writes([ErrorKind::Interrupted, ErrorKind::StorageFull]);
    let error = directory.create(&opening).unwrap().write(&large).unwrap_err();
    let DirectoryError::Io { operation: Operation::Write, cause, .. } = error else { panic!("{error}") };
    assert_eq!(cause.kind(), ErrorKind::StorageFull);

    save(&mut directory, 1, plan(1, 1).header(1)).unwrap();
    fs.fail_reads([ErrorKind::Interrupted; 3]);
    assert_eq!(steps(&mut open(&fs)), [1]);
    // The next read would succeed; it is not tried.
    fs.fail_reads([ErrorKind::Interrupted, ErrorKind::TimedOut]);
    let directory = open(&fs);
    let reasons: Vec<_> = directory.foreign().map(|file| file.reason.clone()).collect();
    assert_eq!(reasons, [Reason::Unreadable(ErrorKind::TimedOut)]);
}
