//! Tests of the identity of checkpoints: the sequence number identifies a checkpoint, the series and the step decide
//! what a save replaces, and files of different saves are never combined.

use crate::recording_disk::RecordingDisk;
use crate::training::{NAMES, PlannedSave, Tensor, Training, save, save_generation};
use std::io::ErrorKind;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{DecodeError, Header, Named, RankingRule, Series, load_with};
use training_monitor::event::Never;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::{CheckpointMeta, Store};
use training_monitor_std::test_support::disk::{Disk, Image};
use training_monitor_std::{Crc32Fast, Directory};

fn open(disk: &Disk) -> Directory<Disk> {
    Directory::builder("dir", "p").require_empty(false).open_on(disk.clone()).unwrap()
}

fn listed(directory: &mut Directory<Disk>) -> Vec<CheckpointMeta> {
    (0..).map_while(|index| directory.checkpoint(index).unwrap()).collect()
}

fn planned(step: u32, objects: usize) -> PlannedSave {
    PlannedSave { step, objects, score: None, remove: None }
}

/// Returns the header of a checkpoint in the series called `name`.
fn in_series(name: &'static str, step: u32, sequence: u32) -> Header<'static> {
    let series = Series { name, rule: RankingRule::Latest, model: 7 };
    Header { series, ..planned(step, 2).header(sequence) }
}

/// Loads a listed checkpoint. Returns its generation, and fails if its files are of different generations.
fn generation(disk: &Disk, directory: &Directory<Disk>, meta: &CheckpointMeta, generations: &[u32]) -> u32 {
    let files: Vec<_> = directory.files(meta.sequence).collect();
    let mut loaded = Training::new(files.len(), 999);
    for (index, file) in files.iter().enumerate() {
        let bytes = &disk.files()[file.file_name().unwrap().to_str().unwrap()];
        load_with::<Crc32Fast, _>(bytes, &mut Named::new(NAMES[index], Tensor(&mut loaded.objects[index])), None)
            .unwrap();
    }
    let matching =
        generations.iter().find(|generation| Training::new(files.len(), **generation).objects == loaded.objects);
    *matching.expect("the files are of different saves")
}

/// The newest checkpoint of two files loses one of them. The program repeats the save with the same step, sequence and
/// iteration, but with other content. The repeated save is interrupted in each operation.
#[test]
fn repeated_save_is_never_combined_with_files_of_a_damaged_one() {
    let damages: [&dyn Fn(&mut Image); 4] = [
        &|image| drop(image.remove("p_model_2.ckpt")),
        &|image| drop(image.remove("p_optimizer_2.ckpt")),
        &|image| image.get_mut("p_model_2.ckpt").unwrap()[40] ^= 1,
        &|image| image.get_mut("p_optimizer_2.ckpt").unwrap()[40] ^= 1,
    ];
    let mut cases = 0;
    for damage in damages {
        let disk = Disk::default();
        let mut directory = open(&disk);
        save(&mut directory, 2, planned(1, 2).header(1)).unwrap();
        save(&mut directory, 2, planned(2, 2).header(2)).unwrap();
        drop(directory);
        let mut damaged = disk.files();
        damage(&mut damaged);
        for operation in 1.. {
            let disk = Disk::new(&damaged);
            let mut directory = open(&disk);
            assert_eq!((listed(&mut directory).len(), directory.damaged()), (1, 1));
            disk.cut_power_at(operation);
            let saved = save_generation(&mut directory, 2, planned(2, 2).header(2), 50);
            drop(directory);
            for image in disk.images(4096).0 {
                cases += 1;
                let disk = Disk::new(&image);
                let mut directory = open(&disk);
                let found = listed(&mut directory);
                assert_eq!(found[0].sequence, 1);
                for meta in &found {
                    let expected: &[u32] = if meta.sequence == 1 { &[1] } else { &[50] };
                    generation(&disk, &directory, meta, expected);
                }
                assert!(saved.is_err() || found.len() == 2);
                save_generation(&mut directory, 2, planned(2, 2).header(3), 51).unwrap();
                drop(directory);
                let mut directory = open(&disk);
                let found = listed(&mut directory);
                assert_eq!(generation(&disk, &directory, &found[1], &[51]), 51);
                assert_eq!((found.len(), directory.damaged()), (2, 0));
            }
            if saved.is_ok() {
                break;
            }
        }
    }
    assert!(cases > 40, "{cases}");
}

/// Another program copies one file of another run into the directory. Both saves agree in step, sequence, iteration and
/// objects.
#[test]
fn copied_file_of_another_run_is_not_combined() {
    let image = |generation| {
        let disk = Disk::default();
        save_generation(&mut open(&disk), 2, planned(1, 2).header(1), generation).unwrap();
        disk.files()
    };
    let mut mixed = image(1);
    mixed.extend(image(2).into_iter().filter(|(name, _)| name == "p_optimizer_1.ckpt"));
    let disk = Disk::new(&mixed);
    let mut directory = open(&disk);
    assert_eq!((listed(&mut directory).len(), directory.incomplete().count()), (0, 2));
    // The two files are the rest of two different checkpoints.
    assert_eq!(directory.damaged(), 1);
    // The copied file has a temporary name, as if a commit had been interrupted.
    let mut mixed = image(1);
    mixed.remove("p_optimizer_1.ckpt");
    mixed.insert(".p_optimizer_1.ckpt.1.tmp".into(), image(2)["p_optimizer_1.ckpt"].clone());
    assert_eq!(listed(&mut open(&Disk::new(&mixed))), []);
}

/// A checkpoint handler saves two models with equal numbers to two directories. Their files do not fit together.
#[test]
fn saves_of_a_handler_with_equal_numbers_are_not_combined() {
    let image = |generation| {
        let disk = Disk::default();
        let mut handler = ModelCheckpoint::<1>::every(1).unwrap().attach(Never, open(&disk)).unwrap();
        let decision = SaveDecision { step: 1, score: None };
        handler.save(decision, 10, None, &mut Training::new(2, generation)).unwrap();
        drop(handler);
        disk.files()
    };
    assert_eq!(listed(&mut open(&Disk::new(&image(1)))).len(), 1);
    let mut mixed = image(1);
    mixed.insert("p_optimizer_1.ckpt".into(), image(2)["p_optimizer_1.ckpt"].clone());
    assert_eq!(listed(&mut open(&Disk::new(&mixed))), []);
}

/// Another program replaces a file of a listed checkpoint by a file of another checkpoint.
#[test]
fn files_replaced_after_the_opening_are_not_loaded_as_one_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let files = Directory::builder(dir.path(), "p").open().unwrap();
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(Never, files).unwrap();
    for step in 1..=2 {
        let decision = SaveDecision { step, score: None };
        handler.save(decision, step, None, &mut Training::new(2, step)).unwrap();
    }
    std::fs::copy(dir.path().join("p_optimizer_1.ckpt"), dir.path().join("p_optimizer_2.ckpt")).unwrap();
    let mut loaded = Training::new(2, 999);
    let result = handler.load_step(2, &mut loaded);
    assert!(matches!(result, Err(DecodeError::Malformed)), "{result:?}");
    assert_eq!(loaded.objects, Training::new(2, 999).objects);
}

#[test]
fn save_replaces_only_a_checkpoint_of_its_own_series() {
    let disk = Disk::default();
    let mut directory = open(&disk);
    save(&mut directory, 2, in_series("a", 5, 1)).unwrap();
    save(&mut directory, 2, in_series("b", 5, 2)).unwrap();
    save(&mut directory, 2, in_series("b", 5, 3)).unwrap();
    let check = |directory: &mut Directory<Disk>| {
        let found = listed(directory);
        assert_eq!(found.iter().map(|meta| (meta.step, meta.sequence)).collect::<Vec<_>>(), [(5, 1), (5, 3)]);
        for meta in &found {
            assert_eq!(generation(&disk, directory, meta, &[1, 2, 3]), meta.sequence);
        }
        assert_eq!((directory.incomplete().count(), directory.foreign().count(), directory.damaged()), (0, 0, 0));
    };
    check(&mut directory);
    drop(directory);
    let names: Vec<String> = disk.files().into_keys().collect();
    assert_eq!(names, ["p_model_5.ckpt", "p_model_5~3.ckpt", "p_optimizer_5.ckpt", "p_optimizer_5~3.ckpt"]);
    check(&mut open(&disk));
}

/// A save replaces nothing of another series, also if it is interrupted in any operation.
#[test]
fn interrupted_save_keeps_the_checkpoints_of_other_series() {
    for operation in 0.. {
        let disk = Disk::default();
        let mut directory = open(&disk);
        save(&mut directory, 2, in_series("a", 5, 1)).unwrap();
        save(&mut directory, 2, in_series("b", 5, 2)).unwrap();
        disk.cut_power_at(disk.operations() + operation);
        let saved = save(&mut directory, 2, in_series("b", 5, 3));
        drop(directory);
        for image in disk.images(4096).0 {
            let disk = Disk::new(&image);
            let mut directory = open(&disk);
            let found = listed(&mut directory);
            let sequences: Vec<u32> = found.iter().map(|meta| meta.sequence).collect();
            assert!(sequences == [1, 2] && saved.is_err() || sequences == [1, 3], "{operation}: {sequences:?}");
            for meta in &found {
                assert_eq!(generation(&disk, &directory, meta, &[1, 2, 3]), meta.sequence);
            }
        }
        if saved.is_ok() {
            return;
        }
    }
}

#[test]
fn checkpoint_with_a_missing_file_is_no_longer_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = Directory::builder(dir.path(), "p").open().unwrap();
    for sequence in 1..=2 {
        save(&mut directory, 2, planned(sequence, 2).header(sequence)).unwrap();
    }
    std::fs::remove_file(dir.path().join("p_optimizer_1.ckpt")).unwrap();
    assert_eq!(directory.stream_count(1).unwrap(), 0);
    assert_eq!(directory.stream_count(2).unwrap(), 2);
    let names: Vec<String> = directory.incomplete().map(|file| file.name.clone()).collect();
    assert_eq!((names, directory.damaged()), (vec!["p_model_1.ckpt".to_owned()], 1));
    directory.remove(1).unwrap();
    // A save replaces the remaining file.
    save(&mut directory, 2, planned(1, 2).header(3)).unwrap();
    assert_eq!((directory.stream_count(3).unwrap(), directory.damaged()), (2, 0));
}

/// The damaged file of an incomplete checkpoint and its remaining files count as one checkpoint.
#[test]
fn each_damaged_checkpoint_counts_once() {
    let disk = Disk::default();
    let mut directory = open(&disk);
    for sequence in 1..=3 {
        save(&mut directory, 3, planned(sequence, 3).header(sequence)).unwrap();
    }
    drop(directory);
    let mut image = disk.files();
    image.get_mut("p_model_1.ckpt").unwrap()[30] ^= 1;
    for name in ["p_model_2.ckpt", "p_optimizer_2.ckpt", "p_random_2.ckpt"] {
        image.get_mut(name).unwrap()[30] ^= 1;
    }
    image.insert("p_notes.ckpt".into(), b"PK no checkpoint".to_vec());
    let mut directory = open(&Disk::new(&image));
    assert_eq!((listed(&mut directory).len(), directory.damaged()), (1, 2));
}

/// One of two files cannot be read. A save of another series with the same step must not replace the other file.
#[test]
fn save_replaces_no_file_of_an_unreadable_checkpoint() {
    let fs = RecordingDisk::default();
    save(&mut open(&fs.disk), 2, in_series("a", 1, 1)).unwrap();
    fs.fail_reads([ErrorKind::TimedOut; 3]);
    let mut directory = Directory::builder("dir", "p").require_empty(false).open_on(fs.clone()).unwrap();
    assert_eq!((directory.damaged(), directory.foreign().count()), (1, 2));
    save(&mut directory, 2, in_series("b", 1, 2)).unwrap();
    drop(directory);
    let sequences: Vec<u32> = listed(&mut open(&fs.disk)).iter().map(|meta| meta.sequence).collect();
    assert_eq!(sequences, [1, 2]);
}

/// Both names of a file are taken by files whose content shows no checkpoint of this directory, for example because
/// the file with the variant is damaged. Otherwise every save with this step and sequence would fail.
#[test]
fn save_succeeds_if_the_variant_of_a_name_is_taken() {
    let note = |name: &str| (name.to_owned(), b"a note".to_vec());
    let disk = Disk::new(&Image::from([note("p_model_1.ckpt"), note("p_model_1~1.ckpt")]));
    save(&mut open(&disk), 2, planned(1, 2).header(1)).unwrap();
    let mut directory = open(&disk);
    let meta = listed(&mut directory)[0];
    assert_eq!(generation(&disk, &directory, &meta, &[1]), 1);
    let names: Vec<_> = directory.files(1).map(|path| path.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["p_model_1~~1.ckpt", "p_optimizer_1.ckpt"]);
}
