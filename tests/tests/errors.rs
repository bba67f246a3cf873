//! What errors say and what they are of: every text has its numbers, every cause is at hand, and the kinds that
//! `embedded_io` knows are the right ones.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::{Debug, Display};
use training_monitor::RunError;
use training_monitor::checkpoint::{DecodeError, EncodeError};
use training_monitor::embedded_io::{Error as _, ErrorKind};
use training_monitor::embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};
use training_monitor::event::FilterError;
use training_monitor::handlers::early_stopping;
use training_monitor::handlers::model_checkpoint::{ConfigError, Save};
use training_monitor::handlers::saving::Report;
use training_monitor::record::{RecordFull, RestoreError};
use training_monitor::state::EventQueueFull;
use training_monitor::store::ram::RamError;
use training_monitor::store::slots::{RegionError, SlotsError};

/// Whatever the medium said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cause;
impl Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the cause")
    }
}
impl Error for Cause {}

fn texts<E: Display + Debug>(errors: &[E]) -> Vec<String> {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let different: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(different.len(), errors.len(), "{texts:?}");
    assert!(texts.iter().all(|text| text.len() > 8 && !text.ends_with('.')), "{texts:?}");
    texts
}

/// Each number that is in the error is in its text.
fn tells<E: Display + Debug>(error: E, numbers: &[&str]) {
    let text = error.to_string();
    assert!(numbers.iter().all(|number| text.contains(number)), "{text}");
}

#[test]
fn every_error_has_a_text_of_its_own() {
    use EncodeError as Encode;
    let encode = [
        Encode::Io(Cause),
        Encode::WriteZero,
        Encode::NoObjects,
        Encode::Name,
        Encode::Shape,
        Encode::TooManyItems,
        Encode::TooLong,
        Encode::NonFinite,
        Encode::Value,
        Encode::RecordFull,
    ];
    texts(&encode);
    texts(&[
        DecodeError::Io(Cause),
        DecodeError::Truncated,
        DecodeError::NotACheckpoint,
        DecodeError::Version { found: 77 },
        DecodeError::Malformed,
        DecodeError::Checksum,
        DecodeError::Length { item: 1, expected: 2, found: 3 },
        DecodeError::Missing { item: 1 },
        DecodeError::ValueTooLarge,
    ]);
    texts(&[
        RunError::Step(Cause),
        RunError::NoData,
        RunError::DataExhausted { epoch: 1, iteration: 2 },
        RunError::SaveFailed,
    ]);
    texts(&[
        RestoreError::Missing { kind: 1 },
        RestoreError::OtherHandler { expected: 1, found: 2 },
        RestoreError::Malformed { kind: 1 },
        RestoreError::Left { kind: 1 },
        RestoreError::Engine,
        RestoreError::NoneFits { skipped: 1 },
        RestoreError::Lost { iteration: 1 },
    ]);
    texts(&[
        ConfigError::IntervalOrScore,
        ConfigError::SaveInterval,
        ConfigError::ScoreNameWithoutScore,
        ConfigError::ScoreName,
        ConfigError::NSaved,
        ConfigError::Table { n_saved: 1, places: 2 },
    ]);
    texts(&[early_stopping::ConfigError::Patience, early_stopping::ConfigError::Threshold]);
    texts(&[
        RegionError::Flash { read: 1, write: 2, erase: 3 },
        RegionError::TooFewSlots,
        RegionError::OutOfBounds { capacity: 1 },
        RegionError::NotAligned { erase: 1, slots: 2 },
        RegionError::TooSmall { slot: 1 },
    ]);
    texts(&[
        SlotsError::Flash(Cause),
        SlotsError::TooLong { len: 1, room: 2 },
        SlotsError::Full,
        SlotsError::NotFound,
        SlotsError::Incomplete,
        SlotsError::Unreadable,
    ]);
    texts(&[RamError::TooLong, RamError::Full, RamError::NotFound]);
    texts(&[RecordFull]);
    texts(&[EventQueueFull]);
    texts(&[FilterError::Zero]);
}

#[test]
fn a_text_has_the_numbers() {
    tells(EncodeError::Io(Cause), &["the cause"]);
    tells(DecodeError::Io(Cause), &["the cause"]);
    tells(DecodeError::<Cause>::Version { found: 77 }, &["77", "version 1 "]);
    tells(DecodeError::<Cause>::Length { item: 11, expected: 12, found: 13 }, &["11", "12", "13"]);
    tells(DecodeError::<Cause>::Missing { item: 11 }, &["11"]);
    tells(RunError::Step(Cause), &["the cause"]);
    tells(RunError::<Cause>::DataExhausted { epoch: 21, iteration: 22 }, &["21", "22"]);
    tells(RestoreError::Missing { kind: 31 }, &["31"]);
    tells(RestoreError::OtherHandler { expected: 32, found: 33 }, &["32", "33"]);
    tells(RestoreError::Malformed { kind: 34 }, &["34"]);
    tells(RestoreError::Left { kind: 35 }, &["35"]);
    tells(RestoreError::NoneFits { skipped: 36 }, &["36"]);
    tells(RestoreError::Lost { iteration: 37 }, &["37"]);
    tells(ConfigError::Table { n_saved: 41, places: 42 }, &["41", "42"]);
    tells(RegionError::Flash { read: 51, write: 52, erase: 53 }, &["51", "52", "53"]);
    tells(RegionError::OutOfBounds { capacity: 54 }, &["54"]);
    tells(RegionError::NotAligned { erase: 55, slots: 56 }, &["55", "56"]);
    tells(RegionError::TooSmall { slot: 57 }, &["57"]);
    tells(SlotsError::Flash(Cause), &["Cause"]);
    tells(SlotsError::<Cause>::TooLong { len: 61, room: 62 }, &["61", "62"]);
    tells(RecordFull, &["128"]);
}

#[test]
fn a_report_is_a_line() {
    let save = Save { step: 71, score: None };
    let error = EncodeError::Io(Cause);
    let saved = |removed| {
        let report: Report<'_, Cause> = Report::Saved { save, bytes: 72, removed };
        report.to_string()
    };
    let failed = |retrying| Report::SaveFailed { save, error: &error, retrying }.to_string();
    tells(saved(None), &["71", "72"]);
    tells(saved(Some(73)), &["71", "72", "73"]);
    tells(failed(false), &["71", "the cause"]);
    assert_eq!(failed(true), failed(false) + "; trying again");
    tells(Report::RemovalFailed { step: 74, error: &Cause }, &["74", "the cause"]);
    tells(Report::LoadFailed { step: 75, error: &DecodeError::Io(Cause) }, &["75", "the cause"]);
}

#[test]
fn the_cause_is_at_hand() {
    fn cause(error: impl Error) -> Option<String> {
        error.source().map(ToString::to_string)
    }
    let the_cause = Some("the cause".to_string());
    assert_eq!(cause(EncodeError::Io(Cause)), the_cause);
    assert_eq!(cause(DecodeError::Io(Cause)), the_cause);
    assert_eq!(cause(RunError::Step(Cause)), the_cause);
    assert_eq!(cause(EncodeError::<Cause>::NonFinite), None);
    assert_eq!(cause(DecodeError::<Cause>::Malformed), None);
    assert_eq!(cause(RunError::<Cause>::NoData), None);
}

#[derive(Debug)]
struct Flash(NorFlashErrorKind);
impl NorFlashError for Flash {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

#[test]
fn kinds_are_those_of_embedded_io() {
    let flash = |kind| SlotsError::Flash(Flash(kind)).kind();
    assert_eq!(flash(NorFlashErrorKind::NotAligned), ErrorKind::InvalidInput);
    assert_eq!(flash(NorFlashErrorKind::OutOfBounds), ErrorKind::InvalidInput);
    assert_eq!(flash(NorFlashErrorKind::Other), ErrorKind::Other);
    let slots = |error: SlotsError<Flash>| error.kind();
    assert_eq!(slots(SlotsError::TooLong { len: 1, room: 0 }), ErrorKind::OutOfMemory);
    assert_eq!(slots(SlotsError::Full), ErrorKind::OutOfMemory);
    assert_eq!(slots(SlotsError::NotFound), ErrorKind::NotFound);
    assert_eq!(slots(SlotsError::Incomplete), ErrorKind::InvalidInput);
    assert_eq!(slots(SlotsError::Unreadable), ErrorKind::InvalidData);
    assert_eq!(RamError::TooLong.kind(), ErrorKind::OutOfMemory);
    assert_eq!(RamError::Full.kind(), ErrorKind::OutOfMemory);
    assert_eq!(RamError::NotFound.kind(), ErrorKind::NotFound);
}

/// A directory's errors are those of the file system, as `embedded_io` calls them, with their cause.
#[test]
fn a_directorys_error_has_the_kind_of_its_cause() {
    use std::io::ErrorKind as Io;
    use training_monitor_std::directory::{DirectoryError, OpenError, Operation};
    let error = |kind: Io| DirectoryError::Io { operation: Operation::Read, path: "a".into(), cause: kind.into() };
    for (kind, expected) in [
        (Io::NotFound, ErrorKind::NotFound),
        (Io::PermissionDenied, ErrorKind::PermissionDenied),
        (Io::ReadOnlyFilesystem, ErrorKind::PermissionDenied),
        (Io::AlreadyExists, ErrorKind::AlreadyExists),
        (Io::InvalidInput, ErrorKind::InvalidInput),
        (Io::InvalidData, ErrorKind::InvalidData),
        (Io::TimedOut, ErrorKind::TimedOut),
        (Io::Interrupted, ErrorKind::Interrupted),
        (Io::Unsupported, ErrorKind::Unsupported),
        (Io::OutOfMemory, ErrorKind::OutOfMemory),
        (Io::WriteZero, ErrorKind::WriteZero),
        (Io::StorageFull, ErrorKind::Other),
    ] {
        assert_eq!(error(kind).kind(), expected, "{kind:?}");
        assert!(error(kind).source().is_some() && OpenError::Directory(error(kind)).source().is_some());
    }
    assert_eq!(DirectoryError::InTheWay { path: "a".into() }.kind(), ErrorKind::AlreadyExists);
    assert_eq!(DirectoryError::Name { name: "a".into() }.kind(), ErrorKind::InvalidInput);
    assert_eq!(DirectoryError::NotStored { step: 1 }.kind(), ErrorKind::NotFound);
    assert_eq!(DirectoryError::NothingWritten.kind(), ErrorKind::InvalidData);
    assert!(DirectoryError::NothingWritten.source().is_none() && OpenError::Prefix.source().is_none());
}
