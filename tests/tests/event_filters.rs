//! Event filters against their definition: `every`, `once`, `before`, `after`, `filter`, `or`, alone and together, over
//! every value that matters.

use training_monitor::When;
use training_monitor::event::{
    Any, Counters, EpochCompleted, Event, FilterError, IterationCompleted, IterationStarted, Never, Started, User,
    UserEvent,
};

const LAST: u32 = 40;

/// The iterations at which `when` lets `IterationCompleted` through.
fn iterations(mut when: impl When) -> Vec<u32> {
    let fires = |iteration: &u32| when.fires(Event::IterationCompleted, &Counters { epoch: 1, iteration: *iteration });
    (0..=LAST).filter(fires).collect()
}

fn multiples(of: u32) -> Vec<u32> {
    (0..=LAST).filter(|value| value % of == 0).collect()
}

#[test]
fn every_counts_from_the_beginning() -> Result<(), FilterError> {
    for n in 1..=LAST + 1 {
        assert_eq!(iterations(IterationCompleted.every(n)?), multiples(n));
        assert_eq!(iterations(Event::IterationCompleted.every(n)?), multiples(n));
    }
    Ok(())
}

#[test]
fn once_is_one_value() -> Result<(), FilterError> {
    for n in 1..=LAST {
        assert_eq!(iterations(IterationCompleted.once(n)?), [n]);
    }
    assert_eq!(iterations(IterationCompleted.once(3)?.or(IterationCompleted.once(7)?)), [3, 7]);
    Ok(())
}

#[test]
fn both_bounds_are_exclusive() {
    assert_eq!(iterations(IterationCompleted.after(3).before(7)), [4, 5, 6]);
    assert_eq!(iterations(IterationCompleted.before(7).after(3)), [4, 5, 6]);
    assert_eq!(iterations(IterationCompleted.before(3)), [1, 2]);
    assert_eq!(iterations(IterationCompleted.after(38)), [39, 40]);
    assert_eq!(iterations(IterationCompleted.after(3).before(4)), []);
    assert_eq!(iterations(IterationCompleted.after(7).before(3)), []);
    assert_eq!(iterations(IterationCompleted.after(u32::MAX)), []);
    assert_eq!(iterations(IterationCompleted.before(0)), []);
}

/// In a window the first time is the first inside: `every(3)` is 3, 6, 9, `every(3).after(0)` is 1, 4, 7.
#[test]
fn the_phase_of_every_begins_with_the_window() -> Result<(), FilterError> {
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
fn zero_is_refused() {
    assert_eq!(IterationCompleted.every(0).err(), Some(FilterError::Zero));
    assert_eq!(IterationCompleted.once(0).err(), Some(FilterError::Zero));
    assert_eq!(IterationCompleted.after(1).every(0).err(), Some(FilterError::Zero));
    assert!(FilterError::Zero.to_string().contains("at least 1"));
}

#[test]
fn other_events_are_not_meant() {
    let at = Counters { epoch: 6, iteration: 6 };
    let mut third = IterationCompleted.every(3).expect("not 0");
    assert!(third.fires(Event::IterationCompleted, &at));
    for other in [Event::IterationStarted, Event::EpochCompleted, Event::User(UserEvent { id: 0, value: 6 })] {
        assert!(!third.fires(other, &at), "{other:?}");
    }
    assert!(Any.fires(Event::SavedCheckpoint, &at));
    assert!(!Never.fires(Event::SavedCheckpoint, &at));
}

#[test]
fn each_kind_of_event_has_its_own_value() {
    let at = Counters { epoch: 2, iteration: 9 };
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
        assert_eq!(event.value(&at), value, "{event:?}");
        assert!(event.once(value).expect("not 0").fires(event, &at), "{event:?}");
    }
    // As in Ignite: when a fresh run starts there has been no epoch.
    assert!(!Started.once(1).expect("not 0").fires(Event::Started, &Counters::default()));
}

#[test]
fn a_user_event_is_meant_by_its_number() {
    let at = Counters::default();
    let fired = Event::User(UserEvent { id: 4, value: 6 });
    assert!(User(4).fires(fired, &at) && !User(5).fires(fired, &at));
    // An event chosen at run time: whatever its value.
    assert!(Event::User(UserEvent { id: 4, value: 0 }).fires(fired, &at));
    assert!(User(4).every(3).expect("not 0").fires(fired, &at));
    assert!(!User(4).every(4).expect("not 0").fires(fired, &at));
}

#[test]
fn a_filter_of_ones_own_sees_only_its_event_and_keeps_count() {
    let mut asked = 0;
    let mut second = IterationCompleted.filter(|_| {
        asked += 1;
        asked % 2 == 0
    });
    let at = Counters { epoch: 1, iteration: 1 };
    assert!(!second.fires(Event::IterationStarted, &at));
    assert!(!second.fires(Event::IterationCompleted, &at));
    assert!(!second.fires(Event::EpochCompleted, &at));
    assert!(second.fires(Event::IterationCompleted, &at));
    assert_eq!(asked, 2);
}

#[test]
fn or_is_either_and_asks_both() {
    let at = Counters { epoch: 3, iteration: 9 };
    let mut either = EpochCompleted.or(IterationStarted);
    assert!(either.fires(Event::EpochCompleted, &at) && either.fires(Event::IterationStarted, &at));
    assert!(!either.fires(Event::IterationCompleted, &at));
    let mut asked = 0;
    let mut both = Any.or(IterationCompleted.filter(|_| {
        asked += 1;
        false
    }));
    assert!(both.fires(Event::IterationCompleted, &at));
    assert_eq!(asked, 1);
}
