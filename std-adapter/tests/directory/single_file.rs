//! Tests of a directory that stores all objects of a checkpoint in one file.

use crate::recording_disk::RecordingDisk;
use crate::training::Training;
use training_monitor::event::EpochCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::Store;
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::Directory;
use training_monitor_std::directory::{Builder, DirectoryError, OpenError};
use training_monitor_std::test_support::disk::Disk;
use training_monitor_std::test_support::random::Random;
use training_monitor_std::test_support::{JudgeOptions, Medium, PowerMedium, check_store, judge_power_failures};

fn builder(single_file: bool) -> Builder {
    Directory::builder("dir", "p").require_empty(false).single_file(single_file)
}

/// Saves the given steps. Each one has the generation of its step.
fn save(directory: Directory<RecordingDisk>, steps: &[u32]) -> Result<(), DirectoryError> {
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, directory)?;
    for step in steps {
        let mut training = Training::new(3, *step);
        handler.save(SaveDecision { step: *step, score: None }, *step, None, &mut training).unwrap();
    }
    Ok(())
}

fn file_names(fs: &RecordingDisk) -> Vec<String> {
    fs.disk.files().into_keys().collect()
}

/// The number of synchronizations that the documentation of `Builder::single_file` states.
#[test]
fn save_of_one_file_synchronizes_twice() {
    let fs = RecordingDisk::default();
    let open = || builder(true).open_on(fs.clone()).unwrap();
    save(open(), &[1]).unwrap();
    fs.take_operations();
    let directory = open();
    fs.take_operations();
    save(directory, &[2]).unwrap();
    let temporary = ".p_checkpoint_2.ckpt.1.tmp";
    let operations = [
        format!("create {temporary}"),
        format!("sync {temporary}"),
        format!("rename {temporary} p_checkpoint_2.ckpt"),
        "sync directory".to_owned(),
    ];
    assert_eq!(fs.take_operations(), operations);

    let synchronizations = |single_file, steps: &[u32]| {
        let fs = RecordingDisk::default();
        let directory = builder(single_file).open_on(fs.clone()).unwrap();
        fs.take_operations();
        save(directory, steps).unwrap();
        fs.take_operations().iter().filter(|operation| operation.starts_with("sync")).count()
    };
    // With three objects: the third save removes the first checkpoint.
    assert_eq!([1, 2, 3].map(|n| synchronizations(true, &[1, 2, 3][..n])), [2, 4, 6]);
    assert_eq!([1, 2, 3].map(|n| synchronizations(false, &[1, 2, 3][..n])), [5, 10, 17]);
}

/// A directory contains checkpoints of both forms, and opens with either setting.
#[test]
fn setting_can_change_between_two_starts() {
    for first in [true, false] {
        let fs = RecordingDisk::default();
        save(builder(first).open_on(fs.clone()).unwrap(), &[1, 2]).unwrap();
        save(builder(!first).open_on(fs.clone()).unwrap(), &[3]).unwrap();
        let (mut whole, mut parts) = (vec![if first { 2 } else { 3 }], vec![if first { 3 } else { 2 }]);
        let names = |steps: &mut Vec<u32>, objects: &[&str]| -> Vec<String> {
            steps.drain(..).flat_map(|step| objects.iter().map(move |name| format!("p_{name}_{step}.ckpt"))).collect()
        };
        let mut expected = names(&mut whole, &["checkpoint"]);
        expected.extend(names(&mut parts, &["model", "optimizer", "random"]));
        expected.sort();
        assert_eq!(file_names(&fs), expected);

        for single_file in [true, false] {
            let directory = builder(single_file).open_on(fs.clone()).unwrap();
            let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, directory).unwrap();
            for step in [2, 3] {
                let mut loaded = Training::new(3, 99);
                handler.load_step(step, &mut loaded).unwrap();
                assert_eq!(loaded.objects, Training::new(3, step).objects, "step {step}");
            }
        }
    }
}

#[test]
fn run_resumes_from_one_file() {
    let disk = Disk::default();
    let run = |epochs| {
        let directory = builder(true).open_on(disk.clone()).unwrap();
        let mut checkpoint = ModelCheckpoint::<1>::every(1).unwrap().attach(EpochCompleted, directory).unwrap();
        let mut training = Training::new(2, 0);
        let mut engine = Engine::<()>::new(epochs);
        let resumed = engine.resume(&mut training, &mut checkpoint).unwrap();
        let step = |training: &mut Training, batch: u32, _: &mut _| training.objects[1][batch as usize] += 1.0;
        engine.run(&mut training, 0..4, &mut checkpoint, step).unwrap();
        (resumed.map(|resumed| resumed.iteration), training.objects)
    };
    let (resumed, _) = run(2);
    assert_eq!(resumed, None);
    let (resumed, objects) = run(5);
    assert_eq!(resumed, Some(8));
    let mut expected = Training::new(2, 0).objects;
    (0..5).for_each(|_| expected[1].iter_mut().take(4).for_each(|weight| *weight += 1.0));
    assert_eq!(objects, expected);
    assert_eq!(disk.files().into_keys().collect::<Vec<_>>(), ["p_checkpoint_5.ckpt"]);
}

/// A simulated disk for the checks that users run on their own stores.
struct DiskMedium {
    disk: Disk,
    single_file: bool,
    seed: u64,
}

impl Medium for DiskMedium {
    type Store<'a> = Directory<Disk>;
    type OpenError = OpenError;
    fn open(&mut self) -> Result<Directory<Disk>, OpenError> {
        builder(self.single_file).open_on(self.disk.clone())
    }
}

impl PowerMedium for DiskMedium {
    fn operations(&self) -> u64 {
        self.disk.operations() as u64
    }
    fn cut_power_at(&mut self, operation: u64, seed: u64) {
        self.disk.cut_power_at(operation as usize);
        self.seed = seed;
    }
    fn restore_power(&mut self) {
        self.disk.restart_device(&mut Random::new(self.seed));
    }
}

#[test]
fn directory_passes_the_checks_for_stores() {
    for single_file in [false, true] {
        let medium = || DiskMedium { disk: Disk::default(), single_file, seed: 0 };
        let mut disk = medium();
        assert_eq!(disk.open().unwrap().has_stream_per_object(), !single_file);
        check_store(&mut disk).unwrap_or_else(|violation| panic!("single file: {single_file}: {violation}"));
        let options = JudgeOptions { effects: 6, second_failures: 1 };
        let report = judge_power_failures(medium, options).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(report.cases > 1000, "{report:?}");
    }
}
