//! The host's part of `firmware-example/check`: what it takes to say that a board did what it should.
//!
//! It reads a board's flash image with the code that wrote it, makes the same run without a board, decodes the log,
//! pulls the plug, and compares tables of numbers. It builds and starts nothing by itself but what it is told to.

mod elf;
mod image;
mod kill;
mod log;
mod table;

use clap::{Parser, ValueEnum};
use digits_workload::boards::{self, Board};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Holds a board against the host.
#[derive(Parser)]
enum Command {
    /// Makes a board's run on the host: its flash image and the lines of its log.
    Simulate {
        /// Whose flash it has.
        board: Name,
        /// The network: 10 or 32 hidden units.
        hidden: u32,
        /// Where the image goes.
        image: PathBuf,
    },
    /// Lists what a flash image holds, and writes each checkpoint to a file.
    Contents {
        /// Whose image it is.
        board: Name,
        /// The image.
        image: PathBuf,
        /// Where the checkpoints go.
        directory: PathBuf,
    },
    /// Decodes a log.
    Log {
        /// The program that wrote it.
        elf: PathBuf,
        /// What it wrote.
        frames: PathBuf,
    },
    /// Prints the table with which a program's log is decoded.
    LogTable {
        /// The program.
        elf: PathBuf,
    },
    /// Starts a program again and again until it ends by itself; kills it at random moments before.
    Kill {
        /// How often.
        kills: u32,
        /// Which moments.
        seed: u64,
        /// Milliseconds that a program may live, on average.
        life: u64,
        /// The file that is watched: half of the kills come just after it begins to change.
        flash: PathBuf,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
    /// Prints the sizes of a program's sections in bytes: code, constants, data, zeroed data.
    Sizes {
        /// The program.
        elf: PathBuf,
    },
    /// Prints the largest stack frames of the monitor's functions in a program built with `-Z emit-stack-sizes`.
    Frames {
        /// The program.
        elf: PathBuf,
    },
    /// Compares a table of numbers with the committed one: more than 2 % above it fails.
    Table {
        /// The committed one.
        committed: PathBuf,
        /// This one.
        now: PathBuf,
    },
    /// Holds a table of numbers against budgets.
    Budgets {
        /// The budgets: name, limit, and for one that is missed what it is put up with.
        budgets: PathBuf,
        /// The numbers.
        now: PathBuf,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    M4f,
    M0,
    Rv32,
}

impl Name {
    fn board(self) -> Board {
        match self {
            Name::M4f => boards::M4F,
            Name::M0 => boards::M0,
            Name::Rv32 => boards::RV32,
        }
    }
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Simulate { board, hidden, image } => image::simulate(board.board(), hidden, &image),
        Command::Contents { board, image, directory } => image::contents(board.board(), &image, &directory),
        Command::Log { elf, frames } => log::decode(&elf, &frames),
        Command::LogTable { elf } => elf::table(&elf),
        Command::Kill { kills, seed, life, flash, program } => kill::kill(kills, seed, life, &flash, &program),
        Command::Sizes { elf } => elf::sizes(&elf),
        Command::Frames { elf } => elf::frames(&elf),
        Command::Table { committed, now } => table::compare(&committed, &now),
        Command::Budgets { budgets, now } => table::budgets(&budgets, &now),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("board-check: {error}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn Error>>;
