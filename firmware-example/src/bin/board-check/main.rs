//! The host part of `firmware-example/check`: checks the results of the boards.
//!
//! The commands decode the log of a board, read its flash image, simulate its run on the host, kill its emulator at
//! random moments, and compare tables of numbers. Only the command `kill` starts another program.

mod calls;
mod elf;
mod image;
mod kill;
mod log;
mod precisions;
mod table;
#[cfg(test)]
mod tests;

use clap::{Parser, ValueEnum};
use digits_workload::boards::{self, Board};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Check the results of a board on the host
#[derive(Parser)]
enum Command {
    /// Simulate the run of a board: write its flash image and print its log
    Simulate {
        /// Board whose flash geometry is used
        board: BoardName,
        /// Number of hidden units: 10 or 32
        hidden: u32,
        /// Output file for the flash image
        image: PathBuf,
        /// Train the network with 8-bit weights
        #[arg(long)]
        quantized: bool,
    },
    /// Print the checkpoints in a flash image and write each one to a file
    Contents {
        /// Board that wrote the image
        board: BoardName,
        /// Flash image
        image: PathBuf,
        /// Output directory for the checkpoints
        directory: PathBuf,
    },
    /// Decode a defmt log
    Log {
        /// ELF file of the program that wrote the log
        elf: PathBuf,
        /// File with the log frames
        frames: PathBuf,
    },
    /// Print the defmt table of a program
    LogTable {
        /// ELF file of the program
        elf: PathBuf,
    },
    /// Compare the test accuracy and the checkpoint size of a run with 8-bit weights with those of the run with f32 weights
    Precisions {
        /// Name of the network for the printed line
        network: String,
        /// Decoded log of the run with f32 weights
        float: PathBuf,
        /// Decoded log of the run with 8-bit weights
        quantized: PathBuf,
    },
    /// Start a program until it completes, and kill it at random moments before
    Kill {
        /// Maximum number of kills
        kills: u32,
        /// Seed of the random delays
        seed: u64,
        /// Mean time in milliseconds between a start and a kill
        mean_life: u64,
        /// Flash file of the program: half of the kills happen shortly after it changes
        flash: PathBuf,
        /// Output file for the number of kills and the number of kills during a flash change
        killed: PathBuf,
        /// The program and its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        program: Vec<String>,
    },
    /// Print the sizes of a program in bytes: code, constants, initialized data, zero-initialized data, and the part of
    /// the code that consists of memory functions such as `memcpy`
    Sizes {
        /// ELF file of the program
        elf: PathBuf,
    },
    /// Print the maximum stack depth of the measured calls of the program `count`
    Stack {
        /// Board name for the printed lines
        board: String,
        /// ELF file of the program, built with `-Z emit-stack-sizes`
        elf: PathBuf,
        /// Table with the stack depths that the program measured by painting. They must not exceed the computed ones
        painted: PathBuf,
    },
    /// Print a table of numbers with one column per board
    Show {
        /// Table of numbers
        now: PathBuf,
    },
    /// Compare a table of numbers with the committed one. Fail if a number is more than 2 % larger
    Table {
        /// Allow numbers of the committed table to be missing in the new one
        #[arg(long)]
        partial: bool,
        /// Committed table
        committed: PathBuf,
        /// New table
        now: PathBuf,
    },
    /// Compare a table of numbers with the budgets
    Budgets {
        /// Budget file. Each line has a name, a limit and, for a known miss, the accepted value
        budgets: PathBuf,
        /// Table of numbers
        now: PathBuf,
    },
    /// Write the accepted values of all known misses to the budget file
    Accept {
        /// Budget file
        budgets: PathBuf,
        /// Committed tables of all compilers
        tables: Vec<PathBuf>,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum BoardName {
    M4f,
    M0,
    Rv32,
}

impl BoardName {
    fn board(self) -> Board {
        match self {
            BoardName::M4f => boards::M4F,
            BoardName::M0 => boards::M0,
            BoardName::Rv32 => boards::RV32,
        }
    }
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Simulate { board, hidden, image, quantized } => {
            image::simulate(board.board(), hidden, quantized, &image)
        }
        Command::Contents { board, image, directory } => image::contents(board.board(), &image, &directory),
        Command::Log { elf, frames } => log::decode(&elf, &frames),
        Command::LogTable { elf } => elf::print_log_table(&elf),
        Command::Precisions { network, float, quantized } => precisions::compare(&network, &float, &quantized),
        Command::Kill { kills, seed, mean_life, flash, killed, program } => {
            kill::kill(kills, seed, mean_life, &flash, &killed, &program)
        }
        Command::Sizes { elf } => elf::print_sizes(&elf),
        Command::Stack { board, elf, painted } => calls::print_depths(&board, &elf, &painted),
        Command::Show { now } => table::show(&now),
        Command::Table { committed, now, partial } => table::compare(&committed, &now, partial),
        Command::Budgets { budgets, now } => table::check_budgets(&budgets, &now),
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

/// The result of a command of this program: nothing, or the error to report.
type CheckResult = Result<(), Box<dyn Error>>;
