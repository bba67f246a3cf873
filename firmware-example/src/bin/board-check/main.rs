//! The host's part of `firmware-example/check`: what it takes to say that a board did what it should.
//!
//! It reads a board's flash image with the code that wrote it, makes the same run without a board, decodes the log,
//! pulls the plug, and compares tables of numbers. It builds and starts nothing by itself but what it is told to.

mod calls;
mod elf;
mod image;
mod kill;
mod log;
mod table;
#[cfg(test)]
mod tests;

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
        /// Where it writes how often it did so, and how often of those the flash was changing.
        killed: PathBuf,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
    /// Prints the sizes of a program's sections in bytes: code, constants, data, zeroed data; and what of the code is
    /// `memcpy` and its like.
    Sizes {
        /// The program.
        elf: PathBuf,
    },
    /// Prints how deep the stack of some calls can be, by the frames in a program built with `-Z emit-stack-sizes`.
    Stack {
        /// Whose program it is.
        board: String,
        /// The program.
        elf: PathBuf,
        /// What painting the stack has shown of the same calls, which may not be more.
        painted: PathBuf,
    },
    /// Prints a table of numbers, a column a board.
    Show {
        /// The numbers.
        now: PathBuf,
    },
    /// Compares a table of numbers with the committed one: more than 2 % above it fails.
    Table {
        /// This one may lack some.
        #[arg(long)]
        partial: bool,
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
    /// Writes into the budgets by how much they are missed.
    Accept {
        /// The budgets.
        budgets: PathBuf,
        /// The committed tables, of all compilers.
        tables: Vec<PathBuf>,
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
        Command::Kill { kills, seed, life, flash, killed, program } => {
            kill::kill(kills, seed, life, &flash, &killed, &program)
        }
        Command::Sizes { elf } => elf::sizes(&elf),
        Command::Stack { board, elf, painted } => calls::deepest(&board, &elf, &painted),
        Command::Show { now } => table::show(&now),
        Command::Table { committed, now, partial } => table::compare(&committed, &now, partial),
        Command::Budgets { budgets, now } => table::budgets(&budgets, &now),
        Command::Accept { budgets, tables } => table::accept(&budgets, &tables),
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
