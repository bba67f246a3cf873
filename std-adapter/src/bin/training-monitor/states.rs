//! The run's record for people: where the engine stands, and the state of each handler.
//!
//! The layouts are the tables of the format's own documentation, under "Run". A state of a kind that is not known, or that cannot
//! be read, is shown as bytes.

use serde::Serialize;
use training_monitor::record::{Record, kind};

/// The state of a handler.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "handler")]
pub enum State {
    EarlyStopping {
        counter: u32,
        best_score: Option<f32>,
    },
    Timer {
        total_ticks: u64,
        steps: u32,
        running: bool,
    },
    ModelCheckpoint {
        calls: u32,
        /// Decided and not yet written: step and score.
        pending: Option<(u32, Option<f32>)>,
    },
    TerminateOnNan {
        since_last_look: u32,
    },
    /// The user's type: its postcard bytes, in hexadecimal digits.
    KeepOutput {
        bytes: String,
    },
    KeepMetrics {
        bytes: String,
    },
    Other {
        kind: u8,
        bytes: String,
    },
}

impl State {
    fn read(kind: u8, bytes: &[u8]) -> State {
        fn all<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
            postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
        }
        let known = match kind {
            kind::EARLY_STOPPING => {
                all(bytes).map(|(counter, best_score)| State::EarlyStopping { counter, best_score })
            }
            kind::TIMER => all(bytes).map(|(total_ticks, steps, running)| State::Timer { total_ticks, steps, running }),
            kind::MODEL_CHECKPOINT => all(bytes).map(|(calls, pending)| State::ModelCheckpoint { calls, pending }),
            kind::TERMINATE_ON_NAN => all(bytes).map(|since_last_look| State::TerminateOnNan { since_last_look }),
            kind::OUTPUT => Some(State::KeepOutput { bytes: hex(bytes) }),
            kind::METRICS => Some(State::KeepMetrics { bytes: hex(bytes) }),
            _ => None,
        };
        known.unwrap_or_else(|| State::Other { kind, bytes: hex(bytes) })
    }

    /// All of a record, in order.
    pub fn all(record: &Record) -> Vec<State> {
        record.handlers().map(|(kind, bytes)| State::read(kind, bytes)).collect()
    }

    /// The handler, and its state in words.
    pub fn words(&self) -> (String, String) {
        match self {
            State::EarlyStopping { counter, best_score } => {
                let best = best_score.map_or("no score yet".to_owned(), |best| format!("best score {best}"));
                ("EarlyStopping".to_owned(), format!("{counter} without improvement, {best}"))
            }
            State::Timer { total_ticks, steps, running } => {
                let running = if *running { "running" } else { "paused" };
                ("Timer".to_owned(), format!("{total_ticks} ticks over {steps} steps, {running}"))
            }
            State::ModelCheckpoint { calls, pending } => {
                let pending = match pending {
                    Some((step, Some(score))) => format!(", step {step} (score {score}) being saved"),
                    Some((step, None)) => format!(", step {step} being saved"),
                    None => String::new(),
                };
                ("ModelCheckpoint".to_owned(), format!("{calls} calls{pending}"))
            }
            State::TerminateOnNan { since_last_look } => {
                ("TerminateOnNan".to_owned(), format!("{since_last_look} calls since it looked last"))
            }
            State::KeepOutput { bytes } => ("KeepOutput".to_owned(), bytes.clone()),
            State::KeepMetrics { bytes } => ("KeepMetrics".to_owned(), bytes.clone()),
            State::Other { kind, bytes } => (format!("handler of kind {kind}"), bytes.clone()),
        }
    }
}

/// Where the engine stands, in words.
pub fn engine(record: &Record) -> String {
    let engine = &record.engine;
    let length = match engine.epoch_length {
        0 => "?".to_owned(),
        length => length.to_string(),
    };
    let mut text = format!(
        "epoch {}, iteration {} ({} of {length} in the epoch), after {:?}",
        engine.epoch, engine.iteration, engine.offset, engine.after
    );
    if let Some(stop) = engine.stop {
        text += &format!(", ending: {stop:?}");
    }
    text
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// And back.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_cannot_be_read_are_shown_as_they_are() {
        assert_eq!(State::read(kind::EARLY_STOPPING, &[3, 0]), State::EarlyStopping { counter: 3, best_score: None });
        let longer = State::read(kind::EARLY_STOPPING, &[3, 0, 7]);
        assert_eq!(longer, State::Other { kind: kind::EARLY_STOPPING, bytes: "030007".to_owned() });
        assert_eq!(State::read(kind::OUTPUT, &[1, 2]), State::KeepOutput { bytes: "0102".to_owned() });
        assert_eq!(State::read(kind::METRICS, &[]), State::KeepMetrics { bytes: String::new() });
        assert_eq!(State::read(200, &[1]), State::Other { kind: 200, bytes: "01".to_owned() });
    }

    #[test]
    fn hexadecimal_digits_there_and_back() {
        assert_eq!(unhex(&hex(&[0, 0x7F, 0xFF])), Some(vec![0, 0x7F, 0xFF]));
        assert_eq!(unhex("abc"), None);
        assert_eq!(unhex("zz"), None);
    }
}
