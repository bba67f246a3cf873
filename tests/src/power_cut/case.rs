//! One case as one line, from which it is played again.
//!
//! ```
//! use training_monitor_tests::power_cut::Case;
//!
//! let line = "w=4 e=256 v=ff s=3 start=full rank=score saves=S1,L3,S2 cuts=17:bits:5,2:tail-zero:1";
//! assert_eq!(line.parse::<Case>().unwrap().to_string(), line);
//! ```

use super::model::Order;
use crate::flash::Outcome;
use core::fmt;
use core::str::FromStr;

/// What the flash holds at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// Fresh from the factory.
    Blank,
    /// Each slot has been written once.
    Full,
    /// Random bytes.
    Garbage,
}

/// One checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Save {
    /// Two erase blocks instead of one.
    pub long: bool,
    /// Where scores rank.
    pub score: u8,
}

/// One power cut: in the operation that `after` others of the save precede.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Operations before it.
    pub after: u64,
    /// What it leaves.
    pub outcome: Outcome,
    /// What chance does.
    pub seed: u64,
}

/// A workload: what comes before the cuts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// Bytes of a write granule.
    pub write: usize,
    /// Bytes of an erase block.
    pub erase: usize,
    /// What an erased byte reads as.
    pub erased: u8,
    /// How many slots.
    pub slots: usize,
    /// What the flash holds at first.
    pub start: Start,
    /// What ranks.
    pub order: Order,
    /// The saves; the first cut is in the last.
    pub saves: Vec<Save>,
}

/// A workload and its cuts: the first in its last save, each further one in the save after recovering from the one before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Case {
    /// A bounded workload.
    Bounded {
        /// What comes before.
        workload: Workload,
        /// One after the other.
        cuts: Vec<Cut>,
    },
    /// A long random sequence, of which the seed says everything.
    Long {
        /// The seed.
        seed: u64,
    },
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (workload, cuts) = match self {
            Case::Long { seed } => return write!(f, "long={seed}"),
            Case::Bounded { workload, cuts } => (workload, cuts),
        };
        let Workload { write, erase, erased, slots, start, order, saves } = workload;
        let start = match start {
            Start::Blank => "blank",
            Start::Full => "full",
            Start::Garbage => "garbage",
        };
        let order = if *order == Order::Score { "score" } else { "interval" };
        write!(f, "w={write} e={erase} v={erased:02x} s={slots} start={start} rank={order} saves=")?;
        for (index, Save { long, score }) in saves.iter().enumerate() {
            write!(f, "{}{}{score}", if index > 0 { "," } else { "" }, if *long { "L" } else { "S" })?;
        }
        write!(f, " cuts=")?;
        for (index, Cut { after, outcome, seed }) in cuts.iter().enumerate() {
            write!(f, "{}{after}:{outcome}:{seed}", if index > 0 { "," } else { "" })?;
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
        let need = |name: &str| field(name).ok_or_else(|| format!("{name}= is missing"));
        let number = |text: &str| text.parse::<u64>().map_err(|error| format!("{text:?}: {error}"));
        if let Some(seed) = field("long") {
            return Ok(Case::Long { seed: number(seed)? });
        }
        let mut saves = Vec::new();
        for save in need("saves")?.split(',') {
            let score = save.get(1..).ok_or("a save is S or L and a score")?;
            let score = score.parse().map_err(|error| format!("{save:?}: {error}"))?;
            saves.push(Save { long: save.starts_with('L'), score });
        }
        let mut cuts = Vec::new();
        for cut in need("cuts")?.split(',').filter(|cut| !cut.is_empty()) {
            let [after, outcome, seed] = cut.split(':').collect::<Vec<_>>()[..] else {
                return Err(format!("{cut:?} is not after:outcome:seed"));
            };
            cuts.push(Cut { after: number(after)?, outcome: outcome.parse()?, seed: number(seed)? });
        }
        let erased = u8::from_str_radix(need("v")?, 16).map_err(|error| error.to_string())?;
        let workload = Workload {
            write: number(need("w")?)? as usize,
            erase: number(need("e")?)? as usize,
            erased,
            slots: number(need("s")?)? as usize,
            start: match need("start")? {
                "full" => Start::Full,
                "garbage" => Start::Garbage,
                _ => Start::Blank,
            },
            order: if need("rank")? == "score" { Order::Score } else { Order::Interval },
            saves,
        };
        Ok(Case::Bounded { workload, cuts })
    }
}
