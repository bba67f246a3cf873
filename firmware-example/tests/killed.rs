//! Tests of the host simulation as a process. The main test kills the process (SIGKILL) at random moments and starts it
//! again until the run completes. The final weights and the kept checkpoint files must equal those of an uninterrupted
//! run.
//!
//! `KILL_SEED=n cargo test -p training-monitor-firmware-example --test killed` replays the delays of one seed.

use digits_workload::random::Pcg32;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use training_monitor::checkpoint::{Checksum, Inspect, inspect_with};
use training_monitor_std::Crc32Fast;
use training_monitor_std::history::{History, HistoryEvent};

const EPOCHS: &str = "6";
/// Number of objects of a checkpoint, each of which is a file: model, optimizer and seed.
const OBJECTS: usize = 3;

fn start(directory: &Path, options: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_digits"))
        .args(["--resume", "--quiet", "--epochs", EPOCHS, "--directory"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the process exits. Returns the line with the checksum of the final weights.
fn finish(run: Child) -> String {
    let output = run.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().find(|line| line.starts_with("final weights")).unwrap().to_owned()
}

/// The names of all checkpoint files, each with a checksum of its tensors. The run record is excluded, because it
/// contains the measured time.
fn payloads(directory: &Path) -> BTreeMap<String, u32> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".ckpt") {
            files.insert(name, tensor_checksum(&fs::read(entry.path()).unwrap()));
        }
    }
    files
}

fn tensor_checksum(bytes: &[u8]) -> u32 {
    struct Payload(Crc32Fast);
    impl Inspect for Payload {
        fn payload(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut payload = Payload(Crc32Fast::default());
    inspect_with::<Crc32Fast, _, _>(&mut &bytes[..], &mut [0; 512], &mut payload).unwrap();
    payload.0.value()
}

#[test]
fn a_run_that_is_killed_at_random_moments_ends_with_the_same_bits() {
    kill_at_random_moments(20, &[]);
}

/// `ReduceOnPlateau` has a state, unlike the default schedule. The large learning rate makes it change the rate.
#[test]
fn a_run_with_reduce_on_plateau_that_is_killed_ends_with_the_same_bits() {
    kill_at_random_moments(
        8,
        &["--schedule", "plateau", "--learning-rate", "1", "--clip", "0.5", "--time-limit", "1000"],
    );
}

fn kill_at_random_moments(kills_required: u32, options: &[&str]) {
    let seed = std::env::var("KILL_SEED").map_or(1, |seed| seed.parse().unwrap());
    println!("KILL_SEED={seed}");
    let mut random = Pcg32::new(seed);
    let home = tempfile::tempdir().unwrap();
    let uninterrupted = home.path().join("uninterrupted");
    let begin = Instant::now();
    let expected = finish(start(&uninterrupted, options));
    let duration = begin.elapsed();

    let mut kills = 0;
    let mut run = 0;
    while kills < kills_required {
        // A run may complete before it was killed often enough. The loop then starts another run.
        run += 1;
        let directory = home.path().join(format!("killed-{run}"));
        loop {
            let mut child = start(&directory, options);
            // The delay is between 0.2 ms and half of the run time. A short delay interrupts the program start. A long
            // delay lets the run make progress.
            sleep(duration.mul_f64(f64::from(random.next_u32() % 1000) / 2000.0) + Duration::from_micros(200));
            if kills < kills_required && child.try_wait().unwrap().is_none() {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                continue;
            }
            assert_eq!(finish(child), expected, "run {run}, KILL_SEED={seed}");
            break;
        }
        let mut found = payloads(&directory);
        for (name, checksum) in payloads(&uninterrupted) {
            assert_eq!(found.remove(&name), Some(checksum), "{name}, run {run}, KILL_SEED={seed}");
        }
        // A checkpoint is removed after a later one is committed. If the process is killed in between, and no further
        // checkpoint of the series is saved, the checkpoint remains. Only the next save of its series removes it.
        for series in ["best_", "latest_"] {
            let surplus = found.keys().filter(|name| name.starts_with(series)).count();
            assert!(surplus <= OBJECTS, "{found:?}, run {run}, KILL_SEED={seed}");
        }
    }
    println!("{kills} kills over {run} runs");
}

/// SIGTERM and SIGINT end the run with a checkpoint of the last iteration, a summary and a chart.
#[cfg(unix)]
#[test]
fn a_run_that_receives_a_signal_saves_its_state() {
    for signal in ["-TERM", "-INT"] {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("run");
        let start = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_digits"));
            // The run does not end before the signal.
            command.args([
                "--resume",
                "--quiet",
                "--json",
                "--epochs",
                "100000",
                "--patience",
                "100000",
                "--directory",
            ]);
            command.arg(&directory).stdout(Stdio::piped()).spawn().unwrap()
        };
        // The last line of the output is the JSON summary.
        let stop = |run: Child| {
            assert!(Command::new("kill").args([signal, &run.id().to_string()]).status().unwrap().success());
            let output = run.wait_with_output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{signal}: {:?}, {text}", output.status);
            assert!(text.contains("stopped by a signal; the state is saved, continue with --resume"), "{text}");
            for part in ["stopped       Interrupted, after epoch ", "best          epoch ", "chart         "] {
                assert!(text.contains(part), "{part}: {text}");
            }
            // The result is that of the best checkpoint so far.
            let summary = text.lines().last().unwrap();
            let is_interrupted = summary.contains(r#""reason":"Interrupted","#);
            assert!(is_interrupted && !summary.contains(r#""accuracy":null,"#), "{text}");
        };
        let run = start();
        // The first checkpoint is saved after the first epoch.
        while !fs::read_dir(&directory).is_ok_and(|mut files| files.any(|file| is_latest(&file.unwrap()))) {
            sleep(Duration::from_millis(1));
        }
        stop(run);
        assert!(fs::read_to_string(directory.join("run.svg")).unwrap().contains("learning rate"));
        // The history contains every iteration. The last one is also that of the newest checkpoint.
        let history = History::read(directory.join("history.jsonl")).unwrap();
        let last = history.iter().rev().find_map(|event| match event {
            HistoryEvent::Iteration { iteration, .. } => Some(*iteration),
            _ => None,
        });
        let mut run = start();
        let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
        let resumed = lines.next().unwrap().unwrap();
        assert!(resumed.starts_with(&format!("resumed after iteration {} ", last.unwrap())), "{resumed}, {last:?}");
        run.kill().unwrap();
        run.wait().unwrap();
    }
}

fn is_latest(file: &fs::DirEntry) -> bool {
    file.file_name().to_str().is_some_and(|name| name.starts_with("latest_") && name.ends_with(".ckpt"))
}

#[test]
fn a_nan_loss_stops_the_run_at_its_iteration() {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_digits"))
        .args(["--quiet", "--epochs", "3", "--nan-at", "100", "--directory"])
        .arg(home.path().join("run"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("stopped       NonFinite, after epoch 2 (iteration 100)"), "{text}");
}

#[test]
fn the_option_quantized_writes_checkpoints_of_less_than_a_quarter_of_the_size() {
    let [float, quantized] = [&[][..], &["--quantized"]].map(|options: &[&str]| {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("run");
        let mut command = Command::new(env!("CARGO_BIN_EXE_digits"));
        command.args(["--quiet", "--epochs", "1", "--directory"]).arg(&directory).args(options);
        assert!(command.stdout(Stdio::null()).status().unwrap().success());
        let files = fs::read_dir(&directory).unwrap().flatten();
        files.filter(is_latest).map(|file| file.metadata().unwrap().len()).sum::<u64>()
    });
    assert!(0 < quantized && quantized * 4 < float, "{quantized} bytes, with f32 weights {float} bytes");
}
