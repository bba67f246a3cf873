//! A run that a power failure interrupts and that resumes must end with the same bits as a run without interruption.

use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::Device;
use std::error::Error;
use training_monitor::checkpoint::{self, Contents};
use training_monitor::store::ram::Ram;
use training_monitor_burn_example::{
    EPOCH_LENGTH, EPOCHS, LEARNING_RATE, NamedTensors, Net, PowerFailure, SAVE_INTERVAL, Training, loss, train,
};

type TestResult = Result<(), Box<dyn Error>>;

/// The seed of the initial weights of the run.
const SEED: u32 = 1;
/// The seed after a restart. It differs from [`SEED`], so only a loaded checkpoint can give the expected weights.
const OTHER_SEED: u32 = 2;
const ITERATIONS: u32 = EPOCHS * EPOCH_LENGTH;

fn store() -> Ram<3, 4096> {
    Ram::new()
}

#[test]
fn run_interrupted_at_any_iteration_ends_with_the_same_bits() -> TestResult {
    let expected = train(&mut store(), SEED, None)?.bits;
    // The network has 6 weights and 2 running statistics. For each weight, the record of the optimizer contains 2
    // moments and 2 numbers (the number of steps and the rank).
    assert_eq!(expected.as_ref().map(|bits| bits.len()), Some(6 + 2 + 6 * 4));
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
fn run_with_checkpoints_computes_the_same_bits_as_burn_alone() -> TestResult {
    let device = Device::default().autodiff();
    let mut net = Net::new(SEED, &device);
    let mut optimizer = AdamWConfig::new().init();
    // A forward pass changes the running statistics of a network. Therefore the first loss needs a separate network.
    let first = loss(&Net::new(SEED, &device), 0, &device).into_scalar::<f32>();
    for iteration in 0..ITERATIONS {
        let gradients = GradientsParams::from_grads(loss(&net, iteration % EPOCH_LENGTH, &device).backward(), &net);
        net = optimizer.step(LEARNING_RATE, net, gradients);
    }
    let bits = train(&mut store(), SEED, None)?.bits.expect("the run is complete");
    for tensor in NamedTensors::copy_from(&net)?.0 {
        let expected: Vec<u32> = tensor.elements.iter().map(|element| element.to_bits()).collect();
        assert_eq!(bits.get(&tensor.name), Some(&expected), "{}", tensor.name);
    }
    assert!(loss(&net, 0, &device).into_scalar::<f32>() < first / 2.0);
    Ok(())
}

#[test]
fn weights_are_loaded_before_the_first_step() -> TestResult {
    let mut saved = Training::new(SEED);
    let mut bytes = vec![0; 4096];
    let mut rest = &mut bytes[..];
    let encoded = checkpoint::encode(&mut rest, &Contents::new(1), &mut saved)?;
    let mut loaded = Training::new(OTHER_SEED);
    assert_ne!(loaded.bits()?, saved.bits()?);
    checkpoint::load(&bytes[..encoded.len as usize], &mut loaded, None)?;
    assert_eq!(loaded.bits()?, saved.bits()?);
    Ok(())
}
