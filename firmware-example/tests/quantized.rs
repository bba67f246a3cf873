//! Tests of the network with 8-bit weights, next to the one with `f32` weights: gradients, rounding, limits, checkpoint
//! sizes, accuracy, and equal bits on every machine and after a restart.

use digits_workload::data::Split;
use digits_workload::mlp::Mlp;
use digits_workload::monitored::{self, Plan, RunObserver, Series, Summary};
use digits_workload::quantized::{
    NonFiniteGradient, Quantization, QuantizedHyper, QuantizedLayer, QuantizedMlp, QuantizedTrainee,
};
use digits_workload::random::Pcg32;
use digits_workload::train::{Hyper, Metrics, Trainee, Training};
use std::cell::Cell;
use training_monitor::StopReason;
use training_monitor::checkpoint::{self, Contents, DecodeError, ElementType, ObjectVisitor, Objects};
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::store::ram::{Ram, RamError};

type Small = QuantizedTrainee<10, 16>;

fn initialized<const HIDDEN: usize>(seed: u32) -> Box<QuantizedTrainee<HIDDEN, 16>> {
    let mut trainee = Box::new(QuantizedTrainee::new());
    trainee.init(seed, QuantizedHyper::default());
    trainee
}

fn run_epochs<const HIDDEN: usize>(trainee: &mut QuantizedTrainee<HIDDEN, 16>, epochs: std::ops::Range<u32>) {
    for epoch in epochs {
        (0..QuantizedTrainee::<HIDDEN, 16>::BATCHES).for_each(|offset| _ = trainee.step(epoch, offset));
    }
}

fn encoded(objects: &mut impl Objects) -> Vec<u8> {
    let mut bytes = vec![0; 32768];
    let len = checkpoint::encode(&mut &mut bytes[..], &Contents::new(1), objects).unwrap().len;
    bytes.truncate(len as usize);
    bytes
}

/// The real values of a layer's weights and biases.
fn real_values<const IN: usize, const OUT: usize>(layer: &QuantizedLayer<IN, OUT>) -> ([[f32; IN]; OUT], [f32; OUT]) {
    let QuantizedLayer { weight, bias, weight_scale, input_scale } = layer;
    let weights = weight.map(|row| row.map(|weight| f32::from(weight) * weight_scale));
    (weights, bias.map(|bias| bias as f32 * weight_scale * input_scale))
}

#[test]
fn loss_and_gradients_are_close_to_those_of_the_f32_network() {
    let mut trainee = initialized::<10>(2);
    run_epochs(&mut trainee, 0..2);
    let net = &mut trainee.net;
    let mut reference = Mlp::<64, 10, 10>::new();
    (reference.parameters.w1, reference.parameters.b1) = real_values(&net.fc1);
    (reference.parameters.w2, reference.parameters.b2) = real_values(&net.fc2);

    net.zero_gradients();
    let (mut loss, mut expected_loss) = (0.0, 0.0);
    for image in Split::Validation.images() {
        loss += net.accumulate(&image.centered(), image.label());
        expected_loss += reference.accumulate(&image.scaled(), image.label());
    }
    assert!((loss - expected_loss).abs() < 0.02 * expected_loss, "loss {loss}, with f32 activations {expected_loss}");
    let units = [net.fc1.input_scale, 1.0, net.fc2.input_scale, 1.0];
    for ((gradients, expected), unit) in net.gradients.slices().iter().zip(reference.gradients.slices()).zip(units) {
        let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| value * value).sum::<f32>().sqrt();
        let difference = norm(&mut gradients.iter().zip(expected).map(|(left, right)| left * unit - right));
        let size = norm(&mut expected.iter().copied());
        // The rounded activations cause a difference of up to 6 %.
        assert!(difference < 0.1 * size, "the gradients differ by {difference}, their norm is {size}");
    }
}

#[test]
fn rounding_is_correct_on_average() {
    let mut net = QuantizedMlp::<64, 32, 10>::new();
    net.init(Quantization::DEFAULT, &mut Pcg32::new(0));
    for row in &mut net.fc1.weight {
        row.fill(0);
    }
    // Each weight moves by -0.25 units: three quarters of the weights stay, and one quarter become -1.
    let unit = net.fc1.weight_scale / net.fc1.input_scale;
    net.gradients.w1.as_flattened_mut().fill(0.25 * unit);
    net.update(1.0, &mut Pcg32::new(1)).unwrap();
    let weights = net.fc1.weight.as_flattened();
    assert!(weights.iter().all(|weight| [0, -1].contains(weight)));
    let moved = weights.iter().filter(|weight| **weight == -1).count();
    // The standard deviation is sqrt(2048 * 0.25 * 0.75) = 20.
    assert!(moved.abs_diff(512) < 80, "{moved} of 2048 weights moved");
}

/// The expected checksums are equal on every target. Only an intended change of the training algorithm may change them.
#[test]
fn a_run_has_the_same_bits_everywhere() {
    let mut trainee = initialized::<32>(1);
    let initial = trainee.checksum();
    run_epochs(&mut trainee, 0..2);
    assert_eq!([initial, trainee.checksum()], [0x8011_b563_7fbc_20ff, 0x4ffc_e720_4ced_91ba]);

    let mut trainee = initialized::<10>(1);
    let initial = trainee.checksum();
    run_epochs(&mut trainee, 0..2);
    assert_eq!([initial, trainee.checksum()], [0x8364_8d1b_7482_139e, 0x6a51_a01b_4447_12b5]);

    // The checksum of the final weights of the run on the boards.
    let summary = run(&mut *Box::new(Small::new()), Plan::DEFAULT.seed, &Sizes::default());
    assert_eq!(summary.checksum, 0xeee0_f29a_401f_40bc);
}

#[test]
fn a_run_resumed_from_its_checkpoint_ends_with_the_same_bits() {
    let mut uninterrupted = initialized::<10>(3);
    run_epochs(&mut uninterrupted, 0..2);
    for steps in [1, 37, Small::BATCHES - 1, Small::BATCHES] {
        let mut first = initialized::<10>(3);
        (0..steps).for_each(|offset| _ = first.step(0, offset));
        let bytes = encoded(&mut *first);

        let mut second = initialized::<10>(99);
        second.step(0, 0);
        checkpoint::load(&bytes, &mut *second, None).unwrap();
        assert!(second.bytes().eq(first.bytes()), "`bytes` contains what a checkpoint contains");
        (steps..Small::BATCHES).for_each(|offset| _ = second.step(0, offset));
        run_epochs(&mut second, 1..2);
        assert_eq!(second.checksum(), uninterrupted.checksum(), "interrupted after {steps} steps");
    }
}

#[test]
fn a_step_depends_on_seed_epoch_and_offset() {
    let run = |seed, epoch, offset| {
        let mut trainee = initialized::<10>(seed);
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
fn weights_and_biases_stop_at_their_limits() {
    let mut trainee = Box::new(Small::new());
    trainee.init(0, QuantizedHyper { learning_rate: 1e12, ..QuantizedHyper::DEFAULT });
    run_epochs(&mut trainee, 0..1);
    let QuantizedMlp { fc1, fc2, .. } = &trainee.net;
    let weights = || fc1.weight.as_flattened().iter().chain(fc2.weight.as_flattened());
    assert!(weights().any(|weight| *weight == 127) && weights().any(|weight| *weight == -127));
    assert!(weights().all(|weight| *weight != i8::MIN));
    assert!(fc1.bias.iter().chain(&fc2.bias).all(|bias| bias.abs() <= 1 << 30));
    assert!(fc2.bias.iter().any(|bias| bias.abs() == 1 << 30));
}

#[test]
fn a_gradient_that_is_not_finite_changes_no_weight() {
    let mut trainee = initialized::<10>(0);
    trainee.step(0, 0);
    for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
        for tensor in 0..4 {
            let mut net = trainee.net.clone();
            net.gradients.slices_mut()[tensor][3] = value;
            assert_eq!(net.update(0.1, &mut Pcg32::new(0)), Err(NonFiniteGradient), "tensor {tensor}");
            assert_eq!((&net.fc1, &net.fc2), (&trainee.net.fc1, &trainee.net.fc2));
        }
        assert_eq!(trainee.net.clone().update(value, &mut Pcg32::new(0)), Err(NonFiniteGradient));
    }
}

#[test]
fn an_invalid_scale_reaches_the_loss() {
    type Scale = fn(&mut QuantizedMlp<64, 10, 10>) -> &mut f32;
    let scales: [Scale; 4] = [
        |net| &mut net.fc1.weight_scale,
        |net| &mut net.fc1.input_scale,
        |net| &mut net.fc2.weight_scale,
        |net| &mut net.fc2.input_scale,
    ];
    for scale in scales {
        for value in [f32::NAN, f32::INFINITY, 0.0] {
            let mut trainee = initialized::<10>(0);
            *scale(&mut trainee.net) = value;
            let before: Vec<u8> = trainee.bytes().collect();
            assert!(trainee.evaluate(Split::Validation).loss.is_nan());
            assert!(trainee.step(0, 0).is_nan());
            assert!(trainee.bytes().eq(before));
        }
    }
}

/// A trainee whose learning rate becomes infinite in the third epoch.
#[derive(Default)]
struct Diverging(Small);

impl Objects for Diverging {
    fn objects<V: ObjectVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
        self.0.objects(visitor)
    }
}

impl Training for Diverging {
    const BATCHES: u32 = Small::BATCHES;

    fn init(&mut self, seed: u32) {
        Training::init(&mut self.0, seed);
    }
    fn step(&mut self, epoch: u32, offset: u32) -> f32 {
        if (epoch, offset) == (3, 10) {
            self.0.sgd.learning_rate = f32::INFINITY;
        }
        self.0.step(epoch, offset)
    }
    fn evaluate(&self, split: Split) -> Metrics {
        self.0.evaluate(split)
    }
    fn checksum(&self) -> u64 {
        self.0.checksum()
    }
    fn scan(&self, check: &mut dyn FnMut(&[f32])) {
        self.0.scan(check);
    }
}

#[test]
fn an_infinite_step_stops_the_run_at_its_iteration() {
    let mut trainee = Box::<Diverging>::default();
    let summary = run(&mut *trainee, 1, &Sizes::default());
    assert_eq!((summary.outcome.reason, summary.outcome.iteration), (StopReason::NonFinite, 2 * 75 + 11));
    assert!(summary.test.accuracy > 0.7, "the result is the best checkpoint of the first two epochs");
}

/// Records the size of the largest checkpoint in bytes.
#[derive(Default)]
struct Sizes(Cell<u32>);

impl RunObserver<RamError> for Sizes {
    fn on_checkpoint(&self, _: Series, event: &CheckpointEvent<'_, RamError>) {
        let CheckpointEvent::Saved { bytes, .. } = event else { panic!("{event}") };
        self.0.set(self.0.get().max(*bytes));
    }
}

/// Executes the run of the boards with `seed`.
fn run<T: Training>(trainee: &mut T, seed: u32, sizes: &Sizes) -> Summary {
    let (latest, best) = (Box::new(Ram::<2, 20480>::new()), Box::new(Ram::<3, 20480>::new()));
    monitored::run(trainee, Plan { seed, ..Plan::DEFAULT }, *latest, *best, sizes).unwrap()
}

/// Compares the test accuracy of both networks with `HIDDEN` hidden units over the seeds 0 to 9, and the sizes of their
/// checkpoints. Prints the numbers that the documentation states.
fn compare<const HIDDEN: usize>() {
    let sizes = [Sizes::default(), Sizes::default()];
    let mut means = [0.0; 2];
    for seed in 0..10 {
        let runs = [
            run(&mut *Box::new(Trainee::<HIDDEN, 16>::new()), seed, &sizes[0]),
            run(&mut *Box::new(QuantizedTrainee::<HIDDEN, 16>::new()), seed, &sizes[1]),
        ];
        let [float, quantized] = runs.map(|run| run.test.accuracy * 100.0);
        let [float_epochs, epochs] = runs.map(|run| run.outcome.epoch);
        println!(
            "64-{HIDDEN}-10, seed {seed}: f32 {float:.2} % ({float_epochs} epochs), int8 {quantized:.2} % ({epochs})"
        );
        assert!(runs.iter().all(|run| run.outcome.reason == StopReason::EarlyStopping));
        if seed == Plan::DEFAULT.seed {
            assert!(quantized >= float - 1.5);
        }
        means = [means[0] + float / 10.0, means[1] + quantized / 10.0];
    }
    let bytes = sizes.map(|sizes| sizes.0.get());
    println!("64-{HIDDEN}-10: mean accuracy f32 and int8 {means:.2?} %, checkpoint {bytes:?} bytes");
    assert!(means[1] >= means[0] - 1.5);
    assert!(bytes[1] > 0 && bytes[1] * 4 <= bytes[0]);
}

#[test]
fn accuracy_and_checkpoint_size_of_64_10_10() {
    compare::<10>();
}

#[test]
fn accuracy_and_checkpoint_size_of_64_32_10() {
    compare::<32>();
}

#[test]
fn a_checkpoint_with_other_element_types_is_refused_by_tensor_name() {
    let mut quantized = initialized::<10>(0);
    let mut float = Box::new(Trainee::<10, 16>::new());
    float.init(0, Hyper::default());
    let before = (quantized.clone(), float.clone());

    let bytes = encoded(&mut *float);
    let result = checkpoint::load(&bytes, &mut *quantized, None);
    let Err(error @ DecodeError::ElementType { .. }) = result else { panic!("{result:?}") };
    let DecodeError::ElementType { name, expected, found } = &error else { unreachable!() };
    assert_eq!((*expected, *found), (ElementType::I8, ElementType::F32));
    assert!(name.to_string().contains("fc1.weight") && error.to_string().contains("fc1.weight"), "{error}");

    let bytes = encoded(&mut *quantized);
    let result = checkpoint::load(&bytes, &mut *float, None);
    let Err(error @ DecodeError::ElementType { .. }) = result else { panic!("{result:?}") };
    assert!(error.to_string().contains("fc1.weight"), "{error}");
    assert_eq!((quantized, float), before);
}
