//! Every fuzz target on stable Rust: its committed corpus and some thousands of seeded inputs, and a regression test
//! for each thing that fuzzing found. A failing input is kept in a file, and the command that runs it again is printed.

use std::time::Duration;
use training_monitor::checkpoint::One;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::Step;
use training_monitor::store::{Opening, Store, Stored, ram::Ram, slots::Slots};
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_tests::flash::{Flash, Outcome};
use training_monitor_tests::fuzz::runner::{self, generate, shrink};
use training_monitor_tests::fuzz::{TARGETS, Target};

/// Inputs for each target.
const INPUTS: u64 = 20_000;

#[test]
fn every_target_over_its_corpus_and_seeded_inputs() {
    for target in &TARGETS {
        let corpus = runner::corpus(target).expect("a corpus that can be read");
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let verdict = runner::run(target, 1, INPUTS, Duration::MAX).expect("the same");
        if let Some(failure) = verdict.failure {
            let line = runner::keep(target, &failure.data).unwrap_or_else(|error| error.to_string());
            panic!("{}: {}\n    {line}", target.name, failure.why);
        }
        assert_eq!(verdict.executions, INPUTS + corpus.len() as u64, "{}", target.name);
    }
}

/// A target that is wrong about inputs of three bytes and more with a 7 in them.
const WRONG: Target = Target { name: "wrong", body: |data| assert!(data.len() < 3 || !data.contains(&7)), len: 64 };

#[test]
fn the_runner_finds_what_is_wrong_and_makes_it_small() {
    let verdict = runner::run(&WRONG, 5, 100_000, Duration::MAX).expect("no corpus is no error");
    let failure = verdict.failure.expect("it is wrong");
    assert_eq!((failure.data.len(), failure.data.contains(&7)), (3, true), "{failure:?}");
    assert!(failure.why.contains("assertion failed"), "{failure:?}");
    assert_eq!(shrink(&WRONG, &[1, 2, 3, 7, 9, 9]).len(), 3);
    // The same seed and number give the same input, others another.
    assert_eq!(generate(&WRONG, &[], 5, 9), generate(&WRONG, &[], 5, 9));
    assert_ne!(generate(&WRONG, &[], 5, 9), generate(&WRONG, &[], 6, 9));
}

/// Saves `stored` with one weight, under its own numbers.
fn save<S: Store>(store: &mut S, stored: Stored) -> Result<(), S::Error> {
    use embedded_io::Write;
    use training_monitor::checkpoint::{Contents, Crc32, Header, encode};
    let Stored { step, sequence, iteration, score } = stored;
    let header = Header { step, sequence, iteration, score, score_name: None };
    let contents = Contents { header, record: None, only: None, allow_non_finite: false };
    let mut bytes = Vec::new();
    let objects = One("m", [sequence as f32]);
    let encoded = encode::<Crc32, _, _>(&mut bytes, &contents, &objects).expect("a Vec takes anything");
    let mut writer = store.create(&Opening { header, object: None, part: 0, parts: 1, len: encoded.len })?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let written = writer.write(rest)?;
        rest = &rest[written..];
    }
    drop(writer);
    store.commit(&header, &encoded)
}

/// Found by `slot-operations`: a save under the step of a committed checkpoint, cut before its seal, hid that one, and
/// was then erased for the next save: both were lost, and a promise with them.
#[test]
fn a_cut_replacement_does_not_cost_what_it_was_to_replace() {
    let stored = |step, sequence| Stored { step, sequence, iteration: sequence, score: None };
    for cut in 0..40 {
        let mut flash = Flash::<32, 256>::new(3 * 256, 0xFF);
        let mut store = Slots::<_, 3>::open(&mut flash, 0..768).expect("a region");
        save(&mut store, stored(1, 1)).expect("power");
        save(&mut store, stored(2, 2)).expect("power");
        store.flash_mut().cut_at(cut, Outcome::Nothing, 0);
        let whole = save(&mut store, stored(1, 3)).is_ok();
        flash.power_on();
        let mut store = Slots::<_, 3>::open(&mut flash, 0..768).expect("a region");
        save(&mut store, stored(4, 4)).expect("the next save works without repair");
        let first = (0..3).find_map(|index| store.stored(index).expect("in memory").filter(|stored| stored.step == 1));
        assert!(first.is_some_and(|first| !whole || first.sequence == 3), "cut at {cut}: {first:?}");
    }
}

/// Found by `saving`: a checkpoint of an earlier run with the same step and iteration was taken for the one that was
/// just decided, which was not saved, and nobody was told.
#[test]
fn a_checkpoint_of_an_earlier_run_is_not_taken_for_a_new_one() {
    let mut store = Ram::<3, 256>::new();
    for (scores, expected) in [([0.25, 0.5], 0.5), ([0.75, 1.0], 1.0)] {
        let machine = ModelCheckpoint::<2>::builder().step(Step::Iteration).n_saved(2);
        let machine = machine.score_function(|state: &training_monitor::State<f32>| state.output.unwrap_or(0.0));
        let mut checkpoint =
            machine.build().expect("good settings").attach(IterationCompleted, &mut store).expect("RAM");
        // A run from the beginning: it does not go on from what is there.
        let mut model = One("m", [0.0_f32]);
        let step = |model: &mut One<[f32; 1]>, score: &f32, _: &mut _| {
            model.1[0] = *score;
            *score
        };
        Engine::new(1).run(&mut model, &scores[..], &mut checkpoint, step).expect("there is data");
        let mut best = One("m", [0.0_f32]);
        checkpoint.load_best(&mut best).expect("it is whole");
        assert_eq!(best.1, [expected], "after {scores:?}");
    }
}

/// Found by `checkpoint-bytes`: the length of a pad in two bytes where one does. The decoder never took it, and the format's
/// document said that it might.
#[test]
fn a_pad_has_its_length_in_one_byte() {
    use training_monitor::checkpoint::{Crc32, DecodeError, Inspect, inspect};
    use training_monitor_tests::models::stream::{crc32, read};
    struct Nobody;
    impl Inspect for Nobody {}

    let good = training_monitor_tests::fuzz::bytes::sample();
    assert!(read(&good).is_some());
    // The shape [2, 2], a pad of one byte.
    let at = good.windows(5).position(|bytes| bytes == [2, 2, 2, 1, 0]).expect("the first tensor") + 3;
    let mut long = good[..good.len() - 4].to_vec();
    long[at] = 0x80; // with the 0 behind it: no pad, and the payload where it was
    long.extend(crc32(&long).to_le_bytes());
    assert_eq!(read(&long), None);
    let inspected = inspect::<Crc32, _, _>(&mut &long[..], &mut [0; 64], &mut Nobody);
    assert!(matches!(inspected, Err(DecodeError::Malformed)), "{inspected:?}");
}
