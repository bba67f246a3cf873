//! Tests of the table comparison, of the instruction decoder, and of the comparison of two runs.

use crate::calls::{Call, pushed, riscv_call, thumb_call};
use crate::precisions::{RunResult, exceeded_limits};
use crate::table;
use std::fs;
use tempfile::TempDir;

/// Test files in a temporary directory, which is deleted when this value is dropped.
struct TestFiles(TempDir);

impl TestFiles {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        files.iter().for_each(|(name, text)| fs::write(directory.path().join(name), text).unwrap());
        Self(directory)
    }
    fn compare(&self, partial: bool) -> bool {
        table::compare(&self.0.path().join("before"), &self.0.path().join("now"), partial).is_ok()
    }
    fn budgets(&self) -> bool {
        table::check_budgets(&self.0.path().join("budgets"), &self.0.path().join("now")).is_ok()
    }
}

#[test]
fn a_table_may_grow_by_two_per_cent() {
    let compare = |before, now| TestFiles::new(&[("before", before), ("now", now)]).compare(false);
    assert!(compare("m4f/a 100\n", "m4f/a 102\n"));
    assert!(!compare("m4f/a 100\n", "m4f/a 103\n"));
    assert!(compare("m4f/a 100\n", "m4f/a 50\n"));
    assert!(!compare("m4f/a 0\n", "m4f/a 1\n"));
}

#[test]
fn a_missing_number_is_a_failure() {
    let missing = TestFiles::new(&[("before", "m4f/a 1\nm4f/b 1\n"), ("now", "m4f/a 1\n"), ("budgets", "m4f/b 1\n")]);
    assert!(!missing.compare(false));
    assert!(missing.compare(true));
    assert!(!missing.budgets());
    assert!(!TestFiles::new(&[("before", ""), ("now", "m4f/a 1\n")]).compare(true), "not in the table");
}

#[test]
fn a_number_may_exceed_its_limit_up_to_the_accepted_value() {
    let budgets = |line, now| TestFiles::new(&[("budgets", line), ("now", now)]).budgets();
    assert!(budgets("m4f/a 10\n", "m4f/a 10\n"));
    assert!(!budgets("m4f/a 10\n", "m4f/a 11\n"));
    assert!(budgets("m4f/a 10 100\n", "m4f/a 100\n"));
    assert!(!budgets("m4f/a 10 100\n", "m4f/a 103\n"));
}

#[test]
fn the_accepted_value_is_the_largest_value_of_all_tables() {
    let files = TestFiles::new(&[
        ("budgets", "# comment\nm4f/a 10\nm4f/b 10 99\n"),
        ("one", "m4f/a 20\nm4f/b 9\n"),
        ("two", "m4f/a 30\nm4f/b 10\n"),
    ]);
    let path = |name| files.0.path().join(name);
    table::accept(&path("budgets"), &[path("one"), path("two")]).unwrap();
    assert_eq!(fs::read_to_string(path("budgets")).unwrap(), "# comment\nm4f/a 10 30\nm4f/b 10\n");
}

/// The expected addresses come from the output of `llvm-objdump`.
#[test]
fn thumb_calls_have_the_targets_of_the_disassembler() {
    let calls = [
        (0x0620, 0xF009_F875, 0x970E),
        (0x2CE0, 0xF7FF_FA24, 0x212C),
        (0x4D6C, 0xF7FF_BF81, 0x4C72),
        (0x058A, 0xE012, 0x05B2),
        (0x3BD8, 0xE6CF, 0x397A),
    ];
    for (address, word, target) in calls {
        assert_eq!(thumb_call(address, word), Some(Call::To(target)), "{word:08x}");
    }
    assert_eq!(thumb_call(0, 0x4770), None, "bx lr");
    assert_eq!(thumb_call(0, 0x4798), Some(Call::Pointer), "blx r3");
    assert_eq!(thumb_call(0, 0x4718), Some(Call::Pointer), "bx r3");
    assert_eq!(thumb_call(0, 0xB570), None, "push");
    assert_eq!([0xB570, 0xE92D_4FF0, 0xB084, 0x4770].map(|word| pushed(true, word)), [16, 36, 16, 0]);
}

/// The expected addresses come from the output of `llvm-objdump`.
#[test]
fn riscv_calls_have_the_targets_of_the_disassembler() {
    let calls = [
        (0x8000_03C0, 0xA015, 0, 0x8000_03E4),
        (1000, 0xBFFD, 0, 998),
        (1000, 0x2011, 0, 1004),
        (1000, 0x3FE5, 0, 992),
        (1000, 0x26E5, 0, 2000),
        (1000, 0x3441_20EF, 0, 75_564),
        (0x8000_0070, 0x0780_80E7, 0x0000_0097, 0x8000_00E4),
        (0x8000_01CE, 0x0223_0067, 0x0000_0317, 0x8000_01EC),
    ];
    for (address, word, previous, target) in calls {
        assert_eq!(riscv_call(address, word, previous), Some(Call::To(target)), "{word:08x}");
    }
    assert_eq!(riscv_call(0, 0x8082, 0), None, "ret");
    assert_eq!(riscv_call(0, 0x9502, 0), Some(Call::Pointer), "jalr a0");
    assert_eq!(riscv_call(0, 0x8502, 0), Some(Call::Pointer), "jr a0");
    assert_eq!(riscv_call(0, 0x1141, 0), None, "addi sp, sp, -16");
    let allocations = [0x1141, 0x1101, 0x7119, 0x7141, 0x8301_0113];
    assert_eq!(allocations.map(|word| pushed(false, word)), [16, 32, 128, 496, 2000]);
    assert_eq!([0x6121, 0x8082].map(|word| pushed(false, word)), [0, 0], "c.addi16sp with a positive immediate, ret");
}

#[test]
fn the_results_of_a_run_are_read_from_its_log_and_compared_with_the_limits() {
    let log = "network 64-10-10\nbest: saved step 1, 6408 bytes\nlatest: saved step 20, 6392 bytes, evicted step 19\n\
        best: saved step 19, 6412 bytes, evicted step 18\ntest: loss 0.1515, accuracy 0.9388889\n";
    let float = RunResult { bytes: 6412, accuracy: 0.938_888_9 };
    assert_eq!(RunResult::from_log(log), Some(float));
    assert_eq!(RunResult::from_log("best: saved step 1, 6408 bytes"), None);
    assert_eq!(RunResult::from_log("test: loss 0.1515, accuracy 0.9388889"), None);

    let exceeded = |bytes, accuracy| exceeded_limits(float, RunResult { bytes, accuracy }).len();
    assert_eq!(exceeded(1603, 0.924), 0);
    assert_eq!(exceeded(1604, 0.924), 1);
    assert_eq!(exceeded(1603, 0.923), 1);
    assert_eq!(exceeded(1604, 0.923), 2);
}
