//! The real workload: the network of the firmware example learns handwritten digits, until it classifies 95 % of the
//! validation images correctly. With its optimizer, the network 64-32-10 has a checkpoint of 19.6 KB, so a slot has more
//! blocks than for the [other workload](super::workload::Network).

use super::device::Device;
use super::model::unbounded_optimum;
use super::parts::{LIFETIMES, PARTS, Part};
use super::stack::{Purpose, Rule, Start, start};
use super::supply::OFF_TIME;
use super::time::{Nanos, SECOND};
use super::workload::Workload;
use digits_workload::data::Split;
use digits_workload::train::{Hyper, Trainee};
use training_monitor::{State, StopReason};
use training_monitor_std::test_support::random::Random;

/// The network 64-32-10, its optimizer and its seed. A batch has one image, so that there are many iterations per failure.
pub type Digits = Trainee<32, 1>;

/// The learning rate for one image is the default for 16 images divided by 16.
const HYPER: Hyper = Hyper { learning_rate: Hyper::DEFAULT.learning_rate / 16.0, ..Hyper::DEFAULT };

/// The accuracy at which the training ends, on the validation images after an epoch.
pub const ACCURACY: f32 = 0.95;
/// The numbers of power failures.
pub const FAILURES: [u32; 3] = [0, 10, 100];

impl Workload for Digits {
    const ITERATION: Nanos = SECOND;
    const EPOCH: u32 = Digits::BATCHES;
    const EPOCHS: u32 = 100;

    fn initial(seed: u32) -> Self {
        let mut digits = Trainee::new();
        digits.init(seed, HYPER);
        digits
    }

    fn step(&mut self, state: &mut State<()>) {
        self.step(state.epoch(), state.offset());
        if state.is_last_in_epoch() && self.evaluate(Split::Validation).accuracy >= ACCURACY {
            state.terminate(StopReason::TargetReached);
        }
    }
}

/// A training until the accuracy is reached.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Training {
    /// The memory.
    pub part: &'static str,
    /// Whether the adaptive policy decided when to save. Otherwise, the interval was the calculated optimum.
    pub is_adaptive: bool,
    /// The power failures before the accuracy was reached.
    pub failures: u32,
    /// The saves that were committed.
    pub saves: u32,
    /// The erased blocks.
    pub erased_blocks: u64,
    /// The blocks that were erased beyond one slot for each save and each failure.
    pub lost_blocks: u64,
    /// The programmed bytes.
    pub bytes: u64,
    /// The time with power.
    pub powered: Nanos,
    /// The iterations that were completed, including repeated ones.
    pub executed: u32,
    /// The iterations of the training.
    pub iterations: u32,
    /// Whether weights and optimizer have the bits of the undisturbed training.
    pub has_equal_bits: bool,
}

/// The training without a store and without failures.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Undisturbed {
    iterations: u32,
    checksum: u64,
}

impl Undisturbed {
    /// Trains until the accuracy is reached.
    #[must_use]
    pub fn train(seed: u32) -> Self {
        let mut digits = Digits::initial(seed);
        for epoch in 1.. {
            (0..Digits::BATCHES).for_each(|offset| _ = digits.step(epoch, offset));
            if digits.evaluate(Split::Validation).accuracy >= ACCURACY {
                return Undisturbed { iterations: epoch * Digits::BATCHES, checksum: digits.checksum() };
            }
        }
        unreachable!("the loop has no end")
    }
}

/// Returns the parts with slots for a checkpoint of the digits.
#[must_use]
pub fn parts() -> [Part; PARTS.len()] {
    const CHECKPOINT: usize = 20 * 1024;
    PARTS.map(|part| {
        // The region of a store in byte-addressable memory consists of units of 256 bytes.
        let slot_size = CHECKPOINT.next_multiple_of(part.geometry.1.max(256));
        Part { slot_size, ..part }
    })
}

/// Trains on `part` with each number of failures, with the calculated optimum and with the adaptive policy.
#[must_use]
pub fn train_with_failures(part: &Part, undisturbed: Undisturbed, seed: u64) -> Vec<Training> {
    let duration = Nanos::from(undisturbed.iterations) * Digits::ITERATION;
    let device = Device::new(part, None, seed);
    device.power_on(100 * Digits::ITERATION);
    let every = Rule::Fixed(10 * Digits::ITERATION);
    let measured = start(part, &device, &every, &mut Digits::initial(seed as u32), Purpose::Train);
    let save = measured.saving / Nanos::from(measured.saves);
    let budget = part.budget(LIFETIMES[0]);
    let mut trainings = Vec::new();
    for failures in FAILURES {
        // Without failures, the calculation takes the duration of the training as the mean time.
        let optimum = unbounded_optimum(save, 3 * duration / 4 / Nanos::from(failures.max(1)));
        for rule in [Rule::Fixed(optimum), Rule::Adaptive(budget)] {
            trainings.push(train(part, &rule, failures, undisturbed, seed));
        }
    }
    trainings
}

/// Trains until the accuracy is reached. The power fails `failures` times. The on-times are between a half and the whole
/// of the undisturbed duration, divided by the failures, so all failures come before the accuracy is reached.
fn train(part: &Part, rule: &Rule, failures: u32, undisturbed: Undisturbed, seed: u64) -> Training {
    let device = Device::new(part, None, seed);
    let mut random = Random::new(seed ^ u64::from(failures));
    let is_adaptive = matches!(rule, Rule::Adaptive(_));
    let duration = Nanos::from(undisturbed.iterations) * Digits::ITERATION;
    let longest = duration / Nanos::from(failures.max(1));
    let (mut failed, mut saves, mut executed, mut powered) = (0, 0, 0, 0);
    let (outcome, checksum) = loop {
        let on_time = longest / 2 + random.below(longest as usize / 2) as Nanos;
        let begin = device.now();
        device.power_on(if failed < failures { on_time } else { Nanos::MAX / 4 });
        let mut model = Digits::initial(seed as u32);
        let start: Start = start(part, &device, rule, &mut model, Purpose::Train);
        saves += start.saves;
        executed += start.iterations;
        powered += device.now() - begin;
        if let Some(outcome) = start.outcome {
            break (outcome, model.checksum());
        }
        device.power_off(OFF_TIME);
        failed += 1;
    };
    let counts = device.chip().counts;
    let explained = u64::from(saves + failed) * part.blocks_per_slot() as u64;
    let has_equal_bits = (outcome.reason, outcome.iteration, checksum)
        == (StopReason::TargetReached, undisturbed.iterations, undisturbed.checksum);
    Training {
        part: part.name,
        is_adaptive,
        failures: failed,
        saves,
        erased_blocks: counts.erased,
        lost_blocks: counts.erased.saturating_sub(explained),
        bytes: counts.programmed,
        powered,
        executed,
        iterations: outcome.iteration,
        has_equal_bits,
    }
}
