//! A simulated memory that contains a store of checkpoints, and the model (the list of checkpoints that the store must
//! contain).

use super::case::{PowerFailure, Save, Start, Workload};
use super::device::{Device, GEOMETRIES, Layout, block_size, block_size_of, new_chip, open};
use super::model::{Model, Order, Table, header};
use super::store_variant::StoreVariant;
use crate::flash::Chip;
use crate::random::Random;
use crate::store_access::{list_checkpoints, read_stream};
use core::marker::PhantomData;
use training_monitor::checkpoint::Checksum;
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::ranking::RankedCheckpoint;
use training_monitor::handlers::model_checkpoint::{CheckpointHandler, SaveDecision};
use training_monitor::store::CheckpointMeta;
use training_monitor::{ConfigError, ModelCheckpoint};

/// An action in a session. A session starts with opening the store and ends with its actions or with a power failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Saves a checkpoint if the ranking accepts it: the ranking has free space, or the checkpoint is better than the
    /// worst entry.
    Save(Save),
    /// Erases a free slot (the flash area of one checkpoint) before the next save, so that this save takes less time.
    EraseAhead {
        /// Whether the next checkpoint takes two erase blocks.
        long: bool,
    },
}

/// A flash with slots of two erase blocks each, or byte-addressable memory. A slot is the area of one checkpoint. The
/// first block, which is half as large as a slot, is outside the region of the store, so that a check detects writes
/// outside the region.
#[derive(Debug)]
pub struct Simulation<V> {
    /// The simulated flash chip, which can lose power during an operation.
    pub chip: Chip,
    /// The model: the saves that were started, and the checkpoints that the store must contain.
    pub model: Model,
    layout: Layout,
    variant: PhantomData<V>,
}

impl<V> Clone for Simulation<V> {
    fn clone(&self) -> Self {
        Simulation { chip: self.chip.clone(), model: self.model.clone(), layout: self.layout, variant: PhantomData }
    }
}

/// The policy of a session (the rule that decides which checkpoints are kept). [`attach`] sets the number of kept
/// checkpoints.
type Policy<F> = Result<ModelCheckpoint<4, F>, ConfigError>;

/// The value of every byte in the flash block outside the region of the store. A check detects a change of these bytes.
const FOREIGN: u8 = 0x3C;

impl<V: StoreVariant> Simulation<V> {
    /// Builds the flash and the model as they are before the first save of a workload (a list of saves).
    pub fn new(workload: &Workload) -> Result<Self, String> {
        let Workload { write, erase, erased, slots, start, order, .. } = *workload;
        let is_known = GEOMETRIES.iter().any(|geometry| (geometry.0, geometry.1) == (write, erase));
        if !is_known || !(2..=4).contains(&slots) {
            return Err(format!(
                "unsupported geometry: write size {write}, erase size {erase}, {slots} slots; see GEOMETRIES"
            ));
        }
        let layout = Layout::new(slots, erased);
        let block = block_size(write, erase);
        let mut image = vec![layout.blank(); block + 2 * block * slots];
        if start == Start::Garbage {
            let mut random = Random::new(7);
            image.fill_with(|| random.byte());
        }
        image[..block].fill(FOREIGN);
        let chip = new_chip(write, erase, image, layout.blank());
        let model = Model::new(order, V::n_saved(slots));
        let mut simulation = Simulation { chip, model, layout, variant: PhantomData };
        if start == Start::Full {
            for index in 0..slots {
                simulation.run(&[Action::Save(Save { long: index % 2 == 1, score: 1 + index as u8 })], None)?;
            }
        }
        Ok(simulation)
    }

    /// Runs a session: opens the store and performs the actions. Returns true if the simulated power failed during the
    /// session. Every other failure is an error.
    pub fn run(&mut self, actions: &[Action], failure: Option<PowerFailure>) -> Result<bool, String> {
        if let Some(PowerFailure { after, interruption, seed }) = failure {
            self.chip.cut_power_at(after, interruption, seed);
        }
        let result = match self.model.acknowledged.order {
            Order::Interval => self.session(ModelCheckpoint::every(1), actions),
            Order::Score => self.session(Ok(ModelCheckpoint::by_score()), actions),
        };
        let is_off = self.chip.is_off();
        self.chip.power_on();
        match result {
            Ok(()) => Ok(false),
            Err(_) if is_off => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn session<F>(&mut self, policy: Policy<F>, actions: &[Action]) -> Result<(), String> {
        let Simulation { chip, model, layout, .. } = self;
        let block = block_size_of(chip);
        let mut handler = attach::<V, F>(chip, *layout, policy)?;
        let mut sequence = list_checkpoints(handler.store_mut())?.last().map_or(0, |newest| newest.sequence);
        for action in actions {
            match *action {
                Action::Save(Save { long, score }) => {
                    let score = (model.acknowledged.order == Order::Score).then_some(f32::from(score));
                    let next = CheckpointMeta::from(&header(model.step + 1, 0, 0, score, 0));
                    if !rank(model, &ranked(handler.policy().kept())).accepts(&next) {
                        continue;
                    }
                    sequence += 1;
                    let long = *model.long.get_or_insert(long);
                    let len = weight_count(block, long);
                    let (meta, mut weights) = model.start_save::<V::Sum>(sequence, score, len);
                    let decision = SaveDecision { step: meta.step, score };
                    handler
                        .save(decision, meta.iteration, None, &mut weights)
                        .map_err(|error| format!("save: {error}"))?;
                    model.acknowledge_save();
                }
                Action::EraseAhead { long } => {
                    handler.evict_unranked();
                    let len = 4 * weight_count(block, long) as u32 + 32;
                    while !handler.store_mut().erase_ahead(len).map_err(|error| format!("erase ahead: {error}"))? {}
                }
            }
        }
        Ok(())
    }

    /// Opens the store twice, and compares the listed checkpoints with the model (the expected state). Also checks that
    /// opening writes nothing to the flash.
    pub fn check(&mut self) -> Result<(), String> {
        let before = self.chip.counts;
        let first = match self.model.acknowledged.order {
            Order::Interval => self.check_content(ModelCheckpoint::every(1)),
            Order::Score => self.check_content(Ok(ModelCheckpoint::by_score())),
        }?;
        if !self.chip.is_unstable() {
            let mut store = open_slots::<V>(&mut self.chip, self.layout)?;
            if list_checkpoints(&mut store)? != first {
                return Err("opening the store a second time lists other checkpoints".into());
            }
        }
        if self.chip.counts.operations != before.operations {
            return Err("opening the store wrote to the flash".into());
        }
        if !self.chip.violations().is_empty() {
            return Err(format!("the store violated the driver contract: {:?}", self.chip.violations()));
        }
        let block = block_size_of(&self.chip);
        // Each byte outside the region must still have its initial value. The loop has no branch per byte, because it
        // runs millions of times.
        if self.chip.image()[..block].iter().fold(0, |changed, byte| changed | byte ^ FOREIGN) != 0 {
            return Err("the store wrote outside its region".into());
        }
        Ok(())
    }

    /// Opens the store, compares its checkpoints with the model (the expected state), and returns the listed
    /// checkpoints.
    fn check_content<F>(&mut self, policy: Policy<F>) -> Result<Vec<CheckpointMeta>, String> {
        let Simulation { chip, model, layout, .. } = self;
        check_opening::<V>(chip, *layout)?;

        let mut handler = attach::<V, F>(chip, *layout, policy)?;
        let listed = list_checkpoints(handler.store_mut())?;
        let mut intact = Vec::new();
        for meta in &listed {
            let attempt = model.attempt(meta).ok_or_else(|| format!("{meta:?} was never saved"))?;
            match read_stream(handler.store_mut(), meta.step) {
                Ok(bytes) if *bytes == *attempt.bytes => intact.push(*meta),
                Ok(bytes) if has_valid_checksum::<V::Sum>(&bytes) => {
                    return Err(format!("{meta:?}: wrong data with a valid checksum"));
                }
                // Accepts a stream that an unstable cell damages: it was intact at opening, but this read gives other
                // bits.
                _ => (),
            }
        }
        // The ranking that the store must contain. It includes a checkpoint whose save was interrupted, if the
        // checkpoint is stored completely and is readable.
        let required = with_acknowledged(model, &intact);
        if let Some(lost) = required.entries.iter().find(|entry| !intact.contains(entry)) {
            return Err(format!("lost: {lost:?}; intact checkpoints: {intact:?}"));
        }

        let expected = with_acknowledged(model, &listed);
        let mut kept: Vec<u32> = handler.policy().kept().iter().map(|entry| entry.step).collect();
        let best = handler.policy().best().map(|entry| entry.step);
        if best != kept.last().copied() || best != expected.best() {
            return Err(format!("the best checkpoint is {best:?}, expected {:?}", expected.best()));
        }
        kept.sort_unstable();
        if kept != expected.steps() {
            return Err(format!("the ranking is {kept:?}, expected {:?}", expected.steps()));
        }
        let is_acknowledged =
            |meta: &CheckpointMeta| model.attempt(meta).is_some_and(|attempt| attempt.is_acknowledged);
        if listed.iter().all(is_acknowledged) && kept != model.acknowledged.steps() {
            return Err(format!("the ranking is {kept:?}, acknowledged were {:?}", model.acknowledged.steps()));
        }
        let latest = handler.policy().latest().map(|entry| entry.step);
        if latest != listed.last().map(|newest| newest.step) {
            return Err(format!("the latest checkpoint is {latest:?}, listed are {listed:?}"));
        }
        Ok(listed)
    }
}

/// Opens the store. Checks that this takes a limited number of reads, and that no reported erase count exceeds the
/// actual number of erases.
fn check_opening<V: StoreVariant>(chip: &mut Chip, layout: Layout) -> Result<(), String> {
    let (page, ..) = chip.geometry();
    let (block, is_byte_addressable) = (block_size_of(chip), chip.is_byte_addressable());
    let reads = chip.counts.reads;
    let block_erases = chip.block_erases.clone();
    let store = open_slots::<V>(chip, layout)?;
    let slots = layout.slots;
    let erases = store.erases();
    drop(store);
    let limit = slots * if is_byte_addressable { 4 + 3 * 2 * block / 128 } else { 4 + 2 * block / 64 };
    if chip.counts.reads - reads > limit as u64 {
        return Err(format!("opening the store took {} reads, the limit is {limit}", chip.counts.reads - reads));
    }
    // Each overwrite of a slot in byte-addressable memory writes the page in which the record starts.
    let record_offset = if page > 32 { 160 } else { 0 };
    let erase = if is_byte_addressable { page } else { block };
    let actual =
        |slot: usize| block_erases[(block * (1 + 2 * slot) + record_offset * usize::from(is_byte_addressable)) / erase];
    if let Some(slot) = (0..slots).find(|slot| erases[*slot] > actual(*slot)) {
        let actual = actual(slot);
        return Err(format!("slot {slot} reports {} erases, but was erased {actual} times", erases[slot]));
    }
    Ok(())
}

/// The number of weights of a checkpoint that takes one erase block, or two if `long` is set.
fn weight_count(block: usize, long: bool) -> usize {
    if long { (block - 96) / 4 + 6 } else { 6 }
}

fn open_slots<V: StoreVariant>(chip: &mut Chip, layout: Layout) -> Result<Device<'_, V::Sum>, String> {
    let (block, end) = (block_size_of(chip), chip.image().len());
    open(chip, V::MISTAKE, block as u32..end as u32, layout)
}

fn attach<V: StoreVariant, F>(
    chip: &mut Chip,
    layout: Layout,
    policy: Policy<F>,
) -> Result<CheckpointHandler<4, IterationCompleted, Device<'_, V::Sum>, F>, String> {
    let policy = policy.and_then(|policy| policy.with_n_saved(V::n_saved(layout.slots) as u32));
    let policy = policy.map_err(|error| format!("settings: {error}"))?;
    let store = open_slots::<V>(chip, layout)?;
    policy.attach(IterationCompleted, store).map_err(|error| format!("attach: {error}"))
}

/// Whether the last four bytes of a stream are the checksum of the other bytes.
fn has_valid_checksum<C: Checksum>(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(body, sum)| {
        let mut crc = C::default();
        crc.update(body);
        crc.value() == u32::from_le_bytes(*sum)
    })
}

/// Returns the ranking (the table of kept checkpoints) that results from the given checkpoints alone.
fn rank(model: &Model, checkpoints: &[CheckpointMeta]) -> Table {
    let mut table = Table { entries: Vec::new(), ..model.acknowledged.clone() };
    checkpoints.iter().for_each(|meta| table.insert(*meta));
    table
}

/// Returns the ranking (the table of kept checkpoints) that results from the given checkpoints and from the
/// acknowledged ones, whose save returned Ok.
fn with_acknowledged(model: &Model, checkpoints: &[CheckpointMeta]) -> Table {
    let mut all: Vec<CheckpointMeta> = checkpoints.iter().chain(&model.acknowledged.entries).copied().collect();
    all.sort_by_key(|meta| (meta.sequence, meta.step));
    all.dedup();
    rank(model, &all)
}

/// Converts the ranking entries of the library to the entry type of a store. The sequence and the iteration are 0,
/// because a ranking does not contain them.
fn ranked(kept: &[RankedCheckpoint]) -> Vec<CheckpointMeta> {
    let meta = |entry: &RankedCheckpoint| CheckpointMeta::from(&header(entry.step, 0, 0, entry.score(), 0));
    kept.iter().map(meta).collect()
}
