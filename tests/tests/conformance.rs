//! The library reproduces every recorded trace of pytorch-ignite, and the replay detects differences.
//!
//! Some tests change one value of a trace and expect a report of this difference. Others run the program `conformance`
//! and check its last line and its exit codes.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use training_monitor_tests::conformance::{self, Failure};

/// The names of all trace files, each with the number of traces in it.
const FILES: [(&str, usize); 20] = [
    ("clip_grad.torch", 60),
    ("early_stopping.keras", 60),
    ("early_stopping.lightning", 60),
    ("early_stopping.newest", 60),
    ("ema.ignite", 60),
    ("engine.newest", 60),
    ("engine_more.newest", 60),
    ("equal_average.torch", 60),
    ("lr_schedule.torch", 60),
    ("model_checkpoint.seed", 60),
    ("param_schedule.ignite", 60),
    ("plateau.torch", 60),
    ("retention.newest", 60),
    ("running_average.ignite", 60),
    ("terminate_on_nan.seed", 60),
    ("time_limit.ignite", 60),
    ("timer.newest", 60),
    ("timer.seed", 60),
    ("timer_attached.newest", 60),
    ("timer_attached.seed", 60),
];

fn path(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "traces", &format!("{name}.jsonl")].iter().collect()
}

fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).expect("a trace file")
}

/// Returns the first trace of a file.
fn trace(name: &str) -> Value {
    let text = text(name);
    serde_json::from_str(text.lines().next().expect("a trace")).expect("JSON")
}

/// Replays one trace.
fn replay(trace: &Value) -> Result<(), Failure> {
    let mut results = conformance::run(trace.to_string().as_bytes());
    assert_eq!(results.len(), 1);
    results.remove(0).result
}

#[test]
fn every_trace_is_reproduced() {
    for (name, count) in FILES {
        let results = conformance::run(text(name).as_bytes());
        let failed: Vec<_> = results.iter().filter(|trace| trace.result.is_err()).collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert_eq!(results.len(), count, "{name}");
    }
}

#[test]
fn the_list_contains_all_trace_files() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .expect("the traces")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    found.sort();
    assert_eq!(found, FILES.map(|(name, _)| path(name)));
}

/// Tests that the replay detects one changed value in a trace of each kind. The failure must contain the position and
/// the name of the value.
#[test]
fn a_changed_value_is_reported_as_the_first_difference() {
    let changes = [
        ("clip_grad.torch", "/total_norm", json!(0.5), 0, "total_norm"),
        ("early_stopping.keras", "/calls/2/best_epoch", json!(2), 2, "best_epoch"),
        ("early_stopping.keras", "/weights_of_epoch", json!(1), 0, "weights_of_epoch"),
        ("early_stopping.lightning", "/calls/2/stop", json!(false), 2, "stop"),
        ("ema.ignite", "/calls/0/average/1", json!(-0.4866), 0, "average"),
        ("ema.ignite", "/calls/0/momentum", json!(0.000_200_01), 0, "momentum"),
        ("equal_average.torch", "/calls/2/average/0", json!(0.1381), 2, "average"),
        ("running_average.ignite", "/calls/3/average", json!(-2.27), 3, "average"),
        ("time_limit.ignite", "/iterations", json!(9), 0, "iterations"),
        ("early_stopping.newest", "/calls/2/counter", json!(7), 2, "counter"),
        ("early_stopping.newest", "/calls/1/best_score", json!(0.25), 1, "best_score"),
        ("early_stopping.newest", "/calls/0/terminated", json!(true), 0, "terminated"),
        ("engine.newest", "/log/4/2", json!(9), 4, "log entry"),
        ("engine_more.newest", "/log/3/0", json!("process 99"), 3, "log entry"),
        ("lr_schedule.torch", "/values/3", json!(0.4117), 3, "values"),
        ("model_checkpoint.seed", "/calls/1/files/0", json!("run_model_9.pth"), 1, "files"),
        ("param_schedule.ignite", "/values/33", json!(1.1001), 33, "values"),
        ("plateau.torch", "/calls/1/value", json!(0.0125002), 1, "value"),
        ("plateau.torch", "/calls/2/bad", json!(1), 2, "bad"),
        ("plateau.torch", "/calls/2/best", json!(2.0), 2, "best"),
        ("retention.newest", "/calls/2/kept_steps/0", json!(4000), 2, "kept_steps"),
        ("terminate_on_nan.seed", "/calls/3/terminated", json!(true), 3, "terminated"),
        ("timer.newest", "/calls/1/value", json!(0.0078126), 1, "value"),
        ("timer.seed", "/calls/2/total", json!(2.00098), 2, "total"),
        ("timer.seed", "/calls/1/step_count", json!(2), 1, "step_count"),
        ("timer_attached.newest", "/calls/0/running", json!(false), 0, "running"),
        ("timer_attached.seed", "/calls/1/total", json!(1.0), 1, "total"),
    ];
    for (name, pointer, new_value, expected_index, expected_field) in changes {
        let mut trace = trace(name);
        assert_eq!(replay(&trace), Ok(()), "{name}");
        let value = trace.pointer_mut(pointer).expect("the value");
        assert_ne!(*value, new_value, "{name} {pointer}");
        *value = new_value;
        match replay(&trace) {
            Err(Failure::Differs { index, field, .. }) => {
                assert_eq!((index, field), (expected_index, expected_field), "{name}");
            }
            result => panic!("{name} {pointer}: {result:?}"),
        }
    }
}

/// Tests that a changed input of a trace, such as a setting or a score, makes the results differ from the recorded
/// ones.
#[test]
fn a_changed_setting_is_detected() {
    let changes = [
        ("clip_grad.torch", "/before/0/0", json!(2.0)),
        ("early_stopping.keras", "/config/patience", json!(2)),
        ("early_stopping.lightning", "/config/divergence_threshold", json!(1.0)),
        ("ema.ignite", "/config/momentum", json!(0.0003)),
        ("equal_average.torch", "/calls/0/weights/0", json!(0.5)),
        ("running_average.ignite", "/config/alpha", json!(0.97)),
        ("time_limit.ignite", "/config/limit_seconds", json!(2)),
        ("early_stopping.newest", "/config/patience", json!(1)),
        ("engine.newest", "/config/filtered/1/before", json!(5)),
        ("lr_schedule.torch", "/config/total_iters", json!(18)),
        ("model_checkpoint.seed", "/config/extension", json!("pt")),
        ("param_schedule.ignite", "/config/milestones_values/1/0", json!(37)),
        ("plateau.torch", "/config/patience", json!(1)),
        ("retention.newest", "/config/n_saved", json!(2)),
        ("terminate_on_nan.seed", "/calls/0/output/list/0/number", json!("inf")),
        ("timer.newest", "/config/tick_hz", json!(1000)),
        ("timer_attached.newest", "/config/work_ticks", json!(164)),
    ];
    for (name, pointer, new_value) in changes {
        let mut trace = trace(name);
        *trace.pointer_mut(pointer).expect("the setting") = new_value;
        assert!(matches!(replay(&trace), Err(Failure::Differs { .. })), "{name} {pointer}: {:?}", replay(&trace));
    }
}

/// Tests that the replay detects a missing or an additional entry in a recorded log or list of readings.
#[test]
fn a_missing_or_additional_entry_is_detected() {
    for (name, list) in [("engine.newest", "log"), ("timer_attached.seed", "calls")] {
        let mut shorter = trace(name);
        shorter[list].as_array_mut().expect("a list").pop();
        assert!(matches!(replay(&shorter), Err(Failure::Differs { .. })), "{name}");
        let mut longer = trace(name);
        let entries = longer[list].as_array_mut().expect("a list");
        entries.push(entries[0].clone());
        assert!(matches!(replay(&longer), Err(Failure::Differs { .. })), "{name}");
    }
}

#[test]
fn an_invalid_trace_is_a_failure() {
    let valid = trace("timer.seed").to_string();
    let unknown = json!({ "id": "x", "kind": "lr_finder", "config": {}, "calls": [] }).to_string();
    let misspelt = valid.replace("advance_ticks", "advance");
    let rejected = trace("early_stopping.newest").to_string().replace("\"patience\":2", "\"patience\":0");
    let file = [valid.as_bytes(), b"{", unknown.as_bytes(), b"\xff\xfe", misspelt.as_bytes(), b"", rejected.as_bytes()];
    let traces = conformance::run(&file.join(&b'\n'));
    let results: Vec<_> = traces.iter().map(|trace| (&*trace.id, trace.result.clone())).collect();
    assert_eq!(results[0], ("timer-0", Ok(())));
    assert!(matches!(results[1], ("line 2", Err(Failure::Malformed(_)))), "{:?}", results[1]);
    assert_eq!(results[2], ("x", Err(Failure::UnknownKind("lr_finder".into()))));
    assert!(matches!(results[3], ("line 4", Err(Failure::Malformed(_)))), "{:?}", results[3]);
    assert!(matches!(results[4], ("timer-0", Err(Failure::Malformed(_)))), "{:?}", results[4]);
    assert!(matches!(results[5], ("early_stopping-0", Err(Failure::Rejected(_)))), "{:?}", results[5]);
    assert_eq!(results.len(), 6);
}

/// The replay of file traces also uses a real directory. The directory rejects a reserved extension, which the replay
/// with a set of names accepts.
#[test]
fn file_traces_are_replayed_in_a_directory() {
    let reserved = trace("model_checkpoint.seed").to_string().replace("pth\"", "tmp\"");
    let result = conformance::run(reserved.as_bytes()).remove(0).result;
    assert!(matches!(result, Err(Failure::Rejected(_))), "{result:?}");
}

fn run_program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance")).args(arguments).output().expect("the program runs")
}

#[test]
fn the_program_prints_the_numbers_and_sets_the_exit_code() {
    let all = FILES.map(|(name, _)| path(name).to_string_lossy().into_owned());
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let output = run_program(&all);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1200 passed, 0 failed\n");
    assert_eq!(output.status.code(), Some(0));

    // A file with a valid trace and a copy of it that has one changed value.
    let mut changed = trace("timer.seed");
    changed["calls"][1]["step_count"] = json!(5);
    let file = std::env::temp_dir().join(format!("conformance-{}.jsonl", std::process::id()));
    std::fs::write(&file, format!("{}\n{changed}\n", trace("timer.seed"))).expect("a temporary file");
    let name = file.to_string_lossy();
    let output = run_program(&[&name]);
    std::fs::remove_file(&file).expect("the file exists");
    let expected = format!("FAIL {name} timer-0: step_count at 1: expected 5, found 1\n1 passed, 1 failed\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_program_rejects_invalid_arguments() {
    let missing = path("no such file");
    for (arguments, message) in [
        (&[][..], "usage: conformance FILE..."),
        (&["--fast"], "unknown option --fast"),
        (&[env!("CARGO_MANIFEST_DIR")], "conformance: "),
        (&[&*missing.to_string_lossy()], "no such file.jsonl"),
    ] {
        let output = run_program(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
}
