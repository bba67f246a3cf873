//! Every recorded trace of pytorch-ignite is reproduced, and the judge that says so can say no.
//!
//! The second half changes one value of a trace and expects the first difference to be named, and runs the program
//! for its closing line and its exit codes.

use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};
use training_monitor_tests::conformance::{Failure, judge};

/// Every trace file, and how many traces it has.
const FILES: [(&str, usize); 10] = [
    ("early_stopping.newest", 60),
    ("engine.newest", 60),
    ("engine_more.newest", 60),
    ("model_checkpoint.seed", 60),
    ("retention.newest", 60),
    ("terminate_on_nan.seed", 60),
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

/// The first trace of a file.
fn trace(name: &str) -> Value {
    let text = text(name);
    serde_json::from_str(text.lines().next().expect("a trace")).expect("JSON")
}

/// What the judge says of one trace.
fn verdict(trace: &Value) -> Result<(), Failure> {
    let mut verdicts = judge(trace.to_string().as_bytes());
    assert_eq!(verdicts.len(), 1);
    verdicts.remove(0).result
}

#[test]
fn every_trace_is_reproduced() {
    for (name, count) in FILES {
        let verdicts = judge(text(name).as_bytes());
        let failed: Vec<_> = verdicts.iter().filter(|verdict| verdict.result.is_err()).collect();
        assert!(failed.is_empty(), "{name}: {failed:?}");
        assert_eq!(verdicts.len(), count, "{name}");
    }
}

#[test]
fn no_trace_file_is_left_out() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces");
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .expect("the traces")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    found.sort();
    assert_eq!(found, FILES.map(|(name, _)| path(name)));
}

/// Replaces one value of a trace of each kind, and expects to be told which.
#[test]
fn one_changed_value_is_the_first_difference() {
    let changes = [
        ("early_stopping.newest", "/calls/2/counter", json!(7), 2, "counter"),
        ("early_stopping.newest", "/calls/1/best_score", json!(0.25), 1, "best_score"),
        ("early_stopping.newest", "/calls/0/terminated", json!(true), 0, "terminated"),
        ("engine.newest", "/log/4/2", json!(9), 4, "log entry"),
        ("engine_more.newest", "/log/3/0", json!("process 99"), 3, "log entry"),
        ("model_checkpoint.seed", "/calls/1/files/0", json!("run_model_9.pth"), 1, "files"),
        ("retention.newest", "/calls/2/kept_steps/0", json!(4000), 2, "kept_steps"),
        ("terminate_on_nan.seed", "/calls/3/terminated", json!(true), 3, "terminated"),
        ("timer.newest", "/calls/1/value", json!(0.0078126), 1, "value"),
        ("timer.seed", "/calls/2/total", json!(2.00098), 2, "total"),
        ("timer.seed", "/calls/1/step_count", json!(2), 1, "step_count"),
        ("timer_attached.newest", "/calls/0/running", json!(false), 0, "running"),
        ("timer_attached.seed", "/calls/1/total", json!(1.0), 1, "total"),
    ];
    for (name, pointer, other, place, which) in changes {
        let mut trace = trace(name);
        assert_eq!(verdict(&trace), Ok(()), "{name}");
        let value = trace.pointer_mut(pointer).expect("the value");
        assert_ne!(*value, other, "{name} {pointer}");
        *value = other;
        match verdict(&trace) {
            Err(Failure::Differs { at, what, .. }) => assert_eq!((at, what), (place, which), "{name}"),
            other => panic!("{name} {pointer}: {other:?}"),
        }
    }
}

/// A score that Ignite ranked differently, a tick, a filter: what goes in counts as much as what comes out.
#[test]
fn one_changed_setting_is_noticed() {
    let changes = [
        ("early_stopping.newest", "/config/patience", json!(1)),
        ("engine.newest", "/config/filtered/1/before", json!(5)),
        ("model_checkpoint.seed", "/config/extension", json!("pt")),
        ("retention.newest", "/config/n_saved", json!(2)),
        ("terminate_on_nan.seed", "/calls/0/output/list/0/number", json!("inf")),
        ("timer.newest", "/config/tick_hz", json!(1000)),
        ("timer_attached.newest", "/config/work_ticks", json!(164)),
    ];
    for (name, pointer, other) in changes {
        let mut trace = trace(name);
        *trace.pointer_mut(pointer).expect("the setting") = other;
        assert!(matches!(verdict(&trace), Err(Failure::Differs { .. })), "{name} {pointer}: {:?}", verdict(&trace));
    }
}

/// A log or a list of readings that ends early is a difference, on either side.
#[test]
fn a_missing_entry_is_noticed() {
    for (name, list) in [("engine.newest", "log"), ("timer_attached.seed", "calls")] {
        let mut shorter = trace(name);
        shorter[list].as_array_mut().expect("a list").pop();
        assert!(matches!(verdict(&shorter), Err(Failure::Differs { .. })), "{name}");
        let mut longer = trace(name);
        let entries = longer[list].as_array_mut().expect("a list");
        entries.push(entries[0].clone());
        assert!(matches!(verdict(&longer), Err(Failure::Differs { .. })), "{name}");
    }
}

#[test]
fn what_is_not_a_trace_fails_and_is_counted() {
    let good = trace("timer.seed").to_string();
    let unknown = json!({ "id": "x", "kind": "lr_finder", "config": {}, "calls": [] }).to_string();
    let misspelt = good.replace("advance_ticks", "advance");
    let refused = trace("early_stopping.newest").to_string().replace("\"patience\":2", "\"patience\":0");
    let file = [good.as_bytes(), b"{", unknown.as_bytes(), b"\xff\xfe", misspelt.as_bytes(), b"", refused.as_bytes()];
    let verdicts = judge(&file.join(&b'\n'));
    let told: Vec<_> = verdicts.iter().map(|verdict| (&*verdict.id, verdict.result.clone())).collect();
    assert_eq!(told[0], ("timer-0", Ok(())));
    assert!(matches!(told[1], ("line 2", Err(Failure::Malformed(_)))), "{:?}", told[1]);
    assert_eq!(told[2], ("x", Err(Failure::UnknownKind("lr_finder".into()))));
    assert!(matches!(told[3], ("line 4", Err(Failure::Malformed(_)))), "{:?}", told[3]);
    assert!(matches!(told[4], ("timer-0", Err(Failure::Malformed(_)))), "{:?}", told[4]);
    assert!(matches!(told[5], ("early_stopping-0", Err(Failure::Refused(_)))), "{:?}", told[5]);
    assert_eq!(told.len(), 6);
}

/// File traces go through a real directory, too: here one that its adapter does not accept, though a set of names would.
#[test]
fn file_traces_are_replayed_in_a_directory() {
    let hidden = trace("model_checkpoint.seed").to_string().replace("pth\"", "gone\"");
    let result = judge(hidden.as_bytes()).remove(0).result;
    assert!(matches!(result, Err(Failure::Refused(_))), "{result:?}");
}

fn conformance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance")).args(arguments).output().expect("the program runs")
}

#[test]
fn the_program_counts_traces_and_says_so_with_its_exit_code() {
    let all = FILES.map(|(name, _)| path(name).to_string_lossy().into_owned());
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    let output = conformance(&all);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "600 passed, 0 failed\n");
    assert_eq!(output.status.code(), Some(0));

    // The same file with one value changed.
    let mut changed = trace("timer.seed");
    changed["calls"][1]["step_count"] = json!(5);
    let file = std::env::temp_dir().join(format!("conformance-{}.jsonl", std::process::id()));
    std::fs::write(&file, format!("{}\n{changed}\n", trace("timer.seed"))).expect("a temporary file");
    let name = file.to_string_lossy();
    let output = conformance(&[&name]);
    std::fs::remove_file(&file).expect("still there");
    let expected = format!("FAIL {name} timer-0: step_count at 1: expected 5, found 1\n1 passed, 1 failed\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_program_refuses_arguments_it_cannot_use() {
    let missing = path("no such file");
    for (arguments, message) in [
        (&[][..], "usage: conformance FILE..."),
        (&["--fast"], "unknown option --fast"),
        (&[env!("CARGO_MANIFEST_DIR")], "conformance: "),
        (&[&*missing.to_string_lossy()], "no such file.jsonl"),
    ] {
        let output = conformance(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(message), "{arguments:?}: {told}");
    }
}
