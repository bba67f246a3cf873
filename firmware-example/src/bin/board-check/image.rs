//! Simulates a board on the host: the same training run with a flash image that has the same geometry and slots.

use crate::CheckResult;
use digits_workload::boards::{BEST_SLOTS, Board, LATEST_SLOTS, Region};
use digits_workload::flash::{Violation, WriteOnce};
use digits_workload::monitored::{self, N_BEST, Plan, RunObserver, Series};
use digits_workload::quantized::QuantizedTrainee;
use digits_workload::train::{Metrics, Trainee, Training};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use training_monitor::ModelCheckpoint;
use training_monitor::checkpoint;
use training_monitor::checkpoint::SeriesId;
use training_monitor::embedded_io::Read;
use training_monitor::engine::Resumed;
use training_monitor::handlers::model_checkpoint::CheckpointEvent;
use training_monitor::log;
use training_monitor::store::Store;
use training_monitor::store::flash::Slots;

/// A flash image in RAM with erase blocks of `BLOCK` bytes and write granules of `GRANULE` bytes.
struct Image<'a, const BLOCK: usize, const GRANULE: usize>(&'a mut [u8]);

type Guarded<'a, const BLOCK: usize, const GRANULE: usize> = WriteOnce<Image<'a, BLOCK, GRANULE>>;

impl<const BLOCK: usize, const GRANULE: usize> ErrorType for Image<'_, BLOCK, GRANULE> {
    type Error = NorFlashErrorKind;
}

impl<const BLOCK: usize, const GRANULE: usize> ReadNorFlash for Image<'_, BLOCK, GRANULE> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let source = self.0.get(offset as usize..).and_then(|tail| tail.get(..bytes.len()));
        bytes.copy_from_slice(source.ok_or(NorFlashErrorKind::OutOfBounds)?);
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
        let target = self.0.get_mut(offset as usize..).and_then(|tail| tail.get_mut(..bytes.len()));
        target.ok_or(NorFlashErrorKind::OutOfBounds)?.copy_from_slice(bytes);
        Ok(())
    }
}

/// Prints the lines of the board's log. The texts are equal to those of the firmware's `train` and `quantized`.
struct LogPrinter {
    network: String,
    /// Erase count of each slot for the latest checkpoint, at the program start.
    latest: [u32; LATEST_SLOTS],
    /// Erase count of each slot for the best checkpoints, at the program start.
    best: [u32; BEST_SLOTS],
}

/// Replaces the placeholders of a defmt format string, such as `{=u32}`, by `values`.
fn fill(format: &str, values: &[&dyn Display]) -> String {
    let mut parts = format.split('{');
    let mut line = parts.next().unwrap_or_default().to_owned();
    for (part, value) in parts.zip(values) {
        let (_, literal) = part.split_once('}').unwrap_or(("", part));
        line += &format!("{value}{literal}");
    }
    line
}

impl<E> RunObserver<E> for LogPrinter {
    fn on_start(&self, resumed: Option<Resumed>) {
        println!("network {}", self.network);
        match resumed {
            None => println!("{}", log::STARTED),
            Some(run) => println!("{}", fill(log::RESUMED, &[&run.epoch, &run.iteration, &run.skipped])),
        }
        println!("{}", fill(log::ERASES, &[&"latest", &format!("{:?}", self.latest)]));
        println!("{}", fill(log::ERASES, &[&"best", &format!("{:?}", self.best)]));
    }
    fn on_epoch(&self, epoch: u32, validation: Metrics, patience: u32) {
        println!("{}", fill(log::EPOCH, &[&epoch, &validation.loss, &validation.accuracy, &patience]));
    }
    fn on_checkpoint(&self, series: Series, event: &CheckpointEvent<'_, E>) {
        let series = match series {
            Series::Latest => "latest",
            Series::Best => "best",
        };
        let line = match event {
            CheckpointEvent::Saved { decision, bytes, evicted: None } => {
                fill(log::SAVED, &[&series, &decision.step, bytes])
            }
            CheckpointEvent::Saved { decision, bytes, evicted: Some(evicted) } => {
                fill(log::SAVED_AND_EVICTED, &[&series, &decision.step, bytes, evicted])
            }
            _ => format!("{series}: failed"),
        };
        println!("{line}");
    }
}

/// Calls `$run` with the erase block size and the write granule of the board as const generic arguments.
macro_rules! with_geometry {
    ($board:expr, $run:ident($($argument:expr),*)) => {
        match ($board.erase_size, $board.write_size) {
            (2048, 8) => $run::<2048, 8>($($argument),*),
            (1024, 4) => $run::<1024, 4>($($argument),*),
            (0x4_0000, 4) => $run::<0x4_0000, 4>($($argument),*),
            (erase, write) => {
                Err(format!("unsupported flash geometry: erase block {erase} bytes, write granule {write} bytes").into())
            }
        }
    };
}

/// Executes the training run of `board` with `hidden` hidden units, and with 8-bit weights if `is_quantized` is true.
/// Prints the log and writes the flash image to `path`.
pub fn simulate(board: Board, hidden: u32, is_quantized: bool, path: &Path) -> CheckResult {
    let mut image = vec![0xFF; board.capacity() as usize];
    with_geometry!(board, train_network(board, (hidden, is_quantized), &mut image))?;
    fs::write(path, image)?;
    Ok(())
}

fn train_network<const BLOCK: usize, const GRANULE: usize>(
    board: Board,
    (hidden, is_quantized): (u32, bool),
    image: &mut [u8],
) -> CheckResult {
    match (hidden, is_quantized) {
        (10, false) => train::<BLOCK, GRANULE, Trainee<10, 16>>(board, "64-10-10", image),
        (32, false) => train::<BLOCK, GRANULE, Trainee<32, 16>>(board, "64-32-10", image),
        (10, true) => train::<BLOCK, GRANULE, QuantizedTrainee<10, 16>>(board, "64-10-10, 8-bit weights", image),
        (32, true) => train::<BLOCK, GRANULE, QuantizedTrainee<32, 16>>(board, "64-32-10, 8-bit weights", image),
        _ => Err(format!("unsupported number of hidden units: {hidden}, expected 10 or 32").into()),
    }
}

/// Runs the same training on the host as the firmware, on a flash image in memory.
fn train<const BLOCK: usize, const GRANULE: usize, T>(board: Board, network: &str, image: &mut [u8]) -> CheckResult
where
    T: Training + Default,
{
    let mut trainee = Box::<T>::default();
    let (latest, best) = image.split_at_mut(board.range(Region::Best).start as usize);
    let latest = open::<BLOCK, GRANULE, LATEST_SLOTS>(latest)?;
    let best = open::<BLOCK, GRANULE, BEST_SLOTS>(best)?;
    let log = LogPrinter { network: network.to_owned(), latest: latest.erases(), best: best.erases() };
    let summary = monitored::run(&mut *trainee, Plan::DEFAULT, latest, best, &log)?;
    println!("{}", fill(log::STOPPED, &[&format!("{:?}", summary.outcome.reason), &summary.outcome.epoch]));
    println!("{} steps, the best is {}", summary.steps, summary.best);
    println!("test: loss {}, accuracy {}", summary.test.loss, summary.test.accuracy);
    Ok(())
}

type ImageSlots<'a, const BLOCK: usize, const GRANULE: usize, const N: usize> = Slots<Guarded<'a, BLOCK, GRANULE>, N>;

fn open<const BLOCK: usize, const GRANULE: usize, const N: usize>(
    image: &mut [u8],
) -> Result<ImageSlots<'_, BLOCK, GRANULE, N>, Box<dyn Error>> {
    let end = u32::try_from(image.len())?;
    Ok(Slots::open(WriteOnce::new(Image(image)), 0..end)?)
}

/// Prints the checkpoints in the flash image `path` and writes the stream of each one to a file in `directory`.
pub fn contents(board: Board, path: &Path, directory: &Path) -> CheckResult {
    let mut image = fs::read(path)?;
    fs::create_dir_all(directory)?;
    with_geometry!(board, list(board, &mut image, directory))
}

fn list<const BLOCK: usize, const GRANULE: usize>(board: Board, image: &mut [u8], directory: &Path) -> CheckResult {
    let capacity = board.capacity() as usize;
    let len = image.len();
    let image = image.get_mut(..capacity);
    let image = image.ok_or_else(|| format!("the image has {len} bytes, expected at least {capacity} bytes"))?;
    let (latest, best) = image.split_at_mut(board.range(Region::Best).start as usize);

    let latest = open::<BLOCK, GRANULE, LATEST_SLOTS>(latest)?;
    let mut latest = ModelCheckpoint::<1>::every(1)?.attach(training_monitor::event::Never, latest)?;
    let steps: Vec<u32> = latest.policy().kept().iter().map(|entry| entry.step).collect();
    let series = latest.series();
    write_streams("latest", (&steps, series), latest.store_mut(), directory)?;

    let best = open::<BLOCK, GRANULE, BEST_SLOTS>(best)?;
    let best_policy = ModelCheckpoint::<N_BEST>::by_score().with_score_name("val_loss")?;
    let mut best = best_policy.attach(training_monitor::event::Never, best)?;
    let steps: Vec<u32> = best.policy().kept().iter().map(|entry| entry.step).collect();
    let series = best.series();
    write_streams("best", (&steps, series), best.store_mut(), directory)
}

fn write_streams<S>(name: &str, (steps, series): (&[u32], SeriesId), store: &mut S, directory: &Path) -> CheckResult
where
    S: Store,
    S::Error: Error + 'static,
{
    for &step in steps {
        let mut stream = Vec::new();
        let mut sequence = None;
        let mut index = 0;
        while let Some(meta) = store.checkpoint(index)? {
            sequence = if meta.step == step && meta.series == series { Some(meta.sequence) } else { sequence };
            index += 1;
        }
        let mut reader = store.open(sequence.ok_or("a ranked checkpoint is not listed")?, 0)?;
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer)? {
                0 => break,
                read => stream.extend_from_slice(buffer.get(..read).unwrap_or_default()),
            }
        }
        let info = checkpoint::inspect(&mut &stream[..], &mut [0; 4096], &mut ())?;
        let score = info.score.map_or(String::new(), |score| format!(", score {score}"));
        println!("{name}: step {step}, iteration {}{score}, {} bytes, CRC {:08x}", info.iteration, info.len, info.crc);
        fs::write(directory.join(format!("{name}-{step}.tmck")), stream)?;
    }
    if steps.is_empty() { Err(format!("the series {name} has no checkpoint").into()) } else { Ok(()) }
}

/// Checks at compile time that [`Violation`] can be returned as a boxed error.
const _: fn(Violation<NorFlashErrorKind>) -> Box<dyn Error> = |error| Box::new(error);
