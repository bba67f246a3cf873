//! Tests of the charts. The environment variables `CHART` and `COMPARISON` can contain paths. The tests then write the
//! chart of one run and the chart of two runs to these files for visual inspection.

use training_monitor_std::{chart, history::HistoryEvent};

/// An artificial history that contains every kind of event that a chart shows.
fn artificial_history() -> Vec<HistoryEvent> {
    let (mut events, mut noise) = (Vec::new(), 1u32);
    let mut best: Vec<(u32, f64)> = Vec::new();
    let mut latest: Vec<u32> = Vec::new();
    for iteration in 1..=45 * 22u32 {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let spike = if iteration == 310 { 2.5 } else { 0.0 };
        let base = 2.3 * (-f64::from(iteration) / 220.0).exp() + 0.05;
        let loss = base * (0.6 + 0.8 * f64::from(noise >> 8) / f64::from(1u32 << 24)) + spike;
        // Every 45th iteration includes a save and therefore takes longer.
        let seconds = if iteration % 45 == 0 { 0.05 } else { 0.0004 + 0.00002 * f64::from(noise >> 30) };
        events.push(HistoryEvent::Iteration { iteration, loss: Some(loss as f32), seconds: Some(seconds) });
        if iteration % 45 == 0 {
            let epoch = iteration / 45;
            let x = f64::from(epoch);
            let accuracy = 0.98 - 0.7 * (-x / 4.0).exp() + 0.012 * (x * 2.1).sin() - 0.0015 * (x - 15.0).max(0.0);
            let val_loss = 1.9 * (-x / 4.5).exp() + 0.09 + 0.02 * (x * 1.7).sin().abs() + 0.003 * (x - 14.0).max(0.0);
            let metrics = vec![("val_loss".to_owned(), Some(val_loss)), ("accuracy".to_owned(), Some(accuracy))];
            events.push(HistoryEvent::Epoch { epoch, iteration, metrics });
            let worst = best.iter().map(|(_, a)| *a).fold(f64::INFINITY, f64::min);
            if best.len() < 2 || accuracy > worst {
                best.push((epoch, accuracy));
                best.sort_by(|a, b| a.1.total_cmp(&b.1));
                let removed = (best.len() > 2).then(|| best.remove(0).0);
                let score = Some(accuracy as f32);
                events.push(HistoryEvent::Saved {
                    store: "best".into(),
                    step: epoch,
                    iteration,
                    score,
                    bytes: 9000,
                    removed,
                });
            }
            if epoch == 10 {
                let error = "no space left on device".to_owned();
                events.push(HistoryEvent::SaveFailed {
                    store: "latest".into(),
                    step: epoch,
                    iteration,
                    error,
                    retrying: false,
                });
            } else {
                latest.push(epoch);
                let removed = (latest.len() > 2).then(|| latest.remove(0));
                events.push(HistoryEvent::Saved {
                    store: "latest".into(),
                    step: epoch,
                    iteration,
                    score: None,
                    bytes: 9000,
                    removed,
                });
            }
            if epoch == 6 || epoch == 13 {
                events.push(HistoryEvent::Resumed { epoch, iteration, skipped: 0 });
            }
        }
    }
    events.push(HistoryEvent::Stopped { reason: "EarlyStopping".into(), epoch: 22, iteration: 45 * 22 });
    events
}

#[test]
fn chart_shows_all_parts_of_a_run() {
    let svg = chart::draw(&artificial_history(), "digits <on> a device & its \"twin\"");
    if let Ok(path) = std::env::var("CHART") {
        std::fs::write(path, &svg).unwrap();
    }
    for part in [
        "digits &lt;on&gt; a device &amp;",
        "training loss (log)",
        "val loss",
        "accuracy",
        "time of an iteration, µs",
        // A label of the duration axis, in µs. Iterations with a save are rare and long, so the axis is scaled for the
        // other iterations.
        ">450</text>",
        "resumed 2 times",
        "save failed",
    ] {
        assert!(svg.contains(part), "{part}");
    }
    assert!(svg.contains("ended: early stopping") && !svg.contains("NaN") && !svg.contains("inf"));
    assert!(svg.len() < 64 * 1024, "{}", svg.len());
}

#[test]
fn chart_of_an_empty_history_is_valid() {
    for events in [vec![], vec![HistoryEvent::Iteration { iteration: 1, loss: None, seconds: None }]] {
        let svg = chart::draw(&events, "");
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn comparison_shows_all_runs_in_the_same_panels() {
    let events = artificial_history();
    let half = &events[..events.len() / 2];
    let runs = [chart::NamedRun { name: "all", events: &events }, chart::NamedRun { name: "h <lf", events: half }];
    let svg = chart::compare(&runs, "two & more");
    if let Ok(path) = std::env::var("COMPARISON") {
        std::fs::write(path, &svg).unwrap();
    }
    for part in
        ["two &amp; more", "h &lt;lf", "EarlyStopping at 990", "training loss, smoothed</text>", "µs (median of 17"]
    {
        assert!(svg.contains(part), "{part}");
    }
    // Each of the four panels has a title and a curve for each run. Only the first run has stopped.
    assert_eq!((svg.matches("<polyline").count(), svg.matches("<circle").count()), (8, 4));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}

#[test]
fn comparison_of_empty_histories_is_valid() {
    let empty = chart::NamedRun { name: "", events: &[] };
    for runs in [&[][..], &[empty], &[empty, empty]] {
        let svg = chart::compare(runs, "");
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
