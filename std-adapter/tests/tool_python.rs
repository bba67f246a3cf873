//! The tool and Python: files read by the real numpy and safetensors, and weights that Python trained going back to a
//! device's flash, from which the firmware's own run goes on.
//!
//! Without a Python that has numpy and safetensors these tests say so and pass. `PYTHON` picks another one than `python3`.

mod tool;

use digits_workload::monitored::{self, Journal, Plan, Series};
use digits_workload::train::Trainee;
use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use tool::{Chip, python, says, train};
use training_monitor::checkpoint::Crc32;
use training_monitor::engine::Resumed;
use training_monitor::store::slots::Slots;
use training_monitor_std::Directory;

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/python")
}

#[test]
fn exported_files_are_read_by_the_real_libraries() {
    let Some(mut python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let open = |prefix: &str| Directory::builder(dir.path().join("run"), prefix).open().unwrap();
    train(open("best"), open("latest"));
    says(dir.path(), &["export", "run", "--best", "--to", "json", "-o", "whole.json"], 0);
    says(dir.path(), &["import", "whole.json", "--to", "checkpoint", "-o", "whole.ckpt"], 0);
    let output = python
        .args(["-B", "-m", "unittest", "-v", "test_files"])
        .current_dir(scripts())
        .env("TRAINING_MONITOR", env!("CARGO_BIN_EXE_training-monitor"))
        .env("CHECKPOINT", dir.path().join("whole.ckpt"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("Ran 4 tests"), "{told}");
}

/// Bytes of an erase block.
const BLOCK: usize = 2048;

const SLOT: usize = 24 * 1024;
const LATEST: usize = 2 * SLOT;

/// Remembers where the run went on, and how often it saved.
#[derive(Default)]
struct Seen {
    resumed: Cell<Option<u32>>,
    saved: Cell<u32>,
}

impl<E> Journal<E> for Seen {
    fn begins(&self, resumed: Option<Resumed>) {
        self.resumed.set(resumed.map(|resumed| resumed.iteration));
    }
    fn checkpoint(&self, _: Series, _: &training_monitor::handlers::saving::Report<'_, E>) {
        self.saved.set(self.saved.get() + 1);
    }
}

/// The firmware's run on a flash: the trainee as it ends, and what was seen.
fn device(flash: &mut [u8], max_epochs: u32) -> (Trainee<32, 16>, Seen) {
    let (latest, best) = flash.split_at_mut(LATEST);
    let latest = Slots::<_, 2, Crc32>::open(Chip::<BLOCK>(latest), 0..LATEST as u32).unwrap();
    let end = best.len() as u32;
    let best = Slots::<_, 3, Crc32>::open(Chip::<BLOCK>(best), 0..end).unwrap();
    let mut trainee = Trainee::new();
    let seen = Seen::default();
    monitored::run(&mut trainee, Plan { max_epochs, ..Plan::DEFAULT }, latest, best, &seen).unwrap();
    (trainee, seen)
}

#[test]
fn the_firmware_goes_on_from_what_python_trained() {
    let Some(mut python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut flash = vec![0xFF; 5 * SLOT];
    device(&mut flash, 3);
    fs::write(path("dump.bin"), &flash).unwrap();

    says(dir.path(), &["export", "dump.bin", "--to", "safetensors", "-o", "weights.safetensors"], 0);
    let script = scripts().join("train_step.py");
    let output = python
        .arg("-B")
        .arg(script)
        .arg(path("weights.safetensors"))
        .arg(path("trained.safetensors"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: u64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
    let region = format!("0..{LATEST}");
    let import = ["import", "trained.safetensors", "--to", "flash-image", "--into", "dump.bin", "-o", "new.bin"];
    says(dir.path(), &[&import[..], &["--region", &region, "--slots", "2"]].concat(), 0);
    let changed = says(dir.path(), &["diff", "dump.bin", "new.bin"], 1);
    assert!(changed.contains("4 of 12 differ"), "{changed}");

    // The very weights that Python had are what the device finds.
    let mut new = fs::read(path("new.bin")).unwrap();
    let mut found = Trainee::<32, 16>::new();
    let slots = Slots::<_, 2, Crc32>::open(Chip::<BLOCK>(&mut new[..LATEST]), 0..LATEST as u32).unwrap();
    let machine = training_monitor::ModelCheckpoint::<1>::builder().save_interval(1).build().unwrap();
    let mut latest = machine.attach(training_monitor::event::Never, slots).unwrap();
    latest.load_best(&mut found).unwrap().unwrap();
    let sum = found
        .net
        .parameters
        .slices()
        .into_iter()
        .flatten()
        .fold(0_u64, |sum, w| sum.wrapping_add(u64::from(w.to_bits())));
    assert_eq!(sum, told);
    drop(latest);

    // And it goes on from there: the same run from Python's weights as from the device's, but with another end.
    let epoch = Trainee::<32, 16>::BATCHES;
    let (untouched, seen) = device(&mut flash, 4);
    assert_eq!(seen.resumed.get(), Some(3 * epoch));
    let (trained, seen) = device(&mut new, 4);
    assert!(seen.resumed.get() >= Some(3 * epoch) && seen.saved.get() > 0);
    assert_ne!(trained.checksum(), untouched.checksum());
}
