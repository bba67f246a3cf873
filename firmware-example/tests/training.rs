//! That the gradients are gradients, that a run is exact, and that it learns.

use digits_workload::data::Split;
use digits_workload::mlp::{Mlp, Parameters};
use digits_workload::random::Pcg32;
use digits_workload::train::{Hyper, Sgd, Trainee};

/// The network of the accuracy table: 64-32-10 in batches of 16.
type Reference = Trainee<32, 16>;
/// What fits a device with 16 KiB of RAM.
type Small = Trainee<10, 16>;

fn started<const HIDDEN: usize, const BATCH: usize>(seed: u32) -> Box<Trainee<HIDDEN, BATCH>> {
    let mut trainee = Box::new(Trainee::new());
    trainee.init(seed, Hyper::default());
    trainee
}

fn epochs<const HIDDEN: usize, const BATCH: usize>(trainee: &mut Trainee<HIDDEN, BATCH>, epochs: std::ops::Range<u32>) {
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
        assert_eq!(net.accumulate(x, *label), before, "the same loss either way");
    }

    let step = 1.0 / 256.0;
    let mut checked = 0;
    for tensor in 0..4 {
        for place in 0..net.parameters.slices()[tensor].len() {
            let at = |distance: f32| {
                let mut moved = net.parameters.clone();
                moved.slices_mut()[tensor][place] += distance;
                loss(&moved)
            };
            let expected = (at(step) - at(-step)) / f64::from(2.0 * step);
            let found = f64::from(net.gradients.slices()[tensor][place]);
            assert!(
                (expected - found).abs() < 2e-3 * (1.0 + expected.abs()),
                "{}[{place}]: {found}, by differences {expected}",
                Parameters::<6, 9, 4>::NAMES[tensor],
            );
            checked += 1;
        }
    }
    assert_eq!(checked, Parameters::<6, 9, 4>::COUNT);
}

#[test]
fn names_shapes_and_slices_belong_together() {
    type Weights = Parameters<64, 32, 10>;
    type Optimizer = Sgd<64, 32, 10>;
    let mut trainee = started::<32, 16>(0);
    assert_eq!(Weights::COUNT, 2410);
    for (shape, slice) in Weights::SHAPES.iter().zip(trainee.net.parameters.slices()) {
        assert_eq!(shape.iter().product::<u32>() as usize, slice.len());
    }
    for (shape, slice) in Optimizer::SHAPES.iter().zip(trainee.sgd.slices()) {
        assert_eq!(shape.iter().product::<u32>() as usize, slice.len());
    }
    assert_eq!(Optimizer::NAMES.len(), Optimizer::SHAPES.len());
    assert_eq!(trainee.bits().count(), 2 * 2410 + 3);
    // What is written through the slices is what is read through the fields.
    trainee.net.parameters.slices_mut()[2][33] = 42.0;
    assert_eq!(trainee.net.parameters.w2[1][1], 42.0);
    trainee.sgd.slices_mut()[4][0] = 0.25;
    assert_eq!(trainee.sgd.learning_rate, 0.25);
}

/// Golden values, equal on every target: x86-64, Cortex-M4F, Cortex-M0 and RV32IMC. They change
/// only when the training itself is meant to change.
#[test]
fn a_run_has_the_same_bits_everywhere() {
    let mut trainee = started::<32, 16>(1);
    assert_eq!(trainee.checksum(), 0xacf7_c8b6_d972_0d46);
    epochs(&mut *trainee, 0..2);
    assert_eq!(trainee.checksum(), 0x7eb0_2c80_4e85_be12);

    let mut trainee = started::<10, 16>(1);
    assert_eq!(trainee.checksum(), 0x8bb6_a6ff_792c_543a);
    epochs(&mut *trainee, 0..2);
    assert_eq!(trainee.checksum(), 0x4db4_2bda_2a32_6448);
}

#[test]
fn a_run_resumed_from_its_tensors_ends_with_the_same_bits() {
    let mut whole = started::<10, 16>(3);
    epochs(&mut *whole, 0..2);
    for cut in [1, 37, Small::BATCHES - 1, Small::BATCHES] {
        let mut first = started::<10, 16>(3);
        (0..cut).for_each(|offset| _ = first.step(0, offset));

        // Only what a checkpoint holds goes over: not the gradients.
        let mut second = started::<10, 16>(99);
        second.seed = first.seed;
        let weights = second.net.parameters.slices_mut().into_iter();
        for (to, from) in weights.zip(first.net.parameters.slices()) {
            to.copy_from_slice(from);
        }
        for (to, from) in second.sgd.slices_mut().into_iter().zip(first.sgd.slices()) {
            to.copy_from_slice(from);
        }
        drop(first);

        (cut..Small::BATCHES).for_each(|offset| _ = second.step(0, offset));
        epochs(&mut *second, 1..2);
        assert_eq!(second.checksum(), whole.checksum(), "cut after {cut} steps");
    }
}

#[test]
fn seed_epoch_and_offset_each_matter() {
    let run = |seed, epoch, offset| {
        let mut trainee = started::<10, 16>(seed);
        trainee.step(epoch, offset);
        trainee.checksum()
    };
    let runs = [run(0, 0, 0), run(1, 0, 0), run(0, 1, 0), run(0, 0, 1)];
    for (place, one) in runs.iter().enumerate() {
        assert!(!runs[place + 1..].contains(one));
    }
    assert_eq!(run(0, 0, 0), run(0, 0, Small::BATCHES), "offsets wrap");
}

#[test]
fn the_learning_rate_falls_once_an_epoch() {
    let mut trainee = started::<10, 16>(0);
    let first = trainee.sgd.learning_rate;
    (0..Small::BATCHES - 1).for_each(|offset| _ = trainee.step(0, offset));
    assert_eq!(trainee.sgd.learning_rate, first);
    trainee.step(0, Small::BATCHES - 1);
    assert_eq!(trainee.sgd.learning_rate, first * Hyper::DEFAULT.decay);
}

#[test]
fn a_fresh_trainee_is_all_zeros_and_learns_nothing() {
    let mut trainee = Box::new(Small::new());
    assert!(trainee.bits().all(|bits| bits == 0));
    trainee.step(0, 0);
    assert!(trainee.net.parameters.slices().into_iter().flatten().all(|w| *w == 0.0));
}

#[test]
fn a_nan_anywhere_in_the_weights_reaches_the_loss() {
    for tensor in 0..4 {
        let mut trainee = started::<10, 16>(0);
        trainee.net.parameters.slices_mut()[tensor][0] = f32::NAN;
        assert!(trainee.step(0, 0).is_nan(), "tensor {tensor}");
        assert!(trainee.evaluate(Split::Validation).loss.is_nan());
    }
    let net = started::<10, 16>(0).net;
    assert!(net.parameters.loss(&[0.0; 64], 10).is_nan(), "no such class");
}

#[test]
fn too_large_a_learning_rate_diverges_to_a_loss_that_is_not_finite() {
    let mut trainee = Box::new(Small::new());
    let learning_rate = 1e20;
    trainee.init(0, Hyper { learning_rate, ..Hyper::DEFAULT });
    assert!((0..Small::BATCHES).any(|offset| !trainee.step(0, offset).is_finite()));
}

/// Early stopping by hand: the epochs that were run, and the test accuracy of the best weights.
fn train(seed: u32) -> (u32, f32) {
    let mut trainee = started::<32, 16>(seed);
    let mut best = (f32::INFINITY, 0, trainee.clone());
    for epoch in 0..60 {
        epochs(&mut *trainee, epoch..epoch + 1);
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
fn reads_96_percent_of_the_held_out_digits_and_overfits_in_time() {
    let (stopped, accuracy) = train(1);
    assert!(stopped < 40, "stopped after {stopped} epochs");
    assert!(accuracy >= 0.96, "test accuracy {accuracy}");
}

/// The table behind `Hyper::DEFAULT`. Run it optimised:
/// `cargo test --release -p training-monitor-firmware-example -- --ignored --nocapture`
#[test]
#[ignore = "ten whole runs; a second when optimised"]
fn accuracy_over_ten_seeds() {
    for seed in 0..10 {
        let (stopped, accuracy) = train(seed);
        println!("seed {seed}: {stopped} epochs, {:.2} % of the test", accuracy * 100.0);
        assert!(stopped < 40 && accuracy >= 0.96);
    }
    assert_eq!(Reference::BATCHES, 75);
}
