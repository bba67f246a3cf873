//! All fuzz targets on stable Rust, with the committed corpus and with thousands of seeded inputs, and a regression
//! test for each bug that fuzzing found. A failing input is saved to a file, and the test prints the command that runs
//! it again.

use std::time::Duration;
use training_monitor::checkpoint::{Header, Named};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::StepSource;
use training_monitor::store::{CheckpointMeta, Store, StreamSpec, flash::Slots, ram::Ram};
use training_monitor::{Engine, ModelCheckpoint};
use training_monitor_tests::flash::{Flash, Interruption};
use training_monitor_tests::fuzz::runner::{self, generate, minimize};
use training_monitor_tests::fuzz::{TARGETS, Target};

/// The number of generated inputs for each target.
const INPUTS: u64 = 20_000;

#[test]
fn all_targets_pass_their_corpus_and_seeded_inputs() {
    for target in &TARGETS {
        let corpus = runner::corpus(target).expect("a readable corpus");
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let summary = runner::run(target, 1, INPUTS, Duration::MAX).expect("a readable corpus");
        if let Some(failure) = summary.failure {
            let command = runner::save_input(target, &failure.data).unwrap_or_else(|error| error.to_string());
            panic!("{}: {}\n    {command}", target.name, failure.message);
        }
        assert_eq!(summary.executions, INPUTS + corpus.len() as u64, "{}", target.name);
    }
}

/// A fuzz target for the tests of the runner. It fails for inputs of three or more bytes that contain a 7.
const FAILING: Target = Target { name: "failing", body: |data| assert!(data.len() < 3 || !data.contains(&7)), len: 64 };

#[test]
fn the_runner_finds_and_minimizes_a_failing_input() {
    let summary = runner::run(&FAILING, 5, 100_000, Duration::MAX).expect("a missing corpus is valid");
    let failure = summary.failure.expect("the target fails");
    assert_eq!((failure.data.len(), failure.data.contains(&7)), (3, true), "{failure:?}");
    assert!(failure.message.contains("assertion failed"), "{failure:?}");
    assert_eq!(minimize(&FAILING, &[1, 2, 3, 7, 9, 9]).len(), 3);
    // The same seed and number give the same input, and another seed gives another input.
    assert_eq!(generate(&FAILING, &[], 5, 9), generate(&FAILING, &[], 5, 9));
    assert_ne!(generate(&FAILING, &[], 5, 9), generate(&FAILING, &[], 6, 9));
}

/// Saves a checkpoint with one weight and with the numbers (step, sequence, iteration, score) of `meta`.
fn save<S: Store>(store: &mut S, meta: CheckpointMeta) -> Result<(), S::Error> {
    use embedded_io::Write;
    use training_monitor::checkpoint::{Contents, encode};
    let CheckpointMeta { step, sequence, run, iteration, score, series: _ } = meta;
    let header = Header { step, sequence, run, iteration, score, ..Header::default() };
    let contents = Contents { header, record: None, single_object: None, allow_non_finite: false, metadata: &[] };
    let mut bytes = Vec::new();
    let mut objects = Named::new("m", [sequence as f32]);
    let encoded = encode(&mut bytes, &contents, &mut objects).expect("writing to a Vec does not fail");
    let mut writer =
        store.create(&StreamSpec { header, object: None, stream_index: 0, stream_count: 1, len: encoded.len })?;
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let written = writer.write(rest)?;
        rest = &rest[written..];
    }
    drop(writer);
    store.commit(&header, &encoded)
}

/// Regression test for a bug that the target `slot-operations` found. A save with the step of a committed checkpoint
/// was interrupted before its seal. It hid the committed checkpoint, and the next save erased it, so both were lost.
#[test]
fn an_interrupted_save_of_the_same_step_does_not_lose_the_committed_checkpoint() {
    let meta =
        |step, sequence| CheckpointMeta::from(&Header { step, sequence, iteration: sequence, ..Header::default() });
    for operation in 0..40 {
        let mut flash = Flash::<32, 256>::new(3 * 256, 0xFF);
        let mut store = Slots::<_, 3>::open(&mut flash, 0..768).expect("a valid region");
        save(&mut store, meta(1, 1)).expect("the power is on");
        save(&mut store, meta(2, 2)).expect("the power is on");
        store.flash_mut().cut_power_at(operation, Interruption::Nothing, 0);
        let is_saved = save(&mut store, meta(1, 3)).is_ok();
        flash.power_on();
        let mut store = Slots::<_, 3>::open(&mut flash, 0..768).expect("a valid region");
        save(&mut store, meta(4, 4)).expect("the next save succeeds");
        let first = (0..3)
            .find_map(|index| store.checkpoint(index).expect("the list is in memory").filter(|meta| meta.step == 1));
        assert!(
            first.is_some_and(|first| !is_saved || first.sequence == 3),
            "power failure at operation {operation}: {first:?}"
        );
    }
}

/// Regression test for a bug that the target `saving` found. The handler mistook a checkpoint of an earlier run, with
/// the same step and iteration, for the checkpoint of the pending save. It did not save, and reported no error.
#[test]
fn a_checkpoint_of_an_earlier_run_does_not_replace_a_pending_save() {
    let mut store = Ram::<3, 256>::new();
    for (scores, expected) in [([0.25, 0.5], 0.5), ([0.75, 1.0], 1.0)] {
        let policy = ModelCheckpoint::<2>::best_by(|state| state.output.unwrap_or(0.0));
        let policy = policy.with_step_source(StepSource::Iteration);
        let mut handler = policy.attach(IterationCompleted, &mut store).expect("RAM does not fail");
        // The second run starts from the beginning. It does not resume from the stored checkpoints.
        let mut model = Named::new("m", [0.0_f32]);
        let run = Engine::new(1).run(&mut model, &scores[..], &mut handler, |model, score, _| {
            model[0] = *score;
            *score
        });
        run.expect("there is data");
        let mut best = Named::new("m", [0.0_f32]);
        handler.load_best(&mut best).expect("the checkpoint is intact");
        assert_eq!(*best, [expected], "after {scores:?}");
    }
}

/// Regression test for an error in FORMAT.md that the target `checkpoint-bytes` found. The document allowed two bytes
/// for the length of a pad, but the decoder accepts only one byte.
#[test]
fn the_length_of_a_pad_takes_one_byte() {
    use training_monitor::checkpoint::{DecodeError, inspect};
    use training_monitor_tests::models::stream::{crc32, read};

    let valid = training_monitor_tests::fuzz::bytes::sample();
    assert!(read(&valid).is_some());
    // The first tensor has the type 0, the shape [2, 2] and a pad of one byte. The third byte after the number of
    // dimensions is the length of the pad.
    let position = valid.windows(4).position(|bytes| bytes == [0, 2, 2, 2]).expect("a tensor") + 4;
    assert_eq!(valid[position..position + 2], [1, 0]);
    let mut modified = valid[..valid.len() - 4].to_vec();
    // 0x80 and the 0 that follows are the number 0 in two bytes: an empty pad, without a change of the payload's
    // position.
    modified[position] = 0x80;
    modified.extend(crc32(&modified).to_le_bytes());
    assert_eq!(read(&modified), None);
    let inspected = inspect(&mut &modified[..], &mut [0; 64], &mut ());
    assert!(matches!(inspected, Err(DecodeError::Malformed)), "{inspected:?}");
}
