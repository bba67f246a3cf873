//! The check of a store against the contract of the trait.

mod limits;
mod probe;
mod sample;
mod scenarios;
mod violation;

pub use violation::{StoreRule, StoreViolation};

use super::medium::Medium;
use probe::{Check, Probe, violation};
use sample::{Sample, SampleSeries};
use training_monitor::store::Store;

/// Checks the store on `medium` against the contract of [`Store`]. The store must be empty. The check saves, replaces,
/// removes and erases checkpoints, opens the store again after each part, and compares every stream bit for bit. At the
/// end, the store is empty again.
///
/// The check covers:
///
/// * Streams are written in pieces of one byte, of odd sizes and in one piece. They are read with buffers of 0, 1, 3 and
///   64 bytes.
/// * The listing contains exactly the committed checkpoints, ordered by sequence number, with their metadata.
/// * Interrupted, abandoned and incomplete checkpoints are not listed. A commit without a stream is an error.
/// * A save replaces the checkpoint of the same series with the same step number, and no other one. A store may refuse a
///   step number that another series uses, for example if its file names contain only the step number.
/// * [`remove`](Store::remove), [`erase`](Store::erase), unknown sequence numbers, and the longest stream.
/// * A full store refuses the next checkpoint, without loss. This part is skipped if the store has more than 64 places.
/// * After it is opened again, the store lists the same checkpoints.
///
/// The check does not simulate faults. Use [`judge_power_failures`](super::judge_power_failures) for power failures, and
/// [`FaultyFlash`](super::driver::FaultyFlash) for a failing driver. A store needs room for streams of about 150 bytes.
///
/// # Errors
/// Returns the first violation.
///
/// ```
/// use training_monitor::store::flash::{RegionError, Slots};
/// use training_monitor_std::test_support::{Medium, check_store, flash::Flash};
///
/// struct Device(Flash<8, 256>);
///
/// impl Medium for Device {
///     type Store<'a> = Slots<&'a mut Flash<8, 256>, 3>;
///     type OpenError = RegionError;
///     fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
///         Slots::open(&mut self.0, 0..1536)
///     }
/// }
///
/// let mut device = Device(Flash::new(1536, 0xFF));
/// check_store(&mut device)?;
/// assert_eq!(device.0.violations(), []);
/// # Ok::<(), training_monitor_std::test_support::StoreViolation>(())
/// ```
pub fn check_store<M: Medium>(medium: &mut M) -> Result<(), StoreViolation> {
    let mut checker = Checker { medium, next_sequence: 1001, stream_per_object: false };
    let stream_per_object = checker.open()?.has_stream_per_object();
    checker.stream_per_object = stream_per_object;
    checker.check_empty()?;
    checker.check_round_trip()?;
    checker.check_order()?;
    checker.check_abandoned()?;
    checker.check_incomplete()?;
    checker.check_replacement()?;
    checker.check_removal()?;
    checker.check_full()?;
    checker.check_limits()
}

struct Checker<'m, M> {
    medium: &'m mut M,
    /// The sequence number of the next checkpoint. Each checkpoint has another number, which is no step number.
    next_sequence: u32,
    /// Whether the store writes each object to its own stream.
    stream_per_object: bool,
}

/// The filler of a sample with a usual length.
const FILLER: usize = 40;

impl<M: Medium> Checker<'_, M> {
    fn open(&mut self) -> Check<M::Store<'_>> {
        self.medium.open().map_err(|error| violation(StoreRule::Opens, "opening the store", error))
    }

    fn sequence(&mut self) -> u32 {
        self.next_sequence += 1;
        self.next_sequence
    }

    fn sample(&mut self, step: u32, series: SampleSeries) -> Check<Sample> {
        let sequence = self.sequence();
        // Several lengths, so that the streams end at different positions in a write granule.
        let filler = FILLER + sequence as usize % 5 * 3;
        Sample::new(sequence, step, series, filler, self.stream_per_object)
            .ok_or_else(|| violation(StoreRule::Succeeds, "encoding a checkpoint", "the checkpoint cannot be encoded"))
    }

    fn main_sample(&mut self, step: u32) -> Check<Sample> {
        self.sample(step, SampleSeries::Main)
    }

    /// Opens the store again, and requires that it contains `expected`.
    fn reopen(&mut self, expected: &[&Sample], after: &str) -> Check {
        self.reopen_with_rule(expected, after, StoreRule::SurvivesReopening)
    }

    fn reopen_with_rule(&mut self, expected: &[&Sample], after: &str, rule: StoreRule) -> Check {
        let mut store = self.open()?;
        Probe::new(&mut store, format_args!("after {after}, when the store was opened again")).verify(expected, rule)
    }

    /// Erases all checkpoints, until the store is empty when it is opened. A store may list a removed checkpoint again,
    /// but not an erased one.
    fn clear(&mut self) -> Check {
        let mut erased: Vec<u32> = Vec::new();
        loop {
            let mut store = self.open()?;
            let mut probe = Probe::new(&mut store, "after all checkpoints were erased");
            let erased_now = probe.erase_listed()?;
            if let Some(sequence) = erased_now.iter().find(|sequence| erased.contains(sequence)) {
                let details = format_args!("the erased checkpoint {sequence} is listed again");
                let operation = "`checkpoint` after the store was opened again";
                return Err(violation(StoreRule::ErasesPermanently, operation, details));
            }
            if erased_now.is_empty() {
                return probe.verify(&[], StoreRule::ErasesPermanently);
            }
            erased.extend(erased_now);
        }
    }
}
