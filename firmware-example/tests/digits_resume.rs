//! Tests of the host simulation with `--resume`: each setting keeps its value, is reported, or is refused.

mod common;

use common::{Home, OPTIONS};
use std::collections::BTreeMap;
use std::path::PathBuf;
use training_monitor::checkpoint::{Inspect, Named, inspect};
use training_monitor::event::EpochCompleted;
use training_monitor::run_record::{HandlerKind, RunRecord};
use training_monitor::store::Store;
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_std::Directory;

/// The settings that a resumed run can change.
const CHANGEABLE: [&str; 4] = ["--epochs", "--n-saved", "--patience", "--time-limit"];

#[test]
fn a_resumed_run_keeps_its_settings_if_no_option_is_given() {
    let home = Home::new();
    let given: Vec<&str> = OPTIONS.iter().flat_map(|(option, _, value)| [*option, *value]).collect();
    let first = home.json(&given);
    let before = home.files();
    let resumed = home.digits(&["--resume", "--json"]);
    assert!(resumed.stdout.contains("the run was already finished; no step was trained"), "{}", resumed.stdout);
    assert_eq!(resumed.stderr, "");
    let second = resumed.json();
    for key in ["accuracy", "loss", "best_epoch", "reason", "epochs", "iterations", "final_weights"] {
        assert_eq!(second.get(key), first.get(key), "{key}");
    }
    for (_, name, value) in OPTIONS {
        assert_eq!(second.get(name).trim_matches('"'), value);
    }
    // Equal values are no contradiction.
    let third = home.json(&[&given[..], &["--resume"]].concat());
    assert_eq!(third.get("final_weights"), first.get("final_weights"));
    let names = |files: BTreeMap<PathBuf, Vec<u8>>| files.into_keys().collect::<Vec<_>>();
    assert_eq!(names(home.files()), names(before));
}

#[test]
fn other_values_than_those_of_the_resumed_run_are_refused_or_reported() {
    let home = Home::new();
    home.json(&["--epochs", "1"]);
    for (option, _, value) in OPTIONS {
        let before = home.files();
        let finished = home.digits(&["--resume", option, value]);
        if CHANGEABLE.contains(&option) {
            assert_eq!(finished.code, Some(0), "{option}: {}", finished.stderr);
            let note = format!("note: {option} {value} replaces the value ");
            assert!(finished.stderr.starts_with(&note), "{option}: {}", finished.stderr);
        } else {
            assert_eq!(finished.code, Some(2), "{option}: {}", finished.stderr);
            let message = format!("error: {option} {value} cannot be used to resume the run in ");
            assert!(finished.stderr.starts_with(&message), "{option}: {}", finished.stderr);
            assert_eq!(home.files(), before, "{option}");
        }
    }
    let finished = home.digits(&["--resume", "--quantized"]);
    assert_eq!(finished.code, Some(2), "{}", finished.stderr);
}

#[test]
fn more_epochs_continue_a_run_with_the_same_cosine() {
    let home = Home::new();
    home.json(&["--epochs", "2", "--patience", "50"]);
    let finished = home.digits(&["--resume", "--epochs", "4", "--json"]);
    assert!(
        finished.stderr.contains("`cosine` is unchanged, and reaches its final value after epoch 2"),
        "{}",
        finished.stderr
    );
    let json = finished.json();
    assert_eq!([json.get("epochs"), json.get("schedule_epochs")], ["4", "2"]);
    // The rate is 1/100 of its maximum from the end of the schedule.
    let rates = home.learning_rates();
    assert!(rates[2..] == [0.004_f32; 2].map(f64::from), "{rates:?}");
}

/// The length of the schedule `constant` does not depend on the number of epochs.
#[test]
fn a_run_in_two_parts_has_the_same_bits_as_one_run() {
    for network in [&["--quantized"][..], &["--hidden", "64", "--batch-size", "50"]] {
        let options = [network, &["--schedule", "constant", "--patience", "50", "--epochs"]].concat();
        let home = Home::new();
        home.json(&[&options[..], &["2"]].concat());
        let parts = home.json(&["--resume", "--epochs", "4"]);
        let whole = Home::new().json(&[&options[..], &["4"]].concat());
        for key in ["accuracy", "loss", "best_epoch", "iterations", "final_weights"] {
            assert_eq!(parts.get(key), whole.get(key), "{network:?}, {key}");
        }
    }
}

#[test]
fn the_time_limit_ends_the_run_and_a_larger_one_continues_it() {
    let options = ["--hidden", "128", "--epochs", "3", "--patience", "50"];
    let home = Home::new();
    let first = home.json(&[&options[..], &["--time-limit", "0.001"]].concat());
    assert_eq!([first.get("reason"), first.get("epochs"), first.get("best_epoch")], ["\"TimeLimit\"", "1", "1"]);
    // The same limit is used up, so no step is trained, however often the program starts.
    for _ in 0..2 {
        let again = home.json(&["--resume"]);
        assert_eq!([again.get("reason"), again.get("epochs")], ["\"TimeLimit\"", "1"]);
        assert_eq!(
            [again.get("final_weights"), again.get("accuracy")],
            [first.get("final_weights"), first.get("accuracy")]
        );
    }
    let finished = home.digits(&["--resume"]);
    assert!(finished.stdout.contains("the time is used up; continue with --resume and"), "{}", finished.stdout);
    // The continued run ends with the bits of a run without a limit.
    let continued = home.json(&["--resume", "--time-limit", "none"]);
    let whole = Home::new().json(&options);
    assert_eq!(continued.get("reason"), "\"MaxEpochs\"");
    for key in ["accuracy", "loss", "best_epoch", "iterations", "final_weights"] {
        assert_eq!(continued.get(key), whole.get(key), "{key}");
    }
}

/// Returns the elapsed seconds that the newest of the latest checkpoints contains.
fn saved_seconds(home: &Home) -> f64 {
    struct Elapsed(Option<u64>);
    impl Inspect for Elapsed {
        fn run(&mut self, record: &RunRecord<[u8]>) {
            let state = record.handlers().find(|(kind, ..)| *kind == HandlerKind::TIME_LIMIT);
            // A variable-length integer: seven bits per byte, the lowest first.
            self.0 = state.map(|(_, _, bytes)| {
                let len = bytes.iter().position(|byte| byte & 128 == 0).unwrap() + 1;
                bytes[..len].iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 127))
            });
        }
    }
    let mut store = Directory::builder(&home.run, "latest").open_read_only().unwrap();
    let metas = (0..).map_while(|index| store.checkpoint(index).unwrap());
    let newest = metas.map(|meta| meta.sequence).max().unwrap();
    let mut elapsed = Elapsed(None);
    inspect(&mut store.open(newest, 0).unwrap(), &mut [0; 512], &mut elapsed).unwrap();
    elapsed.0.unwrap() as f64 / 1e9
}

#[test]
fn the_time_of_all_starts_counts() {
    let home = Home::new();
    home.json(&["--epochs", "3", "--hidden", "128", "--schedule", "constant"]);
    // The time of the first start is greater than this limit, so the second start trains nothing.
    let before = saved_seconds(&home);
    let limit = format!("{:.9}", before * 0.99);
    let json = home.json(&["--resume", "--epochs", "30", "--time-limit", &limit]);
    assert_eq!([json.get("reason"), json.get("epochs")], ["\"TimeLimit\"", "3"], "{before}, {json:?}");
    assert!(json.get("seconds").parse::<f64>().unwrap() >= before);
}

#[test]
fn a_resume_without_a_checkpoint_is_reported() {
    let home = Home::new();
    let finished = home.digits(&["--resume", "--epochs", "1", "--seed", "3"]);
    assert_eq!(finished.code, Some(0));
    assert!(finished.stdout.starts_with("no checkpoint to resume from in "), "{}", finished.stdout);
}

#[test]
fn each_unusable_checkpoint_is_reported_with_its_reason() {
    let home = Home::new();
    home.json(&["--epochs", "3"]);
    let damage = |name: &str| {
        let path = home.run.join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    damage("latest_model_3.ckpt");
    let finished = home.digits(&["--resume"]);
    let reason = "warning: latest: skipped latest_model_3.ckpt: the file is truncated, or its checksum is wrong\n";
    assert!(finished.stderr.contains(reason), "{}", finished.stderr);
    // The best checkpoint of the same iteration is intact.
    assert!(finished.stdout.starts_with("resumed after iteration 225 (epoch 3)\n"), "{}", finished.stdout);
    assert!(finished.stderr.contains("warning: skipped 1 unusable checkpoint;"), "{}", finished.stderr);
}

#[test]
fn checkpoints_of_another_program_are_refused() {
    let home = Home::new();
    let store = Directory::builder(&home.run, "latest").open().unwrap();
    let mut handler = ModelCheckpoint::<2>::every(1).unwrap().attach(EpochCompleted, store).unwrap();
    let mut model = Named::new("model", [0.0_f32; 4]);
    Engine::new(1).run(&mut model, 0..2, &mut handler, |_, _, _| ()).unwrap();
    drop(handler);
    let before = home.files();
    let finished = home.digits(&["--resume"]);
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("has no valid setting `schedule`"), "{}", finished.stderr);
    assert_eq!(home.files(), before);
}
