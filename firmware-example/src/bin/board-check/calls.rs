//! Computes the maximum stack depth of a call from the machine code: the call graph and the frame size of each
//! function.
//!
//! The result is an upper bound. It includes call paths that no measured run takes, and it treats a tail call as a
//! normal call. The machine code does not show the target of a call through a pointer. The monitor uses three traits
//! through pointers, and [`may_call`] lists their possible targets. As a check, the result must not be smaller than the
//! stack depth measured by painting.

use crate::elf::{self, Function};
use object::{Architecture, Object, ObjectSection};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::path::Path;

/// Name prefix of the measured functions in the program `count`. The rest of the name appears in the table.
const ROOTS: &str = "count::memory::deepest_";

/// Smallest depth in bytes that painting reports. A call that needs less is reported with this depth.
const MIN_PAINTED_DEPTH: u64 = 128;

/// Returns true if a call through a pointer in `caller` may reach `callee`.
///
/// The decoder passes the parts of a stream to a `Sink`, which reads from a `ChecksummedSource`. An encoder writes to a
/// `ChecksummedSink`.
fn may_call(caller: &str, callee: &str) -> bool {
    let implements =
        |name: &str, trait_name: &str| name.contains(&format!(" as training_monitor::checkpoint::{trait_name}>::"));
    let decodes = caller.contains("checkpoint::read::decoder::") && !implements(caller, "read::decoder::Sink");
    let sink = decodes && implements(callee, "read::decoder::Sink");
    sink || implements(callee, "read::input::ChecksummedSource") || implements(callee, "write::output::ChecksummedSink")
}

/// The target of a call instruction or jump instruction.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// The address of a function, or of an instruction in the same function.
    To(u64),
    /// An address in a register. The machine code does not show which function it is.
    Pointer,
}

/// Prints the depth of each root of the program `path` as `board/stack-ROOT-by-frames bytes`. Prints the deepest call
/// path as a comment. Fails if a depth is smaller than the measured depth in `painted`.
pub fn print_depths(board: &str, path: &Path, painted: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let file = object::File::parse(&*bytes)?;
    let functions = elf::functions(&file)?;
    let program = Program { calls: calls(&file, &functions)?, frames: frames(&file, &functions)?, functions };
    let painted = fs::read_to_string(painted)?;
    let mut depths = Vec::new();
    for (address, function) in &program.functions {
        let Some(name) = function.name.strip_prefix(ROOTS) else { continue };
        let name = name.split(':').next().unwrap_or(name);
        let depth = program.depth(*address, &mut BTreeMap::new(), &mut BTreeSet::new())?;
        println!("{board}/stack-{name}-by-frames {depth}");
        let line = format!("{board}/stack-{name} ");
        let measured = painted.lines().find_map(|text| text.strip_prefix(&line));
        let measured: u64 = measured.ok_or_else(|| format!("no measured stack depth for {name}"))?.parse()?;
        if measured > depth.max(MIN_PAINTED_DEPTH) {
            return Err(format!(
                "{name}: measured {measured} bytes of stack, but the frames add up to {depth} bytes; \
                 the call graph is incomplete"
            )
            .into());
        }
        depths.push((depth, *address));
    }
    let (_, root) = depths.iter().max().ok_or_else(|| format!("the program has no function {ROOTS}*"))?;
    program.print_deepest_path(*root)
}

/// The call graph of a program. All maps are indexed by the address of a function.
struct Program {
    functions: BTreeMap<u64, Function>,
    /// Frame size of each function in bytes.
    frames: BTreeMap<u64, u64>,
    /// Calls of each function to other functions.
    calls: BTreeMap<u64, Vec<Call>>,
}

impl Program {
    /// Addresses of all functions that the function at `address` may call.
    fn callees(&self, address: u64) -> Vec<u64> {
        let caller = self.functions.get(&address).map_or("", |function| &function.name);
        let calls = self.calls.get(&address).into_iter().flatten();
        let targets = |call: &Call| match call {
            Call::To(target) => vec![*target],
            Call::Pointer => {
                let possible = self.functions.iter().filter(|(_, function)| may_call(caller, &function.name));
                possible.map(|(target, _)| *target).collect()
            }
        };
        calls.flat_map(targets).collect()
    }

    fn frame(&self, address: u64) -> u64 {
        self.frames.get(&address).copied().unwrap_or(0)
    }

    /// Maximum stack depth in bytes of the function at `address`, including its callees. `known` caches results.
    /// `active` contains the functions of the current call path, to detect recursion.
    fn depth(
        &self,
        address: u64,
        known: &mut BTreeMap<u64, u64>,
        active: &mut BTreeSet<u64>,
    ) -> Result<u64, Box<dyn Error>> {
        if let Some(depth) = known.get(&address) {
            return Ok(*depth);
        }
        if !active.insert(address) {
            let name = self.functions.get(&address).map_or("?", |function| &function.name);
            return Err(format!("the function {name} is recursive, so its stack depth has no bound").into());
        }
        let mut below = 0;
        for callee in self.callees(address) {
            below = below.max(self.depth(callee, known, active)?);
        }
        active.remove(&address);
        known.insert(address, self.frame(address) + below);
        Ok(self.frame(address) + below)
    }

    /// Prints the call path with the largest depth that starts at the function `root`.
    fn print_deepest_path(&self, root: u64) -> Result<(), Box<dyn Error>> {
        let mut next = Some(root);
        let mut known = BTreeMap::new();
        println!("# the deepest call path, with the frame size of each function in bytes:");
        while let Some(address) = next {
            self.depth(address, &mut known, &mut BTreeSet::new())?;
            let name = self.functions.get(&address).map_or("?", |function| &function.name);
            let pointer = self.calls.get(&address).is_some_and(|calls| calls.contains(&Call::Pointer));
            let pointer = if pointer { ", calls through a pointer" } else { "" };
            println!("# {:5}  {}{pointer}", self.frame(address), name.chars().take(110).collect::<String>());
            next = self.callees(address).into_iter().max_by_key(|callee| known.get(callee).copied().unwrap_or(0));
        }
        Ok(())
    }
}

/// Frame sizes by function address. The compiler records them for the functions that it compiles with the required
/// option. The precompiled functions of its runtime, such as `memcpy`, have no record, so this function adds up what
/// their instructions push on the stack.
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

/// Calls by the address of the calling function, without duplicates.
fn calls(
    file: &object::File<'_>,
    functions: &BTreeMap<u64, Function>,
) -> Result<BTreeMap<u64, Vec<Call>>, Box<dyn Error>> {
    let code = Code::new(file)?;
    let mut calls = BTreeMap::new();
    for (start, function) in functions {
        let mut function_calls = Vec::new();
        let mut previous = 0;
        for (address, word) in code.instructions(*start, function.size) {
            match code.call(address, word, previous) {
                // A target inside the same function is a local jump. A target at its start is a recursive call.
                Some(Call::To(target)) if target > *start && target < start + function.size => (),
                // Only assembly code, such as the reset handler, jumps into the middle of another function.
                Some(Call::To(target)) if !functions.contains_key(&target) => (),
                Some(call) if !function_calls.contains(&call) => function_calls.push(call),
                _ => (),
            }
            previous = word;
        }
        calls.insert(*start, function_calls);
    }
    Ok(calls)
}

/// The machine code of a program. The instruction set is Thumb, or RISC-V with compressed instructions.
struct Code<'a> {
    bytes: &'a [u8],
    start: u64,
    /// True for Thumb, false for RISC-V.
    thumb: bool,
    /// Address ranges within the code that contain data.
    data: Vec<std::ops::Range<u64>>,
}

impl<'a> Code<'a> {
    fn new(file: &object::File<'a>) -> Result<Self, Box<dyn Error>> {
        let text = file.section_by_name(".text").ok_or("the program has no section .text")?;
        let thumb = match file.architecture() {
            Architecture::Arm => true,
            Architecture::Riscv32 => false,
            other => return Err(format!("unsupported architecture {other:?}, expected Arm or Riscv32").into()),
        };
        Ok(Self { bytes: text.data()?, start: text.address(), thumb, data: elf::data_in_code(file) })
    }

    fn half(&self, address: u64) -> Option<u32> {
        let index = usize::try_from(address.checked_sub(self.start)?).ok()?;
        self.bytes.get(index..)?.first_chunk::<2>().map(|bytes| u16::from_le_bytes(*bytes).into())
    }

    /// The address and the bits of each instruction of a function. The first half of a 32-bit Thumb instruction is in
    /// the upper bits, and that of a RISC-V instruction in the lower bits, as in the architecture manuals.
    fn instructions(&self, start: u64, size: u64) -> impl Iterator<Item = (u64, u32)> {
        let mut next = start;
        std::iter::from_fn(move || {
            while let Some(data) = self.data.iter().find(|data| data.contains(&next)) {
                next = data.end;
            }
            if next >= start + size {
                return None;
            }
            let address = next;
            let half = self.half(address)?;
            let long = if self.thumb { half >= 0xE800 } else { half & 3 == 3 };
            next += if long { 4 } else { 2 };
            Some((
                address,
                match (long, self.thumb) {
                    (false, _) => half,
                    (true, true) => half << 16 | self.half(address + 2)?,
                    (true, false) => self.half(address + 2)? << 16 | half,
                },
            ))
        })
    }

    fn call(&self, address: u64, word: u32, previous: u32) -> Option<Call> {
        if self.thumb { thumb_call(address, word) } else { riscv_call(address, word, previous) }
    }
}

/// Number of bytes that the instruction `word` allocates on the stack.
pub fn pushed(thumb: bool, word: u32) -> u64 {
    let bit = |from: u32, to: u32| (word >> from & 1) << to;
    let size = match word {
        // The Thumb instructions that allocate stack: push, push.w and sub sp.
        0xB400..=0xB5FF if thumb => (word & 0x1FF).count_ones() * 4,
        0xE92D_0000..=0xE92D_FFFF if thumb => (word & 0xFFFF).count_ones() * 4,
        0xB080..=0xB0FF if thumb => (word & 0x7F) * 4,
        _ if thumb => 0,
        // The RISC-V instructions that allocate stack: c.addi16sp, c.addi sp and addi sp. Their operand is negative.
        _ if word & 0xFFFF_FF83 == 0x7101 => 512 - (bit(4, 8) | bit(3, 7) | bit(5, 6) | bit(2, 5) | bit(6, 4)),
        _ if word & 0xFFFF_FF83 == 0x1101 => 32 - (word >> 2 & 31),
        _ if word & 0x800F_FFFF == 0x8001_0113 => 4096 - (word >> 20),
        _ => 0,
    };
    size.into()
}

/// Sign-extends the lowest `bits` bits of `value`.
fn signed(value: u32, bits: u32) -> i64 {
    i64::from((value << (32 - bits)).cast_signed() >> (32 - bits))
}

fn relative(address: u64, offset: i64) -> Option<Call> {
    address.checked_add_signed(offset).map(Call::To)
}

/// The target of the Thumb instruction `word` at `address`, if it is a call or an unconditional jump.
pub fn thumb_call(address: u64, word: u32) -> Option<Call> {
    match word {
        // Calls and jumps through a register: blx and bx. The instruction bx lr is a return and is not included.
        0x4780..=0x47FF => Some(Call::Pointer),
        0x4700..=0x477F if word >> 3 & 15 != 14 => Some(Call::Pointer),
        // The short (16-bit) jump instruction b.
        0xE000..=0xE7FF => relative(address + 4, signed(word & 0x7FF, 11) * 2),
        // The call instruction bl and the long (32-bit) jump instruction b.w.
        _ if word & 0xF800_8000 == 0xF000_8000 && word & 0x1000 != 0 => {
            let sign = word >> 26 & 1;
            let bit = |index: u32| !(word >> index ^ sign) & 1;
            let offset = sign << 24 | bit(13) << 23 | bit(11) << 22 | (word >> 16 & 0x3FF) << 12 | (word & 0x7FF) << 1;
            relative(address + 4, signed(offset, 25))
        }
        _ => None,
    }
}

/// The target of the RISC-V instruction `word` at `address`, if it is a call or an unconditional jump. `previous` is
/// the preceding instruction.
pub fn riscv_call(address: u64, word: u32, previous: u32) -> Option<Call> {
    let rd = word >> 7 & 31;
    match word & 0x7F {
        // The instruction jal, which is a call or a jump.
        0x6F => {
            let offset =
                (word >> 31) << 20 | (word >> 12 & 0xFF) << 12 | (word >> 20 & 1) << 11 | (word >> 21 & 0x3FF) << 1;
            relative(address, signed(offset, 21))
        }
        // The instruction jalr, which jumps through a register. A preceding auipc with the same register determines the
        // target.
        0x67 => {
            let register = word >> 15 & 31;
            if previous & 0x7F == 0x17 && previous >> 7 & 31 == register {
                let offset = i64::from((previous & 0xFFFF_F000).cast_signed()) + signed(word >> 20, 12);
                return address.checked_sub(4).and_then(|auipc| relative(auipc, offset));
            }
            // The instruction jalr zero, ra is a return, so it has no target.
            (rd != 0 || register != 1).then_some(Call::Pointer)
        }
        // The call c.jal and the jump c.j. The 11 bits of their offset are permuted.
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
            relative(address, signed(offset, 12))
        }
        // Calls and jumps through a register: c.jalr and c.jr. The instruction c.jr ra is a return, so it has no
        // target.
        _ if word >> 16 == 0 && matches!(word & 0xF07F, 0x8002 | 0x9002) && rd > 0 => {
            (word & 0x1000 != 0 || rd != 1).then_some(Call::Pointer)
        }
        _ => None,
    }
}
