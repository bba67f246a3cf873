//! Tests of the options of the host simulation as a process: valid and invalid values, and the output. The tests of
//! `digits_resume.rs` resume runs, and those of `killed.rs` interrupt the process.

mod common;

use common::{Finished, Home, OPTIONS};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use training_monitor_std::history::{History, HistoryEvent};

#[test]
fn each_option_changes_its_setting_and_the_steps_that_depend_on_it() {
    let reference = Home::new().json(&["--epochs", "2"]);
    for (option, name, value) in OPTIONS {
        let home = Home::new();
        let json = home.json(&["--epochs", "2", option, value][if option == "--epochs" { 2 } else { 0 }..]);
        assert_eq!(json.get(name).trim_matches('"'), value, "{option}");
        assert_ne!(reference.get(name).trim_matches('"'), value, "{option}: the test needs another value");
        let same_weights = json.get("final_weights") == reference.get("final_weights");
        let changes_no_step = ["--n-saved", "--patience", "--time-limit"].contains(&option);
        assert_eq!(same_weights, changes_no_step, "{option}: {json:?}");
    }
}

/// docs/ml-engineer.md states the mean of ten seeds, 96.86 %.
#[test]
fn the_default_settings_reach_their_accuracy_within_30_epochs() {
    let accuracy = |seed: &str| Home::new().json(&["--seed", seed]).get("accuracy").parse::<f64>().unwrap();
    let mean = ["0", "1", "2", "3"].map(accuracy).iter().sum::<f64>() / 4.0;
    assert!(mean > 0.965, "{mean}");
}

#[test]
fn invalid_values_change_nothing_and_the_error_names_option_value_and_limit() {
    let home = Home::new();
    home.json(&["--epochs", "1"]);
    let before = home.files();
    let new_home = Home::new();
    for (option, value, limit) in [
        ("--batch-size", "0", "1..=1200"),
        ("--batch-size", "1201", "1..=1200"),
        ("--clip", "0", "`none`, or a number greater than 0"),
        ("--clip", "-1", "`none`, or a number greater than 0"),
        ("--clip", "inf", "`none`, or a number greater than 0"),
        ("--clip", "some", "`none`, or a number greater than 0"),
        ("--epochs", "0", "1..=1000000"),
        ("--hidden", "20", "10, 16, 32, 64, 128"),
        ("--learning-rate", "0", "greater than 0 and at most 10"),
        ("--learning-rate", "-0.1", "greater than 0 and at most 10"),
        ("--learning-rate", "11", "greater than 0 and at most 10"),
        ("--learning-rate", "nan", "greater than 0 and at most 10"),
        ("--learning-rate", "1e-60", "greater than 0 and at most 10"),
        ("--momentum", "1", "at least 0 and less than 1"),
        ("--momentum", "-0.5", "at least 0 and less than 1"),
        ("--momentum", "nan", "at least 0 and less than 1"),
        ("--n-saved", "0", "1..=64"),
        ("--n-saved", "65", "1..=64"),
        ("--nan-at", "0", "1.."),
        ("--patience", "0", "1.."),
        ("--schedule", "linear", "constant, cosine, plateau"),
        ("--seed", "4294967296", "0..=4294967295"),
        ("--time-limit", "0", "from 0.001 to 1000000000"),
        ("--time-limit", "1e10", "from 0.001 to 1000000000"),
        ("--time-limit", "nan", "from 0.001 to 1000000000"),
    ] {
        for (home, resume) in [(&home, None), (&home, Some("--resume")), (&new_home, None)] {
            let options: Vec<&str> = [option, value].into_iter().chain(resume).collect();
            let finished = home.digits(&options);
            assert_eq!(finished.code, Some(2), "{options:?}: {}", finished.stderr);
            for part in [option, &format!("'{value}'"), limit] {
                assert!(finished.stderr.contains(part), "{options:?}, {part}: {}", finished.stderr);
            }
            assert_eq!(finished.stdout, "", "{options:?}");
        }
    }
    assert_eq!(home.files(), before);
    assert!(!new_home.run.exists());
}

#[test]
fn options_that_contradict_8_bit_weights_are_refused() {
    let home = Home::new();
    for (options, message) in [
        (["--momentum", "0.5"], "--momentum 0.5 cannot be used with 8-bit weights (--quantized); possible: 0"),
        (["--clip", "1"], "--clip 1 cannot be used with 8-bit weights (--quantized); possible: none"),
    ] {
        let finished = home.digits(&["--quantized", options[0], options[1]]);
        assert_eq!(finished.code, Some(2));
        assert!(finished.stderr.contains(message), "{}", finished.stderr);
    }
    assert!(!home.run.exists());
    let json = home.json(&["--quantized", "--momentum", "0", "--clip", "none", "--epochs", "1"]);
    assert_eq!([json.get("quantized"), json.get("momentum"), json.get("clip")], ["true", "0", "null"]);
}

#[test]
fn the_schedules_set_the_learning_rate() {
    let rates = |schedule: &str| {
        let home = Home::new();
        home.json(&["--schedule", schedule, "--epochs", "24", "--patience", "100", "--learning-rate", "0.5"]);
        home.learning_rates()
    };
    assert_eq!(rates("constant"), [0.5; 24]);
    let cosine = rates("cosine");
    assert!(cosine[0] < 0.5 && cosine[1] > 0.49, "{cosine:?}");
    assert!(cosine[1..].windows(2).all(|pair| pair[1] < pair[0]), "{cosine:?}");
    assert!((cosine[23] - 0.005).abs() < 1e-6, "{cosine:?}");
    let plateau = rates("plateau");
    assert!(plateau.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] / 2.0), "{plateau:?}");
    assert!(plateau[0] == 0.5 && plateau[23] < 0.5, "{plateau:?}");
}

/// The history and the chart contain the learning rate, the norm of the gradient and the profile of the run.
#[test]
fn the_history_and_the_chart_contain_scalars_and_the_profile() {
    let home = Home::new();
    for (options, has_gradient) in [(&["--epochs", "2"][..], true), (&["--epochs", "2", "--quantized"], false)] {
        home.json(options);
        let events = History::read(home.run.join("history.jsonl")).unwrap();
        let (mut scalars, mut steps) = (0, 0);
        for event in &events {
            match event {
                HistoryEvent::Scalars { values, .. } => {
                    scalars += 1;
                    let names: Vec<&str> = values.iter().map(|(name, _)| name.as_str()).collect();
                    assert_eq!(names, ["learning_rate", "gradient_norm"][..if has_gradient { 2 } else { 1 }]);
                    assert!(values.iter().all(|(_, value)| value.is_some_and(|value| value > 0.0)), "{values:?}");
                }
                HistoryEvent::Profile { parts, .. } => {
                    steps = parts.iter().find(|part| part.name == "step").unwrap().count;
                    assert!(parts.iter().any(|part| part.name == "latest, saves" && part.count == 2));
                }
                _ => (),
            }
        }
        let iterations = events.iter().filter_map(HistoryEvent::iteration).max();
        assert_eq!((Some(scalars), Some(steps)), (iterations, iterations));
        let chart = fs::read_to_string(home.run.join("run.svg")).unwrap();
        assert_eq!(chart.contains("gradient norm"), has_gradient);
        assert!(chart.contains("learning rate") && chart.contains("latest, saves"));
    }
}

#[test]
fn the_json_summary_is_the_last_line_and_contains_null_for_unknown_numbers() {
    let home = Home::new();
    let json = home.json(&["--epochs", "2"]);
    let accuracy: f64 = json.get("accuracy").parse().unwrap();
    assert!((0.8..1.0).contains(&accuracy), "{json:?}");
    assert_eq!([json.get("reason"), json.get("iterations"), json.get("time_limit")], ["\"MaxEpochs\"", "150", "null"]);
    // A NaN before the end of the first epoch: there is no best checkpoint. The exit code reports the NaN.
    let home = Home::new();
    let finished = home.digits(&["--json", "--nan-at", "10"]);
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("the loss or a weight was NaN or infinite at iteration 10"),
        "{}",
        finished.stderr
    );
    let json = finished.json();
    assert_eq!([json.get("accuracy"), json.get("loss"), json.get("best_epoch")], ["null"; 3]);
    assert_eq!([json.get("reason"), json.get("iterations")], ["\"NonFinite\"", "10"]);
}

#[test]
fn the_directory_can_end_with_a_separator_but_cannot_contain_the_current_directory() {
    let home = Home::new();
    home.json(&["--epochs", "1"]);
    let run = |directory: &str, working_directory: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_digits"));
        command.args(["--quiet", "--epochs", "1", "--directory", directory]).current_dir(working_directory);
        Finished::new(command.output().unwrap())
    };
    let finished = run("run/", home.temporary.path());
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert!(home.temporary.path().join("run.1").is_dir());
    let before = home.files();
    let finished = run(".", &home.run);
    assert_eq!(finished.code, Some(2));
    assert!(
        finished.stderr.contains("--directory .: a new run renames a directory that is not empty"),
        "{}",
        finished.stderr
    );
    assert_eq!(home.files(), before);
    fs::write(home.temporary.path().join("file"), "").unwrap();
    let finished = run("file", home.temporary.path());
    assert_eq!(finished.code, Some(2));
    assert!(finished.stderr.contains("--directory file: this is not a directory"), "{}", finished.stderr);
}

#[test]
fn without_a_terminal_each_epoch_prints_a_line_with_the_smoothed_loss() {
    let home = Home::new();
    let finished = Finished::new(home.command(&["--epochs", "2"]).output().unwrap());
    let lines: Vec<&str> = finished.stderr.lines().collect();
    assert!(lines[0].starts_with("epoch 1/2: smoothed loss ") && lines[1].starts_with("epoch 2/2: "), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("learning rate")), "{lines:?}");
}

/// Another program renames the directory while the run saves.
#[cfg(unix)]
#[test]
fn a_failed_save_is_reported_with_its_file_and_its_cause() {
    let home = Home::new();
    let mut command = home.command(&["--epochs", "100000", "--patience", "100000", "--quiet"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The first checkpoint is saved after the first epoch.
    while fs::read_dir(&home.run).map_or(0, Iterator::count) < 8 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    fs::rename(&home.run, home.temporary.path().join("moved")).unwrap();
    let finished = Finished::new(child.wait_with_output().unwrap());
    assert_eq!(finished.code, Some(1));
    let error = finished.stderr.lines().last().unwrap();
    // The directory can disappear before any operation of a save.
    assert!(error.starts_with("error: a checkpoint could not be saved: cannot "), "{}", finished.stderr);
    assert_eq!(error.matches(home.run.to_str().unwrap()).count(), 1, "{}", finished.stderr);
    assert_eq!(error.matches("No such file or directory").count(), 1, "{}", finished.stderr);
    let warnings = finished.stderr.lines().filter(|line| line.contains(" was not saved: "));
    let names_series = |line: &str| line.starts_with("warning: best: ") || line.starts_with("warning: latest: ");
    assert!(warnings.clone().count() > 0 && warnings.clone().all(names_series), "{}", finished.stderr);
}

#[cfg(unix)]
#[test]
fn a_closed_output_is_no_error_and_a_full_one_is_reported() {
    let home = Home::new();
    let mut command = home.command(&["--epochs", "2", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The pipes are closed before the process writes its first line.
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(home.run.join("run.svg").exists());

    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = home.command(&["--epochs", "1", "--quiet"]).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.starts_with("error: cannot write to standard output: ") && !text.contains("panicked"), "{text}");
}
