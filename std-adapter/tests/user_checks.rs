//! The checks that users run on their own stores and drivers. Correct ones pass. Each deliberate mistake is found, and
//! the report names the violated rule.

#[path = "user_checks/driver.rs"]
mod driver;
#[path = "user_checks/toy.rs"]
mod toy;

use core::convert::Infallible;
use driver::{Driver, Mistake as DriverMistake};
use toy::{Mistake, Toy};
use training_monitor::store::flash::{RegionError, Slots};
use training_monitor::store::ram::Ram;
use training_monitor_std::test_support::flash::{Flash, Interruption};
use training_monitor_std::test_support::{
    FlashRule, JudgeOptions, JudgeReport, Medium, PowerFailureCase, PowerFailureRule, PowerMedium, StoreRule,
    check_nor_flash, check_store, judge_power_failures, replay_power_failures,
};

struct RamMedium<const SLOTS: usize, const SIZE: usize>(Ram<SLOTS, SIZE>);

impl<const SLOTS: usize, const SIZE: usize> Medium for RamMedium<SLOTS, SIZE> {
    type Store<'a> = &'a mut Ram<SLOTS, SIZE>;
    type OpenError = Infallible;
    fn open(&mut self) -> Result<Self::Store<'_>, Infallible> {
        Ok(&mut self.0)
    }
}

struct FlashMedium<const W: usize, const E: usize, const R: usize, const SLOTS: usize>(Flash<W, E, R>);

impl<const W: usize, const E: usize, const R: usize, const SLOTS: usize> Medium for FlashMedium<W, E, R, SLOTS> {
    type Store<'a> = Slots<&'a mut Flash<W, E, R>, SLOTS>;
    type OpenError = RegionError;
    fn open(&mut self) -> Result<Self::Store<'_>, RegionError> {
        let end = self.0.image().len() as u32;
        Slots::open(&mut self.0, 0..end)
    }
}

/// The effects of a power failure in the tests of the judge. An effect that does not exist for an operation leaves the
/// cells unchanged.
const EFFECTS: [Interruption; 7] = [
    Interruption::Nothing,
    Interruption::Whole,
    Interruption::Bits,
    Interruption::Garbage,
    Interruption::TailZero,
    Interruption::Unstable,
    Interruption::Unreadable,
];

impl<const W: usize, const E: usize, const R: usize, const SLOTS: usize> PowerMedium for FlashMedium<W, E, R, SLOTS> {
    fn operations(&self) -> u64 {
        self.0.counts.operations
    }
    fn cut_power_at(&mut self, operation: u64, seed: u64) {
        let after = operation - self.0.counts.operations;
        self.0.cut_power_at(after, EFFECTS[seed as usize % EFFECTS.len()], seed);
    }
    fn restore_power(&mut self) {
        self.0.power_on();
    }
    fn is_unstable(&self) -> bool {
        self.0.is_unstable()
    }
}

#[test]
fn the_stores_of_the_library_keep_the_contract() {
    check_store(&mut RamMedium(Ram::<2, 256>::new())).unwrap_or_else(|violation| panic!("{violation}"));
    check_store(&mut RamMedium(Ram::<3, 1000>::new())).unwrap_or_else(|violation| panic!("{violation}"));
    check_slots::<1, 256, 1, 3>(2, 0xFF);
    check_slots::<4, 256, 1, 2>(1, 0xFF);
    check_slots::<8, 256, 1, 3>(2, 0);
    check_slots::<16, 512, 4, 4>(1, 0xFF);
    check_slots::<32, 256, 32, 5>(3, 0xFF);
    check_slots::<2, 4096, 8, 3>(2, 0xFF);
}

fn check_slots<const W: usize, const E: usize, const R: usize, const SLOTS: usize>(blocks: usize, erased: u8) {
    let mut medium = FlashMedium::<W, E, R, SLOTS>(Flash::new(blocks * SLOTS * E, erased));
    check_store(&mut medium).unwrap_or_else(|violation| panic!("{W} {E} {R} {SLOTS}: {violation}"));
    assert_eq!(medium.0.violations(), []);
}

/// A toy store whose commit does not detect that bytes are missing.
struct Lenient(Toy<false>);

impl Medium for Lenient {
    type Store<'a> = <Toy<false> as Medium>::Store<'a>;
    type OpenError = <Toy<false> as Medium>::OpenError;
    const DETECTS_INCOMPLETE: bool = false;
    fn open(&mut self) -> Result<Self::Store<'_>, Self::OpenError> {
        self.0.open()
    }
}

#[test]
fn an_incomplete_commit_is_no_violation_if_the_medium_allows_it() {
    check_store(&mut Lenient(Toy::new(Mistake::CommitsIncomplete))).unwrap_or_else(|violation| panic!("{violation}"));
}

/// The mistakes that the check of the contract finds, and the rule that it reports.
const STORE_MISTAKES: [(Mistake, StoreRule); 27] = [
    (Mistake::LosesOldestOnOpen, StoreRule::SurvivesReopening),
    (Mistake::ListsByStep, StoreRule::ListsInOrder),
    (Mistake::TruncatesStreams, StoreRule::ReadsBack),
    (Mistake::ListsBeforeCommit, StoreRule::ListedAfterCommit),
    (Mistake::IgnoresReplacement, StoreRule::Replaces),
    (Mistake::ReplacesOtherSeries, StoreRule::SaveKeepsOthers),
    (Mistake::IdentifiesByStep, StoreRule::StreamCount),
    (Mistake::CommitsIncomplete, StoreRule::CommitNeedsWholeStream),
    (Mistake::CommitsNothing, StoreRule::CommitNeedsStream),
    (Mistake::KeepsAbandoned, StoreRule::AbandonedIsDiscarded),
    (Mistake::ForgetsErase, StoreRule::ErasesPermanently),
    (Mistake::RefusesUnknownRemoval, StoreRule::RemovesUnknown),
    (Mistake::OtherErrorKind, StoreRule::NotFound),
    (Mistake::DropsBytes, StoreRule::ReadsBack),
    (Mistake::CountsTooMuch, StoreRule::WriterCount),
    (Mistake::ReadsInCircles, StoreRule::ReadsBack),
    (Mistake::ChecksNothing, StoreRule::Limit),
    (Mistake::ChecksOneMore, StoreRule::Limit),
    (Mistake::OverwritesWhenFull, StoreRule::RefusesWhenFull),
    (Mistake::LosesSign, StoreRule::ListsCommitted),
    (Mistake::ListsForever, StoreRule::ListingEnds),
    (Mistake::CountsRemovedAsDamaged, StoreRule::NoDamage),
    (Mistake::NeverDurable, StoreRule::Durable),
    (Mistake::ReplacesInCreate, StoreRule::SaveKeepsOthers),
    (Mistake::RemovesOlder, StoreRule::Removes),
    (Mistake::ReportsManyPlaces, StoreRule::Capacity),
    (Mistake::LosesPlaces, StoreRule::Succeeds),
];

#[test]
fn the_check_finds_each_mistake_of_a_store() {
    check_store(&mut Toy::<false>::new(Mistake::None)).unwrap_or_else(|violation| panic!("{violation}"));
    check_store(&mut Toy::<true>::new(Mistake::None)).unwrap_or_else(|violation| panic!("{violation}"));
    for (mistake, rule) in STORE_MISTAKES {
        for result in [check_store(&mut Toy::<false>::new(mistake)), check_store(&mut Toy::<true>::new(mistake))] {
            match result {
                Ok(()) => panic!("{mistake:?} is not found"),
                Err(violation) => {
                    assert_eq!(violation.rule, rule, "{mistake:?}: {violation}");
                    assert!(violation.to_string().contains(&rule.to_string()));
                }
            }
        }
    }
}

#[test]
fn the_check_accepts_correct_flash_drivers() {
    check_nor_flash(&mut Driver::new(DriverMistake::None), 1024..3072).unwrap_or_else(|error| panic!("{error}"));
    check_flash::<1, 256, 1>(0xFF);
    check_flash::<2, 4096, 1>(0xFF);
    check_flash::<4, 256, 4>(0);
    check_flash::<1, 512, 16>(0xFF);
    check_flash::<16, 1024, 1>(0xFF);
    check_flash::<32, 256, 32>(0xFF);
    check_flash::<8, 2048, 2>(0);
}

/// Checks a simulated flash that is filled with other data. The check must not change the data around its region.
fn check_flash<const W: usize, const E: usize, const R: usize>(erased: u8) {
    let mut flash = Flash::<W, E, R>::with_image(vec![0x3C; 6 * E], erased);
    let region = E as u32..4 * E as u32;
    check_nor_flash(&mut flash, region).unwrap_or_else(|violation| panic!("{W} {E} {R}: {violation}"));
    // The check makes unaligned calls on purpose. It programs no granule twice.
    let reprogrammed = |violation: &_| format!("{violation:?}").starts_with("Reprogrammed");
    assert!(!flash.violations().iter().any(reprogrammed));
    assert!(flash.image()[..E].iter().chain(&flash.image()[4 * E..]).all(|byte| *byte == 0x3C));
    assert!(flash.image()[E..4 * E].iter().all(|byte| *byte == erased));
    assert_eq!(flash.block_erases, [0, 5, 5, 5, 0, 0]);
}

#[test]
fn the_check_finds_each_mistake_of_a_flash_driver() {
    use DriverMistake as M;
    let mistakes = [
        (M::ProgramsNextGranule, FlashRule::ProgramsOneGranule),
        (M::ProgramsOneGranule, FlashRule::ReadsBack),
        (M::WrapsAtPage, FlashRule::ReadsBack),
        (M::SkipsOddGranules, FlashRule::ProgramsOneGranule),
        (M::ErasesNextBlock, FlashRule::ErasesOneBlock),
        (M::ErasesHalf, FlashRule::ReadsBack),
        (M::ErasesOneBlock, FlashRule::ReadsBack),
        (M::ErasesNothing, FlashRule::ReadsBack),
        (M::ReadsAtMost64, FlashRule::ReadsBack),
        (M::ReadsAlignedTo16, FlashRule::ReadsBack),
        (M::WrapsAtBlock, FlashRule::ReadsBack),
        (M::MirrorsAddresses, FlashRule::DistinctAddresses),
        (M::AcceptsUnaligned, FlashRule::RefusesUnaligned),
        (M::AcceptsOutOfBounds, FlashRule::RefusesOutOfBounds),
        (M::ProgramsBeforeCheck, FlashRule::RefusesUnaligned),
        (M::FailsSometimes, FlashRule::Succeeds),
    ];
    for (mistake, rule) in mistakes {
        // The whole flash, so that the mirrored half is part of the region.
        match check_nor_flash(&mut Driver::new(mistake), 0..4096) {
            Ok(()) => panic!("{mistake:?} is not found"),
            Err(violation) => assert_eq!(violation.rule, rule, "{mistake:?}: {violation}"),
        }
    }
}

#[test]
fn an_unsuitable_region_or_geometry_is_a_violation() {
    let rule = |region| check_nor_flash(&mut Driver::new(DriverMistake::None), region).unwrap_err().rule;
    for region in [0..512, 0..0, 100..1124, 0..1000, 3584..4608] {
        assert_eq!(rule(region.clone()), FlashRule::Region, "{region:?}");
    }
    let violation = check_nor_flash(&mut Flash::<64, 256>::new(1024, 0xFF), 0..1024).unwrap_err();
    assert_eq!(violation.rule, FlashRule::Geometry);
    assert!(violation.to_string().contains("WRITE_SIZE"), "{violation}");
}

#[test]
fn the_judge_accepts_correct_stores() {
    let options = JudgeOptions { effects: EFFECTS.len() as u64, second_failures: 1 };
    let judge = |report: Result<JudgeReport, _>| report.unwrap_or_else(|violation| panic!("{violation}"));
    let report = judge(judge_power_failures(|| FlashMedium::<32, 256, 1, 4>(Flash::new(2048, 0xFF)), options));
    assert!(report.cases > 2000 && report.power_failures > report.cases, "{report:?}");
    let options = JudgeOptions { effects: 1, second_failures: 0 };
    judge(judge_power_failures(|| FlashMedium::<8, 256, 1, 2>(Flash::new(512, 0)), options));

    let options = JudgeOptions { effects: 2, second_failures: 5 };
    judge(judge_power_failures(|| Toy::<false>::new(Mistake::None), options));
    judge(judge_power_failures(|| Toy::<true>::new(Mistake::None), options));
}

#[test]
fn the_judge_finds_each_mistake_and_reports_a_case_that_shows_it() {
    let mistakes = [
        (Mistake::LosesOldestOnOpen, PowerFailureRule::KeepsSaved),
        (Mistake::TruncatesStreams, PowerFailureRule::KeepsSaved),
        (Mistake::KeepsAbandoned, PowerFailureRule::CompleteOrAbsent),
        (Mistake::ReplacesInCreate, PowerFailureRule::KeepsSaved),
        (Mistake::CommitsInTwoOperations, PowerFailureRule::ListsOnlySaved),
        (Mistake::NeverFlushes, PowerFailureRule::KeepsSaved),
        (Mistake::RemovesBeforeCommit, PowerFailureRule::KeepsSaved),
        (Mistake::LosesPlaces, PowerFailureRule::Saves),
        (Mistake::Panics, PowerFailureRule::NoPanic),
        (Mistake::ListsByStep, PowerFailureRule::Opens),
    ];
    let options = JudgeOptions { effects: 2, second_failures: 2 };
    for (mistake, rule) in mistakes {
        find_mistake::<false>(mistake, rule, options);
        find_mistake::<true>(mistake, rule, options);
    }
}

fn find_mistake<const PER_OBJECT: bool>(mistake: Mistake, rule: PowerFailureRule, options: JudgeOptions) {
    let new_medium = || Toy::<PER_OBJECT>::new(mistake);
    let violation = match judge_power_failures(new_medium, options) {
        Ok(report) => panic!("{mistake:?} is not found: {report:?}"),
        Err(violation) => violation,
    };
    assert_eq!(violation.rule, rule, "{mistake:?}: {violation}");
    // The text of the case is sufficient to show the violation again.
    let case: PowerFailureCase = violation.case.to_string().parse().unwrap();
    assert_eq!(replay_power_failures(new_medium, &case), Err(violation));
    // The correct store passes the same case, or has fewer operations.
    if let Err(violation) = replay_power_failures(|| Toy::<PER_OBJECT>::new(Mistake::None), &case) {
        assert_eq!(violation.rule, PowerFailureRule::FailsAsPlanned, "{violation}");
    }
}

#[test]
fn a_medium_that_does_not_count_or_does_not_fail_is_a_violation() {
    /// Counts its operations if the constant is true. Ignores planned power failures.
    struct NeverFails<const COUNTS: bool>(Toy<false>);
    impl<const COUNTS: bool> Medium for NeverFails<COUNTS> {
        type Store<'a> = <Toy<false> as Medium>::Store<'a>;
        type OpenError = <Toy<false> as Medium>::OpenError;
        fn open(&mut self) -> Result<Self::Store<'_>, Self::OpenError> {
            self.0.open()
        }
    }
    impl<const COUNTS: bool> PowerMedium for NeverFails<COUNTS> {
        fn operations(&self) -> u64 {
            if COUNTS { self.0.operations() } else { 0 }
        }
        fn cut_power_at(&mut self, _: u64, _: u64) {}
        fn restore_power(&mut self) {}
    }
    fn rule_of<const COUNTS: bool>() -> PowerFailureRule {
        let new_medium = || NeverFails::<COUNTS>(Toy::new(Mistake::None));
        judge_power_failures(new_medium, JudgeOptions::default()).unwrap_err().rule
    }
    assert_eq!(rule_of::<false>(), PowerFailureRule::FailsAsPlanned);
    assert_eq!(rule_of::<true>(), PowerFailureRule::FailsAsPlanned);
    let case = "rank=best n_saved=2 saves=1:5 failures=1000:0".parse().unwrap();
    let result = replay_power_failures(|| Toy::<false>::new(Mistake::None), &case);
    assert_eq!(result.unwrap_err().rule, PowerFailureRule::FailsAsPlanned);
}

#[test]
fn a_case_is_parsed_or_its_mistake_is_named() {
    let error = |line: &str| line.parse::<PowerFailureCase>().unwrap_err();
    assert!(error("n_saved=1 saves=1:1 failures=").contains("rank="));
    assert!(error("rank=age n_saved=1 saves=1:1 failures=").contains("age"));
    assert!(error("rank=best n_saved=4 saves=1:1 failures=").contains("n_saved=4"));
    assert!(error("rank=best n_saved=1 saves=1 failures=").contains("two numbers"));
    assert!(error("rank=best n_saved=1 saves=1:300 failures=").contains("300"));
}
