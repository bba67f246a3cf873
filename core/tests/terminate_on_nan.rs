//! Tests of `TerminateOnNan` with a schedule, which spreads the check of all weights over several calls. The tests
//! check that a NaN is found and located, and that the state is restored.

use training_monitor::ConfigError;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::terminate_on_nan::NonFinite;
use training_monitor::run_record::HandlerKind;
use training_monitor::{Engine, State, StopReason, TerminateOnNan};

/// With a schedule of `every` calls, each call checks one part of the slice. The guard must find a NaN within `every`
/// calls, no matter with which part it starts.
#[test]
fn the_stripes_of_one_period_cover_the_slice() {
    for every in 1..=12u32 {
        for len in 0..=40usize {
            let guard = TerminateOnNan::new().with_schedule(every).unwrap();
            for place in 0..len {
                let mut values = vec![0.0f32; len];
                values[place] = f32::NAN;
                for phase in 0..every {
                    let mut guard = guard;
                    for _ in 0..phase {
                        guard.check_stripe(&[]);
                    }
                    let hits = (0..every).filter(|_| guard.check_stripe(&values)).count();
                    assert_eq!(hits, 1, "every {every}, {len} elements, NaN at {place}, phase {phase}");
                }
            }
            let mut guard = guard;
            assert!(!(0..every * 2).any(|_| guard.check_stripe(&vec![f32::MAX; len])));
        }
    }
}

#[test]
fn a_non_finite_weight_is_found_within_one_period_and_located() {
    let sizes = [1usize, 7, 0, 30];
    for every in 1..=9u32 {
        for (slice, size) in sizes.iter().enumerate() {
            for index in 0..*size {
                let mut model: Vec<Vec<f32>> = sizes.iter().map(|size| vec![1.0; *size]).collect();
                model[slice][index] = f32::NEG_INFINITY;
                let mut guard = TerminateOnNan::new()
                    .with_schedule(every)
                    .unwrap()
                    .attach_slices(IterationCompleted, |model: &Vec<Vec<f32>>, check| {
                        model.iter().for_each(|slice| check(slice))
                    });
                let mut engine = Engine::new(1).with_epoch_length(100);
                let step = |_: &mut Vec<Vec<f32>>, _: u32, _: &mut State<()>| ();
                let outcome = engine.run(&mut model, 0..100, &mut guard, step).unwrap();
                assert_eq!(outcome.reason, StopReason::NonFinite);
                assert!(outcome.iteration <= every, "found in iteration {}, every {every}", outcome.iteration);
                assert_eq!(guard.first_non_finite(), Some(NonFinite { slice: slice as u32, index: index as u32 }));
            }
        }
    }
}

#[test]
fn a_schedule_of_zero_is_rejected() {
    assert_eq!(TerminateOnNan::new().with_schedule(0).err(), Some(ConfigError::CheckSchedule));
    assert!(TerminateOnNan::new().with_schedule(1).is_ok());
}

#[test]
fn terminate_on_nan_restores_its_schedule_from_the_record() {
    let guard = || TerminateOnNan::new().with_schedule(3).unwrap().attach(IterationCompleted, |_, state| &state.output);
    let mut handlers = guard();
    let mut engine = Engine::new(1).with_epoch_length(2);
    engine.run(&mut (), 0..2, &mut handlers, |(), batch, _| batch).unwrap();
    let record = engine.record::<(), _>(&mut handlers).unwrap();
    assert_eq!(record.handlers().map(|(kind, _, _)| kind).collect::<Vec<_>>(), [HandlerKind::TERMINATE_ON_NAN]);
    let mut restored = guard();
    Engine::<u32>::new(1).restore::<(), _>(&record, &mut restored).unwrap();
    assert_eq!(restored.terminate_on_nan, handlers.terminate_on_nan);
    assert_ne!(restored.terminate_on_nan, guard().terminate_on_nan);
}

/// A guard over slices restores its position in the schedule from the run record. If the new program has a shorter
/// schedule, the position is limited to the shorter length.
#[test]
fn a_slice_guard_restores_its_phase() {
    let guard = |every: u32| {
        let guard = TerminateOnNan::default().with_schedule(every).unwrap();
        guard.attach_slices(IterationCompleted, |model: &[f32; 2], check| check(model))
    };
    let mut original = guard(3);
    let mut engine = Engine::<u32>::new(1).with_epoch_length(2);
    engine.run(&mut [1.0, 2.0], 0..2, &mut original, |_, batch, _| batch).unwrap();
    let record = engine.record::<[f32; 2], _>(&mut original).unwrap();
    let restored = |every| {
        let mut resumed = guard(every);
        Engine::<u32>::new(1).restore::<[f32; 2], _>(&record, &mut resumed).unwrap();
        resumed.terminate_on_nan
    };
    assert_eq!(restored(3), original.terminate_on_nan);
    // The saved run has done two of three calls of its schedule. With a schedule of two calls, the position is limited
    // to one, so the next call checks the second half.
    assert!(restored(2).check_stripe(&[0.0, f32::NAN]));
    assert!(!restored(2).check_stripe(&[f32::NAN, 0.0]));
    assert!(restored(1).check_stripe(&[0.0, f32::NAN]));
}
