//! Tests of the history file, including truncated files and resumed runs.

use std::fs;
use training_monitor::engine::Resumed;
use training_monitor::{Outcome, StopReason};
use training_monitor_std::History;
use training_monitor_std::history::{HistoryError, HistoryEvent};

fn train(history: &History, from: u32, to: u32) {
    for iteration in from..=to {
        history.record_iteration(iteration, 1.0 / iteration as f32, Some(0.25));
        if iteration % 5 == 0 {
            history.record_epoch(iteration / 5, &[("val_loss", 0.5), ("accuracy", f64::NAN)]);
        }
    }
}

/// Returns the iteration numbers of all `Iteration` events.
fn iterations(events: &[HistoryEvent]) -> Vec<u32> {
    let number = |event: &HistoryEvent| match event {
        HistoryEvent::Iteration { iteration, .. } => Some(*iteration),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

#[test]
fn resumed_run_has_no_duplicate_events() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    train(&History::open(&path).unwrap(), 1, 12);
    // The test appends an incomplete line, as a power failure during a write leaves it.
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(r#"{"event":"iteration","iterat"#);
    fs::write(&path, &text).unwrap();
    assert_eq!(iterations(&History::read(&path).unwrap()), (1..=12).collect::<Vec<_>>());

    let history = History::open(&path).unwrap();
    let outcome = Outcome { reason: StopReason::User(3), epoch: 4, iteration: 20 };
    history
        .record_resume(Some(Resumed {
            epoch: 1,
            iteration: 7,
            skipped: 1,
            changed_epoch_length: None,
            changed_settings: None,
        }))
        .unwrap();
    train(&history, 8, 20);
    history.record_stop(&outcome);
    history.flush().unwrap();
    let events = History::read(&path).unwrap();
    assert_eq!(iterations(&events), (1..=20).collect::<Vec<_>>());
    assert_eq!(events.iter().filter(|event| matches!(event, HistoryEvent::Resumed { iteration: 7, .. })).count(), 1);
    let metrics = vec![("val_loss".to_owned(), Some(0.5)), ("accuracy".to_owned(), None)];
    assert!(events.contains(&HistoryEvent::Epoch { epoch: 2, iteration: 10, metrics }));
    assert_eq!(events.last(), Some(&HistoryEvent::Stopped { reason: "User(3)".into(), epoch: 4, iteration: 20 }));

    // The run resumes at its last iteration, which removes the stop event. Then the run restarts from the beginning,
    // which removes all events.
    let history = History::open(&path).unwrap();
    history
        .record_resume(Some(Resumed {
            epoch: 4,
            iteration: 20,
            skipped: 0,
            changed_epoch_length: None,
            changed_settings: None,
        }))
        .unwrap();
    assert!(matches!(History::read(&path).unwrap().last(), Some(HistoryEvent::Resumed { iteration: 20, .. })));
    history.record_resume(None).unwrap();
    assert_eq!(History::read(&path).unwrap(), []);
    // The directory contains only the history file, so no temporary file remains.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn interval_records_every_tenth_iteration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path).unwrap();
    history.set_interval(10);
    train(&history, 1, 35);
    assert_eq!(iterations(&History::read(&path).unwrap()), [10, 20, 30]);
}

#[test]
fn invalid_files_are_rejected_and_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    assert!(matches!(History::read(&path), Err(HistoryError::Io { .. })));
    let first = r#"{"schema":"training-monitor-history","version":1}"#;
    for (text, is_expected) in [
        ("hello\n".to_owned(), (|e| matches!(e, HistoryError::NotAHistory { .. })) as fn(&HistoryError) -> bool),
        (first.replace(":1}", ":2}") + "\n", |e| matches!(e, HistoryError::Version { found: 2, .. })),
        (format!("{first}\nnonsense\n{{\"event\":\"iteration\"}}\n"), |e| {
            matches!(e, HistoryError::Line { line: 2, .. })
        }),
    ] {
        fs::write(&path, &text).unwrap();
        assert!(History::read(&path).is_err_and(|error| is_expected(&error)), "{text}");
        assert!(History::open(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    // An event of an unknown kind, written by a later version of the crate, is no error.
    fs::write(&path, format!("{first}\n{{\"event\":\"learning_rate\",\"value\":0.1}}\n")).unwrap();
    assert_eq!(History::read(&path).unwrap(), [HistoryEvent::Unknown]);
}

#[test]
fn numbers_of_other_json_writers_are_parsed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let first = r#"{"schema":"training-monitor-history","version":1}"#;
    let lines = [
        r#"{"event":"iteration","iteration":1,"loss":1.50,"seconds":1E-03}"#,
        r#"{"event":"iteration","iteration":2,"loss":3}"#,
        r#"{"metrics":{"val_loss":5.0e-1,"accuracy":null},"epoch":1,"iteration":2,"event":"epoch"}"#,
    ];
    fs::write(&path, format!("{first}\n{}\n", lines.join("\n"))).unwrap();
    let expected = [
        HistoryEvent::Iteration { iteration: 1, loss: Some(1.5), seconds: Some(0.001) },
        HistoryEvent::Iteration { iteration: 2, loss: Some(3.0), seconds: None },
        HistoryEvent::Epoch {
            epoch: 1,
            iteration: 2,
            metrics: vec![("val_loss".to_owned(), Some(0.5)), ("accuracy".to_owned(), None)],
        },
    ];
    assert_eq!(History::read(&path).unwrap(), expected);
    assert_eq!(lines[0].parse::<HistoryEvent>().unwrap(), expected[0]);
}

/// The names of the events and of their fields are part of the file format.
#[test]
fn events_have_the_names_of_the_file_format() {
    let store = || "best".to_owned();
    let error = || "no space".to_owned();
    let events = [
        HistoryEvent::Saved { store: store(), step: 2, iteration: 8, score: None, bytes: 90, removed: Some(1) },
        HistoryEvent::SaveFailed { store: store(), step: 3, iteration: 12, error: error(), retrying: true },
        HistoryEvent::EvictionFailed { store: store(), step: 1, iteration: 12, error: error() },
        HistoryEvent::LoadFailed { store: store(), step: 2, error: error() },
    ];
    let lines = [
        r#"{"event":"saved","store":"best","step":2,"iteration":8,"score":null,"bytes":90,"removed":1}"#,
        r#"{"event":"save_failed","store":"best","step":3,"iteration":12,"error":"no space","retrying":true}"#,
        r#"{"event":"removal_failed","store":"best","step":1,"iteration":12,"error":"no space"}"#,
        r#"{"event":"load_failed","store":"best","step":2,"error":"no space"}"#,
    ];
    for (event, line) in events.iter().zip(lines) {
        assert_eq!(serde_json::to_string(event).unwrap(), line);
        assert_eq!(line.parse::<HistoryEvent>().unwrap(), *event);
    }
}

#[test]
fn full_disk_does_not_stop_a_run() {
    // On Linux, each write to the device `/dev/full` fails as on a full disk.
    if let Ok(history) = History::create("/dev/full") {
        train(&history, 1, 3000);
        assert!(matches!(history.flush(), Err(HistoryError::Io { .. })));
    }
}
