//! Tests of the file operations of a save and of their order, and of the store after an operation failed.

use crate::recording_disk::RecordingDisk;
use crate::training::{PlannedSave, save};
use std::io::ErrorKind;
use training_monitor::checkpoint::Encoded;
use training_monitor::embedded_io::Write;
use training_monitor::store::{Store, StreamSpec};
use training_monitor_std::Directory;
use training_monitor_std::directory::{Builder, DirectoryError, IgnoreReason, Operation};
use training_monitor_std::test_support::disk::{Disk, Image};

fn planned(step: u32, objects: usize) -> PlannedSave {
    PlannedSave { step, objects, score: None, remove: None }
}

fn builder() -> Builder {
    Directory::builder("dir", "p").require_empty(false)
}

fn open(fs: &RecordingDisk) -> Directory<RecordingDisk> {
    builder().open_on(fs.clone()).unwrap()
}

fn steps(directory: &mut Directory<RecordingDisk>) -> Vec<u32> {
    (0..).map_while(|index| directory.checkpoint(index).unwrap()).map(|meta| meta.step).collect()
}

fn incomplete(directory: &Directory<RecordingDisk>) -> Vec<String> {
    directory.incomplete().map(|file| file.name.clone()).collect()
}

fn file_names(fs: &RecordingDisk) -> Vec<String> {
    fs.disk.files().into_keys().collect()
}

/// A value for the last parameter of `commit`, which the directory ignores.
const ENCODED: Encoded = Encoded { len: 4, crc: 0 };

fn assert_incomplete(result: Result<(), DirectoryError>) {
    assert!(matches!(result, Err(DirectoryError::IncompleteSave)), "{result:?}");
}

/// Creates the file of one object and writes a few bytes to the file.
fn write_stream(
    directory: &mut Directory<RecordingDisk>,
    planned: PlannedSave,
    sequence: u32,
    stream_index: u32,
) -> Result<(), DirectoryError> {
    let object = crate::training::NAMES[stream_index as usize];
    let (header, stream_count) = (planned.header(sequence), planned.objects as u32);
    let spec = StreamSpec { header, object: Some(object), stream_index, stream_count, len: 4 };
    directory.create(&spec)?.write(b"TMCK").map(drop)
}

/// Describes the only stream (encoded file) of a checkpoint of step 1, with `len` bytes.
fn single_stream(len: u32) -> StreamSpec<'static> {
    StreamSpec { header: planned(1, 1).header(1), object: Some("model"), stream_index: 0, stream_count: 1, len }
}

/// A save performs exactly the necessary synchronizations. Each synchronization waits for the medium, so a superfluous
/// one would slow the save down.
#[test]
fn save_performs_these_operations() {
    let operations = |builder: Builder, objects| {
        let fs = RecordingDisk::default();
        let mut directory = builder.open_on(fs.clone()).unwrap();
        fs.take_operations();
        save(&mut directory, objects, planned(1, objects).header(1)).unwrap();
        fs.take_operations()
    };
    let (model, optimizer) = (".p_model_1.ckpt.1.tmp", ".p_optimizer_1.ckpt.1.tmp");
    let create = |name: &str| format!("create {name}");
    let sync = |name: &str| format!("sync {name}");
    let sync_directory = || "sync directory".to_owned();
    let rename = |from: &str, to: &str| format!("rename {from} {to}");
    let (to_model, to_optimizer) = (rename(model, "p_model_1.ckpt"), rename(optimizer, "p_optimizer_1.ckpt"));

    assert_eq!(operations(builder(), 1), [create(model), sync(model), to_model.clone(), sync_directory()]);
    let two = [create(model), sync(model), create(optimizer), sync(optimizer)];
    assert_eq!(
        operations(builder(), 2),
        [&two[..], &[sync_directory(), to_model.clone(), to_optimizer.clone(), sync_directory()]].concat()
    );
    let not_durable = || builder().durable(false);
    assert_eq!(operations(not_durable(), 2), [create(model), create(optimizer), to_model, to_optimizer]);

    let (model, optimizer) = ("p_model_1.ckpt", "p_optimizer_1.ckpt");
    let not_atomic = || builder().atomic(false);
    assert_eq!(operations(not_atomic(), 1), [create(model), sync(model), sync_directory()]);
    let two = [create(model), sync(model), create(optimizer), sync(optimizer), sync_directory()];
    assert_eq!(operations(not_atomic(), 2), two);
    assert_eq!(operations(not_atomic().durable(false), 2), [create(model), create(optimizer)]);
}

#[test]
fn flush_writes_buffered_bytes_to_the_file() {
    let fs = RecordingDisk::default();
    let mut directory = open(&fs);
    let spec = single_stream(4);
    let mut writer = directory.create(&spec).unwrap();
    writer.write(b"TMCK").unwrap();
    let bytes = || fs.disk.files()[".p_model_1.ckpt.1.tmp"].clone();
    assert_eq!(bytes(), b"");
    writer.flush().unwrap();
    assert_eq!(bytes(), b"TMCK");
}

/// The encoder writes 8 KiB at a time. Each write of a file costs a call of the operating system, and small writes make the
/// synchronization slow.
#[test]
fn a_large_file_is_written_in_blocks_of_one_mebibyte() {
    const MIB: u32 = 1 << 20;
    for (len, expected) in [(3 * MIB, vec![MIB as usize; 3]), (5000, vec![5000])] {
        let fs = RecordingDisk::default();
        let mut directory = open(&fs);
        fs.take_writes();
        let mut writer = directory.create(&single_stream(len)).unwrap();
        for piece in vec![7; len as usize].chunks(8192) {
            writer.write_all(piece).unwrap();
        }
        writer.flush().unwrap();
        assert_eq!(fs.take_writes(), expected);
    }
}

#[test]
fn commit_needs_the_announced_bytes() {
    let fs = RecordingDisk::default();
    let mut directory = open(&fs);
    let header = planned(1, 1).header(1);
    for (announced, committed) in [(5, 5), (3, 4), (4, 5), (5, 4)] {
        directory.create(&single_stream(announced)).unwrap().write(b"TMCK").unwrap();
        assert_incomplete(directory.commit(&header, &Encoded { len: committed, crc: 0 }));
        assert_eq!(file_names(&fs), [""; 0]);
    }
    // The first of two files is too short.
    let spec = StreamSpec { stream_count: 2, ..single_stream(5) };
    directory.create(&spec).unwrap().write(b"TMCK").unwrap();
    assert_incomplete(directory.create(&StreamSpec { stream_index: 1, ..spec }).map(drop));
}

#[test]
fn files_of_different_saves_cannot_be_committed() {
    let fs = RecordingDisk::default();
    let mut directory = open(&fs);
    // Each of these saves differs from the pending save in the step, the sequence or the number of objects.
    for other in [(planned(2, 2), 1), (planned(1, 2), 2), (planned(1, 3), 1)] {
        write_stream(&mut directory, planned(1, 2), 1, 0).unwrap();
        write_stream(&mut directory, other.0, other.1, 1).unwrap();
        // Creating a file of another save aborts the pending save and removes its file.
        let step = other.0.step;
        assert_eq!(file_names(&fs), [format!(".p_optimizer_{step}.ckpt.1.tmp")]);
        for header in [planned(1, 2).header(1), other.0.header(other.1)] {
            assert_incomplete(directory.commit(&header, &ENCODED));
        }
        assert_eq!(file_names(&fs), [""; 0]);
    }
}

#[test]
fn only_a_complete_save_can_be_committed() {
    let fs = RecordingDisk::default();
    let mut directory = open(&fs);
    for other in [planned(2, 2).header(1), planned(1, 2).header(2)] {
        write_stream(&mut directory, planned(1, 2), 1, 0).unwrap();
        write_stream(&mut directory, planned(1, 2), 1, 1).unwrap();
        assert_incomplete(directory.commit(&other, &ENCODED));
        assert_eq!(file_names(&fs), [""; 0]);
    }
    write_stream(&mut directory, planned(1, 2), 1, 0).unwrap();
    assert_incomplete(directory.commit(&planned(1, 2).header(1), &ENCODED));
    assert_eq!((file_names(&fs), steps(&mut directory)), (vec![], vec![]));
}

/// With `atomic`, the old checkpoint remains until the commit of the new one. Without, the old checkpoint is incomplete
/// as soon as one of its files is overwritten.
#[test]
fn atomic_save_keeps_the_old_checkpoint_until_the_commit() {
    for atomic in [true, false] {
        let fs = RecordingDisk::default();
        let mut directory = builder().atomic(atomic).open_on(fs.clone()).unwrap();
        for step in 1..=2 {
            save(&mut directory, 2, planned(step, 2).header(step)).unwrap();
        }
        write_stream(&mut directory, planned(1, 2), 3, 0).unwrap();
        assert_eq!(steps(&mut directory), if atomic { vec![1, 2] } else { vec![2] });
        let overwritten: &[&str] = if atomic { &[] } else { &["p_model_1.ckpt", "p_optimizer_1.ckpt"] };
        assert_eq!(incomplete(&directory), overwritten);
        // The next save of the same names replaces the remaining files.
        save(&mut directory, 2, planned(1, 2).header(3)).unwrap();
        assert_eq!((steps(&mut directory), incomplete(&directory).len()), (vec![2, 1], 0));
    }
}

/// Two files are damaged. Two saves that overwrite one of these files fail, and the third save succeeds. Until then,
/// the list of ignored files contains the file once.
#[test]
fn incomplete_file_is_listed_once() {
    let damaged =
        Image::from([("p_model_5.ckpt".into(), b"TMCK".to_vec()), ("p_model_6.ckpt".into(), b"TMCK".to_vec())]);
    let fs = RecordingDisk::new(Disk::new(&damaged));
    let mut directory = builder().atomic(false).open_on(fs.clone()).unwrap();
    assert_eq!(incomplete(&directory), ["p_model_5.ckpt", "p_model_6.ckpt"]);
    for _ in 0..2 {
        fs.fail(Some("sync p_model_5.ckpt"));
        save(&mut directory, 1, planned(5, 1).header(1)).unwrap_err();
        assert_eq!(incomplete(&directory), ["p_model_6.ckpt", "p_model_5.ckpt"]);
    }
    fs.fail(None);
    save(&mut directory, 1, planned(5, 1).header(1)).unwrap();
    assert_eq!((steps(&mut directory), incomplete(&directory)), (vec![5], vec!["p_model_6.ckpt".to_owned()]));
}

/// A removal fails after it created the tombstone. A new checkpoint reuses the names of the files that the removal did
/// not remove. The repeated removal must not remove the new files.
#[test]
fn save_can_reuse_the_names_of_an_unfinished_removal() {
    let foreign = b"PK of another program".to_vec();
    let fs = RecordingDisk::new(Disk::new(&Image::from([("p_model_9.ckpt".into(), foreign.clone())])));
    let mut directory = open(&fs);
    save(&mut directory, 3, planned(1, 3).header(1)).unwrap();
    fs.fail(Some("sync directory"));
    directory.remove(1).unwrap_err();
    fs.fail(None);
    let remaining = [".p_model_1.ckpt.1.deleted", "p_model_9.ckpt", "p_optimizer_1.ckpt", "p_random_1.ckpt"];
    assert_eq!((file_names(&fs), steps(&mut directory)), (remaining.map(str::to_owned).to_vec(), vec![]));
    // A save can reuse the names of the unfinished removal, but not the name of the foreign file.
    // It gets a variant of that name instead.
    save(&mut directory, 1, planned(9, 1).header(2)).unwrap();
    assert_eq!(fs.disk.files()["p_model_9.ckpt"], foreign);
    directory.remove(2).unwrap();
    assert_eq!(file_names(&fs), ["p_model_9.ckpt"]);

    save(&mut directory, 3, planned(1, 3).header(3)).unwrap();
    fs.fail(Some("sync directory"));
    directory.remove(3).unwrap_err();
    fs.fail(None);
    save(&mut directory, 2, planned(1, 2).header(4)).unwrap();
    fs.fail(Some("remove .p_model_1.ckpt.1.deleted"));
    directory.remove(4).unwrap_err();
    assert_eq!(
        file_names(&fs),
        [".p_model_1.ckpt.1.deleted", "p_model_1.ckpt", "p_model_9.ckpt", "p_optimizer_1.ckpt"]
    );
    assert_eq!(steps(&mut directory), [1]);
    fs.fail(None);
    drop(directory);
    assert_eq!(steps(&mut open(&fs)), [1]);
}

/// The directory repeats a read or a write that a signal interrupts. Any other error makes a write fail at once.
#[test]
fn interrupted_system_calls_are_repeated() {
    let fs = RecordingDisk::default();
    let mut directory = open(&fs);
    let large = vec![7; 1 << 16]; // larger than the buffer
    let spec = single_stream(1 << 16);
    fs.fail_writes([ErrorKind::Interrupted; 3]);
    assert_eq!(directory.create(&spec).unwrap().write(&large).unwrap(), large.len());
    fs.fail_writes([ErrorKind::Interrupted, ErrorKind::StorageFull]);
    let error = directory.create(&spec).unwrap().write(&large).unwrap_err();
    let DirectoryError::Io { operation: Operation::Write, cause, .. } = error else { panic!("{error}") };
    assert_eq!(cause.kind(), ErrorKind::StorageFull);

    save(&mut directory, 1, planned(1, 1).header(1)).unwrap();
    drop(directory);
    fs.fail_reads([ErrorKind::Interrupted; 3]);
    assert_eq!(steps(&mut open(&fs)), [1]);
}

/// A read that fails once must not hide a checkpoint: the next save would take its sequence number.
#[test]
fn checkpoint_is_listed_if_a_read_fails_once() {
    let fs = RecordingDisk::default();
    save(&mut open(&fs), 1, planned(1, 1).header(1)).unwrap();
    fs.fail_reads([ErrorKind::Interrupted, ErrorKind::TimedOut, ErrorKind::Other]);
    assert_eq!(steps(&mut open(&fs)), [1]);
    // An error that remains is reported.
    fs.fail_reads([ErrorKind::TimedOut; 3]);
    let directory = open(&fs);
    let reasons: Vec<_> = directory.foreign().map(|file| file.reason.clone()).collect();
    assert_eq!(reasons, [IgnoreReason::Unreadable(ErrorKind::TimedOut)]);
}
