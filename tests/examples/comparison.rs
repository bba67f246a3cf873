//! Compares this crate with other flash stores under the same power failures:
//! `cargo run --release -p training-monitor-tests --example comparison`.
//!
//! Each store writes a value of 100 bytes again and again to the same simulated flash: 32 erase blocks of 512 bytes, a
//! write size of 4 bytes, and an erased value of 0xFF. The comparison starts after different numbers of writes, so that
//! some of the writes must reclaim blocks. The power fails in each flash operation of a write, with each effect on the
//! cells. In some cases it fails again during the next write. The last write of a case succeeds. The program opens the
//! store anew after each power failure and after each write. A case has one or two power failures, and one of these
//! results:
//!
//! * *lost*: an acknowledged value is neither stored nor replaced by a newer one, or cannot be read.
//! * *wrong*: the store returns a value that was never written.
//! * *refused*: a write after the power failure fails, or a read fails although no value was acknowledged yet.
//! * *panics*: the store panics.
//! * *endless*: the store makes a million reads without returning.
//!
//! The effects of a power failure have three groups. "prefix" effects are those that the tests of the other stores use:
//! nothing, everything or the first bytes of an operation take effect. "torn" effects change other bits and bytes.
//! "cells" effects leave cells that are unreadable or read differently each time. The comparison allows a store to
//! program a granule twice.

use core::panic::AssertUnwindSafe;
use embassy_futures::block_on;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use sequential_storage::cache::Cache;
use sequential_storage::map::{MapConfig, MapStorage};
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::Named;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::SaveDecision;
use training_monitor::store::flash::Slots;
use training_monitor_tests::flash::{ChipError, Flash, Interruption};

const PAGE: usize = 512;
const PAGES: usize = 32;
const LEN: usize = 100;

type Chip = Flash<4, PAGE>;
type Value = [u8; LEN];

/// A store of one value. Each function opens the store first, as after power-on.
trait FlashStore {
    const NAME: &'static str;
    fn format(_: &mut Chip) {}
    fn write(chip: &mut Chip, value: &Value) -> Result<(), String>;
    fn read(chip: &mut Chip) -> Result<Option<Vec<u8>>, String>;
}

struct TrainingMonitor;

impl FlashStore for TrainingMonitor {
    const NAME: &'static str = "training-monitor slots";

    fn write(chip: &mut Chip, value: &Value) -> Result<(), String> {
        let store = Slots::<_, 2>::open(chip, 0..(PAGE * PAGES) as u32).map_err(|error| error.to_string())?;
        let policy = ModelCheckpoint::<1>::every(1).map_err(|error| error.to_string())?;
        let mut handler = policy.attach(IterationCompleted, store).map_err(|error| error.to_string())?;
        let mut floats: Vec<f32> = value.iter().map(|byte| f32::from(*byte)).collect();
        let step = handler.policy().latest().map_or(1, |latest| latest.step + 1);
        let mut objects = Named::new("v", &mut floats[..LEN / 4]);
        handler.save(SaveDecision { step, score: None }, step, None, &mut objects).map_err(|error| error.to_string())
    }

    fn read(chip: &mut Chip) -> Result<Option<Vec<u8>>, String> {
        let store = Slots::<_, 2>::open(chip, 0..(PAGE * PAGES) as u32).map_err(|error| error.to_string())?;
        let policy = ModelCheckpoint::<1>::every(1).map_err(|error| error.to_string())?;
        let mut handler = policy.attach(IterationCompleted, store).map_err(|error| error.to_string())?;
        let mut floats = [0.0_f32; LEN / 4];
        let loaded = handler.load_best(&mut Named::new("v", &mut floats)).map_err(|error| error.to_string())?;
        // 25 floats take 100 bytes. They contain the first quarter of the value, which is enough to identify it.
        Ok(loaded.map(|_| floats.iter().map(|float| *float as u8).collect()))
    }
}

struct SequentialStorage;

/// The flash with the interface that sequential-storage needs.
struct AsyncChip<'a>(&'a mut Chip);

impl ErrorType for AsyncChip<'_> {
    type Error = ChipError;
}

impl embedded_storage_async::nor_flash::ReadNorFlash for AsyncChip<'_> {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, offset: u32, buffer: &mut [u8]) -> Result<(), ChipError> {
        self.0.read(offset, buffer)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl embedded_storage_async::nor_flash::NorFlash for AsyncChip<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;
    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), ChipError> {
        self.0.write(offset, bytes)
    }
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), ChipError> {
        self.0.erase(from, to)
    }
}

impl FlashStore for SequentialStorage {
    const NAME: &'static str = "sequential-storage 8 map";

    fn write(chip: &mut Chip, value: &Value) -> Result<(), String> {
        let config = MapConfig::new(0..(PAGE * PAGES) as u32);
        let mut map = MapStorage::<u8, _, _>::new(AsyncChip(chip), config, Cache::new_uncached());
        let stored = block_on(map.store_item(&mut [0; 256], &7, &&value[..]));
        stored.map_err(|error| format!("{error:?}"))
    }

    fn read(chip: &mut Chip) -> Result<Option<Vec<u8>>, String> {
        let config = MapConfig::new(0..(PAGE * PAGES) as u32);
        let mut map = MapStorage::<u8, _, _>::new(AsyncChip(chip), config, Cache::new_uncached());
        let mut buffer = [0; 256];
        let fetched = block_on(map.fetch_item::<&[u8]>(&mut buffer, &7));
        fetched.map(|value| value.map(<[u8]>::to_vec)).map_err(|error| format!("{error:?}"))
    }
}

struct Ekv;

/// The flash with the interface that ekv needs.
struct EkvChip<'a>(&'a mut Chip);

impl ekv::flash::Flash for EkvChip<'_> {
    type Error = ChipError;
    fn page_count(&self) -> usize {
        PAGES
    }
    async fn erase(&mut self, page: ekv::flash::PageID) -> Result<(), ChipError> {
        let address = (page.index() * PAGE) as u32;
        self.0.erase(address, address + PAGE as u32)
    }
    async fn read(&mut self, page: ekv::flash::PageID, offset: usize, buffer: &mut [u8]) -> Result<(), ChipError> {
        self.0.read((page.index() * PAGE + offset) as u32, buffer)
    }
    async fn write(&mut self, page: ekv::flash::PageID, offset: usize, bytes: &[u8]) -> Result<(), ChipError> {
        self.0.write((page.index() * PAGE + offset) as u32, bytes)
    }
}

impl FlashStore for Ekv {
    const NAME: &'static str = "ekv 1 with CRCs";

    fn format(chip: &mut Chip) {
        let database = ekv::Database::<_, NoopRawMutex>::new(EkvChip(chip), ekv::Config::default());
        block_on(database.format()).expect("a new flash can be formatted");
    }

    fn write(chip: &mut Chip, value: &Value) -> Result<(), String> {
        let database = ekv::Database::<_, NoopRawMutex>::new(EkvChip(chip), ekv::Config::default());
        block_on(async {
            database.mount().await.map_err(|error| format!("{error:?}"))?;
            let mut transaction = database.write_transaction().await;
            transaction.write(b"v", value).await.map_err(|error| format!("{error:?}"))?;
            transaction.commit().await.map_err(|error| format!("{error:?}"))
        })
    }

    fn read(chip: &mut Chip) -> Result<Option<Vec<u8>>, String> {
        let database = ekv::Database::<_, NoopRawMutex>::new(EkvChip(chip), ekv::Config::default());
        block_on(async {
            database.mount().await.map_err(|error| format!("{error:?}"))?;
            let mut value = [0; 256];
            match database.read_transaction().await.read(b"v", &mut value).await {
                Ok(len) => Ok(Some(value[..len].to_vec())),
                Err(ekv::ReadError::KeyNotFound) => Ok(None),
                Err(error) => Err(format!("{error:?}")),
            }
        })
    }
}

/// Returns the value with this number.
fn value(number: u32) -> Value {
    core::array::from_fn(|index| (number * 37 + index as u32) as u8)
}

/// Returns the number of the value that starts with `bytes`, if any.
fn number_of(bytes: &[u8], newest: u32) -> Option<u32> {
    (0..=newest).rev().find(|number| !bytes.is_empty() && value(*number).starts_with(bytes))
}

#[derive(Clone, Copy, Default)]
struct Row {
    cases: u64,
    lost: u64,
    wrong: u64,
    refused: u64,
    panics: u64,
    endless: u64,
}

/// The result of a case in which the store fails.
enum Failure {
    Lost,
    Wrong,
    Refused,
    Panic,
    Endless,
}

/// Calls `action`, with a limit of a million reads. Panics and exceeded limits are failures.
fn call<T>(chip: &mut Chip, action: impl FnOnce(&mut Chip) -> T) -> Result<T, Failure> {
    chip.read_budget = chip.counts.reads + 1_000_000;
    let result = catch_unwind(AssertUnwindSafe(|| action(chip)));
    let is_endless = chip.counts.reads > chip.read_budget;
    chip.read_budget = u64::MAX;
    if is_endless { Err(Failure::Endless) } else { result.map_err(|_| Failure::Panic) }
}

/// Checks that the stored value is `committed` or a newer value up to `newest`.
fn check<S: FlashStore>(chip: &mut Chip, committed: Option<u32>, newest: u32) -> Result<(), Failure> {
    match call(chip, S::read)? {
        Ok(Some(bytes)) => match number_of(&bytes, newest) {
            None => Err(Failure::Wrong),
            Some(number) if committed.is_some_and(|committed| number < committed) => Err(Failure::Lost),
            Some(_) => Ok(()),
        },
        Ok(None) if committed.is_none() => Ok(()),
        // No value could be lost, but the store cannot be opened any more.
        Err(_) if committed.is_none() => Err(Failure::Refused),
        _ => Err(Failure::Lost),
    }
}

/// Writes a value, with a power failure in one of the operations, and checks the stored value. Returns the number of
/// the value that is acknowledged afterwards.
fn write_interrupted<S: FlashStore>(
    chip: &mut Chip,
    committed: Option<u32>,
    number: u32,
    after: usize,
    interruption: Interruption,
) -> Result<Option<u32>, Failure> {
    chip.cut_power_at(after as u64, interruption, (after * 13) as u64);
    let result = call(chip, |chip| S::write(chip, &value(number)));
    let is_off = chip.is_off();
    chip.power_on();
    // After an earlier power failure the write may take fewer operations, and complete before the second power failure.
    let committed = match result {
        Err(Failure::Endless) => return Err(Failure::Endless),
        Ok(Ok(())) => Some(number),
        // After the power failure a device does not continue, so the result does not matter, even a panic.
        _ if is_off => committed,
        Ok(Err(_)) => return Err(Failure::Refused),
        Err(failure) => return Err(failure),
    };
    check::<S>(chip, committed, number)?;
    Ok(committed)
}

/// Writes a value without a power failure, and checks the stored value.
fn write_uninterrupted<S: FlashStore>(chip: &mut Chip, number: u32) -> Result<(), Failure> {
    call(chip, |chip| S::write(chip, &value(number)))?.map_err(|_| Failure::Refused)?;
    check::<S>(chip, Some(number), number)
}

fn group(interruption: Interruption) -> usize {
    match interruption {
        Interruption::Nothing
        | Interruption::Whole
        | Interruption::First
        | Interruption::Half
        | Interruption::ButOne
        | Interruption::HeadErased => 0,
        Interruption::Unstable | Interruption::OneUnstable | Interruption::Unreadable | Interruption::OneUnreadable => {
            2
        }
        _ => 1,
    }
}

/// Runs all cases of a store. Returns the rows of the table, and for each operation and effect of the first power
/// failure the number of cases that lost a value.
fn run<S: FlashStore>() -> ([[Row; 2]; 3], BTreeMap<String, u64>) {
    let mut lost = BTreeMap::new();
    let mut rows = [[Row::default(); 2]; 3];
    let mut count = |group: usize, power_failures: usize, result: Result<(), Failure>| {
        let row = &mut rows[group][power_failures - 1];
        row.cases += 1;
        match result {
            Ok(()) => (),
            Err(Failure::Lost) => row.lost += 1,
            Err(Failure::Wrong) => row.wrong += 1,
            Err(Failure::Refused) => row.refused += 1,
            Err(Failure::Panic) => row.panics += 1,
            Err(Failure::Endless) => row.endless += 1,
        }
    };
    for writes in [0, 1, 2, 4, 5, 30, 31, 32, 62, 64, 122, 124, 126, 128, 130] {
        let mut original = Chip::new(PAGE * PAGES, 0xFF);
        original.erase(0, (PAGE * PAGES) as u32).expect("aligned pages");
        S::format(&mut original);
        (0..writes).for_each(|number| {
            S::write(&mut original, &value(number)).expect("a write without a power failure succeeds")
        });
        let committed = writes.checked_sub(1);

        let operations = |chip: &Chip, number| {
            let mut chip = chip.clone();
            chip.log = Some(Vec::new());
            let _ = call(&mut chip, |chip| S::write(chip, &value(number)));
            chip.log.take().unwrap_or_default()
        };
        for (after, is_erase) in operations(&original, writes).into_iter().enumerate() {
            for interruption in Interruption::all(is_erase, 4) {
                let first_group = group(*interruption);
                let mut chip = original.clone();
                let first_result = write_interrupted::<S>(&mut chip, committed, writes, after, *interruption);
                let interrupted = chip.clone();
                let committed = match first_result {
                    Ok(committed) => committed,
                    Err(failure) => {
                        if let Failure::Lost = failure {
                            let operation = if is_erase { "an erase" } else { "a program" };
                            *lost.entry(format!("{operation}: {interruption}")).or_insert(0) += 1;
                        }
                        count(first_group, 1, Err(failure));
                        continue;
                    }
                };
                count(first_group, 1, write_uninterrupted::<S>(&mut chip, writes + 1));

                // About eight operations of the second write, starting at a different one each time.
                let log = operations(&interrupted, writes + 1);
                let step = if writes == 0 { 1 } else { (log.len() / 8).max(1) };
                for (after, is_erase) in log.into_iter().enumerate().skip(after % step).step_by(step) {
                    for interruption in Interruption::all(is_erase, 4)
                        .iter()
                        .filter(|interruption| group(**interruption) <= first_group)
                    {
                        let mut chip = interrupted.clone();
                        let second_result =
                            write_interrupted::<S>(&mut chip, committed, writes + 1, after, *interruption);
                        count(
                            first_group,
                            2,
                            second_result.and_then(|_| write_uninterrupted::<S>(&mut chip, writes + 2)),
                        );
                    }
                }
            }
        }
    }
    (rows, lost)
}

fn print<S: FlashStore>() -> String {
    let (rows, lost) = run::<S>();
    for (group, rows) in ["prefix", "torn", "cells"].into_iter().zip(rows) {
        for (index, row) in rows.iter().enumerate() {
            let Row { cases, lost, wrong, refused, panics, endless } = row;
            println!(
                "| {} | {group} | {} | {cases} | {lost} | {wrong} | {refused} | {panics} | {endless} |",
                S::NAME,
                index + 1
            );
        }
    }
    let lost: Vec<String> = lost.iter().map(|(operation, count)| format!("{operation} ({count})")).collect();
    format!("{}: {}", S::NAME, if lost.is_empty() { "no value was lost".into() } else { lost.join(", ") })
}

fn main() {
    // The program counts panics, and does not print them.
    std::panic::set_hook(Box::new(|_| ()));
    println!("| store | effects | power failures | cases | lost | wrong | refused | panics | endless |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let lost = [print::<TrainingMonitor>(), print::<SequentialStorage>(), print::<Ekv>()];
    println!("\nOperations and effects of the first power failure that lost a value:");
    lost.iter().for_each(|line| println!("* {line}"));
}
