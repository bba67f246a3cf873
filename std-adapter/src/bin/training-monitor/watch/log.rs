//! Lines of a device's log as entries of a history.
//!
//! What is understood is what the example firmware says, with whatever its logger puts before it: levels, times,
//! colours. Lines that say nothing known are shown as they are.

use training_monitor_std::history::Entry;

/// Names of `StopReason`, with which a run ends.
const REASONS: [&str; 6] = ["MaxEpochs", "EarlyStopping", "NonFinite", "SaveFailed", "StepFailed", "User"];

/// What is no metric among an epoch's numbers: how many more without improvement are put up with.
pub const PATIENCE: &str = "patience";

/// What a line says. `iteration` is the one that the device stands at, as far as that is known.
pub fn parse(line: &str, iteration: u32) -> Option<Entry> {
    if line.starts_with('{') {
        return line.parse().ok();
    }
    epoch(line, iteration)
        .or_else(|| step(line))
        .or_else(|| resumed(line))
        .or_else(|| stopped(line, iteration))
        .or_else(|| store(line, iteration))
}

/// What follows `word` in `text`.
fn after<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.find(word).and_then(|at| text.get(at + word.len()..))
}

/// The number that `text` begins with, and the rest.
fn number<T: std::str::FromStr>(text: &str) -> Option<(T, &str)> {
    let text = text.trim_start();
    let end = text.find(|c: char| c == ',' || c == ':' || c.is_whitespace()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// `loss 0.1, accuracy 0.9`
fn pairs(text: &str) -> Vec<(String, Option<f64>)> {
    let pair = |part: &str| {
        let (name, value) = part.trim().rsplit_once(' ')?;
        let value: f64 = value.parse().ok()?;
        Some((name.trim().replace(' ', "_"), Some(value).filter(|value| value.is_finite())))
    };
    text.split(',').filter_map(pair).collect()
}

/// `epoch 3: loss 0.1, accuracy 0.9, patience 5`
fn epoch(line: &str, iteration: u32) -> Option<Entry> {
    let (epoch, rest) = number::<u32>(after(line, "epoch ")?)?;
    let metrics = pairs(rest.strip_prefix(':')?);
    // Without iterations of its own the run is told by its epochs.
    (!metrics.is_empty()).then_some(Entry::Epoch { epoch, iteration: iteration.max(epoch), metrics })
}

/// `iteration 12: loss 0.1`
fn step(line: &str) -> Option<Entry> {
    let (iteration, rest) = number::<u32>(after(line, "iteration ")?)?;
    let (loss, _) = number::<f32>(after(rest, "loss ")?)?;
    Some(Entry::Iteration { iteration, loss: Some(loss).filter(|loss| loss.is_finite()), seconds: None })
}

/// `resumed in epoch 3 after iteration 225, 0 damaged`
fn resumed(line: &str) -> Option<Entry> {
    let (epoch, rest) = number(after(line, "resumed in epoch ")?)?;
    let (iteration, rest) = number(after(rest, "after iteration ")?)?;
    let skipped = rest.strip_prefix(',').and_then(number).map_or(0, |(skipped, _)| skipped);
    Some(Entry::Resumed { epoch, iteration, skipped })
}

/// `EarlyStopping after epoch 12`
fn stopped(line: &str, iteration: u32) -> Option<Entry> {
    let (before, rest) = line.split_once(" after epoch ")?;
    let reason = before.split_whitespace().last()?;
    let known = REASONS.iter().any(|known| reason.starts_with(known));
    let (epoch, _) = number::<u32>(rest)?;
    known.then(|| Entry::Stopped { reason: reason.to_owned(), epoch, iteration: iteration.max(epoch) })
}

/// `best: saved 7, 19580 bytes, in place of 3`, `best: 7 was not saved`, `latest: 4 is damaged`
fn store(line: &str, iteration: u32) -> Option<Entry> {
    let (before, rest) = line.rsplit_once(": ")?;
    let store = before.split_whitespace().last()?.to_owned();
    if let Some(rest) = rest.strip_prefix("saved ") {
        let (step, rest) = number(rest)?;
        let (bytes, rest) = number(rest.strip_prefix(',')?)?;
        let removed = after(rest, "in place of ").and_then(number).map(|(removed, _)| removed);
        return Some(Entry::Saved { store, step, iteration, score: None, bytes, removed });
    }
    let (step, rest) = number(rest)?;
    // The device does not say why.
    let error = "see its log".to_owned();
    match rest.trim() {
        "was not saved" => Some(Entry::SaveFailed { store, step, iteration, error, retrying: false }),
        "was not removed" => Some(Entry::RemovalFailed { store, step, iteration, error }),
        "is damaged" => Some(Entry::LoadFailed { store, step, error }),
        _ => None,
    }
}

/// `best: slots erased [3, 2, 2] times`: the store, and erases of all its slots.
pub fn wear(line: &str) -> Option<(&str, u32)> {
    let (before, rest) = line.rsplit_once(": slots erased [")?;
    let (counts, _) = rest.split_once(']')?;
    let counts = counts.split(',').map(|count| count.trim().parse::<u32>());
    let all = counts.collect::<Result<Vec<_>, _>>().ok()?;
    Some((before.split_whitespace().last()?, all.iter().fold(0, |sum, count| sum.saturating_add(*count))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_firmware_says() {
        let saved = |removed| Entry::Saved {
            store: "best".to_owned(),
            step: 7,
            iteration: 5,
            score: None,
            bytes: 19580,
            removed,
        };
        let metrics = vec![("loss".to_owned(), Some(0.25)), ("accuracy".to_owned(), None)];
        let patient = [&metrics[..], &[(PATIENCE.to_owned(), Some(4.0))]].concat();
        let stopped = |reason: &str| Entry::Stopped { reason: reason.to_owned(), epoch: 12, iteration: 12 };
        let lines = [
            ("epoch 9: loss 0.25, accuracy NaN", Entry::Epoch { epoch: 9, iteration: 9, metrics: metrics.clone() }),
            ("12.5 [INFO ] epoch 2: loss 0.25, accuracy inf", Entry::Epoch { epoch: 2, iteration: 5, metrics }),
            ("epoch 9: loss 0.25, accuracy inf, patience 4", Entry::Epoch { epoch: 9, iteration: 9, metrics: patient }),
            ("INFO best: saved 7, 19580 bytes", saved(None)),
            ("best: saved 7, 19580 bytes, in place of 3", saved(Some(3))),
            (
                "64-32-10, resumed in epoch 3 after iteration 225, 1 damaged",
                Entry::Resumed { epoch: 3, iteration: 225, skipped: 1 },
            ),
            ("INFO  EarlyStopping after epoch 12", stopped("EarlyStopping")),
            ("User(3) after epoch 12", stopped("User(3)")),
            ("iteration 12: loss 0.5", Entry::Iteration { iteration: 12, loss: Some(0.5), seconds: None }),
            (
                "latest: 4 is damaged",
                Entry::LoadFailed { store: "latest".to_owned(), step: 4, error: "see its log".to_owned() },
            ),
        ];
        for (line, entry) in lines {
            assert_eq!(parse(line, 5), Some(entry), "{line}");
        }
        assert_eq!(wear("INFO  best: slots erased [3, 20, 2] times"), Some(("best", 25)));
        for other in [
            "best: slots erased [] times",
            "",
            "900 steps, the best is 7",
            "test: loss 0.1, accuracy 0.9",
            "epoch: 7",
            "{not json",
            "a: saved x, 1 bytes",
        ] {
            assert_eq!((parse(other, 5), wear(other)), (None, None), "{other}");
        }
    }
}
