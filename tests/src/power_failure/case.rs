//! A test case of the power-failure check, written as one line of text. The check can run the case again from this
//! line.
//!
//! ```
//! use training_monitor_tests::power_failure::Case;
//!
//! let line = "w=4 e=256 v=ff s=3 start=full rank=score saves=S1,L3,S2 failures=17:bits:5,2:tail-zero:1";
//! assert_eq!(line.parse::<Case>().unwrap().to_string(), line);
//! ```

use super::model::Order;
use crate::flash::Interruption;
use core::fmt;
use core::str::FromStr;

/// The initial content of the flash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// All bytes have the erased value.
    Blank,
    /// Each slot contains a checkpoint.
    Full,
    /// Random bytes.
    Garbage,
}

/// One save of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Save {
    /// Whether the checkpoint is so long that it takes two erase blocks of the flash instead of one.
    pub long: bool,
    /// The score of the checkpoint. A ranking by step ignores it.
    pub score: u8,
}

/// A power failure during a flash operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PowerFailure {
    /// The number of flash operations that succeed before the interrupted one.
    pub after: u64,
    /// The effect of the power failure on the flash cells of the interrupted operation.
    pub interruption: Interruption,
    /// The seed of the random numbers that some effects on the cells use.
    pub seed: u64,
}

/// The saves of a test case, and the flash and the ranking that they use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// The size of a write granule (the smallest writable unit) or of a page of byte-addressable memory, in bytes.
    pub write: usize,
    /// The size of an erase block (the smallest erasable unit) in bytes. 0 stands for byte-addressable memory.
    pub erase: usize,
    /// The values of two erased bytes. They differ on a chip that encrypts its content.
    pub erased: [u8; 2],
    /// The number of slots (flash areas of one checkpoint each) in the store.
    pub slots: usize,
    /// The initial content of the flash.
    pub start: Start,
    /// The value that ranks the checkpoints: the step or the score.
    pub order: Order,
    /// The saves in order. The first power failure interrupts the last of these saves.
    pub saves: Vec<Save>,
}

/// A test case. A bounded case has a short list of saves: its first power failure interrupts the last of them. Each
/// further failure interrupts the save that follows the recovery from the previous failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Case {
    /// A workload (a list of saves on one flash) with a given list of power failures.
    Bounded {
        /// The saves and the flash.
        workload: Workload,
        /// The power failures, in order.
        failures: Vec<PowerFailure>,
    },
    /// A long random sequence of saves and power failures.
    Long {
        /// The seed from which the test generates the sequence.
        seed: u64,
    },
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workload, failures) = match self {
            Case::Long { seed } => return write!(f, "long={seed}"),
            Case::Bounded { workload, failures } => (workload, failures),
        };
        let Workload { write, erase, erased: [even, odd], slots, start, order, saves } = workload;
        let odd = if even == odd { String::new() } else { format!("{odd:02x}") };
        let start = match start {
            Start::Blank => "blank",
            Start::Full => "full",
            Start::Garbage => "garbage",
        };
        let order = if *order == Order::Score { "score" } else { "interval" };
        write!(f, "w={write} e={erase} v={even:02x}{odd} s={slots} start={start} rank={order} saves=")?;
        for (index, Save { long, score }) in saves.iter().enumerate() {
            write!(f, "{}{}{score}", if index > 0 { "," } else { "" }, if *long { "L" } else { "S" })?;
        }
        write!(f, " failures=")?;
        for (index, PowerFailure { after, interruption, seed }) in failures.iter().enumerate() {
            write!(f, "{}{after}:{interruption}:{seed}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let field = |name: &str| {
            let mut fields = line.split_whitespace().filter_map(|field| field.split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value)
        };
        let required = |name: &str| field(name).ok_or_else(|| format!("the field {name}= is missing"));
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?} is not a number: {error}"));
        if let Some(seed) = field("long") {
            return Ok(Case::Long { seed: number(seed)? });
        }
        let mut saves = Vec::new();
        for save in required("saves")?.split(',') {
            let score = save.get(1..).ok_or_else(|| format!("save {save:?}: expected S or L, and a score"))?;
            let score = score.parse().map_err(|error| format!("save {save:?}: invalid score: {error}"))?;
            saves.push(Save { long: save.starts_with('L'), score });
        }
        let mut failures = Vec::new();
        for failure in required("failures")?.split(',').filter(|failure| !failure.is_empty()) {
            let [after, interruption, seed] = failure.split(':').collect::<Vec<_>>()[..] else {
                return Err(format!("power failure {failure:?}: expected AFTER:INTERRUPTION:SEED"));
            };
            failures.push(PowerFailure {
                after: number(after)?,
                interruption: interruption.parse()?,
                seed: number(seed)?,
            });
        }
        let erased = required("v")?;
        let byte = |text: Option<&str>| u8::from_str_radix(text.unwrap_or_default(), 16);
        let even = byte(erased.get(..2)).map_err(|error| format!("v=: {error}"))?;
        let odd = if erased.len() > 2 { byte(erased.get(2..)).map_err(|error| format!("v=: {error}"))? } else { even };
        let erased = [even, odd];
        let workload = Workload {
            write: number(required("w")?)? as usize,
            erase: number(required("e")?)? as usize,
            erased,
            slots: number(required("s")?)? as usize,
            start: match required("start")? {
                "full" => Start::Full,
                "garbage" => Start::Garbage,
                _ => Start::Blank,
            },
            order: if required("rank")? == "score" { Order::Score } else { Order::Interval },
            saves,
        };
        Ok(Case::Bounded { workload, failures })
    }
}
