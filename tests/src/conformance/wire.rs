//! What the kinds of traces have in common on the wire: numbers that JSON does not know, and the names of events.
//!
//! Only reads; what a number or an event means is up to the replay.

use serde::de::{Deserialize, Deserializer, Error};
use serde_json::Value;
use training_monitor::Event;
use training_monitor::event::{Counters, When};

/// A number as Python wrote it: an integer, a float, or one of the strings "nan", "inf", "-inf".
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Number(pub f64);

impl Number {
    /// As the library takes it. Every score of a trace is an f32 value, so nothing is lost.
    #[allow(clippy::cast_possible_truncation, reason = "the value is an f32's, written as an f64")]
    pub fn narrow(self) -> f32 {
        self.0 as f32
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By way of a JSON value: in a build in which some other crate has numbers kept as text, only that knows them all.
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

/// An event by its name in a trace.
#[derive(Clone, Copy, Debug)]
pub struct Named(pub Event);

/// The events that traces speak of, and what they call them.
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

/// What a trace calls `event`; `None` for one that is not recorded.
pub fn name_of(event: Event) -> Option<&'static str> {
    EVENTS.iter().find(|(_, known)| *known == event).map(|(name, _)| *name)
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = EVENTS.iter().find(|(known, _)| *known == name);
        known.map(|(_, event)| Named(*event)).ok_or_else(|| D::Error::custom(format!("unknown event {name:?}")))
    }
}

/// An event that may be left out: `null` never fires.
#[derive(Clone, Copy, Debug)]
pub struct Maybe(pub Option<Named>);

impl When for Maybe {
    fn fires(&mut self, event: Event, at: &Counters) -> bool {
        self.0.is_some_and(|Named(mut mine)| mine.fires(event, at))
    }
}
