//! Tests of the history file, including truncated files and resumed runs.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};
use training_monitor::engine::Resumed;
use training_monitor::handlers::profiler::TickStatistics;
use training_monitor::{Outcome, StopReason};
use training_monitor_std::History;
use training_monitor_std::history::{
    HistoryError, HistoryEvent, HistoryObserver, ProfiledPart, TimedEvent, split_runs,
};

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

/// A resume removes events of the last run only, and leaves all other lines unchanged.
#[test]
fn two_runs_in_one_file_keep_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let resumed =
        |epoch, iteration| Resumed { epoch, iteration, skipped: 0, changed_epoch_length: None, changed_settings: None };
    let stop = |reason, epoch, iteration| Outcome { reason, epoch, iteration };
    let history = History::open(&path).unwrap();
    history.record_resume(None).unwrap();
    train(&history, 1, 10);
    history.record_stop(&stop(StopReason::EarlyStopping, 2, 10));
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"event\":\"of a later version\",\"value\":0.10}\n");
    fs::write(&path, &text).unwrap();

    // The second run starts from the beginning, is interrupted and starts again.
    for _ in 0..2 {
        let history = History::open(&path).unwrap();
        history.record_resume(None).unwrap();
        train(&history, 1, 7);
        history.flush().unwrap();
    }
    // It resumes from a checkpoint of iteration 5.
    let history = History::open(&path).unwrap();
    history.record_resume(Some(resumed(1, 5))).unwrap();
    train(&history, 6, 12);
    history.record_stop(&stop(StopReason::MaxEpochs, 2, 12));
    history.flush().unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with(&text));

    let events = History::read(&path).unwrap();
    let runs = split_runs(&events);
    assert_eq!(runs.len(), 2);
    assert_eq!(iterations(runs[0]), (1..=10).collect::<Vec<_>>());
    assert_eq!(iterations(runs[1]), (1..=12).collect::<Vec<_>>());
    let ends = |run: &[HistoryEvent]| {
        let stop = |event: &HistoryEvent| match event {
            HistoryEvent::Stopped { reason, iteration, .. } => Some(format!("{reason} {iteration}")),
            _ => None,
        };
        run.iter().filter_map(stop).collect::<Vec<_>>()
    };
    assert_eq!((ends(runs[0]), ends(runs[1])), (vec!["EarlyStopping 10".into()], vec!["MaxEpochs 12".into()]));

    // A third run records only each hundredth iteration, so its first number is higher than that of the last stop.
    let text = fs::read(&path).unwrap();
    let history = History::open(&path).unwrap();
    history.record_resume(None).unwrap();
    history.set_interval(100);
    train(&history, 1, 100);
    history.record_stop(&stop(StopReason::NonFinite, 20, 100));
    let events = History::read(&path).unwrap();
    assert_eq!(split_runs(&events).iter().map(|run| ends(run).len()).collect::<Vec<_>>(), [1, 1, 1]);
    fs::write(&path, text).unwrap();

    // The first run is not affected if the second one continues after its end.
    let history = History::open(&path).unwrap();
    history.record_resume(Some(resumed(2, 12))).unwrap();
    train(&history, 13, 15);
    history.flush().unwrap();
    let events = History::read(&path).unwrap();
    let runs = split_runs(&events);
    assert_eq!((ends(runs[0]).len(), ends(runs[1]).len(), iterations(runs[1]).len()), (1, 0, 15));
}

#[test]
fn events_have_the_time_of_the_system_clock() {
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let before = seconds();
    let history = History::create(&path).unwrap();
    train(&history, 1, 10);
    history.record_scalars(10, &[("learning_rate", 0.1)]);
    history.record_stop(&Outcome { reason: StopReason::MaxEpochs, epoch: 2, iteration: 10 });
    let lines = History::read_timed(&path).unwrap();
    let times: Vec<f64> = lines.iter().map(|line| line.time.unwrap()).collect();
    assert_eq!(times.len(), 14);
    // The file contains milliseconds.
    assert!(times[0] >= before - 1e-3 && times[13] <= seconds() + 1e-3 && times.is_sorted(), "{before} {times:?}");
    // A history without times is read, too.
    let text = r#"{"event":"iteration","iteration":1,"loss":0.5}"#;
    let timed: TimedEvent = text.parse().unwrap();
    assert_eq!((timed.time, timed.event.iteration()), (None, Some(1)));
    let timed: TimedEvent = text.replace('}', r#","time":1764195272.5}"#).parse().unwrap();
    assert_eq!(timed.time, Some(1_764_195_272.5));
}

#[test]
fn scalars_are_recorded_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path).unwrap();
    let scalars = |iteration, values: &[(&str, Option<f64>)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        HistoryEvent::Scalars { iteration, values }
    };
    history.record_scalars(1, &[("learning_rate", 0.1), ("gradient_norm", f64::INFINITY)]);
    history.record_scalars(1, &[("b", 2.0), ("a", 1.0)]);
    history.record_scalars(2, &[("learning_rate", 0.1)]);
    // A resumed run records an iteration again. Only the names of the second record replace earlier values.
    history.record_scalars(1, &[("learning_rate", 0.2)]);
    history.set_interval(10);
    history.record_scalars(11, &[("learning_rate", 0.3)]);
    history.record_scalars(20, &[("learning_rate", 0.4)]);
    history.flush().unwrap();
    let expected = [
        scalars(1, &[("gradient_norm", None)]),
        scalars(1, &[("b", Some(2.0)), ("a", Some(1.0))]),
        scalars(2, &[("learning_rate", Some(0.1))]),
        scalars(1, &[("learning_rate", Some(0.2))]),
        scalars(20, &[("learning_rate", Some(0.4))]),
    ];
    assert_eq!(History::read(&path).unwrap(), expected);
}

#[test]
fn the_profile_is_recorded_in_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path).unwrap();
    train(&history, 1, 3);
    let mut step = TickStatistics::new();
    [2000, 3000, 4000].into_iter().for_each(|ticks| step.update(ticks));
    history.record_profile(1_000_000, &[("step", &step), ("fetch", &TickStatistics::new())]);
    history.flush().unwrap();
    let events = History::read(&path).unwrap();
    let Some(HistoryEvent::Profile { iteration: 3, parts }) = events.last() else { panic!("{events:?}") };
    let ProfiledPart { name, count, total, min, max, mean, deviation, .. } = &parts[0];
    assert_eq!((name.as_str(), *count, *total, *min, *max, *mean), ("step", 3, 0.009, 0.002, 0.004, 0.003));
    assert!((deviation - 0.001).abs() < 1e-9);
    assert_eq!((parts[1].count, parts[1].mean), (0, 0.0));
}

#[test]
fn a_history_is_shared_by_threads() {
    const fn assert_send_and_sync<T: Send + Sync>() {}
    assert_send_and_sync::<History>();
    assert_send_and_sync::<HistoryObserver>();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.jsonl");
    let history = History::create(&path).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let history = history.clone();
            std::thread::spawn(move || {
                (0..250).for_each(|index| history.record_iteration(1 + thread + 4 * index, 0.5, None));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    history.flush().unwrap();
    let mut numbers = iterations(&History::read(&path).unwrap());
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
}

/// The loss of a history is an f32. A greater number of another program becomes a value that is not finite.
#[test]
fn a_loss_beyond_the_range_of_f32_is_not_finite() {
    let event: HistoryEvent = r#"{"event":"iteration","iteration":1,"loss":3.5e38}"#.parse().unwrap();
    assert_eq!(event, HistoryEvent::Iteration { iteration: 1, loss: None, seconds: None });
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
        HistoryEvent::Started,
        HistoryEvent::Scalars {
            iteration: 7,
            values: vec![("learning_rate".to_owned(), Some(0.5)), ("a".to_owned(), None)],
        },
    ];
    let lines = [
        r#"{"event":"saved","store":"best","step":2,"iteration":8,"score":null,"bytes":90,"removed":1}"#,
        r#"{"event":"save_failed","store":"best","step":3,"iteration":12,"error":"no space","retrying":true}"#,
        r#"{"event":"removal_failed","store":"best","step":1,"iteration":12,"error":"no space"}"#,
        r#"{"event":"load_failed","store":"best","step":2,"error":"no space"}"#,
        r#"{"event":"started"}"#,
        r#"{"event":"scalars","iteration":7,"values":{"learning_rate":0.5,"a":null}}"#,
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
