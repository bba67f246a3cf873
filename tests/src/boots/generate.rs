//! Generates sequences of starts: every change of the program with every kind of failure on every store.

use super::boot::Start;
use super::cases::{DIRECTORY, STORES, Sequence};
use super::failures::Failure;
use super::program::Program;
use crate::random::Random;

/// The changes of the program between two starts: a name, and the setting that changes. The two settings without a
/// change are for comparison, and for several changes at once.
pub const CHANGES: [(&str, &str); 26] = [
    ("none", ""),
    ("ranking rule", "rule"),
    ("events", "at"),
    ("score name", "score_name"),
    ("series name", "series"),
    ("n_saved", "saved"),
    ("save interval", "interval"),
    ("step source", "steps"),
    ("early stopping", "early"),
    ("order of handlers", "order"),
    ("patience", "patience"),
    ("timer", "timer"),
    ("NaN guard", "guard"),
    ("kept output", "keep"),
    ("second series", "second"),
    ("evaluator", "evaluator"),
    ("epoch length", "length"),
    ("max_epochs", "epochs"),
    ("model", "model"),
    ("flash layout", "layout"),
    ("custom loop", "custom"),
    ("stop rule", "stop"),
    ("roll-back", "roll"),
    ("restored best", "restore"),
    ("plateau", "smooth"),
    ("several", "several"),
];

/// The kinds of failures.
pub const FAILURES: [&str; 9] =
    ["none", "power", "power often", "read", "listing", "write", "damage", "removal", "request"];

/// The index of one power failure in [`FAILURES`].
pub const POWER: usize = 1;

/// The number of cells of the table.
pub const CELLS: usize = CHANGES.len() * FAILURES.len() * STORES.len();

/// Returns the cell of a change, a kind of failure and a store.
pub const fn cell(change: usize, failure: usize, store: usize) -> usize {
    (store * CHANGES.len() + change) * FAILURES.len() + failure
}

/// Sets a random value.
fn randomize(program: &mut Program, name: &str, random: &mut Random) {
    let max = Program::SETTINGS.iter().find(|(setting, _)| *setting == name).map_or(0, |(_, max)| *max);
    let value = random.below(usize::from(max) + 1) as u8;
    if let Some(place) = program.setting(name) {
        *place = match name {
            "saved" | "interval" | "epochs" | "patience" => value.max(1),
            _ => value,
        };
    }
}

/// Returns a random program with the first layout of the flash.
fn random_program(random: &mut Random) -> Program {
    let mut program = Program::default();
    for (name, _) in Program::SETTINGS.iter().filter(|(name, _)| *name != "layout") {
        let is_rare = matches!(
            *name,
            "model" | "custom" | "evaluator" | "length" | "keep" | "guard" | "timer" | "roll" | "restore" | "smooth"
        );
        if !is_rare || random.once_in(4) {
            randomize(&mut program, name, random);
        }
    }
    program
}

/// Returns a program that differs from `base` in the setting of a change. `random` selects the new value.
pub fn changed(base: &Program, change: usize, random: &mut Random) -> (Program, Program) {
    let (mut base, mut program) = (*base, *base);
    match CHANGES[change].1 {
        "" => (),
        "order" => {
            base.early = 2;
            program = Program { early: 3, ..base };
        }
        "several" => {
            for _ in 0..3 {
                let (name, _) = Program::SETTINGS[random.below(Program::SETTINGS.len())];
                if name != "layout" {
                    randomize(&mut program, name, random);
                }
            }
        }
        name => {
            if matches!(name, "score_name") {
                base.rule = 1;
            }
            if name == "interval" {
                base.rule = 0;
            }
            if name == "patience" {
                base.early = base.early.max(1);
            }
            if name == "roll" {
                base.stop = base.stop.max(3);
            }
            if name == "restore" {
                (base.rule, base.evaluator) = (1, 0);
            }
            program = base;
            while program == base {
                randomize(&mut program, name, random);
            }
        }
    }
    (base, program)
}

fn failure(kind: usize, store: usize, random: &mut Random) -> Failure {
    // On a disk, opening reads all files, and a save consists of many writes.
    let (reads, writes) = if store == DIRECTORY { (160, 60) } else { (40, 6) };
    match FAILURES[kind] {
        "power" | "power often" => power(random),
        // Most reads, listings and writes happen at the beginning of a start.
        "read" => Failure::Read(up_to(reads, random)),
        "listing" => Failure::List(up_to(60, random)),
        "write" => Failure::Write(up_to(writes, random)),
        "damage" => Failure::Damage(random.byte()),
        "removal" => Failure::Remove,
        "request" => Failure::Request(up_to(60, random)),
        _ => Failure::None,
    }
}

fn power(random: &mut Random) -> Failure {
    match random.below(3) {
        0 => Failure::Stop(1 + random.below(4) as u32),
        1 => Failure::Power { after: up_to(40, random), effect: random.byte() },
        _ => Failure::Power { after: up_to(900, random), effect: random.byte() },
    }
}

/// Returns a random number up to `max`. Small numbers are more frequent.
fn up_to(max: usize, random: &mut Random) -> u32 {
    let limit = 1 + random.below(max);
    random.below(limit) as u32
}

/// Returns a random sequence of a cell.
pub fn random_sequence(change: usize, kind: usize, store: usize, seed: u64) -> Sequence {
    let mut random = Random::new(seed ^ (cell(change, kind, store) as u64) << 40);
    let base = if random.once_in(3) { Program::default() } else { random_program(&mut random) };
    let (base, program) = changed(&base, change, &mut random);
    let mut program = program;
    if FAILURES[kind] == "write" && program.layout == 1 {
        // With two slots, one of which is broken, no save is possible.
        program.layout = 3;
    }
    let mut starts = Vec::new();
    // The state of the device before the change: blank, interrupted, or finished.
    for _ in 0..random.below(3) {
        let failure = if random.once_in(2) { Failure::None } else { Failure::Stop(1 + random.below(5) as u32) };
        starts.push(Start { program: base, failure });
    }
    if starts.is_empty() && kind != 0 {
        starts.push(Start { program: base, failure: Failure::Stop(1 + random.below(5) as u32) });
    }
    let count = if kind == 2 { 2 + random.below(3) } else { 1 };
    for _ in 0..count {
        starts.push(Start { program, failure: failure(kind, store, &mut random) });
    }
    match random.below(4) {
        // Back to the old program, and perhaps forward again.
        0 => starts.push(Start { program: base, failure: Failure::Stop(1 + random.below(3) as u32) }),
        1 => {
            starts.push(Start { program: base, failure: Failure::Stop(1 + random.below(3) as u32) });
            starts.push(Start { program, failure: Failure::None });
        }
        _ => (),
    }
    Sequence { store, seed: random.bits() % 1000, steps: random.once_in(3), starts }
}

/// Returns the sequence of two starts whose second start is interrupted at each operation.
pub fn pair(change: usize, store: usize, variant: u64) -> Sequence {
    let mut random = Random::new(variant);
    let small =
        Program { epochs: 2, at: 1, rule: (variant % 2) as u8, saved: 1 + (variant % 2) as u8, ..Program::default() };
    let (base, program) = changed(&small, change, &mut random);
    let starts = vec![Start { program: base, failure: Failure::Stop(1) }, Start { program, failure: Failure::None }];
    Sequence { store, seed: variant, steps: false, starts }
}
