//! Reads the sections, functions, stack frames and log strings of a board's program from its ELF file.

use crate::CheckResult;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Prints five sizes in bytes: code, constants, initialized data, zero-initialized data, and the part of the code that
/// consists of the compiler's memory functions, such as `memcpy`. The stack is not included.
pub fn print_sizes(path: &Path) -> CheckResult {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let size = |prefix: &str| -> u64 {
        let matches =
            |name: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        elf.sections().filter(|section| section.name().is_ok_and(matches)).map(|section| section.size()).sum()
    };
    let functions = functions(&elf)?;
    let of_mem: u64 = functions.values().filter(|function| is_mem(&function.name)).map(|function| function.size).sum();
    // The RISC-V runtime pads the constants with zeros up to the start of the data section. The padding is not counted.
    let constants = elf.section_by_name(".rodata").map(|section| section.data()).transpose()?.unwrap_or_default();
    let constants = constants.iter().rposition(|byte| *byte != 0).map_or(0, |last| last / 4 * 4 + 4);
    println!("{} {constants} {} {} {of_mem}", size(".text"), size(".data"), size(".bss"));
    Ok(())
}

/// Returns true if the function `name` copies, fills or compares memory on behalf of the compiler. Nearly every program
/// links these functions, so their size is reported separately from the size of a part of the monitor.
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
    /// Demangled name without the hash.
    pub name: String,
    /// Size in bytes. If the ELF file does not contain a size, the function extends to the start of the next one.
    pub size: u64,
}

/// All functions of the program by address. The lowest bit of a Thumb function address is removed, because it only
/// marks the instruction set.
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
        // A memory function may have several names. The table uses the name that `is_mem` recognizes.
        if is_mem(&name) {
            function.name = name;
        }
    }
    // Functions written in assembly may have no size.
    let starts: Vec<u64> = functions.keys().copied().collect();
    let end = elf.section_by_name(".text").map_or(0, |text| text.address() + text.size());
    for (index, start) in starts.iter().enumerate() {
        let next = starts.get(index + 1).copied().unwrap_or(end);
        if let Some(function) = functions.get_mut(start)
            && function.size == 0
        {
            function.size = next.saturating_sub(*start);
        }
    }
    Ok(functions)
}

/// Frame sizes in bytes by function address, as the compiler records them with `-Z emit-stack-sizes`.
pub fn frames(elf: &object::File<'_>) -> Result<BTreeMap<u64, u64>, Box<dyn Error>> {
    let section = elf.section_by_name(".stack_sizes");
    let section = section.ok_or("the program has no section .stack_sizes; build it with -Z emit-stack-sizes")?;
    let mut frames = BTreeMap::new();
    let mut rest = section.data()?;
    while let Some((address, tail)) = rest.split_first_chunk::<4>() {
        // The frame size is encoded as a LEB128 number.
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

/// Address ranges that contain data between the instructions, such as literals and jump tables. The ELF symbol `$d`
/// marks the start of data, `$t` and `$x` mark the start of code.
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
    let ends = marks.iter().skip(1).map(|(address, _)| *address).chain([u64::MAX]);
    marks.iter().zip(ends).filter(|((_, data), _)| *data).map(|((from, _), to)| *from..to).collect()
}

/// Prints the defmt table: address, size and name of each defmt symbol. The tests of the desktop tool rebuild an ELF
/// file from this table, so that they can decode a board's log without a cross-compiler.
pub fn print_log_table(path: &Path) -> CheckResult {
    let bytes = fs::read(path)?;
    let elf = object::File::parse(&*bytes)?;
    let section = elf.section_by_name(".defmt").ok_or("the program has no defmt log")?.index();
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
