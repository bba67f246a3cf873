//! A run with many starts on the real stack, and what it costs.

use super::device::Device;
use super::parts::{Budget, Part};
use super::stack::{Purpose, Rule, start};
use super::supply::OFF_TIME;
use super::time::Nanos;
use super::workload::{Network, Workload};

/// The failures after which the measurement begins. A rule that learns has learned until then.
pub const LEARNING_FAILURES: usize = 5;

/// What a run with power failures costs. The times and iterations are those after the first [`LEARNING_FAILURES`]
/// failures.
#[derive(Clone, Copy, PartialEq, Default, Debug)]
pub struct Costs {
    /// The time with power.
    pub powered: Nanos,
    /// The time of the iterations whose result is in the last checkpoint.
    pub useful: Nanos,
    /// The time of all complete iterations.
    pub executed: Nanos,
    /// The time of saves, complete or interrupted.
    pub saving: Nanos,
    /// The time from a start to its first iteration.
    pub recovery: Nanos,
    /// The saves that were committed.
    pub saves: u64,
}

impl Costs {
    /// Returns the part of the time with power that is useful.
    #[must_use]
    pub fn useful_share(&self) -> f64 {
        self.useful as f64 / self.powered as f64
    }

    /// Returns the part of the time with power that is spent in saves.
    #[must_use]
    pub fn overhead(&self) -> f64 {
        self.saving as f64 / self.powered as f64
    }
}

/// The result of a simulation on the real stack. All numbers but `costs` include the first failures.
#[derive(Clone, Copy, Default, Debug)]
pub struct Measured {
    /// What the run costs after the first failures.
    pub costs: Costs,
    /// The number of failures.
    pub failures: u64,
    /// The saves that were committed.
    pub saves: u64,
    /// The erased blocks.
    pub erased_blocks: u64,
    /// The erases of slots.
    pub slot_erases: u64,
    /// The largest number of erases that the wear budget did not allow at a moment.
    pub largest_excess: u64,
    /// The erases of the block that was erased most often.
    pub worst_block: u32,
    /// The programmed bytes.
    pub bytes: u64,
    /// The time from the first start to the end, with and without power.
    pub elapsed: Nanos,
    /// The longest time between two iterations.
    pub longest_pause: Nanos,
    /// The largest number of blocks that a start erased, beyond those of its committed saves.
    pub most_lost_blocks: u64,
    /// The interrupted erases, programs and reads.
    pub interrupted: [u32; 3],
    /// Whether the model in the last checkpoint has the bits of an undisturbed run.
    pub has_equal_bits: bool,
    /// Whether the memory reported a violation of its contract.
    pub has_violations: bool,
}

impl Measured {
    /// Returns the time until the block with the most erases is worn out, in years. `None` if the memory does not wear out.
    #[must_use]
    pub fn years_of_life(&self, part: &Part) -> Option<f64> {
        let erases_per_year = f64::from(self.worst_block) / (self.elapsed as f64 / super::time::YEAR as f64);
        part.endurance.map(|endurance| f64::from(endurance) / erases_per_year)
    }
}

/// Runs the real stack on `part` with the on-times `trace`. After the last failure, one more start finds the last
/// checkpoint.
///
/// # Panics
/// Panics if the stack fails although the device has power.
#[must_use]
pub fn simulate(part: &Part, budget: Option<Budget>, rule: &Rule, trace: &[Nanos], seed: u64) -> Measured {
    let device = Device::new(part, budget, seed);
    let mut measured = Measured { failures: trace.len() as u64, ..Measured::default() };
    // The iteration of the checkpoint with which the measurement begins.
    let mut first_iteration = None;
    let costs = &mut measured.costs;
    for (index, on_time) in trace.iter().enumerate() {
        let blocks_before = device.chip().counts.erased;
        device.power_on(*on_time);
        let start = start(part, &device, rule, &mut Network::initial(seed as u32), Purpose::Train);
        device.power_off(OFF_TIME);
        if index >= LEARNING_FAILURES {
            first_iteration = first_iteration.or(start.resumed_at);
            costs.powered += on_time;
            costs.executed += u64::from(start.iterations) * Network::ITERATION;
            costs.saving += start.saving;
            costs.recovery += if start.resumed_at.is_some() { start.recovery } else { *on_time };
            costs.saves += u64::from(start.saves);
        }
        measured.saves += u64::from(start.saves);
        measured.longest_pause = measured.longest_pause.max(start.longest_pause);
        let blocks = device.chip().counts.erased - blocks_before;
        let committed = u64::from(start.saves) * part.blocks_per_slot() as u64;
        measured.most_lost_blocks = measured.most_lost_blocks.max(blocks.saturating_sub(committed));
    }
    let mut model = Network::initial(seed as u32);
    device.power_on(Nanos::MAX / 4);
    let found = start(part, &device, rule, &mut model, Purpose::Inspect);
    let last_iteration = found.resumed_at.expect("the device has power");
    let first_iteration = first_iteration.unwrap_or(last_iteration);
    costs.useful = u64::from(last_iteration.saturating_sub(first_iteration)) * Network::ITERATION;
    measured.has_equal_bits = model == Network::after(seed as u32, last_iteration);
    let chip = device.chip();
    measured.erased_blocks = chip.counts.erased;
    measured.worst_block = chip.block_erases.iter().copied().max().unwrap_or(0);
    measured.bytes = chip.counts.programmed;
    measured.has_violations = !chip.violations().is_empty();
    measured.slot_erases = device.slot_erases.get();
    measured.largest_excess = device.largest_excess.get();
    measured.interrupted = device.interrupted.get();
    measured.elapsed = device.now();
    measured
}
