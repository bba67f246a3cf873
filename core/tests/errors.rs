//! Tests of the error types. The text of an error contains its numbers, `source` returns the cause, and `kind` returns
//! the matching kind of `embedded_io`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::{Debug, Display};
use training_monitor::ConfigError;
use training_monitor::RunError;
use training_monitor::checkpoint::{
    self, Contents, DecodeError, ElementType, EncodeError, ItemName, Named, StateDict, TensorUnavailable, TensorVisitor,
};
use training_monitor::embedded_io::{Error as _, ErrorKind};
use training_monitor::embedded_storage::nor_flash::{NorFlashError, NorFlashErrorKind};
use training_monitor::handlers::model_checkpoint::{CheckpointEvent, SaveDecision};
use training_monitor::run_record::{HandlerKind, RestoreError, RunRecordFull};
use training_monitor::state::EventQueueFull;
use training_monitor::store::flash::{RegionError, SlotsError};
use training_monitor::store::ram::RamError;

/// The error of a simulated storage medium. The tests use it as the cause of other errors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cause;
impl Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the cause")
    }
}
impl Error for Cause {}

/// Returns the name `layer.weight` as a part of an error.
fn name() -> ItemName {
    struct Layer;
    impl StateDict for Layer {
        fn tensors<V: TensorVisitor>(&mut self, visitor: &mut V) -> Result<(), V::Error> {
            visitor.tensor("layer.weight", &mut [f32::NAN])
        }
    }
    match checkpoint::measure(&Contents::new(1), &mut Named::new("m", Layer)) {
        Err(EncodeError::NonFinite { name, index: 0 }) => name,
        other => panic!("{other:?}"),
    }
}

/// Checks that the texts of all errors differ, have more than 8 bytes and do not end with a full stop.
fn assert_distinct_texts<E: Display + Debug>(errors: &[E]) {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let distinct: BTreeSet<&String> = texts.iter().collect();
    assert_eq!(distinct.len(), errors.len(), "{texts:?}");
    assert!(texts.iter().all(|text| text.len() > 8 && !text.ends_with('.')), "{texts:?}");
}

/// Checks that the text of `error` contains all `parts`.
fn assert_text_contains<E: Display + Debug>(error: E, parts: &[&str]) {
    let text = error.to_string();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
}

#[test]
fn all_error_texts_differ() {
    use EncodeError as Encode;
    let name = name();
    let encode = [
        Encode::Io(Cause),
        Encode::WriteZero,
        Encode::NoObjects,
        Encode::Name { name },
        Encode::Duplicate { name },
        Encode::Shape { name },
        Encode::TooManyItems,
        Encode::MetadataOrder { name },
        Encode::Changed,
        Encode::ValueTooLarge { name },
        Encode::Bool { name },
        Encode::TooLong,
        Encode::NonFinite { name, index: 7 },
        Encode::Value { name },
        Encode::Unavailable,
        Encode::RunRecordFull(RunRecordFull { required: 129, capacity: 128 }),
        Encode::TooFewPlaces { n_saved: 3, places: 3 },
        Encode::BetterExists,
        Encode::NoSequenceLeft,
    ];
    assert_distinct_texts(&encode);
    assert_distinct_texts(&[
        DecodeError::Io(Cause),
        DecodeError::Truncated,
        DecodeError::NotACheckpoint,
        DecodeError::Version { found: 77 },
        DecodeError::Malformed,
        DecodeError::Checksum,
        DecodeError::Rank { name, expected: 2, found: 3 },
        DecodeError::Shape { name, dimension: 1, expected: 2, found: 3 },
        DecodeError::ElementType { name, expected: ElementType::F32, found: ElementType::I8 },
        DecodeError::Unexpected { name },
        DecodeError::NameTooLong,
        DecodeError::TooManyItems,
        DecodeError::Missing { name },
        DecodeError::ValueTooLarge { name },
        DecodeError::ReadOnly { name },
        DecodeError::Unavailable,
        DecodeError::Newer,
    ]);
    assert_distinct_texts(&[
        RunError::Step(Cause),
        RunError::NoData,
        RunError::DataExhausted { epoch: 1, iteration: 2 },
        RunError::Start(EncodeError::NoObjects),
        RunError::SaveFailed(EncodeError::NoObjects),
        RunError::IterationNotEnded,
    ]);
    let kind = HandlerKind::TIMER;
    assert_distinct_texts(&[
        RestoreError::Missing { kind },
        RestoreError::Malformed { kind },
        RestoreError::Unclaimed { kind },
        RestoreError::Engine,
        RestoreError::RecordTooLong { capacity: 128 },
        RestoreError::ListFailed,
        RestoreError::NoneLoadable { skipped: 1 },
        RestoreError::BecameUnreadable { iteration: 1 },
    ]);
    assert_distinct_texts(&[
        ConfigError::Occurrence,
        ConfigError::Patience,
        ConfigError::Threshold,
        ConfigError::Baseline,
        ConfigError::CheckSchedule,
        ConfigError::Alpha,
        ConfigError::Momentum,
        ConfigError::WarmupIterations,
        ConfigError::TimeLimit,
        ConfigError::ScoreLimit,
        ConfigError::SpikeWindow,
        ConfigError::SpikeTolerance,
        ConfigError::GradientLimit,
        ConfigError::SaveInterval,
        ConfigError::ScoreName,
        ConfigError::InitialThreshold,
        ConfigError::SeriesName,
        ConfigError::ScheduleValue,
        ConfigError::ScheduleFactor,
        ConfigError::ScheduleSteps,
        ConfigError::Milestones,
        ConfigError::PctStart,
        ConfigError::DivFactor,
        ConfigError::CycleSize,
        ConfigError::CycleMult,
        ConfigError::WarmupDuration,
        ConfigError::PlateauValue,
        ConfigError::PlateauFactor,
        ConfigError::PlateauThreshold,
        ConfigError::NSaved { n_saved: 1, table: 2 },
    ]);
    assert_distinct_texts(&[
        RegionError::Geometry { read: 1, write: 2, erase: 3 },
        RegionError::TooFewSlots,
        RegionError::OutOfBounds { capacity: 1 },
        RegionError::NotAligned { erase: 1, slots: 2 },
        RegionError::TooSmall { slot: 1 },
        RegionError::TooLarge { slot: 1, slots: 2 },
        RegionError::OtherLayout { address: 1, slot: 2, index: 3, slots: 4 },
    ]);
    assert_distinct_texts(&[
        SlotsError::Flash(Cause),
        SlotsError::TooLong { len: 1, max: 2 },
        SlotsError::Full,
        SlotsError::NotFound,
        SlotsError::Incomplete,
        SlotsError::VerifyFailed,
    ]);
    assert_distinct_texts(&[RamError::TooLong, RamError::Full, RamError::NotFound, RamError::Incomplete]);
    assert_distinct_texts(&[TensorUnavailable]);
    assert_distinct_texts(&[RunRecordFull { required: 129, capacity: 128 }]);
    assert_distinct_texts(&[EventQueueFull]);
}

#[test]
fn an_error_text_contains_the_numbers_of_the_error() {
    assert_text_contains(EncodeError::Io(Cause), &["the cause"]);
    assert_text_contains(DecodeError::Io(Cause), &["the cause"]);
    assert_text_contains(DecodeError::<Cause>::Version { found: 77 }, &["77", "version 2"]);
    let name = name();
    let parts = &["`layer.weight`", "12", "13"];
    assert_text_contains(DecodeError::<Cause>::Rank { name, expected: 12, found: 13 }, parts);
    assert_text_contains(DecodeError::<Cause>::Shape { name, dimension: 11, expected: 12, found: 13 }, parts);
    assert_text_contains(DecodeError::<Cause>::Shape { name, dimension: 11, expected: 12, found: 13 }, &["11"]);
    let different = DecodeError::<Cause>::ElementType { name, expected: ElementType::F16, found: ElementType::U64 };
    assert_text_contains(different, &["`layer.weight`", "f16", "u64"]);
    assert_text_contains(DecodeError::<Cause>::Unexpected { name }, &["`layer.weight`"]);
    assert_text_contains(EncodeError::<Cause>::NonFinite { name, index: 77 }, &["77"]);
    let named =
        [DecodeError::<Cause>::Missing { name }, DecodeError::ValueTooLarge { name }, DecodeError::ReadOnly { name }];
    named.into_iter().for_each(|error| assert_text_contains(error, &["`layer.weight`"]));
    let named = [
        EncodeError::<Cause>::Name { name },
        EncodeError::Duplicate { name },
        EncodeError::Shape { name },
        EncodeError::NonFinite { name, index: 7 },
        EncodeError::Value { name },
        EncodeError::ValueTooLarge { name },
        EncodeError::MetadataOrder { name },
    ];
    named.into_iter().for_each(|error| assert_text_contains(error, &["`layer.weight`"]));
    assert_text_contains(RunError::<Cause>::Start(EncodeError::Name { name }), &["`layer.weight`"]);
    assert_text_contains(RunError::<Cause>::SaveFailed(EncodeError::Name { name }), &["`layer.weight`"]);
    assert_text_contains(RunError::Step(Cause), &["the cause"]);
    assert_text_contains(RunError::<Cause>::DataExhausted { epoch: 21, iteration: 22 }, &["21", "22"]);
    assert_text_contains(RestoreError::NoneLoadable { skipped: 36 }, &["36"]);
    assert_text_contains(RestoreError::BecameUnreadable { iteration: 37 }, &["37"]);
    assert_text_contains(ConfigError::NSaved { n_saved: 41, table: 42 }, &["41", "42"]);
    assert_text_contains(RegionError::Geometry { read: 51, write: 52, erase: 53 }, &["51", "52", "53"]);
    assert_text_contains(RegionError::OutOfBounds { capacity: 54 }, &["54"]);
    assert_text_contains(RegionError::NotAligned { erase: 55, slots: 56 }, &["55", "56"]);
    assert_text_contains(RegionError::TooSmall { slot: 57 }, &["57"]);
    assert_text_contains(RegionError::TooLarge { slot: 58, slots: 59 }, &["58", "59"]);
    assert_text_contains(
        RegionError::OtherLayout { address: 0x1000, slot: 512, index: 3, slots: 4 },
        &["0x1000", "512", "slot 3"],
    );
    assert_text_contains(SlotsError::Flash(Cause), &["Cause"]);
    assert_text_contains(SlotsError::<Cause>::TooLong { len: 61, max: 62 }, &["61", "62"]);
    assert_text_contains(EncodeError::<Cause>::TooFewPlaces { n_saved: 15, places: 14 }, &["15", "14"]);
    let full = RunRecordFull { required: 139, capacity: 138 };
    assert_text_contains(full, &["139", "138"]);
    assert_text_contains(EncodeError::<Cause>::RunRecordFull(full), &["139", "138"]);
    assert_text_contains(RestoreError::RecordTooLong { capacity: 138 }, &["138"]);
}

#[test]
fn a_restore_error_names_the_handlers() {
    let stopping = HandlerKind::EARLY_STOPPING;
    assert_text_contains(RestoreError::Missing { kind: stopping }, &["EarlyStopping"]);
    assert_text_contains(RestoreError::Malformed { kind: HandlerKind::KEEP_METRICS }, &["KeepMetrics"]);
    assert_text_contains(RestoreError::Unclaimed { kind: HandlerKind::user(35) }, &["user-defined handler 35"]);
}

#[test]
fn a_checkpoint_event_is_displayed_with_its_numbers_and_its_error() {
    let decision = SaveDecision { step: 71, score: None };
    let error = EncodeError::Io(Cause);
    let saved = |evicted| {
        let event: CheckpointEvent<'_, Cause> = CheckpointEvent::Saved { decision, bytes: 72, evicted };
        event.to_string()
    };
    let failed = |retrying| CheckpointEvent::SaveFailed { decision, error: &error, retrying }.to_string();
    assert_text_contains(saved(None), &["71", "72"]);
    assert_text_contains(saved(Some(73)), &["71", "72", "73"]);
    assert_text_contains(failed(false), &["71", "the cause"]);
    assert_eq!(failed(true), failed(false) + "; retrying");
    assert_text_contains(CheckpointEvent::EvictionFailed { step: 74, error: &Cause }, &["74", "the cause"]);
    let failed_load = CheckpointEvent::LoadFailed { step: 75, error: &DecodeError::Io(Cause) };
    assert_text_contains(failed_load, &["75", "the cause"]);
}

#[test]
fn a_chain_of_errors_repeats_no_message() {
    #[derive(Debug)]
    struct Driver;
    impl core::fmt::Display for Driver {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            write!(f, "the driver failed: {Cause}")
        }
    }
    impl Error for Driver {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&Cause)
        }
    }
    fn source(error: impl Error) -> Option<String> {
        error.source().map(ToString::to_string)
    }
    let expected = Some("the cause".to_string());
    // The message contains that of the driver, so the source is the source of the driver.
    assert_text_contains(EncodeError::Io(Driver), &["the driver failed"]);
    assert_eq!(source(EncodeError::Io(Driver)), expected);
    assert_eq!(source(DecodeError::Io(Driver)), expected);
    assert_eq!(source(RunError::Step(Driver)), expected);
    assert_eq!(source(EncodeError::Io(Cause)), None);
    assert_eq!(source(EncodeError::<Cause>::NonFinite { name: name(), index: 0 }), None);
    assert_eq!(source(DecodeError::<Cause>::Malformed), None);
    assert_eq!(source(RunError::<Cause>::NoData), None);
}

#[derive(Debug)]
struct Flash(NorFlashErrorKind);
impl NorFlashError for Flash {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

#[test]
fn kind_returns_the_kind_of_embedded_io() {
    let flash = |kind| SlotsError::Flash(Flash(kind)).kind();
    assert_eq!(flash(NorFlashErrorKind::NotAligned), ErrorKind::InvalidInput);
    assert_eq!(flash(NorFlashErrorKind::OutOfBounds), ErrorKind::InvalidInput);
    assert_eq!(flash(NorFlashErrorKind::Other), ErrorKind::Other);
    let slots = |error: SlotsError<Flash>| error.kind();
    assert_eq!(slots(SlotsError::TooLong { len: 1, max: 0 }), ErrorKind::OutOfMemory);
    assert_eq!(slots(SlotsError::Full), ErrorKind::OutOfMemory);
    assert_eq!(slots(SlotsError::NotFound), ErrorKind::NotFound);
    assert_eq!(slots(SlotsError::Incomplete), ErrorKind::InvalidInput);
    assert_eq!(slots(SlotsError::VerifyFailed), ErrorKind::InvalidData);
    assert_eq!(RamError::TooLong.kind(), ErrorKind::OutOfMemory);
    assert_eq!(RamError::Full.kind(), ErrorKind::OutOfMemory);
    assert_eq!(RamError::NotFound.kind(), ErrorKind::NotFound);
    assert_eq!(RamError::Incomplete.kind(), ErrorKind::InvalidData);
}
