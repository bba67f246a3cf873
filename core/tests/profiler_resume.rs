//! The saved statistics of the profiler, in runs that are interrupted and resumed.

#[path = "common/slow_run.rs"]
mod slow_run;

use slow_run::{Model, Recorder, Time, data, engine, is_counted, model, parts, step};
use std::cell::Cell;
use training_monitor::engine::Phase;
use training_monitor::event::{EpochCompleted, Interrupt, IterationCompleted};
use training_monitor::run_record::{HandlerKind, HandlerStates, Persist, RestoreError, RunRecord};
use training_monitor::store::ram::Ram;
use training_monitor::{Engine, Event, Handler, ModelCheckpoint, Profiler, State};

/// Interrupts the run at an event with this number.
struct Interrupter {
    fired: usize,
    interruption: usize,
}

impl Handler<Model, f32> for Interrupter {
    fn on_event(&mut self, event: Event, _: &mut Model, state: &mut State<f32>) {
        self.fired += usize::from(is_counted(event));
        if is_counted(event) && self.fired == self.interruption {
            state.interrupt();
        }
    }
}

/// Returns the statistics of a run of two epochs, which is interrupted at each event in `interruptions` (the number of the
/// event since the first start). If `restarts`, each interruption saves a checkpoint, and a new program resumes from it.
fn interrupted_run(interruptions: &[usize], restarts: bool) -> Profiler {
    let mut store = Ram::<3, 1024>::new();
    let (time, mut log, mut model) = (Time::new(0), Vec::new(), model());
    let (mut engine, mut profiler) = (engine(2), Profiler::new().with_saved_statistics());
    for interruption in interruptions.iter().chain(&[usize::MAX]) {
        if restarts {
            (engine, profiler) = (self::engine(2), Profiler::new().with_saved_statistics());
            // The time between two starts does not count.
            time.now.set(time.now.get() + 123_456_789);
        }
        let mut interrupter = Interrupter {
            fired: log.iter().filter(|(event, _)| is_counted(*event)).count(),
            interruption: *interruption,
        };
        let mut handlers = (
            profiler.attach(time.clock()),
            Recorder { time: &time, log: &mut log },
            ModelCheckpoint::<2>::every(1).unwrap().attach(Interrupt, &mut store).unwrap(),
            &mut interrupter,
        );
        if restarts {
            engine.resume(&mut model, &mut handlers).unwrap();
        }
        engine.run(&mut model, data(&time), &mut handlers, step(&time)).unwrap();
        profiler = handlers.0.profiler;
    }
    assert_eq!(log.iter().filter(|(event, _)| *event == Event::Interrupt).count(), interruptions.len());
    profiler
}

#[test]
fn an_interrupted_run_has_the_statistics_of_an_uninterrupted_run() {
    let expected = parts(&interrupted_run(&[], false));
    assert_eq!(expected.map(|part| part.count()), [8, 8, 9, 2]);
    // Started, and for each epoch its start, four iterations of four events each, and its end.
    for number in 1..=1 + 2 * (1 + 4 * 4 + 1) {
        let resumed = interrupted_run(&[number], true);
        assert_eq!(parts(&resumed), expected, "resumed after event {number}");
    }
    let all: Vec<usize> = (1..=37).collect();
    assert_eq!(parts(&interrupted_run(&all, true)), expected);
}

/// A fetch or a step that starts again is not counted in the same program, because its start has no event.
#[test]
fn a_run_that_continues_in_the_same_program_does_not_count_the_pause() {
    let expected = parts(&interrupted_run(&[], false));
    for number in 1..=37 {
        let continued = parts(&interrupted_run(&[number], false));
        // The first event is Started, then EpochStarted; the four events of an iteration follow.
        let in_iteration =
            |offset: usize| (0..2).any(|epoch| (0..4).any(|i| number == 3 + epoch * 18 + i * 4 + offset));
        let (lost_fetch, lost_step) = (in_iteration(0), in_iteration(2));
        assert_eq!(continued[0].count(), 8 - u32::from(lost_fetch), "event {number}");
        assert_eq!(continued[1].count(), 8 - u32::from(lost_step), "event {number}");
        if !lost_fetch && !lost_step {
            // Between an interruption and the next event, only a fetch takes time in this test.
            assert_eq!(continued[..2], expected[..2], "event {number}");
        }
    }
}

/// The power fails after a save. The resumed run repeats what follows the checkpoint.
#[test]
fn a_run_after_a_power_failure_has_the_statistics_of_an_uninterrupted_run() {
    let run = |failures: &[u32]| {
        let mut store = Ram::<3, 1024>::new();
        let mut last = Profiler::new();
        for failure in failures.iter().chain(&[u32::MAX]) {
            let time = Time::new(u64::from(*failure) << 20);
            let mut handlers = (
                Profiler::new().with_saved_statistics().attach(time.clock()),
                ModelCheckpoint::<2>::every(1).unwrap().attach(IterationCompleted, &mut store).unwrap(),
            );
            let (mut engine, mut model) = (engine(2), model());
            engine.resume(&mut model, &mut handlers).unwrap();
            let result = engine.try_run(&mut model, 0..4, &mut handlers, |_, batch, state| {
                time.take(batch + state.iteration());
                if state.iteration() > *failure { Err(()) } else { Ok(0.0) }
            });
            assert_eq!(result.is_ok(), *failure == u32::MAX);
            last = handlers.0.profiler;
        }
        parts(&last)
    };
    assert_eq!(run(&[1, 2, 5, 7]), run(&[]));
}

#[test]
fn a_finished_run_continues_with_more_epochs() {
    let time = Time::new(0);
    let mut profiler = Profiler::new().with_saved_statistics().attach(time.clock());
    let mut finished = engine(1);
    finished.run(&mut model(), data(&time), &mut profiler, step(&time)).unwrap();
    let record = finished.record::<Model, _>(&mut profiler).unwrap();

    let mut resumed = Profiler::new().with_saved_statistics().attach(time.clock());
    let mut engine = engine(2);
    engine.restore::<Model, _>(&record, &mut resumed).unwrap();
    assert_eq!(parts(&resumed.profiler), parts(&profiler.profiler));
    engine.run(&mut model(), data(&time), &mut resumed, step(&time)).unwrap();
    // The end of each of the two runs ends a part between two steps.
    assert_eq!(parts(&resumed.profiler).map(|part| part.count()), [8, 8, 10, 2]);
}

#[test]
fn statistics_that_are_not_saved_change_no_checkpoint() {
    let time = Time::new(0);
    let mut without = engine(1);
    without.run(&mut model(), data(&time), &mut (), step(&time)).unwrap();
    let mut profiler = Profiler::default().attach(time.clock());
    let mut with = engine(1);
    with.run(&mut model(), data(&time), &mut profiler, step(&time)).unwrap();
    assert_eq!(without.record::<Model, _>(&mut ()).unwrap(), with.record::<Model, _>(&mut profiler).unwrap());

    // The profiler of a resumed run without saved statistics counts the parts whose start it sees.
    let mut record = RunRecord::new();
    record.engine = without.engine_state();
    record.engine.offset = 2;
    record.engine.iteration = 2;
    record.engine.phase = Phase::BetweenIterations;
    let mut resumed = engine(1);
    resumed.restore::<Model, _>(&record, &mut profiler).unwrap();
    let mut profiler = Profiler::new().attach(time.clock());
    resumed.run(&mut model(), data(&time), &mut profiler, step(&time)).unwrap();
    assert_eq!(parts(&profiler.profiler).map(|part| part.count()), [2, 2, 2, 0]);
}

#[test]
fn the_states_have_their_documented_bytes_and_length() {
    let ticks = Cell::new(0);
    let mut profiler = Profiler::new().with_saved_statistics().attach(|| {
        ticks.set(ticks.get() + 1);
        ticks.get()
    });
    let mut engine = engine(1);
    engine.run(&mut model(), 0..2, &mut profiler, |_, _, _| 0.0).unwrap();
    let record = engine.record::<Model, _>(&mut profiler).unwrap();
    // Count, total, minimum, maximum, the two halves of the squares, and no part in progress.
    let expected: [(u16, &[u8]); 4] = [
        (1, &[2, 2, 1, 1, 2, 0, 0]),
        (2, &[2, 2, 1, 1, 2, 0, 0]),
        (3, &[3, 7, 2, 3, 17, 0, 0]),
        (4, &[1, 9, 9, 9, 81, 0, 0]),
    ];
    let states: Vec<_> = record.handlers().collect();
    assert_eq!(states, expected.map(|(tag, bytes)| (HandlerKind::PROFILER, tag, bytes)));
    assert_eq!(HandlerKind::PROFILER.to_string(), "Profiler");

    // The largest numbers take the documented length.
    let mut largest = Profiler::new().with_saved_statistics();
    largest.update(Event::Started, 0);
    largest.update(Event::EpochStarted, u64::MAX);
    largest.update(Event::EpochCompleted, u64::MAX);
    let len = Engine::<f32, (), 280>::with_record_capacity(1, ())
        .record::<Model, _>(&mut largest.attach(|| u64::MAX))
        .unwrap()
        .handlers()
        .map(|(_, _, bytes)| bytes.len() + 4)
        .sum::<usize>();
    assert!(len < 280);
    let saving = ModelCheckpoint::<1>::every(1).unwrap();
    let handlers = || {
        let saving = saving.clone().attach(EpochCompleted, Ram::<2, 1024>::new()).unwrap();
        (Profiler::new().with_saved_statistics().attach(|| 0), saving)
    };
    let error = Engine::<f32>::new(1).run(&mut model(), 0..1, &mut handlers(), |_, _, _| 0.0).unwrap_err();
    assert!(error.to_string().contains("128"), "{error}");
}

/// The squares of long durations have more than 64 bits.
#[test]
fn the_statistics_of_long_durations_are_restored() {
    let time = Cell::new(0);
    let mut profiler = Profiler::new().with_saved_statistics().attach(|| time.get());
    let mut first = engine(1);
    let step = |_: &mut Model, batch, _: &mut State<f32>| {
        time.set(time.get() + (u64::from(batch) << 40) + 3);
        0.0
    };
    first.run(&mut model(), 0..3, &mut profiler, step).unwrap();
    let record = first.record::<Model, _>(&mut profiler).unwrap();
    let mut restored = Profiler::new().with_saved_statistics().attach(|| 0);
    engine(1).restore::<Model, _>(&record, &mut restored).unwrap();
    assert_eq!(parts(&restored.profiler), parts(&profiler.profiler));
    assert!(restored.profiler.step().deviation() > 1e12);
}

#[test]
fn a_record_of_another_setting_is_refused() {
    let saved = || Profiler::new().with_saved_statistics().attach(|| 0);
    let record = engine(1).record::<Model, _>(&mut saved()).unwrap();
    let unclaimed = engine(1).restore::<Model, _>(&record, &mut Profiler::new().attach(|| 0));
    assert_eq!(unclaimed, Err(RestoreError::Unclaimed { kind: HandlerKind::PROFILER }));
    let record = engine(1).record::<Model, _>(&mut ()).unwrap();
    let missing = engine(1).restore::<Model, _>(&record, &mut saved());
    assert_eq!(missing, Err(RestoreError::Missing { kind: HandlerKind::PROFILER }));
}

/// A handler whose state has the kind of a profiler, but other bytes.
struct Bytes(u16, Vec<u8>);

impl Persist for Bytes {
    const KIND: HandlerKind = HandlerKind::PROFILER;
    type State = Raw;
    fn tag(&self) -> u16 {
        self.0
    }
    fn save(&mut self) -> Raw {
        Raw(self.1.clone())
    }
    fn restore(&mut self, _: Raw) {}
}

/// Bytes that are encoded without their length.
struct Raw(Vec<u8>);

impl serde::Serialize for Raw {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> serde::Deserialize<'de> for Raw {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Raw(Vec::new()))
    }
}

impl Handler<Model, f32> for Bytes {
    fn on_event(&mut self, _: Event, _: &mut Model, _: &mut State<f32>) {}
    fn persist(&mut self, _: &mut State<f32>, states: &mut HandlerStates<'_>) {
        states.visit(self);
    }
}

#[test]
fn a_malformed_state_is_refused() {
    let restore = |bytes: &[u8]| {
        let empty = |tag| Bytes(tag, vec![0; 7]);
        let record =
            engine(1).record::<Model, _>(&mut (empty(1), empty(2), Bytes(3, bytes.to_vec()), empty(4))).unwrap();
        let mut profiler = Profiler::new().with_saved_statistics().attach(|| 0);
        let restored = engine(1).restore::<Model, _>(&record, &mut profiler);
        // Every state that is accepted gives numbers.
        let other = profiler.profiler.other();
        assert!(other.deviation().is_finite() && !profiler.profiler.to_string().is_empty());
        restored.map(|()| other.count())
    };
    let malformed = Err(RestoreError::Malformed { kind: HandlerKind::PROFILER });
    assert_eq!(restore(&[5, 0, 9, 1, 0, 0, 0]), Ok(5));
    assert_eq!(restore(&[5, 0, 9, 1, 0, 0, 1, 3]), Ok(5));
    for bytes in
        [&[][..], &[5, 0, 9, 1, 0, 0], &[5, 0, 9, 1, 0, 0, 0, 0], &[5, 0, 9, 1, 0, 0, 1], &[5, 0, 9, 1, 0, 0, 2]]
    {
        assert_eq!(restore(bytes), malformed, "{bytes:?}");
    }
    let largest =
        [&[0xFF, 0xFF, 0xFF, 0xFF, 0x0F][..], &[[0xFF; 9].as_slice(), &[1]].concat().repeat(5), &[1, 7]].concat();
    assert_eq!(restore(&largest), Ok(u32::MAX));
}
