//! A flash, the store on it, and the model of what must be true of them.

use super::case::{Cut, Save, Start, Workload};
use super::device::{Device, GEOMETRIES, open};
use super::layer::Layer;
use super::model::{Model, Order, Table};
use crate::flash::Chip;
use crate::random::Random;
use core::marker::PhantomData;
use embedded_io::Read;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{Checksum, One};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::{Builder, Save as Decision};
use training_monitor::handlers::saving::Saving;
use training_monitor::ranking::Entry;
use training_monitor::store::{Store, Stored};

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

/// Slots of two erase blocks each, behind one block that is somebody else's.
#[derive(Debug)]
pub struct World<L> {
    /// The flash.
    pub chip: Chip,
    /// The model.
    pub model: Model,
    slots: usize,
    layer: PhantomData<L>,
}

impl<L> Clone for World<L> {
    fn clone(&self) -> Self {
        World { chip: self.chip.clone(), model: self.model.clone(), slots: self.slots, layer: PhantomData }
    }
}

const OTHERS: u8 = 0x3C;

impl<L: Layer> World<L> {
    /// As it is before the first save of a workload.
    pub fn new(workload: &Workload) -> Result<Self, String> {
        let Workload { write, erase, erased, slots, start, order, .. } = *workload;
        let known = GEOMETRIES.iter().any(|known| (known.0, known.1) == (write, erase));
        if !known || !(2..=4).contains(&slots) {
            return Err(format!("no geometry of {write} and {erase} bytes with {slots} slots is built in"));
        }
        let mut image = vec![erased; erase + 2 * erase * slots];
        if start == Start::Garbage {
            let mut random = Random::new(7);
            image.fill_with(|| random.byte());
        }
        image[..erase].fill(OTHERS);
        let chip = Chip::new(write, erase, 1, image, erased);
        let mut world = World { chip, model: Model::new(order, L::keeps(slots)), slots, layer: PhantomData };
        if start == Start::Full {
            for index in 0..slots {
                world.run(&[Action::Save(Save { long: index % 2 == 1, score: 1 + index as u8 })], None)?;
            }
        }
        Ok(world)
    }

    fn settings(&self) -> Builder<4> {
        ModelCheckpoint::<4>::builder().n_saved(L::keeps(self.slots) as u32)
    }

    /// A session. Returns whether the power was cut; any other failure is an error.
    pub fn run(&mut self, actions: &[Action], cut: Option<Cut>) -> Result<bool, String> {
        let builder = self.settings();
        let broken = |error| format!("settings: {error}");
        if let Some(Cut { after, outcome, seed }) = cut {
            self.chip.cut_at(after, outcome, seed);
        }
        let result = match self.model.promised.order {
            Order::Interval => self.session(builder.save_interval(1).build().map_err(broken)?, actions),
            Order::Score => self.session(builder.scored().build().map_err(broken)?, actions),
        };
        let off = self.chip.is_off();
        self.chip.power_on();
        match result {
            Ok(()) => Ok(false),
            Err(_) if off => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn session<F>(&mut self, machine: ModelCheckpoint<4, F>, actions: &[Action]) -> Result<(), String> {
        let World { chip, model, slots, .. } = self;
        let (_, erase, _) = chip.geometry();
        let mut saving = attach::<L, F>(chip, *slots, machine)?;
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
                    let (stored, mut weights) = model.begin::<L::Sum>(sequence, score, weights(erase, long));
                    let save = Decision { step: stored.step, score };
                    let objects = One("m", &mut weights[..]);
                    saving.save(save, stored.iteration, None, &objects).map_err(|error| format!("save: {error}"))?;
                    model.done();
                }
                Action::Ahead { long } => {
                    saving.sweep();
                    let len = 4 * weights(erase, long) as u32 + 32;
                    while !saving.store_mut().erase_ahead(len).map_err(|error| format!("erase ahead: {error}"))? {}
                }
            }
        }
        Ok(())
    }

    /// Opens and holds what is there against the model. Twice, to see that it stays the same.
    pub fn check(&mut self) -> Result<(), String> {
        let builder = self.settings();
        let broken = |error| format!("settings: {error}");
        let before = self.chip.counts;
        let first = match self.model.promised.order {
            Order::Interval => self.look(builder.save_interval(1).build().map_err(broken)?),
            Order::Score => self.look(builder.scored().build().map_err(broken)?),
        }?;
        if !self.chip.is_unstable() {
            let mut store = open_slots::<L>(&mut self.chip, self.slots)?;
            if list(&mut store)? != first {
                return Err("opened twice, and it was not the same".into());
            }
        }
        if self.chip.counts.operations != before.operations {
            return Err("opening wrote to the flash".into());
        }
        if !self.chip.violations().is_empty() {
            return Err(format!("contract: {:?}", self.chip.violations()));
        }
        let (_, erase, _) = self.chip.geometry();
        // Without a branch a byte: this is done millions of times.
        if self.chip.image()[..erase].iter().fold(0, |changed, byte| changed | byte ^ OTHERS) != 0 {
            return Err("wrote outside its region".into());
        }
        Ok(())
    }

    fn look<F>(&mut self, machine: ModelCheckpoint<4, F>) -> Result<Vec<Stored>, String> {
        let World { chip, model, slots, .. } = self;
        let (_, erase, _) = chip.geometry();
        let reads = chip.counts.reads;
        let block_erases = chip.block_erases.clone();
        let store = open_slots::<L>(chip, *slots)?;
        let erases = store.erases();
        drop(store);
        let bound = *slots * (3 + 2 * erase / 64 + 1);
        if chip.counts.reads - reads > bound as u64 {
            return Err(format!("{} reads to open, more than {bound}", chip.counts.reads - reads));
        }
        if let Some(slot) = (0..*slots).find(|slot| erases[*slot] > block_erases[1 + 2 * slot]) {
            return Err(format!("slot {slot} says {} erases of {}", erases[slot], block_erases[1 + 2 * slot]));
        }

        let mut saving = attach::<L, F>(chip, *slots, machine)?;
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

/// Weights that make a checkpoint of one erase block or two.
fn weights(erase: usize, long: bool) -> usize {
    if long { (erase - 96) / 4 + 6 } else { 6 }
}

fn open_slots<L: Layer>(chip: &mut Chip, slots: usize) -> Result<Device<'_, L::Sum>, String> {
    let (_, erase, _) = chip.geometry();
    let end = chip.image().len();
    open(chip, L::MISTAKE, erase as u32..end as u32, slots)
}

fn attach<L: Layer, F>(
    chip: &mut Chip,
    slots: usize,
    machine: ModelCheckpoint<4, F>,
) -> Result<Saving<4, IterationCompleted, Device<'_, L::Sum>, F>, String> {
    let store = open_slots::<L>(chip, slots)?;
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
