//! Tests of directories that are open for reading only, also while a trainer writes to the same directory.

use crate::training::{NAMES, PlannedSave, Training, save};
use std::fs;
use std::path::Path;
use training_monitor::checkpoint::{Crc32, Header, Loader};
use training_monitor::event::{EpochCompleted, Never};
use training_monitor::store::{Store, StreamSpec};
use training_monitor::{Engine, ModelCheckpoint, State};
use training_monitor_std::Directory;
use training_monitor_std::directory::{DirectoryError, OpenError};
use training_monitor_std::test_support::disk::Disk;

fn planned(step: u32, objects: usize) -> PlannedSave {
    PlannedSave { step, objects, score: None, remove: None }
}

fn load(directory: &mut Directory, sequence: u32) -> Result<Training, DirectoryError> {
    let (mut loaded, mut scratch) = (Training::new(2, 999), [0; 256]);
    let mut loader = Loader::new(&mut loaded, &mut scratch);
    for stream in 0..2 {
        loader.load::<Crc32, _>(&mut directory.open(sequence, stream)?).unwrap();
    }
    Ok(loaded)
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn reading_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    let opened = Directory::builder(&missing, "p").open_read_only();
    assert!(matches!(opened, Err(OpenError::NotFound { path }) if path == missing) && !missing.exists());
    let mut writer = Directory::builder(dir.path(), "p").open().unwrap();
    save(&mut writer, 2, planned(1, 2).header(1)).unwrap();
    save(&mut writer, 2, planned(2, 2).header(2)).unwrap();
    drop(writer);
    fs::remove_file(dir.path().join(".p.lock")).unwrap();
    // The commit of step 2 was interrupted, and so was a save of step 3.
    fs::rename(dir.path().join("p_optimizer_2.ckpt"), dir.path().join(".p_optimizer_2.ckpt.1.tmp")).unwrap();
    fs::write(dir.path().join(".p_model_3.ckpt.1.tmp"), "TMCK").unwrap();
    let before = names(dir.path());
    let mut directory = Directory::builder(dir.path(), "p").open_read_only().unwrap();
    assert!(directory.is_read_only() && !directory.is_locked());
    for sequence in 1..=2 {
        assert_eq!(directory.stream_count(sequence).unwrap(), 2);
        assert_eq!(load(&mut directory, sequence).unwrap().objects, Training::new(2, sequence).objects);
    }
    let header = planned(4, 1).header(4);
    let spec = StreamSpec { header, object: Some(NAMES[0]), stream_index: 0, stream_count: 1, len: 4 };
    let encoded = training_monitor::checkpoint::Encoded { len: 4, crc: 0 };
    let errors = [
        directory.check(&spec).unwrap_err(),
        directory.create(&spec).err().unwrap(),
        directory.commit(&header, &encoded).unwrap_err(),
        directory.remove(1).unwrap_err(),
        directory.erase(1).unwrap_err(),
    ];
    for error in errors {
        let is_read_only = matches!(&error, DirectoryError::ReadOnly { path } if path == dir.path());
        assert!(is_read_only && error.to_string().contains("reading only"), "{error}");
    }
    drop(directory);
    assert_eq!(names(dir.path()), before);
}

#[test]
fn reading_performs_no_operation_that_changes_the_disk() {
    let disk = Disk::default();
    let mut writer = Directory::builder("dir", "p").open_on(disk.clone()).unwrap();
    save(&mut writer, 2, planned(1, 2).header(1)).unwrap();
    let operations = disk.operations();
    let mut directory = Directory::builder("dir", "p").open_read_only_on(disk.clone()).unwrap();
    assert_eq!(directory.checkpoint(0).unwrap().map(|meta| meta.sequence), Some(1));
    drop(directory);
    assert_eq!(disk.operations(), operations);
}

/// The writer removes the checkpoint after the reader has listed it.
#[test]
fn listed_checkpoint_stays_readable_after_its_removal() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Directory::builder(dir.path(), "p").open().unwrap();
    save(&mut writer, 2, planned(1, 2).header(1)).unwrap();
    let mut reader = Directory::builder(dir.path(), "p").open_read_only().unwrap();
    save(&mut writer, 2, planned(2, 2).header(2)).unwrap();
    writer.remove(1).unwrap();
    assert_eq!(reader.stream_count(1).unwrap(), 2);
    for _ in 0..2 {
        assert_eq!(load(&mut reader, 1).unwrap().objects, Training::new(2, 1).objects);
    }
    reader.refresh().unwrap();
    assert_eq!(reader.stream_count(1).unwrap(), 0);
    assert!(matches!(reader.open(1, 0).err(), Some(DirectoryError::NoCheckpoint { sequence: 1, .. })));
    assert_eq!(load(&mut reader, 2).unwrap().objects, Training::new(2, 2).objects);
}

/// More files are listed than a reader keeps open.
#[test]
fn reader_of_many_files_lists_again_if_a_file_was_renamed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Directory::builder(dir.path(), "p").durable(false).open().unwrap();
    for sequence in 100..140 {
        save(&mut writer, 2, planned(sequence, 2).header(sequence)).unwrap();
    }
    // The commit of the last checkpoint is not complete yet.
    let (temporary, last) = (dir.path().join(".p_random_139.ckpt.1.tmp"), dir.path().join("p_random_139.ckpt"));
    save(&mut writer, 3, planned(139, 3).header(140)).unwrap();
    fs::rename(&last, &temporary).unwrap();
    let mut reader = Directory::builder(dir.path(), "p").open_read_only().unwrap();
    assert_eq!(reader.stream_count(140).unwrap(), 3);
    fs::rename(&temporary, &last).unwrap();
    fs::remove_file(dir.path().join("p_optimizer_138.ckpt")).unwrap();
    let mut loaded = Training::new(3, 999);
    let mut scratch = [0; 256];
    let mut loader = Loader::new(&mut loaded, &mut scratch);
    for stream in 0..3 {
        loader.load::<Crc32, _>(&mut reader.open(140, stream).unwrap()).unwrap();
    }
    assert_eq!(loaded.objects, Training::new(3, 140).objects);
    assert!(load(&mut reader, 138).is_err());
}

/// A trainer keeps the best two checkpoints. A reader loads the best one many times meanwhile.
#[test]
fn best_checkpoint_is_loaded_while_a_trainer_saves() {
    let dir = tempfile::tempdir().unwrap();
    let open = |builder: training_monitor_std::directory::Builder| {
        builder.open().and_then(|files| {
            let policy = ModelCheckpoint::<2>::best_by(|state: &State<f32>| state.output.unwrap_or(0.0));
            Ok(policy.attach(EpochCompleted, files).unwrap())
        })
    };
    let mut checkpoint = open(Directory::builder(dir.path(), "p")).unwrap();
    let mut model = Training::new(2, 1);
    let mut run = |epochs| {
        let mut engine = Engine::new(epochs);
        engine.run(&mut model, 0..1, &mut checkpoint, |model, _, state| {
            *model = Training::new(2, state.epoch());
            state.epoch() as f32
        })
    };
    run(1).unwrap();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..64 {
                let files = Directory::builder(dir.path(), "p").open_read_only().unwrap();
                let policy = ModelCheckpoint::<2>::best_by(|state: &State<f32>| state.output.unwrap_or(0.0));
                let mut checkpoint = policy.attach(Never, files).unwrap();
                let mut loaded = Training::new(2, 999);
                let info = checkpoint.load_best(&mut loaded).unwrap().expect("a checkpoint");
                let generation = info.score.unwrap() as u32;
                assert_eq!(loaded.objects, Training::new(2, generation).objects);
            }
        });
        while !reader.is_finished() {
            run(20).unwrap();
        }
        reader.join().unwrap();
    });
}

#[test]
fn header_of_a_read_only_directory_keeps_its_series() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Directory::builder(dir.path(), "p").open().unwrap();
    let header = Header { run: 3, ..planned(1, 2).header(1) };
    save(&mut writer, 2, header).unwrap();
    let mut reader = Directory::builder(dir.path(), "p").open_read_only().unwrap();
    assert_eq!(reader.checkpoint(0).unwrap(), writer.checkpoint(0).unwrap());
}
