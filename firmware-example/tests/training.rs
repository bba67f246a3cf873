//! Tests that the gradients are correct, that a run is reproducible bit for bit, and that the network learns.

use digits_workload::data::Split;
use digits_workload::mlp::{Mlp, Parameters};
use digits_workload::random::Pcg32;
use digits_workload::train::{Hyper, Trainee};
use training_monitor::checkpoint::{self, Contents, Inspect, Tensor};

/// The network of the accuracy table: 64-32-10 in batches of 16.
type Reference = Trainee<32, 16>;
/// The network 64-10-10, which fits a device with 16 KiB of RAM.
type Small = Trainee<10, 16>;

fn initialized<const HIDDEN: usize, const BATCH: usize>(seed: u32) -> Box<Trainee<HIDDEN, BATCH>> {
    let mut trainee = Box::new(Trainee::new());
    trainee.init(seed, Hyper::default());
    trainee
}

fn run_epochs<const HIDDEN: usize, const BATCH: usize>(
    trainee: &mut Trainee<HIDDEN, BATCH>,
    epochs: std::ops::Range<u32>,
) {
    for epoch in epochs {
        for offset in 0..Trainee::<HIDDEN, BATCH>::BATCHES {
            trainee.step(epoch, offset);
        }
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let mut random = Pcg32::new(7);
    let mut net = Mlp::<6, 9, 4>::new();
    net.parameters.init(&mut random);
    net.parameters.b1 = std::array::from_fn(|_| random.symmetric(0.2));
    net.parameters.b2 = std::array::from_fn(|_| random.symmetric(0.2));
    let examples: Vec<([f32; 6], u8)> =
        (0..4).map(|label| (std::array::from_fn(|_| random.symmetric(1.0)), label)).collect();

    let loss =
        |net: &Parameters<6, 9, 4>| -> f64 { examples.iter().map(|(x, label)| f64::from(net.loss(x, *label))).sum() };
    net.zero_gradients();
    for (x, label) in &examples {
        let before = net.parameters.loss(x, *label);
        assert_eq!(net.accumulate(x, *label), before, "`loss` and `accumulate` return different losses");
    }

    let step = 1.0 / 256.0;
    let mut checked = 0;
    for tensor in 0..4 {
        for index in 0..net.parameters.slices()[tensor].len() {
            let loss_at = |distance: f32| {
                let mut moved = net.parameters.clone();
                moved.slices_mut()[tensor][index] += distance;
                loss(&moved)
            };
            let expected = (loss_at(step) - loss_at(-step)) / f64::from(2.0 * step);
            let computed = f64::from(net.gradients.slices()[tensor][index]);
            assert!(
                (expected - computed).abs() < 2e-3 * (1.0 + expected.abs()),
                "tensor {tensor}, element {index}: gradient {computed}, finite difference {expected}",
            );
            checked += 1;
        }
    }
    assert_eq!(checked, Parameters::<6, 9, 4>::COUNT);
}

/// Collects the names and shapes of the tensors in a checkpoint.
#[derive(Default)]
struct Listing(Vec<(String, Vec<u32>)>);

impl Inspect for Listing {
    fn tensor(&mut self, tensor: Tensor<'_>) {
        self.0.push((format!("{}.{}", tensor.object, tensor.name), tensor.shape.to_vec()));
    }
}

#[test]
fn a_checkpoint_contains_the_tensors_of_a_pytorch_module_and_the_optimizer() {
    let mut trainee = initialized::<32, 16>(0);
    let mut bytes = [0; 32768];
    let encoded = checkpoint::encode(&mut &mut bytes[..], &Contents::new(1), &mut *trainee).unwrap();
    let mut listing = Listing::default();
    checkpoint::inspect(&mut &bytes[..encoded.len as usize], &mut [0; 64], &mut listing).unwrap();
    let weights =
        [("fc1.weight", vec![32, 64]), ("fc1.bias", vec![32]), ("fc2.weight", vec![10, 32]), ("fc2.bias", vec![10])];
    let scalars = ["learning_rate", "momentum", "decay"].map(|name| (name, vec![]));
    let model = weights.iter().map(|(name, shape)| (format!("model.{name}"), shape.clone()));
    let optimizer = weights.iter().chain(&scalars).map(|(name, shape)| (format!("optimizer.{name}"), shape.clone()));
    assert_eq!(listing.0, model.chain(optimizer).collect::<Vec<_>>());

    assert_eq!(Parameters::<64, 32, 10>::COUNT, 2410);
    assert_eq!(trainee.bits().count(), 2 * 2410 + 3);
    // The slices refer to the fields: a write through a slice changes the field.
    trainee.net.parameters.slices_mut()[2][33] = 42.0;
    assert_eq!(trainee.net.parameters.w2[1][1], 42.0);
}

/// The expected checksums are equal on every target: x86-64, Cortex-M4F, Cortex-M0 and RV32IMC. Only an intended change
/// of the training algorithm may change them.
#[test]
fn a_run_has_the_same_bits_everywhere() {
    let mut trainee = initialized::<32, 16>(1);
    assert_eq!(trainee.checksum(), 0xacf7_c8b6_d972_0d46);
    run_epochs(&mut *trainee, 0..2);
    assert_eq!(trainee.checksum(), 0x7eb0_2c80_4e85_be12);

    let mut trainee = initialized::<10, 16>(1);
    assert_eq!(trainee.checksum(), 0x8bb6_a6ff_792c_543a);
    run_epochs(&mut *trainee, 0..2);
    assert_eq!(trainee.checksum(), 0x4db4_2bda_2a32_6448);
}

#[test]
fn a_run_resumed_from_its_tensors_ends_with_the_same_bits() {
    let mut uninterrupted = initialized::<10, 16>(3);
    run_epochs(&mut *uninterrupted, 0..2);
    for steps in [1, 37, Small::BATCHES - 1, Small::BATCHES] {
        let mut first = initialized::<10, 16>(3);
        (0..steps).for_each(|offset| _ = first.step(0, offset));

        // The copy contains what a checkpoint contains. The gradients are not copied.
        let mut second = initialized::<10, 16>(99);
        second.seed = first.seed;
        let weights = second.net.parameters.slices_mut().into_iter();
        for (to, from) in weights.zip(first.net.parameters.slices()) {
            to.copy_from_slice(from);
        }
        second.sgd = first.sgd.clone();
        drop(first);

        (steps..Small::BATCHES).for_each(|offset| _ = second.step(0, offset));
        run_epochs(&mut *second, 1..2);
        assert_eq!(second.checksum(), uninterrupted.checksum(), "interrupted after {steps} steps");
    }
}

#[test]
fn a_step_depends_on_seed_epoch_and_offset() {
    let run = |seed, epoch, offset| {
        let mut trainee = initialized::<10, 16>(seed);
        trainee.step(epoch, offset);
        trainee.checksum()
    };
    let runs = [run(0, 0, 0), run(1, 0, 0), run(0, 1, 0), run(0, 0, 1)];
    for (index, checksum) in runs.iter().enumerate() {
        assert!(!runs[index + 1..].contains(checksum));
    }
    assert_eq!(run(0, 0, 0), run(0, 0, Small::BATCHES), "the offset wraps at the number of batches");
}

#[test]
fn the_learning_rate_decays_once_per_epoch() {
    let mut trainee = initialized::<10, 16>(0);
    let first = trainee.sgd.learning_rate;
    (0..Small::BATCHES - 1).for_each(|offset| _ = trainee.step(0, offset));
    assert_eq!(trainee.sgd.learning_rate, first);
    trainee.step(0, Small::BATCHES - 1);
    assert_eq!(trainee.sgd.learning_rate, first * Hyper::DEFAULT.decay);
}

#[test]
fn an_uninitialized_trainee_is_all_zeros_and_does_not_learn() {
    let mut trainee = Box::new(Small::new());
    assert!(trainee.bits().all(|bits| bits == 0));
    trainee.step(0, 0);
    assert!(trainee.net.parameters.slices().into_iter().flatten().all(|w| *w == 0.0));
}

#[test]
fn a_nan_anywhere_in_the_weights_reaches_the_loss() {
    for tensor in 0..4 {
        let mut trainee = initialized::<10, 16>(0);
        trainee.net.parameters.slices_mut()[tensor][0] = f32::NAN;
        assert!(trainee.step(0, 0).is_nan(), "tensor {tensor}");
        assert!(trainee.evaluate(Split::Validation).loss.is_nan());
    }
    let net = initialized::<10, 16>(0).net;
    assert!(net.parameters.loss(&[0.0; 64], 10).is_nan(), "the label 10 is not a class");
}

#[test]
fn a_too_large_learning_rate_gives_a_loss_that_is_not_finite() {
    let mut trainee = Box::new(Small::new());
    let learning_rate = 1e20;
    trainee.init(0, Hyper { learning_rate, ..Hyper::DEFAULT });
    assert!((0..Small::BATCHES).any(|offset| !trainee.step(0, offset).is_finite()));
}

/// Trains with a hand-written early stopping rule. Returns the number of epochs and the test accuracy of the best
/// weights.
fn train(seed: u32) -> (u32, f32) {
    let mut trainee = initialized::<32, 16>(seed);
    let mut best = (f32::INFINITY, 0, trainee.clone());
    for epoch in 0..60 {
        run_epochs(&mut *trainee, epoch..epoch + 1);
        let loss = trainee.evaluate(Split::Validation).loss;
        if loss < best.0 {
            best = (loss, epoch, trainee.clone());
        } else if epoch - best.1 == 5 {
            return (epoch + 1, best.2.evaluate(Split::Test).accuracy);
        }
    }
    (60, best.2.evaluate(Split::Test).accuracy)
}

#[test]
fn the_test_accuracy_is_96_percent_and_early_stopping_takes_effect() {
    let (stopped, accuracy) = train(1);
    assert!(stopped < 40, "stopped after {stopped} epochs");
    assert!(accuracy >= 0.96, "test accuracy {accuracy}");
}

/// Prints the accuracies that the documentation of `Hyper::DEFAULT` states. Run this test in release mode:
/// `cargo test --release -p training-monitor-firmware-example -- --ignored --nocapture`
#[test]
#[ignore = "executes ten complete runs; takes one second in release mode"]
fn accuracy_over_ten_seeds() {
    for seed in 0..10 {
        let (stopped, accuracy) = train(seed);
        println!("seed {seed}: {stopped} epochs, {:.2} % of the test", accuracy * 100.0);
        assert!(stopped < 40 && accuracy >= 0.96);
    }
    assert_eq!(Reference::BATCHES, 75);
}
