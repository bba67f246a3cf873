//! Tests of the charts. The environment variables `CHART` and `COMPARISON` can contain paths. The tests then write the
//! chart of one run and the chart of two runs to these files for visual inspection.

use roxmltree::{Document, Node, NodeType};
use training_monitor_std::chart::{self, NamedRun};
use training_monitor_std::history::{HistoryEvent, ProfiledPart};

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
        let rate = 0.1 * (1.0 + (f64::from(iteration) / 990.0 * std::f64::consts::PI).cos());
        let values = vec![("learning_rate".to_owned(), Some(rate)), ("gradient_norm".to_owned(), Some(0.5 * loss))];
        events.push(HistoryEvent::Scalars { iteration, values });
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

/// Parses a chart. Panics if it is not well-formed, or if it contains a number that no program can draw.
fn parse(svg: &str) -> Document<'_> {
    let document = Document::parse(svg).unwrap_or_else(|error| panic!("{error}\n{svg}"));
    for node in document.descendants() {
        for attribute in node.attributes() {
            let value = attribute.value();
            assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
        }
    }
    document
}

fn draw(events: &[HistoryEvent]) -> String {
    let svg = chart::draw(events, "run");
    parse(&svg);
    svg
}

/// Returns the text of all `<text>` elements.
fn texts(document: &Document<'_>) -> Vec<String> {
    let content = |node: Node<'_, '_>| {
        node.descendants()
            .filter(|node| node.node_type() == NodeType::Text)
            .filter_map(|node| node.text())
            .collect::<String>()
    };
    document.descendants().filter(|node| node.has_tag_name("text")).map(content).collect()
}

/// Returns the texts that appear under the mouse pointer: the titles of all elements except the image.
fn hover_texts(document: &Document<'_>) -> Vec<String> {
    let titles = document.root_element().descendants().filter(|node| node.has_tag_name("title"));
    titles.skip(1).filter_map(|title| title.text().map(str::to_owned)).collect()
}

fn count(document: &Document<'_>, tag: &str) -> usize {
    document.descendants().filter(|node| node.has_tag_name(tag)).count()
}

fn losses(values: impl IntoIterator<Item = f32>) -> Vec<HistoryEvent> {
    let event = |(iteration, loss)| HistoryEvent::Iteration { iteration, loss: Some(loss), seconds: None };
    (1..).zip(values).map(event).collect()
}

fn epochs(name: &str, values: impl IntoIterator<Item = f64>) -> Vec<HistoryEvent> {
    let event = |(epoch, value)| {
        let metrics = vec![(name.to_owned(), Some(value))];
        HistoryEvent::Epoch { epoch, iteration: epoch * 10, metrics }
    };
    (1..).zip(values).map(event).collect()
}

#[test]
fn chart_shows_all_parts_of_a_run() {
    let mut events = artificial_history();
    let mut statistics = training_monitor::handlers::profiler::TickStatistics::new();
    statistics.update(1000);
    statistics.update(3000);
    let parts = vec![ProfiledPart::new("training step", &statistics, 1_000_000)];
    events.push(HistoryEvent::Profile { iteration: 990, parts });
    let svg = chart::draw(&events, "digits <on> a device & its \"twin\"");
    if let Ok(path) = std::env::var("CHART") {
        std::fs::write(path, &svg).unwrap();
    }
    let document = parse(&svg);
    let texts = texts(&document);
    for text in [
        "digits <on> a device & its \"twin\"",
        "22 epochs, 990 iterations  ·  best: step 19 (accuracy 0.97764)  ·  resumed 2 times  ·  ended: early stopping",
        "training loss (log)",
        "val loss",
        "accuracy",
        "learning rate",
        "gradient norm (log)",
        "time of an iteration, µs  ·  22 above 506, marked by triangles",
        "save failed",
        // The last label of each horizontal axis.
        "1000",
        "22",
        // A row of the profile.
        "training step",
        "4 ms",
        "1.41 ms",
    ] {
        assert!(texts.iter().any(|found| found == text), "{text:?} is not in {texts:#?}");
    }
    let hover = hover_texts(&document);
    for text in [
        "iteration 990, epoch 22\ntraining loss 0.0715",
        "iteration 45: 50000",
        "best: step 19, accuracy 0.97764",
        "step 4, iteration 180, score 0.7",
        "iteration 450: save failed: no space left on device",
        "iteration 270: resumed",
    ] {
        assert!(hover.iter().any(|found| found.starts_with(text)), "{text:?} is not in {hover:#?}");
    }
    assert!(svg.len() < 128 * 1024, "{}", svg.len());
}

/// A screen reader finds the title and the description, and a viewer that prefers dark colors gets them.
#[test]
fn chart_is_accessible() {
    let svg = chart::draw(&artificial_history(), "digits");
    let document = parse(&svg);
    let root = document.root_element();
    assert_eq!((root.attribute("role"), root.attribute("aria-labelledby")), (Some("img"), Some("title desc")));
    let labelled: Vec<&str> =
        root.children().filter(|node| node.attribute("id").is_some()).filter_map(|node| node.text()).collect();
    assert_eq!(labelled[0], "digits");
    assert!(
        labelled[1].starts_with("Panels: training loss, val loss, accuracy, learning rate, gradient norm, time of an")
    );
    assert!(labelled[1].contains("ended: early stopping"), "{}", labelled[1]);
    let style = root.children().find(|node| node.has_tag_name("style")).unwrap().text().unwrap();
    let dark = style.split_once("@media (prefers-color-scheme:dark){").unwrap().1;
    // Each class that an element has is a color of the style sheet.
    for node in document.descendants().filter(|node| !node.has_tag_name("g")) {
        for class in node.attribute("class").unwrap_or_default().split(' ').filter(|class| !class.is_empty()) {
            assert!(dark.contains(&format!(".{class}{{")), "{class}");
        }
    }
}

#[test]
fn histories_without_data() {
    assert!(draw(&[]).contains("no values recorded"));
    let nan = |iteration| HistoryEvent::Iteration { iteration, loss: None, seconds: Some(f64::NAN) };
    let svg = draw(&(1..=30).map(nan).collect::<Vec<_>>());
    assert!(svg.contains("no finite value") && svg.contains("30 not finite, marked by crosses"));
    // A single value is a dot, because a line needs two points.
    let svg = draw(&losses([0.5]));
    let document = parse(&svg);
    assert_eq!((count(&document, "polyline"), count(&document, "circle")), (0, 2));
    assert!(hover_texts(&document).contains(&"iteration 1: training loss 0.5".to_owned()));
    let empty = NamedRun { name: "", events: &[] };
    for runs in [&[][..], &[empty], &[empty, empty]] {
        parse(&chart::compare(runs, ""));
    }
}

#[test]
fn values_that_are_not_finite_interrupt_the_curve_and_have_a_mark() {
    let mut events = losses((0..100).map(|n| 2.0 - n as f32 / 100.0));
    for (index, event) in events.iter_mut().enumerate() {
        if let HistoryEvent::Iteration { loss, .. } = event {
            *loss = loss.filter(|_| !(40..60).contains(&index) && index != 80);
        }
    }
    let svg = draw(&events);
    let document = parse(&svg);
    // The recorded losses and the smoothed ones have a gap at iteration 41 to 60, and one at iteration 81.
    assert_eq!(count(&document, "polyline"), 6);
    let hover = hover_texts(&document);
    let marks: Vec<&String> = hover.iter().filter(|text| text.contains("not finite")).collect();
    assert!(marks.iter().any(|text| *text == "iteration 81: not finite"), "{marks:?}");
    assert_eq!(svg.matches("21 not finite, marked by crosses").count(), 1);
}

/// A loss that falls to 0.38 and stays there. A mean that lags, or whose length depends on another run, shows other values.
#[test]
fn a_smoothed_loss_shows_the_values_of_the_run() {
    let short = losses((0..600).map(|n| if n < 300 { 2.3 } else { 0.38 }));
    let long = losses((0..60_000).map(|n| 2.3 - n as f32 * 3e-5));
    let (short, long) = (NamedRun { name: "short", events: &short }, NamedRun { name: "long", events: &long });
    let alone = chart::panels(&[short]);
    let smoothed = &alone[0].curves[0].smoothed;
    assert_eq!(smoothed.len(), 600);
    for (iteration, value) in smoothed {
        let expected = if *iteration <= 300.0 { 2.3 } else { f64::from(0.38_f32) };
        assert!((iteration - 300.0).abs() < 21.0 || (value - expected).abs() < 1e-6, "{iteration}: {value}");
    }
    let compared = chart::panels(&[long, short]);
    assert_eq!(compared[0].curves[1].smoothed, *smoothed);
}

#[test]
fn labels_of_a_logarithmic_axis_are_round_and_do_not_overlap() {
    let svg = draw(&losses((0..300).map(|n| 10f32.powf(38.0 - 0.27 * n as f32))));
    let document = parse(&svg);
    let end = document.descendants().filter(|node| node.attribute("text-anchor") == Some("end"));
    let mut labels: Vec<(f64, String)> = end
        .map(|node| (node.attribute("y").unwrap().parse().unwrap(), node.text().unwrap().to_owned()))
        .filter(|(_, text)| text != "iteration")
        .collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(labels.len() >= 5, "{labels:?}");
    assert!(labels.iter().all(|(_, text)| text == "1" || text.starts_with("1e")), "{labels:?}");
    assert!(labels.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 14.0), "{labels:?}");
}

#[test]
fn fractions_have_a_linear_axis() {
    let values = || (1..=40).map(|n| f64::from(n).powi(2) / 2000.0);
    for name in ["accuracy", "val_acc", "Top1", "F1"] {
        assert!(!draw(&epochs(name, values())).contains("(log)"), "{name}");
    }
    for name in ["val_loss", "error", "accuracy_loss", "perplexity"] {
        assert!(draw(&epochs(name, values())).contains("(log)"), "{name}");
    }
}

#[test]
fn many_checkpoints_become_bars() {
    let saved = |(step, removed)| HistoryEvent::Saved {
        store: "all".to_owned(),
        step,
        iteration: step * 20,
        score: None,
        bytes: 9,
        removed,
    };
    let few: Vec<HistoryEvent> = (1..=40).map(|step| saved((step, None))).collect();
    assert_eq!(count(&parse(&draw(&few)), "circle"), 40 + 2);
    let many: Vec<HistoryEvent> = (1..=1000).map(|step| saved((step, (step > 900).then(|| step - 900)))).collect();
    let svg = draw(&many);
    let document = parse(&svg);
    assert_eq!(count(&document, "circle"), 2);
    assert!(texts(&document).iter().any(|text| text == "checkpoints  ·  900 kept"));
    // The bars contain each checkpoint once.
    let mut sums = [0, 0];
    for text in hover_texts(&document).iter().filter(|text| text.contains("removed") && text.contains("kept,")) {
        let numbers: Vec<usize> = text.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        sums = [sums[0] + numbers[numbers.len() - 2], sums[1] + numbers[numbers.len() - 1]];
    }
    assert_eq!(sums, [900, 100]);
}

#[test]
fn comparison_shows_all_runs_in_the_same_panels() {
    let events = artificial_history();
    let half = &events[..events.len() / 2];
    let runs = [NamedRun { name: "all", events: &events }, NamedRun { name: "h <lf", events: half }];
    let svg = chart::compare(&runs, "two & more");
    if let Ok(path) = std::env::var("COMPARISON") {
        std::fs::write(path, &svg).unwrap();
    }
    let document = parse(&svg);
    let texts = texts(&document);
    for text in [
        "two & more",
        "h <lf",
        "best val loss 0.1342  ·  best accuracy 0.97764  ·  early stopping at 990",
        "best val loss 0.25785  ·  best accuracy 0.93258  ·  no end recorded, 495 iterations",
        "training loss (log)",
        "time of an iteration, µs",
    ] {
        assert!(texts.iter().any(|found| found.trim() == text), "{text:?} is not in {texts:#?}");
    }
    // The better value of each metric is bold, as are the titles and the names.
    let bold = document.descendants().filter(|node| node.attribute("font-weight") == Some("bold"));
    let bold: Vec<&str> = bold.filter_map(|node| node.text()).filter(|text| text.starts_with("best ")).collect();
    assert_eq!(bold, ["best val loss 0.1342", "best accuracy 0.97764"]);
    // Each of the six panels has a curve for each run.
    assert_eq!(count(&document, "polyline"), 12);
    assert!(
        hover_texts(&document)
            .iter()
            .any(|text| text.contains("\nall: accuracy 0.9") && text.contains("h <lf: accuracy 0.9"))
    );
}

#[test]
fn the_last_run_of_a_file_is_drawn() {
    let mut events = artificial_history();
    events.extend(losses([0.5; 40]));
    events.push(HistoryEvent::Stopped { reason: "NonFinite".into(), epoch: 1, iteration: 40 });
    let svg = draw(&events);
    assert!(svg.contains("40 iterations") && svg.contains("ended: non finite") && !svg.contains("early stopping"));
}

#[test]
fn extreme_values_are_drawn() {
    for values in [
        [1e308, -1e308, 0.0],
        [5e-324, 1.0, 1e300],
        [1e-320, 1e-322, 0.0],
        [f64::INFINITY, 1.0, f64::NAN],
        [1e15, 1e15 + 0.125, 1e15 + 0.25],
    ] {
        draw(&epochs("metric", values));
        draw(&epochs("metric", [values[0]; 3]));
        let run = epochs("metric", values);
        parse(&chart::compare(&[NamedRun { name: "a", events: &run }, NamedRun { name: "b", events: &run }], "c"));
    }
    let mut last = losses([1.0, 2.0]);
    last.push(HistoryEvent::Iteration { iteration: u32::MAX, loss: Some(f32::MAX), seconds: Some(1e300) });
    draw(&last);
}

/// Names of any characters give a well-formed image.
#[test]
fn names_of_any_characters_are_escaped() {
    let mut state = 1_u64;
    let mut random = |limit: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % limit
    };
    for _ in 0..300 {
        let mut name = || -> String {
            let range = [0x20, 0x80, 0x3000, 0x11_0000][random(4) as usize];
            (0..random(40)).filter_map(|_| char::from_u32(random(range))).collect()
        };
        let (title, metric, scalar, store, error, reason, part) =
            (name(), name(), name(), name(), name(), name(), name());
        let mut events = losses([0.5, 0.25]);
        let statistics = training_monitor::handlers::profiler::TickStatistics::new();
        events.extend([
            HistoryEvent::Epoch { epoch: 1, iteration: 2, metrics: vec![(metric, Some(0.5))] },
            HistoryEvent::Scalars { iteration: 1, values: vec![(scalar, Some(0.5))] },
            HistoryEvent::Saved {
                store: store.clone(),
                step: 1,
                iteration: 1,
                score: Some(0.5),
                bytes: 1,
                removed: None,
            },
            HistoryEvent::SaveFailed { store, step: 2, iteration: 2, error, retrying: false },
            HistoryEvent::Profile { iteration: 2, parts: vec![ProfiledPart::new(&part, &statistics, 1)] },
            HistoryEvent::Stopped { reason, epoch: 1, iteration: 2 },
        ]);
        parse(&chart::draw(&events, &title));
        let runs = [NamedRun { name: &title, events: &events }, NamedRun { name: &part, events: &events }];
        parse(&chart::compare(&runs, &title));
    }
}
