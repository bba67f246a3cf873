//! The tool together with Python: numpy and safetensors read exported files, and a device resumes from weights that
//! Python trained.
//!
//! The tests are ignored by default. `cargo test -p training-monitor-std --test tool_python -- --ignored` runs them,
//! and they fail without Python, numpy and safetensors. The environment variable `PYTHON` selects another interpreter
//! than `python3`.

mod tool;

use digits_workload::monitored::{self, Plan, RunObserver, Series};
use digits_workload::train::Trainee;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use tool::{MemoryFlash, check_output, python, train};
use training_monitor::ModelCheckpoint;
use training_monitor::engine::Resumed;
use training_monitor::event::Never;
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::store::flash::Slots;
use training_monitor_std::Directory;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python")
}

#[test]
#[ignore = "needs Python with numpy and safetensors"]
fn numpy_and_safetensors_read_exported_files() {
    let dir = tempfile::tempdir().unwrap();
    let open = |prefix: &str| Directory::builder(dir.path().join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
    check_output(dir.path(), &["export", "run", "--best", "--to", "json", "-o", "run.json"], 0);
    check_output(dir.path(), &["import", "run.json", "--to", "checkpoint", "-o", "run.ckpt"], 0);
    let output = python()
        .args(["-B", "-m", "unittest", "-v", "test_files"])
        .current_dir(scripts())
        .env("TRAINING_MONITOR", env!("CARGO_BIN_EXE_training-monitor"))
        .env("CHECKPOINT", dir.path().join("run.ckpt"))
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && log.contains("Ran 5 tests"), "{log}");
}

/// The size of an erase block in bytes.
const BLOCK: usize = 2048;
/// The size of a slot in bytes.
const SLOT: usize = 24 * 1024;
/// The size of the region for the latest checkpoint in bytes: two slots.
const LATEST: usize = 2 * SLOT;

/// An observer that records the iteration at which a run resumed, and the number of checkpoint events.
#[derive(Default)]
struct ResumeObserver {
    resumed: Cell<Option<u32>>,
    checkpoint_events: Cell<u32>,
}

impl<E> RunObserver<E> for ResumeObserver {
    fn on_start(&self, resumed: Option<Resumed>) {
        self.resumed.set(resumed.map(|resumed| resumed.iteration));
    }
    fn on_checkpoint(&self, _: Series, _: &CheckpointEvent<'_, E>) {
        self.checkpoint_events.set(self.checkpoint_events.get() + 1);
    }
}

/// Runs the training of the firmware on a flash. Returns the trainee at the end of the run.
fn run_firmware(flash: &mut [u8], max_epochs: u32) -> (Trainee<32, 16>, ResumeObserver) {
    let (latest, best) = flash.split_at_mut(LATEST);
    let latest = Slots::<_, 2>::open(MemoryFlash::<BLOCK>(latest), 0..LATEST as u32).unwrap();
    let end = best.len() as u32;
    let best = Slots::<_, 3>::open(MemoryFlash::<BLOCK>(best), 0..end).unwrap();
    let mut trainee = Trainee::new();
    let observer = ResumeObserver::default();
    monitored::run(&mut trainee, Plan { max_epochs, ..Plan::DEFAULT }, latest, best, &observer).unwrap();
    (trainee, observer)
}

#[test]
#[ignore = "needs Python with numpy and safetensors"]
fn the_firmware_resumes_from_weights_that_python_trained() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut flash = vec![0xFF; 5 * SLOT];
    run_firmware(&mut flash, 3);
    fs::write(path("dump.bin"), &flash).unwrap();

    check_output(dir.path(), &["export", "dump.bin", "--to", "safetensors", "-o", "weights.safetensors"], 0);
    let script = scripts().join("train_step.py");
    let python = python()
        .arg("-B")
        .arg(script)
        .arg(path("weights.safetensors"))
        .arg(path("trained.safetensors"))
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    // The script prints the sum of the bits of all weights.
    let python_sum: u64 = String::from_utf8(python.stdout).unwrap().trim().parse().unwrap();
    let region = format!("0..{LATEST}");
    let import = ["import", "trained.safetensors", "--to", "flash-image", "--into", "dump.bin", "-o", "new.bin"];
    check_output(dir.path(), &[&import[..], &["--region", &region, "--slots", "2"]].concat(), 0);
    let changed = check_output(dir.path(), &["diff", "dump.bin", "new.bin"], 1);
    assert!(changed.contains("4 of 12 differ"), "{changed}");

    // The device loads exactly the weights that Python wrote, so both sums of the bits are equal.
    let mut new = fs::read(path("new.bin")).unwrap();
    let mut loaded = Trainee::<32, 16>::new();
    let slots = Slots::<_, 2>::open(MemoryFlash::<BLOCK>(&mut new[..LATEST]), 0..LATEST as u32).unwrap();
    let mut latest = ModelCheckpoint::<1>::every(1).unwrap().attach(Never, slots).unwrap();
    latest.load_best(&mut loaded).unwrap().unwrap();
    let weights = loaded.net.parameters.slices().into_iter().flatten();
    let sum = weights.fold(0_u64, |sum, weight| sum.wrapping_add(u64::from(weight.to_bits())));
    assert_eq!(sum, python_sum);
    drop(latest);

    // One device resumes from its own weights, the other from the weights that Python trained. The results must differ.
    let epoch = Trainee::<32, 16>::BATCHES;
    let (unchanged, observer) = run_firmware(&mut flash, 4);
    assert_eq!(observer.resumed.get(), Some(3 * epoch));
    let (trained, observer) = run_firmware(&mut new, 4);
    assert!(observer.resumed.get() >= Some(3 * epoch) && observer.checkpoint_events.get() > 0);
    assert_ne!(trained.checksum(), unchanged.checksum());
}
