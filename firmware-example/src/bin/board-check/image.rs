//! A board's flash as bytes on the host: the same slots, the same rules, the same run.

use crate::Done;
use digits_workload::boards::{BEST_SLOTS, Board, LATEST_SLOTS, Region};
use digits_workload::flash::{Violation, WriteOnce};
use digits_workload::monitored::{self, BEST, Journal, Plan, Series};
use digits_workload::train::{Metrics, Trainee};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use std::error::Error;
use std::fs;
use std::path::Path;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint::{self, Crc32};
use training_monitor::embedded_io::Read;
use training_monitor::engine::Resumed;
use training_monitor::handlers::saving::Report;
use training_monitor::store::Store;
use training_monitor::store::slots::Slots;

/// Erase blocks of `BLOCK` bytes and granules of `GRANULE`.
struct Image<'a, const BLOCK: usize, const GRANULE: usize>(&'a mut [u8]);

type Guarded<'a, const BLOCK: usize, const GRANULE: usize> = WriteOnce<Image<'a, BLOCK, GRANULE>>;

impl<const BLOCK: usize, const GRANULE: usize> ErrorType for Image<'_, BLOCK, GRANULE> {
    type Error = NorFlashErrorKind;
}

impl<const BLOCK: usize, const GRANULE: usize> ReadNorFlash for Image<'_, BLOCK, GRANULE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let from = self.0.get(offset as usize..).and_then(|from| from.get(..bytes.len()));
        bytes.copy_from_slice(from.ok_or(NorFlashErrorKind::OutOfBounds)?);
        Ok(())
    }
    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl<const BLOCK: usize, const GRANULE: usize> NorFlash for Image<'_, BLOCK, GRANULE> {
    const WRITE_SIZE: usize = GRANULE;
    const ERASE_SIZE: usize = BLOCK;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.get_mut(from as usize..to as usize).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(0xFF);
        Ok(())
    }
    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let to = self.0.get_mut(offset as usize..).and_then(|to| to.get_mut(..bytes.len()));
        to.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// What the board's log would say.
struct Lines {
    hidden: u32,
    latest: [u32; LATEST_SLOTS],
    best: [u32; BEST_SLOTS],
}

impl<E> Journal<E> for Lines {
    fn begins(&self, resumed: Option<Resumed>) {
        match resumed {
            None => println!("64-{}-10, from the beginning", self.hidden),
            Some(run) => println!(
                "64-{}-10, resumed in epoch {} after iteration {}, {} damaged",
                self.hidden, run.epoch, run.iteration, run.skipped
            ),
        }
        println!("latest: slots erased {:?} times", self.latest);
        println!("best: slots erased {:?} times", self.best);
    }
    fn epoch(&self, epoch: u32, validation: Metrics, patience: u32) {
        println!("epoch {epoch}: loss {}, accuracy {}, patience {patience}", validation.loss, validation.accuracy);
    }
    fn checkpoint(&self, series: Series, report: &Report<'_, E>) {
        let series = match series {
            Series::Latest => "latest",
            Series::Best => "best",
        };
        match report {
            Report::Saved { save, bytes, removed: None } => println!("{series}: saved {}, {bytes} bytes", save.step),
            Report::Saved { save, bytes, removed: Some(gone) } => {
                println!("{series}: saved {}, {bytes} bytes, in place of {gone}", save.step);
            }
            _ => println!("{series}: failed"),
        }
    }
}

/// Calls `$run` with the board's geometry as constants.
macro_rules! with_geometry {
    ($board:expr, $run:ident($($argument:expr),*)) => {
        match ($board.block, $board.granule) {
            (2048, 8) => $run::<2048, 8>($($argument),*),
            (1024, 4) => $run::<1024, 4>($($argument),*),
            (0x4_0000, 4) => $run::<0x4_0000, 4>($($argument),*),
            _ => Err("no such geometry".into()),
        }
    };
}

/// The run of `board` with so many hidden units; the log goes to standard output, the flash to `path`.
pub fn simulate(board: Board, hidden: u32, path: &Path) -> Done {
    let mut image = vec![0xFF; board.capacity() as usize];
    match hidden {
        10 => with_geometry!(board, train_small(board, &mut image))?,
        32 => with_geometry!(board, train_full(board, &mut image))?,
        _ => return Err("10 or 32 hidden units".into()),
    }
    fs::write(path, image)?;
    Ok(())
}

fn train_small<const BLOCK: usize, const GRANULE: usize>(board: Board, image: &mut [u8]) -> Done {
    train::<BLOCK, GRANULE, 10>(board, image)
}

fn train_full<const BLOCK: usize, const GRANULE: usize>(board: Board, image: &mut [u8]) -> Done {
    train::<BLOCK, GRANULE, 32>(board, image)
}

/// As in the firmware's `train`.
fn train<const BLOCK: usize, const GRANULE: usize, const HIDDEN: usize>(board: Board, image: &mut [u8]) -> Done {
    let mut trainee = Box::new(Trainee::<HIDDEN, 16>::new());
    let (latest, best) = image.split_at_mut(board.range(Region::Best).start as usize);
    let latest = open::<BLOCK, GRANULE, LATEST_SLOTS>(latest)?;
    let best = open::<BLOCK, GRANULE, BEST_SLOTS>(best)?;
    let lines = Lines { hidden: HIDDEN as u32, latest: latest.erases(), best: best.erases() };
    let summary = monitored::run(&mut *trainee, Plan::DEFAULT, latest, best, &lines)?;
    println!("{:?} after epoch {}", summary.outcome.reason, summary.outcome.epoch);
    println!("{} steps, the best is {}", summary.steps, summary.best);
    println!("test: loss {}, accuracy {}", summary.test.loss, summary.test.accuracy);
    Ok(())
}

type Opened<'a, const BLOCK: usize, const GRANULE: usize, const N: usize> = Slots<Guarded<'a, BLOCK, GRANULE>, N>;

fn open<const BLOCK: usize, const GRANULE: usize, const N: usize>(
    image: &mut [u8],
) -> Result<Opened<'_, BLOCK, GRANULE, N>, Box<dyn Error>> {
    let end = u32::try_from(image.len())?;
    Ok(Slots::open(WriteOnce::new(Image(image)), 0..end)?)
}

/// Lists what `path` holds and writes the streams of what is kept to `directory`.
pub fn contents(board: Board, path: &Path, directory: &Path) -> Done {
    let mut image = fs::read(path)?;
    fs::create_dir_all(directory)?;
    with_geometry!(board, list(board, &mut image, directory))
}

fn list<const BLOCK: usize, const GRANULE: usize>(board: Board, image: &mut [u8], directory: &Path) -> Done {
    let capacity = board.capacity() as usize;
    let image = image.get_mut(..capacity).ok_or("the image is too short")?;
    let (latest, best) = image.split_at_mut(board.range(Region::Best).start as usize);

    let latest = open::<BLOCK, GRANULE, LATEST_SLOTS>(latest)?;
    let machine = ModelCheckpoint::<1>::builder().save_interval(1).build()?;
    let mut latest = machine.attach(training_monitor::event::Never, latest)?;
    let kept: Vec<u32> = latest.machine().kept().iter().map(|entry| entry.step).collect();
    keep("latest", &kept, latest.store_mut(), directory)?;

    let best = open::<BLOCK, GRANULE, BEST_SLOTS>(best)?;
    let machine = ModelCheckpoint::<BEST>::builder().scored().n_saved(BEST as u32).build()?;
    let mut best = machine.attach(training_monitor::event::Never, best)?;
    let kept: Vec<u32> = best.machine().kept().iter().map(|entry| entry.step).collect();
    keep("best", &kept, best.store_mut(), directory)
}

fn keep<S>(series: &str, steps: &[u32], store: &mut S, directory: &Path) -> Done
where
    S: Store,
    S::Error: Error + 'static,
{
    for &step in steps {
        let mut stream = Vec::new();
        let mut reader = store.open(step, 0)?;
        let mut piece = [0; 4096];
        loop {
            match reader.read(&mut piece)? {
                0 => break,
                read => stream.extend_from_slice(piece.get(..read).unwrap_or_default()),
            }
        }
        let info = checkpoint::inspect::<Crc32, _, _>(&mut &stream[..], &mut [0; 4096], &mut ())?;
        let score = info.score.map_or(String::new(), |score| format!(", score {score}"));
        println!(
            "{series}: step {step}, iteration {}{score}, {} bytes, CRC {:08x}",
            info.iteration, info.len, info.crc
        );
        fs::write(directory.join(format!("{series}-{step}.tmck")), stream)?;
    }
    if steps.is_empty() { Err(format!("{series}: no checkpoint").into()) } else { Ok(()) }
}

/// Errors of a flash are told as they are.
const _: fn(Violation<NorFlashErrorKind>) -> Box<dyn Error> = |error| Box::new(error);
