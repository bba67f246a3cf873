//! What a board's program is made of: its sections and its functions.

use crate::Done;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Prints code, constants, data and zeroed data, without the memory that is left for the stack; then how much of the
/// code is the compiler's own `memcpy` and its like.
pub fn sizes(path: &Path) -> Done {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let size = |prefix: &str| -> u64 {
        let mine = |name: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        elf.sections().filter(|section| section.name().is_ok_and(mine)).map(|section| section.size()).sum()
    };
    let functions = functions(&elf)?;
    let of_mem: u64 = functions.values().filter(|function| is_mem(&function.name)).map(|function| function.size).sum();
    // RISC-V's runtime fills the constants with zeros up to where data begins: no constants of anybody's.
    let constants = elf.section_by_name(".rodata").map(|section| section.data()).transpose()?.unwrap_or_default();
    let constants = constants.iter().rposition(|byte| *byte != 0).map_or(0, |last| last / 4 * 4 + 4);
    println!("{} {constants} {} {} {of_mem}", size(".text"), size(".data"), size(".bss"));
    Ok(())
}

/// Whether a function copies, fills or compares memory for the compiler: what nearly every program has, and a part that is
/// measured alone may be the first to bring in.
fn is_mem(name: &str) -> bool {
    let plain = name.strip_prefix("__aeabi_").map(|name| name.trim_end_matches(['4', '8']));
    match plain {
        Some(name) => matches!(name, "memcpy" | "memmove" | "memset" | "memclr" | "memcmp"),
        None => {
            matches!(name, "memcpy" | "memmove" | "memset" | "memcmp" | "bcmp" | "strlen")
                || name.starts_with("compiler_builtins::mem")
        }
    }
}

/// A function of a program.
pub struct Function {
    /// Readable, without a hash.
    pub name: String,
    /// In bytes. It ends where the next one begins if the program does not say.
    pub size: u64,
}

/// All of them, by address. The lowest bit of a Thumb function's address is not part of it.
pub fn functions(elf: &object::File<'_>) -> Result<BTreeMap<u64, Function>, Box<dyn Error>> {
    let mut functions = BTreeMap::<u64, Function>::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text) {
        let name = symbol.name()?;
        if name.starts_with('$') || name.starts_with(".L") {
            continue;
        }
        let name = format!("{:#}", rustc_demangle::demangle(name));
        let function = functions.entry(symbol.address() & !1).or_insert(Function { name: name.clone(), size: 0 });
        function.size = function.size.max(symbol.size());
        // Of several names for one function, that which says what it is.
        if is_mem(&name) {
            function.name = name;
        }
    }
    // Functions written in assembly may have no size.
    let starts: Vec<u64> = functions.keys().copied().collect();
    let end = elf.section_by_name(".text").map_or(0, |text| text.address() + text.size());
    for (at, start) in starts.iter().enumerate() {
        let next = starts.get(at + 1).copied().unwrap_or(end);
        if let Some(function) = functions.get_mut(start)
            && function.size == 0
        {
            function.size = next.saturating_sub(*start);
        }
    }
    Ok(functions)
}

/// Stack frames by address, from what the compiler wrote with `-Z emit-stack-sizes`.
pub fn frames(elf: &object::File<'_>) -> Result<BTreeMap<u64, u64>, Box<dyn Error>> {
    let section = elf.section_by_name(".stack_sizes").ok_or("not built with -Z emit-stack-sizes")?;
    let mut frames = BTreeMap::new();
    let mut rest = section.data()?;
    while let Some((address, tail)) = rest.split_first_chunk::<4>() {
        // A LEB128 number.
        let mut size = 0_u64;
        let mut shift = 0;
        rest = tail;
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            size |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        frames.insert(u64::from(u32::from_le_bytes(*address)) & !1, size);
    }
    Ok(frames)
}

/// Where in a program there is data between instructions: literals, tables. Marked by `$d`, as code is by `$t` and `$x`.
pub fn data_in_code(elf: &object::File<'_>) -> Vec<Range<u64>> {
    let mut marks = BTreeMap::new();
    for symbol in elf.symbols() {
        match symbol.name() {
            Ok(name) if name == "$d" || name.starts_with("$d.") => _ = marks.insert(symbol.address(), true),
            Ok(name) if name.starts_with("$t") || name.starts_with("$x") => _ = marks.insert(symbol.address(), false),
            _ => (),
        }
    }
    let marks: Vec<(u64, bool)> = marks.into_iter().collect();
    let ends = marks.iter().skip(1).map(|(at, _)| *at).chain([u64::MAX]);
    marks.iter().zip(ends).filter(|((_, data), _)| *data).map(|((from, _), to)| *from..to).collect()
}

/// Prints defmt's table: address, size and name of each of its symbols. The desktop tool's tests make a program of it
/// again, to read a board's log without a compiler for boards.
pub fn table(path: &Path) -> Done {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let section = elf.section_by_name(".defmt").ok_or("the program has no log")?.index();
    let mut lines = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.section_index() == Some(section)) {
        let name = symbol.name()?;
        if name.starts_with('{') || name.starts_with("_defmt_") {
            lines.insert(symbol.address(), format!("{} {} {name}", symbol.address(), symbol.size()));
        }
    }
    lines.values().for_each(|line| println!("{line}"));
    Ok(())
}
