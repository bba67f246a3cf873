//! Values that several kinds of traces contain: numbers that JSON cannot represent, and names of events.

use super::{Failure, expect_equal};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use training_monitor::Event;
use training_monitor::event::{Counters, EventFilter};

/// A number in a trace: an integer, a float, or one of the strings "nan", "inf" and "-inf".
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number(pub f64);

impl Number {
    /// The number as f32. Every score of a trace is an f32 value, so the conversion is exact.
    #[allow(clippy::cast_possible_truncation, reason = "the value of the f64 is that of an f32")]
    pub fn as_f32(self) -> f32 {
        self.0 as f32
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `Value` handles all representations of numbers. Another crate of the build may enable the feature
        // `arbitrary_precision` of serde_json, which represents numbers as text.
        let number = match Value::deserialize(deserializer)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => match text.as_str() {
                "nan" => Some(f64::NAN),
                "inf" => Some(f64::INFINITY),
                "-inf" => Some(f64::NEG_INFINITY),
                _ => None,
            },
            _ => None,
        };
        number.map(Number).ok_or_else(|| D::Error::custom("not a number, \"nan\", \"inf\" or \"-inf\""))
    }
}

/// Compares the f64 values of another implementation with the f32 values of the library. A value passes if its relative
/// difference is at most 10⁻⁵, or if its difference is at most 10⁻⁶ times the largest absolute value of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// The largest finite absolute value among the inputs and results of the trace.
    largest: f64,
}

impl Tolerance {
    /// Creates the tolerance of a trace with these inputs and results. NaN and infinities have no influence.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        Tolerance { largest: finite.fold(0.0, |largest, value| value.abs().max(largest)) }
    }

    /// Compares a recorded value with the value of the library. NaN and infinities must be equal.
    pub fn expect_near(self, index: usize, field: &'static str, expected: f64, found: f32) -> Result<(), Failure> {
        let found = f64::from(found);
        let difference = (expected - found).abs();
        let is_near = difference <= 1e-5 * expected.abs() || difference <= 1e-6 * self.largest;
        if expected.is_finite() && is_near || expected.is_nan() && found.is_nan() {
            return Ok(());
        }
        expect_equal(index, field, &expected, &found)
    }
}

/// An event, deserialized from its name in a trace.
#[derive(Clone, Copy, Debug)]
pub struct NamedEvent(pub Event);

/// The events of the traces, with their names.
const EVENTS: [(&str, Event); 10] = [
    ("started", Event::Started),
    ("completed", Event::Completed),
    ("epoch_started", Event::EpochStarted),
    ("epoch_completed", Event::EpochCompleted),
    ("iteration_started", Event::IterationStarted),
    ("iteration_completed", Event::IterationCompleted),
    ("terminate", Event::Terminate),
    ("terminate_single_epoch", Event::TerminateSingleEpoch),
    ("get_batch_started", Event::GetBatchStarted),
    ("get_batch_completed", Event::GetBatchCompleted),
];

/// Returns the name of `event` in traces; `None` if traces do not contain it.
pub fn name_of(event: Event) -> Option<&'static str> {
    EVENTS.iter().find(|(_, known)| *known == event).map(|(name, _)| *name)
}

impl<'de> Deserialize<'de> for NamedEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = EVENTS.iter().find(|(known, _)| *known == name);
        known.map(|(_, event)| NamedEvent(*event)).ok_or_else(|| D::Error::custom(format!("unknown event {name:?}")))
    }
}

/// An event filter that matches one event. `None` matches no event.
#[derive(Clone, Copy, Debug)]
pub struct OptionalEvent(pub Option<NamedEvent>);

impl EventFilter for OptionalEvent {
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        self.0.is_some_and(|NamedEvent(mut filter)| filter.matches(event, counters))
    }
}
