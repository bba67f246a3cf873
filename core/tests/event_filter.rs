//! Tests of the event filters `every`, `once`, `before`, `after`, `filter` and `or`, alone and combined.

use training_monitor::ConfigError;
use training_monitor::EventFilter;
use training_monitor::event::{
    Any, Counters, EpochCompleted, Event, IterationCompleted, IterationStarted, Never, Started, User, UserEvent,
};

const LAST: u32 = 40;

/// Returns the iterations from 0 to `LAST` in which the filter matches the event `IterationCompleted`.
fn iterations(mut filter: impl EventFilter) -> Vec<u32> {
    let matches =
        |iteration: &u32| filter.matches(Event::IterationCompleted, &Counters { epoch: 1, iteration: *iteration });
    (0..=LAST).filter(matches).collect()
}

fn multiples(n: u32) -> Vec<u32> {
    (0..=LAST).filter(|value| value % n == 0).collect()
}

#[test]
fn every_matches_the_multiples() -> Result<(), ConfigError> {
    for n in 1..=LAST + 1 {
        assert_eq!(iterations(IterationCompleted.every(n)?), multiples(n));
        assert_eq!(iterations(Event::IterationCompleted.every(n)?), multiples(n));
    }
    Ok(())
}

#[test]
fn once_matches_one_value() -> Result<(), ConfigError> {
    for n in 1..=LAST {
        assert_eq!(iterations(IterationCompleted.once(n)?), [n]);
    }
    assert_eq!(iterations(IterationCompleted.once(3)?.or(IterationCompleted.once(7)?)), [3, 7]);
    Ok(())
}

#[test]
fn after_and_before_are_exclusive_bounds() {
    assert_eq!(iterations(IterationCompleted.after(3).before(7)), [4, 5, 6]);
    assert_eq!(iterations(IterationCompleted.before(7).after(3)), [4, 5, 6]);
    assert_eq!(iterations(IterationCompleted.before(3)), [1, 2]);
    assert_eq!(iterations(IterationCompleted.after(38)), [39, 40]);
    assert_eq!(iterations(IterationCompleted.after(3).before(4)), []);
    assert_eq!(iterations(IterationCompleted.after(7).before(3)), []);
    assert_eq!(iterations(IterationCompleted.after(u32::MAX)), []);
    assert_eq!(iterations(IterationCompleted.before(0)), []);
}

/// In a filter with `after` or `before`, `every` counts from the first value inside these bounds. For example,
/// `every(3)` matches 3, 6 and 9, but `every(3).after(0)` matches 1, 4 and 7.
#[test]
fn every_starts_at_the_first_value_of_the_window() -> Result<(), ConfigError> {
    assert_eq!(iterations(IterationCompleted.every(3)?.before(10)), [1, 4, 7]);
    assert_eq!(iterations(IterationCompleted.every(3)?.after(0).before(9)), [1, 4, 7]);
    for every in 1..6 {
        for after in 0..8 {
            for before in 0..LAST {
                let inside = |v: &u32| after < *v && *v < before && (v - after - 1).is_multiple_of(every);
                let expected: Vec<u32> = (0..=LAST).filter(inside).collect();
                assert_eq!(iterations(IterationCompleted.every(every)?.after(after).before(before)), expected);
                assert_eq!(iterations(IterationCompleted.after(after).before(before).every(every)?), expected);
            }
        }
    }
    Ok(())
}

#[test]
fn zero_is_rejected() {
    assert_eq!(IterationCompleted.every(0).err(), Some(ConfigError::Occurrence));
    assert_eq!(IterationCompleted.once(0).err(), Some(ConfigError::Occurrence));
    assert_eq!(IterationCompleted.after(1).every(0).err(), Some(ConfigError::Occurrence));
    assert!(ConfigError::Occurrence.to_string().contains("at least 1"));
}

#[test]
fn a_filter_does_not_match_other_events() {
    let counters = Counters { epoch: 6, iteration: 6 };
    let mut third = IterationCompleted.every(3).expect("not 0");
    assert!(third.matches(Event::IterationCompleted, &counters));
    for other in [Event::IterationStarted, Event::EpochCompleted, Event::User(UserEvent { id: 0, value: 6 })] {
        assert!(!third.matches(other, &counters), "{other:?}");
    }
    assert!(Any.matches(Event::SavedCheckpoint, &counters));
    assert!(!Never.matches(Event::SavedCheckpoint, &counters));
}

#[test]
fn the_value_of_an_event_is_its_epoch_its_iteration_or_its_user_value() {
    let counters = Counters { epoch: 2, iteration: 9 };
    let user = Event::User(UserEvent { id: 4, value: 77 });
    for (event, value) in [
        (Event::Started, 2),
        (Event::EpochStarted, 2),
        (Event::GetBatchStarted, 9),
        (Event::GetBatchCompleted, 9),
        (Event::IterationStarted, 9),
        (Event::IterationCompleted, 9),
        (Event::EpochCompleted, 2),
        (Event::TerminateSingleEpoch, 2),
        (Event::Terminate, 2),
        (Event::Completed, 2),
        (user, 77),
    ] {
        assert_eq!(event.value(&counters), value, "{event:?}");
        assert!(event.once(value).expect("not 0").matches(event, &counters), "{event:?}");
    }
    // As in Ignite, the epoch is 0 when a new run starts, so this filter for epoch 1 does not match.
    assert!(!Started.once(1).expect("not 0").matches(Event::Started, &Counters::default()));
}

#[test]
fn a_user_event_is_matched_by_its_id() {
    let counters = Counters::default();
    let fired = Event::User(UserEvent { id: 4, value: 6 });
    assert!(User(4).matches(fired, &counters) && !User(5).matches(fired, &counters));
    // An `Event::User` value that is used as a filter compares only the id, not the value.
    assert!(Event::User(UserEvent { id: 4, value: 0 }).matches(fired, &counters));
    assert!(User(4).every(3).expect("not 0").matches(fired, &counters));
    assert!(!User(4).every(4).expect("not 0").matches(fired, &counters));
}

#[test]
fn a_custom_filter_is_called_for_its_event_only_and_can_keep_state() {
    let mut calls = 0;
    let mut second = IterationCompleted.filter(|_| {
        calls += 1;
        calls % 2 == 0
    });
    let counters = Counters { epoch: 1, iteration: 1 };
    assert!(!second.matches(Event::IterationStarted, &counters));
    assert!(!second.matches(Event::IterationCompleted, &counters));
    assert!(!second.matches(Event::EpochCompleted, &counters));
    assert!(second.matches(Event::IterationCompleted, &counters));
    assert_eq!(calls, 2);
}

#[test]
fn or_matches_either_filter_and_evaluates_both() {
    let counters = Counters { epoch: 3, iteration: 9 };
    let mut either = EpochCompleted.or(IterationStarted);
    assert!(either.matches(Event::EpochCompleted, &counters) && either.matches(Event::IterationStarted, &counters));
    assert!(!either.matches(Event::IterationCompleted, &counters));
    let mut calls = 0;
    let mut both = Any.or(IterationCompleted.filter(|_| {
        calls += 1;
        false
    }));
    assert!(both.matches(Event::IterationCompleted, &counters));
    assert_eq!(calls, 1);
}
