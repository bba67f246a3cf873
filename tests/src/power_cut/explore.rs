//! How the cases of a workload are gone through: all of them, one again, or a long sequence at random.

use super::case::{Case, Cut, Save, Start, Workload};
use super::device::GEOMETRIES;
use super::layer::Layer;
use super::model::Order;
use super::world::{Action, World};
use crate::flash::Outcome;
use crate::random::Random;
use training_monitor::store::Stored;

/// The save that follows a cut.
pub fn next_save(workload: &Workload, cuts: usize) -> Save {
    let long = workload.saves.last().is_some_and(|last| last.long) != (cuts % 2 == 1);
    Save { long, score: 100 + cuts as u8 }
}

/// Plays a case of this geometry.
pub fn play<L: Layer>(workload: &Workload, cuts: &[Cut]) -> Result<(), String> {
    let mut world = World::<L>::new(workload)?;
    let Some((last, before)) = workload.saves.split_last() else { return Ok(()) };
    for save in before {
        world.run(&[Action::Save(*save)], None)?;
        world.check()?;
    }
    let mut save = *last;
    for (index, cut) in cuts.iter().enumerate() {
        world.run(&[Action::Save(save)], Some(*cut))?;
        world.check().map_err(|error| format!("after cut {}: {error}", index + 1))?;
        save = next_save(workload, index + 1);
    }
    world.run(&[Action::Save(save)], None).map_err(|error| format!("the next save: {error}"))?;
    world.check().map_err(|error| format!("after the next save: {error}"))
}

/// Takes a case, which is only made when it is asked for, and what came out.
pub type Report<'a> = dyn FnMut(&dyn Fn() -> Case, Result<(), String>) + 'a;

/// All cases of a workload.
pub struct Explorer<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// How many cuts in a row.
    pub depth: usize,
    /// Of the operations of the save at most so many are cut, and of a save after a cut: the first, the last, and one or
    /// two between.
    pub thin: [usize; 2],
    /// Is told of each case.
    pub report: &'a mut Report<'a>,
}

impl Explorer<'_> {
    /// Goes through them.
    pub fn explore<L: Layer>(&mut self) {
        let Some((last, before)) = self.workload.saves.split_last() else { return };
        let prepared = World::<L>::new(self.workload).and_then(|mut world| {
            for save in before {
                world.run(&[Action::Save(*save)], None)?;
                world.check()?;
            }
            Ok(world)
        });
        let result = prepared.and_then(|world| self.cuts(&world, *last, &mut Vec::new()));
        if let Err(error) = result {
            self.tell(&[], Err(error));
        }
    }

    fn tell(&mut self, cuts: &[Cut], result: Result<(), String>) {
        let case = || Case::Bounded { workload: self.workload.clone(), cuts: cuts.to_vec() };
        (self.report)(&case, result);
    }

    /// Makes the save, uncut, then cut at every operation; and so on. An error is one of the uncut save.
    fn cuts<L: Layer>(&mut self, world: &World<L>, save: Save, path: &mut Vec<Cut>) -> Result<(), String> {
        let mut uncut = world.clone();
        uncut.chip.log = Some(Vec::new());
        uncut.run(&[Action::Save(save)], None).map_err(|error| format!("the next save: {error}"))?;
        uncut.check().map_err(|error| format!("after the next save: {error}"))?;
        let log = uncut.chip.log.take().unwrap_or_default();
        if path.len() == self.depth {
            return Ok(());
        }
        let edge = self.thin[usize::from(!path.is_empty())] / 2;
        let (write, ..) = world.chip.geometry();
        for (after, erase) in log.iter().enumerate() {
            let middle = after >= edge && log.len() - after > edge;
            if middle && after % (log.len() / 2 + 1) != edge {
                continue;
            }
            let outcomes = Outcome::all(*erase, write);
            for (index, outcome) in outcomes.iter().enumerate() {
                let seed = (after * 31 + index * 7 + path.len()) as u64;
                let cut = Cut { after: after as u64, outcome: *outcome, seed };
                path.push(cut);
                let mut cut_world = world.clone();
                let checked = cut_world.run(&[Action::Save(save)], Some(cut)).and_then(|_| cut_world.check());
                let next = next_save(self.workload, path.len());
                let result = checked.and_then(|()| self.cuts(&cut_world, next, path));
                self.tell(&path.clone(), result);
                path.pop();
            }
        }
        Ok(())
    }
}

/// A long random sequence of sessions, about half of them cut. Returns how many were.
pub fn long<L: Layer>(random: &mut Random, sessions: usize) -> Result<u64, (u64, String)> {
    let (write, erase, _) = *random.pick(GEOMETRIES);
    let slots = 2 + random.below(3);
    let erased = *random.pick(&[0xFF, 0]);
    let order = *random.pick(&[Order::Interval, Order::Score]);
    let start = *random.pick(&[Start::Blank, Start::Garbage]);
    let workload = Workload { write, erase, erased, slots, start, order, saves: Vec::new() };
    let mut cuts = 0;
    let mut world = World::<L>::new(&workload).map_err(|error| (cuts, error))?;
    let mut top = 0u8;
    for _ in 0..sessions {
        let (mut actions, mut operations) = (Vec::new(), 0);
        for _ in 0..1 + random.below(4) {
            let long = random.once_in(2);
            if random.once_in(4) {
                actions.push(Action::Ahead { long });
            }
            // Rising, so that saves go on ranking.
            top = top.saturating_add(u8::from(random.once_in(3)));
            let score = top.saturating_sub(random.below(4) as u8);
            actions.push(Action::Save(Save { long, score }));
            operations += 8 + if long { erase / write } else { 96 / write };
        }
        let cut = (!random.once_in(3)).then(|| {
            let erasing = random.once_in(4);
            let outcome = *random.pick(Outcome::all(erasing, write));
            Cut { after: random.below(operations) as u64, outcome, seed: random.bits() }
        });
        let was_cut = world.run(&actions, cut).and_then(|cut| world.check().map(|()| cut));
        cuts += u64::from(was_cut.map_err(|error| (cuts, error))?);
        // The model need not remember what can't come back.
        let step = world.model.step;
        let promised = world.model.promised.clone();
        let kept = |stored: &Stored| stored.step + 200 > step || promised.entries.contains(stored);
        world.model.attempts.retain(|attempt| kept(&attempt.stored));
    }
    Ok(cuts)
}
