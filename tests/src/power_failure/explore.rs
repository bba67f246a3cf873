//! Runs the test cases of a workload (a list of saves on one flash): all cases, or one case. Also runs long random
//! sequences of saves and power failures.

use super::case::{Case, PowerFailure, Save, Start, Workload};
use super::device::{GEOMETRIES, block_size, interruptions};
use super::model::Order;
use super::simulation::{Action, Simulation};
use super::store_variant::StoreVariant;
use crate::random::Random;
use training_monitor::store::CheckpointMeta;

/// Returns the save that the test makes after the given number of power failures.
pub fn next_save(workload: &Workload, power_failures: usize) -> Save {
    let long = workload.saves.last().is_some_and(|last| last.long) != (power_failures % 2 == 1);
    Save { long, score: 100 + power_failures as u8 }
}

/// Runs one test case: makes the saves, interrupts some of them by power failures, and checks the store after each
/// failure.
pub fn run_case<V: StoreVariant>(workload: &Workload, failures: &[PowerFailure]) -> Result<(), String> {
    let mut simulation = Simulation::<V>::new(workload)?;
    let Some((last, earlier)) = workload.saves.split_last() else { return Ok(()) };
    for save in earlier {
        simulation.run(&[Action::Save(*save)], None)?;
        simulation.check()?;
    }
    let mut save = *last;
    for (index, failure) in failures.iter().enumerate() {
        simulation.run(&[Action::Save(save)], Some(*failure))?;
        simulation.check().map_err(|error| format!("after power failure {}: {error}", index + 1))?;
        save = next_save(workload, index + 1);
    }
    simulation.run(&[Action::Save(save)], None).map_err(|error| format!("the next save: {error}"))?;
    simulation.check().map_err(|error| format!("after the next save: {error}"))
}

/// A function that the explorer calls with each test case. The first argument builds the case, and the second argument
/// is the result of the case. Building a case is slow, so only failed cases are built.
pub type Report<'a> = dyn FnMut(&dyn Fn() -> Case, Result<(), String>) + 'a;

/// Runs all test cases of one workload (a list of saves on one flash).
pub struct Explorer<'a> {
    /// The saves, the flash and the ranking that all test cases of this explorer use.
    pub workload: &'a Workload,
    /// The maximum number of power failures in one test case. Each failure after the first interrupts the next save.
    pub depth: usize,
    /// The maximum numbers of operations that the explorer interrupts in one save: first for the last save of the
    /// workload, second for each save after a power failure. It selects the first and the last operations of the save,
    /// and one or two operations between them.
    pub max_operations: [usize; 2],
    /// The function that the explorer calls with each test case and its result.
    pub report: &'a mut Report<'a>,
}

impl Explorer<'_> {
    /// Makes the earlier saves of the workload, and then runs one test case for each power failure in the last save.
    pub fn explore<V: StoreVariant>(&mut self) {
        let Some((last, earlier)) = self.workload.saves.split_last() else { return };
        let prepared = Simulation::<V>::new(self.workload).and_then(|mut simulation| {
            for save in earlier {
                simulation.run(&[Action::Save(*save)], None)?;
                simulation.check()?;
            }
            Ok(simulation)
        });
        let result = prepared.and_then(|simulation| self.interrupt(&simulation, *last, &mut Vec::new()));
        if let Err(error) = result {
            self.report(&[], Err(error));
        }
    }

    fn report(&mut self, failures: &[PowerFailure], result: Result<(), String>) {
        let case = || Case::Bounded { workload: self.workload.clone(), failures: failures.to_vec() };
        (self.report)(&case, result);
    }

    /// Makes `save` once without a power failure, and then once for each interruption of its operations. After each
    /// interruption, the function calls itself with the next save. Returns the error of the uninterrupted save, if any.
    fn interrupt<V: StoreVariant>(
        &mut self,
        simulation: &Simulation<V>,
        save: Save,
        failures: &mut Vec<PowerFailure>,
    ) -> Result<(), String> {
        let mut uninterrupted = simulation.clone();
        uninterrupted.chip.log = Some(Vec::new());
        uninterrupted.run(&[Action::Save(save)], None).map_err(|error| format!("the next save: {error}"))?;
        uninterrupted.check().map_err(|error| format!("after the next save: {error}"))?;
        let operations = uninterrupted.chip.log.take().unwrap_or_default();
        if failures.len() == self.depth {
            return Ok(());
        }
        let edge = self.max_operations[usize::from(!failures.is_empty())] / 2;
        let (write, ..) = simulation.chip.geometry();
        for (after, is_erase) in operations.iter().enumerate() {
            let is_between_edges = after >= edge && operations.len() - after > edge;
            if is_between_edges && after % (operations.len() / 2 + 1) != edge {
                continue;
            }
            let interruptions = interruptions(simulation.chip.is_byte_addressable(), *is_erase, write);
            for (index, interruption) in interruptions.iter().enumerate() {
                let seed = (after * 31 + index * 7 + failures.len()) as u64;
                let failure = PowerFailure { after: after as u64, interruption: *interruption, seed };
                failures.push(failure);
                let mut interrupted = simulation.clone();
                let checked = interrupted.run(&[Action::Save(save)], Some(failure)).and_then(|_| interrupted.check());
                let next = next_save(self.workload, failures.len());
                let result = checked.and_then(|()| self.interrupt(&interrupted, next, failures));
                self.report(&failures.clone(), result);
                failures.pop();
            }
        }
        Ok(())
    }
}

/// Runs a long random sequence of sessions, about half of them with a power failure. Returns the number of power
/// failures. An error contains that number too.
pub fn run_sequence<V: StoreVariant>(random: &mut Random, sessions: usize) -> Result<u64, (u64, String)> {
    let (write, erase, _) = *random.pick(GEOMETRIES);
    let slots = 2 + random.below(3);
    let erased = *random.pick(&[[0xFF; 2], [0; 2], [0x39, 0xE3]]);
    let (erased, block) = (if erase == 0 { [0; 2] } else { erased }, block_size(write, erase));
    let order = *random.pick(&[Order::Interval, Order::Score]);
    let start = *random.pick(&[Start::Blank, Start::Garbage]);
    let workload = Workload { write, erase, erased, slots, start, order, saves: Vec::new() };
    let mut power_failures = 0;
    let mut simulation = Simulation::<V>::new(&workload).map_err(|error| (power_failures, error))?;
    let mut highest_score = 0u8;
    for _ in 0..sessions {
        let (mut actions, mut operations) = (Vec::new(), 0);
        for _ in 0..1 + random.below(4) {
            let long = random.once_in(2);
            if random.once_in(4) {
                actions.push(Action::EraseAhead { long });
            }
            // The highest score increases slowly, so that new checkpoints continue to enter the ranking (the table of
            // kept checkpoints).
            highest_score = highest_score.saturating_add(u8::from(random.once_in(3)));
            let score = highest_score.saturating_sub(random.below(4) as u8);
            actions.push(Action::Save(Save { long, score }));
            operations += 8 + if long { block / write } else { 96 / write } + if erase == 0 { 120 / write } else { 0 };
        }
        let failure = (!random.once_in(3)).then(|| {
            let is_erase = random.once_in(4);
            let interruption = *random.pick(interruptions(erase == 0, is_erase, write));
            PowerFailure { after: random.below(operations) as u64, interruption, seed: random.bits() }
        });
        let result = simulation
            .run(&actions, failure)
            .and_then(|has_failed| simulation.check().map(|()| has_failed))
            .map_err(|error| (power_failures, error))?;
        power_failures += u64::from(result);
        // Removes old saves from the model, so that its list stays small. The store no longer contains their
        // checkpoints.
        let step = simulation.model.step;
        let acknowledged = simulation.model.acknowledged.clone();
        let can_be_stored = |meta: &CheckpointMeta| meta.step + 200 > step || acknowledged.entries.contains(meta);
        simulation.model.attempts.retain(|attempt| can_be_stored(&attempt.meta));
    }
    Ok(power_failures)
}
