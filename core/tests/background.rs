//! Tests of saves in the background: they save the same checkpoints as blocking saves, and lose nothing at power failures.

#[path = "common/background_run.rs"]
mod background_run;
#[path = "common/store_access.rs"]
mod store_access;

use background_run::{Policy, SavedAt, Saves, Training, session};
use embedded_io::ErrorKind;
use store_access::{list_checkpoints, read_stream};
use training_monitor::checkpoint::{EncodeError, inspect};
use training_monitor::event::{Completed, IterationCompleted};
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, CopyTooSmall, OnError};
use training_monitor::store::flash::Slots;
use training_monitor::{Engine, ModelCheckpoint, RunError};
use training_monitor_std::test_support::driver::{Access, FaultyFlash, FlashFault};
use training_monitor_std::test_support::flash::{Flash, Interruption};

/// Long intervals, so that each save ends before the next one starts, and short intervals, so that the next decision
/// completes each save.
const POLICIES: [Policy; 4] = [Policy::Every(15), Policy::Every(3), Policy::Best(0), Policy::Best(20)];

#[test]
fn the_flash_operations_and_the_checkpoints_are_those_of_blocking_saves() {
    for policy in POLICIES {
        let mut blocking = Flash::<8, 256>::new(6 * 256, 0xFF);
        blocking.log = Some(Vec::new());
        let expected = session(&mut blocking, policy, Saves::Blocking, &mut 0).unwrap();
        for piece_len in [1, 64, 1000] {
            let mut flash = Flash::<8, 256>::new(6 * 256, 0xFF);
            flash.log = Some(Vec::new());
            let result = session(&mut flash, policy, Saves::Background(piece_len), &mut 0).unwrap();
            assert_eq!(flash.log, blocking.log, "{policy:?}, pieces of {piece_len} bytes");
            assert!(flash.image() == blocking.image(), "{policy:?}, pieces of {piece_len} bytes");
            assert_eq!(flash.violations(), []);
            assert_eq!(result.streams, expected.streams);
            assert_eq!(result.training, expected.training);
            assert_eq!(result.saved_at.len(), expected.saved_at.len());
            let is_late = result.saved_at.iter().zip(&expected.saved_at).all(|(late, decided)| late > decided);
            assert!(is_late || result.saved_at.last() == Some(&80), "{:?}", result.saved_at);
        }
    }
}

/// Interrupts the run at every flash operation, with every effect of a power failure. The resumed run must start
/// from the last acknowledged checkpoint or a newer one, and must have the result of the uninterrupted run.
fn interrupt_every_operation<const W: usize, const E: usize>(policy: Policy, erased: u8) {
    let saves = Saves::Background(64);
    let new_flash = || Flash::<W, E>::new(6 * E, erased);
    let mut flash = new_flash();
    flash.log = Some(Vec::new());
    let expected = session(&mut flash, policy, saves, &mut 0).unwrap();
    let operations = flash.log.take().unwrap();
    assert!(operations.iter().filter(|is_erase| **is_erase).count() >= 6, "the run must save several times");

    for (operation, is_erase) in operations.iter().enumerate() {
        for (turn, interruption) in Interruption::all(*is_erase, W).iter().enumerate() {
            let mut flash = new_flash();
            flash.cut_power_at(operation as u64, *interruption, operation as u64);
            let (mut sessions, mut acknowledged) = (0, 0);
            let result = loop {
                sessions += 1;
                let result = session(&mut flash, policy, saves, &mut acknowledged);
                if !flash.is_off() {
                    break result.unwrap();
                }
                assert!(matches!(result, Err(RunError::SaveFailed(EncodeError::Io(_)))), "{result:?}");
                flash.power_on();
                // In every third case, the power fails a second time, soon after the restart.
                if turn % 3 == 2 && sessions == 1 {
                    flash.cut_power_at((operation % 40) as u64, *interruption, 3);
                }
            };
            let case = format!("power failure at operation {operation}: {interruption}");
            assert_eq!(result.training, expected.training, "{case}");
            assert_eq!(result.streams, expected.streams, "{case}");
            assert_eq!(result.outcome, expected.outcome, "{case}");
            assert_eq!(flash.violations(), [], "{case}");
        }
    }
}

#[test]
fn an_interrupted_run_that_saves_periodically_ends_with_the_same_bits() {
    interrupt_every_operation::<16, 256>(Policy::Every(15), 0xFF);
}

#[test]
fn an_interrupted_run_whose_saves_overlap_ends_with_the_same_bits() {
    interrupt_every_operation::<32, 256>(Policy::Best(4), 0x00);
}

/// A run with one save at iteration 10 and an observer, whose flash fails as `decide` says. Returns the result of the
/// run, the events of the observer, and the number of kept checkpoints.
fn faulty_run(
    on_error: OnError,
    interval: u32,
    decide: impl FnMut(Access) -> FlashFault,
) -> (Result<(), RunError>, Vec<String>, Vec<u32>) {
    let mut flash = Flash::<4, 256>::new(6 * 256, 0xFF);
    let mut faulty = FaultyFlash::new(&mut flash, decide);
    let store = Slots::<_, 3>::open(&mut faulty, 0..6 * 256).unwrap();
    let mut events = Vec::new();
    let policy = ModelCheckpoint::<2>::every(interval).unwrap().with_on_error(on_error);
    let handler = policy.attach(IterationCompleted, store).unwrap();
    let handler = handler.observe(|event: &CheckpointEvent<'_, _>| {
        let text = event.to_string();
        events.push(
            text.split(':').next().unwrap_or_default().to_string() + if text.ends_with("retrying") { " R" } else { "" },
        );
    });
    let mut handler = handler.in_background([0; 512]).with_piece_len(64);
    let result =
        Engine::new(1).run(&mut Training::new(), 0..40, &mut handler, |training, batch, _| training.step(batch));
    let kept: Vec<u32> = handler.policy().kept().iter().map(|kept| kept.step).collect();
    drop(handler);
    assert_eq!(flash.violations(), []);
    // Each attempt has its own sequence number, in the commit record and in the checkpoint.
    let mut store = Slots::<_, 3>::open(&mut flash, 0..6 * 256).unwrap();
    for meta in list_checkpoints(&mut store).unwrap() {
        let stream = read_stream(&mut store, meta.step).unwrap();
        let info = inspect(&mut &stream[..], &mut [0; 64], &mut ()).unwrap();
        assert_eq!((info.sequence, info.step), (meta.sequence, meta.step));
    }
    (result.map(|_| ()), events, kept)
}

/// Fails the writes with the given numbers.
fn fail_writes(numbers: core::ops::Range<u32>) -> impl FnMut(Access) -> FlashFault {
    let mut writes = 0;
    move |access| {
        let is_write = matches!(access, Access::Write { .. });
        writes += u32::from(is_write);
        if is_write && numbers.contains(&writes) { FlashFault::Fail } else { FlashFault::None }
    }
}

#[test]
fn a_failed_piece_is_repeated_in_another_place_without_a_report() {
    for write in 1..=10 {
        let (result, events, kept) = faulty_run(OnError::Stop, 15, fail_writes(write..write + 1));
        assert_eq!(result, Ok(()));
        assert_eq!(kept, [15, 30], "write {write}");
        assert_eq!(events.len(), 2, "{events:?}");
    }
}

#[test]
fn a_failed_save_follows_the_error_policy() {
    let all = 0..u32::MAX;
    let (result, events, kept) = faulty_run(OnError::Stop, 15, fail_writes(all.clone()));
    assert_eq!(result, Err(RunError::SaveFailed(EncodeError::Io(ErrorKind::Other))));
    assert_eq!((events.last().unwrap().as_str(), kept), ("step 15 was not saved", vec![]));

    let (result, events, _) = faulty_run(OnError::Continue, 15, fail_writes(all.clone()));
    assert_eq!(result, Ok(()));
    let failed = events.iter().filter(|event| event.ends_with("was not saved")).count();
    assert_eq!(failed, 2, "{events:?}");

    let (result, events, _) = faulty_run(OnError::Retry(2), 30, fail_writes(all));
    assert_eq!(result, Ok(()));
    let retries: Vec<bool> =
        events.iter().filter(|event| event.starts_with("step 30 was")).map(|event| event.ends_with('R')).collect();
    assert_eq!(retries, [true, true, false]);
}

#[test]
fn a_retry_can_succeed() {
    // Each failed attempt excludes a place. The third write is in the last place.
    let (result, events, kept) = faulty_run(OnError::Retry(1), 30, fail_writes(1..7));
    assert_eq!((result, kept), (Ok(()), vec![30]), "{events:?}");
    assert!(events.iter().any(|event| event.ends_with('R')), "{events:?}");
}

#[test]
fn a_copy_that_is_too_small_refuses_the_start() {
    let mut flash = Flash::<4, 256>::new(6 * 256, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..6 * 256).unwrap();
    let handler = ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, store).unwrap();
    let mut handler = handler.in_background([0; 250]);
    let result =
        Engine::new(1).run(&mut Training::new(), 0..4, &mut handler, |training, batch, _| training.step(batch));
    assert_eq!(result, Err(RunError::Start(EncodeError::Io(ErrorKind::OutOfMemory))));
    let too_small = handler.copy_too_small().unwrap();
    assert_eq!(too_small.capacity, 250);
    // A copy of the required length is sufficient.
    let CopyTooSmall { required, .. } = too_small;
    let mut copy = vec![0; required as usize];
    let mut handler = handler.into_handler().in_background(&mut copy[..]);
    Engine::new(1).run(&mut Training::new(), 0..4, &mut handler, |training, batch, _| training.step(batch)).unwrap();
    assert_eq!((handler.policy().kept().len(), handler.copy_too_small()), (2, None));
}

#[test]
fn a_nan_is_reported_as_by_a_blocking_save() {
    let mut flash = Flash::<4, 256>::new(6 * 256, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..6 * 256).unwrap();
    let handler = ModelCheckpoint::<2>::every(2).unwrap().attach(IterationCompleted, store).unwrap();
    let mut handler = handler.in_background([0; 512]);
    let mut training = Training::new();
    let result =
        Engine::new(1).run(&mut training, 0..4, &mut handler, |training, _, _| training.net.weights[3] = f32::NAN);
    assert!(matches!(result, Err(RunError::SaveFailed(EncodeError::NonFinite { index: 3, .. }))), "{result:?}");
    assert!(!handler.is_saving());
}

#[test]
fn the_end_of_a_run_completes_the_save_in_progress_and_the_final_save() {
    let mut flash = Flash::<4, 256>::new(6 * 256, 0xFF);
    let store = Slots::<_, 3>::open(&mut flash, 0..6 * 256).unwrap();
    let handler = ModelCheckpoint::<2>::every(1).unwrap().attach(Completed, store).unwrap();
    let mut handlers = (handler.in_background([0; 512]), SavedAt::default());
    let mut training = Training::new();
    Engine::new(1).run(&mut training, 0..4, &mut handlers, |training, batch, _| training.step(batch)).unwrap();
    assert_eq!((handlers.0.is_saving(), handlers.1.0), (false, vec![4]));
    assert_eq!(handlers.0.policy().kept().len(), 1);
}

#[test]
fn an_error_of_the_step_and_an_interruption_complete_the_save_in_progress() {
    for interrupt in [false, true] {
        let mut flash = Flash::<4, 256>::new(6 * 256, 0xFF);
        let store = Slots::<_, 3>::open(&mut flash, 0..6 * 256).unwrap();
        let handler = ModelCheckpoint::<2>::every(4).unwrap().attach(IterationCompleted, store).unwrap();
        let mut handler = handler.in_background([0; 512]).with_piece_len(32);
        let mut training = Training::new();
        let result = Engine::new(1).try_run(&mut training, 0..9, &mut handler, |training, batch, state| {
            training.step(batch);
            if batch == 5 && interrupt {
                state.interrupt();
            }
            if batch == 5 && !interrupt { Err("failed") } else { Ok(()) }
        });
        assert_eq!(result.is_ok(), interrupt);
        assert!(!handler.is_saving());
        assert_eq!(handler.policy().kept().iter().map(|kept| kept.step).collect::<Vec<_>>(), [4]);
    }
}
