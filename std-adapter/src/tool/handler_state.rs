//! The run record of a checkpoint in a form that people can read. The run record contains the position of the engine
//! and the state of each handler.
//!
//! The section "Run" of `FORMAT.md` in the package `training-monitor` defines the bytes of each state. A state of an
//! unknown kind is shown as hexadecimal bytes, and so is a state that cannot be decoded.

use crate::tool::numbers::{count, exact, hex, serialize_f32};
use serde::{Deserialize, Serialize, Serializer};
use training_monitor::handlers::adaptive_interval::IntervalLimit;
use training_monitor::run_record::{HandlerKind, RunRecord};

/// The state of one handler, decoded from the run record of a checkpoint.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "handler")]
pub enum HandlerState {
    EarlyStopping {
        /// The number of updates without an improvement since the best score.
        counter: u32,
        #[serde(serialize_with = "serialize_f32")]
        best_score: Option<f32>,
    },
    Timer {
        total_ticks: u64,
        steps: u32,
        running: bool,
    },
    ModelCheckpoint {
        calls: u32,
        /// A save that the handler has started but not committed.
        pending: Option<PendingSave>,
    },
    TerminateOnNan {
        calls_since_check: u32,
    },
    /// The last output of the training step, as hexadecimal digits. The bytes are the postcard encoding of a
    /// user-defined type.
    KeepOutput {
        bytes: String,
    },
    /// The metrics of the engine, as hexadecimal digits. The bytes are the postcard encoding of a user-defined type.
    KeepMetrics {
        bytes: String,
    },
    ReduceOnPlateau {
        /// The number of metrics in a row without an improvement.
        bad: u32,
        /// The number of further metrics that belong to the cooldown.
        cooldown: u32,
        #[serde(serialize_with = "serialize_f32")]
        best: Option<f32>,
        value: f32,
    },
    RunningAverage {
        #[serde(serialize_with = "serialize_f32")]
        average: Option<f32>,
    },
    WeightAverage {
        /// `None` before the averages contain weights.
        updates: Option<u32>,
    },
    TimeLimit {
        elapsed_ticks: u64,
        running: bool,
    },
    EveryTicks {
        ticks_since_event: u64,
    },
    SpikeGuard {
        /// The number of values that have entered the mean.
        values: u32,
        spikes: u32,
        #[serde(serialize_with = "serialize_f32")]
        mean: Option<f32>,
        /// The last value that was not a spike.
        #[serde(serialize_with = "serialize_f32")]
        last: Option<f32>,
    },
    /// The durations of one part of the run.
    Profiler {
        part: &'static str,
        count: u32,
        total_ticks: u64,
        min_ticks: u64,
        max_ticks: u64,
    },
    RollBack {
        count: u32,
    },
    /// The durations are in ticks.
    AdaptiveInterval {
        starts: u16,
        mean_time_between_failures: f32,
        lost: f32,
        save_duration: f32,
        interval: f32,
        limit: String,
        debt: u64,
        /// `None` if there is no wear budget, or if the store does not count its erases.
        remaining_life: Option<f32>,
    },
    /// The state of a user-defined handler, or a state that cannot be decoded.
    Other {
        #[serde(serialize_with = "serialize_kind")]
        kind: HandlerKind,
        bytes: String,
    },
}

/// Serializes the kind of a handler as the number that the checkpoint contains.
fn serialize_kind<S: Serializer>(kind: &HandlerKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(kind.code())
}

/// A save that a checkpoint handler has started but not committed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PendingSave {
    step: u32,
    #[serde(serialize_with = "serialize_f32")]
    score: Option<f32>,
}

impl HandlerState {
    fn decode(kind: HandlerKind, tag: u16, bytes: &[u8]) -> HandlerState {
        fn decode_all<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
            postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
        }
        let known = match kind {
            HandlerKind::EARLY_STOPPING => {
                decode_all(bytes).map(|(counter, best_score)| HandlerState::EarlyStopping { counter, best_score })
            }
            HandlerKind::TIMER => decode_all(bytes).map(|(total_ticks, steps, running)| HandlerState::Timer {
                total_ticks,
                steps,
                running,
            }),
            HandlerKind::MODEL_CHECKPOINT => {
                decode_all(bytes).map(|(calls, pending)| HandlerState::ModelCheckpoint { calls, pending })
            }
            HandlerKind::TERMINATE_ON_NAN => {
                decode_all(bytes).map(|calls_since_check| HandlerState::TerminateOnNan { calls_since_check })
            }
            HandlerKind::KEEP_OUTPUT => Some(HandlerState::KeepOutput { bytes: hex(bytes) }),
            // The library refuses a value that is not finite.
            HandlerKind::REDUCE_ON_PLATEAU => decode_all(bytes)
                .filter(|(_, _, _, value): &(_, _, _, f32)| value.is_finite())
                .map(|(bad, cooldown, best, value)| HandlerState::ReduceOnPlateau { bad, cooldown, best, value }),
            HandlerKind::RUNNING_AVERAGE => decode_all(bytes).map(|average| HandlerState::RunningAverage { average }),
            HandlerKind::WEIGHT_AVERAGE => decode_all(bytes).map(|updates| HandlerState::WeightAverage { updates }),
            HandlerKind::TIME_LIMIT => {
                decode_all(bytes).map(|(elapsed_ticks, running)| HandlerState::TimeLimit { elapsed_ticks, running })
            }
            HandlerKind::EVERY_TICKS => {
                decode_all(bytes).map(|ticks_since_event| HandlerState::EveryTicks { ticks_since_event })
            }
            // The library refuses all other combinations.
            HandlerKind::SPIKE_GUARD => decode_all(bytes)
                .filter(|(values, _, mean, last): &(u32, u32, Option<f32>, Option<f32>)| {
                    let is_none_or_finite =
                        |number: &Option<f32>| number.map_or(*values == 0, |number| *values > 0 && number.is_finite());
                    is_none_or_finite(mean) && is_none_or_finite(last)
                })
                .map(|(values, spikes, mean, last)| HandlerState::SpikeGuard { values, spikes, mean, last }),
            HandlerKind::PROFILER => profiled_part(tag).and_then(|part| {
                // The last two fields are the sum of the squared ticks and the part in progress.
                decode_all::<(u32, u64, u64, u64, (u64, u64), Option<u64>)>(bytes).map(
                    |(count, total_ticks, min_ticks, max_ticks, _, _)| HandlerState::Profiler {
                        part,
                        count,
                        total_ticks,
                        min_ticks,
                        max_ticks,
                    },
                )
            }),
            HandlerKind::ROLL_BACK => decode_all(bytes).map(|count| HandlerState::RollBack { count }),
            HandlerKind::ADAPTIVE_INTERVAL => decode_all(bytes).and_then(adaptive_interval),
            HandlerKind::KEEP_METRICS => Some(HandlerState::KeepMetrics { bytes: hex(bytes) }),
            _ => None,
        };
        known.unwrap_or_else(|| HandlerState::Other { kind, bytes: hex(bytes) })
    }

    /// Returns the states of all handlers in a run record. The states have the same order as in the record.
    pub fn all(record: &RunRecord<[u8]>) -> Vec<HandlerState> {
        record.handlers().map(|(kind, tag, bytes)| HandlerState::decode(kind, tag, bytes)).collect()
    }

    /// Returns the name of the handler, and its state as text.
    pub fn describe(&self) -> (String, String) {
        let (name, text) = match self {
            HandlerState::EarlyStopping { counter, best_score } => {
                let best = best_score.map_or("no score yet".to_owned(), |best| format!("best score {}", exact(best)));
                ("EarlyStopping", format!("{} without improvement, {best}", count(*counter as usize, "update")))
            }
            HandlerState::Timer { total_ticks, steps, running } => {
                let running = if *running { "running" } else { "paused" };
                ("Timer", format!("{total_ticks} ticks over {}, {running}", count(*steps as usize, "step")))
            }
            HandlerState::ModelCheckpoint { calls, pending } => {
                let pending = pending.as_ref().map_or(String::new(), |PendingSave { step, score }| {
                    let score = score.map_or(String::new(), |score| format!(" (score {})", exact(score)));
                    format!(", save of step {step}{score} pending")
                });
                ("ModelCheckpoint", format!("{}{pending}", count(*calls as usize, "call")))
            }
            HandlerState::TerminateOnNan { calls_since_check } => {
                ("TerminateOnNan", format!("{} since the last check", count(*calls_since_check as usize, "call")))
            }
            HandlerState::ReduceOnPlateau { bad, cooldown, best, value } => {
                let best = best.map_or("no metric yet".to_owned(), |best| format!("best metric {}", exact(best)));
                let bad = count(*bad as usize, "metric");
                (
                    "ReduceOnPlateau",
                    format!("value {}, {bad} without improvement, {best}, cooldown {cooldown}", exact(*value)),
                )
            }
            HandlerState::RunningAverage { average } => (
                "RunningAverage",
                average.map_or("no value yet".to_owned(), |average| format!("average {}", exact(average))),
            ),
            HandlerState::WeightAverage { updates } => (
                "WeightAverage",
                updates.map_or("no weights yet".to_owned(), |updates| count(updates as usize, "update")),
            ),
            HandlerState::TimeLimit { elapsed_ticks, running } => {
                ("TimeLimit", format!("{elapsed_ticks} ticks elapsed, {}", if *running { "running" } else { "paused" }))
            }
            HandlerState::EveryTicks { ticks_since_event } => {
                ("EveryTicks", format!("{ticks_since_event} ticks since the last event"))
            }
            HandlerState::SpikeGuard { values, spikes, mean, last } => {
                let level = match (mean, last) {
                    (Some(mean), Some(last)) => format!("mean {}, last value {}", exact(*mean), exact(*last)),
                    _ => "no value yet".to_owned(),
                };
                let (values, spikes) = (count(*values as usize, "value"), count(*spikes as usize, "spike"));
                ("SpikeGuard", format!("{spikes}, {values} in the mean, {level}"))
            }
            HandlerState::Profiler { part, count: durations, total_ticks, min_ticks, max_ticks } => {
                let durations = count(*durations as usize, "time");
                ("Profiler", format!("{part}: {durations}, {total_ticks} ticks, min {min_ticks}, max {max_ticks}"))
            }
            HandlerState::RollBack { count: rolled_back } => ("RollBack", count(*rolled_back as usize, "roll-back")),
            HandlerState::AdaptiveInterval {
                starts,
                mean_time_between_failures,
                lost,
                save_duration,
                interval,
                limit,
                debt,
                remaining_life,
            } => {
                let life =
                    remaining_life.map_or(String::new(), |life| format!(", remaining flash life {life:.0} ticks"));
                let starts = count(usize::from(*starts), "start");
                (
                    "AdaptiveInterval",
                    format!(
                        "saves every {interval:.0} ticks ({limit}), {starts}, mean time between failures \
                         {mean_time_between_failures:.0} ticks, {lost:.0} ticks lost, a save takes {save_duration:.0} \
                         ticks, wear debt {debt} ticks{life}"
                    ),
                )
            }
            HandlerState::KeepOutput { bytes } => ("KeepOutput", bytes.clone()),
            HandlerState::KeepMetrics { bytes } => ("KeepMetrics", bytes.clone()),
            HandlerState::Other { kind, bytes } => return (kind.to_string(), bytes.clone()),
        };
        (name.to_owned(), text)
    }
}

/// Returns the state of an adaptive interval. The library refuses a number that is negative or not finite, and an unknown
/// limit.
fn adaptive_interval(
    (starts, failures, durations, limit, _stopped, debt, _reading): (u16, u8, [f32; 5], u8, bool, u64, u64),
) -> Option<HandlerState> {
    let [observed, lost, save_duration, interval, life] = durations;
    let limits = [IntervalLimit::Start, IntervalLimit::Optimum, IntervalLimit::Overhead, IntervalLimit::Wear];
    let limit = limits.get(usize::from(limit))?.to_string();
    durations.iter().all(|number| *number >= 0.0 && number.is_finite()).then_some(HandlerState::AdaptiveInterval {
        starts,
        mean_time_between_failures: observed / (f32::from(failures) + 1.0),
        lost,
        save_duration,
        interval,
        limit,
        debt,
        remaining_life: (life > 0.0).then_some(life),
    })
}

/// Returns the part of the run that a profiler's state with this tag describes.
fn profiled_part(tag: u16) -> Option<&'static str> {
    match tag {
        1 => Some("fetch"),
        2 => Some("step"),
        3 => Some("other"),
        4 => Some("epoch"),
        _ => None,
    }
}

/// Returns the position of the engine as text.
pub fn describe_engine(record: &RunRecord<[u8]>) -> String {
    let engine = &record.engine;
    let length = match engine.epoch_length {
        0 => "?".to_owned(),
        length => length.to_string(),
    };
    let mut text = format!(
        "{}, epoch {}, iteration {} ({} of {length} in the epoch), phase {:?}",
        engine.run, engine.epoch, engine.iteration, engine.offset, engine.phase
    );
    if let Some(stop) = engine.stop {
        text += &format!(", stopped: {stop:?}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_decoded_and_undecodable_ones_are_shown_as_bytes() {
        let state = HandlerState::decode(HandlerKind::EARLY_STOPPING, 0, &[3, 0]);
        assert_eq!(state, HandlerState::EarlyStopping { counter: 3, best_score: None });
        let longer = HandlerState::decode(HandlerKind::EARLY_STOPPING, 0, &[3, 0, 7]);
        assert_eq!(longer, HandlerState::Other { kind: HandlerKind::EARLY_STOPPING, bytes: "030007".to_owned() });
        assert_eq!(
            HandlerState::decode(HandlerKind::KEEP_OUTPUT, 0, &[1, 2]),
            HandlerState::KeepOutput { bytes: "0102".to_owned() }
        );
        assert_eq!(
            HandlerState::decode(HandlerKind::KEEP_METRICS, 0, &[]),
            HandlerState::KeepMetrics { bytes: String::new() }
        );
        assert_eq!(
            HandlerState::decode(HandlerKind::user(72), 0, &[1]),
            HandlerState::Other { kind: HandlerKind::user(72), bytes: "01".to_owned() }
        );
        let plateau = HandlerState::decode(HandlerKind::REDUCE_ON_PLATEAU, 0, &[2, 3, 1, 0, 0, 0, 64, 0, 0, 0, 63]);
        assert_eq!(plateau, HandlerState::ReduceOnPlateau { bad: 2, cooldown: 3, best: Some(2.0), value: 0.5 });
        let text = "value 0.5, 2 metrics without improvement, best metric 2.0, cooldown 3";
        assert_eq!(plateau.describe(), ("ReduceOnPlateau".to_owned(), text.to_owned()));
        let infinite = HandlerState::decode(HandlerKind::REDUCE_ON_PLATEAU, 0, &[2, 3, 0, 0, 0, 128, 127]);
        assert!(matches!(infinite, HandlerState::Other { kind: HandlerKind::REDUCE_ON_PLATEAU, .. }));
        for (kind, bytes, text) in [
            (HandlerKind::RUNNING_AVERAGE, &[1, 0, 0, 0, 63][..], "average 0.5"),
            (HandlerKind::RUNNING_AVERAGE, &[0], "no value yet"),
            (HandlerKind::WEIGHT_AVERAGE, &[1, 2], "2 updates"),
            (HandlerKind::WEIGHT_AVERAGE, &[0], "no weights yet"),
            (HandlerKind::TIME_LIMIT, &[44, 1], "44 ticks elapsed, running"),
            (HandlerKind::EVERY_TICKS, &[9], "9 ticks since the last event"),
            (
                HandlerKind::SPIKE_GUARD,
                &[7, 1, 1, 0, 0, 0, 63, 1, 0, 0, 64, 63],
                "1 spike, 7 values in the mean, mean 0.5, last value 0.75",
            ),
            (HandlerKind::SPIKE_GUARD, &[0, 2, 0, 0], "2 spikes, 0 values in the mean, no value yet"),
            (HandlerKind::ROLL_BACK, &[2], "2 roll-backs"),
        ] {
            assert_eq!(HandlerState::decode(kind, 0, bytes).describe(), (kind.to_string(), text.to_owned()));
        }
        for invalid in [&[0, 2, 1, 0, 0, 0, 63, 0][..], &[3, 2, 0, 0], &[3, 2, 1, 0, 0, 128, 127, 1, 0, 0, 0, 63]] {
            let state = HandlerState::decode(HandlerKind::SPIKE_GUARD, 0, invalid);
            assert!(matches!(state, HandlerState::Other { kind: HandlerKind::SPIKE_GUARD, .. }));
        }
        let step = HandlerState::decode(HandlerKind::PROFILER, 2, &[3, 60, 10, 30, 120, 0, 1, 4]);
        assert_eq!(step.describe(), ("Profiler".to_owned(), "step: 3 times, 60 ticks, min 10, max 30".to_owned()));
        let interval = (3, 3, [400.0, 50.0, 10.0, 200.0, 9000.0], 3, false, 70, 900);
        let text = "saves every 200 ticks (wear budget), 3 starts, mean time between failures 100 ticks, 50 ticks lost, \
                    a save takes 10 ticks, wear debt 70 ticks, remaining flash life 9000 ticks";
        let decode = |state: (u16, u8, [f32; 5], u8, bool, u64, u64)| {
            let mut bytes = [0; 64];
            let bytes = postcard::to_slice(&state, &mut bytes).expect("a state has at most 45 bytes");
            HandlerState::decode(HandlerKind::ADAPTIVE_INTERVAL, 0, bytes)
        };
        assert_eq!(decode(interval).describe(), ("AdaptiveInterval".to_owned(), text.to_owned()));
        for (duration, limit) in [(f32::NAN, 3), (-1.0, 3), (10.0, 4)] {
            let state = decode((3, 3, [400.0, 50.0, duration, 200.0, 0.0], limit, false, 70, 900));
            assert!(matches!(state, HandlerState::Other { kind: HandlerKind::ADAPTIVE_INTERVAL, .. }));
        }
        let unknown = HandlerState::decode(HandlerKind::PROFILER, 9, &[3, 60, 10, 30, 120, 0, 0]);
        assert!(matches!(unknown, HandlerState::Other { kind: HandlerKind::PROFILER, .. }));
        let pending = HandlerState::decode(HandlerKind::MODEL_CHECKPOINT, 0, &[4, 1, 9, 0]);
        let save = PendingSave { step: 9, score: None };
        assert_eq!(pending, HandlerState::ModelCheckpoint { calls: 4, pending: Some(save) });
    }
}
