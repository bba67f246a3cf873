//! Compares the event filters of the library with their model. The filters are random combinations, evaluated for
//! random values.

use super::decode;
use crate::models::filters::Filter;
use crate::models::number::Counter;
use arbitrary::Arbitrary;
use training_monitor::event::{Counters, Once};
use training_monitor::{Event, EventFilter, UserEvent};

#[derive(Arbitrary, Debug)]
struct FilterInput {
    is_user_event: bool,
    first: Filter,
    second: Option<Filter>,
    values: Vec<Counter>,
}

/// Builds the filter of the library that corresponds to a filter of the model.
fn build(event: Event, filter: &Filter) -> Option<Box<dyn EventFilter>> {
    Some(match filter {
        Filter::All => Box::new(event),
        Filter::Every(n) => Box::new(event.every(n.0).ok()?),
        Filter::Once(n) => Box::<Once<Event>>::new(event.once(n.0).ok()?),
        Filter::Window { every, after, before } => {
            let mut filtered = event.every(every.map_or(1, |every| every.0)).ok()?;
            if let Some(after) = after {
                filtered = filtered.after(after.0);
            }
            if let Some(before) = before {
                filtered = filtered.before(before.0);
            }
            Box::new(filtered)
        }
    })
}

/// A wrapper that implements the filter trait for a boxed filter.
struct Boxed(Box<dyn EventFilter>);

impl EventFilter for Boxed {
    fn matches(&mut self, event: Event, counters: &Counters) -> bool {
        self.0.matches(event, counters)
    }
}

/// The fuzz target that compares the event filters of the library with a simple model.
pub fn filters(data: &[u8]) {
    let Some(input) = decode::<FilterInput>(data) else { return };
    let event =
        |value| if input.is_user_event { Event::User(UserEvent { id: 7, value }) } else { Event::IterationCompleted };
    let filters = [Some(&input.first), input.second.as_ref()];
    for filter in filters.into_iter().flatten() {
        assert_eq!(build(event(0), filter).is_some(), filter.is_valid(), "{input:?}");
    }
    let Some(first) = build(event(0), &input.first) else { return };
    let mut combined: Box<dyn EventFilter> = match &input.second {
        None => first,
        Some(second) => match build(event(0), second) {
            Some(second) => Box::new(Boxed(first).or(Boxed(second))),
            None => return,
        },
    };
    for Counter(value) in &input.values {
        let counters = Counters { epoch: value.wrapping_add(1), iteration: *value };
        let expected = filters.iter().flatten().any(|filter| filter.matches(*value));
        assert_eq!(combined.matches(event(*value), &counters), expected, "{value} in {input:?}");
        assert!(!combined.matches(Event::EpochCompleted, &counters), "{input:?}");
        assert!(!combined.matches(Event::User(UserEvent { id: 8, value: *value }), &counters), "{input:?}");
    }
}
