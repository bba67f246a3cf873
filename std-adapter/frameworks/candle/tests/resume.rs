//! A run that a power failure interrupts and that resumes must end with the same bits as a run without interruption.

use candle_nn::{Optimizer, ParamsAdamW};
use std::error::Error;
use training_monitor::store::ram::Ram;
use training_monitor_candle_example::{EPOCH_LENGTH, EPOCHS, PowerFailure, SAVE_INTERVAL, Training, train};

type TestResult = Result<(), Box<dyn Error>>;

/// The seed of the initial weights of the run.
const SEED: u32 = 1;
/// The seed after a restart. It differs from [`SEED`], so only a loaded checkpoint can give the expected weights.
const OTHER_SEED: u32 = 2;
const ITERATIONS: u32 = EPOCHS * EPOCH_LENGTH;

fn store() -> Ram<3, 2048> {
    Ram::new()
}

#[test]
fn run_interrupted_at_any_iteration_ends_with_the_same_bits() -> TestResult {
    let expected = train(&mut store(), SEED, None)?.bits;
    assert!(expected.is_some());
    for iteration in SAVE_INTERVAL + 1..=ITERATIONS {
        let mut store = store();
        let interrupted = train(&mut store, SEED, Some(PowerFailure { iteration }))?;
        assert_eq!(interrupted.bits, None);
        let report = train(&mut store, OTHER_SEED, None)?;
        let newest = (iteration - 1) / SAVE_INTERVAL * SAVE_INTERVAL;
        assert_eq!(report.resumed.map(|resumed| resumed.iteration), Some(newest));
        assert_eq!(report.bits, expected, "power failure at iteration {iteration}");
    }
    Ok(())
}

#[test]
fn run_interrupted_many_times_ends_with_the_same_bits() -> TestResult {
    let expected = train(&mut store(), SEED, None)?.bits;
    let mut store = store();
    for (seed, iteration) in [SEED, 10, 11, 12, 13].into_iter().zip([7, 9, 11, 17, 21]) {
        assert_eq!(train(&mut store, seed, Some(PowerFailure { iteration }))?.bits, None);
    }
    let report = train(&mut store, OTHER_SEED, None)?;
    assert_eq!(report.resumed.map(|resumed| resumed.iteration), Some(20));
    assert_eq!(report.bits, expected);
    Ok(())
}

#[test]
fn runs_with_other_initial_weights_end_with_other_bits() -> TestResult {
    let report = train(&mut store(), OTHER_SEED, None)?;
    assert_eq!(report.resumed, None);
    assert_ne!(report.bits, train(&mut store(), SEED, None)?.bits);
    Ok(())
}

#[test]
fn adamw_computes_the_same_bits_as_the_optimizer_of_candle() -> TestResult {
    let mut ours = Training::new(SEED)?;
    let theirs = Training::new(SEED)?;
    let params = ParamsAdamW { lr: 0.02, ..ParamsAdamW::default() };
    let mut optimizer = candle_nn::AdamW::new(theirs.variables().all_vars(), params)?;
    for iteration in 0..ITERATIONS {
        let batch = iteration % EPOCH_LENGTH;
        ours.step(batch)?;
        optimizer.backward_step(&theirs.loss(batch)?)?;
    }
    let (ours, theirs) = (ours.bits()?, theirs.bits()?);
    let weights: Vec<_> = ours.iter().filter(|(name, _)| name.starts_with("weight of ")).collect();
    assert_eq!(weights.len(), 4);
    for (name, bits) in weights {
        assert_eq!(theirs.get(name), Some(bits), "{name}");
    }
    Ok(())
}

#[test]
fn training_reduces_the_loss() -> TestResult {
    let mut training = Training::new(SEED)?;
    let first = training.loss(0)?.to_scalar::<f32>()?;
    for iteration in 0..ITERATIONS {
        training.step(iteration % EPOCH_LENGTH)?;
    }
    assert!(training.loss(0)?.to_scalar::<f32>()? < first / 2.0);
    Ok(())
}
