//! Other flash stores under the same power cuts: `cargo run --release --example peers`.
//!
//! One value of 100 bytes, stored again and again, on the same flash: 32 erase blocks of 512 bytes, 4-byte granules,
//! erased to ones. After so many stores that blocks have to be reclaimed now and then, a store is cut in every operation
//! with every outcome; then the next store is cut too, in some operations; then one is let through. Everything is opened
//! anew after each cut, and after each store. A case is one cut or two.
//!
//! * *lost*: a value whose store returned Ok is neither there nor replaced by a newer one, or can't be read;
//! * *wrong*: a value is read that was never stored;
//! * *refused*: the store after the cut fails, though the power is there, or so does reading when nothing was stored yet;
//! * *panics*, and *endless*: a million reads without coming back.
//!
//! "prefix" are outcomes as the stores' own tests have them: nothing, all, or the first bytes of a program or an erase.
//! "torn" is what is done to bits and bytes in any other order; "cells" those that read differently each time, or not.
//! No store is held to programming once here.

use core::panic::AssertUnwindSafe;
use embassy_futures::block_on;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use sequential_storage::cache::NoCache;
use sequential_storage::map::{MapConfig, MapStorage};
use std::collections::BTreeMap;
use std::panic::catch_unwind;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::One;
use training_monitor::embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use training_monitor::event::IterationCompleted;
use training_monitor::handlers::model_checkpoint::Save;
use training_monitor::store::slots::Slots;
use training_monitor_tests::flash::{Fault, Flash, Outcome};

const PAGE: usize = 512;
const PAGES: usize = 32;
const LEN: usize = 100;

type Chip = Flash<4, PAGE>;
type Value = [u8; LEN];

/// A store of one value. Each call is a life of its own, from power on.
trait Peer {
    const NAME: &'static str;
    fn format(_: &mut Chip) {}
    fn store(chip: &mut Chip, value: &Value) -> Result<(), String>;
    fn fetch(chip: &mut Chip) -> Result<Option<Vec<u8>>, String>;
}

struct Ours;

impl Peer for Ours {
    const NAME: &'static str = "training-monitor slots";

    fn store(chip: &mut Chip, value: &Value) -> Result<(), String> {
        let store = Slots::<_, 2>::open(chip, 0..(PAGE * PAGES) as u32).map_err(|error| error.to_string())?;
        let machine = ModelCheckpoint::<1>::builder().save_interval(1).build().map_err(|error| error.to_string())?;
        let mut saving = machine.attach(IterationCompleted, store).map_err(|error| error.to_string())?;
        let mut floats: Vec<f32> = value.iter().map(|byte| f32::from(*byte)).collect();
        let step = saving.machine().latest().map_or(1, |latest| latest.step + 1);
        let objects = One("v", &mut floats[..LEN / 4]);
        saving.save(Save { step, score: None }, step, None, &objects).map_err(|error| error.to_string())
    }

    fn fetch(chip: &mut Chip) -> Result<Option<Vec<u8>>, String> {
        let store = Slots::<_, 2>::open(chip, 0..(PAGE * PAGES) as u32).map_err(|error| error.to_string())?;
        let machine = ModelCheckpoint::<1>::builder().save_interval(1).build().map_err(|error| error.to_string())?;
        let mut saving = machine.attach(IterationCompleted, store).map_err(|error| error.to_string())?;
        let mut floats = [0.0_f32; LEN / 4];
        let loaded = saving.load_best(&mut One("v", &mut floats)).map_err(|error| error.to_string())?;
        // The first quarter says which value it is; 25 floats have its 100 bytes.
        Ok(loaded.map(|_| floats.iter().map(|float| *float as u8).collect()))
    }
}

struct SequentialStorage;

/// The flash as sequential-storage takes it.
struct AsyncChip<'a>(&'a mut Chip);

impl ErrorType for AsyncChip<'_> {
    type Error = Fault;
}

impl embedded_storage_async::nor_flash::ReadNorFlash for AsyncChip<'_> {
    const READ_SIZE: usize = 1;
    async fn read(&mut self, at: u32, into: &mut [u8]) -> Result<(), Fault> {
        self.0.read(at, into)
    }
    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl embedded_storage_async::nor_flash::NorFlash for AsyncChip<'_> {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;
    async fn write(&mut self, at: u32, from: &[u8]) -> Result<(), Fault> {
        self.0.write(at, from)
    }
    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.0.erase(from, to)
    }
}

impl Peer for SequentialStorage {
    const NAME: &'static str = "sequential-storage 7 map";

    fn store(chip: &mut Chip, value: &Value) -> Result<(), String> {
        let config = MapConfig::new(0..(PAGE * PAGES) as u32);
        let mut map = MapStorage::<u8, _, _>::new(AsyncChip(chip), config, NoCache::new());
        let stored = block_on(map.store_item(&mut [0; 256], &7, &&value[..]));
        stored.map_err(|error| format!("{error:?}"))
    }

    fn fetch(chip: &mut Chip) -> Result<Option<Vec<u8>>, String> {
        let config = MapConfig::new(0..(PAGE * PAGES) as u32);
        let mut map = MapStorage::<u8, _, _>::new(AsyncChip(chip), config, NoCache::new());
        let mut buffer = [0; 256];
        let fetched = block_on(map.fetch_item::<&[u8]>(&mut buffer, &7));
        fetched.map(|value| value.map(<[u8]>::to_vec)).map_err(|error| format!("{error:?}"))
    }
}

struct Ekv;

/// The flash as ekv takes it.
struct EkvChip<'a>(&'a mut Chip);

impl ekv::flash::Flash for EkvChip<'_> {
    type Error = Fault;
    fn page_count(&self) -> usize {
        PAGES
    }
    async fn erase(&mut self, page: ekv::flash::PageID) -> Result<(), Fault> {
        let at = (page.index() * PAGE) as u32;
        self.0.erase(at, at + PAGE as u32)
    }
    async fn read(&mut self, page: ekv::flash::PageID, offset: usize, into: &mut [u8]) -> Result<(), Fault> {
        self.0.read((page.index() * PAGE + offset) as u32, into)
    }
    async fn write(&mut self, page: ekv::flash::PageID, offset: usize, from: &[u8]) -> Result<(), Fault> {
        self.0.write((page.index() * PAGE + offset) as u32, from)
    }
}

impl Peer for Ekv {
    const NAME: &'static str = "ekv 1 with CRCs";

    fn format(chip: &mut Chip) {
        let database = ekv::Database::<_, NoopRawMutex>::new(EkvChip(chip), ekv::Config::default());
        block_on(database.format()).expect("a fresh flash");
    }

    fn store(chip: &mut Chip, value: &Value) -> Result<(), String> {
        let database = ekv::Database::<_, NoopRawMutex>::new(EkvChip(chip), ekv::Config::default());
        block_on(async {
            database.mount().await.map_err(|error| format!("{error:?}"))?;
            let mut transaction = database.write_transaction().await;
            transaction.write(b"v", value).await.map_err(|error| format!("{error:?}"))?;
            transaction.commit().await.map_err(|error| format!("{error:?}"))
        })
    }

    fn fetch(chip: &mut Chip) -> Result<Option<Vec<u8>>, String> {
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

/// The n-th value.
fn value(number: u32) -> Value {
    core::array::from_fn(|index| (number * 37 + index as u32) as u8)
}

/// The number of a value that was read.
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

/// How a life ended, if not well.
enum Bad {
    Lost,
    Wrong,
    Refused,
    Panic,
    Endless,
}

/// What a life may do, apart from the power being cut.
fn alive<T>(chip: &mut Chip, life: impl FnOnce(&mut Chip) -> T) -> Result<T, Bad> {
    chip.read_budget = chip.counts.reads + 1_000_000;
    let result = catch_unwind(AssertUnwindSafe(|| life(chip)));
    let endless = chip.counts.reads > chip.read_budget;
    chip.read_budget = u64::MAX;
    if endless { Err(Bad::Endless) } else { result.map_err(|_| Bad::Panic) }
}

/// The value is `committed` or one up to `newest`. Which?
fn check<P: Peer>(chip: &mut Chip, committed: Option<u32>, newest: u32) -> Result<(), Bad> {
    match alive(chip, P::fetch)? {
        Ok(Some(bytes)) => match number_of(&bytes, newest) {
            None => Err(Bad::Wrong),
            Some(number) if committed.is_some_and(|committed| number < committed) => Err(Bad::Lost),
            Some(_) => Ok(()),
        },
        Ok(None) if committed.is_none() => Ok(()),
        // There was nothing to be lost yet; but the store can't be opened any more.
        Err(_) if committed.is_none() => Err(Bad::Refused),
        _ => Err(Bad::Lost),
    }
}

/// A store that is cut, and what is there afterwards.
fn cut<P: Peer>(
    chip: &mut Chip,
    committed: Option<u32>,
    number: u32,
    after: usize,
    outcome: Outcome,
) -> Result<Option<u32>, Bad> {
    chip.cut_at(after as u64, outcome, (after * 13) as u64);
    let stored = alive(chip, |chip| P::store(chip, &value(number)));
    let off = chip.is_off();
    chip.power_on();
    // With a cut before it the store may take another way, and be done before the second.
    let committed = match stored {
        Err(Bad::Endless) => return Err(Bad::Endless),
        Ok(Ok(())) => Some(number),
        // What a program does after the power is gone, even a panic, is not done.
        _ if off => committed,
        Ok(Err(_)) => return Err(Bad::Refused),
        Err(bad) => return Err(bad),
    };
    check::<P>(chip, committed, number)?;
    Ok(committed)
}

/// A store that is let through.
fn uncut<P: Peer>(chip: &mut Chip, number: u32) -> Result<(), Bad> {
    alive(chip, |chip| P::store(chip, &value(number)))?.map_err(|_| Bad::Refused)?;
    check::<P>(chip, Some(number), number)
}

fn group(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Nothing | Outcome::Whole | Outcome::First | Outcome::Half | Outcome::ButOne | Outcome::HeadErased => 0,
        Outcome::Unstable | Outcome::OneUnstable | Outcome::Unreadable | Outcome::OneUnreadable => 2,
        _ => 1,
    }
}

/// The rows, and in which outcomes of which operations a first cut lost a value.
fn judge<P: Peer>() -> ([[Row; 2]; 3], BTreeMap<String, u64>) {
    let mut lost = BTreeMap::new();
    let mut rows = [[Row::default(); 2]; 3];
    let mut count = |group: usize, cuts: usize, result: Result<(), Bad>| {
        let row = &mut rows[group][cuts - 1];
        row.cases += 1;
        match result {
            Ok(()) => (),
            Err(Bad::Lost) => row.lost += 1,
            Err(Bad::Wrong) => row.wrong += 1,
            Err(Bad::Refused) => row.refused += 1,
            Err(Bad::Panic) => row.panics += 1,
            Err(Bad::Endless) => row.endless += 1,
        }
    };
    for stores in [0, 1, 2, 4, 5, 30, 31, 32, 62, 64, 122, 124, 126, 128, 130] {
        let mut fresh = Chip::new(PAGE * PAGES, 0xFF);
        fresh.erase(0, (PAGE * PAGES) as u32).expect("whole pages");
        P::format(&mut fresh);
        (0..stores).for_each(|number| P::store(&mut fresh, &value(number)).expect("an uncut store"));
        let committed = stores.checked_sub(1);

        let operations = |chip: &Chip, number| {
            let mut chip = chip.clone();
            chip.log = Some(Vec::new());
            let _ = alive(&mut chip, |chip| P::store(chip, &value(number)));
            chip.log.take().unwrap_or_default()
        };
        for (after, erase) in operations(&fresh, stores).into_iter().enumerate() {
            for outcome in Outcome::all(erase, 4) {
                let group_of_first = group(*outcome);
                let mut chip = fresh.clone();
                let once = cut::<P>(&mut chip, committed, stores, after, *outcome);
                let torn = chip.clone();
                let committed = match once {
                    Ok(committed) => committed,
                    Err(bad) => {
                        if let Bad::Lost = bad {
                            let of = if erase { "an erase" } else { "a program" };
                            *lost.entry(format!("{of}: {outcome}")).or_insert(0) += 1;
                        }
                        count(group_of_first, 1, Err(bad));
                        continue;
                    }
                };
                count(group_of_first, 1, uncut::<P>(&mut chip, stores + 1));

                // About eight of them, in other places each time.
                let log = operations(&torn, stores + 1);
                let step = if stores == 0 { 1 } else { (log.len() / 8).max(1) };
                for (after, erase) in log.into_iter().enumerate().skip(after % step).step_by(step) {
                    for outcome in Outcome::all(erase, 4).iter().filter(|outcome| group(**outcome) <= group_of_first) {
                        let mut chip = torn.clone();
                        let twice = cut::<P>(&mut chip, committed, stores + 1, after, *outcome);
                        count(group_of_first, 2, twice.and_then(|_| uncut::<P>(&mut chip, stores + 2)));
                    }
                }
            }
        }
    }
    (rows, lost)
}

fn print<P: Peer>() -> String {
    let (rows, lost) = judge::<P>();
    for (group, rows) in ["prefix", "torn", "cells"].into_iter().zip(rows) {
        for (cuts, row) in rows.iter().enumerate() {
            let Row { cases, lost, wrong, refused, panics, endless } = row;
            println!(
                "| {} | {group} | {} | {cases} | {lost} | {wrong} | {refused} | {panics} | {endless} |",
                P::NAME,
                cuts + 1
            );
        }
    }
    let lost: Vec<String> = lost.iter().map(|(what, times)| format!("{what} ({times})")).collect();
    format!("{}: {}", P::NAME, if lost.is_empty() { "none was lost".into() } else { lost.join(", ") })
}

fn main() {
    // Panics are counted, not shown.
    std::panic::set_hook(Box::new(|_| ()));
    println!("| store | outcomes | cuts | cases | lost | wrong | refused | panics | endless |");
    println!("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let lost = [print::<Ours>(), print::<SequentialStorage>(), print::<Ekv>()];
    println!("\nWhat the first cut was in when it lost a value:");
    lost.iter().for_each(|line| println!("* {line}"));
}
