//! Tests of the table of log lines. A program that reads a log identifies each line by its fixed text.

use std::collections::BTreeSet;
use training_monitor::log;

/// Returns the text of a log line without its placeholders, such as `{=u32}`.
fn fixed_text(line: &str) -> String {
    let parts = line.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    parts.collect::<Vec<_>>().join("\0")
}

#[test]
fn the_log_lines_are_unique() {
    let lines: BTreeSet<&str> = log::LINES.iter().copied().collect();
    assert_eq!(lines.len(), log::LINES.len());
    // All lines differ, even without their placeholders. A log reader can therefore identify each line.
    let texts: BTreeSet<String> = log::LINES.iter().map(|line| fixed_text(line)).collect();
    assert_eq!(texts.len(), log::LINES.len(), "{texts:?}");
}

#[test]
fn every_constant_is_in_the_table() {
    let constants = [
        log::RESUMED,
        log::STARTED,
        log::ITERATION,
        log::EPOCH,
        log::STOPPED,
        log::SAVED,
        log::SAVED_AND_EVICTED,
        log::SAVE_FAILED,
        log::EVICTION_FAILED,
        log::LOAD_FAILED,
        log::UNUSABLE,
        log::OTHER_EVICTED,
        log::FEWER_PLACES,
        log::LIST_FAILED,
        log::SAVE_INTERVAL,
        log::ERASES,
    ];
    assert_eq!(log::LINES, constants);
}

/// Deployed firmware contains these texts, and a log reader must still recognise them. Do not change them without need.
#[test]
fn the_log_lines_have_their_documented_texts() {
    assert_eq!(log::SAVED, "{=str}: saved step {=u32}, {=u32} bytes");
    assert_eq!(log::SAVED_AND_EVICTED, "{=str}: saved step {=u32}, {=u32} bytes, evicted step {=u32}");
    assert_eq!(log::ITERATION, "iteration {=u32}: loss {=f32}");
    assert_eq!(log::EPOCH, "epoch {=u32}: loss {=f32}, accuracy {=f32}, patience {=u32}");
}
