//! The filters of events, which have no state to be saved, against their model: composed at random, asked about any event.

use super::input;
use crate::models::filters::Filter;
use crate::models::number::Counter;
use arbitrary::Arbitrary;
use training_monitor::event::{Counters, Once};
use training_monitor::{Event, UserEvent, When};

#[derive(Arbitrary, Debug)]
struct FilterInput {
    user: bool,
    first: Filter,
    second: Option<Filter>,
    values: Vec<Counter>,
}

/// A filter of the library's for one of the model's.
fn build(event: Event, filter: &Filter) -> Option<Box<dyn When>> {
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

/// One filter as another's.
struct Boxed(Box<dyn When>);

impl When for Boxed {
    fn fires(&mut self, event: Event, at: &Counters) -> bool {
        self.0.fires(event, at)
    }
}

/// Event filters.
pub fn filters(data: &[u8]) {
    let Some(input) = input::<FilterInput>(data) else { return };
    let meant = |value| if input.user { Event::User(UserEvent { id: 7, value }) } else { Event::IterationCompleted };
    let both = [Some(&input.first), input.second.as_ref()];
    for filter in both.into_iter().flatten() {
        assert_eq!(build(meant(0), filter).is_some(), filter.is_valid(), "{input:?}");
    }
    let Some(first) = build(meant(0), &input.first) else { return };
    let mut when: Box<dyn When> = match &input.second {
        None => first,
        Some(second) => match build(meant(0), second) {
            Some(second) => Box::new(Boxed(first).or(Boxed(second))),
            None => return,
        },
    };
    for Counter(value) in &input.values {
        let at = Counters { epoch: value.wrapping_add(1), iteration: *value };
        let expected = both.iter().flatten().any(|filter| filter.lets(*value));
        assert_eq!(when.fires(meant(*value), &at), expected, "{value} in {input:?}");
        assert!(!when.fires(Event::EpochCompleted, &at), "{input:?}");
        assert!(!when.fires(Event::User(UserEvent { id: 8, value: *value }), &at), "{input:?}");
    }
}
