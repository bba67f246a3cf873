//! Sequences of starts: their text form, and the check of one sequence.

use super::boot::{Device, End, Start};
use super::directory::DirectoryMedium;
use super::failures::Failure;
use super::flash::FlashMedium;
use super::medium::{Medium, RamMedium};
use core::fmt;
use core::str::FromStr;

/// The names of the stores.
pub const STORES: [&str; 5] = ["ram", "directory", "flash1", "flash4", "flash8"];

/// The index of the RAM in [`STORES`]. Only this store does not simulate power failures itself.
pub const RAM: usize = 0;

/// The index of the directory in [`STORES`].
pub const DIRECTORY: usize = 1;

/// A sequence of starts. After these starts, the last program is started until its run is finished.
#[derive(Clone, PartialEq, Debug)]
pub struct Sequence {
    /// The index of the store in [`STORES`].
    pub store: usize,
    /// Selects the scores and the initial content of the medium.
    pub seed: u64,
    /// Whether each start after the listed ones is interrupted after one commit.
    pub steps: bool,
    /// The starts.
    pub starts: Vec<Start>,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = if self.steps { "commits" } else { "run" };
        write!(f, "store={} seed={} tail={tail} starts=", STORES[self.store], self.seed)?;
        for (index, Start { program, failure }) in self.starts.iter().enumerate() {
            write!(f, "{}{program}/{failure}", if index > 0 { ";" } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Sequence {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let mut fields = line.split_whitespace().filter_map(|field| field.split_once('='));
            let found = fields.find(|(key, _)| *key == name).map(|(_, value)| value);
            found.ok_or_else(|| format!("the field {name}= is missing"))
        };
        let store = field("store")?;
        let store = STORES.iter().position(|name| *name == store).ok_or_else(|| format!("no store {store:?}"))?;
        let mut starts = Vec::new();
        for start in field("starts")?.split(';') {
            let (program, failure) = start.split_once('/').ok_or("expected PROGRAM/FAILURE")?;
            starts.push(Start { program: program.parse()?, failure: failure.parse()? });
        }
        let seed = field("seed")?.parse().map_err(|error| format!("seed=: {error}"))?;
        Ok(Sequence { store, seed, steps: field("tail")? == "commits", starts })
    }
}

/// Checks a sequence. Returns the number of operations of each listed start.
pub fn check(sequence: &Sequence, is_verbose: bool) -> Result<Vec<u32>, String> {
    match sequence.store {
        0 => check_on::<RamMedium>(sequence, is_verbose),
        1 => check_on::<DirectoryMedium>(sequence, is_verbose),
        2 => check_on::<FlashMedium<1>>(sequence, is_verbose),
        3 => check_on::<FlashMedium<4>>(sequence, is_verbose),
        _ => check_on::<FlashMedium<8>>(sequence, is_verbose),
    }
}

/// Checks a sequence on a medium.
pub fn check_on<M: Medium>(sequence: &Sequence, is_verbose: bool) -> Result<Vec<u32>, String> {
    let Sequence { seed, starts, .. } = sequence;
    let Some(last) = starts.last() else { return Ok(Vec::new()) };
    let mut device = Device::<M>::new(*seed);
    device.is_verbose = is_verbose;
    let mut operations = Vec::new();
    // From this start on, the program is the last one, and no failure changes the result.
    let is_same = |start: &&Start| start.program == last.program && start.keeps_the_result();
    let tail = starts.len() - starts.iter().rev().take_while(is_same).count();
    let mut twin = None;
    for (index, start) in starts.iter().enumerate() {
        if index == tail {
            twin = Some(uninterrupted(&device, *start)?);
        }
        device.start(*start).map_err(|error| format!("start {index}: {error}"))?;
        operations.push(device.operations);
    }
    let disturbed = device.history.is_disturbed;
    let end = finish(&mut device, sequence)?;
    if let (Some(Some(twin)), false) = (twin, disturbed) {
        compare(&twin, &end, "the interrupted run")?;
    }
    // A finished run stays finished. If its last commit was before its end, the rest is repeated.
    let again = device.start(Start { program: last.program, failure: Failure::None });
    let again = again.map_err(|error| format!("after the end: {error}"))?;
    if !device.history.is_disturbed || matches!(end, End::Finished { .. }) {
        if last.program.restore != 0 && device.history.is_disturbed {
            compare_outcomes(&end, &again, "the next start")?;
        } else {
            compare(&end, &again, "the next start")?;
        }
    }
    Ok(operations)
}

/// Runs a copy of the device to its end. If the program only differs in the order of its handlers, the result must be
/// that of the old order.
fn uninterrupted<M: Medium>(device: &Device<M>, start: Start) -> Result<Option<End>, String> {
    let mut twin = device.clone();
    twin.is_verbose = false;
    let none = Start { failure: Failure::None, ..start };
    let end = twin.start(none).map_err(|error| format!("uninterrupted: {error}"))?;
    let mut swapped = start.program;
    swapped.early = match swapped.early {
        2 => 3,
        3 => 2,
        _ => return Ok(Some(end).filter(|end| matches!(end, End::Finished { .. }))),
    };
    let mut twin = device.clone();
    twin.is_verbose = false;
    let other = twin.start(Start { program: swapped, failure: Failure::None });
    compare(&end, &other.map_err(|error| format!("swapped: {error}"))?, "the other order of handlers")?;
    Ok(Some(end).filter(|end| matches!(end, End::Finished { .. })))
}

/// Starts the last program until its run is finished.
fn finish<M: Medium>(device: &mut Device<M>, sequence: &Sequence) -> Result<End, String> {
    let Some(Start { program, .. }) = sequence.starts.last().copied() else { return Ok(End::Refused) };
    let iterations = u32::from(program.epochs) * program.epoch_length().max(6);
    let limit = if sequence.steps { 2 * iterations + 20 } else { 2 };
    for number in 0..limit {
        let failure = if sequence.steps { Failure::Stop(1) } else { Failure::None };
        match device.start(Start { program, failure }).map_err(|error| format!("tail {number}: {error}"))? {
            // The documented answer to another layout is to erase the region.
            End::Refused => device.erase(&program),
            end @ End::Finished { .. } => return Ok(end),
            End::Interrupted | End::SaveFailed => (),
        }
    }
    Err(format!("no progress: the run did not finish in {limit} starts"))
}

/// Compares how two runs ended, and not their weights.
fn compare_outcomes(expected: &End, end: &End, what: &str) -> Result<(), String> {
    match (expected, end) {
        (End::Finished { outcome: a, .. }, End::Finished { outcome: b, .. }) if a == b => Ok(()),
        (End::Finished { .. }, _) => Err(format!("{what} ended with {end:?}, expected {expected:?}")),
        _ => Ok(()),
    }
}

fn compare(expected: &End, end: &End, what: &str) -> Result<(), String> {
    match (expected, end) {
        (End::Finished { outcome: a, net: x, .. }, End::Finished { outcome: b, net: y, .. }) if a == b && x.same(y) => {
            Ok(())
        }
        (End::Finished { .. }, _) => Err(format!("{what} ended with {end:?}, expected {expected:?}")),
        _ => Ok(()),
    }
}
