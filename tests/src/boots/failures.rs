//! The failures of one start, and their text form.

use core::fmt;
use core::str::FromStr;

/// What fails in a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Nothing fails. The run goes to its end.
    None,
    /// The power fails during the operation of the medium with this number. `effect` selects what the interrupted
    /// operation leaves on the medium.
    Power {
        /// The number of complete operations before.
        after: u32,
        /// The number of the effect, taken modulo the number of possible effects.
        effect: u8,
    },
    /// The power fails right after this number of commits.
    Stop(u32),
    /// The read with this number fails once.
    Read(u32),
    /// The listing (a call of `Store::checkpoint`) with this number fails once.
    List(u32),
    /// The write with this number fails. On flash, this block can no longer be erased or written.
    Write(u32),
    /// The program is asked to stop at the event with this number: it interrupts its run.
    Request(u32),
    /// Before the start, a byte of the newest checkpoint is flipped.
    Damage(u8),
    /// Before the start, the newest checkpoint is removed by hand.
    Remove,
}

impl Failure {
    /// Returns whether the run must end like an uninterrupted one: only the power fails, or the program is asked to stop.
    pub fn keeps_the_result(self) -> bool {
        matches!(self, Failure::None | Failure::Power { .. } | Failure::Stop(_) | Failure::Request(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::None => f.write_str("none"),
            Failure::Power { after, effect } => write!(f, "power:{after}:{effect}"),
            Failure::Stop(commits) => write!(f, "stop:{commits}"),
            Failure::Read(number) => write!(f, "read:{number}"),
            Failure::List(number) => write!(f, "list:{number}"),
            Failure::Write(number) => write!(f, "write:{number}"),
            Failure::Request(number) => write!(f, "request:{number}"),
            Failure::Damage(byte) => write!(f, "damage:{byte}"),
            Failure::Remove => f.write_str("remove"),
        }
    }
}

impl FromStr for Failure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let mut number = || -> Result<u32, String> {
            let part = parts.next().ok_or_else(|| format!("failure {text:?}: a number is missing"))?;
            part.parse().map_err(|error| format!("failure {text:?}: {error}"))
        };
        Ok(match name {
            "none" => Failure::None,
            "power" => Failure::Power { after: number()?, effect: number()? as u8 },
            "stop" => Failure::Stop(number()?),
            "read" => Failure::Read(number()?),
            "list" => Failure::List(number()?),
            "write" => Failure::Write(number()?),
            "request" => Failure::Request(number()?),
            "damage" => Failure::Damage(number()? as u8),
            "remove" => Failure::Remove,
            _ => return Err(format!("unknown failure {text:?}")),
        })
    }
}
