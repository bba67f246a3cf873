//! The deepest stack of a call, from the sizes of the frames: who calls whom is read from the machine code.
//!
//! It is more than what a run shows, since no run takes every way, and it is an upper bound: a function that jumps to
//! another at its end is counted as if it called it. What it cannot see is where a call through a pointer goes. The
//! monitor has three traits behind pointers, all its own; [`goes_to`] says which of them a caller means, and all their
//! implementations in the program are counted. So that nothing is forgotten there, what painting the stack shows is held
//! against the result: that may not be more.

use crate::elf::{self, Function};
use object::{Architecture, Object, ObjectSection};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

/// Functions of the program `count` whose names begin so are asked for; the rest is what they are called in the table.
const ROOTS: &str = "count::memory::deepest_";

/// What painting tells of a call that needs less than this: this.
const PAINTED_AT_LEAST: u64 = 128;

/// Whether a call through a pointer in `caller` may end in `callee`. The parts of a stream are given to a `Sink`, and
/// whoever takes them reads on from a `Source`; an encoder writes to an `Output`.
fn goes_to(caller: &str, callee: &str) -> bool {
    let is_of = |name: &str, of: &str| name.contains(&format!(" as training_monitor::checkpoint::{of}>::"));
    let decodes = caller.contains("checkpoint::decode::") && !is_of(caller, "decode::Sink");
    let sink = decodes && is_of(callee, "decode::Sink");
    sink || is_of(callee, "input::Source") || is_of(callee, "output::Output")
}

/// What is called by the instruction at an address.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// The function there; or a place in the same function.
    To(u64),
    /// Whatever a register holds.
    Pointer,
}

/// Prints a line for each root of `path`, `board/stack-ROOT-by-frames bytes`, then the deepest way as a comment. Fails
/// when one is less than `painted` says of it.
pub fn deepest(board: &str, path: &Path, painted: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let file = object::File::parse(&*bytes)?;
    let functions = elf::functions(&file)?;
    let program = Program { calls: calls(&file, &functions)?, frames: frames(&file, &functions)?, functions };
    let painted = fs::read_to_string(painted)?;
    let mut found = Vec::new();
    for (address, function) in &program.functions {
        let Some(name) = function.name.strip_prefix(ROOTS) else { continue };
        let name = name.split(':').next().unwrap_or(name);
        let depth = program.depth(*address, &mut BTreeMap::new(), &mut BTreeSet::new())?;
        println!("{board}/stack-{name}-by-frames {depth}");
        let line = format!("{board}/stack-{name} ");
        let seen: u64 = painted.lines().find_map(|text| text.strip_prefix(&line)).ok_or("not painted")?.parse()?;
        if seen > depth.max(PAINTED_AT_LEAST) {
            return Err(format!("{name}: {seen} bytes of stack were seen, {depth} by the frames").into());
        }
        found.push((depth, *address));
    }
    let (_, root) = found.iter().max().ok_or("no function to begin at")?;
    program.tell(*root)
}

struct Program {
    functions: BTreeMap<u64, Function>,
    frames: BTreeMap<u64, u64>,
    calls: BTreeMap<u64, Vec<Call>>,
}

impl Program {
    fn called(&self, from: u64) -> Vec<u64> {
        let caller = self.functions.get(&from).map_or("", |function| &function.name);
        let calls = self.calls.get(&from).into_iter().flatten();
        let to = |call: &Call| match call {
            Call::To(to) => vec![*to],
            Call::Pointer => {
                let pointed = self.functions.iter().filter(|(_, function)| goes_to(caller, &function.name));
                pointed.map(|(to, _)| *to).collect()
            }
        };
        calls.flat_map(to).collect()
    }

    fn frame(&self, of: u64) -> u64 {
        self.frames.get(&of).copied().unwrap_or(0)
    }

    /// Bytes of stack from the function at `from` downwards.
    fn depth(
        &self,
        from: u64,
        known: &mut BTreeMap<u64, u64>,
        open: &mut BTreeSet<u64>,
    ) -> Result<u64, Box<dyn Error>> {
        if let Some(depth) = known.get(&from) {
            return Ok(*depth);
        }
        if !open.insert(from) {
            let name = self.functions.get(&from).map_or("?", |function| &function.name);
            return Err(format!("{name} calls itself: its stack has no bound").into());
        }
        let mut below = 0;
        for to in self.called(from) {
            below = below.max(self.depth(to, known, open)?);
        }
        open.remove(&from);
        known.insert(from, self.frame(from) + below);
        Ok(self.frame(from) + below)
    }

    /// Prints the deepest way down from `from`.
    fn tell(&self, from: u64) -> Result<(), Box<dyn Error>> {
        let mut at = Some(from);
        let mut known = BTreeMap::new();
        println!("# the deepest of them, by frames:");
        while let Some(here) = at {
            self.depth(here, &mut known, &mut BTreeSet::new())?;
            let name = self.functions.get(&here).map_or("?", |function| &function.name);
            let pointer = self.calls.get(&here).is_some_and(|calls| calls.contains(&Call::Pointer));
            let pointer = if pointer { ", calls through a pointer" } else { "" };
            println!("# {:5}  {}{pointer}", self.frame(here), name.chars().take(110).collect::<String>());
            at = self.called(here).into_iter().max_by_key(|to| known.get(to).copied().unwrap_or(0));
        }
        Ok(())
    }
}

/// The frames that the compiler tells of. The routines that come with it, memcpy and the like, were built without being
/// asked to; what those push is read from their code.
fn frames(file: &object::File<'_>, functions: &BTreeMap<u64, Function>) -> Result<BTreeMap<u64, u64>, Box<dyn Error>> {
    let mut frames = elf::frames(file)?;
    let code = Code::new(file)?;
    for (start, function) in functions {
        if !frames.contains_key(start) {
            let pushed = code.instructions(*start, function.size).map(|(_, word)| pushed(code.thumb, word)).sum();
            frames.insert(*start, pushed);
        }
    }
    Ok(frames)
}

fn calls(
    file: &object::File<'_>,
    functions: &BTreeMap<u64, Function>,
) -> Result<BTreeMap<u64, Vec<Call>>, Box<dyn Error>> {
    let code = Code::new(file)?;
    let mut calls = BTreeMap::new();
    for (start, function) in functions {
        let mut mine = Vec::new();
        let mut before = 0;
        for (at, word) in code.instructions(*start, function.size) {
            match code.call(at, word, before) {
                // Within itself it jumps. Only to its very beginning it would be a call.
                Some(Call::To(to)) if to > *start && to < start + function.size => (),
                // Into the middle of another there is no way but from assembly, such as the reset handler.
                Some(Call::To(to)) if !functions.contains_key(&to) => (),
                Some(call) if !mine.contains(&call) => mine.push(call),
                _ => (),
            }
            before = word;
        }
        calls.insert(*start, mine);
    }
    Ok(calls)
}

/// The instructions of a program: Thumb, or RISC-V with compressed ones.
struct Code<'a> {
    bytes: &'a [u8],
    start: u64,
    thumb: bool,
    data: Vec<std::ops::Range<u64>>,
}

impl<'a> Code<'a> {
    fn new(file: &object::File<'a>) -> Result<Self, Box<dyn Error>> {
        let text = file.section_by_name(".text").ok_or("no code")?;
        let thumb = match file.architecture() {
            Architecture::Arm => true,
            Architecture::Riscv32 => false,
            other => return Err(format!("{other:?} is not known here").into()),
        };
        Ok(Self { bytes: text.data()?, start: text.address(), thumb, data: elf::data_in_code(file) })
    }

    fn half(&self, at: u64) -> Option<u32> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.bytes.get(from..)?.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes).into())
    }

    /// Address and bits. A long Thumb instruction has its first half above, one of RISC-V below, as their manuals draw them.
    fn instructions(&self, start: u64, size: u64) -> impl Iterator<Item = (u64, u32)> {
        let mut at = start;
        std::iter::from_fn(move || {
            while let Some(data) = self.data.iter().find(|data| data.contains(&at)) {
                at = data.end;
            }
            if at >= start + size {
                return None;
            }
            let here = at;
            let half = self.half(here)?;
            let long = if self.thumb { half >= 0xE800 } else { half & 3 == 3 };
            at += if long { 4 } else { 2 };
            Some((
                here,
                match (long, self.thumb) {
                    (false, _) => half,
                    (true, true) => half << 16 | self.half(here + 2)?,
                    (true, false) => self.half(here + 2)? << 16 | half,
                },
            ))
        })
    }

    fn call(&self, at: u64, word: u32, before: u32) -> Option<Call> {
        if self.thumb { thumb_call(at, word) } else { riscv_call(at, word, before) }
    }
}

/// Bytes that an instruction takes from the stack.
pub fn pushed(thumb: bool, word: u32) -> u64 {
    let bit = |from: u32, to: u32| (word >> from & 1) << to;
    let size = match word {
        // push, push.w, sub sp
        0xB400..=0xB5FF if thumb => (word & 0x1FF).count_ones() * 4,
        0xE92D_0000..=0xE92D_FFFF if thumb => (word & 0xFFFF).count_ones() * 4,
        0xB080..=0xB0FF if thumb => (word & 0x7F) * 4,
        _ if thumb => 0,
        // c.addi16sp, c.addi sp, addi sp, where the sign says downwards
        _ if word & 0xFFFF_FF83 == 0x7101 => 512 - (bit(4, 8) | bit(3, 7) | bit(5, 6) | bit(2, 5) | bit(6, 4)),
        _ if word & 0xFFFF_FF83 == 0x1101 => 32 - (word >> 2 & 31),
        _ if word & 0x800F_FFFF == 0x8001_0113 => 4096 - (word >> 20),
        _ => 0,
    };
    size.into()
}

/// `value`'s lowest `bits` as a signed number.
fn signed(value: u32, bits: u32) -> i64 {
    i64::from((value << (32 - bits)).cast_signed() >> (32 - bits))
}

fn target(at: u64, offset: i64) -> Option<Call> {
    at.checked_add_signed(offset).map(Call::To)
}

/// What a Thumb instruction at `at` calls, or jumps to for good.
pub fn thumb_call(at: u64, word: u32) -> Option<Call> {
    match word {
        // blx register; bx register but lr, which returns.
        0x4780..=0x47FF => Some(Call::Pointer),
        0x4700..=0x477F if word >> 3 & 15 != 14 => Some(Call::Pointer),
        // b, short
        0xE000..=0xE7FF => target(at + 4, signed(word & 0x7FF, 11) * 2),
        // bl and b.w
        _ if word & 0xF800_8000 == 0xF000_8000 && word & 0x1000 != 0 => {
            let sign = word >> 26 & 1;
            let bit = |at: u32| !(word >> at ^ sign) & 1;
            let offset = sign << 24 | bit(13) << 23 | bit(11) << 22 | (word >> 16 & 0x3FF) << 12 | (word & 0x7FF) << 1;
            target(at + 4, signed(offset, 25))
        }
        _ => None,
    }
}

/// What a RISC-V instruction at `at`, after `before`, calls or jumps to for good.
pub fn riscv_call(at: u64, word: u32, before: u32) -> Option<Call> {
    let rd = word >> 7 & 31;
    match word & 0x7F {
        // jal, also as a jump
        0x6F => {
            let offset =
                (word >> 31) << 20 | (word >> 12 & 0xFF) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3FF) << 1;
            target(at, signed(offset, 21))
        }
        // jalr: behind an auipc of the same register the place is known.
        0x67 => {
            let register = word >> 15 & 31;
            if before & 0x7F == 0x17 && before >> 7 & 31 == register {
                let offset = i64::from((before & 0xFFFF_F000).cast_signed()) + signed(word >> 20, 12);
                return at.checked_sub(4).and_then(|at| target(at, offset));
            }
            // Through ra without a link it returns.
            (rd != 0 || register != 1).then_some(Call::Pointer)
        }
        // c.jal, c.j: jumps with 11 shuffled bits
        _ if word >> 16 == 0 && matches!(word & 0xE003, 0x2001 | 0xA001) => {
            let bit = |from: u32, to: u32| (word >> from & 1) << to;
            let offset = bit(12, 11)
                | bit(11, 4)
                | (word >> 9 & 3) << 8
                | bit(8, 10)
                | bit(7, 6)
                | bit(6, 7)
                | (word >> 3 & 7) << 1
                | bit(2, 5);
            target(at, signed(offset, 12))
        }
        // c.jr but ra, c.jalr
        _ if word >> 16 == 0 && matches!(word & 0xF07F, 0x8002 | 0x9002) && rd > 0 => {
            (word & 0x1000 != 0 || rd != 1).then_some(Call::Pointer)
        }
        _ => None,
    }
}
