//! The history of a run that is cut, torn, and goes on.

use std::fs;
use training_monitor::engine::Resumed;
use training_monitor::{Outcome, StopReason};
use training_monitor_std::History;
use training_monitor_std::history::{Entry, HistoryError};

fn train(history: &History, from: u32, to: u32) {
    for iteration in from..=to {
        history.iteration(iteration, 1.0 / iteration as f32, Some(0.25));
        if iteration % 5 == 0 {
            history.epoch(iteration / 5, &[("val_loss", 0.5), ("accuracy", f64::NAN)]);
        }
    }
}

fn iterations(entries: &[Entry]) -> Vec<u32> {
    let of = |entry: &Entry| if let Entry::Iteration { iteration, .. } = entry { Some(*iteration) } else { None };
    entries.iter().filter_map(of).collect()
}

#[test]
fn a_run_that_goes_on_has_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    train(&History::open(&path).unwrap(), 1, 12);
    // The power goes in the middle of a line.
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(r#"{"event":"iteration","iterat"#);
    fs::write(&path, &text).unwrap();
    assert_eq!(iterations(&History::read(&path).unwrap()), (1..=12).collect::<Vec<_>>());

    let history = History::open(&path).unwrap();
    let outcome = Outcome { reason: StopReason::User(3), epoch: 4, iteration: 20 };
    history.resumed(Some(Resumed { epoch: 1, iteration: 7, skipped: 1 })).unwrap();
    train(&history, 8, 20);
    history.stopped(&outcome);
    history.flush().unwrap();
    let entries = History::read(&path).unwrap();
    assert_eq!(iterations(&entries), (1..=20).collect::<Vec<_>>());
    assert_eq!(entries.iter().filter(|entry| matches!(entry, Entry::Resumed { iteration: 7, .. })).count(), 1);
    let metrics = vec![("val_loss".to_owned(), Some(0.5)), ("accuracy".to_owned(), None)];
    assert!(entries.contains(&Entry::Epoch { epoch: 2, iteration: 10, metrics }));
    assert_eq!(entries.last(), Some(&Entry::Stopped { reason: "User(3)".into(), epoch: 4, iteration: 20 }));

    // Lengthened: the stop is taken back. Then begun anew: everything is.
    let history = History::open(&path).unwrap();
    history.resumed(Some(Resumed { epoch: 4, iteration: 20, skipped: 0 })).unwrap();
    assert!(matches!(History::read(&path).unwrap().last(), Some(Entry::Resumed { iteration: 20, .. })));
    history.resumed(None).unwrap();
    assert_eq!(History::read(&path).unwrap(), []);
    // Only the history is there.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn every_tenth_iteration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path).unwrap();
    history.set_interval(10);
    train(&history, 1, 35);
    assert_eq!(iterations(&History::read(&path).unwrap()), [10, 20, 30]);
}

#[test]
fn files_that_are_none() {
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
    // What a later version adds is passed over, not refused.
    fs::write(&path, format!("{first}\n{{\"event\":\"learning_rate\",\"value\":0.1}}\n")).unwrap();
    assert_eq!(History::read(&path).unwrap(), [Entry::Unknown]);
}

#[test]
fn numbers_as_others_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let first = r#"{"schema":"training-monitor-history","version":1}"#;
    let lines = [
        r#"{"event":"iteration","iteration":1,"loss":1.50,"seconds":1E-03}"#,
        r#"{"event":"iteration","iteration":2,"loss":3}"#,
        r#"{"metrics":{"val_loss":5.0e-1,"accuracy":null},"epoch":1,"iteration":2,"event":"epoch"}"#,
    ];
    fs::write(&path, format!("{first}\n{}\n", lines.join("\n"))).unwrap();
    let wanted = [
        Entry::Iteration { iteration: 1, loss: Some(1.5), seconds: Some(0.001) },
        Entry::Iteration { iteration: 2, loss: Some(3.0), seconds: None },
        Entry::Epoch {
            epoch: 1,
            iteration: 2,
            metrics: vec![("val_loss".to_owned(), Some(0.5)), ("accuracy".to_owned(), None)],
        },
    ];
    assert_eq!(History::read(&path).unwrap(), wanted);
    assert_eq!(lines[0].parse::<Entry>().unwrap(), wanted[0]);
}

#[test]
fn a_disk_that_is_full_does_not_stop_a_run() {
    // Linux has a device for this.
    if let Ok(history) = History::create("/dev/full") {
        train(&history, 1, 3000);
        assert!(matches!(history.flush(), Err(HistoryError::Io { .. })));
    }
}
