//! A flash, the store on it, and the model of what must be true of them.

use super::case::{Case, Cut, Save, Start, Workload};
use super::layer::Layer;
use super::model::{Model, Order, Table};
use crate::flash::Flash;
use crate::random::Random;
use core::marker::PhantomData;
use embedded_io::Read;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{Checksum, One};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::Save as Decision;
use training_monitor::handlers::saving::Saving;
use training_monitor::ranking::Entry;
use training_monitor::store::slots::Slots;
use training_monitor::store::{Store, Stored};

type OpenStore<'a, L, const W: usize, const E: usize, const SLOTS: usize> =
    Slots<<L as Layer>::Over<&'a mut Flash<W, E>>, SLOTS, <L as Layer>::Sum>;

/// What is done in a session, between one opening and the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Saves a checkpoint, if it ranks.
    Save(Save),
    /// Erases ahead for one.
    Ahead {
        /// Of two erase blocks.
        long: bool,
    },
}

/// `SLOTS` slots of two erase blocks each, behind one block that is somebody else's.
#[derive(Debug)]
pub struct World<L, const W: usize, const E: usize, const SLOTS: usize> {
    /// The flash.
    pub flash: Flash<W, E>,
    /// The model.
    pub model: Model,
    layer: PhantomData<L>,
}

impl<L, const W: usize, const E: usize, const SLOTS: usize> Clone for World<L, W, E, SLOTS> {
    fn clone(&self) -> Self {
        World { flash: self.flash.clone(), model: self.model.clone(), layer: PhantomData }
    }
}

const OTHERS: u8 = 0x3C;

impl<L: Layer, const W: usize, const E: usize, const SLOTS: usize> World<L, W, E, SLOTS> {
    const REGION: core::ops::Range<u32> = E as u32..(E + 2 * E * SLOTS) as u32;

    /// As it is before the first save of a workload.
    pub fn new(erased: u8, start: Start, order: Order) -> Result<Self, String> {
        let mut image = vec![erased; E + 2 * E * SLOTS];
        if start == Start::Garbage {
            let mut random = Random::new(7);
            image.fill_with(|| random.byte());
        }
        image[..E].fill(OTHERS);
        let flash = Flash::with_image(image, erased);
        let mut world = World { flash, model: Model::new(order, L::keeps(SLOTS)), layer: PhantomData };
        if start == Start::Full {
            for index in 0..SLOTS {
                world.run(&[Action::Save(Save { long: index % 2 == 1, score: 1 + index as u8 })], None)?;
            }
        }
        Ok(world)
    }

    /// Weights that make a checkpoint of one erase block or two.
    fn weights(long: bool) -> usize {
        if long { (E - 96) / 4 + 6 } else { 6 }
    }

    /// A session. Returns whether the power was cut; any other failure is an error.
    pub fn run(&mut self, actions: &[Action], cut: Option<Cut>) -> Result<bool, String> {
        let builder = ModelCheckpoint::<4>::builder().n_saved(L::keeps(SLOTS) as u32);
        let broken = |error| format!("settings: {error}");
        if let Some(Cut { after, outcome, seed }) = cut {
            self.flash.cut_at(after, outcome, seed);
        }
        let result = match self.model.promised.order {
            Order::Interval => self.session(builder.save_interval(1).build().map_err(broken)?, actions),
            Order::Score => self.session(builder.scored().build().map_err(broken)?, actions),
        };
        let off = self.flash.is_off();
        self.flash.power_on();
        match result {
            Ok(()) => Ok(false),
            Err(_) if off => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn session<F>(&mut self, machine: ModelCheckpoint<4, F>, actions: &[Action]) -> Result<(), String> {
        let World { flash, model, .. } = self;
        let mut saving = attach::<L, W, E, SLOTS, F>(flash, machine)?;
        let mut sequence = list(saving.store_mut())?.last().map_or(0, |newest| newest.sequence);
        for action in actions {
            match *action {
                Action::Save(Save { long, score }) => {
                    let score = (model.promised.order == Order::Score).then_some(f32::from(score));
                    let next = Stored { step: model.step + 1, sequence: 0, iteration: 0, score };
                    if !table(model, &listed(saving.machine().kept())).accepts(&next) {
                        continue;
                    }
                    sequence += 1;
                    let (stored, mut weights) = model.begin::<L::Sum>(sequence, score, Self::weights(long));
                    let save = Decision { step: stored.step, score };
                    let objects = One("m", &mut weights[..]);
                    saving.save(save, stored.iteration, None, &objects).map_err(|error| format!("save: {error}"))?;
                    model.done();
                }
                Action::Ahead { long } => {
                    saving.sweep();
                    let len = 4 * Self::weights(long) as u32 + 32;
                    while !saving.store_mut().erase_ahead(len).map_err(|error| format!("erase ahead: {error}"))? {}
                }
            }
        }
        Ok(())
    }

    /// Opens and holds what is there against the model. Twice, to see that it stays the same.
    pub fn check(&mut self) -> Result<(), String> {
        let builder = ModelCheckpoint::<4>::builder().n_saved(L::keeps(SLOTS) as u32);
        let broken = |error| format!("settings: {error}");
        let before = self.flash.counts;
        let first = match self.model.promised.order {
            Order::Interval => self.look(builder.save_interval(1).build().map_err(broken)?),
            Order::Score => self.look(builder.scored().build().map_err(broken)?),
        }?;
        if !self.flash.is_unstable() {
            let mut store = open::<L, W, E, SLOTS>(&mut self.flash)?;
            if list(&mut store)? != first {
                return Err("opened twice, and it was not the same".into());
            }
        }
        if self.flash.counts.operations != before.operations {
            return Err("opening wrote to the flash".into());
        }
        if !self.flash.violations().is_empty() {
            return Err(format!("contract: {:?}", self.flash.violations()));
        }
        if self.flash.image()[..E].iter().any(|byte| *byte != OTHERS) {
            return Err("wrote outside its region".into());
        }
        Ok(())
    }

    fn look<F>(&mut self, machine: ModelCheckpoint<4, F>) -> Result<Vec<Stored>, String> {
        let World { flash, model, .. } = self;
        let reads = flash.counts.reads;
        let block_erases = flash.block_erases.clone();
        let store = open::<L, W, E, SLOTS>(flash)?;
        let erases = store.erases();
        drop(store);
        let bound = SLOTS * (3 + 2 * E / 64 + 1);
        if flash.counts.reads - reads > bound as u64 {
            return Err(format!("{} reads to open, more than {bound}", flash.counts.reads - reads));
        }
        if let Some(slot) = (0..SLOTS).find(|slot| erases[*slot] > block_erases[1 + 2 * slot]) {
            return Err(format!("slot {slot} says {} erases of {}", erases[slot], block_erases[1 + 2 * slot]));
        }

        let mut saving = attach::<L, W, E, SLOTS, F>(flash, machine)?;
        let all = list(saving.store_mut())?;
        let mut whole = Vec::new();
        for stored in &all {
            let attempt = model.attempt(stored).ok_or_else(|| format!("{stored:?} was never saved"))?;
            match read(saving.store_mut(), stored.step) {
                Ok(bytes) if *bytes == *attempt.bytes => whole.push(*stored),
                Ok(bytes) if passes::<L::Sum>(&bytes) => {
                    return Err(format!("{stored:?}: wrong data that passes for right"));
                }
                // Found to be whole at the opening, and then not: a cell that reads differently each time.
                _ => (),
            }
        }
        // An interrupted save that came out whole counts, but only for as long as it is there.
        if let Some(lost) = with_promised(model, &whole).entries.iter().find(|promised| !whole.contains(promised)) {
            return Err(format!("lost: {lost:?}; whole are {whole:?}"));
        }

        let expected = with_promised(model, &all);
        let mut kept: Vec<u32> = saving.machine().kept().iter().map(|entry| entry.step).collect();
        let best = saving.machine().best().map(|entry| entry.step);
        if best != kept.last().copied() || best != expected.best() {
            return Err(format!("the best is {best:?}, not {:?}", expected.best()));
        }
        kept.sort_unstable();
        if kept != expected.steps() {
            return Err(format!("ranking {kept:?}, not {:?}", expected.steps()));
        }
        let done = |stored: &Stored| model.attempt(stored).is_some_and(|attempt| attempt.done);
        if all.iter().all(done) && kept != model.promised.steps() {
            return Err(format!("ranking {kept:?}, promised {:?}", model.promised.steps()));
        }
        let latest = saving.machine().latest().map(|entry| entry.step);
        if latest != all.last().map(|newest| newest.step) {
            return Err(format!("the latest is {latest:?} of {all:?}"));
        }
        Ok(all)
    }
}

fn open<L: Layer, const W: usize, const E: usize, const SLOTS: usize>(
    flash: &mut Flash<W, E>,
) -> Result<OpenStore<'_, L, W, E, SLOTS>, String> {
    Slots::open(L::over(flash), World::<L, W, E, SLOTS>::REGION).map_err(|error| format!("open: {error}"))
}

#[allow(clippy::type_complexity, reason = "the type says what it is")]
fn attach<L: Layer, const W: usize, const E: usize, const SLOTS: usize, F>(
    flash: &mut Flash<W, E>,
    machine: ModelCheckpoint<4, F>,
) -> Result<Saving<4, IterationCompleted, OpenStore<'_, L, W, E, SLOTS>, F>, String> {
    let store = open::<L, W, E, SLOTS>(flash)?;
    machine.attach(IterationCompleted, store).map_err(|error| format!("attach: {error}"))
}

/// All that a store lists.
pub fn list<S: Store>(store: &mut S) -> Result<Vec<Stored>, String> {
    let mut all = Vec::new();
    while let Some(stored) = store.stored(all.len() as u32).map_err(|error| format!("list: {error:?}"))? {
        all.push(stored);
        if all.len() > 1000 {
            return Err("the list has no end".into());
        }
    }
    Ok(all)
}

/// The stream of a checkpoint.
pub fn read<S: Store>(store: &mut S, step: u32) -> Result<Vec<u8>, S::Error> {
    let mut reader = store.open(step, 0)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 512]);
    loop {
        match reader.read(&mut piece)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn passes<C: Checksum>(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(body, sum)| {
        let mut crc = C::default();
        crc.update(body);
        crc.value() == u32::from_le_bytes(*sum)
    })
}

fn table(model: &Model, all: &[Stored]) -> Table {
    let mut table = Table { entries: Vec::new(), ..model.promised.clone() };
    all.iter().for_each(|stored| table.insert(*stored));
    table
}

/// What has to be kept of these and of what is promised.
fn with_promised(model: &Model, found: &[Stored]) -> Table {
    let mut all: Vec<Stored> = found.iter().chain(&model.promised.entries).copied().collect();
    all.sort_by_key(|stored| (stored.sequence, stored.step));
    all.dedup();
    table(model, &all)
}

fn listed(kept: &[Entry]) -> Vec<Stored> {
    let stored = |entry: &Entry| Stored { step: entry.step, sequence: 0, iteration: 0, score: entry.score() };
    kept.iter().map(stored).collect()
}

/// The save that follows a cut.
pub fn next_save(workload: &Workload, cuts: usize) -> Save {
    let long = workload.saves.last().is_some_and(|last| last.long) != (cuts % 2 == 1);
    Save { long, score: 100 + cuts as u8 }
}

/// Plays a case of this geometry.
pub fn play<L: Layer, const W: usize, const E: usize, const SLOTS: usize>(
    workload: &Workload,
    cuts: &[Cut],
) -> Result<(), String> {
    let mut world = World::<L, W, E, SLOTS>::new(workload.erased, workload.start, workload.order)?;
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
    /// Of the operations of a save after a cut, at most so many are cut: the first, the last, and some between.
    pub thin: usize,
    /// Is told of each case.
    pub report: &'a mut Report<'a>,
}

impl Explorer<'_> {
    /// Goes through them.
    pub fn explore<L: Layer, const W: usize, const E: usize, const SLOTS: usize>(&mut self) {
        let Workload { erased, start, order, ref saves, .. } = *self.workload;
        let Some((last, before)) = saves.split_last() else { return };
        let prepared = World::<L, W, E, SLOTS>::new(erased, start, order).and_then(|mut world| {
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
    fn cuts<L: Layer, const W: usize, const E: usize, const SLOTS: usize>(
        &mut self,
        world: &World<L, W, E, SLOTS>,
        save: Save,
        path: &mut Vec<Cut>,
    ) -> Result<(), String> {
        let mut uncut = world.clone();
        uncut.flash.log = Some(Vec::new());
        uncut.run(&[Action::Save(save)], None).map_err(|error| format!("the next save: {error}"))?;
        uncut.check().map_err(|error| format!("after the next save: {error}"))?;
        let log = uncut.flash.log.take().unwrap_or_default();
        if path.len() == self.depth {
            return Ok(());
        }
        let edge = self.thin / 2;
        for (after, erase) in log.iter().enumerate() {
            let middle = after >= edge && after + edge < log.len();
            if !path.is_empty() && middle && after % (log.len() / 2 + 1) != edge {
                continue;
            }
            let outcomes = crate::flash::Outcome::all(*erase, W);
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
pub fn long<L: Layer, const W: usize, const E: usize, const SLOTS: usize>(
    random: &mut Random,
    sessions: usize,
) -> Result<u64, (u64, String)> {
    let erased = *random.pick(&[0xFF, 0]);
    let order = *random.pick(&[Order::Interval, Order::Score]);
    let start = *random.pick(&[Start::Blank, Start::Garbage]);
    let mut cuts = 0;
    let mut world = World::<L, W, E, SLOTS>::new(erased, start, order).map_err(|error| (cuts, error))?;
    let mut top = 0u8;
    for _ in 0..sessions {
        let mut actions = Vec::new();
        for _ in 0..1 + random.below(4) {
            let long = random.once_in(2);
            if random.once_in(4) {
                actions.push(Action::Ahead { long });
            }
            // Rising, so that saves go on ranking.
            top = top.saturating_add(u8::from(random.once_in(3)));
            let score = top.saturating_sub(random.below(4) as u8);
            actions.push(Action::Save(Save { long, score }));
        }
        let cut = (!random.once_in(3)).then(|| {
            let erase = random.once_in(4);
            let outcome = *random.pick(crate::flash::Outcome::all(erase, W));
            let most = actions.len() * (4 + 2 * (E / 4).min(600) / W.max(4));
            Cut { after: random.below(most) as u64, outcome, seed: random.bits() }
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
