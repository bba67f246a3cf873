//! Performs sequences of saves, evictions, power failures and restarts, and checks that acknowledged checkpoints are
//! stored.

use super::super::decode;
use super::medium::{Bytes, ChipStore, Medium, NorFlash};
use super::{SLOTS, encode, listed, load, meta, save};
use crate::models::stream::read;
use arbitrary::Arbitrary;
use training_monitor::store::{CheckpointMeta, Store};

#[derive(Arbitrary, Debug)]
struct SequenceInput {
    erased: bool,
    /// Selects the size of a granule, or of a page.
    granule: u8,
    /// The seed of random initial content.
    random_content: Option<u32>,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Operation {
    Save {
        weights: u8,
        write_size: u8,
        score: Option<i8>,
        /// The index of a stored checkpoint. The new checkpoint uses the step number of that checkpoint and replaces
        /// it.
        replaced: Option<u8>,
        failure: Option<FailureInput>,
    },
    Remove(u8),
    EraseAhead(u8, Option<FailureInput>),
    Reopen,
}

/// A power failure: the number of operations before it, the index of the interruption, and a seed.
type FailureInput = (u8, u8, u8);

/// The fuzz target that runs random sequences of saves, power failures and restarts on flash slots.
pub fn slot_operations(data: &[u8]) {
    let Some(input) = decode::<SequenceInput>(data) else { return };
    match input.granule % 4 {
        0 => run_sequence::<NorFlash<1>>(&input),
        1 => run_sequence::<NorFlash<4>>(&input),
        2 => run_sequence::<NorFlash<8>>(&input),
        _ => run_sequence::<NorFlash<32>>(&input),
    }
}

/// The fuzz target that runs random sequences of saves, power failures and restarts in byte-addressable memory.
pub fn memory_operations(data: &[u8]) {
    let Some(input) = decode::<SequenceInput>(data) else { return };
    match input.granule % 5 {
        0 => run_sequence::<Bytes<1>>(&input),
        1 => run_sequence::<Bytes<8>>(&input),
        2 => run_sequence::<Bytes<32>>(&input),
        3 => run_sequence::<Bytes<64>>(&input),
        _ => run_sequence::<Bytes<256>>(&input),
    }
}

/// The saves of one test sequence: all that were started, and those whose checkpoints must be stored.
#[derive(Default)]
struct Saves {
    /// Every checkpoint whose save was started, with its stream.
    started: Vec<(CheckpointMeta, Vec<u8>)>,
    /// The indices in `started` of all checkpoints that were acknowledged and not removed. They must be stored.
    acknowledged: Vec<usize>,
}

fn run_sequence<M: Medium>(input: &SequenceInput) {
    let erased = if input.erased { 0 } else { 0xFF };
    let region = 0..(SLOTS * M::LAYOUT.size) as u32;
    let mut image = vec![erased; region.end as usize];
    if let Some(seed) = input.random_content {
        let mut random = crate::random::Random::new(u64::from(seed));
        image.fill_with(|| random.byte());
    }
    let mut chip = M::new_chip(image, erased);
    let mut saves = Saves::default();
    let mut operations = input.operations.iter().take(24);
    let (mut step, mut has_more) = (0, true);
    while has_more {
        chip.power_on();
        let mut store = M::open(&mut chip, region.clone()).expect("a valid region");
        check(&mut store, &saves, input);
        let mut sequence = listed(&mut store).last().map_or(0, |newest| newest.sequence);
        loop {
            let Some(operation) = operations.next() else {
                has_more = false;
                break;
            };
            if !apply::<M>(operation, &mut store, &mut saves, &mut step, &mut sequence, input) {
                break;
            }
            check(&mut store, &saves, input);
        }
    }
    assert_eq!(chip.violations(), [], "{input:?}");
    // A save must succeed after all power failures of the sequence.
    chip.power_on();
    let mut store = M::open(&mut chip, region.clone()).expect("a valid region");
    let all = listed(&mut store);
    if all.len() == SLOTS {
        let oldest = all.iter().find(|meta| !saves.acknowledged.iter().any(|index| saves.started[*index].0 == **meta));
        let oldest = oldest.unwrap_or(&all[0]).sequence;
        store.remove(oldest).expect("removal does not access the memory");
    }
    let sequence = all.last().map_or(0, |newest| newest.sequence) + 1;
    let last = meta(step + 1, sequence, 9, None);
    save(&mut store, &last, &mut [0.25; 4], 64)
        .unwrap_or_else(|error| panic!("the next save fails: {error:?} after {input:?}"));
    assert!(load(&mut store, last.sequence).is_some(), "{input:?}");
}

/// Performs one operation on the store. Returns false if the session ends. A session ends by a power failure or by a
/// `Reopen` operation.
fn apply<M: Medium>(
    operation: &Operation,
    store: &mut M::Store<'_>,
    saves: &mut Saves,
    step: &mut u32,
    sequence: &mut u32,
    input: &SequenceInput,
) -> bool {
    let all = listed(store);
    let set_failure = |store: &mut M::Store<'_>, failure: &Option<FailureInput>| {
        if let Some((after, interruption, seed)) = failure {
            let interruptions = M::interruptions(*after == 0);
            let interruption = interruptions[usize::from(*interruption) % interruptions.len()];
            store.chip_mut().cut_power_at(u64::from(*after) % M::MAX_OPERATIONS, interruption, u64::from(*seed));
        }
    };
    match operation {
        Operation::Reopen => return false,
        Operation::Remove(index) => {
            if let Some(meta) = all.get(usize::from(*index) % all.len().max(1)) {
                store.remove(meta.sequence).expect("removal does not access the memory");
                // The checkpoints of the same step that the removed checkpoint replaced are removed with it. Its own save
                // may have written the seal and then failed.
                let is_removed = |other: &CheckpointMeta| other.step == meta.step && other.sequence <= meta.sequence;
                saves.acknowledged.retain(|index| !is_removed(&saves.started[*index].0));
            }
        }
        Operation::EraseAhead(len, failure) => {
            set_failure(store, failure);
            // Tries to erase a free slot for the next save. If every slot holds a checkpoint, the store has no such
            // slot.
            let result = store.erase_ahead(u32::from(*len));
            assert!(result || all.len() == SLOTS || store.chip_mut().is_off() || *len > 160, "{input:?}");
        }
        Operation::Save { weights, write_size, score, replaced, failure } => {
            let replaced = replaced.and_then(|index| all.get(usize::from(index) % all.len().max(1)));
            *step += 1;
            *sequence += 1;
            let saved_step = replaced.map_or(*step, |replaced| replaced.step);
            let score = score.map(f32::from);
            let meta = meta(saved_step, *sequence, *step, score);
            let mut weights: Vec<f32> =
                (0..weights % 24).map(|index| f32::from(index) + *step as f32 * 100.0).collect();
            saves.started.push((meta, encode(&meta, &mut weights).0));
            let is_full = all.len() == SLOTS;
            set_failure(store, failure);
            let result = save(store, &meta, &mut weights, usize::from(write_size % 64) + 1);
            if result.is_ok() {
                let started = &saves.started;
                saves.acknowledged.retain(|index| started[*index].0.step != saved_step);
                saves.acknowledged.push(started.len() - 1);
            } else {
                assert!(is_full || store.chip_mut().is_off(), "{result:?} in {input:?}");
            }
        }
    }
    // Cancels a planned power failure that this operation did not reach, so that it does not interrupt a later
    // operation.
    let is_off = store.chip_mut().is_off();
    if !is_off {
        store.chip_mut().power_on();
    }
    !is_off
}

/// Checks that every acknowledged checkpoint is listed and bit-identical, and that every listed checkpoint was started.
/// An interrupted checkpoint can have unstable cells: it was intact when the store was opened, but a later read gives
/// other bits. Such a stream must not have a valid checksum.
fn check<S: Store>(store: &mut S, saves: &Saves, input: &SequenceInput) {
    let all = listed(store);
    for meta in &all {
        let started = saves.started.iter().rev().find(|(started, _)| started == meta);
        let (_, bytes) = started.unwrap_or_else(|| panic!("{meta:?} was never saved: {input:?}"));
        let loaded = load(store, meta.sequence);
        let is_acknowledged = saves.acknowledged.iter().any(|index| saves.started[*index].0 == *meta);
        let is_identical = loaded.as_ref() == Some(bytes) && read(bytes).is_some();
        let is_valid = loaded.as_deref().is_some_and(|loaded| read(loaded).is_some());
        assert!(is_identical || (!is_acknowledged && !is_valid), "{meta:?} is damaged: {input:?}");
    }
    for index in &saves.acknowledged {
        let (meta, _) = &saves.started[*index];
        // A later save of the same step can replace the checkpoint, even if its commit was interrupted.
        let is_same_or_later = |other: &&CheckpointMeta| other.step == meta.step && other.sequence >= meta.sequence;
        assert!(all.iter().any(|other| is_same_or_later(&other)), "{meta:?} is lost: {input:?}");
    }
}
